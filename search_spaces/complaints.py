"""Pydantic's complaints in words: the field at fault, what was wrong, and what would be right."""

import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from search_spaces.errors import nearest

SHOWN = 3
"""Complaints put into one message."""

TYPE_HINTS: Mapping[str, str] = {
    "option": "give {allowed}",
    "greater_than": "give a value greater than {gt}",
    "greater_than_equal": "give a value of at least {ge}",
    "less_than": "give a value less than {lt}",
    "less_than_equal": "give a value of at most {le}",
    "int_type": "give a whole number, without quotes",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
    "float_type": "give a number",
    "float_parsing": "give a number",
    "finite_number": "give a finite number",
    "bool_type": "give true or false",
    "bool_parsing": "give true or false",
    "string_type": "give a text in double quotes",
    "string_too_long": "give at most {max_length} characters",
    "string_too_short": "give at least {min_length} characters",
    "string_pattern_mismatch": "give a text that matches {pattern}",
    "literal_error": "give {expected}",
    "enum": "give {expected}",
    "too_short": "give at least {min_length}",
    "too_long": "give at most {max_length}",
    "tuple_type": "give a list in square brackets",
    "list_type": "give a list in square brackets",
    "dict_type": "give an object in braces",
    "model_type": "give an object in braces",
    "model_attributes_type": "give an object in braces",
}
"""What would be right, by pydantic's type of error."""


def describe(
    errors: Sequence[Mapping[str, Any]], model: type[BaseModel] | None, field_hints: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """The message and the hint for some validation errors of a document of the given model.

    ``field_hints`` says what to write into a field that is missing or empty.
    """
    shown = [_one(error, model, field_hints or {}) for error in errors[:SHOWN]]
    message = "; ".join(message for message, _ in shown)
    if len(errors) > SHOWN:
        message += f"; and {len(errors) - SHOWN} more"
    return message, "; ".join(dict.fromkeys(hint for _, hint in shown if hint))


def _one(error: Mapping[str, Any], model: type[BaseModel] | None, field_hints: Mapping[str, str]) -> tuple[str, str]:
    path = tuple(error["loc"])
    field = ".".join(map(str, path))
    kind, context = str(error["type"]), error.get("ctx", {})
    if not path and kind != "value_error":
        return "the document must be one object", "its fields in braces, or as the lines of a YAML mapping"
    front = f"{field}: " if path else ""
    if kind == "extra_forbidden":
        return f"{field}: unknown field", nearest(str(path[-1]), _fields(model, path[:-1]))
    if kind == "missing":
        return f"{field}: is missing", field_hints.get(str(path[-1]), f'add "{path[-1]}"')
    if kind == "value_error":
        said = str(context.get("error", error["msg"]))
        wrong, _, right = said.partition(": ")
        # a colon after a double quote belongs to an example of JSON
        return (f"{front}{said}", said) if '"' in wrong else (f"{front}{wrong}", right or wrong)
    message = f"{field}: {error['msg']}{_given(error.get('input'))}"
    if kind == "too_short" and str(path[-1]) in field_hints:
        return message, field_hints[str(path[-1])]
    return message, TYPE_HINTS.get(kind, "").format_map(context)


def _given(value: Any) -> str:
    """The value that was sent, where it is short enough to repeat."""
    if isinstance(value, bool):
        return f", got {str(value).lower()}"
    if isinstance(value, int | float | str) and len(text := repr(value)) <= 60:
        return f", got {text}"
    return ""


def _fields(model: type[BaseModel] | None, path: Sequence[int | str]) -> list[str]:
    """The fields of the object at a path of a model."""
    for part in path:
        if model is None:
            break
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation)
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as ``tuple[Model, ...]`` or ``Model | None`` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, list, dict, Union, types.UnionType):
        return next((found for arg in get_args(annotation) if (found := _model_in(arg)) is not None), None)
    return None
