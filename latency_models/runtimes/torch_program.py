"""The network of a graph as PyTorch's exported program, which the runtimes made of PyTorch read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from search_spaces.errors import UnsupportedKernel
from search_spaces.graph import Graph
from search_spaces.onnx_graph import random_weights
from search_spaces.torch_network import TorchNetwork, load_numpy_weights


def export(graph: Graph, weights: Mapping[str, NDArray[Any]] | None, batch_size: int) -> torch.export.ExportedProgram:
    """The exported program of a deployed graph in eval mode at one batch size; weights are random where None.

    Raises: InvalidGraph if a tensor is missing or has another shape, UnsupportedKernel if PyTorch does not export it.
    """
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and who asks for a file expects no draws
        network = TorchNetwork(graph).eval()
    load_numpy_weights(network, random_weights(graph) if weights is None else weights)
    network.requires_grad_(False)
    inputs = tuple([torch.zeros(batch_size, *shape) for shape in graph.inputs])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # PyTorch warns of its own parts
        try:
            return torch.export.export(network, inputs, strict=False)
        except Exception as error:  # torch.export raises dozens of unrelated classes
            raise UnsupportedKernel(
                f"PyTorch does not export the network: {error}", hint="use another runtime"
            ) from error
