"""What the page of a trial shows of an estimate: the figures as text, and the JSON that its script draws."""

from typing import Any

from api.estimate_schemas import EstimateDocument
from api.figures import layer_decimals, percent, short, times, with_error

Json = dict[str, Any]

BOUNDS = {"compute": "computing", "memory": "memory"}


def estimate_figures(document: EstimateDocument) -> Json:
    """The values of the template ``trial.html``."""
    found = document.model_dump(mode="json")
    decimals = layer_decimals(found)
    widest = max([layer["share"] for layer in found["layers"]], default=1.0)
    plot = _plot(found, decimals)
    return {"found": found, "problem": None, "decimals": decimals, "widest": widest, "plot": plot}


def _plot(found: Json, decimals: int) -> Json:
    roof = found["roof"]
    layers = [
        {
            **{key: layer[key] for key in ("name", "bound", "share", "macs", "intensity", "macs_per_s")},
            "index": index,
            "text": _lines(layer, decimals),
        }
        for index, layer in enumerate(found["layers"])
    ]
    return {
        "roof": {"peak": roof["peak_macs_per_s"], "bytes": roof["bytes_per_s"], "ridge": roof["ridge"]},
        "layers": layers,
        "waterline": {key: found["waterline"][key] for key in ("layers", "start", "width", "efficiency", "level")},
    }


def _lines(layer: Json, decimals: int) -> list[str]:
    """What the pointer reads at a layer."""
    gap = layer["gap"] and layer["gap"]["value"]
    return [
        f"{with_error(layer['latency_ms'], decimals)} ms, {percent(layer['share'], 1)} of the time",
        f"{short(layer['macs'])} MACs, {short(layer['bytes'])} bytes, {layer['intensity']:.1f} MACs per byte",
        f"{short(layer['macs_per_s'])} MACs/s, {percent(layer['efficiency'])} of the peak",
        f"limited by {BOUNDS[layer['bound']]}, {times(gap)} the ideal time",
    ]
