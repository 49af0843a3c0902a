"""Times networks in processes of their own, for ``benchmarks.latency_accuracy``: a job file in, a timings file out.

Where a network's weights and activations happen to lie in memory moves its time by some 2 % until it is loaded again.
So a timing is made of rounds: in each another process loads every network anew, and times it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.latency_accuracy_files import FILES, timer_of
from latency_models.device import parse_device
from latency_models.measure import level_of, time_workloads
from latency_models.timing import Effort, Workload
from search_spaces import Classification, Task, get_space
from search_spaces.deploy import deploy
from search_spaces.errors import NasError

_POLL_S = 0.2


@dataclass(frozen=True)
class Job:
    """Networks of a space, by the text of their architectures, how many copies of each, and how they are timed."""

    space: str
    device: str
    input_shape: tuple[int, ...]
    classes: int
    architectures: tuple[str, ...]
    copies: tuple[int, ...]
    effort: Effort
    seed: int

    def text(self) -> str:
        """The same for equal jobs."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Timings:
    """Milliseconds, network by network, and the seconds since the epoch between which they were timed."""

    started: float
    ended: float
    ms: tuple[float, ...]


def mean_of(rounds: Sequence[Timings]) -> Timings:
    """All rounds as one, each brought to the level of all: geometric means without the ends.

    One load in thirty is more than 10 % off.
    """
    logs = np.log([each.ms for each in rounds])
    levels = np.median(logs - logs.mean(axis=0), axis=1, keepdims=True)
    ordered = np.sort(logs - levels + levels.mean(), axis=0)
    ends = (len(rounds) - 1) // 4
    ms = np.exp(ordered[ends : len(rounds) - ends].mean(axis=0))
    return Timings(min(each.started for each in rounds), max(each.ended for each in rounds), tuple(ms.tolist()))


def time_apart(job: Job, folder: Path, name: str, tick: Callable[[], None]) -> Timings:
    """Times in another process, which ends with this one, into ``{name}.json``, which is written whole.

    ``tick`` is called meanwhile. Raises: NasError with what the other process said.
    """
    job_file = folder / f"{name}.job.json"
    write_whole(job_file, job.text())
    command = [sys.executable, "-m", "benchmarks.latency_accuracy_run", str(job_file), str(_file(folder, name))]
    with (folder / f"{name}.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while process.poll() is None:
                tick()
                time.sleep(_POLL_S)
        finally:
            process.terminate()
            process.wait()
        log.seek(0)
        said = log.read().strip()
    found = read_timings(job, folder, name)
    if process.returncode or found is None:
        raise NasError(f"the process that timed the networks ended with {process.returncode}", hint=said[-2000:])
    return found


def time_twice(job: Job, folder: Path, rounds: int, gap_s: float, console: Console) -> tuple[Timings, Timings]:
    """Two timings of ``rounds`` rounds, the second ``gap_s`` or more after the first has ended.

    Finished rounds in ``folder`` are read instead. Raises: NasError.
    """
    first = mean_of(_rounds(job, folder, "first", rounds, after=0.0, console=console))
    later = replace(job, seed=job.seed + rounds)
    return first, mean_of(_rounds(later, folder, "second", rounds, after=first.ended + gap_s, console=console))


def _rounds(job: Job, folder: Path, name: str, rounds: int, after: float, console: Console) -> list[Timings]:
    """The rounds of a timing, none of which began before ``after`` (seconds since the epoch): that is waited for."""
    found: list[Timings] = []
    for number in range(rounds):
        of, file = replace(job, seed=job.seed + number), f"{name}-{number + 1}"
        done = read_timings(of, folder, file)
        if done is None or done.started < after:
            _wait_until(after, f"the {name} timing", console)
            done = _timed_now(of, folder, file, f"the {name} timing, round {number + 1} of {rounds}", console)
        found.append(done)
    return found


def _wait_until(moment: float, what: str, console: Console) -> None:
    with console.status("") as status:
        while (left := moment - time.time()) > 0:
            status.update(f"{what} begins in {left:.0f} s")
            time.sleep(min(1.0, left))


def _timed_now(job: Job, folder: Path, name: str, what: str, console: Console) -> Timings:
    started = time.monotonic()
    with console.status(what) as status:
        found = time_apart(job, folder, name, lambda: status.update(f"{what}: {time.monotonic() - started:.0f} s"))
    console.print(f"{what}, {len(job.architectures)} networks: {time.monotonic() - started:.0f} s")
    return found


def read_timings(job: Job, folder: Path, name: str) -> Timings | None:
    """The timings of an equal job; None if there are none that can be read."""
    try:
        data: Any = json.loads(_file(folder, name).read_text(encoding="utf-8"))
        if data["job"] != _digest(job.text()) or len(data["ms"]) != len(job.architectures):
            return None
        return Timings(float(data["started"]), float(data["ended"]), tuple(map(float, data["ms"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def time_job(job: Job, files: Path, should_stop: Callable[[], bool] = lambda: False) -> list[float]:
    """Times the networks of a job in an order of its own: milliseconds in the order of the job.

    Chunks are brought to one level of the references; copies of a network are each loaded, and their mean counts.
    """
    space, task = get_space(job.space), Task(job.input_shape, Classification(job.classes))
    graphs = [deploy(space.graph(space.from_string(text), task))[0] for text in job.architectures]
    order = np.random.default_rng(job.seed).permutation(np.repeat(np.arange(len(graphs)), job.copies)).tolist()
    workloads = [Workload(graphs[i]) for i in order]
    timer = timer_of(parse_device(job.device), files)
    timed = time_workloads(workloads, timer, effort=job.effort, seed=job.seed, should_stop=should_stop)
    level = level_of(timed)
    logs: list[list[float]] = [[] for _ in graphs]
    for i, each in zip(order, timed, strict=True):
        logs[i].append(log(each.at(level).value))
    return [exp(mean(of)) for of in logs]


def write_whole(path: Path, text: str) -> None:
    """Writes a file that others see either whole or not at all."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _read_job(path: Path) -> Job:
    data = json.loads(path.read_text(encoding="utf-8"))
    data |= {name: tuple(data[name]) for name in ("input_shape", "architectures", "copies")}
    return Job(**data | {"effort": Effort(**data["effort"])})


def main(arguments: Sequence[str]) -> int:
    job_file, out_file = map(Path, arguments)
    job, parent, started = _read_job(job_file), os.getppid(), time.time()
    try:
        ms = time_job(job, job_file.parent / FILES, should_stop=lambda: os.getppid() != parent)
    except NasError as error:
        print(error, file=sys.stderr)
        return 1
    found = {"job": _digest(job.text()), "started": started, "ended": time.time(), "ms": ms}
    write_whole(out_file, json.dumps(found, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
