"""The ONNX file of a network, as the runtimes that read ONNX are given it, and what such a file says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_models.device import Device
from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph
from search_spaces.onnx_graph import to_onnx

RANDOM_SAMPLES = 2


def build(
    graph: Graph,
    weights: Mapping[str, NDArray[Any]] | None,
    device: Device,
    *,
    samples: Sequence[NDArray[Any]] | None = None,
) -> bytes:
    """See ``latency_models.runtimes.Build``."""
    model = to_onnx(graph, weights, batch=device.batch_size)
    if device.precision == "int8":
        from latency_models.runtimes.onnx_int8 import calibrate, quantise

        given = random_samples(graph) if samples is None else samples
        check_samples(graph, given)
        any_batch = model if len(given[0]) == device.batch_size else to_onnx(graph, weights)
        model = quantise(model, calibrate(any_batch, dict(zip(graph.input_names, given, strict=True))))
    file: bytes = model.SerializeToString()
    return file


def random_samples(graph: Graph, seed: int = 0) -> list[NDArray[np.float32]]:
    """A few random examples of each input."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((RANDOM_SAMPLES, *shape)).astype(np.float32) for shape in graph.inputs]


def check_samples(graph: Graph, samples: Sequence[NDArray[Any]]) -> None:
    """Raises InvalidGraph if samples do not fit the inputs of a graph."""
    found = [tuple(array.shape[1:]) for array in samples]
    counts = {len(array) for array in samples}
    if found != list(graph.inputs) or len(counts) != 1 or 0 in counts:
        raise InvalidGraph(
            f"samples of shapes {[array.shape for array in samples]}",
            hint=f"as many for each input, of shapes {list(graph.inputs)}",
            field="samples",
        )


def check_precision(model: bytes, device: Device) -> None:
    """Raises InvalidGraph if an ONNX file is int8 and the device is not, or the other way round."""
    precision = "int8" if b"QuantizeLinear" in model else "fp32"
    if precision != device.precision:
        raise InvalidGraph(
            f"the model is {precision}, the device {device.precision}",
            hint="take the file that the runtime's build makes for this device",
        )
