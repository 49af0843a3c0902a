"""How well the latency on a device is predicted from a few networks timed there and from other devices.

    python -m benchmarks.latency_transfer --data FILE [--targets A,B] [--samples K] [--seeds N] [--json]

``--data`` is an npz: ``latency_ms`` (n, d), ``devices`` (d) names, and the networks' choices as integers (n, c),
named ``edges`` or ``op_idx``. Each target in turn is taken as new: its chip leaves the known devices with every batch
size of it, K networks are chosen without its latencies, and the rest of the column is only for scoring.

The chip of a device is its name without a last part that is a batch size: a power of two, such as the 1, 32 and 256 of
``titanx_1``, ``titanx_32`` and ``titanx_256``. Model numbers (``silver_4114``, ``silver_4210r``, ``gold_6240``) are
none, so that two CPUs of a series stay two chips.

Figures are means over the seeds, over the networks that were not timed: ``spearman``, ``within_5`` and ``within_10``
(shares of networks predicted within 5 and 10 %), ``coverage_90`` (share inside the stated 90 % interval), ``alike``
(share of seeds that found a known device alike), ``spread`` (standard deviation of ``spearman`` over the seeds). The
groups go by the names of the devices. ``mean_spearman`` is the mean over the targets, ``mean_spearman_spread`` its
standard deviation over the seeds.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from latency_models.report import spearman
from latency_models.transfer import choose_samples, fit

ENCODINGS = ("edges", "op_idx")
GROUPS = {
    "cpu": ("gold", "silver", "core", "xeon", "raspi"),
    "phone": ("essential", "pixel", "samsung"),
    "gpu": ("1080ti", "2080ti", "titan"),
}
MEASURES = ("spearman", "within_5", "within_10", "coverage_90", "alike")


class Data(NamedTuple):
    """``encodings`` (n, c); ``devices`` (d); ``latency_ms`` (n, d)."""

    encodings: NDArray[np.int64]
    devices: tuple[str, ...]
    latency_ms: NDArray[np.float64]


def load(path: Path) -> Data:
    """The arrays of a file. Raises: ValueError or OSError with what is missing."""
    with np.load(path, allow_pickle=False) as table:
        missing = [name for name in ("devices", "latency_ms") if name not in table.files]
        name = next((name for name in ENCODINGS if name in table.files), None)
        if missing or name is None:
            raise ValueError(f"{path}: no array {missing[0] if missing else ' or '.join(ENCODINGS)}")
        devices = tuple(str(device) for device in table["devices"])
        return Data(table[name].astype(np.int64), devices, table["latency_ms"].astype(np.float64))


def chip(device: str) -> str:
    """The name without its batch size."""
    match = re.fullmatch(r"(.+)_(\d+)", device)
    return match[1] if match and int(match[2]).bit_count() == 1 else device


def group(device: str) -> str:
    """The kind of device that its name begins with."""
    return next((name for name, starts in GROUPS.items() if device.startswith(starts)), "other")


def transfer(data: Data, target: str, samples: int, seed: int) -> dict[str, float]:
    """The figures of one target with one seed, named in ``MEASURES``."""
    known = [column for column, device in enumerate(data.devices) if chip(device) != chip(target)]
    sources, latency_ms = data.latency_ms[:, known], data.latency_ms[:, data.devices.index(target)]
    chosen = choose_samples(data.encodings, sources, samples, seed)
    predictor = fit(data.encodings, sources, chosen, latency_ms[chosen])
    unseen = np.setdiff1d(np.arange(len(latency_ms)), chosen)
    mean_ms, error_ms = predictor.predict(unseen)
    actual_ms = latency_ms[unseen]
    off = np.abs(mean_ms - actual_ms)
    return {
        "spearman": spearman(mean_ms, actual_ms),
        "within_5": float(np.mean(off <= 0.05 * actual_ms)),
        "within_10": float(np.mean(off <= 0.10 * actual_ms)),
        "coverage_90": float(np.mean(off <= error_ms)),
        "alike": float(predictor.alike),
    }


def compare(data: Data, targets: Sequence[str], samples: int, seeds: int) -> dict[str, Any]:
    """All figures, as described above."""
    runs = {target: [transfer(data, target, samples, seed) for seed in range(seeds)] for target in targets}
    rows: dict[str, dict[str, float]] = {}
    for target, each in runs.items():
        rows[target] = {measure: float(np.mean([run[measure] for run in each])) for measure in MEASURES}
        rows[target]["spread"] = float(np.std([run["spearman"] for run in each]))
    by_seed = np.mean([[run["spearman"] for run in each] for each in runs.values()], axis=0)
    groups = {
        name: {
            "devices": len(members),
            **{measure: float(np.mean([rows[member][measure] for member in members])) for measure in MEASURES},
        }
        for name in (*GROUPS, "other")
        if (members := [target for target in targets if group(target) == name])
    }
    means = {f"mean_{measure}": float(np.mean([row[measure] for row in rows.values()])) for measure in MEASURES}
    return {
        "samples": samples,
        "seeds": seeds,
        "targets": rows,
        "groups": groups,
        **means,
        "mean_spearman_spread": float(by_seed.std()),
    }


def show(results: Mapping[str, Any], console: Console) -> None:
    """The results as a table."""
    table = Table("device", *MEASURES, title=f"{results['samples']} samples, mean of {results['seeds']} seeds")
    for name, row in [*results["targets"].items(), *((f"all {name}s", row) for name, row in results["groups"].items())]:
        table.add_row(name, *(f"{row[measure]:.3f}" for measure in MEASURES))
    table.add_row("mean", *(f"{results[f'mean_{measure}']:.3f}" for measure in MEASURES), style="bold")
    console.print(table)
    console.print(f"the mean Spearman varies by ±{results['mean_spearman_spread']:.4f} from seed to seed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="npz; its arrays are described above")
    parser.add_argument("--targets", help="devices of the file, with commas between (default: all)")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    try:
        data = load(options.data)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    targets = options.targets.split(",") if options.targets else list(data.devices)
    if unknown := [target for target in targets if target not in data.devices]:
        parser.error(f"unknown device {unknown[0]!r}; known: {', '.join(data.devices)}")
    if not 2 <= options.samples < len(data.latency_ms):
        parser.error(f"--samples {options.samples}: from 2 to {len(data.latency_ms) - 1}")
    if options.seeds < 1:
        parser.error(f"--seeds {options.seeds}: 1 at least")
    results = compare(data, targets, options.samples, options.seeds)
    if options.json:
        Console(soft_wrap=True, highlight=False).print_json(json.dumps(results))
    else:
        show(results, Console())


if __name__ == "__main__":
    main()
