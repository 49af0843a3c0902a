"""A deployed graph as an int8 TFLite file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.deploy import check_weights
from search_spaces.errors import DeviceUnavailable
from search_spaces.graph import Graph
from search_spaces.onnx_graph import random_weights
from search_spaces.tflite_ops import lower
from search_spaces.tflite_program import Operator, Program
from search_spaces.tflite_quantize import Quantised, Ranges, quantise
from search_spaces.tflite_schedule import offline_plan

INSTALL = "pip install 'hwnas[tflite]'"

_OPTIONS: Mapping[str, str] = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "RELU": "",
    "RELU6": "",
    "HARD_SWISH": "HardSwishOptions",
    "LOGISTIC": "",
    "TANH": "",
    "SOFTMAX": "SoftmaxOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "CONCATENATION": "ConcatenationOptions",
    "QUANTIZE": "QuantizeOptions",
    "SLICE": "SliceOptions",
    "GATHER": "GatherOptions",
    "RESHAPE": "ReshapeOptions",
    "TRANSPOSE": "TransposeOptions",
    "PAD": "PadOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
}
"""The table of the schema that holds the options of each operator."""

# versions of the operators of which int8, or per-channel scales, came later than the operator
_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "TRANSPOSE": 2, "RELU": 2, "RELU6": 2}


def to_tflite(
    graph: Graph,
    weights: Mapping[str, NDArray[Any]] | None = None,
    *,
    ranges: Ranges | None = None,
    planned: bool = True,
    seed: int = 0,
) -> bytes:
    """The int8 TFLite file of a deployed graph, batch 1, channels last, operators in the graph's order.

    ``weights`` by ``<entry>.<tensor>``, random from ``seed`` where None. ``ranges``: the least and the largest value
    of graph inputs and nodes by name, from running the float network; without them they are guessed, which is
    enough for memory and time and not for accuracy. ``planned``: the file says where in its arena TFLite Micro places
    each activation (``search_spaces.tflite_schedule``); other runtimes ignore that. Input and output are int8 too,
    with their scales in the file.
    Raises: UnsupportedKernel for an op that TFLite Micro lacks, InvalidGraph if a tensor is missing or has another
    shape, DeviceUnavailable if the package with the schema is not installed.
    """
    program = lower(graph)
    if weights is None:
        weights = random_weights(graph, seed)
    check_weights(graph, weights)
    offsets = offline_plan(graph) if planned else []
    return _packed(program, quantise(program, weights, ranges), offsets)


def _packed(program: Program, integers: Mapping[str, Quantised], offsets: list[int]) -> bytes:
    try:
        import flatbuffers
        from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
    except ImportError as error:
        raise DeviceUnavailable("the schema of TFLite files is not installed", hint=INSTALL) from error
    model = schema.ModelT()
    model.version, model.description = 3, "hwnas"
    kinds = list(dict.fromkeys(operator.kind for operator in program.operators))
    model.operatorCodes = [_code(schema, kind) for kind in kinds]
    empty = schema.BufferT()
    model.buffers = [empty]
    sub = schema.SubGraphT()
    sub.name, sub.tensors = "network", []
    for name, tensor in program.tensors.items():
        made = schema.TensorT()
        made.name, made.shape, made.hasRank = name, list(tensor.shape), True
        made.type = getattr(schema.TensorType, integers[name].dtype)
        made.quantization = _quantisation(schema, integers[name])
        if (data := integers[name].data) is not None:
            made.buffer = _store(schema, model, data)
        sub.tensors.append(made)
    index = {name: number for number, name in enumerate(program.tensors)}
    sub.inputs = [index[name] for name in program.inputs]
    sub.outputs = [index[name] for name in program.outputs]
    sub.operators = [_operator(schema, operator, kinds, index) for operator in program.operators]
    model.subgraphs = [sub]
    if offsets:
        header = [1, 0, len(offsets)]  # the format's version, the subgraph, how many
        metadata = schema.MetadataT()
        metadata.name = "OfflineMemoryAllocation"
        metadata.buffer = _store(schema, model, np.array([*header, *offsets], np.int32))
        model.metadata = [metadata]

    class Builder(flatbuffers.Builder):  # type: ignore[misc]
        """Data begins at multiples of 16 bytes, as the schema demands and its Python writer forgets."""

        def CreateNumpyVector(self, x: Any) -> Any:
            self.Prep(16, x.nbytes)
            return super().CreateNumpyVector(x)

    builder = Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _store(schema: Any, model: Any, data: NDArray[Any]) -> int:
    """Adds a buffer to the model; its number."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _code(schema: Any, kind: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = _VERSIONS.get(kind, 1)
    return code


def _quantisation(schema: Any, integers: Quantised) -> Any:
    if integers.scale is None:
        return None
    parameters = schema.QuantizationParametersT()
    parameters.scale = integers.scale
    parameters.zeroPoint = np.full(len(integers.scale), integers.zero_point, np.int64)
    parameters.quantizedDimension = integers.axis
    return parameters


def _operator(schema: Any, operator: Operator, kinds: list[str], index: Mapping[str, int]) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex = kinds.index(operator.kind)
    made.inputs = [index[name] for name in operator.inputs]
    made.outputs = [index[operator.output]]
    if table := _OPTIONS[operator.kind]:
        options = getattr(schema, f"{table}T")()
        for name, value in operator.options.items():
            setattr(options, name, _option(schema, name, value))
        made.builtinOptionsType = getattr(schema.BuiltinOptions, table)
        made.builtinOptions = options
    return made


def _option(schema: Any, name: str, value: Any) -> Any:
    if name == "padding":
        return getattr(schema.Padding, value)
    return getattr(schema.ActivationFunctionType, value) if name == "fusedActivationFunction" else value
