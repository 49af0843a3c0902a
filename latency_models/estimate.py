"""A figure that says where it comes from and how far it can be trusted."""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    MEASURED = "measured"
    PREDICTED = "predicted"
    ANALYTIC = "analytic"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its error.

    ``error`` is the half-width of the 90 % interval in the unit of ``value``; None if unknown.
    ``note`` says what a reader must know before using the value, for example that a part of the
    network was extrapolated.
    """

    value: float
    error: float | None
    source: Source
    note: str = ""
