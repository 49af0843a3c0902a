"""An analysis as the document that the API answers with."""

from collections.abc import Mapping
from typing import Any

from api.estimate_schemas import (
    EstimateDocument,
    LayerOut,
    LimitOut,
    MemoryOut,
    RoofOut,
    WaterlineOut,
)
from api.schemas import EstimateOut
from latency_models.analysis import Analysis, LayerAnalysis
from latency_models.analytic import AnalyticPredictor
from latency_models.estimate import Estimate, Source
from latency_models.memory import memory_schedule
from latency_models.predictors import LatencyPredictor
from latency_models.roofline import ELEMENT_BYTES
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.cost import weight_bytes
from search_spaces.deploy import deploy
from search_spaces.graph import Graph

PRECISIONS = ("fp32", "int8")


def present_estimate(
    space: SearchSpace,
    arch: Architecture,
    graph: Graph,
    found: Analysis,
    predictor: LatencyPredictor,
    *,
    preset: str | None,
    report: Mapping[str, Any] | None,
) -> EstimateDocument:
    """``graph`` is the training graph of ``arch``, ``report`` that of the device's profile."""
    deployed, _ = deploy(graph)
    analytic = predictor if isinstance(predictor, AnalyticPredictor) else None
    energy = None if analytic is None else analytic.energy_mj(graph)
    return EstimateDocument(
        space=space.name,
        architecture=space.to_string(arch),
        architecture_id=arch.id,
        preset=preset,
        input_shape=list(graph.inputs[0]),
        classes=graph.output_shapes[0][0],
        device=found.device.name,
        runtime=found.device.runtime,
        precision=found.device.precision,
        threads=found.device.threads,
        batch_size=found.device.batch_size,
        latency_ms=_out(found.latency_ms),
        overhead_ms=_out(found.overhead_ms),
        ideal_ms=_out(found.ideal_ms),
        gap=found.gap and _out(found.gap),
        peak_gap=found.peak_gap and _out(found.peak_gap),
        energy_mj=energy and _out(energy),
        params=_exact(graph.params),
        macs=_exact(graph.macs),
        memory={precision: _memory(deployed, precision) for precision in PRECISIONS},
        limits=[] if analytic is None else _limits(analytic, graph),
        roof=RoofOut(**found.roof._asdict(), ridge=found.roof.ridge),
        layers=[_layer(layer) for layer in found.layers],
        waterline=WaterlineOut.model_validate(found.waterline),
        report=None if report is None else dict(report),
    )


def _layer(layer: LayerAnalysis) -> LayerOut:
    ms = layer.latency_ms.value
    return LayerOut(
        name=layer.nodes[0],
        nodes=list(layer.nodes),
        family=layer.family,
        latency_ms=_out(layer.latency_ms),
        share=layer.share,
        macs=layer.work.macs,
        bytes=layer.work.bytes,
        intensity=layer.work.intensity,
        macs_per_s=1e3 * layer.work.macs / ms if ms else 0.0,
        attainable_macs_per_s=layer.attainable_macs_per_s,
        bound=layer.bound.value,
        ideal_ms=_out(layer.ideal_ms),
        gap=layer.gap and _out(layer.gap),
        efficiency=layer.efficiency,
    )


def _memory(deployed: Graph, precision: str) -> MemoryOut:
    size = ELEMENT_BYTES[precision]
    schedule = memory_schedule(deployed, size)
    worst = max(range(len(schedule.steps)), key=lambda step: schedule.steps[step].bytes)
    return MemoryOut(
        peak_bytes=_exact(schedule.peak_bytes),
        step=worst + 1,
        steps=len(schedule.steps),
        nodes=list(schedule.steps[worst].nodes),
        weight_bytes=_exact(weight_bytes(deployed, size)),
    )


def _limits(predictor: AnalyticPredictor, graph: Graph) -> list[LimitOut]:
    stated, batch = predictor.facts.limits, predictor.device.batch_size
    rows = (
        ("flash_bytes", predictor.flash_bytes(graph), stated.flash_bytes),
        ("ram_bytes", predictor.ram_bytes(graph), stated.ram_bytes),
        ("macs", Estimate(batch * (graph.macs + graph.matmul_macs), 0.0, Source.ANALYTIC), stated.macs),
    )
    return [
        LimitOut(name=name, value=_out(value), max=most, fits=value.value <= most)
        for name, value, most in rows
        if most is not None
    ]


def _exact(count: int) -> EstimateOut:
    return EstimateOut(value=count, error=0.0, source=Source.ANALYTIC.value)


def _out(estimate: Estimate) -> EstimateOut:
    return EstimateOut(value=estimate.value, error=estimate.error, source=estimate.source.value, note=estimate.note)
