"""Computes the proxies of one architecture."""

import math
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module

import numpy as np
import torch
from torch import Tensor, nn

from nas.datasets import load_dataset
from nas.jobs import ScoreJob, ScoreResult
from nas.proxies import ProxyFacts, get_proxy_facts
from nas.proxies.passes import GraphOnly, Passes
from nas.training.images import to_size
from nas.training.network import channels_last, job_graph, network_seed, one_thread, seeded
from search_spaces.errors import NasError
from search_spaces.graph import Graph
from search_spaces.torch_network import TorchNetwork

BATCH_SIZE = 16


def score_architecture(job: ScoreJob) -> ScoreResult:
    """The proxies of an architecture at initialisation, on a fixed batch of its data set's training images.

    The same job gives the same values; weights depend on the seed and the architecture, the batch on the
    seed. A value that is not finite, or that a degenerate network does not have, is None. An
    architecture that cannot be built is a result with ``error``. Raises: UnknownName for an unknown proxy.
    """
    started = time.perf_counter()
    for name in job.proxies:
        get_proxy_facts(name)
    try:
        arch, graph = job_graph(job.space, job.architecture, job.dataset)
        images, labels = probe_batch(job.dataset, graph.inputs[0][1:], job.seed)
        values = score_graph(graph, images, labels, job.proxies, network_seed(job.seed, arch))
    except NasError as error:
        return ScoreResult(dict.fromkeys(job.proxies), time.perf_counter() - started, error=str(error))
    return ScoreResult(values, time.perf_counter() - started)


def score_graph(
    graph: Graph, images: Tensor, labels: Tensor, proxies: Sequence[str], seed: int
) -> Mapping[str, float | None]:
    """The proxies of a network on a batch (n, c, h, w), each the mean over as many initialisations as it asks for.

    An initialisation without a finite value does not count; a proxy is None where none has one. One thread; the same
    seed gives the same values. Raises: UnknownName.
    """
    facts = {name: get_proxy_facts(name) for name in proxies}
    values = dict(compute([name for name, each in facts.items() if not each.passes], GraphOnly(graph)))
    if reading := {name: each for name, each in facts.items() if each.passes}:
        values |= _mean_values(graph, images, labels, reading, seed)
    return {name: values[name] for name in proxies}


def _mean_values(
    graph: Graph, images: Tensor, labels: Tensor, facts: Mapping[str, ProxyFacts], seed: int
) -> dict[str, float | None]:
    found: dict[str, list[float]] = {name: [] for name in facts}
    with one_thread():
        with seeded(seed):
            network = channels_last(TorchNetwork(graph))
        for number in range(max(each.initialisations for each in facts.values())):
            names = [name for name, each in facts.items() if each.initialisations > number]
            with seeded(seed + number):  # so that a proxy's value is the same whatever else is read
                initialise(network)
                passes = Passes(network, images, labels, {p for name in names for p in facts[name].passes})
                for name, value in compute(names, passes).items():
                    if value is not None:
                        found[name].append(value)
    return {name: float(np.mean(values)) if values else None for name, values in found.items()}


def compute(proxies: Sequence[str], passes: Passes | GraphOnly) -> Mapping[str, float | None]:
    """The named proxies at one initialisation, None where not finite. Raises: UnknownName."""
    values: dict[str, float | None] = {}
    for name in proxies:
        module, _, attribute = get_proxy_facts(name).path.partition(":")
        try:
            value: float = getattr(import_module(module), attribute)(passes)
        except np.linalg.LinAlgError:  # eigenvalues that do not converge, on a degenerate network
            value = math.nan
        values[name] = value if math.isfinite(value) else None
    return values


def initialise(network: nn.Module) -> None:
    """Kaiming-normal weights by fan-in, biases zero, batch norm the identity; from PyTorch's generator.

    The initialisation of AZ-NAS (Lee and Ham 2024), for a proxy's value depends on it.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@lru_cache(maxsize=32)
def probe_batch(dataset: str, size: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """The images (n, c, \\*size) and labels (n,) that every network of a search is scored on."""
    part = load_dataset(dataset).train
    chosen = np.random.default_rng([seed, len(part)]).permutation(len(part))[:BATCH_SIZE]
    return to_size(part.images[chosen], size), torch.tensor(part.labels[chosen])
