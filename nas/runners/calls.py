"""One job carried out in this process: an exception becomes a result that carries the error."""

import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from nas.jobs import RungResult, ScoreJob, ScoreResult, TrainJob
from search_spaces.errors import NasError

SCORE = "nas.proxies.compute:score_architecture"
TRAIN = "nas.training.train:train_to_rung"
"""What carries a job out, as dotted paths, so that a process imports torch only where it runs one."""


def score(path: str, job: ScoreJob) -> ScoreResult:
    """The result of the scoring function at ``path``."""
    start = perf_counter()
    try:
        result: ScoreResult = _load(path)(job)
    except Exception as error:
        return failed_score(describe(error), perf_counter() - start)
    return result


def train(path: str, job: TrainJob, should_stop: Callable[[], bool]) -> RungResult | None:
    """The result of the training function at ``path``; None where ``should_stop`` interrupted it."""
    start = perf_counter()
    try:
        result: RungResult | None = _load(path)(job, should_stop)
    except Exception as error:
        return failed_rung(job, describe(error), perf_counter() - start)
    return result


def failed_score(error: str, seconds: float = 0.0) -> ScoreResult:
    return ScoreResult({}, seconds, error)


def failed_rung(job: TrainJob, error: str, seconds: float = 0.0) -> RungResult:
    return RungResult(job.number, job.rung, job.epochs, 0.0, 0.0, seconds, error)


def describe(error: Exception) -> str:
    """The error in one line, with its place where it is not one of ours."""
    if isinstance(error, NasError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def cause_of(error: Exception) -> str:
    """The cause of an error of Ray in one line; its messages run over many."""
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {next(iter(str(cause).splitlines()), 'no message')}"


def _load(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function
