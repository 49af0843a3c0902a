"""Rules of what runs as one kernel, held to the graphs that the runtimes say they run."""

from collections.abc import Callable

import numpy as np
import pytest

from latency_models.device import parse_device
from latency_models.kernel_rules import RULES, KernelRules, gather, rules_of
from latency_models.kernels import executed, is_constant
from latency_models.runtimes import builder, is_installed, kernel_reader
from search_spaces import Classification, Task, get_space
from search_spaces.builder import Builder, Value
from search_spaces.graph import Graph

TASK = Task((3, 32, 32), Classification(10))
LAYERS: dict[str, Callable[[Builder, Value], Value]] = {
    "conv": lambda b, x: b.conv("layer", x, 16, 3, bias=True),
    "depthwise": lambda b, x: b.conv("layer", x, 16, 3, groups=16, bias=True),
    "grouped": lambda b, x: b.conv("layer", x, 16, 3, groups=4, bias=True),
}
ACTIVATIONS = ("relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "silu", "gelu", "tanh")


def ruled(graph: Graph, rules: KernelRules) -> set[frozenset[str]]:
    return {frozenset(item.name for _, item in group) for group in gather(graph, rules)}


def run_by(graph: Graph, runtime: str) -> set[frozenset[str]]:
    if not is_installed(runtime):
        pytest.skip(f"{runtime} is not installed")
    device, read = parse_device(f"local-{runtime}"), kernel_reader(runtime)
    assert read is not None
    return {frozenset(kernel.nodes) for kernel in read(builder(runtime)(graph, None, device), device) if kernel.nodes}


@pytest.mark.parametrize("runtime", RULES)
@pytest.mark.parametrize("family", LAYERS)
@pytest.mark.parametrize("op", ACTIVATIONS)
def test_what_joins_a_layer(runtime: str, family: str, op: str) -> None:
    b = Builder([(16, 8, 8)])
    graph = b.build(b.conv("last", b.op("op", op, LAYERS[family](b, b.inputs[0])), 16, 1, bias=True))
    joined = frozenset({"layer", "op"}) in run_by(graph, runtime)
    assert ((family, op) in rules_of(runtime).joins) == joined


@pytest.mark.parametrize("runtime", RULES)
@pytest.mark.parametrize(("space", "networks"), [("nas_bench_201", 12), ("nasnet", 1)])
def test_the_kernels_of_cells_are_those_that_run(runtime: str, space: str, networks: int) -> None:
    rng, of = np.random.default_rng(7), get_space(space)
    for _ in range(networks):
        graph = of.graph(of.sample(rng), TASK)
        if is_constant(graph):
            continue
        flat = executed(graph)
        found = run_by(flat, runtime)
        folded = {name for kernel in found for name in kernel}  # a convolution that took in a norm may lose its name
        assert {kernel & folded for kernel in ruled(flat, rules_of(runtime))} == found


POOL = {"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1)}


def test_a_sum_is_written_over_what_nobody_reads_any_more() -> None:
    """The pool is read again after the sum, so OpenVINO may not add the convolution to it in its place."""
    b = Builder([(16, 8, 8)])
    pool = b.op("pool", "avg_pool", b.inputs[0], **POOL)
    first = b.op("first", "add", b.conv("layer", b.inputs[0], 16, 3, bias=True), pool)
    second = b.op("second", "add", b.conv("last", first, 16, 3, bias=True), pool)
    graph = b.build(b.op("end", "max_pool", second, **POOL))
    assert ruled(graph, RULES["openvino"]) == {
        frozenset({"pool"}),
        frozenset({"layer"}),
        frozenset({"first"}),
        frozenset({"last", "second"}),
        frozenset({"end"}),
    }
    assert ruled(graph, RULES["onnxruntime"]) == {
        frozenset({"pool"}),
        frozenset({"layer", "first"}),
        frozenset({"last", "second"}),
        frozenset({"end"}),
    }
    for runtime in RULES:
        assert ruled(graph, RULES[runtime]) == run_by(graph, runtime)


def test_ops_that_need_each_other_through_a_layer_are_no_chain() -> None:
    b = Builder([(16, 8, 8)])
    x = b.op("first", "relu", b.inputs[0])
    layer = b.conv("layer", x, 16, 3, bias=True)
    pooled = b.op("pool", "avg_pool", layer, **POOL)
    graph = b.build(b.op("last", "add", x, pooled))
    assert ruled(graph, RULES["openvino"]) == {frozenset({name}) for name in ("first", "layer", "pool", "last")}
    b = Builder([(16, 8, 8)])
    x = b.op("first", "relu", b.inputs[0])
    y = b.op("second", "tanh", b.inputs[0])
    graph = b.build([b.op("last", "add", x, y), b.conv("layer", x, 16, 3, bias=True)])
    assert ruled(graph, RULES["openvino"]) == {frozenset({"first", "second", "last"}), frozenset({"layer"})}
