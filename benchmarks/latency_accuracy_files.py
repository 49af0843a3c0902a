"""Files of networks that took long to build, kept for the rounds of the latency benchmark, which load them again."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from latency_models.device import Device
from latency_models.measure import LocalTimer
from latency_models.runtimes import builder, runtime_version
from search_spaces.graph import Graph

LONG_S = 1.0
FILES = "files"
"""The folder of the files within that of a run."""


def timer_of(device: Device, folder: Path) -> LocalTimer:
    """Times on this machine; what takes longer than ``LONG_S`` to build (ExecuTorch) is built once."""
    made, version = builder(device.runtime), runtime_version(device.runtime)

    def build(
        graph: Graph,
        weights: Mapping[str, NDArray[Any]] | None,
        device: Device,
        *,
        samples: Sequence[NDArray[Any]] | None = None,
    ) -> bytes:
        if weights is not None or samples is not None:
            return made(graph, weights, device, samples=samples)
        text = "\n".join((device.name, version, graph.fingerprint))
        path = folder / f"{sha256(text.encode()).hexdigest()}.file"
        if path.exists():
            return path.read_bytes()
        started = time.monotonic()
        file = made(graph, None, device)
        if time.monotonic() - started > LONG_S:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_bytes(file)
            temporary.replace(path)
        return file

    return LocalTimer(device, build)
