"""The passes through a network that proxies read, each run at most once a network.

The network runs in train mode: batch norm uses the batch, as in the reference code of every proxy here.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
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
CONVOLUTIONS = frozenset({"conv", "spaced_conv"})
LAYERS = CONVOLUTIONS | {"linear"}
BACKWARD = frozenset({"gradients", "jacobian", "signs", "hessian", "activation_gradients"})
"""Passes that go back through the forward pass."""
AFTER_STAGES = frozenset({"head", "last"})
LINEARISED = THRESHOLDS | NORMS
"""What the synflow pass bypasses. A norm over channels would cut off the flow of an even input."""


class Forward(NamedTuple):
    """``images`` (n, c, h, w) as a leaf that collects gradients, ``logits`` (n, classes), and what was looked at.

    Each of the rest is empty where no wanted pass reads it.
    """

    images: Tensor
    logits: Tensor
    codes: tuple[Tensor, ...]
    features: tuple[Tensor, ...]
    covariances: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class GraphOnly(NamedTuple):
    """What a proxy reads that names no pass."""

    graph: Graph


class Flow(NamedTuple):
    """A weight and the gradient of some total with respect to it."""

    weight: Tensor
    gradient: Tensor


class Activation(NamedTuple):
    """A layer's weight, its output (n, c, ...), and the gradient of the loss with respect to the output."""

    weight: Tensor
    output: Tensor
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

    @property
    def graph(self) -> Graph:
        return self.network.graph

    @cached_property
    def forward(self) -> Forward:
        """One forward pass of the batch; what the wanted passes read is looked at on the way."""
        self.runs.append("forward")
        images = self._images.clone(memory_format=torch.preserve_format).requires_grad_()
        codes: list[Tensor] = []
        features: list[Tensor] = []
        covariances: list[Tensor] = []
        outputs: list[Tensor] = []
        nodes = self.graph.nodes
        with ExitStack() as hooks:
            if "codes" in self._wanted:
                self._before(hooks, [n for n in nodes if n.op in THRESHOLDS], lambda x: codes.append(_on(x)))
            if self._wanted & {"features", "signs"}:
                self._after(hooks, block_outputs(self.graph), features.append)
            if "covariances" in self._wanted:
                convolutions = [n for n in nodes if n.op in CONVOLUTIONS]
                self._after(hooks, convolutions, lambda y: covariances.append(channel_covariance(y)))
            if "activation_gradients" in self._wanted:
                self._after(hooks, [n for n in nodes if n.op in LAYERS], outputs.append)
            with torch.set_grad_enabled(bool(self._wanted & BACKWARD)):
                logits = self.network.train()(images)
        return Forward(images, logits, tuple(codes), tuple(features), tuple(covariances), tuple(outputs))

    def _before(self, hooks: ExitStack, nodes: Sequence[Node], see: Callable[[Tensor], object]) -> None:
        """``see`` is given the first input of each node."""
        for node in nodes:
            hook = _module(self.network, node).register_forward_pre_hook(lambda _, inputs: see(inputs[0]) and None)
            hooks.callback(hook.remove)

    def _after(self, hooks: ExitStack, nodes: Sequence[Node], see: Callable[[Tensor], object]) -> None:
        """``see`` is given the output of each node."""
        for node in nodes:
            hook = _module(self.network, node).register_forward_hook(lambda _, __, output: see(output) and None)
            hooks.callback(hook.remove)

    @cached_property
    def codes(self) -> tuple[Tensor, ...]:
        """One (n, units) tensor of booleans for each activation of ``THRESHOLDS``, in order; reads ``forward``."""
        self.runs.append("codes")
        return self.forward.codes

    @cached_property
    def features(self) -> tuple[Tensor, ...]:
        """The outputs (n, c, h, w) of the network's outermost blocks, in order; reads ``forward``."""
        self.runs.append("features")
        return self.forward.features

    @cached_property
    def covariances(self) -> tuple[Tensor, ...]:
        """The (c, c) covariance over batch and positions of every convolution's output; reads ``forward``."""
        self.runs.append("covariances")
        return self.forward.covariances

    @cached_property
    def activation_gradients(self) -> list[Activation]:
        """The output of every convolution and linear layer and the loss's gradient there; reads ``forward``."""
        forward = self.forward
        self.runs.append("activation_gradients")
        loss = F.cross_entropy(forward.logits, self._labels)
        found = torch.autograd.grad(loss, forward.outputs, retain_graph=True, allow_unused=True, materialize_grads=True)
        layers = [_module(self.network, node) for node in self.graph.nodes if node.op in LAYERS]
        return [
            Activation(layer.get_parameter("weight").detach(), output.detach(), gradient)
            for layer, output, gradient in zip(layers, forward.outputs, found, strict=True)
        ]

    @cached_property
    def hessian(self) -> list[Flow]:
        """Every convolution and linear weight with the Hessian of the loss times the gradient; reads ``forward``."""
        forward = self.forward
        self.runs.append("hessian")
        weights = layer_weights(self.network)
        loss = F.cross_entropy(forward.logits, self._labels)
        once = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True, materialize_grads=True)
        total = sum(((g.detach() * g).sum() for g in once), torch.zeros(()))
        return (
            _flows(total, weights) if total.requires_grad else [Flow(w.detach(), torch.zeros_like(w)) for w in weights]
        )

    @cached_property
    def halves(self) -> list[tuple[Tensor, Tensor]]:
        """Every convolution and linear weight's gradients of the loss on either half of the batch."""
        self.runs.append("halves")
        weights = layer_weights(self.network)
        middle = len(self._images) // 2
        found = []
        for part in (slice(None, middle), slice(middle, None)):
            logits = self.network.train()(self._images[part])
            flows = _flows(F.cross_entropy(logits, self._labels[part]), weights)
            found.append([flow.gradient for flow in flows])
        return list(zip(*found, strict=True))

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
        of which the later depends on the earlier; reads ``features``. Source: Lee and Ham 2024, section 3.2.
        """
        features = self.features
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
    """The last node of each of the network's outermost blocks whose output has positions; empty blocks have none.

    What follows the last stage (``AFTER_STAGES``) only fits features to the classifier, and is none of them, as in the
    code of AZ-NAS.
    """
    nodes = {node.name: node for node in graph.nodes}
    blocks = [
        (i.name, i.op.output_names)
        for i in graph.items
        if isinstance(i.op, Graph) and i.name.split(".")[0] not in AFTER_STAGES
    ]
    ends = (f"{name}.{outputs[-1]}" for name, outputs in blocks if outputs)
    return [nodes[name] for name in ends if name in nodes and len(nodes[name].shape) == 3]


def _on(x: Tensor) -> Tensor:
    """Which units are on, (n, units)."""
    return (x.detach() > 0).flatten(1)


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
    entries = dict.fromkeys(node.weights for node in network.graph.nodes if node.op in LAYERS)
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
