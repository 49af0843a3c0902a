"""Graphs a second, one thread: sample, graph with parameters and MACs, peak memory; cold and warm memo.

Cold: the memo is emptied before every graph. Warm: the same architectures were built before. Best of
``--rounds`` rounds, because other processes only ever slow a round down.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from search_spaces import SPACES, Classification, Task, get_space
from search_spaces.cost import peak_memory_bytes


def per_second(work: Callable[[], object], count: int, rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return count / best


def measure(name: str, networks: int, rounds: int) -> dict[str, Any]:
    space: Any = get_space(name)
    task = Task((3, 32, 32), Classification(10))
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(networks)]
    few = archs[: max(1, networks // 10)]

    def cold() -> None:
        for arch in few:
            space.memo.entries.clear()
            peak_memory_bytes(space.graph(arch, task))

    def warm() -> None:
        for arch in archs:
            peak_memory_bytes(space.graph(arch, task))

    def sampling() -> None:
        for _ in archs:
            space.sample(rng)

    def identities() -> None:
        for arch in few:
            space.graph(arch, task).fingerprint  # noqa: B018

    result = {"cold": per_second(cold, len(few), rounds)}
    warm()
    result |= {
        "warm": per_second(warm, networks, rounds),
        "sample": per_second(sampling, networks, rounds),
        "fingerprint": per_second(identities, len(few), rounds),
    }
    return {**{key: round(value) for key, value in result.items()}, "memo_entries": len(space.memo)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = {name: measure(name, arguments.networks, arguments.rounds) for name in SPACES}
    console = Console()
    if arguments.json:
        console.print_json(json.dumps(results))
        return
    table = Table("space", "cold /s", "warm /s", "samples /s", "fingerprints /s", "memo entries")
    for name, row in results.items():
        table.add_row(name, *(f"{value:,}" for value in row.values()))
    console.print(table)
    console.print(f"{arguments.networks} networks, best of {arguments.rounds} rounds, {platform.machine()}, one thread")


if __name__ == "__main__":
    main()
