"""Zero-shot values of NAS-Bench-201's networks, kept from run to run, for the benchmarks that rank or search them.

A network is that of a published cell: 16 channels, five cells a stage, 3 x 32 x 32, 10 classes. No data set is read: in
place of images there is noise with the spectrum of photographs, with random classes, one batch for all. No accuracy of
the table is read either. A value is kept under the graph's fingerprint, the proxy, the hash of the
source that computes it, and the seed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.graph_features import graph_features
from nas.learning import pool_features
from nas.proxies import PROXIES
from search_spaces import Classification, Task
from search_spaces.graph import Graph
from search_spaces.nas_bench_201 import NasBench201

TASK = Task((3, 32, 32), Classification(10))
BATCH_SIZE = 16
_SHARED = ("nodes", "weights", "passes", "compute")  # what every proxy's value depends on, beside its own file
_CHUNK = 8

if TYPE_CHECKING:
    import torch

Values = Mapping[str, float | None]
Floats = NDArray[np.float64]


@lru_cache(maxsize=2)
def space_of(pruned: bool) -> NasBench201:
    """The space, with or without the operations that no path reaches."""
    return NasBench201(prune=pruned)


@lru_cache(maxsize=40_000)
def fingerprint_of(cell: str, pruned: bool) -> str:
    return graph_of(cell, pruned).fingerprint


def graph_of(cell: str, pruned: bool) -> Graph:
    """The network of a published cell string."""
    space = space_of(pruned)
    return space.graph(space.from_string(cell), TASK)


class ValueStore:
    """Values by network and proxy, in one file of lines for each seed; whoever appends, others read later."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path = folder / f"nas_bench_201-{seed}.jsonl"
        self.seed = seed
        folder.mkdir(parents=True, exist_ok=True)
        self._values: dict[tuple[str, str], float | None] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                self._read(line)

    def _read(self, line: str) -> None:
        try:
            row = json.loads(line)
            found = {(row["graph"], key): value for key, value in row["values"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # cut off when a process was killed
        self._values.update(found)

    def get(self, graph: str, proxy: str) -> float | None:
        return self._values[graph, _key(proxy)]

    def missing(self, graph: str, proxies: Iterable[str]) -> tuple[str, ...]:
        return tuple(proxy for proxy in proxies if (graph, _key(proxy)) not in self._values)

    def put(self, graph: str, values: Values) -> None:
        line = json.dumps({"graph": graph, "values": {_key(proxy): value for proxy, value in values.items()}})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self._read(line)


@lru_cache(maxsize=64)
def _key(proxy: str) -> str:
    """The proxy and the hash of its source."""
    module = PROXIES[proxy].path.partition(":")[0]
    names = [*(f"nas.proxies.{name}" for name in _SHARED), module]
    root = Path(__file__).resolve().parent.parent
    files = [root / f"{name.replace('.', '/')}.py" for name in names]
    facts = [str(PROXIES[proxy].initialisations), *(file.read_text(encoding="utf-8") for file in files)]
    return f"{proxy}:{sha256(chr(0).join(facts).encode()).hexdigest()[:16]}"


def values_of(
    cells: Sequence[str],
    proxies: Sequence[str],
    store: ValueStore,
    *,
    pruned: bool = True,
    workers: int = 1,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[Values]:
    """The proxies of every cell's network; what the store lacks is computed by so many processes, and stored."""
    prints = [fingerprint_of(cell, pruned) for cell in cells]
    wanted: dict[str, tuple[str, tuple[str, ...]]] = {}
    for cell, graph in zip(cells, prints, strict=True):
        if lacking := store.missing(graph, proxies):
            wanted.setdefault(graph, (cell, lacking))
    jobs = [(graph, cell, pruned, lacking, store.seed) for graph, (cell, lacking) in wanted.items()]
    for done, (graph, values) in enumerate(_computed(jobs, workers), 1):
        store.put(graph, values)
        tell(done, len(jobs))
    return [{proxy: store.get(graph, proxy) for proxy in proxies} for graph in prints]


Job = tuple[str, str, bool, tuple[str, ...], int]


def _computed(jobs: Sequence[Job], workers: int) -> Iterable[tuple[str, Values]]:
    if workers <= 1 or len(jobs) <= _CHUNK:
        yield from map(compute, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(compute, jobs, chunksize=_CHUNK)


def compute(job: Job) -> tuple[str, dict[str, Any]]:
    """The proxies of one network, by its fingerprint."""
    graph, cell, pruned, proxies, seed = job
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    from nas.proxies.compute import score_graph

    generator = torch.Generator().manual_seed(seed)
    images = natural_noise((BATCH_SIZE, *TASK.input_shape), generator)
    labels = torch.randint(0, TASK.head.classes, (BATCH_SIZE,), generator=generator)
    images = images.contiguous(memory_format=torch.channels_last)
    network_seed = int.from_bytes(sha256(f"{seed}:{graph}".encode()).digest()[:7], "big")
    return graph, dict(score_graph(graph_of(cell, pruned), images, labels, proxies, network_seed))


def natural_noise(shape: tuple[int, int, int, int], generator: torch.Generator) -> torch.Tensor:
    """(n, c, h, w) of mean 0 and deviation 1, whose amplitude falls as 1 / f, as that of photographs does.

    Source: Field 1987, "Relations between the statistics of natural images and the response properties of cortical
    cells".
    """
    import torch

    white = torch.fft.rfft2(torch.randn(shape, generator=generator))
    vertical, horizontal = torch.fft.fftfreq(shape[2])[:, None], torch.fft.rfftfreq(shape[3])[None]
    frequency = (vertical.square() + horizontal.square()).sqrt().clamp(min=1 / max(shape[2:]))
    images = torch.fft.irfft2(white / frequency, s=shape[2:])
    return (images - images.mean()) / images.std()


def features_of(cells: Sequence[str], values: Sequence[Values], proxies: Sequence[str]) -> tuple[Floats, ...]:
    """What the surrogate sees: ``nas.learning.pool_features``."""
    codes, forms = zip(*map(_look, cells), strict=True)
    return pool_features(np.stack(codes), np.stack(forms), values, proxies)


@lru_cache(maxsize=20_000)
def _look(cell: str) -> tuple[NDArray[np.int64], Floats]:
    space = space_of(True)
    return space.encode(space.from_string(cell)), graph_features(graph_of(cell, True))
