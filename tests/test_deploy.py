"""Deployment: folding, dropping, and equality with the training graph in eval mode."""

import numpy as np
import pytest
import torch
from support_graphs import TASK, randomised

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


def add_both(b: Builder, x: Value, y: Value) -> Value:
    return b.op("add", "add", x, y)


def test_a_norm_is_kept_where_its_layer_has_other_readers() -> None:
    b = Builder([(4, 6, 6)])
    x = b.conv("conv", b.inputs[0], 4, 3)
    y = b.batch_norm("bn", x)
    graph = b.build(b.op("add", "add", x, y))
    assert "batch_norm" in [node.op for node in deploy(graph)[0].nodes]
    assert largest_difference(graph) <= 1e-5


def test_a_norm_is_kept_where_the_layer_is_an_output() -> None:
    b = Builder([(4, 6, 6)])
    x = b.conv("conv", b.inputs[0], 4, 3)
    graph = b.build([x, b.batch_norm("bn", x)])
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
    deployed, _ = deploy(graph)
    assert [node.op for node in deployed.nodes] == ["conv", "conv"]
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


def test_linear_layers_fold_too() -> None:
    b = Builder([(6,)])
    graph = b.build(b.batch_norm("bn", b.linear("fc", b.inputs[0], 5)))
    assert [node.op for node in deploy(graph)[0].nodes] == ["linear"]
    assert largest_difference(graph, batch=4) <= 1e-5


def test_missing_and_misshapen_weights_are_named() -> None:
    b = Builder([(4, 6, 6)])
    graph = b.build(conv_then_norm(b, b.inputs[0]))
    weights = numpy_weights(TorchNetwork(graph))
    with pytest.raises(InvalidGraph, match=r"bn\.running_var is missing"):
        deploy(graph, {k: v for k, v in weights.items() if k != "bn.running_var"})
    with pytest.raises(InvalidGraph, match=r"conv\.weight is of shape"):
        deploy(graph, {**weights, "conv.weight": np.zeros((4, 4, 1, 1), np.float32)})
