"""Benchmarks that compare with published figures run on a small file of the form that they describe."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from search_spaces import get_preset
from search_spaces.graph import Layer


def run(name: str, *options: object) -> dict[str, Any]:
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, options), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_proxy_values(tmp_path: Path) -> None:
    cfg = {"stem": 8, "stages_t_c_n_s_k": [[1, 8, 1, 1, 3], [4, 16, 2, 2, 5]], "head": 32}
    figures = (
        "params", "macs", "weight_checksum", "input_checksum", "foresight_grad_norm", "foresight_snip",
        "foresight_synflow", "foresight_jacob_cov", "foresight_fisher", "foresight_grasp", "swap_default_init",
        "aznasrepo_naswot", "aznasrepo_jacov", "aznasrepo_snip", "aznasrepo_synflow", "aznasrepo_zico",
        "aznasrepo_expressivity", "aznasrepo_progressivity", "aznasrepo_trainability",
    )  # fmt: skip
    data = tmp_path / "proxies.json"
    data.write_text(json.dumps({"mobilenetv2_like": {"tiny": {"cfg": cfg, "values": dict.fromkeys(figures, 1.0)}}}))
    found = run("proxy_values", "--data", data)["tiny"]
    assert set(figures) <= set(found)
    own = {figure: row["own"] for figure, row in found.items()}
    assert all(value is not None for value in own.values())
    # by hand: stem, (depthwise, project), (expand, depthwise, project) twice, head, classifier; norms have 2 a channel
    layers = 3 * 8 * 9 + (8 * 9 + 8 * 8) + (8 * 32 + 32 * 25 + 32 * 16) + (16 * 64 + 64 * 25 + 64 * 16) + 16 * 32 + 330
    norms = 2 * (8 + 8 + 8 + 32 + 32 + 16 + 64 + 64 + 16 + 32)
    assert own["params"] == layers + norms
    assert found["params"]["relative_difference"] == own["params"] - 1


def test_backbone_parity_sees_every_layer(tmp_path: Path) -> None:
    graph = get_preset("mobilenetv2_035").graph(input_shape=(3, 96, 96), classes=10)
    network = {
        "resolution": 96, "classes": 10, "params": graph.params, "macs": graph.macs,
        "layers": [published(layer) for layer in graph.layers()],
    }  # fmt: skip
    data = tmp_path / "backbones.json"
    data.write_text(json.dumps({"mobilenetv2_035": network}))
    assert all(run("backbone_parity", "--data", data)["mobilenetv2_035"].values())
    network["layers"][3]["groups"] += 1
    data.write_text(json.dumps({"mobilenetv2_035": network}))
    assert not all(run("backbone_parity", "--data", data)["mobilenetv2_035"].values())


def published(layer: Layer) -> dict[str, Any]:
    """A layer as the benchmark's file states it."""
    if layer.op == "linear":
        sizes = {"in_features": layer.in_channels, "out_features": layer.out_channels}
        return {"op": "linear", **sizes, "bias": layer.bias, "macs": layer.macs}
    keys = ("in_channels", "out_channels", "kernel", "stride", "groups", "dilation", "bias", "out_size")
    return {"op": "conv", **{key: getattr(layer, key) for key in keys}}
