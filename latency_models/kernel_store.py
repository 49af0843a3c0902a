"""Finished timings of one device and machine, on disk: profiling resumes from them, and spaces share them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

from latency_models.device import Device
from latency_models.estimate import Estimate, Source
from latency_models.measure import Timed
from latency_models.timing import Machine
from search_spaces.errors import CorruptFile, StorageFull

STORE_VERSION = 1


class KernelStore:
    """Timings by the fingerprint of the deployed graph; what is put is on disk when ``put`` returns.

    One file a device, machine, runtime version, precision, threads and batch, to which whole lines are appended: a
    line that a crash cut off is left out. ``folder`` None keeps the timings in memory only.
    Raises: CorruptFile if the file is another's.
    """

    def __init__(self, folder: Path | None, device: Device, machine: Machine) -> None:
        self._facts = {
            "version": STORE_VERSION,
            "device": device.name,
            "runtime": device.runtime,
            "precision": device.precision,
            "threads": device.threads,
            "batch_size": device.batch_size,
            "cpu": machine.cpu,
            "runtime_version": machine.runtime_version,
        }
        digest = sha256(json.dumps(self._facts, sort_keys=True).encode()).hexdigest()
        self.path = folder / f"{device.name}-{digest[:12]}.jsonl" if folder is not None else None
        self._timed: dict[str, Timed] = {}
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def __len__(self) -> int:
        return len(self._timed)

    def get(self, fingerprint: str) -> Timed | None:
        """The timing of a deployed graph, as it came."""
        return self._timed.get(fingerprint)

    def put(self, timings: Iterable[tuple[str, Timed]]) -> None:
        """Keeps timings; all of a call or none. Raises: StorageFull, after which the file is as it was."""
        new = dict(timings)
        if self.path is not None and new:
            lines = [_line(key, timed) for key, timed in new.items()]
            if not self.path.exists():
                lines.insert(0, json.dumps(self._facts, sort_keys=True))
            _append(self.path, "".join(f"{line}\n" for line in lines).encode())
        self._timed.update(new)

    def _read(self, path: Path) -> None:
        lines = path.read_bytes().split(b"\n")
        try:
            facts = json.loads(lines[0])
        except ValueError:
            facts = None
        if facts != self._facts:
            raise CorruptFile(
                f"{path} does not hold the timings of {self._facts['device']}", hint="delete the file: it is made anew"
            )
        for line in lines[1:]:
            if (found := _timed(line)) is not None:
                self._timed[found[0]] = found[1]


def _line(key: str, timed: Timed) -> str:
    row = {
        "key": key,
        "ms": timed.estimate.value,
        "error_ms": timed.estimate.error,
        "reference_ms": timed.reference_ms,
    }
    return json.dumps(row, allow_nan=False)


def _timed(line: bytes) -> tuple[str, Timed] | None:
    """What a line holds; None for one that was cut off or changed."""
    try:
        row: Any = json.loads(line)
        ms, error_ms, reference_ms = float(row["ms"]), float(row["error_ms"]), tuple(map(float, row["reference_ms"]))
        positive = (ms, *reference_ms)
        if not (isfinite(error_ms) and reference_ms and all(isfinite(x) and x > 0 for x in positive)):
            return None
        return str(row["key"]), Timed(Estimate(ms, error_ms, Source.MEASURED), reference_ms)
    except (ValueError, KeyError, TypeError):
        return None


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data  # a crash cut the last line off
        try:
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, size)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StorageFull(f"no space left for {path}", hint="free some space, then start again") from error
    finally:
        os.close(descriptor)
