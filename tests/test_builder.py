"""The builder: names, nesting, the memo, sharing, and what it refuses."""

import pytest
import torch

from search_spaces.builder import RESERVED, Builder, Memo, Value
from search_spaces.errors import InvalidGraph
from search_spaces.torch_network import TorchNetwork


def double_conv(b: Builder, x: Value, channels: int, second: bool) -> Value:
    x = b.conv("first", x, channels, 3)
    return b.conv("second", x, channels, 3) if second else x


def merge(b: Builder, x: Value, y: Value) -> Value:
    return b.op("add", "add", b.op("relu", "relu", x), y)


def nothing(b: Builder, x: Value) -> Value:
    return x


def pair(b: Builder, x: Value) -> tuple[Value, Value]:
    y = b.conv("conv", x, 4, 1)
    return y, x


def test_params_and_macs_add_up() -> None:
    b = Builder([(3, 8, 8)])
    x = b.block("body", double_conv, b.inputs[0], 4, True)
    x = b.linear("fc", b.op("flat", "flatten", x), 10)
    graph = b.build(x)
    assert graph.params == 4 * 3 * 9 + 4 * 4 * 9 + 4 * 64 * 10 + 10
    assert graph.macs == 64 * (4 * 3 * 9 + 4 * 4 * 9) + 4 * 64 * 10
    assert [node.name for node in graph.nodes] == ["body.first", "body.second", "flat", "fc"]


def test_equal_calls_share_one_graph_object() -> None:
    memo = Memo()
    b = Builder([(4, 8, 8)], memo)
    x = b.block("one", double_conv, b.inputs[0], 4, True)
    graph = b.build(b.block("two", double_conv, x, 4, True))
    assert graph.items[0].op is graph.items[1].op
    assert len(memo) == 1
    assert graph.params == 2 * graph.items[0].op.params


def test_true_is_not_one_in_the_memo() -> None:
    memo = Memo()
    graphs = []
    for second in (1, True, 1.0):
        b = Builder([(4, 8, 8)], memo)
        graphs.append(b.build(b.block("body", double_conv, b.inputs[0], 4, second)).items[0].op)
    assert len({id(g) for g in graphs}) == 3


def test_a_chain_is_as_many_calls_of_block() -> None:
    memo = Memo()
    kinds = (int, bool)
    calls = [
        ("one", (double_conv, kinds), (4, True)),
        ("same", (nothing, ()), ()),
        ("stage.two", (double_conv, kinds), (8, False)),
        ("stage.three", (double_conv, kinds), (8, False)),
    ]
    b, other = Builder([(4, 8, 8)], memo), Builder([(4, 8, 8)], memo)
    chained = b.build(b.linear("fc", b.op("flat", "flatten", b.chain(b.inputs[0], calls)), 2))
    x = other.inputs[0]
    for name, (fn, _), args in calls:
        x = other.block(name, fn, x, *args)
    single = other.build(other.linear("fc", other.op("flat", "flatten", x), 2))
    assert chained.items == single.items
    assert (chained.params, chained.macs) == (single.params, single.macs)
    assert chained.outputs == single.outputs


def test_a_chain_keeps_names_apart_and_says_which_block_fails() -> None:
    call = ("one", (double_conv, (int, bool)), (4, True))
    b = Builder([(4, 8, 8)])
    with pytest.raises(InvalidGraph, match="used twice"):
        b.chain(b.inputs[0], [call, call])
    b = Builder([(4, 8, 8)])
    with pytest.raises(InvalidGraph, match=r"two\.first"):
        b.chain(b.inputs[0], [call, ("two", (double_conv, (int, bool)), (0, True))])


def test_memo_is_bounded() -> None:
    memo = Memo(limit=3)
    for channels in range(1, 20):
        b = Builder([(3, 8, 8)], memo)
        b.block("body", double_conv, b.inputs[0], channels, False)
    assert len(memo) == 3


def test_the_same_value_twice_is_another_block_than_two_values() -> None:
    memo = Memo()
    b = Builder([(4, 8, 8)], memo)
    (x,) = b.inputs
    y = b.conv("other", x, 4, 1)
    twice = b.block("twice", merge, (x, x))
    both = b.block("both", merge, (x, y))
    graph = b.build([twice, both])
    assert len(graph.items[1].op.inputs) == 1
    assert len(graph.items[2].op.inputs) == 2
    network = TorchNetwork(graph).eval()
    data = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        first, second = network(data)
        assert torch.equal(first, data.relu() + data)
        assert torch.equal(second, data.relu() + network.get_submodule("other")(data))


def test_a_block_that_hands_its_input_through_adds_nothing() -> None:
    b = Builder([(4, 8, 8)])
    assert b.block("nothing", nothing, b.inputs[0]) == b.inputs[0]
    made, same = b.block("pair", pair, b.inputs[0])
    assert same == b.inputs[0]
    assert b.build(made).items[0].shapes == ((4, 8, 8),)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "a"), "used twice"),
        (("a", "a.b"), "lies below"),
        (("a.b", "a"), "already the prefix"),
        (("half",), "cannot name"),
        (("stage1.train",), "cannot name"),
        (("a..b",), "cannot name"),
        (("_x",), "cannot name"),
        (("a b",), "cannot name"),
    ],
)
def test_names_that_no_module_tree_can_hold(names: tuple[str, ...], message: str) -> None:
    b = Builder([(4, 8, 8)])
    *first, last = names
    for name in first:
        b.conv(name, b.inputs[0], 4, 1)
    with pytest.raises(InvalidGraph, match=message):
        b.conv(last, b.inputs[0], 4, 1)


def test_reserved_names_cover_what_torch_uses() -> None:
    assert {name for name in dir(torch.nn.Module()) if not name.startswith("_")} <= RESERVED


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda b, x: b.conv("c", x, 6, 3, groups=4), "groups"),
        (lambda b, x: b.conv("c", x, 4, 11, padding=(0, 0)), "does not fit"),
        (lambda b, x: b.op("c", "add", x, b.conv("d", x, 8, 1)), "different shapes"),
        (lambda b, x: b.op("c", "mul", x, b.conv("d", x, 8, 1)), "broadcast"),
        (lambda b, x: b.op("c", "concat", x, b.conv("d", x, 8, 3, 2)), "concatenate"),
        (lambda b, x: b.pool("c", "max_pool", x, 3, 1, 2), "padding"),
        (lambda b, x: b.op("c", "swirl", x), "does not exist"),
        (lambda b, x: b.op("c", "conv", x, out_channels=4), "lacks"),
        (lambda b, x: b.block("c", lambda b, x: x, x), "module-level"),
        (lambda b, x: b.block("c", double_conv, x, [4], True), "hashed"),
        (lambda b, x: b.block("outer", double_conv, x, 0, True), r"outer\.first"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name(make: object, message: str) -> None:
    b = Builder([(4, 8, 8)])
    with pytest.raises(InvalidGraph, match=message) as caught:
        make(b, b.inputs[0])  # type: ignore[operator]
    assert caught.value.hint


def test_shared_weights_count_once_and_are_one_module() -> None:
    b = Builder([(4, 8, 8)])
    x = b.conv("one", b.inputs[0], 4, 3)
    x = b.conv("two", x, 4, 3, weights="one")
    x = b.block("left", double_conv, x, 4, True, weights="both")
    x = b.block("right", double_conv, x, 4, True, weights="both")
    graph = b.build(x)
    assert graph.params == 3 * 4 * 4 * 9
    assert graph.macs == 6 * 64 * 4 * 4 * 9
    network = TorchNetwork(graph)
    assert sorted(network.state_dict()) == ["both.first.weight", "both.second.weight", "one.weight"]
    assert sum(p.numel() for p in network.parameters()) == graph.params


def test_sharing_unequal_shapes_is_refused() -> None:
    b = Builder([(4, 8, 8)])
    x = b.conv("one", b.inputs[0], 4, 3)
    with pytest.raises(InvalidGraph, match="shares 'one'"):
        b.conv("two", x, 4, 5, weights="one")


def test_a_prefix_cannot_be_a_weight_entry() -> None:
    b = Builder([(4, 8, 8)])
    x = b.conv("stage.one", b.inputs[0], 4, 3)
    with pytest.raises(InvalidGraph, match="already the prefix"):
        b.conv("two", x, 4, 3, weights="stage")


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_one_to_three_spatial_axes(axes: int) -> None:
    b = Builder([(4, *(8,) * axes)])
    x = b.conv("conv", b.inputs[0], 6, 3, 2)
    x = b.batch_norm("bn", x)
    x = b.pool("pool", "avg_pool", x, 2, 2)
    x = b.op("flat", "flatten", b.op("mean", "global_avg_pool", x))
    graph = b.build(x)
    with torch.no_grad():
        assert TorchNetwork(graph).eval()(torch.randn(2, 4, *(8,) * axes)).shape == (2, 6)
    assert graph.macs == 4**axes * 6 * 4 * 3**axes
