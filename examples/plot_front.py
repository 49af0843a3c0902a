"""Draws the front that the demo found: ``python examples/plot_front.py demo/front.json docs/front.svg``."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

FRONT, OTHER, FADED = "#0b5fa5", "#8a8f98", "#c9cdd3"


def latency(trial: dict[str, Any], source: str) -> float | None:
    return next(
        (m["value"] for m in trial["measurements"] if m["metric"] == "latency_ms" and m["source"] == source), None
    )


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    found = json.loads(source.read_text())
    items = sorted(found["front"]["items"], key=lambda item: item["metrics"]["latency_ms"]["value"])
    on_front = {item["trial_id"] for item in items}
    last = len(found["search"]["spec"]["rungs"])
    others = [t for t in found["trials"] if t["rung"] == last and t["id"] not in on_front]
    pyplot.rcParams.update({"font.family": "sans-serif", "font.size": 10, "svg.hashsalt": "front"})
    figure, axes = pyplot.subplots(figsize=(7.2, 4.0), layout="constrained")
    scored = [value for t in found["trials"] if (value := latency(t, "predicted")) is not None]
    axes.plot(scored, [0.02] * len(scored), "|", color=FADED, transform=axes.get_xaxis_transform(), ms=7,
              label=f"{len(scored)} scored candidates (predicted latency)")  # fmt: skip
    for trials, color, label in ((others, OTHER, "trained and measured"), (items, FRONT, "Pareto front, measured")):
        x = [t["metrics"]["latency_ms"]["value"] for t in trials]
        y = [t["metrics"]["accuracy"]["value"] for t in trials]
        axes.plot(x, y, "o", color=color, ms=6, label=label, zorder=3)
    x = [item["metrics"]["latency_ms"]["value"] for item in items]
    y = [item["metrics"]["accuracy"]["value"] for item in items]
    axes.step(x, y, where="post", color=FRONT, lw=1.5)
    axes.plot([i["predicted"]["latency_ms"]["value"] for i in items], y, "o", mfc="none", mec=FRONT, ms=11,
              label="their latency as predicted", zorder=2)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("latency of a batch of 64 on one CPU thread, ONNX Runtime (ms, log scale)")
    axes.set_ylabel(f"validation accuracy after {found['search']['spec']['rungs'][-1]['epochs']} epochs")
    ticks = [0.25, 0.5, 1, 2, 4, 8]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(min(t["metrics"]["accuracy"]["value"] for t in [*others, *items]) - 0.006, 1.002)
    axes.grid(color="#eceef1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
