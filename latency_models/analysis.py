"""What one network does on one device, layer by layer: where the time goes, and how far from the ideal it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from latency_models.device import Device
from latency_models.estimate import Estimate
from latency_models.predictors import LatencyPredictor, LayerEstimate
from latency_models.roofline import Bound, Roof, Work, attainable_macs_per_s, bound, ideal_ms, work
from search_spaces.graph import Graph


class LayerAnalysis(NamedTuple):
    """A kernel of the deployed network in one call of the device (its batch, its precision).

    ``share`` is its part of the network's latency. ``efficiency`` is MACs/s over the device's peak, whatever
    the layer's intensity; ``ideal_ms`` and ``gap`` (estimated over ideal time, None where nothing is to be
    done) count the memory's ceiling too.
    """

    nodes: tuple[str, ...]
    family: str
    latency_ms: Estimate
    share: float
    work: Work
    attainable_macs_per_s: float
    bound: Bound
    ideal_ms: Estimate
    gap: Estimate | None
    efficiency: float


class Waterline(NamedTuple):
    """The layers that compute as bars, the most efficient first: one entry a bar in every array.

    A bar is as wide as the layer's share of the network's MACs and as high as its efficiency, which is its
    ideal time at the device's peak over its estimated time. ``level`` is the efficiency of the whole
    network: with every bar at that height it would take as long as it does.
    """

    layers: tuple[int, ...]
    """Index of the bar's layer, in order of execution."""
    start: tuple[float, ...]
    """Share of the MACs in the bars before."""
    width: tuple[float, ...]
    ideal_ms: tuple[float, ...]
    latency_ms: tuple[float, ...]
    efficiency: tuple[float, ...]
    level: float


@dataclass(frozen=True, slots=True)
class Analysis:
    """One network on one device.

    ``overhead_ms`` is what the call takes beside its layers. ``gap`` is the latency over the sum of the
    layers' ideal times. ``peak_gap`` is the latency over the time of all MACs at the device's peak; apart
    from what does not compute it is the mean of the layers' own, weighted by their operations.
    """

    device: Device
    latency_ms: Estimate
    overhead_ms: Estimate
    layers: tuple[LayerAnalysis, ...]
    roof: Roof
    ideal_ms: Estimate
    gap: Estimate | None
    peak_gap: Estimate | None
    waterline: Waterline


def analyse(graph: Graph, predictor: LatencyPredictor, roof: Roof) -> Analysis:
    """The training graph on the predictor's device, under its roof. Raises: UnsupportedKernel."""
    device = predictor.device
    latency = predictor.predict(graph)
    layers = tuple([_layer(layer, latency.value, device, roof) for layer in predictor.layers(graph)])
    overhead = latency.value - sum(layer.latency_ms.value for layer in layers)
    ideal = Estimate(sum(layer.ideal_ms.value for layer in layers), None, roof.source)
    at_peak = 1e3 * sum(layer.work.macs for layer in layers) / roof.peak_macs_per_s
    return Analysis(
        device,
        latency,
        Estimate(overhead, None, latency.source),
        layers,
        roof,
        ideal,
        _gap(latency, ideal.value, roof),
        _gap(latency, at_peak, roof),
        waterline(layers, latency.value),
    )


def waterline(layers: Sequence[LayerAnalysis], latency_ms: float) -> Waterline:
    """The bars of a network's layers, and the level of the network that takes ``latency_ms``."""
    order = [i for i, layer in enumerate(layers) if layer.work.macs]
    order.sort(key=lambda i: -layers[i].efficiency)
    total = sum(layers[i].work.macs for i in order)
    width = [layers[i].work.macs / total for i in order]
    ideal = [layers[i].efficiency * layers[i].latency_ms.value for i in order]
    return Waterline(
        tuple(order),
        tuple([sum(width[:i]) for i in range(len(width))]),
        tuple(width),
        tuple(ideal),
        tuple([layers[i].latency_ms.value for i in order]),
        tuple([layers[i].efficiency for i in order]),
        sum(ideal) / latency_ms,
    )


def _layer(layer: LayerEstimate, network_ms: float, device: Device, roof: Roof) -> LayerAnalysis:
    estimate = layer.latency_ms
    asked = work(layer, device) if estimate.value else Work(0, 0)  # a view: nothing moves
    ideal = ideal_ms(roof, asked)
    return LayerAnalysis(
        layer.nodes,
        layer.family,
        estimate,
        estimate.value / network_ms,
        asked,
        attainable_macs_per_s(roof, asked.intensity),
        bound(roof, asked.intensity),
        Estimate(ideal, None, roof.source),
        _gap(estimate, ideal, roof),
        1e3 * asked.macs / roof.peak_macs_per_s / estimate.value if asked.macs else 0.0,
    )


def _gap(estimate: Estimate, ideal: float, roof: Roof) -> Estimate | None:
    """Estimated over ideal time. Its error is that of the estimate; the roof's own is unknown."""
    if not ideal:
        return None
    return Estimate(estimate.value / ideal, estimate.error and estimate.error / ideal, roof.source)
