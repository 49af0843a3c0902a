"""A float32 ONNX model with 8-bit convolutions, products and sums, as both ONNX Runtime and OpenVINO take it.

Written with QuantizeLinear and DequantizeLinear (QDQ): activations are uint8, one scale and zero point a tensor;
weights int8, symmetric, one scale a channel of the output; biases int32. Rounding and ranges follow Jacob et al.
2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from search_spaces.errors import InvalidGraph
from search_spaces.onnx_writer import tensor

LAYERS: Mapping[str, int] = {"Conv": 0, "Gemm": 0, "MatMul": 1}
"""The ops that have weights, and the axis of the weights that counts the outputs (Gemm as this project writes it)."""
MOVES = frozenset({"Flatten", "Reshape", "Transpose", "Slice", "MaxPool", "Gather"})
"""Ops that only move numbers: their results keep the scale of what they read."""
JOINS = frozenset({"Add", "Sub", "Mul", "Concat", "AveragePool", "GlobalAveragePool"})
BOUNDS = frozenset({"Relu", "Clip"})
"""Activations that the range of their result performs by itself."""

Range = tuple[float, float]
"""The least and the greatest value of a tensor; 0 lies between."""


def quantised_tensors(model: onnx.ModelProto) -> tuple[str, ...]:
    """The activations that ``quantise`` needs a range for, the inputs of the model among them."""
    return tuple(_plan(model).ranged)


def calibrate(model: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Range]:
    """The range of every tensor that is quantised, from a float32 run of ONNX Runtime on ``inputs``.

    Raises: InvalidGraph if ONNX Runtime does not load the model, or a value is not finite.
    """
    import onnxruntime as ort

    wanted = quantised_tensors(model)
    inside = [name for name in wanted if name not in inputs]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {output.name for output in watched.graph.output}
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inside if name not in known
    )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values = dict(zip(inside, session.run(inside, dict(inputs)) if inside else [], strict=True))
    except Exception as error:  # onnxruntime raises a dozen unrelated classes
        raise InvalidGraph(f"no ranges: onnxruntime says {error}", hint="check the model with onnx.checker") from error
    found = {}
    for name in wanted:
        array = values[name] if name in values else inputs[name]
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InvalidGraph(f"{name} takes values that are not finite", hint="use other weights or inputs")
        found[name] = (min(low, 0.0), max(high, 0.0))
    return found


def quantise(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """The 8-bit model; nodes keep their names and order, its inputs and outputs stay float32.

    Raises: InvalidGraph if a range is missing.
    """
    plan = _plan(model)
    missing = [name for name in plan.ranged if name not in ranges]
    if missing:
        raise InvalidGraph(f"no range for {missing[0]}", hint="calibrate the model that is quantised", field="ranges")
    return _Quantiser(model, plan, ranges).run()


class _Plan(NamedTuple):
    """What becomes 8-bit: tensors by the tensor whose range they share, and layers with weights."""

    shared: dict[str, str]
    layers: frozenset[str]

    @property
    def ranged(self) -> list[str]:
        return list(dict.fromkeys(self.shared.values()))


def _plan(model: onnx.ModelProto) -> _Plan:
    graph = model.graph
    weights = _weights(graph)
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in graph.output}
    floats = {value.name for value in graph.input} | _float_results(graph)
    wanted: dict[str, None] = {}
    layers = set()
    for node in graph.node:
        if node.op_type in LAYERS and node.input[1] in weights:
            layers.add(node.name)
        elif node.op_type not in MOVES | JOINS and not (node.op_type == "MatMul" and node.input[1] in floats):
            continue
        elif node.op_type == "Concat" and any(
            n.op_type == "BatchNormalization" for n in readers.get(node.output[0], [])
        ):
            continue  # OpenVINO 2026.4 ends the whole process at 8-bit values joined before a norm
        wanted.update(dict.fromkeys(name for name in (*node.input, *node.output) if name in floats))
    shared: dict[str, str] = {}
    for value in graph.input:
        if value.name in wanted:
            shared[value.name] = value.name
    for node in graph.node:
        name = node.output[0]
        only = readers.get(name, [])
        bounded = len(only) == 1 and only[0].op_type in BOUNDS and name not in outputs
        if name not in wanted and not (node.op_type in BOUNDS and node.input[0] in wanted and name in floats):
            continue
        if bounded and node.op_type not in BOUNDS | MOVES:
            continue  # what follows is performed by the range of its result
        if node.name in layers and len(only) == 1 and _adds_constant(only[0], weights) and name not in outputs:
            continue  # a product of tokens, which has its bias apart
        shared[name] = shared.get(node.input[0], name) if node.op_type in MOVES else name
    return _Plan(shared, frozenset(layers))


def _weights(graph: onnx.GraphProto) -> dict[str, NDArray[np.float32]]:
    """Every float32 constant, and the transposed ones that a product of tokens reads."""
    found = {
        init.name: numpy_helper.to_array(init) for init in graph.initializer if init.data_type == TensorProto.FLOAT
    }
    for node in graph.node:
        if _transposes_weights(node, found):
            found[node.output[0]] = found[node.input[0]].transpose(*node.attribute[0].ints)
    return found


def _adds_constant(node: NodeProto, weights: Mapping[str, NDArray[np.float32]]) -> bool:
    return node.op_type == "Add" and any(name in weights for name in node.input)


def _transposes_weights(node: NodeProto, weights: Mapping[str, NDArray[np.float32]]) -> bool:
    return node.op_type == "Transpose" and node.input[0] in weights


def _float_results(graph: onnx.GraphProto) -> set[str]:
    """The activations: results that depend on an input of the model, shapes apart."""
    made = {value.name for value in graph.input}
    for node in graph.node:
        if node.op_type != "Shape" and any(name in made for name in node.input):
            made.update(node.output)
    return made


class _Quantiser:
    """Writes the 8-bit model node by node."""

    def __init__(self, model: onnx.ModelProto, plan: _Plan, ranges: Mapping[str, Range]) -> None:
        self.model, self.plan = model, plan
        self.weights = _weights(model.graph)
        self.scales = {name: _scale(*ranges[source]) for name, source in plan.shared.items()}
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.dequantised: dict[str, str] = {}

    def run(self) -> onnx.ModelProto:
        for value in self.model.graph.input:
            self._convert(value.name)
        for node in self.model.graph.node:
            if not self._is_folded(node):
                self._write(node)
        for output in self.model.graph.output:
            if output.name in self.dequantised:  # the name of an output stays with the float32 result
                self._rename(output.name)
        used = {name for node in self.nodes for name in node.input}
        kept = [init for init in self.model.graph.initializer if init.name in used]
        graph = helper.make_graph(
            self.nodes, self.model.graph.name, self.model.graph.input, self.model.graph.output,
            [*kept, *self.constants.values()],
        )  # fmt: skip
        made = helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version, producer_name="hwnas"
        )
        made.metadata_props.extend(self.model.metadata_props)
        return made

    def _is_folded(self, node: NodeProto) -> bool:
        """Whether a node only transposes the weights of layers, which are written transposed."""
        if not _transposes_weights(node, self.weights):
            return False
        readers = [n for n in self.model.graph.node if node.output[0] in n.input]
        return all(n.name in self.plan.layers for n in readers)

    def _write(self, node: NodeProto) -> None:
        copy = NodeProto()
        copy.CopyFrom(node)
        for i, name in enumerate(node.input):
            copy.input[i] = self.dequantised.get(name, name)
        if node.name in self.plan.layers and node.input[0] in self.scales:
            self._write_layer(node, copy)
        self.nodes.append(copy)
        self._convert(node.output[0])

    def _write_layer(self, node: NodeProto, copy: NodeProto) -> None:
        axis = LAYERS[node.op_type]
        weight = node.input[1]
        scales = self._weight(weight, axis)
        copy.input[1] = f"{weight}.dequantise"
        if len(node.input) > 2:
            copy.input[2] = self._bias(node.input[2], node.name, self.scales[node.input[0]].scale * scales)

    def _weight(self, name: str, axis: int) -> NDArray[np.float32]:
        array = self.weights[name]
        rest = tuple(a for a in range(array.ndim) if a != axis)
        scales: NDArray[np.float32] = np.maximum(np.abs(array).max(axis=rest), 1e-12).astype(np.float32) / 127
        if f"{name}.int8" not in self.constants:
            laid = scales.reshape([-1 if a == axis else 1 for a in range(array.ndim)])
            whole = np.clip(np.rint(array / laid), -127, 127).astype(np.int8)
            self._constant(f"{name}.int8", whole)
            self._dequantise(name, f"{name}.int8", scales, np.zeros(len(scales), np.int8), axis)
        return scales

    def _bias(self, name: str, node: str, scales: NDArray[np.float32]) -> str:
        """A bias has the scale of the products that it is added to, so it is another one for every layer."""
        own = f"{node}.bias"
        whole = np.clip(np.rint(self.weights[name] / scales), -(2**31) + 1, 2**31 - 1)
        self._constant(f"{own}.int32", whole.astype(np.int32))
        self._dequantise(own, f"{own}.int32", scales, np.zeros(len(scales), np.int32), 0)
        return f"{own}.dequantise"

    def _convert(self, name: str) -> None:
        """Rounds an activation to its 8-bit values, for all that read it."""
        if name not in self.scales:
            return
        scale, zero = self.scales[name]
        self._constant(f"{name}.scale", scale)
        self._constant(f"{name}.zero", zero)
        parameters = [f"{name}.scale", f"{name}.zero"]
        self._node("QuantizeLinear", [name, *parameters], f"{name}.quantise")
        self._node("DequantizeLinear", [f"{name}.quantise", *parameters], f"{name}.dequantise")
        self.dequantised[name] = f"{name}.dequantise"

    def _dequantise(self, name: str, whole: str, scales: NDArray[np.float32], zeros: NDArray[Any], axis: int) -> None:
        self._constant(f"{name}.scale", scales)
        self._constant(f"{name}.zero", zeros)
        self._node("DequantizeLinear", [whole, f"{name}.scale", f"{name}.zero"], f"{name}.dequantise", axis=axis)

    def _rename(self, output: str) -> None:
        """Gives an output's name to the dequantised result."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == output:
                        names[i] = f"{output}.float"
                    elif name == f"{output}.dequantise":
                        names[i] = output

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attrs: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attrs))

    def _constant(self, name: str, array: NDArray[Any]) -> None:
        self.constants[name] = tensor(name, array)


class _Scale(NamedTuple):
    scale: NDArray[np.float32]
    zero: NDArray[np.uint8]


def _scale(low: float, high: float) -> _Scale:
    """Scale and zero point of the uint8 values from ``low`` to ``high``, 0 exactly among them."""
    scale = max(high - low, 1e-6) / 255
    zero = int(np.clip(round(-low / scale), 0, 255))
    return _Scale(np.array(scale, np.float32), np.array(zero, np.uint8))
