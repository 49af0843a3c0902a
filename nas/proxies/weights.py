"""A network with other weights for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nas.proxies.nodes import LINEARISED, module_of
from search_spaces.torch_network import TorchNetwork


def absolute_double(network: TorchNetwork) -> dict[str, Tensor]:
    """The absolute values of parameters and of fixed tensors, in double precision, by name; leaves of their own.

    The network keeps its tensors: autograd would no longer know a parameter that was another type for a while, and a
    forward pass that ran before would have no gradients.
    """
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return {
        name: tensor.detach().double().abs().requires_grad_(isinstance(tensor, nn.Parameter))
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    }


def initial_statistics(network: TorchNetwork) -> dict[str, Tensor]:
    """What batch norm estimates before it has seen a batch, mean 0 and variance 1, by name."""
    values = {"running_mean": 0.0, "running_var": 1.0}
    named = ((name, values.get(name.rpartition(".")[2]), buffer) for name, buffer in network.named_buffers())
    return {name: torch.full_like(buffer, value) for name, value, buffer in named if value is not None}


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
