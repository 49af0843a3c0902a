"""Deployment: folding, dropping, and equality with the training graph in eval mode."""

import numpy as np
import pytest
import torch
from support_graphs import TASK, flat, randomised

from search_spaces import SPACES, get_space
from search_spaces.builder import Builder, Value
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph
from search_spaces.torch_network import TorchNetwork, load_numpy_weights, numpy_weights


def largest_difference(graph: Graph, batch: int = 2) -> float:
    torch.manual_seed(0)
    network = TorchNetwork(graph).eval()
    weights = randomised(numpy_weights(network))
    load_numpy_weights(network, weights)
    deployed, deployed_weights = deploy(graph, weights)
    other = TorchNetwork(deployed).eval()
    load_numpy_weights(other, deployed_weights)
    data = [torch.randn(batch, *shape) for shape in graph.inputs]
    with torch.no_grad():
        expected, found = network(*data), other(*data)
    pairs = [(expected, found)] if isinstance(expected, torch.Tensor) else list(zip(expected, found, strict=True))
    return max(float((a - b).abs().max() / max(1.0, float(a.abs().max()))) for a, b in pairs)


@pytest.mark.parametrize("name", SPACES)
def test_deployed_networks_equal_trained_ones(name: str) -> None:
    space = get_space(name)
    rng = np.random.default_rng(2)
    for arch in [space.smallest(), *(space.sample(rng) for _ in range(4))]:
        graph = space.graph(arch, TASK)
        assert "batch_norm" not in [node.op for node in deploy(graph)[0].nodes if "conv" in node.name]
        assert largest_difference(graph) <= 1e-4


def test_every_norm_of_a_mobile_network_folds() -> None:
    space = get_space("mobilenet_v2_small")
    deployed, _ = deploy(space.graph(space.cover()[0], TASK))
    assert not [node.name for node in deployed.nodes if node.op == "batch_norm"]
    assert all(node.attrs["bias"] for node in deployed.nodes if node.op == "conv")


def conv_then_norm(b: Builder, x: Value) -> Value:
    return b.batch_norm("bn", b.conv("conv", x, 4, 3))


def only_dropout(b: Builder, x: Value) -> Value:
    return b.op("drop", "dropout", x, p=0.5)


def two_views(b: Builder, x: Value) -> tuple[Value, Value]:
    y = b.op("relu", "relu", x)
    return y, b.op("drop", "dropout", y, p=0.5)


def add_both(b: Builder, x: Value, y: Value) -> Value:
    return b.op("add", "add", x, y)


def pointwise(b: Builder, x: Value, bias: bool) -> Value:
    return b.conv("last", b.op("relu", "relu", x), 4, 1, bias=bias)


def ops(graph: Graph) -> list[str]:
    return [node.op for node in deploy(graph)[0].nodes]


def test_a_norm_is_kept_where_its_layer_has_other_readers() -> None:
    b = Builder([(4, 6, 6)])
    x = b.conv("conv", b.inputs[0], 4, 3)
    y = b.batch_norm("bn", x)
    graph = b.build(b.op("add", "add", x, y))
    assert "batch_norm" in ops(graph)
    assert largest_difference(graph) <= 1e-5


def test_a_norm_is_kept_where_the_layer_is_an_output() -> None:
    b = Builder([(4, 6, 6)])
    x = b.conv("conv", b.inputs[0], 4, 3)
    graph = b.build([x, b.batch_norm("bn", x)])
    assert largest_difference(graph) <= 1e-5


def test_a_norm_over_tokens_does_not_fold_into_a_layer_over_channels() -> None:
    b = Builder([(5, 6)])
    graph = b.build(b.linear("second", b.batch_norm("bn", b.linear("first", b.inputs[0], 5)), 4))
    assert ops(graph) == ["linear", "batch_norm", "linear"]
    assert largest_difference(graph) <= 1e-5


def test_shared_layers_with_their_own_norms_do_not_fold() -> None:
    b = Builder([(4, 6, 6)])
    x = b.batch_norm("bn1", b.conv("conv", b.inputs[0], 4, 3))
    graph = b.build(b.batch_norm("bn2", b.conv("again", x, 4, 3, weights="conv")))
    assert largest_difference(graph) <= 1e-5


def test_shared_blocks_fold_once() -> None:
    b = Builder([(4, 6, 6)])
    x = b.block("one", conv_then_norm, b.inputs[0], weights="shared")
    graph = b.build(b.block("two", conv_then_norm, x, weights="shared"))
    assert ops(graph) == ["conv", "conv"]
    assert largest_difference(graph) <= 1e-5


def test_train_only_nodes_and_dead_ends_disappear() -> None:
    b = Builder([(4, 6, 6)])
    (x,) = b.inputs
    b.conv("dead", x, 8, 3)
    left = b.block("left", only_dropout, x)
    right = b.block("right", only_dropout, x)
    graph = b.build(b.block("sum", add_both, (left, right)))
    deployed, _ = deploy(graph)
    assert [node.op for node in deployed.nodes] == ["add"]
    assert deployed.nodes[0].inputs == ("input", "input")
    assert largest_difference(graph) == 0


def test_outputs_of_a_block_that_become_one() -> None:
    b = Builder([(4, 6, 6)])
    first, second = b.block("views", two_views, b.inputs[0])
    graph = b.build([b.conv("left", first, 4, 1), b.op("right", "tanh", second), second])
    assert ops(graph) == ["relu", "conv", "tanh"]
    assert deploy(graph)[0].output_names == ("left", "right", "views.relu")
    assert largest_difference(graph) <= 1e-6


def test_outputs_that_become_one_or_an_input_stay_outputs() -> None:
    b = Builder([(4, 6, 6)])
    dropped = [b.op(f"drop{i}", "dropout", b.inputs[0], p=0.5) for i in range(2)]
    y = b.conv("conv", dropped[0], 4, 3)
    graph = b.build([y, dropped[1], b.op("last", "dropout", y, p=0.5), dropped[0]])
    assert deploy(graph)[0].output_names == ("conv", "input", "conv", "input")
    assert largest_difference(graph) == 0


def test_linear_layers_fold_too() -> None:
    b = Builder([(6,)])
    graph = b.build(b.batch_norm("bn", b.linear("fc", b.inputs[0], 5)))
    assert ops(graph) == ["linear"]
    assert largest_difference(graph, batch=4) <= 1e-5


def test_factors_fold_into_the_layer_before_them() -> None:
    b = Builder([(4, 6, 6)])
    x = b.batch_norm("bn", b.conv("conv", b.inputs[0], 4, 3))
    x = b.op("relu", "relu", b.op("scale", "scale", x, axis=0, init=1.0))
    x = b.conv("second", x, 4, 1, bias=True)
    graph = b.build(b.op("product", "multiply", b.op("along_rows", "scale", x, axis=1, init=1.0), factor=0.5))
    assert ops(graph) == ["conv", "relu", "conv", "scale", "multiply"]  # a factor a row is not one a channel
    assert largest_difference(graph) <= 1e-5


def test_a_factor_is_seen_through_transposes() -> None:
    b = Builder([(4, 6, 6)])
    x = b.op("last", "transpose", b.inputs[0], axes=(1, 2, 0))
    x = b.op("first", "transpose", b.linear("fc", x, 5), axes=(2, 0, 1))
    graph = b.build(b.batch_norm("bn", b.op("scale", "scale", x, axis=0, init=1.0)))
    assert ops(graph) == ["transpose", "linear", "transpose"]
    assert largest_difference(graph) <= 1e-5


@pytest.mark.parametrize("bias", [True, False])
def test_factors_and_norms_reach_the_last_layer_of_a_block(bias: bool) -> None:
    b = Builder([(4, 6, 6)])
    x = b.block("inner", pointwise, b.inputs[0], bias)
    x = b.op("twice", "scale", b.op("once", "scale", x, axis=0, init=1.0), axis=0, init=1.0)
    graph = b.build(b.batch_norm("bn", x))
    assert ops(graph) == ["relu", "conv"] + ["batch_norm"] * (not bias)  # a block's graph stays as it is
    assert largest_difference(graph) <= 1e-5


def test_a_norm_before_a_layer_without_padding_folds_into_it() -> None:
    b = Builder([(4, 6, 6)])
    x = b.op("relu", "relu", b.inputs[0])
    x = b.conv("patches", b.batch_norm("one", x), 8, 2, 2, groups=2)
    x = b.conv("padded", b.batch_norm("two", b.op("tanh", "tanh", x)), 8, 3)
    graph = b.build(x)
    assert ops(graph) == ["relu", "conv", "tanh", "batch_norm", "conv"]
    assert largest_difference(graph) <= 1e-5


def branches(*kinds: str, groups: int = 4, stride: int = 1) -> Graph:
    """A sum over one input: "k3", "k3d2" (dilated), "x" (the input), "n" (a norm of it)."""
    b = Builder([(4, 9, 9)])
    x = b.op("relu", "relu", b.inputs[0])
    terms = []
    for number, kind in enumerate(kinds):
        if kind == "x":
            terms.append(x)
        elif kind == "n":
            terms.append(b.batch_norm(f"norm{number}", x))
        else:
            kernel, _, dilation = kind[1:].partition("d")
            y = b.conv(f"conv{number}", x, 4, int(kernel), stride, groups, int(dilation or 1))
            terms.append(b.batch_norm(f"norm{number}", y))
    return b.build(b.batch_norm("after", b.op("add", "add", *terms)))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    "kinds",
    [
        ("k3", "k1", "n"),
        ("k3", "k1", "x"),
        ("k1", "x"),
        ("x", "k1", "x", "n"),
        ("k7", "k5", "k3", "k3d2", "k3d3", "k1"),
        ("k5d2", "k3d2", "k3d4", "k1"),
    ],
)
def test_parallel_layers_become_one(kinds: tuple[str, ...], groups: int) -> None:
    graph = branches(*kinds, groups=groups)
    deployed, _ = deploy(graph)
    assert [node.op for node in deployed.nodes] == ["relu", "conv"]
    largest = max(graph.layers(), key=lambda layer: layer.macs)
    assert deployed.macs == largest.macs
    assert deployed.nodes[1].name == largest.name
    assert largest_difference(graph) <= 1e-5


def test_strided_layers_become_one() -> None:
    assert ops(branches("k3", "k1", stride=2)) == ["relu", "conv"]
    assert largest_difference(branches("k3", "k1", stride=2)) <= 1e-5


@pytest.mark.parametrize(
    "kinds",
    [
        ("k3", "k3d2"),  # spreads wider than the larger kernel
        ("k3d2", "k3"),  # would fall between the taps
        ("k3d3", "k5"),
        ("n", "x"),
        ("k2d2", "k1"),
    ],
)
def test_layers_that_do_not_fit_stay_apart(kinds: tuple[str, ...]) -> None:
    graph = branches(*kinds)
    assert "add" in ops(graph)
    assert largest_difference(graph) <= 1e-5


@pytest.mark.parametrize("case", ["groups", "inputs", "readers", "twice", "shared"])
def test_sums_that_are_no_layer_stay(case: str) -> None:
    b = Builder([(4, 6, 6)])
    x = b.op("relu", "relu", b.inputs[0])
    source = b.op("tanh", "tanh", x) if case == "inputs" else x
    one = b.conv("one", source, 4, 3)
    two = b.conv("two", x, 4, 3, groups=2 if case == "groups" else 1)
    if case == "shared":
        two = b.conv("again", x, 4, 3, weights="one")
    y = b.op("add", "add", one, one if case == "twice" else two)
    graph = b.build([y, one] if case == "readers" else y)
    assert "add" in ops(graph)
    assert largest_difference(graph) <= 1e-5


def test_differences_and_nested_sums_of_layers_become_one() -> None:
    """The mixer of FastViT: x + scale (layers(x) - norm(x))."""
    b = Builder([(4, 6, 6)])
    x = b.op("relu", "relu", b.inputs[0])
    large = b.batch_norm("large.bn", b.conv("large.conv", x, 4, 3, groups=4))
    small = b.conv("small", x, 4, 1, groups=4, bias=True)
    y = b.op("sub", "sub", b.op("sum", "add", large, small), b.batch_norm("norm", x))
    graph = b.build(b.op("add", "add", x, b.op("scale", "scale", y, axis=0, init=1.0)))
    assert ops(graph) == ["relu", "conv"]
    assert largest_difference(graph) <= 1e-5


@pytest.mark.parametrize("shape", [(6,), (3, 6)])
def test_linear_layers_of_one_input_become_one(shape: tuple[int, ...]) -> None:
    b = Builder([shape])
    (x,) = b.inputs
    heads = [b.linear(f"{name}.fc", b.batch_norm(f"{name}.bn", x), 6) for name in ("one", "two")]
    graph = b.build(b.op("mean", "multiply", b.op("sum", "add", *heads, x), factor=0.5))
    assert ops(graph) == (["linear"] if shape == (6,) else ["batch_norm", "linear"] * 2 + ["add", "multiply"])
    assert largest_difference(graph, batch=4) <= 1e-5


def random_layer(b: Builder, name: str, x: Value, rng: np.random.Generator) -> Value:
    kernel, groups, dilation = (int(rng.choice(options)) for options in ((1, 3, 5), (1, 4), (1, 2)))
    made = b.conv(f"{name}.conv", x, 4, kernel, 1, groups, dilation, bool(rng.integers(2)))
    return b.batch_norm(f"{name}.bn", made) if rng.integers(2) else made


def random_step(b: Builder, name: str, x: Value, y: Value, rng: np.random.Generator) -> Value:
    """A step that reads ``y``, the value made last, and maybe the older ``x``."""
    match rng.integers(9):
        case 0 | 1:
            branches = [random_layer(b, f"{name}.{i}", y, rng) for i in range(rng.integers(1, 4))]
            return b.op(f"{name}.sum", "add", *branches, y) if rng.integers(2) else branches[-1]
        case 2:
            return b.batch_norm(name, y)
        case 3:
            return b.op(name, "scale", y, axis=0, init=1.0)
        case 4:
            return b.op(name, str(rng.choice(["relu", "dropout", "multiply"])), y, p=0.2, factor=0.7)
        case 5:
            made: Value = b.block(name, conv_then_norm, x, weights="shared" if rng.integers(2) else None)
            return made
        case 6:
            return b.op(name, "sub", random_layer(b, f"{name}_layer", x, rng), random_layer(b, f"{name}_other", x, rng))
        case _:
            return b.op(name, "add", x, y)


@pytest.mark.parametrize("seed", range(60))
def test_random_networks(seed: int) -> None:
    """Any composition of what the rules read is deployed to an equal network whose costs are those of its parts."""
    rng = np.random.default_rng(seed)
    b = Builder([(4, 7, 6)])
    values = [b.inputs[0]]
    for number in range(16):
        values.append(random_step(b, f"node{number}", values[rng.integers(len(values))], values[-1], rng))
    graph = b.build([values[-1], values[int(rng.integers(1, len(values)))]])
    deployed, _ = deploy(graph)
    again = flat(deployed)
    assert (deployed.params, deployed.macs) == (again.params, again.macs)
    assert deployed.macs <= graph.macs
    assert largest_difference(graph) <= 1e-4


def test_missing_and_misshapen_weights_are_named() -> None:
    b = Builder([(4, 6, 6)])
    graph = b.build(conv_then_norm(b, b.inputs[0]))
    weights = numpy_weights(TorchNetwork(graph))
    with pytest.raises(InvalidGraph, match=r"bn\.running_var is missing"):
        deploy(graph, {k: v for k, v in weights.items() if k != "bn.running_var"})
    with pytest.raises(InvalidGraph, match=r"conv\.weight is of shape"):
        deploy(graph, {**weights, "conv.weight": np.zeros((4, 4, 1, 1), np.float32)})


def counted(graph: Graph, op: str) -> int:
    return sum(node.op == op for node in deploy(graph)[0].nodes)


def test_what_is_computed_twice_is_computed_once() -> None:
    space = get_space("nas_bench_201")
    cells = {
        # node 1 is the input again, so both of its pools are that of the input
        "|skip_connect~0|+|avg_pool_3x3~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|": 1,
        "|nor_conv_1x1~0|+|avg_pool_3x3~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|": 2,
        # two pools that become one make what reads them one
        "|avg_pool_3x3~0|+|avg_pool_3x3~0|none~1|+|none~0|avg_pool_3x3~1|avg_pool_3x3~2|": 2,
    }
    for cell, pools in cells.items():
        graph = space.graph(space.from_string(cell), TASK)
        assert counted(graph, "avg_pool") == 15 * pools + 2  # the reductions have one each
        assert largest_difference(graph) <= 1e-4


def test_equal_layers_with_weights_of_their_own_stay() -> None:
    b = Builder([(4, 8, 8)])
    x = b.inputs[0]
    first, second = (b.op(f"act{i}", "relu", b.conv(f"conv{i}", x, 4, 3)) for i in (1, 2))
    apart = b.op("product", "mul", first, second)
    once, again = (b.op(f"tanh{i}", "tanh", x) for i in (1, 2))
    graph = b.build(b.op("sum", "add", apart, b.op("square", "mul", once, again)))
    assert (counted(graph, "conv"), counted(graph, "relu"), counted(graph, "tanh")) == (2, 2, 1)
    assert largest_difference(graph) <= 1e-4
