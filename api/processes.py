"""Processes of this machine: who lives, who descends from whom, and how to end them.

Facts come from ``/proc``; where there is none (macOS), process groups have to do.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
SUPERVISED = "HWNAS_SUPERVISED"
"""Environment variable that a supervisor sets: end when the parent is gone."""

_PR_SET_CHILD_SUBREAPER = 36
_NEVER = -1


class Process(NamedTuple):
    """A process; ``started`` (clock ticks since boot) tells it from a later one with the same id."""

    pid: int
    started: int


class _Status(NamedTuple):
    parent: int
    state: str
    started: int


def _status(pid: int) -> _Status | None:
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name in brackets may hold anything
    return _Status(int(fields[1]), fields[0], int(fields[19]))


def is_alive(process: Process) -> bool:
    """Whether this very process runs (a zombie does not)."""
    status = _status(process.pid)
    return status is not None and status.started == process.started and status.state not in "ZX"


def descendants(root: int) -> list[Process]:
    """Every process below ``root``, found by parents; empty without ``/proc``."""
    statuses = {int(entry.name): _status(int(entry.name)) for entry in _entries()}
    children: dict[int, list[int]] = {}
    for pid, status in statuses.items():
        if status is not None:
            children.setdefault(status.parent, []).append(pid)
    found, queue = [], [root]
    while queue:
        for pid in children.get(queue.pop(), []):
            status = statuses[pid]
            if status is not None:
                found.append(Process(pid, status.started))
                queue.append(pid)
    return found


def _entries() -> Iterable[Path]:
    return [entry for entry in PROC.iterdir() if entry.name.isdecimal()] if PROC.is_dir() else []


def kill(processes: Iterable[Process]) -> None:
    """Ends processes at once, those that still are the ones meant."""
    for process in processes:
        if is_alive(process):
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it ended by itself


def kill_group(pid: int) -> None:
    """Ends what is left of the process group that ``pid`` led."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nobody is left in it; macOS says EPERM where only zombies are


def adopt_orphans() -> None:
    """On Linux: orphans among this process's descendants become its children, so that none escapes."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(own: Iterable[int]) -> None:
    """Removes adopted children that have ended; those in ``own`` are left to their owner."""
    keep = set(own)
    for process in descendants(os.getpid()):
        status = _status(process.pid)
        if status is not None and status.state == "Z" and status.parent == os.getpid() and process.pid not in keep:
            os.waitpid(process.pid, os.WNOHANG)


def owner_name() -> str:
    """This process in the form ``machine:pid:start``, unique over machines, containers and restarts."""
    status = _status(os.getpid())
    started = status.started if status is not None else time.time_ns()
    return f"{_machine()}:{os.getpid()}:{started}"


def is_dead(owner: str) -> bool:
    """Whether an owner is known to be dead: of this machine, and no longer running."""
    machine, _, rest = owner.rpartition(":")[0].rpartition(":")
    started = owner.rpartition(":")[2]
    if not PROC.is_dir() or machine != _machine() or not rest.isdecimal() or not started.isdecimal():
        return False
    return not is_alive(Process(int(rest), int(started)))


def _machine() -> str:
    """The host, its boot, and the namespace in which process ids count."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(PROC / "self/ns/pid")
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}/{boot[:8]}/{namespace.strip('pid:[]')}"


def watch_parent(on_orphaned: Callable[[], None], every_seconds: float = 0.5) -> None:
    """Under a supervisor, call back once the parent process is gone; without one, do nothing."""
    parent = int(os.environ.get(SUPERVISED, _NEVER))
    if parent == _NEVER:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every_seconds)
        on_orphaned()

    threading.Thread(target=watch, name="parent", daemon=True).start()
