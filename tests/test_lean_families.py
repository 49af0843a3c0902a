"""GhostNet, StarNet, FasterNet, MixNet, ReXNet, MobileNetV4: published counts, and what makes their blocks theirs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import BLOCKS, Classification, Task, get_preset, get_space, presets_in
from search_spaces.blocks.ghost import dfc_attention
from search_spaces.blocks.partial_conv import distance_buckets
from search_spaces.builder import Builder
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph
from search_spaces.spaces.fasternet import fasternet
from search_spaces.spaces.ghostnet import ghostnet
from search_spaces.task import classifier
from search_spaces.torch_network import TorchNetwork

TASK = Task((3, 224, 224), Classification(1000))


def block(name: str, *arguments: object, shape: tuple[int, ...] = (16, 8, 8)) -> Graph:
    b = Builder([shape])
    return b.build(b.block("block", BLOCKS[name].function, b.inputs[0], *arguments))


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("ghostnet_100", 5_182_508, 141_150_512),
        ("ghostnet_130", 7_358_820, 227_003_256),
        ("ghostnetv2_100", 6_156_908, 167_048_288),
        ("ghostnetv3_100", 8_129_028, 404_128_320),
        ("starnet_s1", 2_869_168, 421_877_376),
        ("starnet_s050", 542_728, 91_285_248),
        ("fasternet_t0", 3_905_500, 335_422_720),
        ("mixnet_s", 4_134_606, 239_173_360),
        ("mixnet_xxl", 23_961_752, 1_992_725_184),
        ("rexnet_100", 4_796_873, 398_370_392),
        ("rexnetr_130", 7_608_080, 661_005_776),
        ("mobilenetv4_conv_small", 3_774_024, 186_005_568),
        ("mobilenetv4_conv_blur_medium", 9_715_512, 1_196_340_096),
        ("mobilenetv4_hybrid_medium", 11_074_648, 1_229_240_320),
    ],
)
def test_published_counts(name: str, params: int, macs: int) -> None:
    graph = get_preset(name).graph()
    assert (graph.params, graph.macs) == (params, macs)


@given(st.integers(1, 40), st.integers(1, 60))
@settings(deadline=None, max_examples=30)
def test_a_ghost_module_costs_what_its_formula_says(in_channels: int, out_channels: int) -> None:
    half = (out_channels + 1) // 2
    graph = block("ghost_module", out_channels, shape=(in_channels, 4, 4))
    assert graph.params == in_channels * half + 13 * half
    assert graph.output_shapes == ((out_channels, 4, 4),)


def test_long_range_attention_costs_what_its_formula_says() -> None:
    b = Builder([(12, 7, 9), (20, 7, 9)])
    graph = b.build(b.block("dfc", dfc_attention, b.inputs))
    assert graph.params == 12 * 20 + 16 * 20
    gates = graph.shapes_by_name()["dfc.sigmoid"]
    assert gates == (20, 3, 4)


@pytest.mark.parametrize(("name", "dfc"), [("ghostnet_100", False), ("ghostnetv2_100", True)])
def test_the_published_point_is_the_fixed_network(name: str, dfc: bool) -> None:
    assert name in presets_in("ghostnet_v2")
    space = ghostnet(1.0, dfc)
    assert space.graph(space.smallest(), TASK).fingerprint == get_preset(name).graph().fingerprint


def test_ghostnet_v2_for_small_images_keeps_the_size_early() -> None:
    space = get_space("ghostnet_v2", early_strides=False)
    assert max(space.input_sizes) == 32
    task = Task((1, 28, 28), Classification(10))
    for arch in [*space.cover(), space.smallest()]:
        size = space.to_dict(arch)["resolution"]
        shapes = {n.name: n.shape for n in space.graph(arch, task).nodes}
        assert shapes["down3.add"][1:] == (size, size)
        assert shapes["head.relu"][1:] == (int(size) // 4, int(size) // 4)


def test_the_branches_of_ghostnet_v3_deploy_as_ghostnet_v2() -> None:
    v2, v3 = get_preset("ghostnetv2_130").graph(), get_preset("ghostnetv3_130").graph()
    assert len(v3.layers()) > 2 * len(v2.layers())
    deployed = deploy(v3)[0]
    assert deployed.macs == v2.macs
    assert deployed.fingerprint == deploy(v2)[0].fingerprint


def test_rexnet_adds_its_input_to_the_first_channels() -> None:
    network = TorchNetwork(block("rexnet_bottleneck", 23)).eval()
    last_norm = [p for name, p in network.named_parameters() if "project.bn" in name]
    with torch.no_grad():
        for parameter in last_norm:
            parameter.zero_()
        x = torch.randn(2, 16, 8, 8)
        y = network(x)
    assert torch.equal(y[:, :16], x)
    assert not y[:, 16:].any()


def test_a_partial_convolution_leaves_the_other_channels() -> None:
    network = TorchNetwork(block("partial_conv", 3, 4)).eval()
    x = torch.randn(2, 16, 8, 8)
    y = network(x)
    assert torch.equal(y[:, 4:], x[:, 4:])
    assert not torch.allclose(y[:, :4], x[:, :4])


@pytest.mark.parametrize(("kernels", "shares"), [(1, [17]), (2, [9, 8]), (3, [7, 5, 5]), (4, [5, 4, 4, 4])])
def test_mixed_kernels_share_the_channels_equally(kernels: int, shares: list[int]) -> None:
    layers = block("mixed_depthwise", kernels, shape=(17, 8, 8)).layers()
    assert [layer.out_channels for layer in layers] == shares
    assert [layer.kernel for layer in layers] == [(3 + 2 * i,) * 2 for i in range(kernels)]


def test_split_pointwise_is_a_grouped_convolution() -> None:
    network = TorchNetwork(block("split_pointwise", 24, 2)).eval()
    weight = torch.cat([p for _, p in network.named_parameters()])
    x = torch.randn(2, 16, 8, 8)
    assert torch.allclose(network(x), torch.nn.functional.conv2d(x, weight, groups=2), atol=1e-6)


@pytest.mark.parametrize(
    ("start_kernel", "kernel", "strides"),
    [(3, 5, [1, 1, 2, 1]), (0, 3, [1, 2, 1]), (5, 0, [2, 1, 1])],
)
def test_the_stride_of_a_universal_inverted_bottleneck(start_kernel: int, kernel: int, strides: list[int]) -> None:
    layers = block("universal_inverted_bottleneck", 24, start_kernel, kernel, 4.0, 2).layers()
    assert [layer.stride for layer in layers] == [(s, s) for s in strides]


def test_a_feed_forward_bottleneck_takes_no_stride() -> None:
    assert len(block("universal_inverted_bottleneck", 16, 0, 0, 4.0, 1).layers()) == 2
    with pytest.raises(InvalidGraph, match="stride 2"):
        block("universal_inverted_bottleneck", 16, 0, 0, 4.0, 2)


def test_pools_that_take_strides_cost_no_parameters() -> None:
    strided, pooled, blurred = (
        block("universal_inverted_bottleneck", 24, 3, 5, 4.0, 2, "relu", 0.0, downsample)
        for downsample in ("strided", "pooled", "blurred_zeros")
    )
    assert strided.params == pooled.params == blurred.params
    assert strided.output_shapes == pooled.output_shapes == blurred.output_shapes
    assert strided.macs < pooled.macs == blurred.macs


def test_queries_of_all_heads_share_keys_and_values() -> None:
    graph = block("mobile_attention", 16, 4, 8, 2)
    shared = 2 * (16 * 9 + 2 * 16 + 16 * 8)  # depthwise, batch norm, pointwise
    assert graph.params == 2 * 16 + 16 * 32 + shared + 32 * 16
    assert graph.matmul_macs == 2 * 4 * 64 * 16 * 8


def test_which_layers_of_a_hybrid_network_attend() -> None:
    arch = get_preset("mobilenetv4_hybrid_large").architecture()
    assert arch.values.count("attention") == 8
    assert get_preset("mobilenetv4_conv_large").choices == {}


def test_distances_share_a_bucket_however_they_point() -> None:
    height, width = 4, 5
    table = torch.tensor(distance_buckets(height, width)).view(height * width, height * width)
    assert torch.equal(table, table.T)
    assert table.diagonal().unique().tolist() == [40]
    assert table[0, 1] == table[0, width] == 41
    assert table[0, -1] == 45
    assert max(distance_buckets(1, 200)) == 80


def test_partial_attention_makes_partialnet_of_fasternet() -> None:
    space = fasternet(32, (1, 2, 8, 2), "gelu", ("channel", "channel", "channel", "self"), spatial=True)
    graph = space.graph(space.smallest(), TASK)
    ops = [node.op for node in graph.nodes]
    assert (ops.count("global_std_pool"), ops.count("softmax"), ops.count("hard_sigmoid")) == (11, 2, 24)
    assert graph.matmul_macs == 2 * 2 * 49 * 49 * 192


def test_skip_blocks_carry_the_first_map_past_the_groups_of_skipnet() -> None:
    """The counts are those of the published rows: kernel, expansion, channels, attention, activation, stride."""
    groups = [
        [
            *((3, 4, 24, "none", "relu", 2), (3, 3, 24, "none", "relu", 1), (5, 3, 40, "se", "relu", 2)),
            *((5, 3, 40, "se", "relu", 1), (5, 6, 40, "se", "hard_swish", 1)),
        ],
        [(3, 6, 80, "none", "hard_swish", 2), (3, 2.5, 80, "none", "hard_swish", 1)]
        + [(3, 2.3, 80, "none", "hard_swish", 1)] * 2,
        [(3, 6, 112, "se", "hard_swish", 1)] * 2
        + [(5, 6, 160, "se", "hard_swish", 2)]
        + [(5, 6, 160, "se", "hard_swish", 1)] * 2,
    ]
    skips = [(40, 5, 6.0, 4), (80, 3, 2.3, 8)]
    b = Builder([(3, 224, 224)])
    x = b.block("stem", BLOCKS["conv_bn_act"].function, b.inputs[0], 16, 3, 2, "hard_swish")
    inverted = BLOCKS["inverted_residual"].function
    first = x = b.block("base", inverted, x, 16, 3, 1, 1, "none", "relu", 1, True)
    for number, rows in enumerate(groups):
        for layer, (kernel, expand, channels, attention, activation, stride) in enumerate(rows):
            arguments = (channels, kernel, expand, stride, attention, activation)
            x = b.block(f"group{number}.layer{layer}", inverted, x, *arguments)
        if number < len(skips):
            skip = b.block(f"skip{number}", BLOCKS["pooled_inverted_residual"].function, first, *skips[number])
            x = b.op(f"sum{number}", "add", x, skip)
    x = b.block("head", BLOCKS["conv_bn_act"].function, x, 960, 1, 1, "hard_swish")
    x = b.block("features", BLOCKS["pooled_conv_act"].function, x, 1280, "hard_swish")
    graph = b.build(b.block("classifier", classifier, x, 1000))
    assert (graph.params, graph.macs) == (5_532_352, 236_622_048)
