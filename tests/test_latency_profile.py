"""A profile of a small space on the real runtime, and its file."""

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models.device import parse_device
from latency_models.kernel_store import KernelStore
from latency_models.measure import REFERENCE_COPIES, LocalTimer, reference_graphs
from latency_models.predictors.composition import Curve
from latency_models.profile import Profile, ProfilingStopped, load_profile, profile_device, save_profile
from latency_models.timing import Machine, Samples, Workload
from search_spaces import Classification, Task
from search_spaces.errors import CorruptFile, DeviceUnavailable, InvalidSpec
from search_spaces.staged import Stage, StagedSpace

REFERENCES = REFERENCE_COPIES * len(reference_graphs(1))
TASK = Task((1, 16, 16), Classification(10))
CONV = {"activation": ("relu6",)}


def make_space() -> StagedSpace:
    layer = {"kernel": (3, 5), "expand": (3, 6), "attention": ("none",), **CONV}
    return StagedSpace(
        "tiny",
        [
            Stage("stem", "conv_bn_act", 16, options={"kernel": (3,), **CONV}, single=True),
            Stage("stage1", "inverted_residual", 24, 1, (1, 2, 3, 4), layer),
        ],
        width=(0.5, 1.0, 2.0),
        resolution=(8, 16, 32),
    )


def timer(name: str) -> LocalTimer:
    return LocalTimer(parse_device(name))


@pytest.fixture(scope="module")
def space() -> StagedSpace:
    return make_space()


@pytest.fixture(scope="module")
def profile(space: StagedSpace) -> Profile:
    return profile_device(timer("local-onnxruntime-b4"), space, TASK, networks=12, max_units=40, minutes=0.05)


def test_profile_says_what_was_measured_and_how_well_it_predicts(profile: Profile, space: StagedSpace) -> None:
    assert (profile.space, profile.task, profile.device.name) == ("tiny", TASK, "local-onnxruntime-b4")
    assert profile.units
    assert all(unit.ms > 0 for unit in profile.units)
    assert len(profile.networks) == 12
    assert all(space.from_string(network.architecture) for network in profile.networks)
    assert profile.composition.relative_error > 0
    assert profile.report["networks"] == 12
    assert profile.report["repeated"] >= 1
    assert {
        "repeatability_within_5",
        "within_5",
        "within_10",
        "median_error",
        "p95_error",
        "constant_median_error",
    } <= set(profile.report)


def test_clearly_different_networks_are_ranked(profile: Profile, space: StagedSpace) -> None:
    def arch(width: float, resolution: int, depth: int) -> str:
        layers = "".join(f",stage1.layer{i}.kernel=3,stage1.layer{i}.expand=3" for i in range(1, depth + 1))
        return f"width={width},resolution={resolution},stage1.depth={depth}{layers}"

    predictor = profile.predictor()
    texts = [arch(0.5, 8, 1), arch(1.0, 16, 2), arch(2.0, 32, 4)]
    estimates = [predictor.predict(space.graph(space.from_string(text), TASK)) for text in texts]
    assert 0 < estimates[0].value < estimates[1].value < estimates[2].value
    assert all(e.error is not None and e.error > 0 for e in estimates)


@pytest.mark.parametrize("curve", [None, Curve(0.1, 2.0, (0.01, 0.02, -0.1, 0.05))])
def test_a_stored_profile_predicts_the_same(
    profile: Profile, space: StagedSpace, tmp_path: Path, curve: Curve | None
) -> None:
    profile = replace(profile, composition=replace(profile.composition, curve=curve))
    path, digest = save_profile(profile, tmp_path / "profiles")
    again = load_profile(path, digest)
    assert again == profile
    assert save_profile(again, tmp_path)[1] == digest
    assert [p.suffix for p in (tmp_path / "profiles").iterdir()] == [".json"]
    rng = np.random.default_rng(0)
    graphs = [space.graph(space.sample(rng), TASK) for _ in range(20)]
    fresh = [make_space().graph(space.sample(rng), TASK) for _ in range(5)]
    one, two = profile.predictor(), again.predictor()
    assert [one.predict(g) for g in graphs + fresh] == [two.predict(g) for g in graphs + fresh]


def test_a_changed_or_missing_file_is_refused(profile: Profile, tmp_path: Path) -> None:
    path, digest = save_profile(profile, tmp_path)
    with pytest.raises(CorruptFile, match="cannot be read") as caught:
        load_profile(tmp_path / "absent.json", digest)
    assert "hwnas profile" in caught.value.hint
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match="not the file that was written"):
        load_profile(path, digest)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 99},
        {"units": [{"key": "x"}]},
        {"task": {"input_shape": [1, 8], "classes": 10}},
        {"composition": None},
        {"device": {"name": "d", "runtime": "onnxruntime", "colour": "red"}},
    ],
)
def test_another_version_or_content_is_refused(profile: Profile, tmp_path: Path, change: dict[str, object]) -> None:
    path, _ = save_profile(profile, tmp_path)
    data = json.dumps(json.loads(path.read_bytes()) | change).encode()
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match="cannot be read"):
        load_profile(path, sha256(data).hexdigest())


@pytest.mark.parametrize("change", [{"cpu": "another CPU"}, {"runtime_version": "0.1"}])
def test_a_profile_of_another_machine_is_refused(profile: Profile, tmp_path: Path, change: dict[str, str]) -> None:
    path, digest = save_profile(replace(profile, **change), tmp_path)
    with pytest.raises(DeviceUnavailable, match="was made with") as caught:
        load_profile(path, digest)
    assert "hwnas profile --device local-onnxruntime-b4" in caught.value.hint
    assert load_profile(path, digest, check_machine=False).space == "tiny"


def test_stopping_ends_profiling(space: StagedSpace) -> None:
    with pytest.raises(ProfilingStopped):
        profile_device(timer("local-onnxruntime"), space, TASK, should_stop=lambda: True, minutes=0.02)


class Counting(LocalTimer):
    """Counts the networks that it times, and stops after some calls."""

    def __init__(self, name: str, calls: int = 1000) -> None:
        super().__init__(parse_device(name))
        self.calls = calls
        self.timed: list[str] = []

    def time(self, workloads: Sequence[Workload], **options: Any) -> list[Samples]:
        if not self.calls:
            raise ProfilingStopped("enough")
        self.calls -= 1
        self.timed += [work.graph.fingerprint for work in workloads[REFERENCES:]]
        return super().time(workloads, **options)


def test_an_interrupted_profile_goes_on_and_times_nothing_twice(space: StagedSpace, tmp_path: Path) -> None:
    def run(counting: Counting) -> Profile:
        store = KernelStore(tmp_path, counting.device, counting.machine())
        return profile_device(counting, space, TASK, store=store, networks=10, max_units=20, minutes=0.05)

    first, second = Counting("local-onnxruntime", calls=2), Counting("local-onnxruntime")
    with pytest.raises(ProfilingStopped):
        run(first)
    profile = run(second)
    assert first.timed
    assert not set(first.timed) & set(second.timed)
    assert set(first.timed) <= {record.key for record in profile.units}
    third = Counting("local-onnxruntime")
    once_more = run(third)
    again = set(third.timed) & {*first.timed, *second.timed}
    assert len(again) <= once_more.report["repeated"]  # only what is timed again on purpose
    assert not again & {record.key for record in profile.units}


def test_what_cannot_be_profiled_is_refused_at_once(space: StagedSpace) -> None:
    with pytest.raises(InvalidSpec, match="3 networks"):
        profile_device(timer("local-onnxruntime"), space, TASK, networks=3)
    with pytest.raises(InvalidSpec, match="minutes"):
        profile_device(timer("local-onnxruntime"), space, TASK, minutes=0)
    with pytest.raises(DeviceUnavailable, match="not this machine"):
        timer("pi4-onnxruntime")


def test_units_beyond_the_limit_are_modelled(space: StagedSpace) -> None:
    seen: list[tuple[int, int]] = []
    profile = profile_device(
        timer("local-onnxruntime"), space, TASK, networks=10, max_units=12, minutes=0.05,
        on_progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert sum(unit.timed for unit in profile.units) == 12
    assert profile.report["units_timed"] <= 12
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {3}
    rng = np.random.default_rng(5)
    notes = [profile.predictor().predict(space.graph(space.sample(rng), TASK)).note for _ in range(10)]
    assert any("extrapolated" in note for note in notes)


class Instant:
    """A device that takes as long as a network has MACs, without taking any time."""

    device = parse_device("local-onnxruntime")

    def machine(self) -> Machine:
        return Machine("a CPU", "1.0")

    def time(self, workloads: Sequence[Workload], **_: Any) -> list[Samples]:
        return [[[1e3 + work.graph.macs]] * 12 for work in workloads]


def test_what_time_is_left_goes_to_timing_networks_again(space: StagedSpace) -> None:
    profile = profile_device(Instant(), space, TASK, networks=12, max_units=20, minutes=1)
    assert {record.timings for record in profile.networks} == {4}
    assert profile.report["repeated"] == 36
    assert profile.report["repeatability_within_5"] == 1
