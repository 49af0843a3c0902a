"""The network of a job: its graph, its seed, and the conditions it runs under."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch

from nas.datasets import get_dataset_facts
from search_spaces import Architecture
from search_spaces.definition import SpaceReference, space_of
from search_spaces.graph import Graph
from search_spaces.torch_network import TorchNetwork


def job_graph(space: SpaceReference, architecture: str, dataset: str) -> tuple[Architecture, Graph]:
    """The architecture of the text form, and its training graph for the data set.

    Raises: UnknownName, InvalidSpec, InvalidArchitecture, InvalidGraph.
    """
    found = space_of(space)
    arch = found.from_string(architecture)
    return arch, found.graph(arch, get_dataset_facts(dataset).task)


def network_seed(seed: int, arch: Architecture) -> int:
    """A seed of 63 bits for the initialisation, fixed by the search's seed and the architecture."""
    return int.from_bytes(blake2b(f"{seed}:{arch.id}".encode(), digest_size=8).digest()) >> 1


def channels_last(network: TorchNetwork) -> TorchNetwork:
    """The network with its weights laid out channels last, which trains twice as fast on a CPU; in place."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """PyTorch's global generator seeded inside, and as it was before on leaving."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside: jobs share the machine by processes, and sums keep their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
