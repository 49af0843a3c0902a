"""Figures as text: which columns a table of trials has, and how many digits each deserves.

The terminal and the web pages read these same functions. Input is the JSON of the API (``metrics`` and
``predicted`` of a trial or of an item of a front).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from nas.objectives import METRICS, Metric

Json = Mapping[str, Any]

TITLES = {
    "accuracy": "accuracy",
    "test_accuracy": "test accuracy",
    "latency_ms": "latency",
    "params": "params",
    "macs": "MACs",
    "peak_memory_bytes": "peak memory",
    "weight_bytes": "weights",
    "energy_mj": "energy",
    "flash_bytes": "flash",
    "ram_bytes": "RAM",
}
UNITS = {"fraction": "", "count": ""}
ALWAYS_SHOWN = ("accuracy", "test_accuracy", "latency_ms", "params", "macs")
_FACTS = {**METRICS, "test_accuracy": Metric("top-1 accuracy on the test part", "fraction", "trained", "maximize")}
"""The metrics, and one that is shown but can neither be optimised nor bounded."""
LIMITS = {"flash_bytes": "of flash", "ram_bytes": "of RAM", "macs": "MACs a call"}
TIMES = "×"  # noqa: RUF001 (a multiplication sign)
NOTHING = "–"  # noqa: RUF001 (a dash for a figure that is not known)


class Column(NamedTuple):
    """One column: where its figure stands in an item, its heading, and its decimals (alike in all rows)."""

    field: Literal["metrics", "predicted"]
    key: str
    metric: str
    device: str
    title: str
    unit: str
    decimals: int

    @property
    def heading(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title


class Cell(NamedTuple):
    """A figure as text; ``error`` is empty where it is exact or unknown."""

    value: str
    error: str = ""
    source: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{self.value} ±{self.error}" if self.error else self.value


def front_columns(spec: Json, items: Sequence[Json]) -> list[Column]:
    """The columns of a table of trials: what the search optimises, then what one always wants to see.

    A device's figure has two columns, measured (once there is one) and predicted; that of an analytic device one.
    """
    keys = [key for key in _keys(items) if _wanted(key, spec)]
    found = []
    for key in keys:
        metric, _, device = key.partition("@")
        facts = _FACTS[metric]
        title, unit = TITLES.get(metric, metric), UNITS.get(facts.unit, facts.unit)
        decimals = _decimals(facts.unit, [item["metrics"][key] for item in items if key in item["metrics"]])
        sources = {item["metrics"].get(key, {}).get("source") for item in items}
        measured = "measured" in sources
        if facts.kind == "device" and "analytic" in sources:
            found.append(Column("metrics", key, metric, device, f"analytic {title}", unit, decimals))
            continue
        if facts.kind != "device" or measured:
            found.append(Column("metrics", key, metric, device, title, unit, decimals))
        if facts.kind == "device":
            beside = "predicted" if measured else f"predicted {title}"
            found.append(Column("predicted", key, metric, device, beside, unit, decimals))
    return found


def _keys(items: Sequence[Json]) -> list[str]:
    seen = dict.fromkeys(key for item in items for key in item["metrics"])
    order = [*ALWAYS_SHOWN, *_FACTS]
    known = [key for key in seen if key.partition("@")[0] in _FACTS]
    return sorted(known, key=lambda key: (order.index(key.partition("@")[0]), list(seen).index(key)))


def _wanted(key: str, spec: Json) -> bool:
    metric = key.partition("@")[0]
    named = {objective["metric"] for objective in spec.get("objectives", ())}
    return metric in ALWAYS_SHOWN or metric in named


def cell(item: Json, column: Column) -> Cell:
    """The figure of an item in a column; a column of measured (or analytic) figures shows no predicted one."""
    estimate = item[column.field].get(column.key)
    if estimate is None:
        return Cell(NOTHING)
    kind = _FACTS[column.metric].kind
    if kind == "device" and column.field == "metrics" and estimate["source"] == "predicted":
        return Cell(NOTHING)
    error = estimate.get("error")
    shown = number(error, column.decimals) if error is not None and kind != "arithmetic" else ""
    return Cell(number(estimate["value"], column.decimals), shown, estimate["source"], estimate.get("note", ""))


def winner_id(items: Sequence[Json]) -> str | None:
    """The trial of highest accuracy, ties to the lower latency; None where nothing has been trained."""
    trained = [item for item in items if "accuracy" in item["metrics"]]
    if not trained:
        return None

    def merit(item: Json) -> tuple[float, float]:
        latencies = [value["value"] for key, value in item["metrics"].items() if key.startswith("latency_ms")]
        return (-item["metrics"]["accuracy"]["value"], latencies[0] if latencies else 0.0)

    return str(min(trained, key=merit)["trial_id"])


def number(value: float, decimals: int) -> str:
    """A number with thousands separated; ``decimals`` digits after the point."""
    return f"{value:,.{decimals}f}"


def _decimals(unit: str, estimates: Sequence[Json]) -> int:
    if unit in ("count", "bytes"):
        return 0
    if unit == "fraction":
        # digits far below the error would only look exact
        errors = [estimate["error"] for estimate in estimates if estimate.get("error")]
        return 3 if errors and min(errors) >= 0.003 else 4
    # three digits for the smallest, so that a column stays aligned and no row loses precision
    return significant_decimals(min((abs(estimate["value"]) for estimate in estimates), default=1.0))


def significant_decimals(value: float) -> int:
    """The decimals that show three significant digits of a value, at most six."""
    return max(0, min(6, 2 - math.floor(math.log10(abs(value))))) if value else 2


def short(value: float) -> str:
    """A number in few characters, three digits and a power of a thousand: ``1.23M``."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def percent(share: float, decimals: int = 0) -> str:
    """A share: ``12.3%``; a very small one with two digits that count."""
    if 0 < share < 10 ** -(decimals + 2):
        return f"{100 * share:.2g}%"
    return f"{share:.{decimals}%}"


def with_error(estimate: Json, decimals: int) -> str:
    """An estimate with the half-width of its interval, where that is known."""
    error = f" ±{number(estimate['error'], decimals)}" if estimate["error"] is not None else ""
    return number(estimate["value"], decimals) + error


def binary(size_bytes: float) -> str:
    """A size of memory: ``5.74 MiB``."""
    for limit, unit in ((1024**3, "GiB"), (1024**2, "MiB")):
        if size_bytes >= limit:
            return f"{size_bytes / limit:,.2f} {unit}"
    return f"{size_bytes / 1024:,.1f} KiB"


def times(ratio: float | None) -> str:
    """A ratio: ``1.3x``; a dash if unknown."""
    return NOTHING if ratio is None else f"{ratio:,.{1 if ratio < 100 else 0}f}{TIMES}"


def limit_text(limit: Json) -> str:
    """What a network takes of a device's limit: ``1.44 MiB of 320.0 KiB of RAM``."""
    text = short if limit["name"] == "macs" else binary
    return f"{text(limit['value']['value'])} of {text(limit['max'])} {LIMITS[limit['name']]}"


def layer_decimals(found: Json) -> int:
    """The decimals of the times of layers, alike in every row: one more than the network's time needs."""
    return min(significant_decimals(found["latency_ms"]["value"]) + 1, 6)


def space_size(size: int | None, size_log10: float) -> str:
    """A number of architectures: exact below a milliard, otherwise three digits and a power of ten."""
    if size is not None and size < 10**9:
        return f"{size:,}"
    exponent = math.floor(size_log10)
    return f"{10 ** (size_log10 - exponent):.2f}e{exponent}"


def space_label(space: str | Json) -> str:
    """The name of the space of a specification, which may hold a definition."""
    return space if isinstance(space, str) else str(space["name"])


def duration(seconds: float | None) -> str:
    """``48 s``, ``3 min 20 s``, ``2 h 05 min``; a dash if unknown."""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


PHASES = {
    "profile": "profiling the device",
    "explore": "exploring, zero-shot",
    "train": "training",
    "measure": "measuring on the device",
}


def phase_text(search: Json) -> str:
    """What a search does now, in words."""
    if search["state"] != "RUNNING":
        return ""
    if search["cancel_requested"]:
        return "stopping"
    phase: str = search["phase"] or "starting"
    return PHASES.get(phase, phase)
