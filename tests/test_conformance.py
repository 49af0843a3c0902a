"""One suite over every block, every space and every preset.

``make test`` runs one instance a block, three architectures a space and the smallest presets;
``make conformance`` sets CONFORMANCE=full: every option of every argument, a cover and samples of each
space, every preset of up to 10 million parameters at its published size.
"""

import inspect
import os
from typing import Any

import numpy as np
import pytest
import torch
from support_graphs import TASK, flat
from support_networks import assert_same, assert_trains

from search_spaces import BLOCKS, PRESETS, SPACES, Architecture, get_preset, get_space
from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.downsample import DOWNSAMPLES
from search_spaces.blocks.norm import NORMS
from search_spaces.builder import Builder
from search_spaces.cost import peak_memory_bytes
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph
from search_spaces.ops import ACTIVATIONS
from search_spaces.torch_network import TorchNetwork

FULL = os.environ.get("CONFORMANCE") == "full"
SMALL_PARAMS = 10_000_000 if FULL else 3_000_000
"""Up to here presets are run at their published size."""

ALTERNATIVES: dict[str, tuple[Any, ...]] = {
    "out_channels": (8, 16, 24, 32),
    "kernel": (1, 3, 5, 7),
    "stride": (1, 2),
    "expand": (1, 2, 2.5, 4, 6),
    "activation": (*ACTIVATIONS, "none"),
    "norm": tuple(NORMS),
    "attention": tuple(ATTENTIONS),
    "downsample": tuple(DOWNSAMPLES),
    "drop_path": (0.0, 0.5),
    "groups": (1, 2, 4),
    "dilation": (1, 2),
    "heads": (1, 2, 4),
    "mlp_ratio": (1, 2, 3, 4),
}
"""What else an argument of that name may be; a block may refuse a combination, but only by InvalidGraph."""


def block_graph(name: str, arguments: tuple[Any, ...]) -> Graph:
    b = Builder([BLOCKS[name].input_shape])
    return b.build(b.block("block", BLOCKS[name].function, b.inputs[0], *arguments))


def made_or_refused(name: str, arguments: tuple[Any, ...]) -> Graph | None:
    """The block's graph; None where it refuses the arguments, as a block says that."""
    try:
        return block_graph(name, arguments)
    except InvalidGraph:
        return None


def variants(name: str) -> list[tuple[Any, ...]]:
    """The example of a block, and in the full matrix every change of one argument."""
    block = BLOCKS[name]
    found = [block.example]
    if FULL:
        parameters = list(inspect.signature(block.function).parameters.values())[2:]
        given = [*block.example, *(p.default for p in parameters[len(block.example) :])]
        for position, parameter in enumerate(parameters):
            for value in ALTERNATIVES.get(parameter.name, ()):
                if type(value) is type(given[position]) or {type(value), type(given[position])} == {int, float}:
                    found.append((*given[:position], value, *given[position + 1 :]))
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(("name", "arguments"), [(name, v) for name in BLOCKS for v in variants(name)])
def test_block(name: str, arguments: tuple[Any, ...]) -> None:
    graph = made_or_refused(name, arguments)
    if graph is None:
        assert arguments != BLOCKS[name].example
        return
    assert block_graph(name, arguments).fingerprint == graph.fingerprint == flat(graph).fingerprint
    assert_named_once(graph)
    assert_costs_agree(graph)
    assert_same(graph)
    assert_trains(graph)


@pytest.mark.parametrize("name", BLOCKS)
def test_block_is_documented_and_pure(name: str) -> None:
    block = BLOCKS[name]
    assert inspect.getdoc(block.function)
    assert block.paper
    before = dict(block_graph(name, block.example).entries())
    assert dict(block_graph(name, block.example).entries()) == before


def assert_named_once(graph: Graph) -> None:
    names = [node.name for node in graph.nodes]
    assert len(set(names)) == len(names)
    assert not set(names) & {name[:i] for name in names for i, c in enumerate(name) if c == "."}


def assert_costs_agree(graph: Graph) -> None:
    """Nested and flat have the same costs."""
    other = flat(graph)
    assert (graph.params, graph.macs, graph.matmul_macs) == (other.params, other.macs, other.matmul_macs)
    assert graph.macs == sum(layer.macs for layer in graph.layers())
    assert peak_memory_bytes(graph) == peak_memory_bytes(other)


def architectures(name: str) -> list[Architecture]:
    """Three architectures of a space, in the full matrix a cover and twenty samples."""
    space = get_space(name)
    rng = np.random.default_rng(8)
    if FULL:
        return [*space.cover(), space.smallest(), *(space.sample(rng) for _ in range(20))]
    small = space.smallest()
    drawn = [space.sample(rng) for _ in range(2)]
    cheap = [c.name in ("width", "resolution") for c in space.choices]
    codes = [np.where(cheap, space.encode(small), space.encode(arch)) for arch in drawn]
    return [small, *(space.decode(code) for code in codes)]


@pytest.mark.parametrize("name", SPACES)
def test_networks_of_a_space(name: str) -> None:
    space = get_space(name)
    for arch in architectures(name):
        graph = space.graph(arch, TASK)
        space.memo.entries.clear()  # type: ignore[attr-defined]
        assert space.graph(arch, TASK).fingerprint == graph.fingerprint
        assert_named_once(graph)
        assert_costs_agree(graph)
        assert_same(graph, batches=(2,))
        assert_trains(graph)


@pytest.mark.parametrize("name", SPACES)
def test_text_and_json_come_back(name: str) -> None:
    space = get_space(name)
    for arch in [*space.cover(), *architectures(name)]:
        assert space.from_string(space.to_string(arch)) == arch
        assert space.from_dict(space.to_dict(arch)) == arch


@pytest.mark.parametrize("name", SPACES)
def test_identity_follows_the_active_choices(name: str) -> None:
    space = get_space(name)
    rng = np.random.default_rng(1)
    archs = [space.sample(rng) for _ in range(200)]
    archs += [space.mutate(arch, rng) for arch in archs] + [space.crossover(archs[0], arch, rng) for arch in archs]
    keys = {}
    for arch in archs:
        space.validate(arch)
        facts = tuple(space.to_dict(arch).items())
        assert keys.setdefault(facts, (arch.id, tuple(space.encode(arch)))) == (arch.id, tuple(space.encode(arch)))
    assert len({i for i, _ in keys.values()}) == len({codes for _, codes in keys.values()}) == len(keys)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_a_point_of_its_space(name: str) -> None:
    preset = get_preset(name)
    space = preset.space()
    arch = preset.architecture()
    space.validate(arch)
    assert space.from_string(space.to_string(arch)) == arch
    graph = preset.graph(classes=10)
    assert graph.output_shapes == ((10,),)
    assert graph.params > 0


def representatives() -> list[str]:
    """The smallest preset of each family up to ``SMALL_PARAMS``; in the full matrix every one of them."""
    sizes = {name: get_preset(name).graph(classes=10).params for name in PRESETS}
    small = {name: params for name, params in sizes.items() if params <= SMALL_PARAMS}
    if FULL:
        return list(small)
    smallest: dict[str, tuple[int, str]] = {}
    for name, params in small.items():
        family = name.partition("_")[0].rstrip("0123456789")
        smallest[family] = min(smallest.get(family, (params, name)), (params, name))
    return [name for _, name in smallest.values()]


@pytest.mark.parametrize("name", representatives())
def test_preset_through_every_reader(name: str) -> None:
    graph = get_preset(name).graph(classes=10)
    assert_named_once(graph)
    with torch.device("meta"):
        network = TorchNetwork(graph)
    assert sum(p.numel() for p in network.parameters()) == graph.params
    assert deploy(graph)[0].output_shapes == graph.output_shapes
    assert_same(graph, batches=(1,))
