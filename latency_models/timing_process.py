"""A process that loads model files and times them, and ends.

A process that has loaded and dropped hundreds of models runs each of them 5 to 15 % slower than a new one does, small
ones most. A deployed network has a process of its own, so whatever is timed here has a new one too.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from latency_models.agent import time_visits
from latency_models.device import Device
from latency_models.lock import measurement_lock
from latency_models.runtimes import Run, loader
from latency_models.timing import Effort, Samples, stopped
from search_spaces.errors import DeviceUnavailable, NasError

_POLL_S = 0.1
_SAID = 2000  # characters of what a process said that ended by itself


class _Job(NamedTuple):
    device: Device
    effort: Effort
    seed: int
    models: int


def time_files(
    models: Iterable[tuple[bytes, bool]],
    count: int,
    device: Device,
    *,
    effort: Effort,
    seed: int,
    should_stop: Callable[[], bool],
) -> list[Samples]:
    """Loads one chunk of ``count`` files of the device's runtime in a new process, and times them.

    ``models`` are sent as they come: each file, and whether it is part of networks.
    Raises: DeviceUnavailable (also where the process dies), InvalidGraph, MeasuringStopped, and what ``models`` raises.
    """
    root = str(Path(__file__).parents[1])
    paths = [root, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    with tempfile.TemporaryFile() as result, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(result.fileno())],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.PIPE, stdout=said, stderr=said, pass_fds=[result.fileno()],
        )  # fmt: skip
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # it has ended already, and its result says why
                for what in chain([_Job(device, effort, seed, count)], models):
                    pickle.dump(what, process.stdin)
                    process.stdin.flush()
            while not _ended(process):
                if should_stop():
                    raise stopped()
        finally:
            process.kill()
            process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()
        if process.returncode:
            said.seek(0)
            words = said.read().decode(errors="replace").strip()[-_SAID:]
            raise DeviceUnavailable(f"the process that timed ended with {process.returncode}", hint=words)
        result.seek(0)
        # safe to unpickle: a file without a name, which only that process could write
        found: list[Samples] | NasError = pickle.load(result)
    if isinstance(found, NasError):
        raise found
    return found


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _time(job: _Job, models: Iterator[tuple[bytes, bool]], should_stop: Callable[[], bool]) -> list[Samples]:
    load = loader(job.device.runtime)
    runs: list[Run] = []
    for file, part in models:
        options = {"part": True} if part else {}
        runs.append(load(file, job.device, seed=job.seed, **options))
        runs[-1]()
    gc.disable()
    with measurement_lock():
        samples = time_visits(runs, job.effort.visits, job.effort.visit_s, job.seed, should_stop)
    if samples is None:
        raise stopped()
    return list(samples)


def main(result: int) -> None:
    """Reads a job and its models, and writes the samples, or the error, to the descriptor ``result``.

    Ends early where whoever started it is gone.
    """
    parent = os.getppid()
    found: list[Samples] | NasError
    # safe to unpickle: the pipe of the process that started this one
    job: _Job = pickle.load(sys.stdin.buffer)
    models = (pickle.load(sys.stdin.buffer) for _ in range(job.models))
    try:
        found = _time(job, models, should_stop=lambda: os.getppid() != parent)
    except NasError as error:
        found = error
    with os.fdopen(result, "wb") as file:
        pickle.dump(found, file)


if __name__ == "__main__":
    main(int(sys.argv[1]))
