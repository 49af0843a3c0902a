"""A graph as an ONNX model, written without torch."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod, sqrt
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from search_spaces.deploy import Weights, check_weights
from search_spaces.graph import Graph
from search_spaces.onnx_ops import ONNX
from search_spaces.onnx_writer import Writer, tensor

OPSET = 20
IR_VERSION = 10


def to_onnx(
    graph: Graph, weights: Mapping[str, NDArray[Any]] | None = None, *, batch: int | None = None, seed: int = 0
) -> onnx.ModelProto:
    """The ONNX model of a graph (float32, opset 20), usually of a deployed one.

    ``weights`` by ``<entry>.<tensor>``, random from ``seed`` where None; ``batch`` fixes the first axis,
    None leaves it symbolic. Names of nodes and weights are those of the graph; input and outputs carry
    the names of ``graph.input_names`` and ``graph.output_names``.
    Raises: InvalidGraph if a tensor is missing or has another shape.
    """
    if weights is None:
        weights = random_weights(graph, seed)
    check_weights(graph, weights)
    shapes = graph.shapes_by_name()
    w = Writer()
    for node in graph.nodes:
        ONNX[node.op](w, node, [shapes[name] for name in node.inputs])
    stored = [
        tensor(f"{entry}.{name}", np.asarray(weights[f"{entry}.{name}"], dtype=np.float32))
        for entry, tensors in graph.entries().items()
        for name in tensors
    ]
    first: int | str = "batch" if batch is None else batch

    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [first, *shapes[name]])

    body = helper.make_graph(
        w.nodes,
        "network",
        [value(n) for n in graph.input_names],
        [value(n) for n in graph.output_names],
        [*stored, *w.constants.values()],
    )
    return helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="hwnas"
    )


def random_weights(graph: Graph, seed: int = 0) -> Weights:
    """Weights that keep activations in a normal range (He et al. 2015), for timing: no zeros, no denormals."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for entry, tensors in graph.entries().items():
        for name, weight in tensors.items():
            if name == "running_var":
                array = rng.uniform(0.5, 1.5, weight.shape)
            elif len(weight.shape) > 1:
                array = rng.standard_normal(weight.shape) * sqrt(2 / prod(weight.shape[1:]))
            else:
                array = (
                    rng.uniform(0.5, 1.5, weight.shape) if name == "weight" else rng.uniform(-0.1, 0.1, weight.shape)
                )
            weights[f"{entry}.{name}"] = array.astype(np.float32)
    return weights
