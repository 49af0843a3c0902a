"""ConvNeXt, InceptionNeXt, MetaFormer, MambaOut and FocalNet: published counts, formulas, points of spaces."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support_graphs import randomised
from support_networks import assert_same, assert_trains
from torch import Tensor
from torch.nn import functional as F

from search_spaces import Classification, Task, get_preset, get_space, presets_in
from search_spaces.blocks.convnext import convnext_block, convnext_v2_block
from search_spaces.blocks.focal import focal_modulation
from search_spaces.blocks.inception_next import inception_depthwise
from search_spaces.blocks.mambaout import gated_cnn_block
from search_spaces.blocks.metaformer import MIXERS, head_attention, metaformer_block, random_mixing
from search_spaces.blocks.patch import conv_stem, patch_embedding
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph
from search_spaces.spaces.metaformer import metaformer
from search_spaces.torch_network import TorchNetwork, load_numpy_weights, numpy_weights

State = dict[str, Tensor]


def ran(function: Callable[..., Value], shape: tuple[int, ...], *arguments: Any) -> tuple[Tensor, Tensor, State]:
    """The input, the output and the weights of a block; every affine parameter is far from its first value."""
    torch.manual_seed(0)
    b = Builder([shape])
    network = TorchNetwork(b.build(function(b, b.inputs[0], *arguments))).eval()
    weights = randomised(numpy_weights(network))
    for name, value in weights.items():
        if value.ndim == 1:
            weights[name] = value + 0.3 * torch.randn(value.shape).numpy()
    load_numpy_weights(network, weights)
    x = torch.randn(2, *shape)
    with torch.no_grad():
        return x, network(x), network.state_dict()


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("convnext_atto", 3_695_520, 547_332_480),
        ("convnext_tiny", 28_589_128, 4_455_531_264),
        ("convnextv2_atto", 3_708_400, 547_332_480),
        ("inception_next_atto", 4_156_520, 503_035_040),
        ("convformer_s18", 26_774_448, 3_940_984_320),
        ("caformer_s18", 26_341_656, 3_878_289_408),
        ("poolformer_s12", 11_915_176, 1_812_267_008),
        ("poolformerv2_s12", 11_891_712, 1_812_267_008),
        ("mambaout_femto", 7_304_536, 1_147_984_992),
        ("focalnet_tiny_srf", 28_427_116, 4_403_335_680),
    ],
)
def test_presets_have_the_published_costs(name: str, params: int, macs: int) -> None:
    graph = get_preset(name).graph()
    assert (graph.params, graph.macs) == (params, macs)


def test_published_networks_are_points_of_the_named_spaces() -> None:
    sizes = ("atto", "femto", "pico", "nano")
    assert presets_in("convnext") == [f"{version}_{size}" for version in ("convnext", "convnextv2") for size in sizes]
    assert presets_in("metaformer") == ["convformer_s18", "caformer_s18", "poolformerv2_s12"]
    for space in ("convnext", "metaformer"):
        for name in presets_in(space):
            arch = get_preset(name).architecture()
            get_space(space).validate(arch)
            task = Task((3, 224, 224), Classification(1000))
            assert get_space(space).graph(arch, task).fingerprint == get_preset(name).graph().fingerprint


@pytest.mark.parametrize("space", ["convnext", "metaformer"])
@pytest.mark.parametrize(("stem_stride", "size", "left"), [(1, 8, 1), (2, 32, 2), (1, 32, 4)])
def test_small_images_by_the_stride_of_the_stem(space: str, stem_stride: int, size: int, left: int) -> None:
    small = get_space(space, stem_stride=stem_stride)
    graph = small.graph(small.smallest(), Task((3, size, size), Classification(10)))
    shapes = [item.shapes[0] for item in graph.items]
    assert shapes[0][1:] == (size // stem_stride, size // stem_stride)
    assert [shape for shape in shapes if len(shape) == 3][-1][1:] == (left, left)


def mixed(x: Tensor, state: State, mixer: str) -> Tensor:
    """The mixers as written in the papers, on (batch, channels, height, width)."""
    batch, channels, height, width = x.shape
    if mixer == "identity":
        return x
    if mixer == "pooling":
        count = F.avg_pool2d(torch.ones_like(x), 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1) / count - x
    if mixer == "sep_conv":
        y = F.conv2d(x, state["sep_conv.expand.conv.weight"])
        y = state["sep_conv.expand.star_relu.scale"] * y.relu() ** 2 + state["sep_conv.expand.star_relu.bias"]
        y = F.conv2d(y, state["sep_conv.depthwise.weight"], padding=2, groups=2 * channels)
        return F.conv2d(y, state["sep_conv.project.weight"])
    tokens = x.flatten(2).transpose(1, 2)
    if mixer == "random":
        tokens = state["random.matrix.value"].softmax(-1) @ tokens
    else:
        parts = (tokens @ state["attention.qkv.weight"].T).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (-1, 8)).transpose(1, 2) for part in parts)
        tokens = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens @ state["attention.project.weight"].T
    return tokens.transpose(1, 2).reshape(batch, channels, height, width)


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("scaled", [False, True])
def test_a_metaformer_block_is_its_formula(mixer: str, scaled: bool) -> None:
    channels = 16
    arguments = (channels, mixer, 2.0, 1, "star_relu", 5, 3, 8, scaled, scaled, 0.1 if scaled else 0.0)
    x, out, state = ran(metaformer_block, (channels, 6, 5), *arguments)

    def norm(name: str, y: Tensor) -> Tensor:
        if mixer in ("identity", "random", "pooling"):
            return F.group_norm(y, 1, state[f"{name}.whole.weight"], state.get(f"{name}.whole.bias"), 1e-6)
        y = y.movedim(1, -1)
        y = F.layer_norm(y, (channels,), state[f"{name}.ln.weight"], state.get(f"{name}.ln.bias"), 1e-6)
        return y.movedim(-1, 1)

    def joined(name: str, y: Tensor, branch: Tensor) -> Tensor:
        if scaled:
            y = y * state[f"{name}.residual_scale.weight"].view(-1, 1, 1)
            branch = branch * state[f"{name}.layer_scale.weight"].view(-1, 1, 1)
        return y + branch

    kind = "linear" if mixer == "attention" else "conv"
    first, second = (state[f"mlp.{part}.{kind}.weight"].flatten(1) for part in ("expand", "project"))
    biases = [state.get(f"mlp.{part}.{kind}.bias", torch.zeros(1)) for part in ("expand", "project")]
    y = joined("mixed", x, mixed(norm("mixer_norm", x), state, mixer))
    hidden = F.linear(norm("mlp_norm", y).movedim(1, -1), first) + biases[0]
    hidden = state["mlp.expand.star_relu.scale"] * hidden.relu() ** 2 + state["mlp.expand.star_relu.bias"]
    y = joined("out", y, (F.linear(hidden, second) + biases[1]).movedim(-1, 1))
    torch.testing.assert_close(out, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mixer", MIXERS)
def test_every_mixer_through_every_reader(mixer: str) -> None:
    b = Builder([(8, 6, 5)])
    graph = b.build(metaformer_block(b, b.inputs[0], 16, mixer, 2.0, 2))
    assert_same(graph)
    assert_trains(graph)


def test_a_mixer_that_does_not_exist_is_refused() -> None:
    b = Builder([(8, 4, 4)])
    with pytest.raises(InvalidGraph, match="no mixer 'fourier'"):
        metaformer_block(b, b.inputs[0], 8, "fourier")


def test_the_random_matrix_does_not_train_and_fits_every_size() -> None:
    for size in (2, 7):
        b = Builder([(8, size, size)])
        network = TorchNetwork(b.build(random_mixing(b, b.inputs[0])))
        assert not list(network.parameters())
        assert network.state_dict()["matrix.value"].shape == (size**2, size**2)
    space = metaformer(mixers=(("random",),) * 4, width=(0.25,))
    assert space.graph(space.smallest(), Task((3, 64, 64), Classification(10))).output_shapes == ((10,),)


def test_attention_has_a_head_where_the_channels_are_fewer_than_one() -> None:
    x, out, state = ran(head_attention, (1, 9, 8), 32)
    assert out.shape == x.shape
    assert state["qkv.weight"].shape == (96, 8)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_a_convnext_block_is_its_formula(version: int, linear: bool) -> None:
    block = convnext_block if version == 1 else convnext_v2_block
    x, out, state = ran(block, (8, 6, 6), 8, 5, 2.0, 1, "gelu", linear)
    y = F.conv2d(x, state["depthwise.conv.weight"], state["depthwise.conv.bias"], padding=2, groups=8).movedim(1, -1)
    y = F.layer_norm(y, (8,), state["norm.weight"], state["norm.bias"], 1e-6)
    kind = "linear" if linear else "conv"
    y = F.gelu(F.linear(y, state[f"mlp.expand.{kind}.weight"].flatten(1), state[f"mlp.expand.{kind}.bias"]))
    if version == 2:
        size = y.norm(dim=(1, 2), keepdim=True)
        size = size / (size.mean(-1, keepdim=True) + 1e-6)
        y = state["mlp.response_norm.weight"] * (y * size) + state["mlp.response_norm.bias"] + y
    y = F.linear(y, state[f"mlp.project.{kind}.weight"].flatten(1), state[f"mlp.project.{kind}.bias"])
    if version == 1:
        y = y * state["layer_scale.weight"]
    torch.testing.assert_close(out, x + y.movedim(-1, 1), rtol=1e-4, atol=1e-5)


def test_inception_depthwise_is_its_formula() -> None:
    x, out, state = ran(inception_depthwise, (16, 9, 9), 3, 7, 0.25)
    weights = [(state[f"{name}.conv.weight"], state[f"{name}.conv.bias"]) for name in ("square", "row", "column")]
    assert [tuple(weight.shape[2:]) for weight, _ in weights] == [(3, 3), (1, 7), (7, 1)]
    parts = [x[:, :4]]
    for i, (weight, bias) in enumerate(weights, 1):
        padding = tuple(k // 2 for k in weight.shape[2:])
        parts.append(F.conv2d(x[:, 4 * i : 4 * i + 4], weight, bias, padding=padding, groups=4))
    torch.testing.assert_close(out, torch.cat(parts, 1))


@pytest.mark.parametrize(("expand", "ratio"), [(2.0, 1.5), (1.5, 2.0)])
def test_a_gated_cnn_block_is_its_formula(expand: float, ratio: float) -> None:
    x, out, state = ran(gated_cnn_block, (8, 6, 6), 8, 3, expand, ratio)
    hidden, convolved = int(8 * expand), min(int(8 * expand), int(8 * ratio))
    y = F.layer_norm(x.movedim(1, -1), (8,), state["norm.weight"], state["norm.bias"], 1e-6)
    y = F.linear(y, state["expand.linear.weight"], state["expand.linear.bias"])
    gate, passed, values = y.split((hidden, hidden - convolved, convolved), -1)
    weight, bias = state["depthwise.conv.weight"], state["depthwise.conv.bias"]
    values = F.conv2d(values.movedim(-1, 1), weight, bias, padding=1, groups=convolved).movedim(1, -1)
    y = F.gelu(gate) * torch.cat([passed, values], -1)
    y = F.linear(y, state["project.linear.weight"], state["project.linear.bias"])
    torch.testing.assert_close(out, x + y.movedim(-1, 1), rtol=1e-4, atol=1e-5)


def test_focal_modulation_is_its_formula() -> None:
    x, out, state = ran(focal_modulation, (8, 9, 9), 3, 3)
    y = F.conv2d(x, state["project.weight"], state["project.bias"])
    query, context, gates = y.split((8, 8, 4), 1)
    total = torch.zeros_like(context)
    for level in range(3):
        weight = state[f"level{level}.conv.weight"]
        assert weight.shape[-1] == 3 + 2 * level
        context = F.gelu(F.conv2d(context, weight, padding=1 + level, groups=8))
        total = total + context * gates[:, level : level + 1]
    total = total + F.gelu(context.mean((2, 3), keepdim=True)) * gates[:, 3:]
    y = query * F.conv2d(total, state["modulator.weight"], state["modulator.bias"])
    torch.testing.assert_close(out, F.conv2d(y, state["out.weight"], state["out.bias"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 4), (7, 4), (2, 2), (3, 2), (3, 1), (7, 2), (1, 1)])
def test_patches_divide_the_size_by_the_stride(kernel: int, stride: int) -> None:
    b = Builder([(3, 32, 24)])
    assert patch_embedding(b, b.inputs[0], 8, kernel, stride).shape == (8, 32 // stride, 24 // stride)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_convolutions_of_a_stem_share_its_stride(stride: int) -> None:
    b = Builder([(3, 32, 24)])
    assert conv_stem(b, b.inputs[0], 16, stride).shape == (16, 32 // stride, 24 // stride)
