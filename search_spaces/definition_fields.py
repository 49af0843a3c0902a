"""The fields of a definition that are one value or a list of options, and their bounds."""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from search_spaces.architecture import Option
from search_spaces.parameters import Domain

OPTIONS = 64
"""Options of one choice, at most."""
TEXT = 64
"""Characters of an option that is a name, at most."""
LARGEST = 10**9
"""The largest number that any parameter could be."""


def refused(said: str, allowed: str, value: Any, *at: int | str) -> ValidationError:
    """The complaint of a validator about ``value``, at the path ``at`` from its field."""
    kind = PydanticCustomError("option", "{said}", {"said": said, "allowed": allowed})
    return ValidationError.from_exception_data("option", [InitErrorDetails(type=kind, loc=at, input=value)])


def _options(domain: Domain | None = None) -> Callable[[Any], tuple[Option, ...]]:
    """Reads one value or a list of options; without a domain whatever a parameter of some block could be."""
    allowed = domain.allowed if domain else "a number, a name, true or false"

    def read(given: Any) -> tuple[Option, ...]:
        several = isinstance(given, list | tuple)
        values: tuple[Any, ...] = tuple(given) if several else (given,)
        if not 1 <= len(values) <= OPTIONS:
            raise refused(f"{len(values)} options", f"1 to {OPTIONS} options", None)
        for i, value in enumerate(values):
            if not (domain.allows(value) if domain else _scalar(value)):
                raise refused("is no option", allowed, value, *([i] if several else []))
        for i, (before, value) in enumerate(pairwise(values), 1):
            if _kind(before) is not _kind(value):
                raise refused("has another type than the option before it", "options of one type", value, i)
            if value in values[:i]:
                raise refused("stands twice", "each option once", value, i)
            if not isinstance(value, str) and value < before:
                raise refused(f"comes after {before}", "numbers in rising order", value, i)
        return values

    return read


def _scalar(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= TEXT
    return isinstance(value, bool) or (isinstance(value, int | float) and -LARGEST <= value <= LARGEST)


def _kind(value: Option) -> type:
    return float if type(value) is int else type(value)


def _shortest(values: tuple[Option, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)


Channels = Annotated[
    tuple[int, ...],
    BeforeValidator(_options(Domain("whole", 1, 65_536)), json_schema_input_type=int | list[int]),
    PlainSerializer(_shortest, return_type=int | list[int]),
]
Depth = Annotated[
    tuple[int, ...],
    BeforeValidator(_options(Domain("whole", 1, 64)), json_schema_input_type=int | list[int]),
    PlainSerializer(_shortest, return_type=int | list[int]),
]
Width = Annotated[
    tuple[float, ...],
    BeforeValidator(_options(Domain("number", 0.01, 16)), json_schema_input_type=float | list[float]),
    PlainSerializer(_shortest, return_type=float | list[float]),
]
Resolution = Annotated[
    tuple[int, ...],
    BeforeValidator(_options(Domain("whole", 1, 4096)), json_schema_input_type=int | list[int]),
    PlainSerializer(_shortest, return_type=int | list[int]),
]
Parameter = Annotated[
    tuple[Option, ...],
    BeforeValidator(_options(), json_schema_input_type=Option | list[Option]),
    PlainSerializer(_shortest, return_type=Option | list[Option]),
]

STRIDES = (1, 2, 4, 8, 16, 32)


def _stride(given: Any) -> int:
    if type(given) is not int or given not in STRIDES:
        raise refused("is no stride", f"one of {', '.join(map(str, STRIDES))}", given)
    return given


Stride = Annotated[int, BeforeValidator(_stride, json_schema_input_type=Literal[1, 2, 4, 8, 16, 32])]
Name = Annotated[str, Field(strict=True, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
"""The name of a space."""
Part = Annotated[str, Field(strict=True, max_length=40, pattern=r"^[a-z][a-z0-9_]*$")]
"""The name of a stage, a label or a block."""
Whole = Annotated[int, Field(strict=True, ge=0, le=65_536)]
Flag = Annotated[bool, Field(strict=True)]
