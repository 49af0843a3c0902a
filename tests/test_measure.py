"""From raw samples to estimates, references against drift, and what is kept of finished timings."""

import errno
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models.agent import LEAST_VISITS, time_visits
from latency_models.device import parse_device
from latency_models.estimate import Estimate, Source
from latency_models.kernel_store import KernelStore
from latency_models.measure import (
    LocalTimer,
    Timed,
    estimate,
    level_of,
    measure_latency_ms,
    reference_graphs,
    time_workloads,
)
from latency_models.runtimes import RUNTIMES, builder
from latency_models.timing import Effort, Machine, MeasuringStopped, Samples, Workload
from search_spaces.builder import Builder
from search_spaces.errors import CorruptFile, InvalidSpec, StorageFull
from search_spaces.graph import Graph

DEVICE = parse_device("local-onnxruntime")
MACHINE = Machine("a CPU", "1.0")
QUICK = Effort(visits=6, visit_s=0.0002, chunk=3)


def conv(channels: int) -> Graph:
    b = Builder([(channels, 16, 16)])
    return b.build(b.conv("conv", b.inputs[0], channels, 3, bias=True))


class Drifting:
    """A machine whose every chunk is slower than the one before, with a little noise."""

    device = DEVICE

    def __init__(self) -> None:
        self.chunks = 0

    def machine(self) -> Machine:
        return MACHINE

    def time(
        self,
        workloads: Sequence[Workload],
        *,
        effort: Effort,
        seed: int = 0,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[Samples]:
        self.chunks += 1
        rng = np.random.default_rng(seed)
        slower = 1 + 0.2 * self.chunks
        return [[[float(w.graph.macs * slower * x)] for x in rng.lognormal(0, 0.01, effort.visits)] for w in workloads]


def test_an_estimate_is_the_middle_and_outliers_do_not_move_it() -> None:
    rng = np.random.default_rng(0)
    visits = [[x * 1e6] for x in rng.normal(5, 0.05, 200)]
    plain = estimate(visits)
    assert plain.value == pytest.approx(5, rel=0.01)
    assert plain.source == Source.MEASURED
    assert plain.error is not None
    assert 0 < plain.error < 0.05
    visits[:15] = [[5e8]] * 15
    assert estimate(visits).value == pytest.approx(plain.value, rel=0.01)


@pytest.mark.parametrize("samples", [[], [[1.0], []], [[1.0, float("nan")]], [[1.0, -2.0]], [[float("inf")]]])
def test_samples_that_are_no_times_are_refused(samples: list[list[float]]) -> None:
    with pytest.raises(InvalidSpec, match="samples") as caught:
        estimate(samples)
    assert caught.value.field == "samples"


def test_drift_between_chunks_is_taken_out() -> None:
    works = [Workload(conv(c)) for c in (8, 16, 8, 16, 8, 16)]
    found = measure_latency_ms(works, Drifting(), effort=Effort(visits=200, chunk=2))
    assert [found[i].value / found[0].value for i in (2, 4)] == pytest.approx([1, 1], rel=0.02)
    assert [found[i].value / found[1].value for i in (3, 5)] == pytest.approx([1, 1], rel=0.02)
    raw = time_workloads(works, Drifting(), effort=Effort(visits=200, chunk=2))
    assert raw[4].estimate.value / raw[0].estimate.value == pytest.approx(1.6 / 1.2, rel=0.02)
    level = [2 * x for x in level_of(raw)]
    doubled = measure_latency_ms(works, Drifting(), effort=Effort(visits=200, chunk=2), level_ms=level)
    assert doubled[0].value == pytest.approx(2 * found[0].value, rel=0.02)


class Placed(Drifting):
    """Every load moves each network by some 3 %, apart from the drift, until it is loaded again."""

    def time(self, workloads: Sequence[Workload], *, effort: Effort, seed: int = 0, **_: Any) -> list[Samples]:
        moved = np.random.default_rng([seed, 1]).lognormal(0, 0.03, len(workloads))
        found = super().time(workloads, effort=effort, seed=seed)
        return [[[float(x * by)] for (x,) in samples] for samples, by in zip(found, moved, strict=True)]


def test_several_loads_average_what_a_load_moves_and_the_interval_says_how_much_is_left() -> None:
    works, effort = [Workload(conv(8)) for _ in range(60)], Effort(visits=50, chunk=60)
    once = np.log([e.value for e in measure_latency_ms(works, Placed(), effort=effort)])
    estimates = measure_latency_ms(works, Placed(), effort=replace(effort, loads=6))
    found = np.log([e.value for e in estimates])
    assert once.std() == pytest.approx(0.03, rel=0.3)
    assert found.std() == pytest.approx(1.2 * 0.03 / np.sqrt(6), rel=0.3)  # medians vary more than means
    inside = [abs(e.value - np.exp(found.mean())) <= (e.error or 0.0) for e in estimates]
    assert 0.8 < np.mean(inside) < 0.98
    alone = measure_latency_ms(works, Placed(), effort=effort)
    assert np.mean([abs(e.value - np.exp(once.mean())) <= (e.error or 0.0) for e in alone]) < 0.3  # one load hides it


def test_a_network_that_is_loaded_again_is_built_once() -> None:
    built: list[int] = []

    def build(graph: Graph, weights: Any, device: Any, *, samples: Any = None) -> bytes:
        built.append(graph.macs)
        return builder("onnxruntime")(graph, weights, device)

    works = [Workload(conv(c)) for c in (8, 16, 32)]
    timer = LocalTimer(DEVICE, build)
    found = measure_latency_ms(works, timer, effort=replace(QUICK, loads=3, chunk=2))
    assert len(found) == 3
    assert len(built) == 3 + len(reference_graphs(1))


def test_what_takes_long_to_build_is_built_by_several_processes_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def build(graph: Graph, weights: Any, device: Any, **_: Any) -> bytes:
        with (tmp_path / "built").open("a") as log:
            log.write(f"{os.getpid()}\n")
        return builder("onnxruntime")(graph, weights, device)

    monkeypatch.setitem(RUNTIMES, "onnxruntime", RUNTIMES["onnxruntime"]._replace(slow_build=True))
    works = [Workload(conv(c)) for c in (8, 16, 32)]
    timer = LocalTimer(DEVICE, build)
    for _ in range(2):
        measure_latency_ms(works, timer, effort=replace(QUICK, loads=1))
    pids = (tmp_path / "built").read_text().split()
    assert len(pids) == 3 + len(reference_graphs(1))
    if (os.cpu_count() or 1) > 1:
        assert str(os.getpid()) not in pids
    monkeypatch.setattr("latency_models.measure._KEPT_BYTES", 0)
    measure_latency_ms(works[:1], timer, effort=replace(QUICK, loads=1))
    measure_latency_ms(works[1:2], timer, effort=replace(QUICK, loads=1))
    assert len((tmp_path / "built").read_text().split()) == len(pids) + 1  # the others were dropped


def test_larger_networks_take_longer_and_order_is_kept() -> None:
    works = [Workload(conv(c)) for c in (128, 8, 32)]
    found = measure_latency_ms(works, LocalTimer(DEVICE), effort=Effort(visits=20, visit_s=0.001))
    assert np.argsort([e.value for e in found]).tolist() == [1, 2, 0]


def test_measuring_stops_when_asked() -> None:
    with pytest.raises(MeasuringStopped):
        measure_latency_ms([Workload(conv(8))], LocalTimer(DEVICE), effort=QUICK, should_stop=lambda: True)
    calls: list[int] = []
    visits = time_visits([lambda: calls.append(1)], 50, 0.0, should_stop=lambda: len(calls) > 20)
    assert visits is None
    assert len(calls) < 50


def test_every_model_is_visited_as_often_as_wanted_and_slow_ones_less() -> None:
    import time

    samples = time_visits([lambda: None, lambda: time.sleep(0.2)], 30, 0.0001)
    assert samples is not None
    assert len(samples[0]) == 30
    assert len(samples[1]) == LEAST_VISITS
    assert all(visit and min(visit) > 0 for model in samples for visit in model)


@pytest.mark.parametrize("batch", [1, 64, 4096])
def test_references_are_small_at_any_batch(batch: int) -> None:
    assert all(batch * graph.macs < 3e9 for graph in reference_graphs(batch))


def timing(ms: float) -> Timed:
    return Timed(Estimate(ms, 0.1, Source.MEASURED), (1.0, 2.0))


def test_a_store_keeps_what_was_put_and_leaves_out_a_line_that_was_cut_off(tmp_path: Path) -> None:
    store = KernelStore(tmp_path, DEVICE, MACHINE)
    store.put([("a", timing(1.0)), ("b", timing(2.0))])
    assert store.path is not None
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[:-10])
    again = KernelStore(tmp_path, DEVICE, MACHINE)
    assert again.get("a") == timing(1.0)
    assert again.get("b") is None
    again.put([("c", timing(3.0))])
    third = KernelStore(tmp_path, DEVICE, MACHINE)
    assert [third.get(key) for key in "abc"] == [timing(1.0), None, timing(3.0)]
    assert len(KernelStore(tmp_path, DEVICE, Machine("another CPU", "1.0"))) == 0
    assert len(KernelStore(tmp_path, DEVICE, Machine("a CPU", "2.0"))) == 0
    assert len(KernelStore(tmp_path, parse_device("local-onnxruntime-t2"), MACHINE)) == 0


@pytest.mark.parametrize("ms", ["NaN", "-1.0", "null", '"x"'])
def test_a_changed_time_in_a_store_is_left_out(tmp_path: Path, ms: str) -> None:
    store = KernelStore(tmp_path, DEVICE, MACHINE)
    store.put([("a", timing(1.0)), ("b", timing(2.0))])
    assert store.path is not None
    store.path.write_text(store.path.read_text().replace('"ms": 1.0', f'"ms": {ms}'))
    again = KernelStore(tmp_path, DEVICE, MACHINE)
    assert (again.get("a"), again.get("b")) == (None, timing(2.0))


def test_another_file_in_place_of_a_store_is_refused(tmp_path: Path) -> None:
    store = KernelStore(tmp_path, DEVICE, MACHINE)
    store.put([("a", timing(1.0))])
    assert store.path is not None
    lines = store.path.read_text().splitlines()
    store.path.write_text("\n".join([json.dumps({"device": "other"}), *lines[1:]]))
    with pytest.raises(CorruptFile, match="does not hold the timings"):
        KernelStore(tmp_path, DEVICE, MACHINE)


def test_a_full_disk_leaves_a_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = KernelStore(tmp_path, DEVICE, MACHINE)
    store.put([("a", timing(1.0))])
    assert store.path is not None
    before = store.path.read_bytes()
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(StorageFull, match="no space left"):
        store.put([("b", timing(2.0))])
    monkeypatch.undo()
    assert store.path.read_bytes() == before
    assert store.get("b") is None
