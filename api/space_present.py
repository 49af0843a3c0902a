"""Search spaces as the schemas that the API answers with."""

from math import log10
from typing import Any

from api.errors import kind_of
from api.models import Space
from api.schemas import ChoiceOut, ErrorBody, SpaceDetail, SpaceOut
from api.space_store import definition_of
from search_spaces import SPACES, SearchSpace, get_space, presets_in
from search_spaces.definition_build import papers
from search_spaces.errors import InvalidSpec

EXACT = 2**53
"""From here on readers of JSON may round a whole number."""


def present_space(name: str, row: Space | None) -> SpaceOut:
    """A built-in space, or the stored one of ``row``."""
    return SpaceOut(**_facts(name, row))


def present_space_detail(name: str, row: Space | None) -> SpaceDetail:
    return SpaceDetail(**_facts(name, row), definition=None if row is None else row.definition)


def _facts(name: str, row: Space | None) -> dict[str, Any]:
    if row is None:
        entry = SPACES[name.partition("[")[0]]
        facts = {"key": get_space(name).name, "description": entry.description, "papers": entry.paper.split("; ")}
        return _shared(name, row) | facts | _numbers(get_space(name))
    definition = definition_of(row)
    facts = {"key": definition.key, "description": definition.description, "papers": papers(definition)}
    try:
        return _shared(name, row) | facts | _numbers(definition.space())
    except InvalidSpec as error:  # stored by another version, whose blocks were others
        unknown: dict[str, Any] = {
            "size": None,
            "size_log10": None,
            "choice_count": 0,
            "choices": [],
            "input_sizes": [],
        }
        told = ErrorBody(code=kind_of(error).code, message=error.message, hint=error.hint)
        return _shared(name, row) | facts | unknown | {"error": told}


def _shared(name: str, row: Space | None) -> dict[str, Any]:
    return {
        "name": name,
        "stored": row is not None,
        "presets": presets_in(name),
        "created_at": None if row is None else row.created_at,
        "error": None,
    }


def _numbers(space: SearchSpace) -> dict[str, Any]:
    return {
        "size": space.size if space.size < EXACT else None,
        "size_log10": log10(space.size),
        "choice_count": len(space.choices),
        "choices": [ChoiceOut(name=choice.name, options=list(choice.options)) for choice in space.choices],
        "input_sizes": list(space.input_sizes),
    }
