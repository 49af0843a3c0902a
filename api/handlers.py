"""Every error of a request becomes ``{"error": {"code", "message", "hint"}}``."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from api.errors import body_of, kind_of, message_of
from api.validation import describe
from search_spaces.errors import NasError

log = structlog.get_logger("api")


def install(app: FastAPI) -> None:
    """Registers the handlers."""
    app.exception_handler(NasError)(_nas_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(OperationalError)(_database_error)
    app.exception_handler(Exception)(_unexpected)


def _answer(status: int, code: str, message: str, hint: str, headers: Any = None) -> JSONResponse:
    return JSONResponse(body_of(code, message, hint), status_code=status, headers=headers)


def _nas_error(request: Request, error: NasError) -> JSONResponse:
    status, code = kind_of(error)
    if status >= 500:
        log.error("request failed", path=request.url.path, code=code, exc_info=error)
    return _answer(status, code, message_of(error), error.hint)


def _validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    errors = error.errors()
    if errors[0]["type"] == "json_invalid":
        position, reason = errors[0]["loc"][-1], errors[0]["ctx"]["error"]
        return _malformed(f"the body is not JSON: {reason} at character {position}")
    message, hint = describe(errors, _body_model(request))
    code = "invalid_spec" if errors[0]["loc"][0] == "body" else "invalid_query"
    return _answer(422, code, message, hint)


def _malformed(message: str) -> JSONResponse:
    return _answer(400, "malformed_json", message, "send one JSON object, encoded as UTF-8")


def _body_model(request: Request) -> type[BaseModel] | None:
    field = getattr(request.scope.get("route"), "body_field", None)
    model = field.field_info.annotation if field is not None else None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    path = request.url.path
    if error.status_code == 404:
        return _answer(404, "not_found", f"there is nothing at {path}", "GET /openapi.json lists the addresses")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"{request.method} is not possible at {path}"
        return _answer(405, "method_not_allowed", message, f"allowed: {allowed}", error.headers)
    if error.status_code == 400:
        return _malformed("the body is not JSON that can be read")
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return _answer(error.status_code, code, str(error.detail), "", error.headers)


def _database_error(request: Request, error: OperationalError) -> JSONResponse:
    log.error("database error", path=request.url.path, exc_info=error)
    hint = "try again; if it stays, check the disk and the database (GET /healthz)"
    return _answer(503, "database_unavailable", "the database cannot be used right now", hint, {"Retry-After": "5"})


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error", path=request.url.path, exc_info=error)
    return _answer(500, "internal_error", "the service failed on this request", "the log of the api says why")
