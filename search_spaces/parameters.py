"""The vocabulary of block parameters: what a user may set each of them to."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_type_hints

from search_spaces.blocks import BLOCKS
from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import PADDINGS
from search_spaces.blocks.downsample import DOWNSAMPLES
from search_spaces.blocks.emo import MIXINGS
from search_spaces.blocks.ghost import GHOST_ATTENTIONS
from search_spaces.blocks.inception_cells import CELLS
from search_spaces.blocks.metaformer import MIXERS
from search_spaces.blocks.mixed_kernels import MIXED_ATTENTIONS
from search_spaces.blocks.norm import NORMS
from search_spaces.blocks.one_shot_aggregation import CONVOLUTIONS
from search_spaces.blocks.partial_conv import PARTIAL_MIXERS
from search_spaces.blocks.residual import SHORTCUTS, STEM_POOLS
from search_spaces.errors import nearest
from search_spaces.ops import ACTIVATIONS as ACTIVATION_OPS

ACTIVATIONS = (*ACTIVATION_OPS, "none")


class Domain(NamedTuple):
    """What a value may be: a whole number or a number from ``low`` to ``high``, a flag, or one of ``names``.

    ``above``: ``low`` itself is not allowed. ``odd``: only odd numbers are, and 0 where it is the lowest.
    """

    kind: Literal["whole", "number", "flag", "name"]
    low: float = 0
    high: float = 0
    above: bool = False
    odd: bool = False
    names: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What is allowed, in words."""
        if self.kind == "flag":
            return "true or false"
        if self.kind == "name":
            return f"one of {', '.join(name or repr(name) for name in self.names)}"
        if self.odd:
            return f"{'' if self.low else '0 or '}an odd whole number up to {self.high:g}"
        what = "a whole number" if self.kind == "whole" else "a number"
        return f"{what} {f'above {self.low:g}, at most' if self.above else f'from {self.low:g} to'} {self.high:,g}"

    def allows(self, value: Any) -> bool:
        """Whether a value has the type and lies in the bounds; ``true`` is no number, 3.0 is not whole."""
        if self.kind == "flag":
            return isinstance(value, bool)
        if self.kind == "name":
            return isinstance(value, str) and value in self.names
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "whole" else int | float):
            return False
        if not self.low <= value <= self.high or (self.above and value == self.low):  # false for NaN too
            return False
        return not self.odd or value % 2 == 1 or value == 0

    def hint(self, value: Any) -> str:
        """What would be right in place of a value, with the nearest name."""
        if self.kind == "name" and isinstance(value, str):
            return nearest(value, list(self.names))
        return self.allowed


def _whole(low: int, high: int) -> Domain:
    return Domain("whole", low, high)


def _number(high: float, low: float = 0, *, above: bool = True) -> Domain:
    return Domain("number", low, high, above)


def _odd(high: int, low: int = 1) -> Domain:
    return Domain("whole", low, high, odd=True)


def _name(*names: str) -> Domain:
    return Domain("name", names=names)


_FLAG = Domain("flag")
_CHANNELS = 65_536

PARAMETERS: Mapping[str, Domain] = {
    # windows
    "kernel": _odd(31),
    "universal_inverted_bottleneck.kernel": _odd(31, 0),
    "start_kernel": _odd(31, 0),
    "cheap_kernel": _odd(31),
    "band": _odd(31),
    "window": _odd(31),
    "inverted_residual_attention.window": _whole(1, 64),
    "pool": _odd(31),
    "simple_layer.pool": _FLAG,
    "small": _odd(15),
    "taps": _whole(1, 961),
    "reach": _whole(1, 15),
    "kv_stride": _whole(1, 16),
    "kernels": _whole(1, 8),
    "dilation": _whole(1, 8),
    "padding": _name(*PADDINGS),
    "patch": _whole(1, 32),
    "block_size": _whole(1, 64),
    "halo": _whole(0, 32),
    # widths
    "expand": _number(32),
    "mlp_ratio": _number(16),
    "qk_ratio": _number(4),
    "ratio": _number(16),
    "reduction": _number(64),
    "inner": _whole(1, _CHANNELS),
    "reduced": _whole(1, _CHANNELS),
    "divisor": _whole(1, 64),
    "narrowing": _whole(1, 16),
    "se_ratio": _number(1, above=False),
    "key_channels": _whole(1, 1024),
    "head_channels": _whole(1, 1024),
    "scale": _number(1),
    # groups of channels
    "groups": _whole(1, _CHANNELS),
    "expand_groups": _whole(1, 64),
    "project_groups": _whole(1, 64),
    "group_width": _whole(0, _CHANNELS),
    "divisions": _whole(1, 64),
    "subspaces": _whole(1, 64),
    "sharing": _whole(1, _CHANNELS),
    "scales": _whole(2, 16),
    "heads": _whole(1, 64),
    "head_dim": _whole(1, 1024),
    # parts in a row
    "layers": _whole(1, 32),
    "levels": _whole(1, 8),
    "branches": _whole(1, 8),
    "streams": _whole(1, 8),
    "widen": _whole(1, 32),
    # parts by name
    "activation": _name(*ACTIVATIONS),
    "depthwise_activation": _name(*ACTIVATIONS),
    "gate": _name("sigmoid", "hard_sigmoid"),
    "attention": _name(*ATTENTIONS),
    "ghost_bottleneck.attention": _name(*GHOST_ATTENTIONS),
    "mixed_inverted_residual.attention": _name(*MIXED_ATTENTIONS),
    "norm": _name(*NORMS),
    "first_norm": _name("", *NORMS),
    "sum_norm": _name(*NORMS),
    "downsample_norm": _name(*NORMS),
    "norm_place": _name("before", "after", "none"),
    "shortcut": _name(*SHORTCUTS),
    "downsample": _name(*DOWNSAMPLES),
    "convolution": _name(*CONVOLUTIONS),
    "form": _name("single", "deep", "tiered"),
    "resnet_stem.pool": _name(*STEM_POOLS),
    "position": _name("none", "fourier"),
    "attention_bottleneck.mixer": _name("conv", "halo", "global"),
    "attention_inverted_bottleneck.mixer": _name("conv", "halo", "global"),
    "metaformer_block.mixer": _name(*MIXERS),
    "partial_conv_block.mixer": _name(*PARTIAL_MIXERS),
    "lsnet_block.mixer": _name("large_small", "attention", "depthwise"),
    "mixing": _name(*MIXINGS),
    "cell": _name(*CELLS),
    "inception_residual.cell": _name("resnet_a", "resnet_b", "resnet_c"),
    "between": _name("none", "norm", "activation"),
    "kind": _name("avg_pool", "max_pool"),
    # numbers of a norm or a branch
    "eps": _number(0.1),
    "layer_scale": _number(1, above=False),
    "drop_path": _number(0.9, above=False),
    "pooled_head.mlp_ratio": _number(16, above=False),
    # parts that may be left out
    "full": _FLAG,
    "residual": _FLAG,
    "identity": _FLAG,
    "attended": _FLAG,
    "bias": _FLAG,
    "dfc": _FLAG,
    "linear": _FLAG,
    "tiered": _FLAG,
    "early_stride": _FLAG,
    "strided_conv": _FLAG,
    "spatial": _FLAG,
    "opened": _FLAG,
    "ended": _FLAG,
    "aligned": _FLAG,
    "bare": _FLAG,
    "norm_last": _FLAG,
    "norm_first": _FLAG,
    "mid_norm": _FLAG,
    "inner_norm": _FLAG,
    "response_norm": _FLAG,
    "residual_scale": _FLAG,
}
"""Every parameter of a block by its name, or by ``BLOCK.NAME`` where it means something else in one block.

What the stage sets, ``out_channels`` and ``stride``, is not here. A number is whole where the block wants it whole.
"""

SET_BY_STAGE = ("out_channels", "stride")


class BlockParameter(NamedTuple):
    """A parameter of a block: its domain, and its default (``inspect.Parameter.empty`` where it must be given)."""

    domain: Domain
    default: Any

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


@lru_cache(maxsize=512)
def block_parameters(block: str) -> Mapping[str, BlockParameter]:
    """The parameters of a block that a user sets, in the block's order."""
    hints = get_type_hints(BLOCKS[block].function)
    found = {}
    for name in arguments(block):
        domain = PARAMETERS.get(f"{block}.{name}") or PARAMETERS.get(name)
        if name not in SET_BY_STAGE and domain is not None:
            if domain.kind == "number" and hints[name] is int:
                domain = domain._replace(kind="whole")
            found[name] = BlockParameter(domain, arguments(block)[name])
    return found


@lru_cache(maxsize=512)
def arguments(block: str) -> Mapping[str, Any]:
    """The arguments of a block after its input, with their defaults."""
    signature = inspect.signature(BLOCKS[block].function).parameters
    return {name: parameter.default for name, parameter in list(signature.items())[2:]}
