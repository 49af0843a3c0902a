"""Memory schedules: against acting them out, against the search's figure, and against TFLite Micro's own arena."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_models.memory import memory_schedule
from latency_models.tflite_arena import measure_arena, predict_arena
from nas.feasibility import ARITHMETIC
from search_spaces import SPACES, Classification, Task, get_preset, get_space
from search_spaces.builder import Builder
from search_spaces.cost import peak_memory_bytes
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph
from search_spaces.schedule import Buffer, greedy, height, plan, scheduled
from search_spaces.tflite_graph import to_tflite
from search_spaces.tflite_schedule import tflite_schedule


def sampled(name: str, seed: int, size: int = 32) -> Graph:
    space: Any = get_space(name)
    return space.graph(space.sample(np.random.default_rng(seed)), Task((3, size, size), Classification(10)))


@pytest.mark.parametrize("name", SPACES)
def test_the_figure_of_the_search_is_that_of_the_deployed_schedule(name: str) -> None:
    for seed in range(4):
        graph = sampled(name, seed, 64)
        deployed, _ = deploy(graph)
        for element in (4, 1):
            schedule = memory_schedule(deployed, element)
            assert schedule.peak_bytes == peak_memory_bytes(graph, element) == peak_memory_bytes(deployed, element)


@pytest.mark.parametrize(
    ("name", "merged"), [("mobilenetv2_100", False), ("resnet18", False), ("repvgg_a0", True), ("mobileone_s0", True)]
)
def test_branches_that_become_one_layer_need_less_than_in_training(name: str, merged: bool) -> None:
    graph = get_preset(name).graph((3, 96, 96), 10)
    deployed, trained = memory_schedule(deploy(graph)[0]).peak_bytes, peak_memory_bytes(graph)
    assert deployed < 0.6 * trained if merged else deployed == trained
    assert ARITHMETIC["peak_memory_bytes"](graph) == deployed  # what a bound of a search is compared with


def chain() -> Graph:
    b = Builder(((4, 2, 2),))
    x = b.op("relu", "relu", b.op("twice", "concat", b.inputs[0], b.inputs[0]))
    y = b.op("gate", "sigmoid", x)
    return b.build([b.op("sum", "add", x, y)])


def test_steps_say_what_is_alive() -> None:
    schedule = memory_schedule(chain(), 1)
    assert schedule.steps == (
        (("twice", "relu"), ("input", "twice"), 48),
        (("gate",), ("twice", "gate"), 64),
        (("sum",), ("twice", "gate", "sum"), 96),
    )
    assert schedule.buffers[0] == Buffer("input", 16, 0, 0)
    assert schedule.peak_bytes == 96


def test_every_node_runs_once_and_in_order() -> None:
    deployed, _ = deploy(sampled("nas_bench_201", 0))
    schedule = memory_schedule(deployed)
    assert [node for step in schedule.steps for node in step.nodes] == [node.name for node in deployed.nodes]


buffers = st.lists(
    st.tuples(st.integers(1, 200), st.integers(0, 8), st.integers(0, 4)).map(
        lambda t: Buffer("", t[0] * 16, t[1], t[1] + t[2])
    ),
    min_size=1,
    max_size=12,
)


@given(buffers)
@settings(max_examples=100, deadline=None)
def test_placed_buffers_that_live_together_do_not_overlap(found: list[Buffer]) -> None:
    for offsets in (greedy(found), plan(found)):
        for i, (a, start) in enumerate(zip(found, offsets, strict=True)):
            for b, other in list(zip(found, offsets, strict=True))[:i]:
                together = a.first <= b.last and b.first <= a.last
                assert not together or start + a.bytes <= other or other + b.bytes <= start
    schedule = scheduled([[str(step)] for step in range(13)], found)
    lowest, highest = schedule.peak_bytes, sum(b.bytes for b in found)
    assert lowest <= height(found, plan(found)) <= height(found, greedy(found)) <= highest


@pytest.mark.parametrize(
    ("name", "size"),
    [("mobilenet_v2_small", 32), ("nas_bench_201", 32), ("mobilenet_v3", 48), ("mixed_mobile", 48)],
)
def test_the_arena_is_what_the_interpreter_allocates(name: str, size: int) -> None:
    pytest.importorskip("tflite_micro", reason="pip install 'hwnas[tflite]'")
    deployed, _ = deploy(sampled(name, 0, size))
    found = {planned: measure_arena(to_tflite(deployed, planned=planned)) for planned in (True, False)}
    for planned, arena in found.items():
        predicted = predict_arena(deployed, planned=planned)
        assert predicted.head_bytes == arena.head_bytes
        assert predicted.tail_bytes == pytest.approx(arena.tail_bytes, rel=0.02)
    assert tflite_schedule(deployed).peak_bytes <= found[True].head_bytes <= found[False].head_bytes


def test_the_interpreter_says_what_it_does_not_take() -> None:
    pytest.importorskip("tflite_micro", reason="pip install 'hwnas[tflite]'")
    deployed, _ = deploy(sampled("mobilenet_v2_small", 0, 32))
    model = to_tflite(deployed)
    assert measure_arena(model).bytes > 30_000
    for broken, limit in ((model, 30_000), (b"nothing", 1 << 20)):
        with pytest.raises(InvalidGraph, match="TFLite Micro does not load the file"):
            measure_arena(broken, limit_bytes=limit)
