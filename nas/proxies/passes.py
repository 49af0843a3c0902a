"""The passes through a network that proxies read, each run at most once a network.

The network runs in train mode: batch norm uses the batch, as in the reference code of every proxy here.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import cached_property, lru_cache, partial
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from nas.proxies import Pass
from nas.proxies.nodes import (
    CONVOLUTIONS,
    LAYERS,
    THRESHOLDS,
    block_outputs,
    ends_features,
    expands_features,
    layer_weights,
    module_of,
)
from nas.proxies.weights import absolute_double, bypassed, gaussian, initial_statistics
from search_spaces.graph import Graph, Node
from search_spaces.torch_network import TorchNetwork

BACKWARD = frozenset({"gradients", "jacobian", "hessian", "activation_gradients"})
"""Passes that go back through the forward pass of the images."""
PERTURBATION = 0.01
SMOOTHING = 0.05
"""How much of each class's probability is spread evenly, for the Fisher information."""
_IMAGES_AT_ONCE = 4  # of which derivatives of single weights are held in memory


class Forward(NamedTuple):
    """``images`` (n, c, h, w) as a leaf that collects gradients, ``logits`` (n, classes), and what was looked at.

    Each of the rest is empty where no wanted pass reads it.
    """

    images: Tensor
    logits: Tensor
    codes: tuple[Tensor, ...]
    hidden: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class NoiseForward(NamedTuple):
    """What was looked at on the way of a batch of noise; empty where no wanted pass reads it."""

    features: tuple[Tensor, ...]
    covariances: tuple[Tensor, ...]
    positions: tuple[Tensor, ...]


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


class Perturbed(NamedTuple):
    """Features (n, ...) of noise and of noise a little off, None without features; a mean variance a batch norm."""

    features: Tensor | None
    moved: Tensor | None
    variances: tuple[float, ...]


class Passes:
    """The passes of one network on one batch of images and on one of noise, run when first read.

    ``images`` (n, c, h, w) at the size of the graph's input, ``labels`` (n,). ``noise`` of the same shape; standard
    normal, and one for all networks, where it is not given. ``wanted`` names every pass that will be read, so that a
    lone forward keeps nothing for a backward. ``runs`` lists the passes that ran, in order. Weights are left as they
    were; running statistics of batch norm are not.
    """

    def __init__(
        self,
        network: TorchNetwork,
        images: Tensor,
        labels: Tensor,
        wanted: Collection[Pass],
        noise: Tensor | None = None,
    ) -> None:
        self.network = network
        self.runs: list[Pass] = []
        self._images = images
        self._labels = labels
        self._noise = white_noise(tuple(images.shape)) if noise is None else noise
        self._wanted = frozenset(wanted)

    @property
    def graph(self) -> Graph:
        return self.network.graph

    def _weights(self) -> list[nn.Parameter]:
        return [self.network.get_parameter(name) for name in layer_weights(self.graph)]

    @cached_property
    def forward(self) -> Forward:
        """One forward pass of the images; what the wanted passes read is looked at on the way."""
        self.runs.append("forward")
        images = self._images.clone(memory_format=torch.preserve_format).requires_grad_()
        codes: list[Tensor] = []
        hidden: list[Tensor] = []
        outputs: list[Tensor] = []
        nodes = self.graph.nodes
        with ExitStack() as hooks:
            if "codes" in self._wanted:
                self._before(hooks, [n for n in nodes if n.op in THRESHOLDS], lambda x: codes.append(_on(x)))
            if "hidden" in self._wanted:
                for node in (n for n in nodes if expands_features(n)):
                    see = partial(_see_covariance, hidden, -1 if node.op == "linear" else 1)
                    self._after(hooks, [node], see)
            if "activation_gradients" in self._wanted:
                self._after(hooks, [n for n in nodes if n.op in LAYERS], outputs.append)
            with torch.set_grad_enabled(bool(self._wanted & BACKWARD)):
                logits = self.network.train()(images)
        return Forward(images, logits, *map(tuple, (codes, hidden, outputs)))

    @cached_property
    def noise_forward(self) -> NoiseForward:
        """One forward pass of the noise; what the wanted passes read is looked at on the way."""
        self.runs.append("noise_forward")
        features: list[Tensor] = []
        covariances: list[Tensor] = []
        positions: list[Tensor] = []
        convolutions = [n for n in self.graph.nodes if n.op in CONVOLUTIONS]
        with ExitStack() as hooks:
            if self._wanted & {"features", "signs"}:
                self._after(hooks, block_outputs(self.graph), features.append)
            if "covariances" in self._wanted:
                self._after(hooks, convolutions, lambda y: covariances.append(channel_covariance(y)))
            if "positions" in self._wanted:
                self._after(hooks, convolutions, lambda y: positions.append(y[0].detach().flatten(1)))
            backward = "signs" in self._wanted
            with torch.set_grad_enabled(backward):
                # a leaf, so that what precedes the first weight has a gradient too
                self.network.train()(self._noise.clone().requires_grad_(backward))
        return NoiseForward(*map(tuple, (features, covariances, positions)))

    def _before(self, hooks: ExitStack, nodes: Sequence[Node], see: Callable[[Tensor], object]) -> None:
        """``see`` is given the first input of each node."""
        for node in nodes:
            hook = module_of(self.network, node).register_forward_pre_hook(lambda _, inputs: see(inputs[0]) and None)
            hooks.callback(hook.remove)

    def _after(self, hooks: ExitStack, nodes: Sequence[Node], see: Callable[[Tensor], object]) -> None:
        """``see`` is given the output of each node."""
        for node in nodes:
            hook = module_of(self.network, node).register_forward_hook(lambda _, __, output: see(output) and None)
            hooks.callback(hook.remove)

    @cached_property
    def codes(self) -> tuple[Tensor, ...]:
        """One (n, units) tensor of booleans for each activation of ``THRESHOLDS``, in order; reads ``forward``."""
        self.runs.append("codes")
        return self.forward.codes

    @cached_property
    def features(self) -> tuple[Tensor, ...]:
        """The outputs (n, c, h, w) of the network's outermost blocks, in order; reads ``noise_forward``."""
        self.runs.append("features")
        return self.noise_forward.features

    @cached_property
    def spectra(self) -> tuple[Tensor, ...]:
        """The eigenvalues (c,), rising, of the channel covariance of every block's output; reads ``features``."""
        features = self.features
        self.runs.append("spectra")
        return tuple(torch.linalg.eigvalsh(channel_covariance(each)).clamp(min=0) for each in features)

    @cached_property
    def covariances(self) -> tuple[Tensor, ...]:
        """The (c, c) covariance over batch and positions of every convolution's output; reads ``noise_forward``."""
        self.runs.append("covariances")
        return self.noise_forward.covariances

    @cached_property
    def hidden(self) -> tuple[Tensor, ...]:
        """The (c, c) covariance over batch and positions of the first layer's output of every feed-forward block.

        Reads ``forward``.
        """
        self.runs.append("hidden")
        return self.forward.hidden

    @cached_property
    def activation_gradients(self) -> list[Activation]:
        """The output of every convolution and linear layer and the loss's gradient there; reads ``forward``."""
        forward = self.forward
        self.runs.append("activation_gradients")
        loss = F.cross_entropy(forward.logits, self._labels)
        found = torch.autograd.grad(loss, forward.outputs, retain_graph=True, allow_unused=True, materialize_grads=True)
        layers = [module_of(self.network, node) for node in self.graph.nodes if node.op in LAYERS]
        return [
            Activation(layer.get_parameter("weight").detach(), output.detach(), gradient)
            for layer, output, gradient in zip(layers, forward.outputs, found, strict=True)
        ]

    @cached_property
    def hessian(self) -> list[Flow]:
        """Every convolution and linear weight with the Hessian of the loss times the gradient; reads ``forward``."""
        forward = self.forward
        self.runs.append("hessian")
        weights = self._weights()
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
        weights = self._weights()
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
        return _flows(F.cross_entropy(forward.logits, self._labels), self._weights())

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
        tensors = absolute_double(self.network)
        ones = torch.ones((1, *self.graph.inputs[0]), dtype=torch.float64)
        with bypassed(self.network):
            flow = functional_call(self.network, tensors, (ones,)).sum()
        return _flows(flow, [tensors[name] for name in layer_weights(self.graph)])

    @cached_property
    def positions(self) -> tuple[Tensor, ...]:
        """The output (c, positions) of every convolution for the first image of the noise; reads ``noise_forward``."""
        self.runs.append("positions")
        return self.noise_forward.positions

    @cached_property
    def perturbed(self) -> Perturbed:
        """The features in front of the pooling, for noise and for noise a little off, with standard normal weights."""
        self.runs.append("perturbed")
        generator = _own_generator()
        x, e = torch.randn((2, *self._images.shape), generator=generator)
        found: list[Tensor] = []
        variances: list[float] = []
        norms = [n for n in self.graph.nodes if n.op == "batch_norm"]
        with gaussian(self.network, generator), ExitStack() as hooks, torch.no_grad():
            self._before(hooks, ends_features(self.graph), lambda y: found.append(y.clone()))
            self._before(hooks, norms, lambda y: variances.append(float(y.transpose(0, 1).flatten(1).var(1).mean())))
            for images in (x, x + PERTURBATION * e):
                self.network.train()(images)
        first, second = (found[0], found[-1]) if len(found) > 1 else (None, None)
        return Perturbed(first, second, tuple(variances[: len(norms)]))

    @cached_property
    def information(self) -> Tensor:
        """(k, k) the Fisher information of the first element of each of the network's k trained tensors.

        The mean over images of Jᵀ(diag p - p pᵀ)J, with J the derivatives of the logits and p the class probabilities,
        smoothed. The images are the noise, and batch norm has its initial running statistics, as in the authors' code.
        Source: Tybl and Neumann 2025, arXiv:2502.04975, section 3.
        """
        self.runs.append("information")
        network = self.network.eval()
        statistics = initial_statistics(network)
        fixed = {name: parameter.detach() for name, parameter in network.named_parameters()}
        first = {name: tensor.flatten()[:1] for name, tensor in fixed.items()}

        def logits(of: dict[str, Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
            rest = {name: torch.cat([of[name], t.flatten()[1:]]).reshape(t.shape) for name, t in fixed.items()}
            y = functional_call(network, rest | statistics, (image[None],))[0]
            return y, y

        of_images = vmap(jacrev(logits, has_aux=True), in_dims=(None, 0), chunk_size=_IMAGES_AT_ONCE)
        jacobians, outputs = of_images(first, self._noise)
        derivatives = torch.cat(list(jacobians.values()), dim=2)  # (n, classes, k)
        p = outputs.softmax(1) * (1 - SMOOTHING) + SMOOTHING / outputs.shape[1]
        mean = (p[:, :, None] * derivatives).sum(1)
        each = (p.sqrt()[:, :, None] * derivatives).flatten(0, 1)
        found: Tensor = (each.T @ each - mean.T @ mean) / len(p)
        return found.detach()


@lru_cache(maxsize=8)
def white_noise(shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise, always the same; channels last where there are positions."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return noise.contiguous(memory_format=torch.channels_last) if noise.dim() == 4 else noise


def _own_generator() -> torch.Generator:
    """As the global one was seeded: what one pass draws must not depend on which others ran."""
    return torch.Generator().manual_seed(torch.initial_seed())


def _on(x: Tensor) -> Tensor:
    """Which units are on, (n, units), in the order in which they lie in memory."""
    in_order = x.dim() != 4 or x.is_contiguous()
    return (x.detach() > 0 if in_order else x.detach().movedim(1, -1) > 0).flatten(1)


def channel_covariance(features: Tensor, axis: int = 1) -> Tensor:
    """(c, c) of (n, c, h, w), over batch and positions; ``axis`` is that of the channels."""
    samples = _positions(features.detach(), axis)
    centred = samples - samples.mean(0)
    return centred.T @ centred / len(centred)


def _see_covariance(found: list[Tensor], axis: int, features: Tensor) -> None:
    found.append(channel_covariance(features, axis))


def _positions(x: Tensor, axis: int = 1) -> Tensor:
    """(n, c, h, w) as (n · h · w, c)."""
    return x.movedim(axis, -1).reshape(-1, x.shape[axis])


def _flows(total: Tensor, weights: Sequence[Tensor]) -> list[Flow]:
    # materialised: a weight that the output does not depend on has gradient 0
    found = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
    return [Flow(weight.detach(), gradient) for weight, gradient in zip(weights, found, strict=True)]
