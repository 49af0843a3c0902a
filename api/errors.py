"""Errors of the service, and the one place that turns any error into an answer or a stored message."""

from typing import Any, NamedTuple

from search_spaces.errors import (
    CorruptFile,
    DeviceUnavailable,
    Infeasible,
    InvalidArchitecture,
    InvalidSpec,
    NasError,
    SpaceExhausted,
    StorageFull,
    TrainingFailed,
    UnknownName,
)


class NotFound(NasError):
    """An id that does not exist."""


class Conflict(NasError):
    """A request that the present state does not allow."""


class Unauthorized(NasError):
    """An agent without its token."""


class InvalidQuery(NasError):
    """A query parameter that cannot be used."""


class ErrorKind(NamedTuple):
    """The status and the code under which an error leaves the service."""

    status: int
    code: str


KINDS: dict[type[NasError], ErrorKind] = {
    NotFound: ErrorKind(404, "not_found"),
    Conflict: ErrorKind(409, "conflict"),
    Unauthorized: ErrorKind(401, "unauthorized"),
    InvalidQuery: ErrorKind(422, "invalid_query"),
    UnknownName: ErrorKind(422, "unknown_name"),
    InvalidSpec: ErrorKind(422, "invalid_spec"),
    InvalidArchitecture: ErrorKind(422, "invalid_architecture"),
    Infeasible: ErrorKind(422, "infeasible"),
    SpaceExhausted: ErrorKind(422, "space_exhausted"),
    DeviceUnavailable: ErrorKind(409, "device_unavailable"),
    TrainingFailed: ErrorKind(500, "training_failed"),
    CorruptFile: ErrorKind(500, "corrupt_file"),
    StorageFull: ErrorKind(507, "storage_full"),
    NasError: ErrorKind(422, "invalid_request"),
}


def kind_of(error: NasError) -> ErrorKind:
    """The entry of the nearest class that is listed."""
    return next(KINDS[cls] for cls in type(error).__mro__ if cls in KINDS)


def body_of(code: str, message: str, hint: str) -> dict[str, Any]:
    """The shape of every error answer."""
    return {"error": {"code": code, "message": message, "hint": hint}}


def message_of(error: NasError) -> str:
    """The message, with the field at fault in front unless it is named anyway."""
    named = not error.field or error.field in error.message
    return error.message if named else f"{error.field}: {error.message}"
