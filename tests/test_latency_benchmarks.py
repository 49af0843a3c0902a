"""The latency benchmarks: which networks are tried, what their figures mean, and a small run that resumes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.latency_accuracy import seed_of
from benchmarks.latency_accuracy_figures import baseline, fit_relative, judge
from benchmarks.latency_accuracy_networks import beyond_the_ends, choose_by_range, draw_architectures
from benchmarks.latency_accuracy_run import Job, Timings, mean_of, read_timings, time_apart
from latency_models.device import parse_device
from latency_models.timing import Effort, Workload
from search_spaces import Classification, Task, get_space
from search_spaces.deploy import deploy
from search_spaces.errors import NasError, SpaceExhausted
from search_spaces.graph import Graph


def test_chosen_networks_cover_the_range_evenly_and_were_never_seen() -> None:
    # many of middling size, few at the ends, as random architectures are
    predicted = np.exp(np.random.default_rng(0).normal(2.0, 0.5, 2000))
    order = np.argsort(predicted)
    seen = {str(i) for i in (order[0], order[-1], *order[990:1010])}
    picks = choose_by_range(predicted.tolist(), 40, str, seen)
    logs = np.log(predicted[picks])
    assert len(set(picks)) == 40
    assert not seen & {str(i) for i in picks}
    assert logs.tolist() == sorted(logs)
    span = np.ptp(np.log(predicted))
    assert np.ptp(logs) > 0.8 * span
    counts, _ = np.histogram(logs, bins=4, range=(logs[0], logs[-1]))
    assert counts.min() >= 6  # by chance the outer quarters would have one or two


def test_networks_that_are_equal_are_tried_once() -> None:
    predicted = [1.0, 1.0, 2.0, 2.0, 4.0, 4.0]
    picks = choose_by_range(predicted, 3, lambda i: str(predicted[i]), ())
    assert [predicted[i] for i in picks] == [1.0, 2.0, 4.0]
    with pytest.raises(SpaceExhausted, match="only 2 of 3"):
        choose_by_range(predicted, 3, lambda i: str(predicted[i]), {"4.0"})


def test_draws_are_distinct_and_mutations_go_beyond_them() -> None:
    space, rng = get_space("mobilenet_v2_small"), np.random.default_rng(0)
    drawn = draw_architectures(space, rng, 60)
    size = {arch: sum(space.encode(arch).tolist()) for arch in drawn}
    more = beyond_the_ends(space, rng, drawn, list(size.values()), 60)
    assert len(set(drawn)) == len(drawn)
    assert len(set(more)) == len(more)
    assert not set(more) & set(drawn)
    assert max(sum(space.encode(arch).tolist()) for arch in more) > max(size.values())


def test_test_seed_follows_from_profile_and_seed() -> None:
    seeds = {seed_of(sha, seed) for sha in ("aa", "ab") for seed in (0, 1)}
    assert len(seeds) == 4
    assert seed_of("aa", 0) in seeds


def judged(first: list[float], second: list[float], predicted: list[float] | None = None) -> dict[str, Any]:
    value = np.array(predicted or first)
    return judge(value, 0.03 * value, np.array(first), np.array(second))


def test_figures_by_hand() -> None:
    found = judged([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [1.02, 2.08, 3.24, 4.8])
    assert found["within_5"] == 0.5
    assert found["within_10"] == 0.75
    assert found["coverage_90"] == 0.25
    assert found["median_bias"] == pytest.approx(0.06)
    assert found["goal_within_5"] == 0.99
    assert found["valid"] is True
    assert found["passed"] is False


def test_a_run_that_does_not_repeat_is_invalid_and_never_passed() -> None:
    first = [float(i) for i in range(1, 101)]
    second = [1.06 * x if i < 6 else 1.04 * x for i, x in enumerate(first)]
    found = judged(first, second)
    assert found["within_5"] == 1.0
    assert found["repeatability_within_5"] == 0.94
    assert (found["valid"], found["passed"]) == (False, False)
    found = judged(first, [first[0] * 1.04, *second[1:]])
    assert found["repeatability_within_5"] == 0.95
    assert (found["valid"], found["passed"], found["goal_within_5"]) == (True, True, 0.95)


def test_baseline_finds_the_line_despite_outliers() -> None:
    rng = np.random.default_rng(0)
    rows = np.stack([np.ones(60), rng.uniform(10, 500, 60)], axis=1)
    true = rows @ np.array([0.5, 0.02])
    disturbed = true * np.where(np.arange(60) % 10 == 0, 3.0, 1.0)
    assert fit_relative(rows, disturbed) == pytest.approx([0.5, 0.02], rel=0.02)
    found = baseline(rows[:40], disturbed[:40], rows[40:], true[40:])
    assert found["within_5"] == 1.0
    assert found["spearman"] == pytest.approx(1.0)
    bent = baseline(rows[:40, 1:], true[:40], rows[40:, 1:], true[40:])
    assert bent["mean_error"] > found["mean_error"]


JOB = Job("nas_bench_201", "local-onnxruntime", (3, 8, 8), 10, (), (), Effort(visits=2), 0)


def test_the_timing_process_says_what_was_wrong(tmp_path: Path) -> None:
    from dataclasses import replace

    job = replace(JOB, architectures=("no cell",), copies=(1,))
    with pytest.raises(NasError, match="ended with 1") as raised:
        time_apart(job, tmp_path, "first", lambda: None)
    assert "no cell" in raised.value.hint
    assert read_timings(job, tmp_path, "first") is None


SMALL = (
    "--space", "mobilenet_v2_small", "--networks", "6", "--minutes", "0.04", "--gap-minutes", "0", "--visits", "4",
    "--rounds", "2", "--seed", "3", "--json",
)  # fmt: skip


def test_a_timing_is_the_middle_of_its_rounds_without_their_drift() -> None:
    true = np.exp(np.linspace(0, 2, 9))
    levels = np.array([0.9, 1.2, 1.0, 1.1, 1.3])
    ms = np.outer(levels, true)
    ms[1, 0] *= 1.3
    ms[3, 4] *= 0.7
    found = mean_of([Timings(10.0 * i, 10.0 * i + 5, tuple(row.tolist())) for i, row in enumerate(ms)])
    assert (found.started, found.ended) == (0.0, 45.0)
    assert np.divide(found.ms, true) == pytest.approx(np.full(9, np.exp(np.log(levels).mean())), rel=0.02)


def small_network() -> Graph:
    space, task = get_space("mobilenet_v2_small"), Task((1, 8, 8), Classification(10))
    return deploy(space.graph(space.smallest(), task))[0]


def test_only_what_takes_long_to_build_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import benchmarks.latency_accuracy_files as files

    device, work = parse_device("local-onnxruntime"), Workload(small_network())
    effort = Effort(visits=2, visit_s=0.0, chunk=1)
    files.timer_of(device, tmp_path / "files").time([work], effort=effort)
    assert not (tmp_path / "files").exists()
    monkeypatch.setattr(files, "LONG_S", 0.0)
    files.timer_of(device, tmp_path / "files").time([work], effort=effort)
    (kept,) = (tmp_path / "files").iterdir()
    monkeypatch.setattr(files, "builder", lambda runtime: None)  # nothing is built again
    files.timer_of(device, tmp_path / "files").time([work], effort=effort)
    assert [path.name for path in (tmp_path / "files").iterdir()] == [kept.name]


def run(cache: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.latency_accuracy", *SMALL, "--cache", str(cache), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    cache = tmp_path_factory.mktemp("accuracy")
    done = run(cache)
    assert done.returncode == 0, done.stderr
    return cache, json.loads(done.stdout)


def test_small_run_prints_one_object_with_every_figure(finished: tuple[Path, dict[str, Any]]) -> None:
    found = finished[1]
    shares = (
        "within_5", "within_10", "within_5_raw", "repeatability_within_5", "repeatability_within_5_raw", "coverage_90",
        "goal_within_5",
    )  # fmt: skip
    assert all(0 <= found[key] <= 1 for key in shares)
    assert -1 <= found["spearman"] <= 1
    assert 0 <= found["mean_error"] <= found["p95_error"]
    assert found["networks"] == len(found["rows"]) == 6
    assert found["valid"] is (found["repeatability_within_5"] >= 0.95)
    assert found["test_seed"] == seed_of(found["profile"]["sha256"], 3)
    assert found["gap_minutes"] >= 0
    assert {"flops_linear", "block_sum"} == set(found["baselines"])
    for figures in found["baselines"].values():
        assert set(figures) == {"within_5", "within_10", "mean_error", "spearman"}
    assert found["profile"]["units"] > 0
    assert found["machine"]["runtime"] == "onnxruntime"
    assert found["machine"]["precision"] == "fp32"
    for row in found["rows"]:
        assert min(row[key] for key in ("predicted_ms", "error_ms", "first_ms", "second_ms")) > 0
    assert [row["predicted_ms"] for row in found["rows"]] == sorted(row["predicted_ms"] for row in found["rows"])


def test_second_call_reuses_what_is_finished(finished: tuple[Path, dict[str, Any]]) -> None:
    cache, found = finished
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*.json")}
    again = run(cache)
    assert again.returncode == 0, again.stderr
    same = json.loads(again.stdout)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.json")} == files
    assert {**same, "seconds": 0} == {**found, "seconds": 0}


def test_cut_off_in_the_second_timing_only_its_last_round_is_made(finished: tuple[Path, dict[str, Any]]) -> None:
    cache, found = finished
    kept = {path.name: path.read_bytes() for path in cache.rglob("*-1.json")}
    (second,) = cache.rglob("second-2.json")
    second.write_bytes(second.read_bytes()[:-20])
    again = run(cache)
    assert again.returncode == 0, again.stderr
    rows = json.loads(again.stdout)["rows"]
    assert [row["first_ms"] for row in rows] == [row["first_ms"] for row in found["rows"]]
    assert [row["second_ms"] for row in rows] != [row["second_ms"] for row in found["rows"]]
    assert {path.name: path.read_bytes() for path in cache.rglob("*-1.json")} == kept


def test_a_profile_that_is_not_the_named_one_is_refused(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    cache, found = finished
    (path,) = cache.rglob("local-onnxruntime-mobilenet_v2_small-*.json")
    done = run(tmp_path, "--profile", str(path), "--sha256", "0" * 64)
    assert done.returncode == 2
    assert "is not the file" in done.stderr
    assert done.stdout == ""
    done = run(tmp_path, "--profile", str(path), "--device", "local-onnxruntime-b2")
    assert done.returncode == 2
    assert "local-onnxruntime" in done.stderr
    assert found["profile"]["sha256"]


def test_throughput_prints_its_rates() -> None:
    command = [
        sys.executable, "-m", "benchmarks.prediction_throughput", "--space", "mobilenet_v2_small", "--minutes", "0.03",
        "--networks", "100", "--rounds", "3", "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(rate > 0 for rate in found["per_second"].values())
    assert found["goal"] == 20_000
    assert found["passed"] is (found["per_second"]["warm"] >= 20_000)
