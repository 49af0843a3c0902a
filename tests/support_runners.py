"""Stand-ins for scoring and training that leave traces in files; workers import them by dotted path."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from nas.jobs import RungResult, ScoreJob, ScoreResult, TrainJob
from search_spaces import Classification, Task
from search_spaces.definition import SpaceReference, space_of

EPOCH_S = 0.02


def score(job: ScoreJob) -> ScoreResult:
    """The architecture's text says what happens: a number, ``raise``, ``die``, ``die-once FILE``, ``space``."""
    match job.architecture.split():
        case ["raise"]:
            raise ValueError("no such network")
        case ["die"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["die-once", trace]:
            if not _first_time(Path(trace)):
                return ScoreResult({"params": -1.0}, 0.0)
            os.kill(os.getpid(), signal.SIGKILL)
        case ["space"]:
            return ScoreResult({"params": float(smallest_params(job.space))}, 0.0)
        case ["threads"]:
            import torch

            return ScoreResult({"params": float(torch.get_num_threads())}, 0.0)
    return ScoreResult({"params": float(job.architecture)}, 0.0)


def smallest_params(reference: SpaceReference) -> int:
    space = space_of(reference)
    return space.graph(space.smallest(), Task((1, 8, 8), Classification(10))).params


def train(job: TrainJob, should_stop: Callable[[], bool]) -> RungResult | None:
    """Epochs that each add one line to a log and one to the checkpoint; the text says what else happens.

    ``raise``; ``die-once`` at the third epoch; ``slow`` epochs; ``stuck`` in an epoch; ``space`` logs its size.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log = job.folder / "epoch", job.folder / "log"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    _append(log, f"start {job.rung} {os.getpid()}")
    kind = job.architecture
    if kind == "space":
        _append(log, f"params {smallest_params(job.space)}")
    for epoch in range(done + 1, job.epochs + 1):
        if should_stop():
            return None
        time.sleep({"slow": 0.2, "stuck": 60}.get(kind, EPOCH_S))
        if kind == "raise":
            raise ValueError("loss is not finite")
        if kind == "die-once" and epoch == 3 and _first_time(job.folder / "died"):
            os.kill(os.getpid(), signal.SIGKILL)
        checkpoint.write_text(str(epoch))
        _append(log, f"epoch {epoch}")
    return RungResult(job.number, job.rung, job.epochs, 1 / (1 + job.number), 0.0, 0.0)


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


def _first_time(trace: Path) -> bool:
    before = trace.exists()
    trace.touch()
    return not before
