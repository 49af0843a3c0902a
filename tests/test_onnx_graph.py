"""Every reader knows every op, and ONNX Runtime computes what PyTorch computes."""

import numpy as np
import onnxruntime
import pytest
import torch
from support_graphs import TASK
from support_networks import assert_same

from search_spaces import get_space
from search_spaces.builder import Builder
from search_spaces.deploy import deploy
from search_spaces.onnx_graph import to_onnx
from search_spaces.onnx_ops import ONNX
from search_spaces.ops import OPS
from search_spaces.torch_network import TORCH, TorchNetwork


def test_readers_have_the_keys_of_the_table() -> None:
    assert set(TORCH) == set(ONNX) == set(OPS)


OP_CASES = {
    "conv": {
        "out_channels": 4,
        "kernel": (3, 3),
        "stride": (2, 1),
        "padding": (1, 1),
        "dilation": (1, 2),
        "groups": 2,
        "bias": True,
    },
    "linear": {"out_features": 5, "bias": False},
    "batch_norm": {"eps": 1e-3, "momentum": 0.1},
    "max_pool": {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    "avg_pool": {"kernel": (3, 3), "stride": (1, 2), "padding": (1, 1)},
    "blur_pool": {"kernel": (3, 4), "stride": (2, 1), "reflect": True},
    "layer_norm": {"axis": 0, "eps": 1e-6, "bias": True},
    "group_norm": {"groups": 2, "eps": 1e-5, "bias": True},
    "instance_norm": {"eps": 1e-5},
    "response_norm": {"axis": 0, "eps": 1e-6},
    "l2_norm": {"axis": 1, "eps": 1e-12},
    "softmax": {"axis": -1},
    "scale": {"axis": 0, "init": 0.5},
    "multiply": {"factor": 0.25},
    "parameter": {"shape": (3, 5), "init": "normal", "trainable": True},
    "reduce_mean": {"axis": 0},
    "reduce_max": {"axis": -1},
    "matmul": {"transpose_b": True},
    "slice": {"axis": 0, "start": 1, "stop": 3},
    "gather": {"axis": 1, "indices": (5, 0, 0, 2)},
    "reshape": {"shape": (12, 12)},
    "transpose": {"axes": (1, 2, 0)},
    "pad": {"before": (-1, 2), "after": (3, 0)},
    "resize": {"size": (9, 4), "mode": "bilinear"},
    "drop_path": {"p": 0.3},
    "dropout": {"p": 0.3},
    "spaced_conv": {
        "out_channels": 4,
        "kernel": (7, 5),
        "taps": 3,
        "stride": (2, 1),
        "padding": (3, 2),
        "groups": 2,
        "bias": True,
    },
    "sparse_shift": {"reach": 2},
    "dynamic_conv": {"kernel": (1, 1)},
    "zeros": {"shape": (3, 2, 2)},
}


@pytest.mark.parametrize("op", OPS)
def test_every_op_alone(op: str) -> None:
    pairs = ("sub", "matmul", "add_broadcast", "mul_broadcast", "dynamic_conv", "polyphase")
    count = 3 if op in ("add", "mul", "concat") else 2 if op in pairs else 1
    b = Builder([(4, 6, 6)] * count)
    graph = b.build(b.op("node", op, *b.inputs, **OP_CASES.get(op, {})))
    assert_same(graph, deployed=False)
    assert TorchNetwork(graph)(*(torch.randn(2, 4, 6, 6) for _ in range(count))).shape == (2, *graph.output_shapes[0])


@pytest.mark.parametrize("bias", [True, False])
def test_linear_over_tokens_and_features(bias: bool) -> None:
    for shape in ((7, 6), (6,)):
        b = Builder([shape])
        graph = b.build(b.linear("fc", b.inputs[0], 5, bias=bias))
        assert graph.macs == int(np.prod(shape)) * 5
        assert_same(graph)


def test_random_weights_and_a_fixed_batch() -> None:
    space = get_space("mobilenet_v2_small")
    graph, _ = deploy(space.graph(space.smallest(), TASK))
    model = to_onnx(graph, batch=4, seed=1)
    assert model.SerializeToString() == to_onnx(graph, batch=4, seed=1).SerializeToString()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [4, 3, 8, 8]
    (out,) = session.run(None, {"input": np.random.default_rng(0).standard_normal((4, 3, 8, 8), dtype=np.float32)})
    assert np.isfinite(out).all()
    assert np.ptp(out) > 0
