"""What a runner carries out: scoring and training jobs, and their results. Plain data that crosses processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.spec import Training
from search_spaces.definition import SpaceReference


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Zero-shot proxies of one architecture. ``architecture`` is the space's text form."""

    space: SpaceReference
    architecture: str
    dataset: str
    proxies: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Raw proxy values; None where a value was not finite. ``error`` says why the network could not be scored."""

    proxies: Mapping[str, float | None]
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Training of one trial up to the end of a rung, continued from the checkpoint in ``folder``.

    ``epochs`` is the total at the end of the rung, ``total_epochs`` that of the last rung, over which the
    learning rate runs. ``folder`` belongs to the trial alone.
    """

    number: int
    rung: int
    space: SpaceReference
    architecture: str
    dataset: str
    epochs: int
    total_epochs: int
    training: Training
    seed: int
    folder: Path


@dataclass(frozen=True, slots=True)
class RungResult:
    """A completed rung, or a failed one where ``error`` is set (``accuracy`` is then 0).

    ``accuracy`` is on the validation part, ``accuracy_error`` the half-width of its 90 % binomial interval.
    """

    number: int
    rung: int
    epochs: int
    accuracy: float
    accuracy_error: float
    seconds: float
    error: str | None = None
