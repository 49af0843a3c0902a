"""Nested costs equal flat ones, and both equal the schedule acted out."""

import numpy as np
import pytest
from support_graphs import TASK, flat, simulated_peak_elements

from search_spaces import SPACES, get_space
from search_spaces.builder import Builder, Value
from search_spaces.cost import peak_memory_bytes, weight_bytes
from search_spaces.deploy import deploy


@pytest.mark.parametrize("name", SPACES)
def test_nested_equals_flat_on_random_architectures(name: str) -> None:
    space = get_space(name)
    rng = np.random.default_rng(0)
    for arch in [*space.cover(), *(space.sample(rng) for _ in range(150))]:
        nested = space.graph(arch, TASK)
        level = flat(nested)
        assert (nested.params, nested.macs) == (level.params, level.macs)
        assert peak_memory_bytes(nested) == peak_memory_bytes(level) == 4 * simulated_peak_elements(nested)
        assert weight_bytes(nested) == weight_bytes(level)


@pytest.mark.parametrize("options", [{"prune": False}, {"cells": 1}])
def test_nested_equals_flat_with_dead_and_multiple_readers(options: dict[str, object]) -> None:
    space = get_space("nas_bench_201", **options)
    rng = np.random.default_rng(1)
    for _ in range(150):
        nested = space.graph(space.sample(rng), TASK)
        assert peak_memory_bytes(nested) == peak_memory_bytes(flat(nested)) == 4 * simulated_peak_elements(nested)


def tangle(b: Builder, x: Value, y: Value, seed: int) -> tuple[Value, ...]:
    """A random block: in-place ops, several readers, several outputs, inputs handed through, dead ends."""
    rng = np.random.default_rng(seed)
    values = [x, y]
    for index in range(int(rng.integers(1, 6))):
        pick = [values[i] for i in rng.integers(len(values), size=2)]
        kind = rng.integers(4)
        if kind == 0:
            values.append(b.op(f"n{index}", "relu", pick[0]))
        elif kind == 1:
            values.append(b.op(f"n{index}", "add", *pick))
        elif kind == 2:
            values.append(b.conv(f"n{index}", pick[0], 4, 1))
        else:
            inner = b.block(f"n{index}", tangle, (pick[0], pick[1]), seed + 1) if seed % 7 < 3 else (pick[0],)
            values.extend(inner)
    count = int(rng.integers(1, 4))
    return tuple(values[i] for i in rng.integers(len(values), size=count))


@pytest.mark.parametrize("seed", range(300))
def test_tangled_blocks_compose_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    b = Builder([(4, 4, 4), (4, 4, 4)])
    values = list(b.inputs)
    for index in range(4):
        pick = tuple(values[i] for i in rng.integers(len(values), size=2))
        values.extend(b.block(f"block{index}", tangle, pick, int(rng.integers(50))))
        if rng.random() < 0.5:
            values.append(b.op(f"act{index}", "relu", values[int(rng.integers(len(values)))]))
    nested = b.build(b.op("sum", "add", *values[-3:]))
    assert peak_memory_bytes(nested) == peak_memory_bytes(flat(nested)) == 4 * simulated_peak_elements(nested)
    deployed, _ = deploy(nested)
    assert peak_memory_bytes(deployed) == peak_memory_bytes(flat(deployed))


def test_peak_by_hand() -> None:
    b = Builder([(2, 4, 4)])
    x = b.conv("a", b.inputs[0], 8, 1)  # 32 in + 128 out
    y = b.op("b", "relu", x)  # in place: 128
    z = b.conv("c", y, 4, 1)  # 128 + 64, the largest step
    graph = b.build(b.op("d", "add", z, z))  # 64 + 64
    assert peak_memory_bytes(graph) == 4 * 192
    assert peak_memory_bytes(graph, 1) == 192


def test_an_activation_read_by_two_is_not_overwritten() -> None:
    b = Builder([(4, 4, 4)])
    x = b.conv("a", b.inputs[0], 4, 1)
    y = b.op("b", "relu", x)
    graph = b.build(b.op("c", "add", x, y))  # x, y and the sum: 3 x 64
    assert peak_memory_bytes(graph) == 4 * 192
