"""Pydantic's complaints about a request, in words of the API."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from search_spaces import complaints

FIELD_HINTS: Mapping[str, str] = {
    "space": "GET /v1/spaces lists the search spaces",
    "dataset": "GET /v1/datasets lists the data sets",
    "objectives": 'name at least one, for example [{"metric": "accuracy", "goal": "maximize"}]',
    "rungs": 'name at least one, for example [{"epochs": 5}, {"epochs": 30}]',
    "format": 'for example {"format": "onnx"}',
}
"""What to write into a field that is missing or empty."""


def describe(errors: Sequence[Mapping[str, Any]], model: type[BaseModel] | None) -> tuple[str, str]:
    """The message and the hint for some validation errors of a request whose body is of the given model."""
    within = [{**error, "loc": error["loc"][1:]} for error in errors]  # without "body", "query" or "path"
    if not within[0]["loc"]:
        return "the body must be a JSON object", "send a JSON object with the header Content-Type: application/json"
    message, hint = complaints.describe(within, model, FIELD_HINTS)
    return message, hint or "GET /openapi.json describes every field"
