"""Checkpoints of a training run: atomic, checked, and bound to their job."""

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.jobs import TrainJob
from search_spaces.definition import space_name
from search_spaces.errors import CorruptFile

FORMAT = 1
_DIGEST_BYTES = 32


class ForeignCheckpoint(CorruptFile):
    """A sound checkpoint of another job."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after ``epoch`` epochs, inside or at the end of ``rung``.

    ``seconds`` were spent on this rung; ``correct`` of ``validated`` validation images are right (0 of 0
    before the rung's end). ``network`` and ``optimizer`` are PyTorch's state dictionaries.
    """

    rung: int
    epoch: int
    seconds: float
    correct: int
    validated: int
    network: dict[str, Any]
    optimizer: dict[str, Any]


def rung_file(folder: Path, rung: int) -> Path:
    """Where the state at the end of a rung is kept."""
    return folder / f"rung{rung}.pt"


def rolling_file(folder: Path) -> Path:
    """Where the latest state inside a rung is kept."""
    return folder / "rolling.pt"


def job_key(job: TrainJob) -> str:
    """What two jobs must share to continue each other."""
    return json.dumps(
        {
            "space": space_name(job.space),
            "architecture": job.architecture,
            "dataset": job.dataset,
            "seed": job.seed,
            "total_epochs": job.total_epochs,
            "training": job.training.model_dump(),
        },
        sort_keys=True,
    )


def save(path: Path, job: TrainJob, checkpoint: Checkpoint) -> None:
    """Writes the checkpoint so that a crash leaves the old file or the new one, never a part."""
    buffer = io.BytesIO()
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    torch.save({"format": FORMAT, "job": job_key(job), **fields}, buffer)
    payload = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(payload)
        file.write(hashlib.sha256(payload).digest())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the new name survives a power cut too
    finally:
        os.close(directory)


def load(path: Path, job: TrainJob) -> Checkpoint:
    """Reads a checkpoint of the job.

    Raises: FileNotFoundError; CorruptFile if it is damaged; ForeignCheckpoint if it belongs to another job.
    """
    data = path.read_bytes()
    payload, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        raise CorruptFile(f"{path} is truncated or damaged", hint="delete it; the trial trains again")
    # the digest proves that we wrote these bytes whole, so what fails from here on is a bug and may raise
    fields: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    if fields.pop("format") != FORMAT:
        raise CorruptFile(f"{path} has another format", hint=f"this version reads format {FORMAT}")
    if fields.pop("job") != job_key(job):
        raise ForeignCheckpoint(
            f"{path} belongs to another architecture, data set, seed or recipe",
            hint="give every trial a folder of its own",
        )
    return Checkpoint(**fields)
