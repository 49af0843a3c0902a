"""A network with other weights for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nas.proxies.nodes import LINEARISED, module_of
from search_spaces.torch_network import TorchNetwork


@contextmanager
def absolute_double(network: TorchNetwork) -> Iterator[None]:
    """Parameters, and fixed tensors of the network, replaced by their absolute values in double precision."""
    fixed = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    parameters = [*network.parameters(), *fixed]
    originals = [parameter.data for parameter in parameters]
    for parameter in parameters:
        parameter.data = parameter.data.double().abs()
    try:
        yield
    finally:
        for parameter, original in zip(parameters, originals, strict=True):
            parameter.data = original


@contextmanager
def gaussian(network: TorchNetwork, generator: torch.Generator) -> Iterator[None]:
    """Weights of convolution and linear layers replaced by standard normal ones, their biases by zeros."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)]
    originals = [(parameter, parameter.data) for layer in layers for parameter in layer.parameters(recurse=False)]
    for parameter, original in originals:
        normal = original.dim() > 1
        parameter.data = torch.randn(original.shape, generator=generator) if normal else torch.zeros_like(original)
    try:
        yield
    finally:
        for parameter, original in originals:
            parameter.data = original


@contextmanager
def bypassed(network: TorchNetwork) -> Iterator[None]:
    """Batch norm and activations replaced by the identity."""
    modules = [module_of(network, node) for node in network.graph.nodes if node.op in LINEARISED]
    for module in modules:
        module.forward = _identity
    try:
        yield
    finally:
        for module in modules:
            module.__dict__.pop("forward", None)  # a shared module stands here twice


def _identity(x: Tensor) -> Tensor:
    return x
