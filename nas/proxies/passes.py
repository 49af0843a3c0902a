"""The passes through a network that proxies read, each run at most once a network.

The network runs in train mode: batch norm uses the batch, as in the reference code of every proxy here.
"""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from itertools import pairwise
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
    """``images`` (n, c, h, w) as a leaf that collects gradients, ``logits`` (n, classes), and what was looked at.

    ``codes``: one (n, units) tensor of booleans for each activation of ``THRESHOLDS``, in order of execution.
    ``features``: the outputs (n, c, h, w) of the network's blocks in order, still part of the graph of gradients.
    ``covariances``: for each convolution the (c, c) covariance of its output's channels over batch and positions.
    """

    images: Tensor
    logits: Tensor
    codes: tuple[Tensor, ...]
    features: tuple[Tensor, ...]
    covariances: tuple[Tensor, ...]


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
        self._wanted = frozenset(wanted)
        self._backward = bool(self._wanted & {"gradients", "jacobian", "signs"})

    @property
    def graph(self) -> Graph:
        return self.network.graph

    @cached_property
    def forward(self) -> Forward:
        """One forward pass of the batch; the activations' inputs are looked at on the way."""
        self.runs.append("forward")
        codes: list[Tensor] = []
        features: list[Tensor] = []
        covariances: list[Tensor] = []
        images = self._images.clone(memory_format=torch.preserve_format).requires_grad_()
        with ExitStack() as hooks:
            if "codes" in self._wanted:
                for node in self.graph.nodes:
                    if node.op in THRESHOLDS:
                        hook = _module(self.network, node).register_forward_pre_hook(
                            lambda _, inputs: codes.append((inputs[0].detach() > 0).flatten(1))
                        )
                        hooks.callback(hook.remove)
            if {"features", "signs"} & self._wanted:
                for node in block_outputs(self.graph):
                    hook = _module(self.network, node).register_forward_hook(lambda _, __, out: features.append(out))
                    hooks.callback(hook.remove)
            if "covariances" in self._wanted:
                for node in self.graph.nodes:
                    if node.op in ("conv", "spaced_conv"):
                        hook = _module(self.network, node).register_forward_hook(
                            lambda _, __, out: covariances.append(channel_covariance(out))
                        )
                        hooks.callback(hook.remove)
            with torch.set_grad_enabled(self._backward):
                logits = self.network.train()(images)
        return Forward(images, logits, tuple(codes), tuple(features), tuple(covariances))

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
    def signs(self) -> list[Tensor]:
        """How gradients pass from each block to the one before: E[g_in g_outᵀ] over batch and positions.

        g_out is random signs at a block's output, g_in their gradient at the output of the block before; where the
        resolution falls, g_in's positions become channels. A (c_in, c_out) matrix for each pair of successive blocks
        of which the later depends on the earlier; reads ``forward``. Source: Lee and Ham 2024, section 3.2.
        """
        features = self.forward.features
        self.runs.append("signs")
        found: list[Tensor] = []
        drawn: dict[tuple[int, ...], Tensor] = {}
        for before, after in pairwise(features):
            if not (after.requires_grad and before.requires_grad):
                continue
            if (out := drawn.get(tuple(after.shape))) is None:
                # one draw a shape: what is averaged over is the batch and the positions of one block
                signs = torch.randint(0, 2, after.shape, dtype=torch.int8).float().mul_(2).sub_(1)
                out = drawn[tuple(after.shape)] = signs.contiguous(memory_format=torch.channels_last)
            (into,) = torch.autograd.grad(after, before, out, retain_graph=True, allow_unused=True)
            if into is None:
                continue
            by = max(1, round(into.shape[-1] / out.shape[-1]))
            if by > 1:
                into = F.pixel_unshuffle(into[..., : by * out.shape[-2], : by * out.shape[-1]], by)
            if into.shape[-2:] == out.shape[-2:]:
                found.append(_positions(into).T @ _positions(out) / out[:, 0].numel())
        return found

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


def block_outputs(graph: Graph) -> list[Node]:
    """The last node of each of the network's outermost blocks whose output has positions; empty blocks have none."""
    nodes = {node.name: node for node in graph.nodes}
    blocks = ((item.name, item.op.output_names) for item in graph.items if isinstance(item.op, Graph))
    ends = (f"{name}.{outputs[-1]}" for name, outputs in blocks if outputs)
    return [nodes[name] for name in ends if name in nodes and len(nodes[name].shape) == 3]


def channel_covariance(features: Tensor) -> Tensor:
    """(c, c) of (n, c, h, w), over batch and positions."""
    samples = _positions(features.detach())
    centred = samples - samples.mean(0)
    return centred.T @ centred / len(centred)


def _positions(x: Tensor) -> Tensor:
    """(n, c, h, w) as (n · h · w, c)."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


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
