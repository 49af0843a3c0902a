"""Peak activation memory by the schedule against the arena that TFLite Micro's interpreter allocates.

Networks are sampled from several spaces, written as int8 TFLite files and loaded by the interpreter (package
``tflite-micro``), whose recording allocator counts what it gave: the head of the arena (activations and scratch) and
its tail (structures that live as long as the interpreter). Computed to allocated: ``figure`` (the most that is alive
at one step of the file's schedule) and ``placed`` (its placement, which the file holds) to the head, ``tail`` to the
tail, ``arena`` to both together; ``greedy`` to the head of the same file without a placement, where the interpreter
plans by itself; ``in_place``, the figure of a runtime that runs every activation in place, to the head.
``head_share`` is the head in the whole arena, ``saved`` what the placement takes off the interpreter's own head.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from latency_models.memory import memory_schedule
from latency_models.tflite_arena import measure_arena, predict_arena
from search_spaces import Classification, Task, get_space
from search_spaces.deploy import deploy
from search_spaces.errors import DeviceUnavailable
from search_spaces.graph import Graph
from search_spaces.tflite_graph import to_tflite
from search_spaces.tflite_schedule import tflite_schedule

# the larger spaces choose their own resolution
SPACES = ("mobilenet_v2_small", "nas_bench_201", "mobilenet_v2", "mobilenet_v3", "mnasnet")
TASK = Task((3, 32, 32), Classification(10))
LARGER = Task((3, 96, 96), Classification(10))
RATIOS = ("figure", "placed", "tail", "arena", "greedy", "in_place")
SHARES = ("head_share", "saved")


def sampled(networks: int, seed: int) -> Iterator[tuple[str, str, Graph]]:
    """Space, architecture and deployed graph of each network, the spaces in turn."""
    rng = np.random.default_rng(seed)
    for number in range(networks):
        name = SPACES[number % len(SPACES)]
        space: Any = get_space(name)
        arch = space.sample(rng)
        task = TASK if name in ("mobilenet_v2_small", "nas_bench_201") else LARGER
        yield name, arch.id, deploy(space.graph(arch, task))[0]


def compared(graph: Graph) -> dict[str, float]:
    """Bytes computed and allocated for one deployed graph, and their ratios."""
    figure = tflite_schedule(graph).peak_bytes
    in_place = memory_schedule(graph, bytes_per_element=1).peak_bytes
    predicted, unplanned = predict_arena(graph), predict_arena(graph, planned=False)
    found, own = measure_arena(to_tflite(graph)), measure_arena(to_tflite(graph, planned=False))
    return {
        "figure_bytes": figure,
        "placed_bytes": predicted.head_bytes,
        "head_bytes": found.head_bytes,
        "tail_bytes": found.tail_bytes,
        "own_head_bytes": own.head_bytes,
        "figure": figure / found.head_bytes,
        "placed": predicted.head_bytes / found.head_bytes,
        "tail": predicted.tail_bytes / found.tail_bytes,
        "arena": predicted.bytes / found.bytes,
        "greedy": unplanned.head_bytes / own.head_bytes,
        "in_place": in_place / found.head_bytes,
        "head_share": found.head_bytes / found.bytes,
        "saved": 1 - found.head_bytes / own.head_bytes,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    found = {}
    for ratio in (*RATIOS, *SHARES):
        values = np.array([row[ratio] for row in rows])
        within = float(np.mean(np.abs(values - 1) <= 0.01))
        found[ratio] = {
            "median": round(float(np.median(values)), 4),
            "min": round(float(values.min()), 4),
            "max": round(float(values.max()), 4),
            "within_1": within,
        }
    return found


def show(found: dict[str, dict[str, float]], networks: int) -> None:
    table = Table("computed / allocated", "median", "min", "max", "within 1 %")
    for ratio, row in found.items():
        share = f"{row['within_1']:.0%}" if ratio in RATIOS else ""
        table.add_row(ratio, *(f"{row[key]:.4f}" for key in ("median", "min", "max")), share)
    console = Console()
    console.print(table)
    console.print(f"{networks} networks of {', '.join(SPACES)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.networks < 1:
        parser.error("--networks must be at least 1")
    try:
        rows: list[dict[str, Any]] = [
            {"space": name, "architecture": arch, **compared(graph)}
            for name, arch, graph in sampled(arguments.networks, arguments.seed)
        ]
    except DeviceUnavailable as error:
        raise SystemExit(str(error)) from error
    if arguments.json:
        spaces = {name: summary(of) for name in SPACES if (of := [row for row in rows if row["space"] == name])}
        print(json.dumps({"networks": len(rows), "ratios": summary(rows), "spaces": spaces, "rows": rows}))
    else:
        show(summary(rows), len(rows))


if __name__ == "__main__":
    main()
