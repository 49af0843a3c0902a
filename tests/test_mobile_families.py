"""The MobileNet and EfficientNet lineage: published costs, points of spaces, and the rules of its blocks."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from support_networks import assert_same
from torch.nn import functional as F

from search_spaces import SPACES, Classification, Task, get_preset, get_space
from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import channel_shuffle, conv_bn_act
from search_spaces.blocks.inverted_residual import fused_inverted_residual, identity_or_conv, inverted_residual
from search_spaces.builder import Builder, Value
from search_spaces.graph import Graph
from search_spaces.spaces.fbnet import fbnet
from search_spaces.spaces.mnasnet import mnasnet
from search_spaces.spaces.mobilenet_v3_table import LARGE, deepened, minimal
from search_spaces.staged import StagedSpace
from search_spaces.torch_network import TorchNetwork

FBNET_LABELS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("mobilenetv1_125", 6_270_840, 879_516_800),
        ("mobilenetv2_035", 1_677_128, 59_285_808),
        ("mobilenetv2_120d", 5_831_144, 668_857_568),
        ("mobilenetv3_large_100", 5_483_032, 216_589_760),
        ("mobilenetv3_small_100", 2_542_856, 56_510_400),
        ("mnasnet_a1", 3_887_038, 311_579_072),
        ("mnasnet_b1", 4_383_312, 314_415_872),
        ("spnasnet_100", 4_421_616, 333_467_072),
        ("hardcorenas_a", 5_260_232, 224_227_936),
        ("fbnetc_100", 5_572_200, 384_960_160),
        ("fbnetv3_b", 8_598_464, 407_508_576),
        ("lcnet_050", 1_880_856, 44_731_008),
        ("tinynet_e", 2_042_972, 24_356_848),
        ("efficientnet_b0", 5_288_548, 385_814_752),
        ("efficientnet_lite0", 4_652_008, 385_187_552),
        ("efficientnet_es", 5_438_392, 1_788_731_008),
        ("mobilenet_edgetpu_v2_xs", 4_459_880, 688_214_528),
    ],
)
def test_published_costs(name: str, params: int, macs: int) -> None:
    graph = get_preset(name).graph()
    assert (graph.params, graph.macs) == (params, macs)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *(("efficientnet_b4", 19_341_616), ("efficientnet_b7", 66_347_960)),
        *(("efficientnetv2_s", 21_458_488), ("efficientnetv2_l", 118_515_272), ("tf_efficientnetv2_b3", 14_358_406)),
    ],
)
def test_published_parameters(name: str, params: int) -> None:
    assert get_preset(name).graph().params == params


@pytest.mark.parametrize(
    ("space", "presets"),
    [
        ("mobilenet_v2", ("mobilenetv2_035", "mobilenetv2_050", "mobilenetv2_075", "mobilenetv2_100")),
        ("mobilenet_v3", ("mobilenetv3_large_075", "mobilenetv3_large_100")),
        ("mnasnet", ("mnasnet_a1", "semnasnet_050", "semnasnet_075", "semnasnet_100", "semnasnet_140")),
        ("efficientnet", tuple(f"efficientnet_b{i}" for i in range(5))),
        ("fbnet", ("fbnetc_100",)),
    ],
)
def test_published_networks_are_points_of_the_named_spaces(space: str, presets: tuple[str, ...]) -> None:
    for name in presets:
        preset = get_preset(name)
        assert preset.space is SPACES[space].make
        get_space(space).validate(preset.architecture())


def test_six_networks_of_hardcore_nas_are_points_of_one_space() -> None:
    assert len({get_preset(f"hardcorenas_{letter}").space for letter in "abcdef"}) == 1


@pytest.mark.parametrize("name", ["mobilenet_v3", "mnasnet", "efficientnet", "fbnet"])
@pytest.mark.parametrize("size", [8, 32])
def test_small_images_by_one_parameter(name: str, size: int) -> None:
    space = SPACES[name].make(early_strides=False)
    assert not space.input_sizes
    rng = np.random.default_rng(0)
    for arch in [space.smallest(), *(space.sample(rng) for _ in range(20))]:
        graph = space.graph(arch, Task((3, size, size), Classification(10)))
        last = next(node for node in reversed(graph.nodes) if node.name.startswith("head."))
        assert last.shape[1:] == (size // 4, size // 4)


def test_architectures_stored_before_the_lineage_still_parse() -> None:
    space = get_space("mobilenet_v2_small")
    layers = [f"stage{i}.depth=1,stage{i}.layer1.kernel=3,stage{i}.layer1.expand=3" for i in range(2, 7)]
    text = ",".join(["width=0.05,resolution=8", *layers, "stage7.layer1.kernel=3,stage7.layer1.expand=3"])
    assert space.from_string(text).id == "c44cfed7e72ef265"


class TestFBNet:
    def blocks(self, space: StagedSpace) -> list[int]:
        return [i for i, choice in enumerate(space.choices) if choice.name.endswith(".block")]

    def test_labels_and_positions(self) -> None:
        space = fbnet()
        positions = self.blocks(space)
        assert [space.choices[i].options for i in positions] == [FBNET_LABELS] * 22
        depths = (1, 4, 4, 4, 4, 4, 1)
        names = [f"stage{s}.layer{n}.block" for s, depth in enumerate(depths, 1) for n in range(1, depth + 1)]
        assert [space.choices[i].name for i in positions] == names
        assert space.size == 9**22

    def test_codes_are_indices_of_the_blocks(self) -> None:
        space = fbnet()
        rng = np.random.default_rng(0)
        row = rng.integers(0, 9, 22)
        choices = {
            space.choices[i].name: FBNET_LABELS[k] for i, k in zip(self.blocks(space), row.tolist(), strict=True)
        }
        arch = space.from_dict(choices)
        assert (space.encode(arch)[self.blocks(space)] - 1).tolist() == row.tolist()

    def test_a_skipped_layer_is_nothing_or_a_pointwise_convolution(self) -> None:
        graph = get_space("fbnet").graph(get_preset("fbnetc_100").architecture(), Task((3, 64, 64), Classification(10)))
        assert not [node for node in graph.nodes if node.name.startswith("stage2.layer4.")]
        b = Builder([(16, 8, 8)])
        assert identity_or_conv(b, b.inputs[0], 16, 1) == b.inputs[0]
        assert [node.op for node in made(identity_or_conv, (16, 8, 8), 16, 2).nodes] == ["conv", "batch_norm", "relu"]

    def test_groups_come_with_a_shuffle(self) -> None:
        graph = made(inverted_residual, (8, 6, 6), 8, 3, 1, 1, "none", "relu", 2, True)
        ops = [node.op for node in graph.nodes]
        assert ops[:6] == ["conv", "batch_norm", "relu", "reshape", "transpose", "reshape"]
        assert [layer.groups for layer in graph.layers()] == [2, 8, 2]
        shuffle = made(_shuffle, (6, 2, 2))
        x = torch.arange(24.0).reshape(1, 6, 2, 2)
        assert torch.equal(TorchNetwork(shuffle)(x), x[:, [0, 3, 1, 4, 2, 5]])


def _shuffle(b: Builder, x: Value) -> Value:
    return channel_shuffle(b, "shuffle", x, 2)


def made(block: Callable[..., Value], shape: tuple[int, ...], *arguments: object) -> Graph:
    b = Builder([shape])
    return b.build(b.block("block", block, b.inputs[0], *arguments))


@pytest.mark.parametrize(
    ("attention", "hidden", "in_channels", "inner"),
    [
        ("se", 72, 24, 24),
        ("se_exact", 72, 24, 18),
        ("se_relu", 72, 24, 6),
        ("se_swish", 144, 24, 6),
        ("se_hard_swish", 200, 40, 16),
        ("se_swish", 8, 2, 1),
    ],
)
def test_inner_width_of_squeeze_excite(attention: str, hidden: int, in_channels: int, inner: int) -> None:
    b = Builder([(hidden, 4, 4)])
    graph = b.build(ATTENTIONS[attention](b, b.inputs[0], in_channels))
    assert graph.layers()[0].out_channels == inner


def test_expansion_one_is_left_out_unless_full() -> None:
    plain = made(inverted_residual, (16, 8, 8), 24, 3, 1, 2, "none", "relu")
    full = made(inverted_residual, (16, 8, 8), 24, 3, 1, 2, "none", "relu", 1, True)
    assert [layer.groups for layer in plain.layers()] == [16, 1]
    assert [layer.groups for layer in full.layers()] == [1, 16, 1]
    fused = made(fused_inverted_residual, (16, 8, 8), 24, 3, 1, 2)
    projected = made(fused_inverted_residual, (16, 8, 8), 24, 3, 1, 2, "none", "silu", 0, True)
    assert [layer.out_channels for layer in fused.layers()] == [24]
    assert [layer.out_channels for layer in projected.layers()] == [16, 24]


def test_identity_where_the_shape_stays() -> None:
    def adds(*arguments: object) -> bool:
        return "add" in {node.op for node in made(inverted_residual, (16, 8, 8), *arguments).nodes}

    assert adds(16, 3, 4, 1, "none", "relu")
    assert not adds(16, 3, 4, 2, "none", "relu")
    assert not adds(24, 3, 4, 1, "none", "relu")
    assert not adds(16, 3, 4, 1, "none", "relu", 1, False, False)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_puts_the_odd_zero_last(size: int, kernel: int, stride: int) -> None:
    graph = made(conv_bn_act, (4, size, size), 4, kernel, stride, "none", 1, 1, 1e-3, "same")
    network = TorchNetwork(graph).eval()
    weight = next(p for name, p in network.named_parameters() if name.endswith("conv.weight"))
    x = torch.randn(1, 4, size, size)
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    padded = F.pad(x, (total // 2, total - total // 2) * 2)
    expected = F.conv2d(padded, weight, stride=stride) / np.sqrt(1 + 1e-3)
    assert torch.allclose(network(x), expected, atol=1e-5)
    assert_same(graph)


def test_depth_multipliers_stretch_runs_of_equal_layers() -> None:
    rows = deepened(LARGE, 1.2)
    assert [row.expand for row in rows[1:4]] == [(4.0, 3.0, 3.0), (3.0,) * 4, (6.0, 2.5, 2.5, 2.3, 2.3)]
    assert {(row.kernel, row.activation, row.attention) for row in minimal(LARGE)} == {(3, "relu", "none")}


def test_filters_and_depths_of_a_stage_lie_around_the_published() -> None:
    options: Mapping[str, tuple[object, ...]] = {choice.name: choice.options for choice in mnasnet().choices}
    assert options["stage2.out_channels"] == (16, 24, 32)
    assert options["stage4.depth"] == (3, 4, 5)
    assert options["stage7.depth"] == (1, 2)
    assert options["stage3.attention"] == ("none", "se_relu")


def test_layers_of_a_tied_stage_are_alike() -> None:
    space = get_space("efficientnet")
    arch = space.sample(np.random.default_rng(2))
    chosen = space.to_dict(arch)
    graph = space.graph(arch, Task((3, 64, 64), Classification(10)))
    depth, block = chosen["stage6.depth"], chosen["stage6.block"]
    names = {node.name.split(".")[1] for node in graph.nodes if node.name.startswith("stage6.")}
    assert names == {f"layer{n}" for n in range(1, int(depth) + 1)}
    assert {node.name.split(".")[2] for node in graph.nodes if node.name.startswith("stage6.")} == {block}
