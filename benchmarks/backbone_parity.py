"""Parameters, MACs and layers of the presets against published networks.

``--data FILE``: JSON ``{name: {"resolution", "classes", "params", "macs", "layers": [...]}}``; a convolution is
``{"op": "conv", "in_channels", "out_channels", "kernel", "stride", "groups", "dilation", "bias", "out_size"}``, a
linear layer ``{"op": "linear", "in_features", "out_features", "bias", "macs"}``; a scalar stands for every axis.
Layers are compared as a multiset.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from search_spaces import PRESETS, get_preset
from search_spaces.graph import Layer


def _axes(value: int | list[int], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def published_key(layer: dict[str, Any]) -> tuple[Any, ...]:
    if layer["op"] == "linear":
        return ("linear", layer["in_features"], layer["out_features"], layer["bias"], layer["macs"])
    axes = len(layer["out_size"])
    return (
        "conv",
        layer["in_channels"],
        layer["out_channels"],
        _axes(layer["kernel"], axes),
        _axes(layer["stride"], axes),
        layer["groups"],
        _axes(layer["dilation"], axes),
        layer["bias"],
        tuple(layer["out_size"]),
    )


def own_key(layer: Layer) -> tuple[Any, ...]:
    if layer.op == "linear":
        return ("linear", layer.in_channels, layer.out_channels, layer.bias, layer.macs)
    return (
        "conv",
        layer.in_channels,
        layer.out_channels,
        layer.kernel,
        layer.stride,
        layer.groups,
        layer.dilation,
        layer.bias,
        layer.out_size,
    )


def compare(name: str, published: dict[str, Any]) -> dict[str, bool]:
    """What agrees between a preset and the published network; ``{"missing": True}`` without a preset."""
    if name not in PRESETS:
        return {"missing": True}
    size = published["resolution"]
    height, width = (size, size) if isinstance(size, int) else size[-2:]
    graph = get_preset(name).graph(input_shape=(3, height, width), classes=published["classes"])
    own = Counter(own_key(layer) for layer in graph.layers())
    return {
        "params": graph.params == published["params"],
        "macs": graph.macs == published["macs"],
        "layers": own == Counter(published_key(layer) for layer in published["layers"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    published = json.loads(arguments.data.read_text())
    results = {name: compare(name, network) for name, network in published.items()}
    console = Console()
    if arguments.json:
        console.print_json(json.dumps(results))
        return
    table = Table("network", "params", "MACs", "layers")
    for name, result in results.items():
        cells = ["-"] * 3 if "missing" in result else ["equal" if v else "DIFFERENT" for v in result.values()]
        table.add_row(name, *cells, style="dim" if "missing" in result else None)
    console.print(table)
    exact = sum(all(r.values()) for r in results.values() if "missing" not in r)
    console.print(f"{exact} of {len(results)} networks equal; - : no preset of that name")


if __name__ == "__main__":
    main()
