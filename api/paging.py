"""Pages of a list: an opaque token names the last item seen, so a growing list skips nothing."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from api.errors import InvalidQuery

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list; ``next_page_token`` is None on the last page."""

    items: list[T]
    next_page_token: str | None


def cut(rows: Sequence[T], page_size: int, kind: str, key: Callable[[T], tuple[Any, ...]]) -> Page[T]:
    """The page made of up to ``page_size + 1`` rows; ``key`` gives what the next page starts after."""
    items = list(rows[:page_size])
    more = len(rows) > page_size
    return Page(items, write_token(kind, key(items[-1])) if more else None)


def write_token(kind: str, values: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps([kind, *values]).encode()).decode().rstrip("=")


def read_token(token: str, kind: str, types: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of a token; InvalidQuery if it was not made for this list in this order."""
    try:
        padded = token + "=" * (-len(token) % 4)
        found, *values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise _invalid() from error
    if found != kind or len(values) != len(types) or not all(map(isinstance, values, types)):
        raise _invalid()
    return tuple(values)


def _invalid() -> InvalidQuery:
    return InvalidQuery(
        "the page token does not belong to this list",
        hint="send next_page_token of the page before, with the same filter and order",
        field="page_token",
    )
