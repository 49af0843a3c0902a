"""Times networks on a remote device: files into the queue, samples out of it. Also: who times a device of a name."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import structlog

from api import agent_store, timing_jobs
from api.db import Database
from api.models import Agent, TimingJob, TimingState, utcnow
from api.settings import Settings
from latency_models.device import Device, parse_device
from latency_models.measure import LocalTimer
from latency_models.runtimes import RUNTIMES, builder
from latency_models.timing import Effort, Machine, MeasuringStopped, Samples, Timer, Workload
from search_spaces.errors import DeviceUnavailable, StorageFull, nearest

REMOTE_RUNTIME = "onnxruntime"
SILENCE_S = 120.0
"""An agent that says nothing for so long is given up."""
LONGEST_S = 12 * 3600.0
WANTED_S = 60.0
POLL_S = 0.25
_SUBMISSIONS = 3

log = structlog.get_logger("timing")


def remote_names(agent: str) -> list[str]:
    """The devices of an agent's machine with one thread and batch 1, one for each precision."""
    precisions = RUNTIMES[REMOTE_RUNTIME].precisions
    return [f"{agent}-{REMOTE_RUNTIME}" + ("" if precision == "fp32" else f"-{precision}") for precision in precisions]


def timer_of(database: Database, settings: Settings, name: str) -> Timer:
    """Who times the device of a name: this process, or the agent that is its host.

    Raises: DeviceUnavailable where there is no such agent; whether it is connected is asked when it times.
    """
    device = parse_device(name)
    return LocalTimer(device) if device.is_local else RemoteTimer(database, settings, device)


class RemoteTimer:
    """A ``Timer`` on an agent's machine."""

    def __init__(self, database: Database, settings: Settings, device: Device, *, silence_s: float = SILENCE_S) -> None:
        if device.runtime != REMOTE_RUNTIME:
            raise DeviceUnavailable(
                f"{device.name}: agents run {REMOTE_RUNTIME} only, not {device.runtime}",
                hint=f"{device.host}-{REMOTE_RUNTIME}",
                field="device",
            )
        self.device = device
        self._database = database
        self._folder = settings.data_dir
        self._silence_s = silence_s
        self._agent()

    def machine(self) -> Machine:
        """See ``Timer``. Raises: DeviceUnavailable before the agent first connects, or for more threads than it has."""
        agent = self._agent()
        if agent.cpu is None or agent.runtime_version is None or agent.threads is None:
            raise DeviceUnavailable(f"the agent {agent.name} has never connected", hint=_start_hint(agent.name))
        if self.device.threads > agent.threads:
            raise DeviceUnavailable(
                f"{self.device.name}: the agent's machine has {agent.threads} threads", hint=f"-t{agent.threads}"
            )
        return Machine(agent.cpu, agent.runtime_version)

    def time(
        self,
        workloads: Sequence[Workload],
        *,
        effort: Effort,
        seed: int = 0,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[Samples]:
        """See ``Timer``. Raises: DeviceUnavailable if the agent is silent or cannot time a file, StorageFull."""
        if not workloads:
            return []
        build, machine = builder(self.device.runtime), self.machine()
        files = []
        for work in workloads:
            _check(should_stop)
            files.append(build(work.graph, work.weights, self.device))
        batch = self._key(files, effort, seed, machine)
        try:
            for _ in range(_SUBMISSIONS):  # another process that times the same may take the jobs away
                self._submit(batch, files, effort, seed)
                if self._wait(batch, len(files), should_stop):
                    break
            with self._database.read() as session:
                rows = timing_jobs.list_batch(session, batch)
        finally:
            self._drop(batch)
        found = [row.samples for row in rows if row.state == TimingState.DONE and row.samples is not None]
        if len(found) < len(files) or self.machine() != machine:
            raise DeviceUnavailable(
                f"the agent {self.device.host} changed, or its jobs were taken away, while it timed", hint="try again"
            )
        return list(found)

    def _agent(self) -> Agent:
        name = self.device.host
        with self._database.read() as session:
            agent = session.get(Agent, name)
            known = [other.name for other in agent_store.list_agents(session)]
        if agent is None:
            hint = f"{nearest(name, known)}; " if known else ""
            raise DeviceUnavailable(
                f"{self.device.name}: there is no agent {name!r}",
                hint=f"{hint}make it: hwnas agents add {name}",
                field="device",
            )
        return agent

    def _key(self, files: Sequence[bytes], effort: Effort, seed: int, machine: Machine) -> str:
        """The same for the same work, so that whoever starts again after a crash finds what was timed."""
        facts = [self.device.name, *machine, str(effort.visits), repr(effort.visit_s), str(seed)]
        return sha256("\n".join([*facts, *(sha256(file).hexdigest() for file in files)]).encode()).hexdigest()

    def _submit(self, batch: str, files: Sequence[bytes], effort: Effort, seed: int) -> None:
        folder = self._folder / "timing" / batch
        jobs = []
        for position, file in enumerate(files):
            digest = sha256(file).hexdigest()
            path = folder / f"{digest}.onnx"
            _write(path, file)
            jobs.append(
                TimingJob(
                    agent=self.device.host,
                    batch=batch,
                    position=position,
                    device=self.device.name,
                    sha256=digest,
                    path=str(path.relative_to(self._folder)),
                    size=len(file),
                    visits=effort.visits,
                    visit_s=effort.visit_s,
                    seed=seed % 2**31,
                )
            )
        self._agent()
        with self._database.write() as session:
            for forgotten in timing_jobs.drop_forgotten(session):
                self._remove_files(forgotten)
            timing_jobs.add_jobs(session, jobs, WANTED_S)

    def _wait(self, batch: str, count: int, should_stop: Callable[[], bool]) -> bool:
        """Whether the batch is DONE; False if its jobs were taken away. Raises: DeviceUnavailable, MeasuringStopped."""
        begun = kept = time.monotonic()
        while time.monotonic() - begun < LONGEST_S:
            _check(should_stop)
            with self._database.read() as session:
                states = timing_jobs.batch_states(session, batch)
            if TimingState.FAILED in states:
                raise self._failure(batch)
            if len(states) < count:
                return False
            if set(states) == {TimingState.DONE}:
                return True
            self._check_alive(time.monotonic() - begun)
            if time.monotonic() - kept > WANTED_S / 4:
                kept = time.monotonic()
                with self._database.write() as session:
                    timing_jobs.keep_wanted(session, batch, WANTED_S)
            time.sleep(POLL_S)
        raise DeviceUnavailable(
            f"the agent {self.device.host} did not time {count} files in {LONGEST_S / 3600:.0f} hours",
            hint="time fewer networks, or smaller ones",
        )

    def _check_alive(self, waited_s: float) -> None:
        agent = self._agent()
        seen, silence = agent.last_seen_at, timedelta(seconds=self._silence_s)
        if waited_s > self._silence_s and (seen is None or utcnow() - seen > silence):
            raise DeviceUnavailable(
                f"the agent {agent.name} has said nothing for {self._silence_s:.0f} s", hint=_start_hint(agent.name)
            )

    def _failure(self, batch: str) -> DeviceUnavailable:
        with self._database.read() as session:
            failed = [row for row in timing_jobs.list_batch(session, batch) if row.state == TimingState.FAILED]
        first = failed[0]
        return DeviceUnavailable(
            f"the agent {self.device.host} did not time {len(failed)} of the files; number {first.position}: "
            f"{first.error}",
            hint="its own output says more; hwnas agents shows its runtime",
        )

    def _drop(self, batch: str) -> None:
        with self._database.write() as session:
            timing_jobs.drop_batch(session, batch)
        self._remove_files(batch)

    def _remove_files(self, batch: str) -> None:
        shutil.rmtree(self._folder / "timing" / batch, ignore_errors=True)


def _start_hint(name: str) -> str:
    return f"start it on its machine: {agent_store.start_command(name)}"


def _check(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise MeasuringStopped("measuring was stopped", hint="start it again: what was measured is kept")


def _write(path: Path, data: bytes) -> None:
    """Writes a file whole, where it is not there already. Raises: StorageFull."""
    if path.exists() and path.stat().st_size == len(data):
        return
    temporary = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFull(f"no space left for {path}", hint="free some space, then start again") from error
