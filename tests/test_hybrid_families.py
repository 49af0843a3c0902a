"""Blocks with attention inside convolutional networks, and others of small networks, against plain computations."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from support_graphs import randomised
from torch import Tensor
from torch.nn import functional as F

from search_spaces import get_preset
from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.edgenext import cross_covariance_attention, fourier_position, split_transpose_attention
from search_spaces.blocks.emo import inverted_residual_attention
from search_spaces.blocks.halo import global_attention, halo_attention
from search_spaces.blocks.mk_unet import multi_kernel_inverted_residual
from search_spaces.blocks.mobilevit import mobilevit, separable_self_attention
from search_spaces.blocks.osnet import omni_scale
from search_spaces.blocks.pool_bottleneck import pool_bottleneck
from search_spaces.blocks.primer import multi_dconv_head_attention, primer_layer
from search_spaces.blocks.simple import simple_layer
from search_spaces.blocks.subspace_attention import subspace_attention
from search_spaces.builder import Builder, Value
from search_spaces.graph import Graph, Shape
from search_spaces.torch_network import TorchNetwork, load_numpy_weights, numpy_weights

Weights = Mapping[str, Tensor]


def built(block: Callable[..., Value], shape: Shape, *arguments: Any) -> Graph:
    b = Builder([shape])
    return b.build(block(b, b.inputs[0], *arguments))


def run(block: Callable[..., Value], shape: Shape, *arguments: Any) -> tuple[Tensor, Tensor, Weights]:
    """A random input, what the block makes of it in eval mode, and its weights, none of them fresh."""
    torch.manual_seed(0)
    graph = built(block, shape, *arguments)
    network = TorchNetwork(graph).double().eval()
    weights = randomised(numpy_weights(network))
    rng = np.random.default_rng(1)
    weights = {
        k: rng.normal(0.5, 0.5, v.shape) if v.ndim == 1 and "running" not in k else v for k, v in weights.items()
    }
    load_numpy_weights(network, weights)
    x = torch.randn(2, *shape, dtype=torch.float64)
    with torch.no_grad():
        return x, network(x), {k: v.detach() for k, v in network.state_dict().items()}


def conv(w: Weights, name: str, x: Tensor, **options: Any) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), **options)


def bn(w: Weights, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    mean, var, weight, bias = (w[f"{name}.{t}"] for t in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias, eps=eps)


def conv_bn(w: Weights, name: str, x: Tensor, eps: float = 1e-5, **options: Any) -> Tensor:
    return bn(w, f"{name}.bn", conv(w, f"{name}.conv", x, **options), eps)


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def layer_norm(w: Weights, name: str, x: Tensor, eps: float = 1e-6) -> Tensor:
    """Over the last axis."""
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "stride", "block", "halo", "heads", "ratio"),
    [
        ((16, 8, 8), 1, 4, 2, 2, 1.0),
        ((16, 8, 8), 2, 4, 1, 4, 0.5),
        ((16, 7, 10), 1, 4, 1, 2, 1.0),
        ((16, 9, 6), 2, 3, 1, 2, 1.0),
        ((16, 5, 5), 2, 4, 2, 2, 1.0),
    ],
)
def test_halo_attention_pixel_by_pixel(
    shape: Shape, stride: int, block: int, halo: int, heads: int, ratio: float
) -> None:
    x, found, w = run(halo_attention, shape, stride, block, halo, heads, ratio)
    channels, height, width = shape
    own = stride if block % stride == 0 else 1
    q, kv = conv(w, "query", x), conv(w, "key_value", x)
    dq, dv = q.shape[1] // heads, channels // heads
    rows, columns = w["relative.rows.table.value"][0], w["relative.columns.table.value"][0]
    q, kv = q.reshape(2, heads, dq, height, width), kv.reshape(2, heads, dq + dv, height, width)
    window = block + 2 * halo
    expected = x.new_zeros(2, heads, dv, -(-height // own), -(-width // own))
    for r in range(0, height, own):
        for c in range(0, width, own):
            query = q[..., r, c]
            i, j = r % block // own, c % block // own
            logits, values = [], []
            for u in range(window):
                for v in range(window):
                    y, z = r // block * block - halo + u, c // block * block - halo + v
                    inside = 0 <= y < height and 0 <= z < width
                    pair = kv[..., y, z] if inside else torch.zeros_like(kv[..., 0, 0])
                    relative = rows[u - i + window - 1] + columns[v - j + window - 1]
                    logits.append((query * pair[..., :dq]).sum(-1) / math.sqrt(dq) + (query * relative).sum(-1))
                    values.append(pair[..., dq:])
            share = torch.stack(logits, -1).softmax(-1)
            expected[..., r // own, c // own] = (torch.stack(values, -1) * share[..., None, :]).sum(-1)
    result = expected.reshape(2, channels, *expected.shape[-2:])
    if own != stride:
        result = F.avg_pool2d(result, stride, ceil_mode=True, count_include_pad=False)
    assert_close(found, result)


def test_global_attention_is_halo_attention_of_one_block() -> None:
    x, found, w = run(global_attention, (16, 6, 6), 1, 2)
    halo = TorchNetwork(built(halo_attention, (16, 6, 6), 1, 6, 0, 2)).double().eval()
    q, k, v = w["qkv.weight"].split(16)
    tables = {key: value for key, value in w.items() if "table" in key}
    pairs = torch.cat([k.reshape(2, 8, 16, 1, 1), v.reshape(2, 8, 16, 1, 1)], 1).reshape(32, 16, 1, 1)
    load_numpy_weights(
        halo, {k: v.numpy() for k, v in {"query.weight": q, "key_value.weight": pairs, **tables}.items()}
    )
    assert_close(found, halo(x).detach())


@pytest.mark.parametrize(("size", "patch"), [((8, 6), 2), ((5, 7), 2), ((9, 6), 3)])
def test_mobilevit(size: tuple[int, int], patch: int) -> None:
    x, found, w = run(mobilevit, (8, *size), 12, 3, 16, 2, patch, 4)
    y = conv(w, "embed", F.silu(conv_bn(w, "local", x, padding=1)))
    grown = tuple(-(-n // patch) * patch for n in size)
    if grown != size:
        y = F.interpolate(y, grown, mode="bilinear", align_corners=False)
    out = torch.empty_like(y)
    for a in range(patch):
        for b in range(patch):
            place = y[:, :, a::patch, b::patch]
            t = place.flatten(2).transpose(1, 2)
            for layer in ("layer1", "layer2"):
                qkv = linear(w, f"{layer}.attention.qkv", layer_norm(w, f"{layer}.attention_norm", t, 1e-5))
                q, k, v = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in qkv.split(16, -1))
                t = t + linear(w, f"{layer}.attention.project", attention(q, k, v).transpose(1, 2).flatten(2))
                hidden = linear(w, f"{layer}.mlp.expand.linear", layer_norm(w, f"{layer}.mlp_norm", t, 1e-5))
                t = t + linear(w, f"{layer}.mlp.project.linear", F.silu(hidden))
            t = layer_norm(w, "norm", t, 1e-5)
            out[:, :, a::patch, b::patch] = t.transpose(1, 2).reshape(place.shape)
    if grown != size:
        out = F.interpolate(out, size, mode="bilinear", align_corners=False)
    out = torch.cat([x, F.silu(conv_bn(w, "project", out))], 1)
    assert_close(found, F.silu(conv_bn(w, "fuse", out, padding=1)))


def test_separable_self_attention() -> None:
    x, found, w = run(separable_self_attention, (8, 4, 9))
    query, key, value = conv(w, "qkv", x).split((1, 8, 8), 1)
    context = torch.einsum("bcpn,bpn->bcp", key, query[:, 0].softmax(-1))
    assert_close(found, conv(w, "project", value.relu() * context[..., None]))


def test_cross_covariance_attention() -> None:
    x, found, w = run(cross_covariance_attention, (20, 12), 3)
    q, k, v = (part.unflatten(-1, (3, 4)) for part in linear(w, "qkv", x).split(12, -1))
    q, k = q / q.norm(dim=1, keepdim=True), k / k.norm(dim=1, keepdim=True)
    logits = torch.einsum("bnhi,bnhj->bhij", q, k) * w["temperature.weight"][:, None, None]
    mixed = torch.einsum("bhij,bnhj->bnhi", logits.softmax(-1), v).flatten(2)
    assert_close(found, linear(w, "project", mixed))


def test_fourier_position() -> None:
    network = TorchNetwork(built(fourier_position, (8, 3, 5))).double()
    waves = network.state_dict()["waves.value"]
    assert waves.shape == (64, 3, 5)
    for channel in range(64):
        for r in range(3):
            for c in range(5):
                place = (r + 1) / 3 if channel < 32 else (c + 1) / 5
                angle = place * 2 * math.pi / 10_000 ** (channel % 32 // 2 * 2 / 32)
                expected = math.cos(angle) if channel % 2 else math.sin(angle)
                assert waves[channel, r, c] == pytest.approx(expected, abs=1e-5)
    assert not any("waves" in name for name, _ in network.named_parameters())


def test_split_transpose_attention_cascade() -> None:
    x, found, w = run(split_transpose_attention, (10, 4, 5), 3, 2, 2.0, "gelu", "fourier")
    first, second, third = x.split((4, 4, 2), 1)
    a = conv(w, "part0.depthwise", first, padding=1, groups=4)
    b = conv(w, "part1.depthwise", a + second, padding=1, groups=4)
    y = torch.cat([a, b, third], 1)
    y = y + conv(w, "position.project", w["position.waves.value"][None])
    tokens = y.flatten(2).transpose(1, 2)
    normed = layer_norm(w, "attention_norm", tokens)
    attend = TorchNetwork(built(cross_covariance_attention, (20, 10), 2)).double().eval()
    attend.load_state_dict({k.removeprefix("attention."): v for k, v in w.items() if k.startswith("attention.")})
    tokens = tokens + w["attention_scale.weight"] * attend(normed).detach()
    hidden = F.gelu(linear(w, "mlp.expand.linear", layer_norm(w, "mlp_norm", tokens)))
    y = w["layer_scale.weight"] * linear(w, "mlp.project.linear", hidden)
    assert_close(found, x + y.transpose(1, 2).reshape(x.shape))


@pytest.mark.parametrize(("out_channels", "norm", "sum_norm"), [(64, "batch", "none"), (32, "instance", "instance")])
def test_omni_scale_has_one_gate(out_channels: int, norm: str, sum_norm: str) -> None:
    x, found, w = run(omni_scale, (32, 6, 5), out_channels, 2, 3, norm, sum_norm)
    inner = out_channels // 2
    entry = F.relu(conv_bn(w, "reduce", x))
    total = torch.zeros_like(entry)
    for stream in (1, 2, 3):
        y = entry
        for i in range(1, stream + 1):
            name = f"stream{stream}.light{i}"
            y = conv(w, f"{name}.pointwise", y)
            y = F.relu(conv_bn(w, f"{name}.depthwise", y, padding=1, groups=inner))
        gate = F.relu(conv(w, "gate.reduce", y.mean((2, 3), keepdim=True)))
        total = total + y * torch.sigmoid(conv(w, "gate.expand", gate))
    y = conv(w, "expand.conv", total)
    instance = "expand.instance_norm"
    y = (
        bn(w, "expand.bn", y)
        if norm == "batch"
        else F.instance_norm(y, None, None, w[f"{instance}.weight"], w[f"{instance}.bias"])
    )
    y = y + (x if out_channels == 32 else conv_bn(w, "shortcut", x))
    if sum_norm == "instance":
        y = F.instance_norm(y, None, None, w["out.instance_norm.weight"], w["out.instance_norm.bias"])
    assert_close(found, F.relu(y))
    assert sum(name.startswith("gate") for name in w) == 4


def test_subspace_attention() -> None:
    x, found, w = run(subspace_attention, (12, 4, 5), 3)
    parts = []
    for i, part in enumerate(x.split(4, 1)):
        y = conv(w, f"subspace{i}.depthwise", part, groups=4)
        y = F.max_pool2d(F.relu(bn(w, f"subspace{i}.depthwise_bn", y)), 3, 1, 1)
        y = F.relu(bn(w, f"subspace{i}.pointwise_bn", conv(w, f"subspace{i}.pointwise", y)))
        parts.append(part + part * y.flatten(2).softmax(-1).reshape(y.shape))
    assert_close(found, torch.cat(parts, 1))
    assert built(subspace_attention, (12, 4, 5), 3).params == 3 * (5 * 4 + 3)


@pytest.mark.parametrize(("channels", "subspaces"), [(16, 4), (6, 2), (5, 1)])
def test_subspace_attention_by_name_takes_as_many_subspaces_as_fit(channels: int, subspaces: int) -> None:
    graph = built(ATTENTIONS["ulsam"], (channels, 4, 4), channels)
    assert graph.params == 5 * channels + 3 * subspaces


@pytest.mark.parametrize(("out_channels", "stride"), [(6, 1), (8, 1), (8, 2)])
def test_multi_kernel_inverted_residual(out_channels: int, stride: int) -> None:
    x, found, w = run(multi_kernel_inverted_residual, (6, 8, 8), out_channels, 5, stride)
    y = F.relu6(conv_bn(w, "expand", x))
    branches = [
        F.relu6(conv_bn(w, f"depthwise.depthwise{k}", y, stride=stride, padding=k // 2, groups=12)) for k in (1, 3, 5)
    ]
    groups = math.gcd(12, out_channels)
    y = sum(branches)
    y = y[:, [g * (12 // groups) + i for i in range(12 // groups) for g in range(groups)]]
    y = conv_bn(w, "project", y)
    if stride == 1:
        y = y + (x if out_channels == 6 else conv(w, "shortcut", x))
    assert_close(found, y)


@pytest.mark.parametrize(
    ("widths", "params"),
    [
        ((4, 8, 16, 24, 32), 27_384),
        ((8, 16, 32, 48, 80), 93_050),
        ((16, 32, 64, 96, 160), 315_566),
        ((32, 64, 128, 192, 320), 1_150_166),
        ((64, 128, 256, 384, 512), 3_758_118),
    ],
)
def test_mk_unet_has_its_published_parameters(widths: tuple[int, ...], params: int) -> None:
    """The encoder and decoder of Rahman and Marculescu 2025 are these blocks; the rest is counted here."""
    steps = [3, *widths, *widths[-2::-1], widths[0]]
    blocks = sum(built(multi_kernel_inverted_residual, (i, 16, 16), o).params for i, o in pairwise(steps))
    ratios = (min(4, widths[0]), 8, 16, 16, 16)
    channel_attention = sum(2 * c * (c // ratio) for c, ratio in zip(widths, ratios, strict=True))
    gates = sum(2 * (c // 2 * 2 * 9 + c // 2 + c) + c // 2 + 1 + 2 for c in widths[:4])
    heads = sum(c + 1 for c in (widths[0], *widths[:3]))
    assert blocks + channel_attention + 2 * 49 + gates + heads == params


@pytest.mark.parametrize(("stride", "strided_conv"), [(1, True), (2, False), (2, True)])
def test_pool_bottleneck(stride: int, strided_conv: bool) -> None:
    x, found, w = run(pool_bottleneck, (16, 6, 8), 16, stride, 4, strided_conv)
    y = F.relu(conv_bn(w, "reduce", x))
    if strided_conv and stride == 2:
        y = F.relu(conv_bn(w, "spatial", F.avg_pool2d(y, 2), padding=1))
    else:
        y = F.max_pool2d(y, 3, stride, 1)
    y = conv_bn(w, "expand", y)
    assert_close(found, F.relu(y + (x if stride == 1 else conv_bn(w, "shortcut", x, stride=2))))


@pytest.mark.parametrize(("kernel", "size"), [(3, 4), (1, 5)])
def test_simple_layer_pads_by_one(kernel: int, size: int) -> None:
    x, found, w = run(simple_layer, (6, 8, 8), 10, kernel, 1, True)
    assert_close(found, F.max_pool2d(F.relu(bn(w, "bn", conv(w, "conv", x, padding=1))), 2))
    assert found.shape[-1] == size


def test_primer_layer() -> None:
    x, found, w = run(primer_layer, (8, 4, 5), 2, 3, 3.0)
    y = layer_norm(w, "attention_norm", x.movedim(1, -1)).movedim(-1, 1)
    parts = []
    for name in ("query", "key", "value"):
        part = conv(w, f"attention.{name}.project", y)
        part = conv(w, f"attention.{name}.depthwise", part, padding=1, groups=8)
        parts.append(part.reshape(2, 2, 4, 20).transpose(-1, -2))
    mixed = attention(*parts).transpose(-1, -2).reshape(x.shape)
    x = x + conv(w, "attention.project", mixed)
    y = layer_norm(w, "mlp_norm", x.movedim(1, -1)).movedim(-1, 1)
    assert_close(found, x + conv(w, "mlp.project.conv", conv(w, "mlp.expand.conv", y).relu() ** 2))
    heads = built(multi_dconv_head_attention, (8, 4, 5), 2, 3)
    assert heads.params == 4 * (8 * 8 + 8) + 3 * (9 * 8 + 8)


@pytest.mark.parametrize("mixing", ["close", "remote", "both"])
def test_inverted_residual_attention(mixing: str) -> None:
    x, found, w = run(inverted_residual_attention, (8, 5, 6), 8, 3, 2.0, 1, mixing, 4, 3)
    y = layer_norm(w, "entry.ln", x.movedim(1, -1)).movedim(-1, 1)
    y = F.pad(y, (0, 0, 0, 1))
    q, k = conv(w, "expand.query_key", y).split(8, 1)
    v = F.gelu(conv(w, "expand.value.conv", y))
    total = torch.zeros_like(v)
    for apart in {"close": (False,), "remote": (True,), "both": (False, True)}[mixing]:
        for r in range(2):
            for c in range(2):
                rows = slice(r, None, 2) if apart else slice(3 * r, 3 * r + 3)
                columns = slice(c, None, 2) if apart else slice(3 * c, 3 * c + 3)
                tokens = (t[:, :, rows, columns].reshape(2, 2, -1, 9).transpose(-1, -2) for t in (q, k, v))
                total[:, :, rows, columns] += attention(*tokens).transpose(-1, -2).reshape(2, 16, 3, 3)
    y = total[:, :, :5]
    y = y + F.silu(conv_bn(w, "local", y, 1e-6, padding=1, groups=16))
    assert_close(found, x + w["layer_scale.weight"][:, None, None] * conv(w, "project", y))


@pytest.mark.parametrize(
    ("name", "classes", "params"),
    [
        ("osnet_x1_0", 10, 2_169_508 + 5130),
        ("osnet_x0_75", 10, 1_285_754 + 5130),
        ("osnet_x0_5", 10, 630_034 + 5130),
        ("osnet_x0_25", 10, 201_864 + 5130),
        ("simplenet_5m", 10, 5_498_378),
        ("simplenet_310k", 10, 312_362),
    ],
)
def test_published_parameters(name: str, classes: int, params: int) -> None:
    assert get_preset(name).graph(classes=classes).params == params


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("mobilevit_xxs", 1_272_024, 329_179_648),
        ("mobilevitv2_100", 4_901_841, 1_812_090_880),
        ("edgenext_xx_small", 1_327_216, 254_831_040),
        ("edgenext_small_rw", 7_826_512, 1_561_027_584),
        ("halonet26t", 12_480_288, 3_129_032_704),
        ("halonet_h1", 8_100_056, 2_125_975_552),
        ("halo2botnet50ts_256", 22_635_360, 4_781_588_480),
        ("haloregnetz_b", 11_680_072, 1_864_719_360),
    ],
)
def test_counts_of_networks_with_attention(name: str, params: int, macs: int) -> None:
    graph = get_preset(name).graph()
    assert (graph.params, graph.macs) == (params, macs)


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("osnet_x1_0", 2.2e6, 0.98e9),
        ("osnet_x0_75", 1.3e6, 0.57e9),
        ("resnet50_max", 14.2e6, 2.2e9),
        ("resnet50_hybrid", 17.3e6, 2.6e9),
        ("emo2_1m", 1.461e6, 0.285e9),
        ("emo2_5m", 5.1e6, 1.035e9),
    ],
)
def test_counts_published_in_rounded_form(name: str, params: float, macs: float) -> None:
    """OSNet is counted without its classifier, EMOv2 with the products of attention and some of the norms."""
    graph = get_preset(name).graph()
    own = graph.params - (513 * 1000 if name.startswith("osnet") else 0)
    assert own == pytest.approx(params, rel=0.02)
    assert graph.macs + graph.matmul_macs == pytest.approx(macs, rel=0.03)


def test_person_images_are_upright() -> None:
    assert get_preset("osnet_x1_0").graph().inputs == ((3, 256, 128),)
