"""What the plot of a search shows: trained trials, the front, and where the untrained candidates lie.

A zero-shot score is no accuracy, so candidates that never trained get no height: only their place on the
horizontal axis is drawn, as a rug.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from api.figures import NOTHING, TITLES, UNITS, number, significant_decimals
from latency_models.estimate import Source
from nas.objectives import METRICS
from nas.spec import SearchSpec
from nas.trial import Measurement, Trial

RUG_LIMIT = 1000
"""Candidates drawn in the rug; of more, every n-th."""


class Axis(NamedTuple):
    """A horizontal axis; ``key`` is its name in the address of the page."""

    key: str
    metric: str
    device: str | None
    title: str
    unit: str

    @property
    def label(self) -> str:
        where = f" on {self.device}" if self.device else ""
        return f"{self.title}{where}{f' ({self.unit})' if self.unit else ''}"


def axes(spec: SearchSpec) -> list[Axis]:
    """The axes that a search can be looked at along, the one it optimises first."""
    wanted = [(o.metric, o.device) for o in spec.objectives if o.metric != "accuracy"]
    wanted += [("latency_ms", device) for device in spec.devices]
    wanted += [("params", None), ("macs", None)]
    return [
        Axis(spec.key(metric, device), metric, device, TITLES.get(metric, metric), _unit(metric))
        for metric, device in dict.fromkeys(wanted)
    ]


def _unit(metric: str) -> str:
    unit = METRICS[metric].unit
    return UNITS.get(unit, unit)


def plot_data(
    spec: SearchSpec,
    trials: Sequence[Trial],
    ids: Mapping[int, str],
    front: Sequence[Trial],
    winner: str | None,
    axis: Axis,
) -> dict[str, Any]:
    """The JSON that the page's script draws. ``ids`` maps a trial's number to its id."""
    on_front = {trial.number for trial in front}
    points = [point for trial in trials if (point := _point(trial, ids[trial.number], axis, on_front)) is not None]
    for point in points:
        point["winner"] = point["id"] == winner
    rug = [m.value for t in trials if (m := t.find(axis.metric, axis.device, rung=0)) is not None]
    step = -(-len(rug) // RUG_LIMIT) or 1
    # a staircase is the front only where these two axes are the objectives
    plane = {(o.metric, o.device, o.goal) for o in spec.objectives}
    staircase = plane == {("accuracy", None, "maximize"), (axis.metric, axis.device, "minimize")}
    return {
        "x": {
            "label": axis.label,
            "title": axis.title,
            "device": METRICS[axis.metric].kind == "device",
            "estimate": "analytic" if any(axis.device and t.is_analytic(axis.device) for t in trials) else "predicted",
        },
        "y": {"label": "validation accuracy"},
        "rungs": [{"rung": i, "epochs": rung.epochs} for i, rung in enumerate(spec.rungs, start=1)],
        "points": points,
        "staircase": staircase,
        "rug": [_short(value) for value in sorted(rug)[::step]],
        "scored": len(rug),
    }


def _point(trial: Trial, trial_id: str, axis: Axis, on_front: set[int]) -> dict[str, Any] | None:
    """A trained trial at the highest rung it completed; None before its first."""
    y = trial.find("accuracy")
    x = trial.find(axis.metric, axis.device)
    if x is None or y is None:
        return None
    predicted = trial.find(axis.metric, axis.device, source=Source.PREDICTED)
    return {
        "id": trial_id,
        "number": trial.number,
        "rung": y.rung,
        "state": trial.state.value,
        "x": _short(x.value),
        "y": _short(y.value),
        "x_error": _short(x.error or 0.0),
        "y_error": _short(y.error or 0.0),
        "measured": x.source == Source.MEASURED or METRICS[axis.metric].kind != "device",
        "front": trial.number in on_front,
        "text": [*([f"baseline {trial.baseline[:40]}"] if trial.baseline else []), *_lines(x, y, predicted, axis)],
    }


def _lines(x: Measurement, y: Measurement, predicted: Measurement | None, axis: Axis) -> list[str]:
    """What the pointer reads at a point."""
    lines = [f"accuracy {_with_error(y, 3)}"]
    if METRICS[axis.metric].kind != "device":
        lines.append(f"{axis.title} {number(x.value, 0)} {axis.unit}".rstrip())
        return lines
    digits = significant_decimals(x.value)
    if x.source == Source.MEASURED:
        lines.append(f"{axis.title} {_with_error(x, digits)} {axis.unit}, measured")
    if x.source == Source.ANALYTIC:
        return [*lines, f"{axis.title} {_with_error(x, digits)} {axis.unit}, analytic"]
    predicted_text = f"{_with_error(predicted, digits)} {axis.unit}" if predicted else NOTHING
    lines.append(f"{axis.title} {predicted_text}, predicted")
    return lines


def _with_error(m: Measurement, decimals: int) -> str:
    return number(m.value, decimals) + (f" ±{number(m.error, decimals)}" if m.error else "")


def _short(value: float) -> float:
    return float(f"{value:.6g}")
