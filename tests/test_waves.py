"""What training teaches a search: who enters next, and the report card of the proxies."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support_trials import DEVICE, make_spec

from latency_models.estimate import Source
from nas.admission import task_of
from nas.ladder import decide
from nas.learning import JUDGED, START, WAVE, ranks_at_all
from nas.looks import Looks
from nas.pareto import hypervolume
from nas.scores import get_score_facts
from nas.spec import SearchSpec
from nas.surrogate import kendall_tau
from nas.trial import Measurement, Trial, TrialState
from nas.waves import Waves
from search_spaces.definition import space_of
from search_spaces.graph import Graph

COUNT = 150
GOOD, BAD = "intrain", "trainability"
"""A proxy that knows something of the truth, and one that is noise."""


def spec_of(trainings: int = 40, **changes: Any) -> SearchSpec:
    budget = {"scored": COUNT, "trainings": trainings}
    return make_spec(**{"score": "default", "budget": budget, "rungs": [{"epochs": 1}], **changes})


def pool(spec: SearchSpec, seed: int = 0) -> tuple[dict[int, Trial], np.ndarray]:
    """Networks of the space with made-up proxies, and an accuracy that grows with MACs, by kind of block."""
    space, task, rng = space_of(spec.space), task_of(spec), np.random.default_rng(seed)
    drawn = {}
    while len(drawn) < COUNT:
        arch = space.sample(rng)
        graph = space.graph(arch, task)
        drawn.setdefault(graph.fingerprint, (arch, graph))
    macs = np.log([graph.macs for _, graph in drawn.values()])
    depth = np.array([len(graph.layers()) for _, graph in drawn.values()], dtype=float)
    truth = (macs - macs.mean()) / macs.std() + (depth - depth.mean()) / depth.std() + 0.2 * rng.normal(size=COUNT)
    accuracy = 0.9 + 0.05 * np.tanh(truth / 2)
    latency = np.exp(0.5 * macs + 0.15 * rng.normal(size=COUNT))
    trials = {}
    for i, (arch, graph) in enumerate(drawn.values()):
        proxies = dict.fromkeys(get_score_facts(spec.score).proxies, 1.0)
        proxies |= {GOOD: truth[i] + rng.normal(), BAD: rng.normal(), "params": float(graph.params)}
        figures = (
            Measurement("latency_ms", DEVICE, 0, latency[i], 0.1, Source.PREDICTED),
            Measurement("macs", None, 0, graph.macs, 0.0, Source.ANALYTIC),
            Measurement("params", None, 0, graph.params, 0.0, Source.ANALYTIC),
        )
        trials[i] = Trial(
            i, space.to_string(arch), arch.id, graph.fingerprint, TrialState.SCORED, proxies=proxies,
            measurements=figures,
        )  # fmt: skip
    return trials, accuracy


def graph_of(spec: SearchSpec, trial: Trial) -> Graph:
    space = space_of(spec.space)
    return space.graph(space.from_string(trial.architecture), task_of(spec))


def waves_of(spec: SearchSpec) -> Waves:
    space = space_of(spec.space)
    return Waves(spec, space, Looks(space, task_of(spec), spec.objectives[:1], {}))


def train(spec: SearchSpec, trials: dict[int, Trial], accuracy: np.ndarray, waves: Waves | None) -> list[list[int]]:
    """Trains as a search does, until nothing is left to train; who entered, wave by wave."""
    entered: list[list[int]] = []
    for _ in range(spec.budget.trainings + 1):
        decision = decide([trials[n] for n in sorted(trials)], spec, waves)
        if not decision.jobs:
            return entered
        entered.append([number for number, _ in decision.jobs])
        for number, rung in decision.jobs:
            known = Measurement("accuracy", None, rung, accuracy[number], 0.01, Source.MEASURED)
            trials[number] = replace(
                trials[number], state=TrialState.WAITING, rung=rung,
                measurements=(*trials[number].measurements, known),
            )  # fmt: skip
    raise AssertionError("it does not end")


def share(trials: dict[int, Trial], accuracy: np.ndarray, chosen: list[int]) -> float:
    latency = [trial.find("latency_ms", DEVICE).value for trial in trials.values()]  # type: ignore[union-attr]
    points = np.column_stack([-accuracy, latency])
    reference = np.array([-np.quantile(accuracy, 0.05), max(latency)])
    return hypervolume(points[chosen], reference) / hypervolume(points, reference)


def test_waves_complete_the_front_with_fewer_trainings_than_the_score_alone() -> None:
    gained = []
    for seed in range(3):
        spec = spec_of()
        found = []
        for waves in (waves_of(spec), None):
            trials, accuracy = pool(spec, seed)
            entered = train(spec, trials, accuracy, waves)
            chosen = [number for wave in entered for number in wave]
            assert len(chosen) == len(set(chosen)) == 40
            found.append(share(trials, accuracy, chosen))
            if waves:
                assert [len(wave) for wave in entered] == [START, *[WAVE] * 6]
        gained.append(found[0] - found[1])
    assert np.mean(gained) > 0


def test_a_search_that_was_interrupted_chooses_what_it_would_have_chosen() -> None:
    spec = spec_of(25)
    trials, accuracy = pool(spec)
    whole = train(spec, dict(trials), accuracy, waves_of(spec))
    few = spec_of(15)
    half = train(few, trials, accuracy, waves_of(few))
    rest = train(spec, trials, accuracy, waves_of(spec))  # another process, which knows what is stored
    assert half + rest == whole


def test_the_card_says_what_ranks_and_what_was_dropped() -> None:
    spec = spec_of()
    trials, accuracy = pool(spec)
    waves = waves_of(spec)
    empty = waves.card(list(trials.values()))
    assert empty.trained == 0
    assert empty.surrogate_tau is None
    assert empty.dropped == ()
    train(spec, trials, accuracy, waves)
    card = waves.card(list(trials.values()))
    assert card.trained == 40
    assert card.score == "default"
    assert card.tau[GOOD] > 0.3
    assert BAD in card.dropped
    assert GOOD not in card.dropped
    assert card.surrogate_tau is not None
    assert card.surrogate_tau > card.tau["score"]
    assert {"params", "macs", "score"} <= card.tau.keys()
    assert card.not_finite == {}
    trials[3] = replace(trials[3], proxies={**trials[3].proxies, GOOD: None})
    assert waves.card(list(trials.values())).not_finite == {GOOD: 1}


def test_those_that_finish_teach_too() -> None:
    """Networks that end better than they begin enter once that shows."""
    spec = spec_of(60, rungs=[{"epochs": 1}, {"epochs": 2}])
    trials, accuracy = pool(spec)
    depth = {n: len(graph_of(spec, trial).layers()) for n, trial in trials.items()}
    deep = {n for n, layers in depth.items() if layers > np.median(list(depth.values()))}
    chosen = {}
    for gained in (0.0, 0.04):
        entered = {}
        for n in list(trials)[:40]:
            ends = (accuracy[n] - 0.04 * (n in deep), accuracy[n] - 0.04 * (n in deep) + gained * (n in deep))
            known = [Measurement("accuracy", None, rung, a, 0.01, Source.MEASURED) for rung, a in enumerate(ends, 1)]
            figures = (*trials[n].measurements, *known[: 2 - n % 2])
            entered[n] = replace(trials[n], state=TrialState.WAITING, rung=2 - n % 2, measurements=figures)
        others = [trial for n, trial in trials.items() if n not in entered]
        chosen[gained] = [trial.number for trial in waves_of(spec)(others, list(entered.values()), 20)]
    assert len(deep & set(chosen[0.04])) > len(deep & set(chosen[0.0]))


def test_a_proxy_is_dropped_only_with_evidence() -> None:
    assert ranks_at_all(-1.0, JUDGED - 1)
    assert not ranks_at_all(0.0, JUDGED)
    assert not ranks_at_all(0.2, JUDGED)
    assert ranks_at_all(0.3, JUDGED)
    # one order in twenty that says nothing is kept
    rng = np.random.default_rng(0)
    kept = [ranks_at_all(kendall_tau(rng.normal(size=30), rng.normal(size=30)), 30) for _ in range(400)]
    assert np.mean(kept) == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize("objectives", [[{"metric": "accuracy"}], [{"metric": "params"}, {"metric": "macs"}]])
def test_one_objective_and_objectives_that_are_known_do_too(objectives: list[dict[str, str]]) -> None:
    spec = spec_of(20, objectives=objectives)
    trials, accuracy = pool(spec)
    entered = train(spec, trials, accuracy, waves_of(spec))
    assert sum(map(len, entered)) == 20
    if objectives[0]["metric"] == "accuracy":
        best = sorted(accuracy)[-5]
        assert max(accuracy[wave].max() for wave in entered) >= best
