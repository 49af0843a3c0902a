"""The loop of a search on real data: determinism, resumption, stopping, bounds, time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_trials import DEVICE, make_spec

from latency_models.device import parse_device
from latency_models.estimate import Source
from latency_models.kernel_store import KernelStore
from latency_models.measure import LocalTimer
from latency_models.profile import Profile, profile_device
from latency_models.timing import Timer
from nas.baselines import baseline_architectures
from nas.datasets import get_dataset_facts
from nas.exporters import ExportFailed, export
from nas.front import baselines, front, winner
from nas.runners import make_runner
from nas.search import Outcome, run_search
from nas.spec import SearchSpec
from nas.trial import Trial, TrialState
from nas.waves import ReportCard
from search_spaces import Task, get_preset, get_space
from search_spaces.errors import InvalidSpec


class Profiles:
    """A store that holds one profile, or none."""

    def __init__(self, profile: Profile | None = None) -> None:
        self.profile = profile

    def get(self, device: str, space: str, task: Task) -> Profile | None:
        return self.profile

    def put(self, profile: Profile) -> None:
        self.profile = profile

    def timer(self, device: str) -> Timer:
        return LocalTimer(parse_device(device))

    def kernels(self, timer: Timer) -> KernelStore:
        return KernelStore(None, timer.device, timer.machine())


class Recorder:
    """Keeps every version of every trial, and stops the search after a number of completed rungs."""

    def __init__(self, stop_after: int | None = None, reason: str = "shutdown") -> None:
        self.versions: list[Trial] = []
        self.phases: list[str] = []
        self.counts: dict[str, int] = {}
        self._stop_after = stop_after
        self._reason = reason

    def trials(self, trials: Sequence[Trial]) -> None:
        self.versions.extend(trials)

    def phase(self, phase: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        if phase not in self.phases:
            self.phases.append(phase)

    def rejected(self, counts: Mapping[str, int]) -> None:
        self.counts = dict(counts)

    def report_card(self, card: ReportCard) -> None:
        self.card = card

    def should_stop(self) -> str | None:
        if self._stop_after is not None and len(self.completed()) >= self._stop_after:
            return self._reason
        return None

    def latest(self) -> list[Trial]:
        found = {trial.number: trial for trial in self.versions}
        return [found[number] for number in sorted(found)]

    def completed(self) -> set[tuple[int, int]]:
        """(trial, rung) of every rung recorded as complete."""
        return {(t.number, m.rung) for t in self.latest() for m in t.measurements if m.metric == "accuracy"}


SPEC = make_spec(
    objectives=[{"metric": "accuracy"}, {"metric": "macs"}],
    constraints=[{"metric": "params", "max": 60_000}, {"metric": "macs", "max": 700_000}],
    strategy="regularized_evolution",
    budget={"scored": 12, "trainings": 4},
    score="default",
)


def run(spec: SearchSpec, folder: Path, recorder: Recorder, history: Sequence[Trial] = (), **options: Any) -> Outcome:
    with make_runner("local") as runner:
        return run_search(
            spec,
            history,
            runner=runner,
            profiles=options.get("profiles", Profiles()),
            workspace=folder,
            observer=recorder,
            should_stop=recorder.should_stop,
            elapsed_s=options.get("elapsed_s", lambda: 0.0),
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recorder, Outcome]:
    folder = tmp_path_factory.mktemp("whole")
    recorder = Recorder()
    return folder, recorder, run(SPEC, folder, recorder)


def test_it_ends_with_a_front_of_finished_trials(whole: tuple[Path, Recorder, Outcome]) -> None:
    _, recorder, outcome = whole
    trials = recorder.latest()
    assert outcome == Outcome("SUCCEEDED")
    assert recorder.phases == ["explore", "train", "measure"]
    assert len(trials) == 12
    assert len({t.architecture_id for t in trials}) == 12
    states = [t.state for t in trials]
    assert states.count(TrialState.SUCCEEDED) == 2  # ceil(4 / 3)
    assert states.count(TrialState.PRUNED) == 2
    assert states.count(TrialState.SCORED) == 8
    best = front(SPEC, trials)
    assert best
    for trial in best:
        assert {"accuracy", "test_accuracy", "macs"} <= {m.metric for m in trial.measurements}
        assert trial.epochs == 2
    assert winner(SPEC, trials) in best
    assert all(t.find("params").value <= 60_000 for t in trials)  # type: ignore[union-attr]
    assert recorder.counts["params <= 60000"] + recorder.counts["macs <= 700000"] > 0


def test_baselines_are_scored_first_train_to_the_end_and_are_shown(tmp_path: Path) -> None:
    space = get_space(SPEC.space)
    task = get_dataset_facts(SPEC.dataset).task
    draws = (space.sample(np.random.default_rng(seed)) for seed in range(1000))
    # one that breaks the bound on parameters, and trains fast
    known = next(
        space.to_string(arch)
        for arch in draws
        if (graph := space.graph(arch, task)).params > 60_000 and graph.macs < 1_500_000
    )
    smallest = space.to_string(space.smallest())
    spec = SPEC.model_copy(update={"baselines": (known, smallest)})
    recorder = Recorder()
    assert run(spec, tmp_path, recorder).state == "SUCCEEDED"
    trials = recorder.latest()
    assert [t.baseline for t in trials[:3]] == [known, smallest, None]
    assert len(trials) == spec.budget.scored
    assert [t.architecture for t in baselines(trials)] == [known, smallest]
    assert {t.rung for t in baselines(trials)} == {len(spec.rungs)}
    assert trials[0].state == TrialState.INFEASIBLE
    assert trials[1].state == TrialState.SUCCEEDED
    assert "params" in (trials[0].error or "")
    again = Recorder()
    assert run(spec, tmp_path, again, history=trials[:2]).state == "SUCCEEDED"
    repeated = {t.number: t.architecture_id for t in again.latest()}
    assert {n: repeated[n] for n in range(2, 12)} == {t.number: t.architecture_id for t in trials[2:]}


def test_baselines_that_are_not_of_the_space_are_refused() -> None:
    space = get_space("mobilenet_v2")
    found = baseline_architectures(["mobilenetv2_100", space.to_string(space.smallest())], space)
    assert found["mobilenetv2_100"] == get_preset("mobilenetv2_100").architecture()
    small = get_space("mobilenet_v3[early_strides=false]")
    known = baseline_architectures(["mobilenetv3_large_100"], small)["mobilenetv3_large_100"]
    assert small.to_dict(known).items() >= {"width": 1.0, "stage4.layer2.expand": 2.5}.items()
    for names, message in (
        (["resnet50"], "no point of space mobilenet_v2"),
        (["mobilenetv2_10O"], "unknown preset"),
        (["width=9.0"], "no option"),
        (["mobilenetv2_100", "mobilenetv2_100"], "twice"),
    ):
        with pytest.raises(InvalidSpec, match=message) as caught:
            baseline_architectures(names, space)
        assert caught.value.field == f"baselines.{len(names) - 1}"


def test_figures_say_where_they_come_from(whole: tuple[Path, Recorder, Outcome]) -> None:
    sources = {(m.metric, m.source) for t in whole[1].latest() for m in t.measurements}
    assert sources == {
        ("params", Source.ANALYTIC),
        ("macs", Source.ANALYTIC),
        ("peak_memory_bytes", Source.ANALYTIC),
        ("weight_bytes", Source.ANALYTIC),
        ("accuracy", Source.MEASURED),
        ("test_accuracy", Source.MEASURED),
    }


def test_the_test_part_decides_nothing(whole: tuple[Path, Recorder, Outcome]) -> None:
    """The front and the winner are the same when the test accuracies are taken away or reversed."""
    trials = whole[1].latest()
    without = [replace(t, measurements=tuple(m for m in t.measurements if m.metric != "test_accuracy")) for t in trials]
    assert [t.number for t in front(SPEC, without)] == [t.number for t in front(SPEC, trials)]
    assert winner(SPEC, without).number == winner(SPEC, trials).number  # type: ignore[union-attr]


def test_the_same_seed_gives_the_same_proposals_and_scores(
    whole: tuple[Path, Recorder, Outcome], tmp_path: Path
) -> None:
    again = Recorder(stop_after=1)
    run(SPEC, tmp_path, again)
    first = [(t.architecture, t.proxies) for t in whole[1].versions[:12]]
    assert [(t.architecture, t.proxies) for t in again.versions[:12]] == first
    other = Recorder(stop_after=1)
    run(SPEC.model_copy(update={"seed": 1}), tmp_path / "other", other)
    assert [t.architecture for t in other.versions[:12]] != [a for a, _ in first]


def test_a_search_that_was_stopped_goes_on_and_repeats_nothing(
    whole: tuple[Path, Recorder, Outcome], tmp_path: Path
) -> None:
    history: list[Trial] = []
    rungs_seen: set[tuple[int, int]] = set()
    for stop_after in (1, 3, 5, None):
        recorder = Recorder(stop_after)
        recorder.versions = list(history)
        outcome = run(SPEC, tmp_path, recorder, history)
        assert outcome.state == ("STOPPED" if stop_after else "SUCCEEDED")
        fresh = recorder.versions[len(history) :]
        ran = {
            (t.number, t.rung) for t in fresh if t.state in (TrialState.WAITING, TrialState.PRUNED) and t.rung
        } - rungs_seen
        assert not any(pair in rungs_seen for pair in ran)
        history = recorder.latest()
        rungs_seen = recorder.completed()
    full = whole[1].latest()
    assert [t.architecture for t in history] == [t.architecture for t in full]
    assert {t.number: t.state for t in history} == {t.number: t.state for t in full}
    for a, b in zip(history, full, strict=True):
        assert a.estimate("accuracy") == b.estimate("accuracy")


def test_a_cancelled_search_closes_its_trials(tmp_path: Path) -> None:
    recorder = Recorder(stop_after=2, reason="cancel")
    assert run(SPEC, tmp_path, recorder).state == "CANCELLED"
    states = {t.state for t in recorder.latest()}
    assert TrialState.TRAINING not in states
    assert TrialState.WAITING not in states
    assert TrialState.CANCELLED in states


def test_bounds_that_leave_nothing_end_the_search_with_their_name(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"constraints": make_spec(constraints=[{"metric": "params", "max": 5}]).constraints})
    recorder = Recorder()
    outcome = run(spec, tmp_path, recorder)
    assert outcome.state == "FAILED"
    assert "params <= 5 cannot be met" in outcome.message
    assert outcome.hint
    assert recorder.versions == []


def test_an_accuracy_bound_is_kept_at_the_end(tmp_path: Path) -> None:
    bound = make_spec(constraints=[{"metric": "accuracy", "min": 1.0}]).constraints
    recorder = Recorder()
    outcome = run(SPEC.model_copy(update={"constraints": (*SPEC.constraints, *bound)}), tmp_path, recorder)
    assert outcome.state == "FAILED"
    assert "accuracy >= 1 is broken" in outcome.message
    assert {t.state for t in recorder.latest() if t.rung == 2} == {TrialState.INFEASIBLE}


def test_networks_that_a_bound_on_accuracy_needs_train_though_they_cost_more(tmp_path: Path) -> None:
    """With size as the only objective the smallest look best, and are the ones that break the bound."""
    small = {"metric": "params", "goal": "minimize"}
    spec = make_spec(objectives=[small], constraints=[{"metric": "accuracy", "min": 0.01}], score="params")
    recorder = Recorder()
    outcome = run(spec, tmp_path, recorder)
    assert outcome.state == "SUCCEEDED"
    sizes = {t.number: t.find("params", rung=0) for t in recorder.latest()}
    params = {number: found.value for number, found in sizes.items() if found is not None}
    trained = [params[t.number] for t in recorder.latest() if t.rung]
    assert max(trained) > sorted(params.values())[len(trained)]


def test_when_the_time_is_up_no_training_starts(tmp_path: Path) -> None:
    recorder = Recorder()
    spec = make_spec(
        objectives=SPEC.objectives,
        constraints=SPEC.constraints,
        strategy="random",
        budget={"scored": 8, "trainings": 4, "wall_seconds": 100},
        rungs=[{"epochs": 1}],
    )
    outcome = run(spec, tmp_path, recorder, elapsed_s=lambda: 1000.0 if len(recorder.completed()) >= 2 else 0.0)
    assert outcome.state == "SUCCEEDED"
    assert len(recorder.completed()) == 2
    assert [t.state for t in recorder.latest()].count(TrialState.CANCELLED) == 2


def test_exports_need_a_trained_trial_and_leave_a_whole_bundle(
    whole: tuple[Path, Recorder, Outcome], tmp_path: Path
) -> None:
    folder, recorder, _ = whole
    trials = recorder.latest()
    best = winner(SPEC, trials)
    assert best is not None
    report = export(SPEC, best, workspace=folder, folder=tmp_path / "bundle")
    assert report["parity"]["passed"]
    assert report["parity"]["max_abs_difference"] <= report["parity"]["tolerance"]
    names = {path.name for path in (tmp_path / "bundle").iterdir()}
    assert names == {"model.onnx", "weights.safetensors", "architecture.json", "report.json"}
    scored = next(t for t in trials if t.state == TrialState.SCORED)
    with pytest.raises(ExportFailed, match="never trained"):
        export(SPEC, scored, workspace=folder, folder=tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def profile() -> Profile:
    task = get_dataset_facts("digits").task
    space = get_space("mobilenet_v2_small")
    return profile_device(LocalTimer(parse_device(DEVICE)), space, task, networks=10, max_units=60, minutes=0.06)


def test_the_same_stored_profile_gives_the_same_predictions_proposals_and_scores(
    profile: Profile, tmp_path: Path
) -> None:
    spec = make_spec(constraints=SPEC.constraints, strategy="default", score="naswot")
    seen = []
    for number in range(2):
        recorder = Recorder(stop_after=0)
        recorder.should_stop = lambda r=recorder: "shutdown" if r.versions else None  # type: ignore[method-assign]
        outcome = run(spec, tmp_path / str(number), recorder, profiles=Profiles(profile))
        assert outcome.state == "STOPPED"
        seen.append([(t.architecture, t.proxies, t.measurements) for t in recorder.versions])
    assert seen[0] == seen[1]
    assert {m.source for m in seen[0][0][2] if m.metric == "latency_ms"} == {Source.PREDICTED}


def test_a_latency_bound_that_leaves_nothing_is_found_after_profiling(profile: Profile, tmp_path: Path) -> None:
    bound = make_spec(constraints=[{"metric": "latency_ms", "device": DEVICE, "max": 1e-6}]).constraints
    recorder = Recorder()
    outcome = run(make_spec(constraints=bound), tmp_path, recorder, profiles=Profiles(profile))
    assert outcome.state == "FAILED"
    assert f"latency_ms@{DEVICE} <= 1e-06 rejected most" in outcome.message
    assert "relax" in outcome.hint
    assert recorder.versions == []
