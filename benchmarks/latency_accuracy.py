"""Predicted against freshly measured latency on random networks that the profile has not seen.

Profiles the device, predicts, then times each network anew. The machine should do nothing else meanwhile.
"""

import argparse
import json
import platform
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from latency_models.device import cpu_model, parse_device
from latency_models.measure import measure_latency_ms
from latency_models.profile import profile_device
from latency_models.report import accuracy_report
from search_spaces import SPACES, Classification, Task, get_space
from search_spaces.deploy import deploy
from search_spaces.onnx_graph import to_onnx

TASKS = {
    "mobilenet_v2": Task((3, 224, 224), Classification(1000)),
    "mobilenet_v2_small": Task((1, 8, 8), Classification(10)),
    "nas_bench_201": Task((3, 32, 32), Classification(10)),
}


def task_of(space_name: str) -> Task:
    """The task that a space is meant for: large images where it chooses resolutions, small ones elsewhere."""
    large = bool(get_space(space_name).input_sizes)
    shape, classes = ((3, 224, 224), 1000) if large else ((3, 32, 32), 10)
    return TASKS.get(space_name, Task(shape, Classification(classes)))


def measure(space_name: str, device_name: str, networks: int, wall_seconds: float, seed: int) -> dict[str, Any]:
    space, task, device = get_space(space_name), task_of(space_name), parse_device(device_name)
    started = time.monotonic()
    profile = profile_device(device, space, task, seed=seed, wall_seconds=wall_seconds)
    profiled_s = time.monotonic() - started
    predictor = profile.predictor()
    rng = np.random.default_rng([seed, 1])
    graphs = [space.graph(space.sample(rng), task) for _ in range(networks)]
    predicted = [predictor.predict(graph) for graph in graphs]
    measured = measure_latency_ms([to_onnx(deploy(g)[0]).SerializeToString() for g in graphs], device, seed=seed)
    inside = [abs(p.value - m.value) <= (p.error or 0) for p, m in zip(predicted, measured, strict=True)]
    start = time.perf_counter()
    for graph in graphs:
        predictor.predict(graph)
    return accuracy_report([p.value for p in predicted], [m.value for m in measured]) | {
        "inside_stated_interval": float(np.mean(inside)),
        "extrapolated_networks": float(np.mean([bool(p.note) for p in predicted])),
        "units_timed": profile.report["units_timed"],
        "units_found": profile.report["units_found"],
        "profile_seconds": profiled_s,
        "predictions_per_second": networks / (time.perf_counter() - start),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", nargs="+", default=list(TASKS), choices=list(SPACES))
    parser.add_argument("--device", nargs="+", default=["local-onnxruntime", "local-onnxruntime-b64"])
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--wall-seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = {
        f"{space} {device}": measure(space, device, args.networks, args.wall_seconds, args.seed)
        for space in args.space
        for device in args.device
    }
    if args.json:
        print(json.dumps({"machine": platform.platform(), "cpu": cpu_model(), "results": rows}))
        return
    table = Table(
        "space", "device", "median error", "within 10 %", "rank", "constant", "units", "profile s", "a second"
    )
    for name, row in rows.items():
        space, device = name.split()
        table.add_row(
            space, device, f"{row['median_error']:.1%}", f"{row['within_10_percent']:.0%}", f"{row['spearman']:.3f}",
            f"{row['constant_median_error']:.0%}", f"{row['units_timed']} of {row['units_found']}",
            f"{row['profile_seconds']:.0f}", f"{row['predictions_per_second']:,.0f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
