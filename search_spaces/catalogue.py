"""The named spaces and known networks, and how they are found by name."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.errors import InvalidSpec, UnknownName, nearest
from search_spaces.nas_bench_201 import NasBench201
from search_spaces.preset import Preset
from search_spaces.presets import PRESETS
from search_spaces.spaces.convnext import convnext
from search_spaces.spaces.efficientnet import efficientnet
from search_spaces.spaces.fbnet import fbnet
from search_spaces.spaces.ghostnet import ghostnet_v2
from search_spaces.spaces.inception import inception
from search_spaces.spaces.metaformer import metaformer
from search_spaces.spaces.mixed_mobile import mixed_mobile
from search_spaces.spaces.mnasnet import mnasnet
from search_spaces.spaces.mobilenet import mobilenet_v2, mobilenet_v2_small
from search_spaces.spaces.mobilenet_v3 import mobilenet_v3
from search_spaces.spaces.nasnet import nasnet
from search_spaces.spaces.vovnet import vovnet


class SpaceEntry(NamedTuple):
    """A named space: how it is made, what it is, and the paper."""

    make: Callable[..., Any]
    description: str
    paper: str


SPACES: Mapping[str, SpaceEntry] = {
    "mobilenet_v2": SpaceEntry(
        mobilenet_v2,
        "inverted residuals: resolution, width, depth, kernel, expansion; 96 to 224 pixels",
        "Sandler et al. 2018, arXiv:1801.04381",
    ),
    "mobilenet_v2_small": SpaceEntry(
        mobilenet_v2_small,
        "mobilenet_v2 without its early strides, for inputs of 8 to 32 pixels",
        "Sandler et al. 2018, arXiv:1801.04381",
    ),
    "mobilenet_v3": SpaceEntry(
        mobilenet_v3,
        "MobileNetV3 as in once-for-all: resolution, width, and depth, kernel, expansion; 128 to 224 pixels",
        "Cai et al. 2020, arXiv:1908.09791",
    ),
    "mnasnet": SpaceEntry(
        mnasnet,
        "MnasNet: width, and kernel, expansion, attention, depth, filters of each stage",
        "Tan et al. 2019, arXiv:1807.11626",
    ),
    "efficientnet": SpaceEntry(
        efficientnet,
        "EfficientNet: resolution, width, and block, kernel, expansion, depth of each stage; 128 to 380 pixels",
        "Tan and Le 2019, arXiv:1905.11946",
    ),
    "fbnet": SpaceEntry(
        fbnet,
        "22 layers of nine blocks: inverted residuals by kernel, expansion and groups, or none",
        "Wu et al. 2019, arXiv:1812.03443",
    ),
    "mixed_mobile": SpaceEntry(
        mixed_mobile,
        "every layer picks its block among ten: separable, inverted, fused, mixed kernels, Ghost, universal, star, ...",
        "Wu et al. 2019, arXiv:1812.03443",
    ),
    "vovnet": SpaceEntry(
        vovnet,
        "one-shot aggregation: depth, widths, layers a block, separable or full convolutions, identity, attention",
        "Lee et al. 2019, arXiv:1904.09730",
    ),
    "inception": SpaceEntry(
        inception,
        "Inception-v3, v4 and Inception-ResNet cells: stem, cells, reductions, depth, width; 128 to 299 pixels",
        "Szegedy et al. 2017, arXiv:1602.07261",
    ),
    "nas_bench_201": SpaceEntry(
        NasBench201,
        "cells of four nodes, six edges and five operations",
        "Dong and Yang 2020, arXiv:2001.00326",
    ),
    "nasnet": SpaceEntry(
        nasnet,
        "a normal and a reduction cell of five nodes and thirteen operations, in a small stacking",
        "Zoph et al. 2018, arXiv:1707.07012",
    ),
    "ghostnet_v2": SpaceEntry(
        ghostnet_v2,
        "ghost bottlenecks: resolution, width, depth, expansion, kernels, both kinds of attention; 96 to 224 pixels",
        "Tang et al. 2022, arXiv:2211.12905",
    ),
    "convnext": SpaceEntry(
        convnext,
        "ConvNeXt V1 and V2 blocks by layer: resolution, width, depth, kernel, MLP ratio; 96 to 224 pixels",
        "Liu et al. 2022, arXiv:2201.03545",
    ),
    "metaformer": SpaceEntry(
        metaformer,
        "no mixing, pooling, separable convolution or attention by layer; width, depth, MLP ratio",
        "Yu et al. 2022, arXiv:2210.13452",
    ),
}
"""Every search space by name."""

LARGEST = 1024
"""Numbers in the name of a space come from users: nothing that they write may take for ever to build."""


def get_space(name: str, **options: Any) -> SearchSpace:
    """The space of that name with options of its function, made once per process.

    Options may stand in the name, as they do in ``space.name``: ``get_space("vovnet", early_strides=False)`` is
    ``get_space("vovnet[early_strides=false]")``, its variant for small images. Raises: UnknownName with the
    nearest known name; InvalidSpec where an option is unknown or cannot be read.
    """
    base, given = _parsed(name)
    return _made(base, tuple(sorted({**given, **options}.items())))


def _parsed(name: str) -> tuple[str, dict[str, Any]]:
    """A name and the options in brackets behind it."""
    base, bracket, rest = name.partition("[")
    if base not in SPACES:
        raise UnknownName(f"unknown search space {base!r}", hint=nearest(base, list(SPACES)), field="space")
    options: dict[str, Any] = {}
    for part in re.split(r",(?![^\[]*\])", rest.removesuffix("]")) if bracket else ():
        key, _, text = part.partition("=")
        try:
            value = json.loads(text)
        except ValueError:
            raise InvalidSpec(
                f"option {part!r} of space {base} cannot be read",
                hint=f"{base}[early_strides=false], values as in JSON",
                field="space",
            ) from None
        values = value if isinstance(value, list) else [value]
        if len(text) > 200 or any(
            _kind(v) in ("list", "other") or (_kind(v) == "number" and v > LARGEST) for v in values
        ):
            raise InvalidSpec(
                f"option {part!r} of space {base} is out of range",
                hint=f"names, true or false, numbers up to {LARGEST}, and lists of these",
                field="space",
            )
        options[key] = tuple(value) if isinstance(value, list) else value
    return base, options


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "name"
    return "list" if isinstance(value, tuple | list) else "other"


@lru_cache(maxsize=64)
def _made(base: str, options: tuple[tuple[str, Any], ...]) -> SearchSpace:
    make = SPACES[base].make
    parameters = {k: p for k, p in inspect.signature(make).parameters.items() if k != "name"}
    defaults = {k: p.default for k, p in parameters.items()}
    for key, value in options:
        if key not in defaults:
            hint = nearest(key, list(defaults)) if defaults else "it takes none"
            raise InvalidSpec(f"space {base} has no option {key!r}", hint=hint, field="space")
        listed = defaults[key] is None or "tuple" in str(parameters[key].annotation)
        if _kind(value) not in (_kind(defaults[key]), "list" if listed else ""):
            raise InvalidSpec(f"{key}={value!r} of space {base}", hint=f"a value like {defaults[key]!r}", field="space")
    try:
        space: SearchSpace = make(**dict(options))
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise InvalidSpec(
            f"space {base} cannot be made with {dict(options)}: {error}", hint=f"defaults: {defaults}", field="space"
        ) from None
    if options:
        texts = [f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in options]
        space.name = f"{base}[{','.join(texts)}]"
    return space


def presets_in(name: str) -> list[str]:
    """The presets that are points of the space of that name (or of the space that it is a variant of), by name."""
    entry = SPACES.get(name.partition("[")[0])
    return [] if entry is None else [preset for preset, known in PRESETS.items() if known.space is entry.make]


def preset_point(name: str, space: SearchSpace) -> Architecture:
    """A preset of ``presets_in(space.name)`` as a point of that space.

    A resolution that the space does not offer is replaced by its largest. Raises: InvalidArchitecture where a
    variant of the space has not the other options of the network.
    """
    choices = dict(PRESETS[name].choices)
    if choices.get("resolution") not in space.input_sizes:
        choices.pop("resolution", None)
        choices |= {"resolution": max(space.input_sizes)} if space.input_sizes else {}
    return space.from_dict(choices)


def get_preset(name: str) -> Preset:
    """The known network of that name. Raises: UnknownName with the nearest known name."""
    if name not in PRESETS:
        raise UnknownName(f"unknown preset {name!r}", hint=nearest(name, list(PRESETS)), field="preset")
    return PRESETS[name]
