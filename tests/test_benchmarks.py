"""Benchmarks that compare with published figures run on a small file of the form that they describe."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
    operations = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "none")
    cells = [
        {"arch": f"|{o}~0|+|none~0|none~1|+|skip_connect~0|none~1|{o}~2|", "scores": {"grad_norm": float(-i)}}
        for i, o in enumerate(operations)
    ]
    cells[-1]["scores"] = {}
    of = {"tiny": {"cfg": cfg, "values": dict.fromkeys(figures, 1.0)}}
    data.write_text(json.dumps({"mobilenetv2_like": of, "nas_bench_201": cells}))
    every = run("proxy_values", "--data", data, "--cache", tmp_path, "--workers", 1)
    assert every["nas_bench_201"] == {"grad_norm": {"spearman": pytest.approx(1), "networks": 3, "left_out": 1}}
    found = every["tiny"]
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


def test_proxy_correlation_ranks_and_resumes(tmp_path: Path) -> None:
    operations = ("skip_connect", "nor_conv_1x1", "avg_pool_3x3")
    pairs = [(a, b) for a in operations for b in operations] + [("none", "nor_conv_1x1")]
    cells = [f"|{a}~0|+|{b}~0|none~1|+|skip_connect~0|{b}~1|{a}~2|" for a, b in pairs]
    data, cache = tmp_path / "cells.npz", tmp_path / "cache"
    accuracy = [50.0 + 10 * cell.count("nor_conv") + i / 100 for i, cell in enumerate(cells)]
    np.savez(data, arch_str=cells, all_ops_reachable=np.arange(10) % 4 != 0, made_up=accuracy)
    options = ("--data", data, "--cache", cache, "--accuracy", "made_up", "--workers", 1, "--resamples", 40)
    found = run("proxy_correlation", *options, "--scores", "params,az_nas,default_score")
    assert (found["architectures"], found["reachable_architectures"]) == (10, 7)
    for part in ("all", "reachable"):
        rows = found[part]
        assert set(rows) == {"params", "params_pruned", "az_nas", "az_nas_pruned", "default_score"}
        assert all(-1 <= row["tau"] <= 1 and 0 < row["ndcg"] <= 1 and row["top1_regret"] >= 0 for row in rows.values())
        low, high = found["differences"][part]["default_score"]["interval_95"]
        assert low <= rows["default_score"]["tau"] <= high
    kept = {path: path.read_bytes() for path in cache.iterdir()}
    (path,) = kept
    path.write_bytes(kept[path][:-30])  # cut off in the last line
    again = run("proxy_correlation", *options, "--scores", "params,az_nas")
    for part in ("all", "reachable"):
        for row in (*found[part].values(), *again[part].values()):
            row.pop("ms")
    assert again == found


def published(layer: Layer) -> dict[str, Any]:
    """A layer as the benchmark's file states it."""
    if layer.op == "linear":
        sizes = {"in_features": layer.in_channels, "out_features": layer.out_channels}
        return {"op": "linear", **sizes, "bias": layer.bias, "macs": layer.macs}
    keys = ("in_channels", "out_channels", "kernel", "stride", "groups", "dilation", "bias", "out_size")
    return {"op": "conv", **{key: getattr(layer, key) for key in keys}}


def test_search_regret_of_a_table_that_is_trained_whole(tmp_path: Path) -> None:
    operations = ("skip_connect", "nor_conv_1x1", "avg_pool_3x3", "none")
    cells = [f"|{a}~0|+|none~0|{b}~1|+|skip_connect~0|{b}~1|{a}~2|" for a in operations for b in operations]
    accuracy = [50.0 + 10 * cell.count("nor_conv") + i / 100 for i, cell in enumerate(cells)]
    latency = np.linspace(1, 2, len(cells))[:, None] * [1.0, 2.0]
    data = tmp_path / "cells.npz"
    np.savez(data, arch_str=cells, made_up=accuracy, devices=["slow", "slower"], latency_ms=latency)
    options = ("--data", data, "--accuracy", "made_up", "--device", "slower", "--trainings", "6,16", "--seeds", 2)
    found = run("search_regret", *options, "--strategies", "default,random", "--scored", 20, "--cache", tmp_path)
    assert set(found) == {"default", "random", "oracle"}
    for name in ("default", "random"):
        assert found[name]["16"] == pytest.approx(1)
        assert 0 < found[name]["6"] <= 1
    assert 1 <= found["oracle"]["trainings_for_0.99"] <= 16
