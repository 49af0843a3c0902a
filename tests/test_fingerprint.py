"""The fingerprint: equal for isomorphic graphs, different otherwise."""

from itertools import permutations

import networkx
import numpy as np
import pytest
from support_graphs import TASK, flat

from search_spaces import get_space
from search_spaces.builder import Builder, Value
from search_spaces.graph import Graph


def cells(count: int, seed: int) -> list[Graph]:
    space = get_space("nas_bench_201", cells=1, channels=4)
    rng = np.random.default_rng(seed)
    return [space.graph(space.sample(rng), TASK) for _ in range(count)]


def as_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """The flat graph with sums of sums merged, labelled by op and attributes."""
    made: networkx.MultiDiGraph = networkx.MultiDiGraph()
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    sums = {n.name: n for n in graph.nodes if n.op == "add"}
    inner = {name for s in sums.values() for name in s.inputs if name in sums and readers[name] == 1}

    def terms(name: str) -> list[str]:
        return [t for part in sums[name].inputs for t in terms(part)] if name in inner else [name]

    made.add_node("input", label="input")
    for node in graph.nodes:
        if node.name not in inner:
            made.add_node(node.name, label=(node.op, str(sorted(node.attrs.items()))))
            for name in node.inputs:
                for term in terms(name):
                    made.add_edge(term, node.name)
    return made


def test_equal_exactly_for_isomorphic_cells() -> None:
    graphs = cells(120, seed=9)
    nets = [as_networkx(g) for g in graphs]
    match = networkx.algorithms.isomorphism.categorical_node_match("label", None)
    equal = 0
    for i in range(len(graphs)):
        for j in range(i):
            same = graphs[i].params == graphs[j].params and len(nets[i]) == len(nets[j])
            same = same and networkx.is_isomorphic(nets[i], nets[j], node_match=match)
            assert (graphs[i].fingerprint == graphs[j].fingerprint) == same
            equal += same
    assert equal > 0


def test_nesting_and_names_do_not_matter() -> None:
    graph = cells(1, seed=10)[0]
    assert graph.fingerprint == flat(graph).fingerprint


def branches(order: tuple[int, ...], nested: bool) -> Graph:
    b = Builder([(4, 6, 6)])
    (x,) = b.inputs
    terms: list[Value] = [b.conv(f"conv{i}", x, 4, 2 * i + 1) for i in range(4)]
    picked = [terms[i] for i in order]
    if nested:
        inner = b.op("inner", "add", picked[0], picked[1])
        return b.build(b.op("outer", "add", b.op("middle", "add", inner, picked[2]), picked[3]))
    return b.build(b.op("outer", "add", *picked))


def test_the_order_and_nesting_of_sums_do_not_matter() -> None:
    prints = {branches(order, nested).fingerprint for order in permutations(range(4)) for nested in (True, False)}
    assert len(prints) == 1


def test_one_layer_read_twice_is_not_two_layers() -> None:
    prints = []
    for twice in (True, False):
        b = Builder([(4, 6, 6)])
        x = b.conv("one", b.inputs[0], 4, 3)
        y = x if twice else b.conv("two", b.inputs[0], 4, 3)
        prints.append(b.build(b.op("sum", "add", b.op("a", "relu", x), b.op("b", "relu", y))).fingerprint)
    assert len(set(prints)) == 2


def test_shared_weights_are_not_equal_weights() -> None:
    prints = []
    for weights in ("one", None):
        b = Builder([(4, 6, 6)])
        x = b.conv("one", b.inputs[0], 4, 3)
        prints.append(b.build(b.conv("two", x, 4, 3, weights=weights)).fingerprint)
    assert len(set(prints)) == 2


@pytest.mark.parametrize("change", [{"kernel": 5}, {"out_channels": 8}, {"stride": 2}, {"groups": 4}, {"bias": True}])
def test_every_attribute_counts(change: dict[str, int]) -> None:
    def build(**options: int) -> str:
        b = Builder([(4, 6, 6)])
        return b.build(b.conv("conv", b.inputs[0], **{"out_channels": 4, "kernel": 3, **options})).fingerprint

    assert build() != build(**change)


def test_the_order_of_concatenation_counts() -> None:
    prints = []
    for flip in (True, False):
        b = Builder([(4, 6, 6)])
        parts = [b.conv("one", b.inputs[0], 4, 1), b.conv("two", b.inputs[0], 4, 3)]
        prints.append(b.build(b.op("cat", "concat", *(parts[::-1] if flip else parts))).fingerprint)
    assert len(set(prints)) == 2
