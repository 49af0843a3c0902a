"""The service on one machine: an api and a worker process, watched, restarted, and ended together."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from api import net, processes
from api.settings import Settings

POLL_SECONDS = 0.2
RESTARTS = 5
"""Restarts of one process within ``RESTART_WINDOW_SECONDS``; one more ends the service."""
RESTART_WINDOW_SECONDS = 120.0
TERM_SECONDS = 8.0
"""Time that processes have to end by themselves, before they are killed."""


class Child:
    """One process of the service in its own process group, its output in a log file."""

    def __init__(self, name: str, module: str, settings: Settings) -> None:
        self.name = name
        self._module = module
        self._settings = settings
        self._starts: list[float] = []
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts.append(time.monotonic())
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("HWNAS_")},
            **self._settings.environment(),
            processes.SUPERVISED: str(os.getpid()),
        }
        with (self._settings.log_dir / f"{self.name}.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", self._module],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def restart(self) -> bool:
        """Start again after an end; False if that has happened too often."""
        recent = [t for t in self._starts if time.monotonic() - t < RESTART_WINDOW_SECONDS]
        if len(recent) > RESTARTS:
            return False
        processes.kill_group(self.process.pid)
        self.process = self._start()
        return True


def run_service(settings: Settings, *, say: Callable[[str], None] | None = None) -> int:
    """Run the service until SIGTERM or SIGINT; its exit code.

    0: ended by a signal; 1: the port is busy (said in one line before anything starts), or a process
    kept ending. ``say`` gets the lines for a person; by default they go to standard error.
    """
    say = say or _to_stderr
    try:
        net.bind(settings.host, settings.port).close()
    except net.PortBusy as error:
        say(str(error))
        return 1
    settings.log_dir.mkdir(parents=True, exist_ok=True)
    processes.adopt_orphans()
    stopping = threading.Event()
    with _signals_to(stopping):
        children = [Child("api", "api.serve", settings), Child("worker", "api.worker", settings)]
        try:
            return _watch(children, stopping, settings, say)
        finally:
            _end(children)


def _watch(children: list[Child], stopping: threading.Event, settings: Settings, say: Callable[[str], None]) -> int:
    """Restart what ends, until told to stop or until it ends too often."""
    while not stopping.wait(POLL_SECONDS):
        processes.reap_orphans(child.process.pid for child in children)
        for child in children:
            code = child.process.poll()
            if code is None:
                continue
            told = f"the {child.name} ended with code {code}; see {settings.log_dir / child.name}.log"
            if not child.restart():
                say(f"{told}. It ended {RESTARTS + 1} times within {RESTART_WINDOW_SECONDS:.0f} s: giving up")
                return 1
            say(f"{told}. Started again")
    return 0


def _end(children: list[Child]) -> None:
    """End every process of the service, within ten seconds."""
    family = processes.descendants(os.getpid())
    for child in children:
        if child.process.poll() is None:
            child.process.terminate()
    deadline = time.monotonic() + TERM_SECONDS
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(timeout=max(0.0, deadline - time.monotonic()))
    for child in children:
        processes.kill_group(child.process.pid)
    # Ray's own processes leave the group; those started since are found again
    processes.kill({*family, *processes.descendants(os.getpid())})
    for child in children:
        child.process.wait(timeout=2)
    processes.reap_orphans(())


@contextlib.contextmanager
def _signals_to(stopping: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set the event while the block runs."""

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    before: dict[int, Any] = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
