"""Networks made for edge accelerators: EfficientNet-EdgeTPU and MobileNet-EdgeTPU."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from search_spaces.channels import make_divisible
from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row, scaled_depth
from search_spaces.staged import Stage, StagedSpace


def efficientnet_edge(
    name: str, *, width: float = 1.0, depth: float = 1.0, eps: float = 1e-5, padding: str = "symmetric"
) -> StagedSpace:
    """EfficientNet-EdgeTPU: fused inverted residuals, then inverted residuals with 5 x 5 kernels, ReLU.

    The first stage expands to four times its own output channels and adds no identity, as in the authors' code.
    Source: Gupta and Akin 2020.
    """
    stem, first = make_divisible(32 * width), make_divisible(24 * width)
    table = [
        # channels, layers, stride, kernel, fused
        (32, 2, 2, 3, True),
        (48, 4, 2, 3, True),
        (96, 5, 2, 5, False),
        (144, 4, 1, 5, False),
        (192, 2, 2, 5, False),
    ]
    shared: dict[str, Any] = {"activation": "relu", "eps": eps, "padding": padding}
    layers = scaled_depth(1, depth)
    inner = (4.0 * first / stem, *(4.0,) * (layers - 1))
    stages = [row("stage1", "fused_inverted_residual", first, layers, kernel=3, expand=inner, residual=False, **shared)]
    for i, (channels, repeats, stride, kernel, fused) in enumerate(table, 2):
        stages.append(
            row(
                f"stage{i}",
                "fused_inverted_residual" if fused else "inverted_residual",
                make_divisible(channels * width),
                scaled_depth(repeats, depth),
                stride,
                kernel=kernel,
                expand=8,
                attention="none",
                **shared,
            )
        )
    head = one("head", "conv_bn_act", make_divisible(1280 * width), kernel=1, **shared)
    return StagedSpace(name, [one("stem", "conv_bn_act", stem, 2, kernel=3, **shared), *stages, head])


def mobilenet_edgetpu() -> StagedSpace:
    """MobileNet-EdgeTPU: expansion 8 in the first layer of a stage and 4 after it (Gupta and Akin 2020)."""
    table = [
        # channels, stride, kernel, fused, identity in the first layer
        (32, 2, 3, True, True),
        (48, 2, 3, True, True),
        (96, 2, 3, False, True),
        (96, 1, 3, False, False),
        (160, 2, 5, False, True),
    ]
    stages = [
        _expanding(
            f"stage{i}", fused, channels, stride, (8, 4, 4, 4), kernel=kernel, residual=(first, True, True, True)
        )
        for i, (channels, stride, kernel, fused, first) in enumerate(table, 2)
    ]
    return _network("mobilenet_edgetpu", 32, 3, 16, [*stages, _expanding("stage7", False, 192, 1, (8,))], 1280)


def mobilenet_edgetpu_v2(
    name: str, channels: Sequence[int], head: int = 1280, *, stem: int = 64, kernel: int = 5, group_width: int = 64
) -> StagedSpace:
    """MobileNet-EdgeTPU V2: fused inverted residuals with and without groups, then inverted residuals.

    ``channels`` of the seven stages; ``kernel`` is that of the stem. Source: Akin et al. 2022 and the authors' code.
    """
    first, second, third, fourth, fifth, sixth, seventh = channels
    g = group_width
    stages = [
        _expanding("stage2", True, second, 2, (8, 4), group_width=(0, g)),
        _expanding("stage3", True, third, 2, (8, 4, 4, 4), group_width=(0, g, 0, g)),
        _expanding("stage4", True, fourth, 2, (8,)),
        _expanding("stage5", False, fourth, 1, (4, 4, 4)),
        _expanding("stage6", False, fifth, 1, (8, 4, 4, 4)),
        _expanding("stage7", False, sixth, 2, (8, 4, 4, 4)),
        _expanding("stage8", False, seventh, 1, (8,)),
    ]
    return _network(name, stem, kernel, first, stages, head)


def _expanding(
    name: str, fused: bool, channels: int, stride: int, expand: tuple[int, ...], kernel: int = 3, **arguments: Any
) -> Stage:
    """A stage with an expansion a layer, ReLU and no attention."""
    block = "fused_inverted_residual" if fused else "inverted_residual"
    shared: dict[str, Any] = {
        "kernel": kernel,
        "expand": expand,
        "attention": "none",
        "activation": "relu",
        **arguments,
    }
    return row(name, block, channels, len(expand), stride, **shared)


def _network(name: str, stem: int, kernel: int, first: int, stages: Sequence[Stage], head: int) -> StagedSpace:
    """A stem and a pointwise convolution of ``first`` channels before the stages, a pointwise head after them."""
    layers = [
        one("stem", "conv_bn_act", stem, 2, kernel=kernel, activation="relu"),
        one("stage1", "conv_bn_act", first, kernel=1, activation="relu"),
        *stages,
        one("head", "conv_bn_act", head, kernel=1, activation="relu"),
    ]
    return StagedSpace(name, layers)


_EDGE = "Gupta and Akin 2020, arXiv:2003.02838"
_EDGE_V2 = "Akin et al. 2022, arXiv:2204.14007"
_v2 = mobilenet_edgetpu_v2
_xs = partial(_v2, "mobilenet_edgetpu_v2_xs", (16, 32, 48, 96, 144, 160, 192), stem=32, kernel=3)
_s = partial(_v2, "mobilenet_edgetpu_v2_s", (24, 48, 64, 128, 160, 192, 256))
_m = partial(_v2, "mobilenet_edgetpu_v2_m", (32, 64, 80, 160, 192, 240, 320), 1344)
_l = partial(_v2, "mobilenet_edgetpu_v2_l", (32, 64, 96, 192, 240, 256, 384), 1408, kernel=7, group_width=128)
_es = partial(efficientnet_edge, "efficientnet_es")
_el = partial(efficientnet_edge, "efficientnet_el", width=1.2, depth=1.4)
# with the padding and the epsilon of the authors' code
_tf = partial(efficientnet_edge, eps=1e-3, padding="same")

EDGE_PRESETS: Mapping[str, Preset] = {
    "efficientnet_es": Preset(_es, _EDGE),
    "efficientnet_em": Preset(partial(efficientnet_edge, "efficientnet_em", depth=1.1), _EDGE, input_size=240),
    "efficientnet_el": Preset(_el, _EDGE, input_size=300),
    # the same networks, published with sparse weights as well
    "efficientnet_es_pruned": Preset(_es, _EDGE),
    "efficientnet_el_pruned": Preset(_el, _EDGE, input_size=300),
    "tf_efficientnet_es": Preset(partial(_tf, "efficientnet_es_tf"), _EDGE),
    "tf_efficientnet_em": Preset(partial(_tf, "efficientnet_em_tf", depth=1.1), _EDGE, input_size=240),
    "tf_efficientnet_el": Preset(partial(_tf, "efficientnet_el_tf", width=1.2, depth=1.4), _EDGE, input_size=300),
    "mobilenet_edgetpu_100": Preset(mobilenet_edgetpu, _EDGE),
    "mobilenet_edgetpu_v2_xs": Preset(_xs, _EDGE_V2),
    "mobilenet_edgetpu_v2_s": Preset(_s, _EDGE_V2),
    "mobilenet_edgetpu_v2_m": Preset(_m, _EDGE_V2),
    "mobilenet_edgetpu_v2_l": Preset(_l, _EDGE_V2),
}
