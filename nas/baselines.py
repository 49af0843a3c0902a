"""Known networks that a search starts from: they are scored first, always train, and appear beside the front."""

from collections.abc import Sequence

from search_spaces import PRESETS, preset_point, presets_in
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.errors import InvalidArchitecture, InvalidSpec, nearest


def baseline_architectures(names: Sequence[str], space: SearchSpace) -> dict[str, Architecture]:
    """The baselines of a specification as points of its space, by the name or text given.

    Raises: InvalidSpec where a preset is not a point of the space, a text does not parse, or two are the same.
    """
    found: dict[str, Architecture] = {}
    for position, name in enumerate(names):
        arch = _point(name, space, f"baselines.{position}")
        if arch in found.values():
            raise InvalidSpec(
                f"baseline {name!r} stands twice", hint="name each network once", field=f"baselines.{position}"
            )
        found[name] = arch
    return found


def _point(name: str, space: SearchSpace, field: str) -> Architecture:
    members = presets_in(space.name)
    if name in PRESETS:
        if name in members:
            try:
                return preset_point(name, space)
            except InvalidArchitecture:
                members.remove(name)
        raise InvalidSpec(
            f"{name} is no point of space {space.name}",
            hint=f"presets in it: {', '.join(members) or 'none'}; or the text of an architecture",
            field=field,
        )
    if "=" not in name and "|" not in name:
        raise InvalidSpec(f"unknown preset {name!r}", hint=nearest(name, members or list(PRESETS)), field=field)
    try:
        return space.from_string(name)
    except InvalidArchitecture as error:
        raise InvalidSpec(f"{error.message}", hint=error.hint, field=field) from None
