"""Cell spaces: canonical cells, sizes by enumeration, stacking, the operations, the published networks."""

from itertools import islice, product
from math import isqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_graphs import TASK

from search_spaces import Architecture, Classification, Task, get_preset, get_space
from search_spaces.blocks.cell_ops import CELL_OPERATIONS, factorized_reduction, projected_pool, stacked_separable
from search_spaces.builder import Builder, Value
from search_spaces.cells import CellSpace
from search_spaces.cost import peak_memory_bytes
from search_spaces.errors import InvalidArchitecture, InvalidSpec
from search_spaces.graph import Graph
from search_spaces.spaces.nasnet import nasnet
from search_spaces.torch_network import TorchNetwork

PUBLISHED = {
    "nasnetalarge": (331, 1000, 88_753_150, 23_783_414_658),
    "nasnetamobile": (224, 1000, 5_289_978, 563_638_816),
    "nasneta_cifar": (32, 10, 3_346_538, 544_333_312),
    "pnasnet5large": (331, 1000, 86_057_668, 24_937_395_792),
}
some_operations = st.lists(st.sampled_from(list(CELL_OPERATIONS)), min_size=1, max_size=3, unique=True).map(tuple)


def cells_of(space: CellSpace, position: int) -> set[tuple[object, ...]]:
    """Every canonical cell of a space without choices of the stacking, the other cell being the smallest."""
    fixed = space.encode(space.smallest())
    length = 4 * space.nodes
    found = set()
    for codes in product(*(range(1, len(c.options) + 1) for c in space.choices[:length])):
        whole = [*codes, *fixed[length:]] if position == 0 else [*fixed[:length], *codes]
        arch = space.decode(np.array(whole))
        space.validate(arch)
        found.add(arch.values[position * length : (position + 1) * length])
    return found


@settings(deadline=None, max_examples=8)
@given(some_operations, st.integers(1, 2))
def test_size_equals_enumeration(operations: tuple[str, ...], nodes: int) -> None:
    space = nasnet(operations=operations, nodes=nodes)
    each = isqrt(space.size)
    assert len(cells_of(space, 0)) == len(cells_of(space, 1)) == each
    assert each**2 == space.size
    assert nasnet(operations=operations, nodes=nodes, repeats=(1, 2), filters=(4, 8, 16)).size == 6 * space.size


@settings(deadline=None, max_examples=40)
@given(some_operations, st.integers(1, 3), st.integers(0, 10_000))
def test_the_halves_of_a_node_have_no_order(operations: tuple[str, ...], nodes: int, seed: int) -> None:
    space = nasnet(operations=operations, nodes=nodes)
    rng = np.random.default_rng(seed)
    arch = space.sample(rng)
    swapped = list(arch.values)
    for place in range(0, len(swapped), 4):
        if rng.random() < 0.5:
            swapped[place : place + 4] = [*swapped[place + 2 : place + 4], *swapped[place : place + 2]]
    named = dict(zip((choice.name for choice in space.choices), swapped, strict=True))
    assert space.from_dict(named) == arch
    text = space.to_string(arch)
    turned = ",".join(
        f"{cell}=" + "|".join("+".join(reversed(node.split("+"))) for node in nodes_text.split("|"))
        for cell, _, nodes_text in (part.partition("=") for part in text.split(","))
    )
    assert space.from_string(turned) == arch
    if tuple(swapped) != arch.values:
        with pytest.raises(InvalidArchitecture, match="order"):
            space.validate(Architecture(space.name, tuple(swapped)))


@settings(deadline=None, max_examples=40)
@given(some_operations, st.integers(1, 3), st.integers(0, 10_000))
def test_a_mutant_is_another_canonical_cell(operations: tuple[str, ...], nodes: int, seed: int) -> None:
    space = nasnet(operations=operations, nodes=nodes, repeats=(1, 2))
    rng = np.random.default_rng(seed)
    arch = space.sample(rng)
    for _ in range(20):
        mutant = space.mutate(arch, rng)
        space.validate(mutant)
        assert mutant != arch
        arch = mutant


def test_smallest_costs_least_in_a_space_that_can_be_listed() -> None:
    space = nasnet(operations=("identity", "max_pool_3x3", "conv_1x1"), nodes=2, repeats=1, filters=4)
    task = Task((3, 8, 8), Classification(2))
    reduction = space.smallest().values[8:]
    normal = space.smallest().values[:8]
    least = costs(space.graph(space.smallest(), task))
    assert space.ordered
    for cell in cells_of(space, 0):
        found = costs(space.graph(Architecture(space.name, (*cell, *reduction)), task))
        assert all(a <= b for a, b in zip(least, found, strict=True))
    for cell in cells_of(space, 1):
        found = costs(space.graph(Architecture(space.name, (*normal, *cell)), task))
        assert all(a <= b for a, b in zip(least, found, strict=True))


def costs(graph: Graph) -> tuple[int, int, int]:
    return graph.params, graph.macs, peak_memory_bytes(graph)


def test_what_no_node_reads_is_the_output() -> None:
    space = get_space("nasnet", kept_normal=(3,))
    rng = np.random.default_rng(0)
    for _ in range(50):
        arch = space.sample(rng)
        graph = space.graph(arch, TASK)
        shapes = {item.name: item.shapes[0] for item in graph.items}
        for cell, kept, names in (
            ("normal", {3}, ("stage1.cell1", "stage3.cell2")),
            ("reduction", set(), ("reduction2",)),
        ):
            read = {v for c, v in space.to_dict(arch).items() if c.startswith(cell) and ".input" in c}
            width = len(set(range(7)) - read | kept)
            for name in names:
                filters = 16 if name.startswith("stage1") else 64
                assert shapes[name][0] == width * filters


def test_two_equal_halves_are_two_layers() -> None:
    space = nasnet(nodes=1, operations=("conv_1x1",))
    arch = space.from_string("normal=conv_1x1~0+conv_1x1~0,reduction=conv_1x1~0+conv_1x1~1")
    names = [layer.name for layer in space.graph(arch, TASK).layers() if layer.name.startswith("stage2.cell2.node2")]
    assert names == ["stage2.cell2.node2.state0.conv_1x1.conv", "stage2.cell2.node2.state0_twin.conv_1x1.conv"]


def test_cells_found_small_are_valid_in_a_larger_stacking() -> None:
    small = get_space("nasnet", repeats=(1, 2))
    large = get_space("nasnet", repeats=4, filters=44, stem="imagenet", stem_filters=32)
    task = Task((3, 64, 64), Classification(10))
    arch = small.sample(np.random.default_rng(3))
    same = large.from_string(small.cells_text(arch))  # type: ignore[attr-defined]
    assert large.to_string(same) == small.cells_text(arch)  # type: ignore[attr-defined]
    assert small.to_string(arch).startswith(large.to_string(same) + ",repeats=")
    graph = large.graph(same, task)
    cells = [item for item in graph.items if "cell" in item.name or "reduction" in item.name or "stem" in item.name]
    assert [item.name for item in cells] == [
        *("stem", "stem1", "stem2"),
        *(f"stage1.cell{i}" for i in range(1, 5)),
        "reduction1",
        *(f"stage2.cell{i}" for i in range(1, 5)),
        "reduction2",
        *(f"stage3.cell{i}" for i in range(1, 5)),
    ]
    normal = [item.shapes[0] for item in cells if "cell" in item.name]
    assert normal[0][0] * 4 == normal[4][0] * 2 == normal[8][0]
    assert [shape[1] for shape in (normal[0], normal[4], normal[8])] == [8, 4, 2]
    # an operation has the same name in both, so that weights can be handed on
    found = {node.name for node in small.graph(arch, task).nodes if ".node" in node.name}
    assert found <= {node.name for node in graph.nodes}


@pytest.mark.parametrize("skip", [False, True])
def test_what_the_cell_after_a_reduction_reads(skip: bool) -> None:
    space = nasnet(repeats=2, skip_reduction=skip)
    graph = space.graph(space.smallest(), TASK)
    made = {item.name: 1 + place for place, item in enumerate(graph.items)}
    reads = {item.name: item.inputs for item in graph.items}
    assert reads["reduction1"] == (made["stage1.cell2"], made["stage1.cell1"])
    assert reads["stage2.cell1"] == (made["reduction1"], made["stage1.cell1" if skip else "stage1.cell2"])
    assert reads["stage2.cell2"] == (made["stage2.cell1"], made["reduction1"])


def test_drop_path_rises_from_cell_to_cell_and_is_gone_in_eval_mode() -> None:
    plain, dropping = get_space("nasnet", repeats=1), get_space("nasnet", repeats=1, drop_path=0.5)
    cells = plain.to_string(plain.sample(np.random.default_rng(2)))
    graph = dropping.graph(dropping.from_string(cells), TASK)
    rates = {node.name.split(".node")[0]: node.attrs["p"] for node in graph.nodes if node.op == "drop_path"}
    assert rates == {
        name: pytest.approx(0.5 * place / 5)
        for place, name in enumerate(("stage1.cell1", "reduction1", "stage2.cell1", "reduction2", "stage3.cell1"), 1)
    }
    assert not any("identity" in node.name for node in graph.nodes if node.op == "drop_path")
    torch.manual_seed(0)
    network = TorchNetwork(graph).eval()
    other = TorchNetwork(plain.graph(plain.from_string(cells), TASK)).eval()
    other.load_state_dict(network.state_dict())
    data = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(data), other(data))
        assert not torch.equal(network.train()(data), network(data))


def one_block(fn: object, shape: tuple[int, ...], *arguments: object) -> TorchNetwork:
    b = Builder([shape])
    made: Value = b.block("block", fn, b.inputs[0], *arguments)  # type: ignore[arg-type]
    return TorchNetwork(b.build(made)).eval()


def test_factorized_reduction_reads_even_and_odd_pixels() -> None:
    network = one_block(factorized_reduction, (4, 6, 6), 5, 1e-3, "relu")
    data = torch.randn(1, 4, 6, 6)
    first, second = (network.get_submodule(f"block.{name}.conv").weight for name in ("first", "second"))  # type: ignore[union-attr]
    scale = (1 + 1e-3) ** -0.5  # fresh batch norm
    with torch.no_grad():
        found = network(data)
        even, odd = data.relu()[:, :, ::2, ::2], data.relu()[:, :, 1::2, 1::2]
        expected = torch.cat([torch.nn.functional.conv2d(x, w) for x, w in ((even, first), (odd, second))], 1) * scale
    assert found.shape == (1, 5, 3, 3)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("kernel", [3, 5])
def test_windows_of_same_padding_begin_where_tensorflow_has_them(size: int, kernel: int) -> None:
    data = torch.arange(1.0, size + 1).expand(1, 2, size, size)  # columns count up
    pooled = one_block(projected_pool, (2, size, size), 2, kernel, 2, "same", 1e-3, "avg_pool")(data)
    total = kernel - (size % 2 or 2)
    starts = range(-(total // 2), size, 2)
    expected = [
        np.mean([v + 1 for v in range(s, s + kernel) if 0 <= v < size]) for s in islice(starts, (size + 1) // 2)
    ]
    assert pooled[0, 0, 0].tolist() == pytest.approx(expected)
    shape = one_block(stacked_separable, (2, size, size), 2, kernel, 2, "same")(data).shape
    assert shape == (1, 2, (size + 1) // 2, (size + 1) // 2)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name: str) -> None:
    size, classes, params, macs = PUBLISHED[name]
    graph = get_preset(name).graph(input_shape=(3, size, size), classes=classes)
    assert (graph.params, graph.macs) == (params, macs)


@pytest.mark.parametrize(
    "options",
    [
        {"repeats": 0},
        {"repeats": (2, 1)},
        {"filters": 1},
        {"filters": 4, "stem": "imagenet"},
        {"stem": "none"},
        {"padding": "valid"},
        {"drop_path": 1.0},
        {"kept_normal": (7,)},
        {"operations": ("conv_1x1", "conv_1x1")},
        {"operations": ("conv_9x9",)},
        {"nodes": 0},
    ],
)
def test_a_stacking_that_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidSpec) as caught:
        get_space("nasnet", **options)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("identity~0", "identity~2"), "node2"),
        (("identity~0", "identity"), "input1"),
        (("normal=", "norml="), "no part"),
        (("|", "+"), "5 nodes"),
        ((",reduction=", ",repeats=2,reduction="), "no part"),
    ],
)
def test_text_at_fault_is_named(change: tuple[str, str], message: str) -> None:
    space = get_space("nasnet")
    text = space.to_string(space.smallest()).replace(*change, 1)
    with pytest.raises(InvalidArchitecture, match=message) as caught:
        space.from_string(text)
    assert caught.value.hint
