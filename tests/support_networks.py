"""Checks of one graph through every reader that several tests share."""

import numpy as np
import onnx
import onnxruntime
import torch
from support_graphs import randomised

from search_spaces.deploy import deploy
from search_spaces.graph import Graph
from search_spaces.onnx_graph import to_onnx
from search_spaces.torch_network import TorchNetwork, load_numpy_weights, numpy_weights


def random_inputs(graph: Graph, batch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pairs = zip(graph.input_names, graph.inputs, strict=True)
    return {name: torch.randn(batch, *shape, generator=generator) for name, shape in pairs}


def assert_same(graph: Graph, *, deployed: bool = True, batches: tuple[int, ...] = (1, 3)) -> None:
    """PyTorch's training graph in eval mode against PyTorch and ONNX Runtime on the (deployed) graph.

    Statistics and affine parameters are far from fresh, for fresh ones hide folding errors.
    """
    torch.manual_seed(0)
    network = TorchNetwork(graph).eval()
    weights = randomised(numpy_weights(network))
    load_numpy_weights(network, weights)
    other, other_weights = deploy(graph, weights) if deployed else (graph, weights)
    deployed_network = TorchNetwork(other).eval()
    load_numpy_weights(deployed_network, other_weights)
    model = to_onnx(other, other_weights)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in batches:
        data = random_inputs(graph, batch)
        with torch.no_grad():
            expected = network(*data.values())
            found = deployed_network(*data.values())
        exported = session.run(None, {name: value.numpy() for name, value in data.items()})
        if isinstance(expected, torch.Tensor):
            expected, found = (expected,), (found,)
        for shape, a, b, c in zip(graph.output_shapes, expected, found, exported, strict=True):
            assert a.shape == b.shape == c.shape == (batch, *shape)
            allowed = 1e-4 * max(1.0, float(a.detach().abs().max()))
            assert float((a - b).detach().abs().max()) <= allowed
            assert np.abs(a.detach().numpy() - c).max() <= allowed


def assert_trains(graph: Graph) -> None:
    """Parameters are as many as the graph says; a finite gradient reaches each that has a path to an output."""
    torch.manual_seed(1)
    network = TorchNetwork(graph)
    load_numpy_weights(network, randomised(numpy_weights(network)))
    assert sum(p.numel() for p in network.parameters()) == graph.params
    if not graph.params:
        return  # a pool, an identity: nothing trains
    made = network(*random_inputs(graph, 4).values())
    outputs = (made,) if isinstance(made, torch.Tensor) else made
    sum((out * torch.randn_like(out)).mean() for out in outputs).backward()
    reached = _reached(graph)
    for key, parameter in network.named_parameters():
        if key.rpartition(".")[0] not in reached:
            continue
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


def _reached(graph: Graph) -> set[str]:
    """The weight entries that an output depends on: a cell of zeros hides what comes before it."""
    needed = set(graph.output_names)
    entries = set()
    for node in reversed(graph.nodes):
        if node.name in needed and node.op != "zeros":
            needed.update(node.inputs)
            entries.add(node.weights)
    return entries
