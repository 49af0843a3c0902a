"""Networks a second, one thread: sample an architecture, build its graph, read params, MACs and peak memory.

For every space (``--space``: some of them), on 32 x 32 images or the resolution that the architecture chooses:
cold, with the memo emptied before each network (first: and the facts of single layers that a process keeps);
warm, new architectures after ``--networks`` others filled the memo (its entries are listed), as a random search
goes; again, architectures that were built before, as a search comes back to them. Beside it what is worked out on
request: the hash of the choices (ids) and of the network (fingerprints). PyTorch: the same networks as modules on
the meta device, without memory for weights. Best of ``--rounds`` short rounds, because other processes only ever
slow a round down.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from search_spaces import SPACES, Classification, Task, get_space
from search_spaces.builder import forget_layers
from search_spaces.cost import peak_memory_bytes
from search_spaces.graph import Graph
from search_spaces.torch_network import TorchNetwork

TASK = Task((3, 32, 32), Classification(10))
COLUMNS = ("first", "cold", "warm", "again", "memo_entries", "ids", "fingerprints", "pytorch")


def per_second(work: Callable[[int], object], count: int, rounds: int) -> float:
    """The best rate of ``work``, which gets the number of the round and does ``count`` things."""
    best = float("inf")
    for number in range(rounds):
        start = time.perf_counter()
        work(number)
        best = min(best, time.perf_counter() - start)
    return count / best


def measure(name: str, networks: int, rounds: int) -> dict[str, float]:
    space: Any = get_space(name)
    share = max(1, networks // 10)  # of a round
    few = max(1, networks // 100)

    def costed(seed: int, count: int, forget: str = "") -> Iterator[Graph]:
        rng = np.random.default_rng(seed)
        for _ in range(count):
            if forget:
                space.memo.entries.clear()
            if forget == "first":
                forget_layers()
            graph = space.graph(space.sample(rng), TASK)
            _ = graph.params, graph.macs, peak_memory_bytes(graph)
            yield graph

    def consume(seed: int, count: int, forget: str = "") -> None:
        for _ in costed(seed, count, forget):
            pass

    rates = {
        "first": per_second(lambda number: consume(0, few, "first"), few, rounds),
        "cold": per_second(lambda number: consume(0, few, "cold"), few, rounds),
    }
    consume(1, networks)
    entries = len(space.memo)
    rates["warm"] = per_second(lambda number: consume(2 + number, share), share, rounds)
    consume(0, share)
    rates["again"] = per_second(lambda number: consume(0, share), share, rounds)

    rng = np.random.default_rng(0)
    archs = [[space.sample(rng) for _ in range(share)] for _ in range(rounds)]
    rates["ids"] = per_second(lambda number: [arch.id for arch in archs[number]], share, rounds)
    graphs = [list(costed(0, few)) for _ in range(rounds)]
    rates["fingerprints"] = per_second(lambda number: [graph.fingerprint for graph in graphs[number]], few, rounds)
    some = graphs[0][:5]
    with torch.device("meta"):
        rates["pytorch"] = per_second(lambda number: [TorchNetwork(graph) for graph in some], len(some), rounds)
    return {key: round(rate) if rate > 100 else round(rate, 1) for key, rate in rates.items()} | {
        "memo_entries": entries
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", action="append", choices=SPACES, help="repeat for several; default: all")
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = {name: measure(name, arguments.networks, arguments.rounds) for name in arguments.space or SPACES}
    console = Console()
    if arguments.json:
        console.print_json(json.dumps(results))
        return
    table = Table("a second", *(column.replace("_", " ") for column in COLUMNS))
    for name, row in results.items():
        table.add_row(name, *(f"{row[key]:,}" for key in COLUMNS))
    console.print(table)
    console.print(f"{arguments.networks} networks, best of {arguments.rounds} rounds, {platform.machine()}, one thread")


if __name__ == "__main__":
    main()
