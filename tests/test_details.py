"""Details of blocks that are chosen by name: what takes a stride, stochastic depth, norms, attentions."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from support_graphs import TASK
from support_networks import assert_same, assert_trains

from search_spaces.blocks import BLOCKS
from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.downsample import DOWNSAMPLES
from search_spaces.blocks.norm import NORMS
from search_spaces.builder import Builder
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidGraph, InvalidSpec
from search_spaces.graph import Graph, Shape
from search_spaces.onnx_graph import to_onnx
from search_spaces.ops import binomial
from search_spaces.staged import Candidate, Stage, StagedSpace, listed
from search_spaces.torch_modules import DropPath
from search_spaces.torch_network import TorchNetwork, load_numpy_weights, numpy_weights

DOWNSAMPLED = {
    "inverted_residual": (24, 3, 4, 2, "se", "relu"),
    "fused_inverted_residual": (24, 3, 4, 2),
    "depthwise_separable": (24, 3, 2, "relu"),
    "conv_bn_act": (24, 3, 2, "relu"),
    "bottleneck_residual": (32, 3, 2, 4, "relu"),
    "basic_residual": (32, 3, 2, "relu"),
    "universal_inverted_bottleneck": (24, 3, 5, 4.0, 2),
}
"""Arguments of the blocks with a ``downsample``, with a stride."""

RESIDUAL = {
    "inverted_residual": (16, 3, 4, 1, "none", "relu"),
    "fused_inverted_residual": (16, 3, 4, 1),
    "bottleneck_residual": (16, 3, 1, 4, "relu"),
    "basic_residual": (16, 3, 1, "relu"),
    "convnext_block": (16,),
    "convnext_v2_block": (16,),
    "metaformer_block": (16, "attention"),
}
"""Arguments of the blocks with a ``drop_path``, with an identity."""

PLAIN = {
    "inverted_residual": (32, 3, 4, 1),
    "fused_inverted_residual": (32, 3, 4, 1),
    "depthwise_separable": (32, 3, 1),
    "bottleneck_residual": (128, 3, 1, 2),
    "basic_residual": (64, 3, 1),
}
"""Positional arguments of the blocks with a norm and an attention, wide enough for any of them."""


def graph_of(name: str, arguments: tuple[Any, ...], shape: Shape = (16, 12, 12), **named: Any) -> Graph:
    b = Builder([shape])
    return b.build(BLOCKS[name].function(b, b.inputs[0], *arguments, **named))


def ran(graph: Graph, x: NDArray[Any], weights: dict[str, NDArray[Any]] | None = None) -> NDArray[Any]:
    """What the network makes of ``x`` in eval mode."""
    torch.manual_seed(0)
    network = TorchNetwork(graph).eval()
    if weights is not None:
        load_numpy_weights(network, weights)
    with torch.no_grad():
        out: NDArray[Any] = network(torch.from_numpy(x.astype(np.float32))).numpy()
    return out


def components(x: NDArray[Any]) -> list[NDArray[Any]]:
    """The four polyphase components; an odd axis goes on with its first position."""
    x = np.pad(x, [(0, 0), (0, 0), (0, x.shape[2] % 2), (0, x.shape[3] % 2)], mode="wrap")
    return [x[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]


def polyphase(x: NDArray[Any], guide: NDArray[Any] | None = None) -> NDArray[Any]:
    norms = [np.linalg.norm(c.reshape(len(x), -1), axis=1) for c in components(x if guide is None else guide)]
    chosen = np.argmax(norms, axis=0)
    return np.stack([components(x)[which][sample] for sample, which in enumerate(chosen)])


def pooled(x: NDArray[Any]) -> NDArray[Any]:
    rows, columns = x.shape[2:]
    windows = [[x[:, :, i : i + 2, j : j + 2].mean((2, 3)) for j in range(0, columns, 2)] for i in range(0, rows, 2)]
    return np.array(windows).transpose(2, 3, 0, 1)


def blurred(x: NDArray[Any], mode: Any) -> NDArray[Any]:
    taps = np.outer(binomial(3), binomial(3))
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode=mode)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    filtered: NDArray[Any] = np.einsum("bcijkl,kl->bcij", windows, taps)
    return filtered[:, :, ::2, ::2]


FORMULAS = {
    "strided": lambda x: x[:, :, ::2, ::2],
    "pooled": pooled,
    "blurred": lambda x: blurred(x, "reflect"),
    "blurred_zeros": lambda x: blurred(x, "constant"),
    "polyphase": polyphase,
}


@pytest.mark.parametrize("size", [(12, 10), (9, 7)])
@pytest.mark.parametrize("downsample", DOWNSAMPLES)
def test_a_downsampling_is_its_formula_on_the_dense_map(downsample: str, size: tuple[int, int]) -> None:
    shape = (3, *size)
    dense = graph_of("conv_bn_act", (8, 3, 1, "relu"), shape)
    halved = graph_of("conv_bn_act", (8, 3, 2, "relu"), shape, downsample=downsample)
    assert halved.output_shapes == ((8, *((n + 1) // 2 for n in size)),)
    x = np.random.default_rng(1).standard_normal((5, *shape))
    np.testing.assert_allclose(ran(halved, x), FORMULAS[downsample](ran(dense, x)), atol=1e-5)


@pytest.mark.parametrize("downsample", DOWNSAMPLES)
@pytest.mark.parametrize("name", DOWNSAMPLED)
def test_every_block_takes_every_downsampling(name: str, downsample: str) -> None:
    strided = graph_of(name, DOWNSAMPLED[name], (16, 11, 8))
    graph = graph_of(name, DOWNSAMPLED[name], (16, 11, 8), downsample=downsample)
    assert graph.output_shapes == strided.output_shapes
    assert graph.params == strided.params
    assert (graph.fingerprint == strided.fingerprint) == (downsample == "strided")
    assert_same(graph)
    assert_trains(graph)


@pytest.mark.parametrize("downsample", DOWNSAMPLES)
@pytest.mark.parametrize("name", DOWNSAMPLED)
def test_without_a_stride_nothing_is_downsampled(name: str, downsample: str) -> None:
    arguments = tuple(1 if argument == 2 else argument for argument in DOWNSAMPLED[name])
    assert graph_of(name, arguments, downsample=downsample).fingerprint == graph_of(name, arguments).fingerprint


def picture(seed: int = 3, size: int = 24, border: int = 4) -> NDArray[Any]:
    """Noise within a border of zeros, so that a shift of one pixel loses nothing."""
    x = np.zeros((6, 3, size, size))
    inner = (6, 3, size - 2 * border, size - 2 * border)
    x[:, :, border:-border, border:-border] = np.random.default_rng(seed).standard_normal(inner)
    return x


def distance_to_a_shift(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """For each sample how far ``b`` is, away from the border, from ``a`` moved by at most a position an axis."""
    moved = [np.roll(a, (i, j), (2, 3)) for i in (0, 1) for j in (0, 1)]
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    return np.min([np.abs(m - b)[inner].max((1, 2, 3)) for m in moved], axis=0)


@pytest.mark.parametrize("shift", [(1, 0), (0, 1), (1, 1)])
def test_what_polyphase_keeps_moves_with_the_input(shift: tuple[int, int]) -> None:
    x = picture()
    moved = np.roll(x, shift, (2, 3))
    distances = {}
    for downsample in ("strided", "pooled", "blurred", "polyphase"):
        graph = graph_of("conv_bn_act", (8, 3, 2, "relu"), (3, 24, 24), downsample=downsample)
        distances[downsample] = distance_to_a_shift(ran(graph, x), ran(graph, moved))
    assert distances["polyphase"].max() < 1e-5
    assert distances["strided"].min() > 0.1
    # a blur makes the difference smaller, and leaves one
    assert 1e-3 < distances["blurred"].mean() < 0.7 * distances["strided"].mean()


@pytest.mark.parametrize("name", ["basic_residual", "bottleneck_residual"])
def test_polyphase_makes_one_choice_for_both_branches(name: str) -> None:
    graph = graph_of(name, DOWNSAMPLED[name], (3, 24, 24), downsample="polyphase")
    branch, shortcut = [node for node in graph.nodes if node.op == "polyphase"]
    assert shortcut.inputs == (graph.input_names[0], branch.inputs[0])
    x = picture()
    for shift in ((1, 0), (0, 1), (1, 1)):
        assert distance_to_a_shift(ran(graph, x), ran(graph, np.roll(x, shift, (2, 3)))).max() < 1e-4
    strided = graph_of(name, DOWNSAMPLED[name], (3, 24, 24))
    assert distance_to_a_shift(ran(strided, x), ran(strided, np.roll(x, 1, 2))).min() > 0.1


@pytest.mark.parametrize("shortcut", ["conv", "pool", "wide_conv"])
def test_a_polyphase_shortcut_is_projected_without_stride(shortcut: str) -> None:
    for channels in (32, 64):
        arguments = (64, 3, 2, 4, "relu")
        graph = graph_of("bottleneck_residual", arguments, (channels, 9, 6), shortcut=shortcut, downsample="polyphase")
        (projection,) = [node for node in graph.nodes if node.name == "shortcut.conv"]
        assert (projection.attrs["kernel"], projection.attrs["stride"]) == ((1, 1), (1, 1))
        assert not [node for node in graph.nodes if node.op == "avg_pool"]
        assert_same(graph)


@pytest.mark.parametrize("shape", [(3, 8, 6), (2, 7, 5), (4, 1, 1), (4, 2, 1), (3, 9), (2, 5, 4, 3)])
def test_polyphase_is_the_same_in_every_reader(shape: Shape) -> None:
    for guided in (False, True):
        b = Builder([shape, (5, *shape[1:])] if guided else [shape])
        graph = b.build(b.op("node", "polyphase", *b.inputs))
        assert graph.output_shapes == ((shape[0], *((n + 1) // 2 for n in shape[1:])),)
        assert_same(graph)
        session = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(5)
        x = [rng.standard_normal((7, *s)).astype(np.float32) for s in graph.inputs]
        (found,) = session.run(None, dict(zip(graph.input_names, x, strict=True)))
        if len(shape) == 3:
            np.testing.assert_array_equal(found, polyphase(*x))


def test_of_equal_components_every_reader_takes_the_first() -> None:
    b = Builder([(1, 4, 4)])
    graph = b.build(b.op("node", "polyphase", b.inputs[0]))
    x = np.zeros((1, 1, 4, 4), np.float32)
    x[0, 0, [0, 3], [1, 0]] = 1  # in the components of even rows and odd columns, and of odd rows and even columns
    session = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    for found in (ran(graph, x), *session.run(None, {graph.input_names[0]: x})):
        np.testing.assert_array_equal(found, x[:, :, ::2, 1::2])


@pytest.mark.parametrize("shapes", [[(4,)], [(4, 6, 6), (4, 6, 5)]])
def test_polyphase_refuses_what_has_no_components(shapes: list[Shape]) -> None:
    b = Builder(shapes)
    with pytest.raises(InvalidGraph, match="polyphase"):
        b.op("node", "polyphase", *b.inputs)


def test_polyphase_refuses_other_strides() -> None:
    with pytest.raises(InvalidGraph, match="stride 4"):
        graph_of("conv_bn_act", (8, 3, 4, "relu"), downsample="polyphase")


def test_gradients_reach_the_chosen_component_alone() -> None:
    b = Builder([(2, 4, 4)])
    network = TorchNetwork(b.build(b.op("node", "polyphase", b.inputs[0])))
    x = torch.zeros(1, 2, 4, 4)
    x[:, :, 1::2, ::2] = 1
    x.requires_grad_()
    network(x).sum().backward()
    assert torch.equal(x.grad, x.detach())


@pytest.mark.parametrize("name", RESIDUAL)
def test_a_dropped_branch_leaves_the_identity(name: str) -> None:
    arguments = RESIDUAL[name]
    plain = graph_of(name, arguments)
    assert graph_of(name, arguments, drop_path=0.0).fingerprint == plain.fingerprint
    graph = graph_of(name, arguments, drop_path=0.5)
    drops = [node for node in graph.nodes if node.op == "drop_path"]
    assert len(drops) == (2 if name == "metaformer_block" else 1)
    assert all(node.attrs == {"p": 0.5} for node in drops)
    assert deploy(graph)[0].fingerprint == deploy(plain)[0].fingerprint
    assert (graph.params, graph.macs) == (plain.params, plain.macs)
    assert_same(graph)
    assert_trains(graph)
    network = TorchNetwork(graph).train()
    for module in network.modules():
        if isinstance(module, DropPath):
            module.p = 1 - 1e-9  # so that every sample is dropped
    x = torch.randn(4, 16, 12, 12)
    expected = x.relu() if name in ("bottleneck_residual", "basic_residual") else x
    assert torch.equal(network(x), expected)


def test_a_sample_keeps_its_branch_or_loses_it() -> None:
    torch.manual_seed(2)
    x = torch.randn(2000, 3, 2, 2)
    made = DropPath(0.25).train()(x)
    lost = (made == 0).flatten(1).all(1)
    assert abs(float(lost.float().mean()) - 0.25) < 0.03
    torch.testing.assert_close(made[~lost], x[~lost] / 0.75)


@pytest.mark.parametrize("arguments", [(24, 3, 4, 1, "none", "relu"), (16, 3, 4, 2, "none", "relu")])
def test_a_layer_without_identity_keeps_its_only_path(arguments: tuple[Any, ...]) -> None:
    graph = graph_of("inverted_residual", arguments, drop_path=0.5)
    assert graph.fingerprint == graph_of("inverted_residual", arguments).fingerprint


def small_space(drop_path: float, **changes: Any) -> StagedSpace:
    options = {"kernel": (3, 5), "expand": (4,), "activation": ("relu",), "attention": ("none",)}
    stages = [
        Stage("stem", "conv_bn_act", 16, 2, options={"kernel": (3,), "activation": ("relu",)}, single=True),
        Stage("stage1", "inverted_residual", 16, 1, (1, 2, 3), options),
        Stage(
            "stage2",
            {"mobile": Candidate("inverted_residual", options), "skip": Candidate("identity_or_conv")},
            *(24, 2, (2, 3)),
            **changes,
        ),
        Stage("head", "conv_bn_act", 32, options={"kernel": (1,), "activation": ("relu",)}, single=True),
    ]
    return StagedSpace("small", stages, drop_path=drop_path)


def rates(graph: Graph) -> dict[str, float]:
    return {node.name.rpartition(".")[0]: node.attrs["p"] for node in graph.nodes if node.op == "drop_path"}


def test_the_rate_rises_with_the_place_of_the_layer() -> None:
    space = small_space(0.5)
    deepest = space.from_string(
        "stage1.depth=3,stage1.layer1.kernel=3,stage1.layer2.kernel=3,stage1.layer3.kernel=3,stage2.depth=3,"
        "stage2.layer1.block=mobile,stage2.layer1.mobile.kernel=3,stage2.layer2.block=mobile,"
        "stage2.layer2.mobile.kernel=3,stage2.layer3.block=mobile,stage2.layer3.mobile.kernel=3"
    )
    # six layers, of which the first has rate 0 and the fourth no identity
    expected = {"stage1.layer2": 0.1, "stage1.layer3": 0.2, "stage2.layer2.mobile": 0.4, "stage2.layer3.mobile": 0.5}
    assert rates(space.graph(deepest, TASK)) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    for arch in (space.sample(rng) for _ in range(50)):
        found = rates(space.graph(arch, TASK))
        assert found == pytest.approx({name: expected[name] for name in found})
        assert found.keys() == {n for n in expected if f"{n}.add" in {v.name for v in space.graph(arch, TASK).nodes}}


def test_the_rate_changes_no_choice_and_no_deployed_network() -> None:
    plain, dropping = small_space(0.0), small_space(0.2)
    assert plain.choices == dropping.choices
    rng = np.random.default_rng(1)
    for arch in (plain.sample(rng) for _ in range(10)):
        a, b = plain.graph(arch, TASK), dropping.graph(arch, TASK)
        assert (a.params, a.macs) == (b.params, b.macs)
        assert deploy(a)[0].fingerprint == deploy(b)[0].fingerprint
    assert_trains(b)


@pytest.mark.parametrize("tied", [False, True])
def test_a_stage_keeps_the_rates_that_it_sets_itself(tied: bool) -> None:
    space = small_space(0.5, rules={"drop_path": listed(0.3, 0.3, 0.3)}, tied=tied)
    rng = np.random.default_rng(2)
    for arch in (space.sample(rng) for _ in range(20)):
        found = rates(space.graph(arch, TASK))
        assert {rate for name, rate in found.items() if name.startswith("stage2")} <= {0.3}
        assert found.get("stage1.layer3", 0.2) == pytest.approx(0.2)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(InvalidSpec, match="drop_path"):
        small_space(rate)


def test_a_rate_for_blocks_without_a_branch_to_drop_is_refused() -> None:
    stem = Stage("stem", "conv_bn_act", 16, options={"kernel": (3,), "activation": ("relu",)})
    with pytest.raises(InvalidSpec, match="drop_path"):
        StagedSpace("plain", [stem], drop_path=0.1)
    with pytest.raises(InvalidSpec, match="no block"):
        StagedSpace("unknown", [Stage("stem", "unheard_of", 16)])


def test_downsampling_is_a_choice_of_strided_layers_alone() -> None:
    options = {
        "kernel": (3,),
        "expand": (2,),
        "attention": ("none",),
        "activation": ("relu",),
        "downsample": ("strided", "pooled", "blurred", "polyphase"),
    }
    stages = [Stage(f"stage{i}", "inverted_residual", 16, i, (1, 2), options) for i in (1, 2)]
    space = StagedSpace("small", stages)
    assert [choice.name for choice in space.choices if "downsample" in choice.name] == ["stage2.layer1.downsample"]
    found = {space.graph(arch, TASK).fingerprint for arch in space.cover()}
    texts = [f"stage1.depth=1,stage2.depth=1,stage2.layer1.downsample={name}" for name in options["downsample"]]
    graphs = [space.graph(space.from_string(text), TASK) for text in texts]
    assert len({graph.fingerprint for graph in graphs}) == 4 <= len(found)
    assert len({graph.params for graph in graphs}) == 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", PLAIN)
def test_every_norm_in_every_block(name: str, norm: str) -> None:
    graph = graph_of(name, PLAIN[name], (64, 6, 6), **required(name), norm=norm)
    assert (graph.fingerprint == graph_of(name, PLAIN[name], (64, 6, 6), **required(name)).fingerprint) == (
        norm == "batch"
    )
    assert bool([node for node in graph.nodes if node.op == "batch_norm"]) == (norm in ("batch", "ibn_a"))
    assert_same(graph)
    assert_trains(graph)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("name", PLAIN)
def test_every_attention_in_every_block(name: str, attention: str) -> None:
    graph = graph_of(name, PLAIN[name], (64, 6, 6), **{**required(name), "attention": attention})
    plain = graph_of(name, PLAIN[name], (64, 6, 6), **{**required(name), "attention": "none"})
    assert (graph.fingerprint == plain.fingerprint) == (attention == "none")
    assert_same(graph)
    assert_trains(graph)


def required(name: str) -> dict[str, Any]:
    return {"activation": "relu", "attention": "none"} if name == "inverted_residual" else {"activation": "relu"}


def test_weights_do_not_depend_on_details() -> None:
    """A network keeps its weights when its downsampling or its drop path changes."""
    plain = graph_of("bottleneck_residual", DOWNSAMPLED["bottleneck_residual"])
    weights = numpy_weights(TorchNetwork(plain))
    for downsample in DOWNSAMPLES:
        changed = graph_of(
            *("bottleneck_residual", DOWNSAMPLED["bottleneck_residual"]), downsample=downsample, drop_path=0.3
        )
        assert changed.entries() == plain.entries()
        assert np.isfinite(ran(changed, picture()[:, :1, :12, :12].repeat(16, 1), weights)).all()
