"""A network on a device as rich renderables, narrow enough for a terminal of 100 columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.figures import (
    NOTHING,
    binary,
    layer_decimals,
    limit_text,
    number,
    percent,
    short,
    significant_decimals,
    times,
    with_error,
)

Json = Mapping[str, Any]

CALL = "the call itself"
TOP = 15
"""Layers that are listed unless all are asked for: those that take the most time."""
ROOFS = {"predicted": "predicted: the best of its timed kernels", "analytic": "analytic: as stated"}
_BAR = 10


def estimate_view(found: Json, *, every_layer: bool = False) -> RenderableType:
    """The document of ``POST /v1/estimates``: what was asked, where the time goes, and what it amounts to."""
    return Group(
        _asked(found),
        _kinds(found),
        _layers(found, every_layer),
        "",
        _summary(found),
    )


def _asked(found: Json) -> Table:
    facts = _facts()
    facts.add_row("network", Text(found["preset"] or found["architecture"]))
    facts.add_row(
        "", Text(f"space {found['space']}, input {_shape(found['input_shape'])}, {found['classes']:,} classes")
    )
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    how = f"{found['runtime']}, {found['precision']}, {threads}, batch {found['batch_size']}"
    facts.add_row("device", Text(f"{found['device']} ({how})"))
    return facts


def _kinds(found: Json) -> Table:
    """One row a kind of layer, the one that takes the most time first."""
    groups: dict[str, list[Json]] = {}
    for layer in found["layers"]:
        groups.setdefault(layer["family"], []).append(layer)
    table = _table("kind", "layers", "ms", "share", "", "MACs", "peak", "gap")
    macs = sum(layer["macs"] for layer in found["layers"]) or 1
    decimals = layer_decimals(found)
    for family, layers in sorted(groups.items(), key=lambda group: -_sum(group[1], "latency_ms")):
        ms, ideal, done = _sum(layers, "latency_ms"), _sum(layers, "ideal_ms"), sum(layer["macs"] for layer in layers)
        share = sum(layer["share"] for layer in layers)
        efficiency = 1e3 * done / ms / found["roof"]["peak_macs_per_s"] if done else 0.0
        table.add_row(
            Text(family),
            f"{len(layers)}",
            number(ms, decimals),
            f"{share:.1%}",
            _bar(share),
            f"{done / macs:.1%}" if done else NOTHING,
            percent(efficiency) if done else NOTHING,
            times(ms / ideal if ideal else None),
        )
    call, share = _call(found)
    table.add_row(CALL, "", number(call, decimals), f"{share:.1%}", _bar(share), style="dim")
    return table


def _call(found: Json) -> tuple[float, float]:
    """What the call takes beside its layers: milliseconds, and its share of the latency."""
    ms = found["overhead_ms"]["value"]
    return ms, ms / found["latency_ms"]["value"]


def _layers(found: Json, every: bool) -> Table:
    """The layers that take the most time, or all in order of execution; their times and the call's add up."""
    layers = list(found["layers"])
    shown = layers if every else sorted(layers, key=lambda layer: -layer["latency_ms"]["value"])[:TOP]
    title = "all layers, in order of execution" if every else f"the {len(shown)} layers that take the most time"
    table = _table("layer", "kind", "ms", "±", "share", "MACs", "bytes", "MACs/B", "peak", "bound", "gap", title=title)
    decimals = layer_decimals(found)
    for layer in shown:
        table.add_row(
            Text(layer["name"].removesuffix(".conv")),  # the kind says it
            Text(layer["family"]),
            number(layer["latency_ms"]["value"], decimals),
            _relative(layer["latency_ms"]),
            f"{layer['share']:.1%}",
            short(layer["macs"]) if layer["macs"] else NOTHING,
            short(layer["bytes"]),
            f"{layer['intensity']:.1f}" if layer["macs"] else NOTHING,
            percent(layer["efficiency"]) if layer["macs"] else NOTHING,
            Text(layer["bound"], style="cyan" if layer["bound"] == "compute" else "yellow"),
            times(layer["gap"] and layer["gap"]["value"]),
        )
    rest = len(layers) - len(shown)
    if rest:
        hidden = sum(layer["latency_ms"]["value"] for layer in layers) - _sum(shown, "latency_ms")
        share = hidden / found["latency_ms"]["value"]
        table.add_row(f"{rest} more (--all)", "", number(hidden, decimals), "", f"{share:.1%}", style="dim")
    call, share = _call(found)
    table.add_row(CALL, "", number(call, decimals), "", f"{share:.1%}", style="dim", end_section=True)
    macs = short(sum(layer["macs"] for layer in layers))
    latency = found["latency_ms"]
    ms = number(latency["value"], decimals)
    table.add_row("network", "", ms, _relative(latency), "100%", macs, style="bold")
    table.caption = "peak: share of the peak MACs/s reached   gap: estimated over ideal time under the roof"
    return table


def _summary(found: Json) -> Table:
    facts = _facts()
    latency, roof = found["latency_ms"], found["roof"]
    facts.add_row("latency", _told(latency, "ms"))
    if latency["note"]:
        facts.add_row("", Text(latency["note"], style="yellow"))
    if found["gap"]:
        gap, level = times(found["gap"]["value"]), found["waterline"]["level"]
        facts.add_row("gap", Text(f"{gap} the ideal time under the roof; {percent(level)} of the peak on average"))
    ceilings = f"{short(roof['peak_macs_per_s'])} MAC/s and {short(roof['bytes_per_s'])} B/s"
    facts.add_row("roof", Text(f"{ceilings}, ridge at {roof['ridge']:.1f} MACs/B, {ROOFS[roof['source']]}"))
    if found["energy_mj"]:
        facts.add_row("energy", _told(found["energy_mj"], "mJ"))
    facts.add_row("params", f"{found['params']['value']:,.0f}")
    for precision, memory in found["memory"].items():
        peak, weights = binary(memory["peak_bytes"]["value"]), binary(memory["weight_bytes"]["value"])
        facts.add_row(f"memory {precision}", Text(f"{peak} of activations, {weights} of weights"))
    worst = next(iter(found["memory"].values()))
    facts.add_row("", Text(f"the peak is at step {worst['step']} of {worst['steps']}, {worst['nodes'][0]}"))
    for limit in found["limits"]:
        fits = ("fits", "") if limit["fits"] else ("too large", "bold red")
        facts.add_row(fits[0], Text(limit_text(limit), style=fits[1]))
    if found["report"]:
        facts.add_row("profile", Text(_report(found["report"])))
    return facts


def _report(report: Json) -> str:
    """How well the device's profile predicted networks that it had not seen."""
    within = f"{report['within_5']:.0%} within 5 %, {report['within_10']:.0%} within 10 %"
    return f"on {report['networks']} networks left out: {within}, mean error {report['mean_error']:.1%}"


def _told(estimate: Json, unit: str) -> Text:
    decimals = significant_decimals(estimate["value"])
    return Text(f"{with_error(estimate, decimals)} {unit}, {estimate['source']}")


def _relative(estimate: Json) -> str:
    """The half-width of the 90 % interval as a share of the value."""
    return f"{estimate['error'] / estimate['value']:.0%}" if estimate["error"] and estimate["value"] else NOTHING


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _bar(share: float) -> str:
    return "█" * round(_BAR * max(0.0, min(1.0, share)))


def _sum(layers: Sequence[Json], name: str) -> float:
    total: float = sum(layer[name]["value"] for layer in layers)
    return total


def _facts() -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    return facts


def _table(*names: str, title: str | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=0, title=title)
    table.title_justify = table.caption_justify = "left"
    for name in names:
        left = name in ("layer", "kind", "bound", "")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "layer", overflow="fold")
    return table
