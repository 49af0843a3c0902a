"""The ResNet, VoVNet, Inception and Xception families: published counts, and what their rules promise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_networks import assert_same

from search_spaces import PRESETS, Classification, SearchSpace, Task, get_preset, get_space, presets_in
from search_spaces.blocks import BLOCKS
from search_spaces.blocks.downsample import blur_pool
from search_spaces.blocks.inception_cells import CELLS
from search_spaces.builder import Builder
from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph
from search_spaces.ops import binomial
from search_spaces.spaces.resnet import resnet
from search_spaces.torch_network import TorchNetwork


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        ("resnext50_32x4d", 25_028_904),
        ("resnext101_32x8d", 88_791_336),
        ("resnext101_64x4d", 83_455_272),
        ("wide_resnet50_2", 68_883_240),
        ("wide_resnet101_2", 126_886_696),
        ("inception_v3", 23_834_568),
        ("inception_v4", 42_679_816),
        ("inception_resnet_v2", 55_843_464),
        ("xception", 22_855_952),
        ("senet154", 115_088_984),
    ],
)
def test_published_parameters(name: str, params: int) -> None:
    assert get_preset(name).graph().params == params


@pytest.mark.parametrize(
    ("name", "millions", "giga_macs"),
    [
        ("vovnet39a", 22.60, 7.07),
        ("ese_vovnet39b", 24.57, 7.07),
        ("ese_vovnet19b_slim", 3.17, 1.68),
        ("ese_vovnet19b_slim_dw", 1.90, 0.40),
        ("ese_vovnet19b_dw", 6.54, 1.33),
    ],
)
def test_published_sizes_of_vovnet(name: str, millions: float, giga_macs: float) -> None:
    graph = get_preset(name).graph()
    assert (round(graph.params / 1e6, 2), round(graph.macs / 1e9, 2)) == (millions, giga_macs)


def test_known_networks_are_points_of_the_named_spaces() -> None:
    assert set(presets_in("vovnet")) == {name for name in PRESETS if "vovnet" in name}
    assert set(presets_in("inception")) == {"inception_v4", "inception_resnet_v2"}
    choices = get_space("inception").to_dict(get_preset("inception_v4").architecture())
    assert [choices[f"stage{i}.depth"] for i in (1, 2, 3)] == [4, 7, 3]


def small_spaces() -> list[SearchSpace]:
    return [
        get_space("vovnet", early_strides=False, scale=0.25),
        get_space("inception", early_strides=False),
        resnet(early_strides=False),
    ]


@pytest.mark.parametrize("space", small_spaces(), ids=lambda space: space.name)
def test_the_variants_for_small_images_keep_their_size_early(space: SearchSpace) -> None:
    rng = np.random.default_rng(2)
    for size in (16, 32):
        graph = space.graph(space.sample(rng), Task((3, size, size), Classification(10)))
        sizes = [node.shape[1] for node in graph.nodes if len(node.shape) == 3]
        assert sizes[0] >= size // 2
        assert size // 8 in sizes


def network(name: str, size: int = 64) -> Graph:
    return get_preset(name).graph((3, size, size), 10)


def test_attention_closes_the_stages_of_vovnet() -> None:
    gates = {node.name.rsplit(".", 2)[0] for node in network("ese_vovnet39b").nodes if node.op == "hard_sigmoid"}
    assert gates == {"stage1.layer1", "stage2.layer1", "stage3.layer2", "stage4.layer2"}


def test_identities_of_vovnet_follow_the_first_block_of_a_stage() -> None:
    sums = [node.name for node in network("ese_vovnet39b").nodes if node.op == "add"]
    assert sums == ["stage3.layer2.add", "stage4.layer2.add"]
    assert not [node for node in network("vovnet39a").nodes if node.op == "add"]


def test_the_last_block_of_inception_resnet_is_neither_scaled_nor_activated() -> None:
    nodes = network("inception_resnet_v2", 128).nodes
    factors = [node.attrs["factor"] for node in nodes if node.op == "multiply"]
    assert factors == [0.17] * 10 + [0.1] * 20 + [0.2] * 9
    last = [node.op for node in nodes if node.name.startswith("stage3.layer10.")][-1]
    assert last == "add"


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(CELLS)), st.integers(16, 400), st.integers(1, 200))
def test_a_cell_has_the_channels_that_it_is_told(cell: str, out_channels: int, in_channels: int) -> None:
    b = Builder([(in_channels, 9, 9)])
    pools = sum(branch[-1].width == 0 for branch in CELLS[cell])
    if out_channels - pools * in_channels < 16:
        return
    x = b.block("cell", BLOCKS["inception"].function, b.inputs[0], out_channels, cell)
    assert x.shape == (out_channels, 9, 9)


def test_a_reduction_without_channels_for_its_convolutions_is_refused() -> None:
    b = Builder([(64, 9, 9)])
    with pytest.raises(InvalidGraph, match="pools 64"):
        b.block("cell", BLOCKS["inception"].function, b.inputs[0], 64, "v4_reduction_a", 2)


def test_ibn_keeps_or_adds_few_parameters() -> None:
    plain, a, b = (get_preset(name).graph() for name in ("resnet50", "resnet50_ibn_a", "resnet50_ibn_b"))
    assert (a.params, a.macs) == (plain.params, plain.macs)
    assert (b.params, b.macs) == (plain.params + 2 * (256 + 512), plain.macs)
    norms = [node for node in a.nodes if node.op == "instance_norm"]
    assert [node.shape[0] for node in norms] == [32] * 3 + [64] * 4 + [128] * 6
    norms = [node for node in b.nodes if node.op == "instance_norm"]
    assert [node.name for node in norms] == [
        "stem.stem.instance_norm",
        "stage1.layer3.sum.instance_norm",
        "stage2.layer4.sum.instance_norm",
    ]


@pytest.mark.parametrize("taps", [2, 3, 5])
def test_a_blur_weighs_the_neighbours_binomially(taps: int) -> None:
    b = Builder([(1, 12)])
    network = TorchNetwork(b.build(blur_pool(b, "x", b.inputs[0], 2, taps)))
    x = np.random.default_rng(0).standard_normal(12).astype(np.float32)
    padded = np.pad(x, ((taps - 1) // 2, taps // 2), mode="reflect")
    expected = np.convolve(padded, binomial(taps), mode="valid")[::2]
    np.testing.assert_allclose(network(torch.tensor(x)[None, None]).detach()[0, 0], expected, atol=1e-6)
    assert network(torch.ones(1, 1, 12)).allclose(torch.ones(1, 1, 6))


def test_a_blur_of_too_small_an_input_is_refused() -> None:
    b = Builder([(4, 1, 1)])
    with pytest.raises(InvalidGraph, match="larger input"):
        blur_pool(b, "x", b.inputs[0])


@pytest.mark.parametrize("downsample", ["strided", "pooled", "blurred"])
@pytest.mark.parametrize("shortcut", ["conv", "pool", "wide_conv"])
def test_odd_sizes_meet_in_the_sum(downsample: str, shortcut: str) -> None:
    b = Builder([(16, 15, 9)])
    block = BLOCKS["bottleneck_residual"].function
    arguments = (32, 3, 2, 4, "relu", 2, "eca", shortcut, downsample)
    graph = b.build(b.block("block", block, b.inputs[0], *arguments))
    assert graph.output_shapes == ((32, 8, 5),)
    assert_same(graph)


@pytest.mark.parametrize("size", [(15, 9), (2, 2), (3, 5)])
def test_a_strided_aggregation_halves_its_size(size: tuple[int, int]) -> None:
    b = Builder([(8, *size)])
    block = BLOCKS["one_shot_aggregation"].function
    graph = b.build(b.block("block", block, b.inputs[0], 16, 8, 3, 2))
    assert graph.output_shapes == ((16, *(n // 2 for n in size)),)
    assert_same(graph)
