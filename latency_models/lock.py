"""One measurement at a time on a machine."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces.errors import DeviceUnavailable

WAIT_S = 600.0
_POLL_S = 0.05


@contextmanager
def measurement_lock(path: Path | None = None, wait_s: float = WAIT_S) -> Iterator[None]:
    """Holds the machine's measurement lock; the operating system frees it if the process dies.

    Raises: DeviceUnavailable if others hold it for ``wait_s`` seconds.
    """
    path = path or Path(tempfile.gettempdir()) / f"hwnas-measure-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path, time.monotonic() + wait_s)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise DeviceUnavailable(
                    "another measurement keeps this machine busy", hint=f"wait until {path} is free, then try again"
                ) from None
            time.sleep(_POLL_S)
        else:
            return
