"""A client of the service: one small function for each thing that one can ask of it.

Answers are the decoded JSON of the API. Waiting always has a deadline, and rides out a restart of
the service for a stated time.
"""

import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from search_spaces.errors import NasError

Json = dict[str, Any]

DEFAULT_URL = "http://127.0.0.1:8000"
FINISHED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
"""States of a search or an export that never change again."""

_PAGE_LIMIT = 10_000  # pages that one listing follows before it says that the server does not end
_RESTARTING = frozenset({502, 503, 504})
_CHUNK_BYTES = 1 << 16


class ApiError(NasError):
    """The server refused: its error code, message and hint, and the HTTP status."""

    def __init__(self, code: str, message: str, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status


class ServerUnreachable(NasError):
    """Nothing answers at the address."""


class WaitTimeout(NasError):
    """What was waited for did not happen before the deadline."""


class Client:
    """A connection to the service at ``base_url``; a context manager.

    Every call raises ApiError where the server refuses and ServerUnreachable where none answers.
    """

    def __init__(self, base_url: str = DEFAULT_URL, *, timeout_s: float = 30.0) -> None:
        self.base_url = base_url.rstrip("/")
        try:
            # trust_env off: a proxy setting must not send local addresses elsewhere
            self._http = httpx.Client(base_url=self.base_url, timeout=timeout_s, trust_env=False)
        except httpx.InvalidURL as error:
            raise ServerUnreachable(f"{base_url!r} is not an address", hint=f"for example {DEFAULT_URL}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # searches

    def submit(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> Json:
        """Start a search; its ``id`` and ``state``. The same key again gives the same search."""
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        try:
            return self._request("POST", "/v1/searches", json=dict(spec), headers=headers)
        except ServerUnreachable:
            # the answer may be lost, not the request; the key makes it safe to ask once more
            return self._request("POST", "/v1/searches", json=dict(spec), headers=headers)

    def get(self, search_id: str) -> Json:
        return self._request("GET", f"/v1/searches/{_quote(search_id)}")

    def cancel(self, search_id: str) -> Json:
        return self._request("POST", f"/v1/searches/{_quote(search_id)}/cancel")

    def trials(self, search_id: str, **query: str | int) -> Iterator[Json]:
        """The trials of a search, page by page; ``query`` filters and orders as the API documents."""
        return self._items(f"/v1/searches/{_quote(search_id)}/trials", query)

    def best(self, search_id: str) -> Json | None:
        """The trial of highest accuracy so far; None before one has been trained."""
        first = next(self.trials(search_id, order_by="-accuracy", page_size=1), None)
        return first if first is not None and "accuracy" in first["metrics"] else None

    def front(self, search_id: str, **query: str | int) -> Json:
        """The Pareto front: ``items``, best first."""
        return self._request("GET", f"/v1/searches/{_quote(search_id)}/front", params=query)

    def wait(
        self,
        search_id: str,
        *,
        timeout_s: float,
        on_update: Callable[[Json], None] | None = None,
        poll_s: float = 0.5,
        reconnect_s: float = 60.0,
    ) -> Json:
        """The search once it has ended; ``on_update`` sees every poll.

        Raises: WaitTimeout after ``timeout_s``; ServerUnreachable when nothing answers for ``reconnect_s``.
        """
        return self._wait(lambda: self.get(search_id), f"search {search_id}", timeout_s, on_update, poll_s, reconnect_s)

    # exports

    def export(self, trial_id: str, format: str = "onnx") -> Json:
        """Ask for a finished bundle of a trial; the export's ``id``."""
        return self._request("POST", f"/v1/trials/{_quote(trial_id)}/exports", json={"format": format})

    def get_export(self, export_id: str) -> Json:
        return self._request("GET", f"/v1/exports/{_quote(export_id)}")

    def wait_export(self, export_id: str, *, timeout_s: float, poll_s: float = 0.3, reconnect_s: float = 60.0) -> Json:
        """The export once it has ended. Raises as ``wait``."""
        return self._wait(
            lambda: self.get_export(export_id), f"export {export_id}", timeout_s, None, poll_s, reconnect_s
        )

    def download(self, export_id: str, path: Path) -> Path:
        """Write the export's file to ``path``, which appears whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file, _connection_errors(self.base_url):
                with self._http.stream("GET", f"/v1/exports/{_quote(export_id)}/file") as response:
                    if not response.is_success:
                        response.read()
                        raise _api_error(response)
                    for chunk in response.iter_bytes(_CHUNK_BYTES):
                        file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
        return path

    def estimate(self, asked: Mapping[str, Any]) -> Json:
        """What a network costs on a device: the body and the answer of ``POST /v1/estimates``."""
        return self._request("POST", "/v1/estimates", json=dict(asked))

    # catalogue and service

    def devices(self) -> list[Json]:
        return list(self._items("/v1/devices", {}))

    def agents(self) -> list[Json]:
        """The agents of remote devices."""
        return list(self._items("/v1/agents", {}))

    def add_agent(self, name: str) -> Json:
        """Make an agent; ``token`` is told only now."""
        return self._request("POST", "/v1/agents", json={"name": name})

    def remove_agent(self, name: str) -> None:
        """Forget an agent; its token is worth nothing from then on."""
        self._request("DELETE", f"/v1/agents/{_quote(name)}")

    def spaces(self) -> list[Json]:
        """Every search space, built in and stored."""
        return list(self._items("/v1/spaces", {}))

    def space(self, name: str) -> Json:
        """One search space; a stored one with its ``definition``."""
        return self._request("GET", f"/v1/spaces/{_quote(name)}")

    def add_space(self, definition: bytes, *, as_json: bool = False) -> Json:
        """Store a space, given as the YAML (or JSON) text of its definition."""
        headers = {"Content-Type": "application/json" if as_json else "application/yaml"}
        return self._request("POST", "/v1/spaces", content=definition, headers=headers)

    def remove_space(self, name: str) -> None:
        """Forget a stored space."""
        self._request("DELETE", f"/v1/spaces/{_quote(name)}")

    def health(self) -> Json:
        """What /healthz says; ApiError while searches cannot be submitted."""
        return self._request("GET", "/healthz")

    def wait_ready(self, *, timeout_s: float, poll_s: float = 0.2) -> Json:
        """The health once searches can be submitted. Raises: WaitTimeout."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.health()
            except (ServerUnreachable, ApiError) as error:
                if isinstance(error, ApiError) and error.status not in _RESTARTING:
                    raise
                if time.monotonic() >= deadline:
                    raise WaitTimeout(
                        f"{self.base_url} was not ready after {timeout_s:g} s: {error.message}", hint=error.hint
                    ) from error
            time.sleep(poll_s)

    def list(self, **query: str | int) -> Iterator[Json]:
        """The searches, newest first, page by page."""
        return self._items("/v1/searches", query)

    # transport

    def _request(self, method: str, path: str, **options: Any) -> Json:
        with _connection_errors(self.base_url):
            response = self._http.request(method, path, **options)
        if not response.is_success:
            raise _api_error(response)
        return {} if response.status_code == httpx.codes.NO_CONTENT else _decode(response)

    def _items(self, path: str, query: Mapping[str, str | int]) -> Iterator[Json]:
        token: str | None = None
        for _ in range(_PAGE_LIMIT):
            params = {**query, **({"page_token": token} if token else {})}
            page = self._request("GET", path, params=params)
            yield from page["items"]
            token = page.get("next_page_token")
            if not token:
                return
        raise ApiError("endless_list", f"{path} has more than {_PAGE_LIMIT} pages", hint="narrow the filter")

    def _wait(
        self,
        look: Callable[[], Json],
        what: str,
        timeout_s: float,
        on_update: Callable[[Json], None] | None,
        poll_s: float,
        reconnect_s: float,
    ) -> Json:
        deadline = time.monotonic() + timeout_s
        last_answer = time.monotonic()
        while True:
            try:
                found = look()
                last_answer = time.monotonic()
                if on_update is not None:
                    on_update(found)
                if found["state"] in FINISHED:
                    return found
            except (ServerUnreachable, ApiError) as error:
                restarting = isinstance(error, ServerUnreachable) or error.status in _RESTARTING
                if not restarting or time.monotonic() - last_answer >= reconnect_s:
                    raise
            if time.monotonic() >= deadline:
                raise WaitTimeout(f"{what} has not ended after {timeout_s:g} s", hint="it goes on; wait again")
            time.sleep(poll_s)


@contextlib.contextmanager
def _connection_errors(base_url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise ServerUnreachable(
            f"no service answers at {base_url} ({error or type(error).__name__})",
            hint="start one with: hwnas up; another address: --url or HWNAS_URL",
        ) from error


def _api_error(response: httpx.Response) -> ApiError:
    try:
        error = response.json()["error"]
        return ApiError(error["code"], error["message"], error.get("hint") or "", response.status_code)
    except (ValueError, KeyError, TypeError):
        # not our server, or a proxy in front of it
        return ApiError(
            "unexpected_answer",
            f"{response.request.url} answered {response.status_code}",
            "is this address the service's?",
            response.status_code,
        )


def _decode(response: httpx.Response) -> Json:
    try:
        body = response.json()
    except ValueError as error:
        raise ApiError(
            "unexpected_answer",
            f"{response.request.url} did not answer with JSON",
            "is this address the service's?",
            response.status_code,
        ) from error
    if not isinstance(body, dict):
        raise ApiError(
            "unexpected_answer",
            f"{response.request.url} did not answer with a JSON object",
            "is this address the service's?",
            response.status_code,
        )
    return body


def _quote(identifier: str) -> str:
    """An id as one path segment, whatever a user typed."""
    from urllib.parse import quote

    return quote(identifier, safe="") or "-"
