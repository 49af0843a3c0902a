"""From a definition to the stages of its space; here block and parameter names are looked up and sizes are bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, NamedTuple

from search_spaces.architecture import Option
from search_spaces.blocks import BLOCKS
from search_spaces.builder import RESERVED
from search_spaces.errors import InvalidSpec, nearest
from search_spaces.parameters import SET_BY_STAGE, arguments, block_parameters
from search_spaces.stage import Candidate, Stage
from search_spaces.staged import StagedSpace

if TYPE_CHECKING:
    from search_spaces.definition import SpaceDefinition, StageDefinition

LAYERS = 256
"""Layers of all stages together, at most."""
CHOICES = 2_048
"""Choices of all layers together, at most."""
ALL_OPTIONS = 16_384
"""Options of all choices together, at most."""
PLACES = 50_000
"""Candidates of every layer at every depth of its stage, at most: what a space keeps ready."""

_TAKEN = RESERVED | {"classifier"}
_Options = Mapping[str, tuple[Option, ...]]


class _Candidate(NamedTuple):
    """A block of a stage: its label ("" if it is the only one), its own parameters, and the path to it."""

    label: str
    block: str
    own: _Options
    at: str


def build_space(definition: SpaceDefinition, memo_limit: int) -> StagedSpace:
    """The space of a definition. Raises: InvalidSpec naming the field, what it may be, and the nearest name."""
    stages = stages_of(definition)
    _check_size(stages)
    return StagedSpace(
        definition.key,
        stages,
        width=definition.width,
        resolution=definition.resolution or (),
        ordered=False,  # a user lists options by value, and no rule says what a parameter of any block costs
        memo_limit=memo_limit,
    )


def papers(definition: SpaceDefinition) -> list[str]:
    """The papers of the blocks of a definition, each once."""
    blocks = [c.block for stage in definition.stages for c in _candidates(stage, "")]
    return list(dict.fromkeys(BLOCKS[block].paper for block in blocks if block in BLOCKS))


def stages_of(definition: SpaceDefinition) -> list[Stage]:
    """The stages of a definition. Raises: InvalidSpec naming the field, what it may be, and the nearest name."""
    return [_stage(stage, f"stages.{i}") for i, stage in enumerate(definition.stages)]


def _candidates(stage: StageDefinition, at: str) -> list[_Candidate]:
    if stage.block:
        return [_Candidate("", stage.block, {}, at)]
    blocks = (stage.blocks or {}).items()
    return [_Candidate(label, found.block, found.parameters, f"{at}.blocks.{label}") for label, found in blocks]


def _stage(stage: StageDefinition, at: str) -> Stage:
    candidates = _candidates(stage, at)
    for path, name in ((f"{at}.name", stage.name), *((c.at, c.label) for c in candidates)):
        if name in _TAKEN or iskeyword(name):
            raise _wrong(path, f"{name!r} cannot name a part of a network", "give another name")
    for candidate in candidates:
        if candidate.block not in BLOCKS:
            said = f"there is no block {candidate.block!r}"
            raise _wrong(f"{candidate.at}.block", said, nearest(candidate.block, list(BLOCKS)))
    _check_names(stage, candidates, at)
    made = {c.label: Candidate(c.block, dict(_arguments(stage, c, at))) for c in candidates}
    only = made.get("")
    return Stage(
        stage.name,
        only.block if only else made,
        _channels(stage, candidates, at),
        stage.stride,
        stage.depth,
        only.options if only else {},
        min_channels=stage.min_channels,
        divisor=stage.channel_divisor,
        single=stage.single,
        tied=stage.tied,
        scaled=stage.scaled,
    )


def _check_names(stage: StageDefinition, candidates: list[_Candidate], at: str) -> None:
    """Raises InvalidSpec for a parameter that no block of the stage has, or a stride that one cannot take."""
    of_stage = dict.fromkeys(name for c in candidates for name in block_parameters(c.block))
    for name in stage.parameters:
        if name not in of_stage:
            raise _unknown(f"{at}.{name}", name, candidates, [*type(stage).model_fields, *of_stage])
    for c in candidates:
        for name in c.own:
            if name not in block_parameters(c.block):
                raise _unknown(f"{c.at}.{name}", name, [c], ["block", *block_parameters(c.block)])
        if stage.stride > 1 and "stride" not in arguments(c.block):
            takes = [name for name in BLOCKS if "stride" in arguments(name)]
            raise _wrong(f"{at}.stride", f"block {c.block} takes no stride", f"blocks that do: {', '.join(takes)}")


def _arguments(stage: StageDefinition, c: _Candidate, at: str) -> Iterator[tuple[str, tuple[Option, ...]]]:
    """The options of every parameter that is given for a candidate, its own before those of the stage."""
    for name, parameter in block_parameters(c.block).items():
        domain = parameter.domain
        own = name in c.own
        values = c.own[name] if own else stage.parameters.get(name)
        if values is None:
            if parameter.required:
                raise _wrong(f"{c.at}.{name}", f"is missing, block {c.block} needs it", f"give {domain.allowed}")
            continue
        path = f"{c.at if own else at}.{name}"
        for i, value in enumerate(values):
            patches = name == "kernel" and type(value) is int and value == stage.stride
            if not domain.allows(value) and not patches:
                place = path if len(values) == 1 else f"{path}.{i}"
                raise _wrong(place, f"{_shown(value)} is no {name} of block {c.block}", domain.hint(value))
        yield name, _one_type(values)


def _one_type(values: tuple[Option, ...]) -> tuple[Option, ...]:
    """Numbers as whole ones, or all with a point where one has a part behind it: equal texts for equal definitions."""
    if not any(isinstance(value, float) for value in values):
        return values
    whole = all(float(value).is_integer() for value in values)
    return tuple(int(value) if whole else float(value) for value in values)


def _channels(stage: StageDefinition, candidates: list[_Candidate], at: str) -> int | tuple[int, ...]:
    keep = [c.block for c in candidates if "out_channels" not in arguments(c.block)]
    if stage.channels is None:
        if len(keep) < len(candidates):
            raise _wrong(
                f"{at}.channels", "is missing", "give the output channels: one number, or a list to choose from"
            )
        return 1  # no block reads it
    if len(keep) == len(candidates):
        raise _wrong(f"{at}.channels", f"block {keep[0]} keeps its channels", "leave channels out")
    return stage.channels if len(stage.channels) > 1 else stage.channels[0]


def _check_size(stages: list[Stage]) -> None:
    """Raises InvalidSpec where all stages together are more than a process should hold."""
    layers = choices = options = places = 0
    for stage in stages:
        candidates = stage.candidates()
        lists = [v for c in candidates.values() for v in (c.options or stage.options).values() if len(v) > 1]
        depth = stage.depth[-1]
        chosen = 1 if stage.tied else depth
        layers += depth
        choices += chosen * (len(lists) + (len(candidates) > 1))
        options += chosen * (sum(map(len, lists)) + len(candidates))
        places += sum(stage.depth) * len(candidates)
    counted = (("layers", layers, LAYERS), ("choices", choices, CHOICES), ("options", options, ALL_OPTIONS))
    for what, found, most in (*counted, ("layers at every depth, times their blocks", places, PLACES)):
        if found > most:
            raise _wrong(
                "stages", f"{found:,} {what}, more than {most:,}", "give fewer layers or options, or tie stages"
            )


def _unknown(path: str, name: str, candidates: Iterable[_Candidate], known: list[str]) -> InvalidSpec:
    blocks = ", ".join(dict.fromkeys(c.block for c in candidates))
    if name in SET_BY_STAGE:
        return _wrong(path, "the stage sets it", "give channels and stride beside the name of the stage")
    return _wrong(path, f"neither a field nor a parameter of {blocks}", nearest(name, known))


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _wrong(path: str, said: str, hint: str) -> InvalidSpec:
    return InvalidSpec(f"{path}: {said}", hint=hint, field=path)
