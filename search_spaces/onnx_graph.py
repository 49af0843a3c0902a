"""A graph as an ONNX model, written without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod, sqrt
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from search_spaces.deploy import Weights, check_weights
from search_spaces.graph import Graph, Node, Shape

OPSET = 20
IR_VERSION = 10


class Writer:
    """Collects the nodes and constants of a model while the emitters run."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, kind: str, inputs: list[str], output: str, **attrs: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attrs))
        return output

    def constant(self, name: str, array: NDArray[Any]) -> str:
        if name not in self.constants:
            self.constants[name] = tensor(name, array)
        return name


_Emit = Callable[[Writer, Node, list[Shape]], object]


def tensor(name: str, array: NDArray[Any]) -> onnx.TensorProto:
    """A tensor that holds the bytes of an array."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor(name, kind, array.shape, np.ascontiguousarray(array).tobytes(), raw=True)


def _conv(w: Writer, node: Node, shapes: list[Shape]) -> None:
    a = node.attrs
    names = [node.inputs[0], f"{node.weights}.weight"] + ([f"{node.weights}.bias"] if a["bias"] else [])
    w.add(
        "Conv",
        names,
        node.name,
        kernel_shape=a["kernel"],
        strides=a["stride"],
        pads=a["padding"] * 2,
        dilations=a["dilation"],
        group=a["groups"],
    )


def _linear(w: Writer, node: Node, shapes: list[Shape]) -> None:
    weight, bias = f"{node.weights}.weight", f"{node.weights}.bias"
    if len(shapes[0]) == 1:
        w.add("Gemm", [node.inputs[0], weight] + ([bias] if node.attrs["bias"] else []), node.name, transB=1)
        return
    w.add("Transpose", [weight], f"{node.name}.transposed", perm=[1, 0])
    product = f"{node.name}.product" if node.attrs["bias"] else node.name
    w.add("MatMul", [node.inputs[0], f"{node.name}.transposed"], product)
    if node.attrs["bias"]:
        w.add("Add", [product, bias], node.name)


def _batch_norm(w: Writer, node: Node, shapes: list[Shape]) -> None:
    tensors = [f"{node.weights}.{t}" for t in ("weight", "bias", "running_mean", "running_var")]
    w.add("BatchNormalization", [node.inputs[0], *tensors], node.name, epsilon=node.attrs["eps"])


def _relu6(w: Writer, node: Node, shapes: list[Shape]) -> None:
    low = w.constant("constant.0", np.array(0, np.float32))
    high = w.constant("constant.6", np.array(6, np.float32))
    w.add("Clip", [node.inputs[0], low, high], node.name)


def _silu(w: Writer, node: Node, shapes: list[Shape]) -> None:
    w.add("Sigmoid", [node.inputs[0]], f"{node.name}.sigmoid")
    w.add("Mul", [node.inputs[0], f"{node.name}.sigmoid"], node.name)


def _pairwise(kind: str) -> _Emit:
    """A chain of two-input ops, which runtimes fuse better than one op of many inputs."""

    def emit(w: Writer, node: Node, shapes: list[Shape]) -> None:
        first, *rest = node.inputs
        if not rest:
            w.add("Identity", [first], node.name)
        for number, term in enumerate(rest, 1):
            first = w.add(kind, [first, term], node.name if number == len(rest) else f"{node.name}.part{number}")

    return emit


def _pool(kind: str, **attrs: Any) -> _Emit:
    def emit(w: Writer, node: Node, shapes: list[Shape]) -> None:
        a = node.attrs
        w.add(
            kind,
            [node.inputs[0]],
            node.name,
            kernel_shape=a["kernel"],
            strides=a["stride"],
            pads=a["padding"] * 2,
            **attrs,
        )

    return emit


def _global_avg_pool(w: Writer, node: Node, shapes: list[Shape]) -> None:
    w.add("GlobalAveragePool" if len(shapes[0]) > 1 else "Identity", [node.inputs[0]], node.name)


def _zeros(w: Writer, node: Node, shapes: list[Shape]) -> None:
    batch = w.add("Shape", [node.inputs[0]], f"{node.name}.batch", start=0, end=1)
    rest = w.constant(f"{node.name}.rest", np.array(node.shape, np.int64))
    shape = w.add("Concat", [batch, rest], f"{node.name}.shape", axis=0)
    w.add("ConstantOfShape", [shape], node.name, value=tensor("zero", np.zeros(1, np.float32)))


def _plain(kind: str, **attrs: Any) -> _Emit:
    def emit(w: Writer, node: Node, shapes: list[Shape]) -> None:
        w.add(kind, list(node.inputs), node.name, **attrs)

    return emit


ONNX: Mapping[str, _Emit] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": _plain("Relu"),
    "relu6": _relu6,
    "hard_swish": _plain("HardSwish"),
    "hard_sigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "sigmoid": _plain("Sigmoid"),
    "silu": _silu,
    "gelu": _plain("Gelu"),
    "add": _pairwise("Add"),
    "mul": _pairwise("Mul"),
    "concat": _plain("Concat", axis=1),
    "max_pool": _pool("MaxPool"),
    "avg_pool": _pool("AveragePool", count_include_pad=0),
    "global_avg_pool": _global_avg_pool,
    "flatten": _plain("Flatten", axis=1),
    "dropout": _plain("Identity"),
    "zeros": _zeros,
}
"""How each op of ``OPS`` is written: (writer, node, input shapes)."""


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
