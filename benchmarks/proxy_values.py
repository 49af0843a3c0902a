"""Our proxies against values of public reference code.

    python -m benchmarks.proxy_values --data FILE [--workers N] [--cache DIR] [--json]

The relative difference, on networks rebuilt exactly:

``--data FILE``: JSON ``{"mobilenetv2_like": {name: {"cfg": {"stem", "stages_t_c_n_s_k", "head"}, "values": {...}}}}``.
A network is a 3 x 3 stem of stride 2, inverted residuals (expansion t, c channels, n layers, stride s, kernel k)
with ReLU, a pointwise head and a linear layer of 10 classes, built in order of execution after
``torch.manual_seed(0)``. The batch is ``randn(16, 3, 64, 64)`` then ``randint(0, 10)`` of a generator seeded 1000.
``foresight_*`` (zero-cost-nas) use PyTorch's initialisation; ``aznasrepo_*`` (AZ-NAS) Kaiming-normal weights by
fan-in drawn after ``manual_seed(7)``. ``weight_checksum`` is the sum of absolute parameters, ``input_checksum`` the
sum of the batch.

Five of AZ-NAS's values came from weights, noise or signs that were drawn otherwise (``DRAWN``). For these there is also
``standard_deviations``: how far the reference is from the mean of ours over ``DRAWS`` initialisations and batches of
noise, in standard deviations of them.

By rank (Spearman's rho), where the reference drew its own weights and inputs:

``"nas_bench_201": [{"arch": text, "scores": {...}}]``, networks as published, with the operations that no path reaches.
``vkdnw`` is compared with the sum of its two terms; ``intrain`` with ``intrain_gamma``. What is not finite on one side
is left out and counted.
"""

import argparse
import json
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cell_options import add_value_options
from benchmarks.cell_values import ValueStore, values_of
from latency_models.report import spearman
from nas.proxies import PROXIES
from nas.proxies.compute import compute, initialise
from nas.proxies.passes import Passes
from search_spaces import Classification
from search_spaces.blocks import BLOCKS
from search_spaces.builder import Builder
from search_spaces.graph import Graph
from search_spaces.task import classifier
from search_spaces.torch_network import TorchNetwork

COMPARED = {
    "foresight_grad_norm": "grad_norm",
    "foresight_snip": "snip",
    "foresight_synflow": "synflow",
    "foresight_jacob_cov": "jacov",
    "aznasrepo_naswot": "naswot",
    "aznasrepo_jacov": "jacov",
    "aznasrepo_snip": "snip",
    "aznasrepo_synflow": "synflow",
    "foresight_fisher": "fisher",
    "foresight_grasp": "grasp",
    "aznasrepo_zico": "zico",
    "aznasrepo_expressivity": "expressivity",
    "aznasrepo_progressivity": "progressivity",
    "aznasrepo_trainability": "trainability",
    "swap_default_init": "swap",
}
"""Reference value to our proxy. ``synflow`` is compared as a flow, that is exp of ours."""

DRAWN = tuple(f"aznasrepo_{name}" for name in ("snip", "synflow", "expressivity", "progressivity", "trainability"))
DRAWS = 20

RANKED = {
    "expressivity": ("expressivity",),
    "progressivity": ("progressivity",),
    "trainability": ("trainability",),
    "jacov": ("jacov",),
    "naswot": ("naswot",),
    "zico": ("zico",),
    "snip": ("snip",),
    "synflow": ("synflow",),
    "grad_norm": ("grad_norm",),
    "intrain": ("intrain_gamma",),
    "vkdnw": ("vkdnw_dim", "vkdnw_entropy"),
}
"""Our proxy to the reference values whose sum it is compared with by rank."""


def reference_graph(cfg: dict[str, Any]) -> Graph:
    """The network of a configuration, from the blocks of the search spaces."""
    b = Builder([(3, 64, 64)])
    x = b.block("stem", BLOCKS["conv_bn_act"].function, b.inputs[0], cfg["stem"], 3, 2, "relu")
    for stage, (expand, channels, layers, stride, kernel) in enumerate(cfg["stages_t_c_n_s_k"], 1):
        for layer in range(1, layers + 1):
            arguments = (channels, kernel, float(expand), stride if layer == 1 else 1, "none", "relu")
            x = b.block(f"stage{stage}.layer{layer}", BLOCKS["inverted_residual"].function, x, *arguments)
    x = b.block("head", BLOCKS["conv_bn_act"].function, x, cfg["head"], 1, 1, "relu")
    return b.build(Classification(10).attach(b, x, classifier))


def own_values(cfg: dict[str, Any]) -> dict[str, float | None]:
    """Our values under the names of the reference, with the checksums."""
    graph = reference_graph(cfg)
    generator = torch.Generator().manual_seed(1000)
    images = torch.randn(16, 3, 64, 64, generator=generator)
    labels = torch.randint(0, 10, (16,), generator=generator)
    torch.manual_seed(0)
    network = TorchNetwork(graph)
    checksum = sum(float(p.detach().double().abs().sum()) for p in network.parameters())
    again = torch.randn(16, 3, 64, 64, generator=generator), torch.randint(0, 10, (16,), generator=generator)
    both = torch.cat([images, again[0]]), torch.cat([labels, again[1]])
    proxies = tuple(dict.fromkeys(COMPARED.values()))
    passes = {p for name in proxies for p in PROXIES[name].passes}
    values: dict[str, float | None] = {
        "params": graph.params,
        "macs": graph.macs,
        "weight_checksum": checksum,
        "input_checksum": float(images.double().sum()),
    }
    values["aznasrepo_zico"] = compute(["zico"], Passes(network, *both, ["halves"]))["zico"]
    for family in ("foresight", "swap", "aznasrepo"):
        if family == "aznasrepo":
            torch.manual_seed(7)
            initialise(network)
        own = compute(proxies, Passes(network, images, labels, passes, noise=images))
        for reference, proxy in COMPARED.items():
            if reference.startswith(family) and reference not in values:
                value = own[proxy]
                values[reference] = math.exp(value) if proxy == "synflow" and value is not None else value
    return values


def drawn_values(cfg: dict[str, Any]) -> dict[str, list[float]]:
    """Our values of the DRAWN figures, each initialisation with a batch of noise of its own. ``synflow`` as a flow."""
    network = TorchNetwork(reference_graph(cfg))
    proxies = [COMPARED[figure] for figure in DRAWN]
    passes = {p for name in proxies for p in PROXIES[name].passes}
    found: dict[str, list[float]] = {figure: [] for figure in DRAWN}
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        initialise(network)
        images, labels = torch.randn(16, 3, 64, 64), torch.randint(0, 10, (16,))
        own = compute(proxies, Passes(network, images, labels, passes, noise=images))
        for figure in DRAWN:
            if (value := own[COMPARED[figure]]) is not None:
                found[figure].append(math.exp(value) if COMPARED[figure] == "synflow" else value)
    return found


def deviations(reference: float, own: list[float]) -> float | None:
    """How many standard deviations a reference is above the mean of ours; None where ours do not vary."""
    spread = float(np.std(own, ddof=1)) if len(own) > 1 else 0.0
    return (reference - float(np.mean(own))) / spread if spread > 0 else None


def compare(networks: dict[str, Any]) -> dict[str, dict[str, dict[str, float | None]]]:
    """For each network and figure: the reference, ours, and the relative difference."""
    results: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, network in networks.items():
        results[name] = {}
        drawn = drawn_values(network["cfg"])
        for figure, own in own_values(network["cfg"]).items():
            if (reference := network["values"].get(figure)) is None:
                continue
            difference = None if own is None else abs(own - reference) / abs(reference)
            row = {"reference": reference, "own": own, "relative_difference": difference}
            if figure in drawn:
                row["standard_deviations"] = deviations(reference, drawn[figure])
            results[name][figure] = row
    return results


def compare_ranks(cells: list[dict[str, Any]], store: ValueStore, workers: int) -> dict[str, dict[str, float]]:
    """For each proxy that has references: Spearman's rho, of how many networks, and how many were left out."""
    references = {
        proxy: [sum(float(cell["scores"].get(term, math.nan)) for term in terms) for cell in cells]
        for proxy, terms in RANKED.items()
    }
    wanted = tuple(proxy for proxy, values in references.items() if np.isfinite(values).sum() > 1)
    own = values_of([cell["arch"] for cell in cells], wanted, store, pruned=False, workers=workers)
    found = {}
    for proxy in wanted:
        pairs = np.array([[values[proxy] for values in own], references[proxy]], dtype=np.float64)
        finite = pairs[:, np.isfinite(pairs).all(axis=0)]
        rho = spearman(*finite)
        found[proxy] = {"spearman": rho, "networks": finite.shape[1], "left_out": len(cells) - finite.shape[1]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    add_value_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = json.loads(arguments.data.read_text())
    results = compare(data["mobilenetv2_like"])
    cells = data.get("nas_bench_201", [])
    ranks = compare_ranks(cells, ValueStore(arguments.cache, 0), arguments.workers) if cells else {}
    if arguments.json:
        print(json.dumps(results | {"nas_bench_201": ranks}, allow_nan=False))
        return
    console = Console()
    table = Table("figure", *results, title="relative difference to the reference")
    for figure in next(iter(results.values())):
        differences = [result[figure]["relative_difference"] for result in results.values()]
        table.add_row(figure, *["-" if d is None else f"{d:.1e}" for d in differences])
    console.print(table)
    table = Table("figure", *results, title=f"standard deviations of {DRAWS} draws between the reference and our mean")
    for figure in DRAWN:
        apart = [result.get(figure, {}).get("standard_deviations") for result in results.values()]
        table.add_row(figure, *["-" if z is None else f"{z:+.1f}" for z in apart])
    console.print(table)
    if ranks:
        table = Table(
            "proxy", "rho", "networks", "not finite", title="NAS-Bench-201, Spearman's rho with the reference"
        )
        for proxy, row in ranks.items():
            table.add_row(proxy, f"{row['spearman']:.3f}", f"{row['networks']}", f"{row['left_out']}")
        console.print(table)
    console.print(f"{len(results)} networks, one seed, torch {torch.__version__}, {platform.machine()}")


if __name__ == "__main__":
    main()
