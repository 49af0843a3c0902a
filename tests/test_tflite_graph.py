"""The int8 TFLite file, run by TFLite Micro's own interpreter against the float network on ONNX Runtime."""

import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from support_graphs import randomised

from search_spaces import Classification, Task, get_space
from search_spaces.builder import Builder, Value
from search_spaces.deploy import deploy
from search_spaces.errors import DeviceUnavailable, InvalidGraph, UnsupportedKernel
from search_spaces.graph import Graph
from search_spaces.onnx_graph import random_weights, to_onnx
from search_spaces.ops import OPS
from search_spaces.tflite_ops import TFLITE, lower

pytest.importorskip("tflite_micro", reason="pip install 'hwnas[tflite]'")

from search_spaces.tflite_graph import _OPTIONS, to_tflite

Array = np.ndarray[Any, Any]


def float_values(graph: Graph, weights: dict[str, Array], data: Array) -> dict[str, Array]:
    """Every value of the network on a batch, by name, channels first."""
    model = to_onnx(graph, weights)
    shown = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=n.output[0]) for n in model.graph.node if n.output[0] not in shown
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"input": data}), strict=True))
    return {"input": data, **found}


def ranges(values: dict[str, Array]) -> dict[str, tuple[float, float]]:
    return {n: (float(v.min()), float(v.max())) for n, v in values.items() if v.dtype == np.float32 and v.size}


def run_tflite(model: bytes, sample: Array) -> Array:
    """The output of the file for one sample, as floats, both channels first."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 26)

    def scale_of(details: Any) -> tuple[float, int]:
        found = details["quantization_parameters"]
        return float(found["scales"][0]), int(found["zero_points"][0])

    scale, zero = scale_of(interpreter.get_input_details(0))
    stored = sample.transpose(1, 2, 0) if sample.ndim == 3 else sample
    integers = np.clip(np.round(stored / scale) + zero, -128, 127).astype(np.int8)
    interpreter.set_input(integers[None], 0)
    interpreter.invoke()
    scale, zero = scale_of(interpreter.get_output_details(0))
    out: Array = (interpreter.get_output(0)[0].astype(np.float32) - zero) * scale
    return out.transpose(2, 0, 1) if out.ndim == 3 else out


def relative_error(graph: Graph, weights: dict[str, Array], samples: int = 8) -> float:
    """The root of the mean square of (int8 minus float) over that of float about its mean."""
    data = np.random.default_rng(3).standard_normal((samples, *graph.inputs[0])).astype(np.float32)
    values = float_values(graph, weights, data)
    model = to_tflite(graph, weights, ranges=ranges(values))
    expected = values[graph.output_names[0]]
    found = np.stack([run_tflite(model, sample) for sample in data])
    assert found.shape == expected.shape
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean((expected - expected.mean()) ** 2)))


def conv(b: Builder, x: Value, **attrs: Any) -> Value:
    plain = {"out_channels": 6, "kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    return b.op("conv", "conv", x, bias=True, **{**plain, **attrs})


def pool(kind: str, **attrs: Any) -> Any:
    return lambda b, x: b.op("pool", kind, x, **{"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), **attrs})


def op(kind: str, *, times: int = 1, **attrs: Any) -> Any:
    return lambda b, x: b.op("op", kind, *[x] * times, **attrs)


def gated(b: Builder, x: Value) -> Value:
    """Squeeze-excite: a broadcast product."""
    gate = b.op("gate", "hard_sigmoid", b.op("mean", "global_avg_pool", x))
    return b.op("mul", "mul", x, gate)


def mixed_scales(b: Builder, x: Value) -> Value:
    """A concat of a value whose scale is free with one whose scale TFLite fixes."""
    return b.op("concat", "concat", x, b.op("sigmoid", "sigmoid", x))


def shuffled(b: Builder, x: Value) -> Value:
    x = b.op("split", "reshape", x, shape=(2, 3, 7, 8))
    return b.op("join", "reshape", b.op("swap", "transpose", x, axes=(1, 0, 2, 3)), shape=(6, 7, 8))


def sum_of_three(b: Builder, x: Value) -> Value:
    terms = [x, b.op("relu", "relu", x), b.op("swish", "hard_swish", x)]
    return b.op("clip", "relu6", b.op("add", "add", *terms))


def head(b: Builder, x: Value) -> Value:
    return b.op(
        "fc",
        "linear",
        b.op("flat", "flatten", b.op("pad", "pad", x, before=(1, 0), after=(0, 2))),
        out_features=5,
        bias=True,
    )


def with_zeros(b: Builder, x: Value) -> Value:
    """A constant where values are moved: it takes their scale."""
    nothing = b.op(
        "pool", "max_pool", b.op("none", "zeros", x, shape=x.shape), kernel=(3, 3), stride=(1, 1), padding=(1, 1)
    )
    return b.op("concat", "concat", b.op("relu", "relu", x), nothing)


CASES: dict[str, Any] = {
    "conv": conv,
    "conv_relu": lambda b, x: b.op("relu", "relu", conv(b, x)),
    "conv_strided": lambda b, x: conv(b, x, stride=(2, 2)),
    "conv_5x5_strided": lambda b, x: conv(b, x, kernel=(5, 5), stride=(2, 2), padding=(2, 2)),
    "conv_1x3": lambda b, x: conv(b, x, kernel=(1, 3), padding=(0, 1)),
    "conv_grouped": lambda b, x: conv(b, x, groups=3),
    "conv_dilated": lambda b, x: conv(b, x, dilation=(2, 2), padding=(2, 2)),
    "depthwise": lambda b, x: conv(b, x, groups=6),
    "depthwise_strided": lambda b, x: conv(b, x, groups=6, stride=(2, 2)),
    "depthwise_7x7_strided": lambda b, x: conv(b, x, groups=6, stride=(2, 2), kernel=(7, 7), padding=(3, 3)),
    "depthwise_multiplied": lambda b, x: conv(b, x, groups=6, out_channels=12),
    "depthwise_far_padded": lambda b, x: conv(b, x, groups=6, padding=(2, 2)),
    "batch_norm": op("batch_norm", eps=1e-5),
    "scale": op("scale", axis=0, init=1.0),
    "multiply": op("multiply", factor=-0.37),
    "relu": op("relu"),
    "relu6": op("relu6"),
    "hard_swish": op("hard_swish"),
    "hard_sigmoid": op("hard_sigmoid"),
    "sigmoid": op("sigmoid"),
    "silu": op("silu"),
    "tanh": op("tanh"),
    "squared_relu": op("squared_relu"),
    "softmax": op("softmax", axis=0),
    "sub": lambda b, x: b.op("sub", "sub", b.op("relu", "relu", x), x),
    "add_broadcast": lambda b, x: b.op("add", "add_broadcast", x, b.op("mean", "reduce_mean", x, axis=1)),
    "max_pool": pool("max_pool"),
    "avg_pool": pool("avg_pool"),
    "max_pool_2x2": pool("max_pool", kernel=(2, 2), stride=(2, 2), padding=(0, 0)),
    "global_max_pool": op("global_max_pool"),
    "global_avg_pool": op("global_avg_pool"),
    "slice": op("slice", axis=0, start=1, stop=4),
    "gather": op("gather", axis=2, indices=(7, 0, 3)),
    "resize": op("resize", size=(14, 16), mode="nearest"),
    "resize_bilinear": op("resize", size=(14, 16), mode="bilinear"),
    "resize_corners": op("resize", size=(13, 15), mode="bilinear_corners"),
    "gated": gated,
    "mixed_scales": mixed_scales,
    "with_zeros": with_zeros,
    "shuffled": shuffled,
    "sum_of_three": sum_of_three,
    "head": head,
}


def case(make: Any) -> Graph:
    b = Builder(((6, 7, 8),))
    return b.build([make(b, b.inputs[0])])


def test_every_op_is_written_or_said_to_be_lacking() -> None:
    assert set(TFLITE) == set(OPS)


@pytest.mark.parametrize("name", CASES)
def test_each_op_agrees_with_the_float_op(name: str) -> None:
    graph = case(CASES[name])
    assert relative_error(graph, randomised(random_weights(graph))) < 0.03


def test_the_cases_cover_every_operator_that_is_written() -> None:
    assert {operator.kind for make in CASES.values() for operator in lower(case(make)).operators} == set(_OPTIONS)


@pytest.mark.parametrize(("name", "size"), [("mobilenet_v2_small", 16), ("nas_bench_201", 16), ("mnasnet", 32)])
def test_networks_agree_with_the_float_network(name: str, size: int) -> None:
    space: Any = get_space(name)
    arch = space.sample(np.random.default_rng(1))
    graph = space.graph(arch, Task((3, size, size), Classification(10)))
    deployed, weights = deploy(graph, randomised(random_weights(graph)))
    assert relative_error(deployed, weights) < 0.15


def test_operators_run_in_the_order_of_the_nodes() -> None:
    space: Any = get_space("nas_bench_201")
    graph, _ = deploy(space.graph(space.sample(np.random.default_rng(0)), Task((3, 16, 16), Classification(10))))
    place = {node.name: i for i, node in enumerate(graph.nodes)}
    written = [place[name] for operator in lower(graph).operators for name in operator.nodes[:1]]
    assert written == sorted(written)
    onnx_order = [place[node.name] for node in to_onnx(graph).graph.node if node.name in place]
    assert onnx_order == sorted(onnx_order)
    assert len(onnx_order) > 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (op("gelu"), "no int8 TFLite file with gelu: op"),
        (pool("avg_pool", stride=(2, 2), kernel=(2, 4), padding=(1, 2)), "with avg_pool of window"),
        (op("concat", times=11), "with concat of more than 10 inputs"),
        (op("pad", before=(-1, 0), after=(0, 0)), "with pad by"),
    ],
)
def test_what_tflite_micro_lacks_is_named(make: Any, message: str) -> None:
    with pytest.raises(UnsupportedKernel, match=message):
        to_tflite(case(make))


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite_micro.tensorflow.lite.micro.python", None)
    with pytest.raises(DeviceUnavailable, match=r"pip install 'hwnas\[tflite\]'"):
        to_tflite(case(conv))


def test_a_weight_of_another_shape_is_refused() -> None:
    graph = case(conv)
    weights = random_weights(graph)
    weights["conv.weight"] = weights["conv.weight"][:3]
    with pytest.raises(InvalidGraph, match=r"conv\.weight"):
        to_tflite(graph, weights)


def test_data_begins_at_multiples_of_sixteen_bytes() -> None:
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    file = to_tflite(case(head))
    model = schema.Model.GetRootAs(file, 0)
    data = [model.Buffers(i).DataAsNumpy() for i in range(model.BuffersLength())]
    start = np.frombuffer(file, np.uint8).ctypes.data
    offsets = [array.ctypes.data - start for array in data if isinstance(array, np.ndarray)]
    assert len(offsets) > 4
    assert all(offset % 16 == 0 and 0 < offset < len(file) for offset in offsets)
