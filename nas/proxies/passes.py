"""The passes through a network that proxies read, each run at most once a network.

The network runs in train mode: batch norm uses the batch, as in the reference code of every proxy here.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.proxies import Pass
from search_spaces.graph import Graph, Node
from search_spaces.ops import OPS
from search_spaces.torch_network import TorchNetwork

THRESHOLDS = frozenset({"relu", "relu6", "hard_swish", "silu", "gelu", "squared_relu", "star_relu"})
"""Activations whose input's sign says whether the unit is on."""
NORMS = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "response_norm", "l2_norm"})
LINEARISED = THRESHOLDS | NORMS
"""What the synflow pass bypasses. A norm over channels would cut off the flow of an even input."""


class Forward(NamedTuple):
    """``images`` (n, c, h, w) as a leaf that collects gradients, ``logits`` (n, classes), and ``codes``.

    ``codes``: one (n, units) tensor of booleans for each activation of ``THRESHOLDS``, in order of execution.
    """

    images: Tensor
    logits: Tensor
    codes: tuple[Tensor, ...]


class Flow(NamedTuple):
    """A weight and the gradient of some total with respect to it."""

    weight: Tensor
    gradient: Tensor


class Passes:
    """The passes of one network on one batch of real images, run when first read.

    ``images`` (n, c, h, w) at the size of the graph's input, ``labels`` (n,). ``wanted`` names every pass
    that will be read, so that a lone forward keeps nothing for a backward. ``runs`` lists the passes
    that ran, in order. Weights are left as they were; running statistics of batch norm are not.
    """

    def __init__(self, network: TorchNetwork, images: Tensor, labels: Tensor, wanted: Collection[Pass]) -> None:
        self.network = network
        self.runs: list[Pass] = []
        self._images = images
        self._labels = labels
        self._backward = "gradients" in wanted or "jacobian" in wanted

    @property
    def graph(self) -> Graph:
        return self.network.graph

    @cached_property
    def forward(self) -> Forward:
        """One forward pass of the batch; the activations' inputs are looked at on the way."""
        self.runs.append("forward")
        codes: list[Tensor] = []

        def collect(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            codes.append((inputs[0].detach() > 0).flatten(1))

        images = self._images.clone(memory_format=torch.preserve_format).requires_grad_()
        hooks = [
            _module(self.network, node).register_forward_pre_hook(collect)
            for node in self.graph.nodes
            if node.op in THRESHOLDS
        ]
        try:
            with torch.set_grad_enabled(self._backward):
                logits = self.network.train()(images)
        finally:
            for hook in hooks:
                hook.remove()
        return Forward(images, logits, tuple(codes))

    @cached_property
    def gradients(self) -> list[Flow]:
        """Every convolution and linear weight with the gradient of the mean cross-entropy; reads ``forward``."""
        forward = self.forward
        self.runs.append("gradients")
        return _flows(F.cross_entropy(forward.logits, self._labels), layer_weights(self.network))

    @cached_property
    def jacobian(self) -> Tensor:
        """(n, c·h·w): for each image the gradient of the sum of all logits; reads ``forward``."""
        forward = self.forward
        self.runs.append("jacobian")
        if not forward.logits.requires_grad:
            return torch.zeros_like(forward.images).flatten(1)
        (gradient,) = torch.autograd.grad(
            forward.logits.sum(), forward.images, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return gradient.flatten(1)

    @cached_property
    def synflow(self) -> list[Flow]:
        """Every convolution and linear weight, absolute, with the gradient of the sum of the outputs.

        One input of ones through absolute weights (biases too), in double precision, for the flow
        overflows single precision in networks of some thirty layers. Batch norm is bypassed, and so are
        activations: the flow is positive, where ReLU is the identity; a bounded one (ReLU6) would only cut it off.
        """
        self.runs.append("synflow")
        with _absolute_double(self.network), _bypassed(self.network):
            ones = torch.ones((1, *self.graph.inputs[0]), dtype=torch.float64)
            return _flows(self.network(ones).sum(), layer_weights(self.network))


def layer_weights(network: TorchNetwork) -> list[nn.Parameter]:
    """The weights of all convolution and linear layers, shared ones once, in order of execution."""
    entries = dict.fromkeys(
        node.weights for node in network.graph.nodes if node.op in ("conv", "spaced_conv", "linear")
    )
    return [network.get_parameter(f"{entry}.weight") for entry in entries]


def _flows(total: Tensor, weights: list[nn.Parameter]) -> list[Flow]:
    # materialised: a weight that the output does not depend on has gradient 0
    found = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
    return [Flow(weight.detach(), gradient) for weight, gradient in zip(weights, found, strict=True)]


@contextmanager
def _absolute_double(network: TorchNetwork) -> Iterator[None]:
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
def _bypassed(network: TorchNetwork) -> Iterator[None]:
    """Batch norm and activations replaced by the identity."""
    modules = [_module(network, node) for node in network.graph.nodes if node.op in LINEARISED]
    for module in modules:
        module.forward = _identity
    try:
        yield
    finally:
        for module in modules:
            module.__dict__.pop("forward", None)  # a shared module stands here twice


def _module(network: TorchNetwork, node: Node) -> nn.Module:
    return network.get_submodule(node.name if OPS[node.op].weights is None else node.weights)


def _identity(x: Tensor) -> Tensor:
    return x
