"""Who climbs: pure functions of the history."""

from dataclasses import replace

import pytest
from support_trials import make_spec, make_trial

from nas.front import front, winner, zero_shot_scores
from nas.ladder import climbers, decide, progress
from nas.trial import Trial, TrialState

SPEC = make_spec()


def scored() -> list:
    """Eight trials: even numbers on the front of (score, latency), odd ones behind it."""
    return [
        make_trial(i, score=100 - 10 * (i // 2) - 5 * (i % 2), latency_ms=10 - (i // 2) + (i % 2)) for i in range(8)
    ]


def test_the_non_dominated_enter_the_first_rung() -> None:
    decision = decide(scored(), SPEC)
    assert sorted(decision.jobs) == [(0, 1), (2, 1), (4, 1), (6, 1)]
    assert set(decision.states.values()) == {TrialState.TRAINING}


def as_baseline(trial: Trial, name: str) -> Trial:
    return replace(trial, notes={"baseline": name})


def test_baselines_always_climb_and_take_no_place_from_others() -> None:
    trials = scored()
    trials[7] = as_baseline(trials[7], "known")  # dominated by most
    entered = [t.number for t in climbers(trials, SPEC, 0)]
    assert entered[0] == 7
    assert len(entered) == SPEC.budget.trainings
    for number, accuracy in ((0, 0.95), (2, 0.80), (4, 0.85), (6, 0.70), (7, 0.10)):
        baseline = trials[number].baseline
        trials[number] = trained(number, accuracy, trials[number].measurements[0].value)
        if baseline:
            trials[number] = as_baseline(trials[number], baseline)
    done = [trials[number] for number in entered]
    climbing = [t.number for t in climbers(done, SPEC, 1)]
    assert climbing[0] == 7
    assert len(climbing) == 2  # the baseline, and ceil(3 / 3) of the others


def test_isomorphic_networks_train_once() -> None:
    trials = [replace(t, fingerprint="same") if t.number in (0, 2) else t for t in scored()]
    entered = [t.number for t in climbers(trials, SPEC, 0)]
    assert len(entered) == 4
    assert len({0, 2} & set(entered)) == 1


def test_trials_without_a_finite_score_stay_behind() -> None:
    trials = [replace(t, proxies={"params": None}) if t.number == 0 else t for t in scored()]
    assert 0 not in [t.number for t in climbers(trials, SPEC, 0)]


def trained(number: int, accuracy: float, latency_ms: float, **options: object):
    return make_trial(number, 100 - 10 * (number // 2), latency_ms, (accuracy,), state=TrialState.WAITING, **options)


def test_nobody_climbs_before_the_rung_is_complete() -> None:
    trials = scored()
    trials[0] = trained(0, 0.9, 10)
    decision = decide(trials, SPEC)
    assert sorted(decision.jobs) == [(2, 1), (4, 1), (6, 1)]
    assert decision.states[0] == TrialState.WAITING


def test_a_third_climbs_rounded_up_and_the_rest_is_pruned() -> None:
    trials = scored()
    for number, accuracy in ((0, 0.95), (2, 0.80), (4, 0.85), (6, 0.70)):
        trials[number] = trained(number, accuracy, trials[number].measurements[0].value)
    decision = decide(trials, SPEC)
    assert len(decision.jobs) == 2  # ceil(4 / 3)
    assert (2, 2) not in decision.jobs  # dominated by 4: slower and worse
    assert decision.states[2] == TrialState.PRUNED


def test_a_failed_training_does_not_hold_the_others_up() -> None:
    trials = scored()
    for number in (0, 2, 4):
        trials[number] = trained(number, 0.9 - number / 100, trials[number].measurements[0].value)
    trials[6] = replace(trials[6], state=TrialState.FAILED, error="it broke")
    decision = decide(trials, SPEC)
    assert [rung for _, rung in decision.jobs] == [2]
    assert 6 not in dict(decision.jobs)
    assert 6 not in decision.states


def test_the_order_in_which_results_came_does_not_matter() -> None:
    trials = scored()
    for number in (0, 2, 4, 6):
        trials[number] = trained(number, 0.9 - number / 100, trials[number].measurements[0].value)
    assert decide(trials, SPEC) == decide(list(reversed(trials))[::-1], SPEC)


def test_a_completed_rung_is_never_asked_for_again() -> None:
    """Walks the ladder to its end, counting the jobs."""
    trials = {t.number: t for t in scored()}
    ran: list[tuple[int, int]] = []
    for _ in range(20):
        decision = decide([trials[n] for n in sorted(trials)], SPEC)
        if not decision.jobs:
            break
        number, rung = decision.jobs[0]
        ran.append((number, rung))
        accuracies = tuple(0.9 - number / 100 for _ in range(rung))
        trials[number] = make_trial(
            number, 100 - 10 * (number // 2), 10 - number // 2, accuracies, state=TrialState.WAITING
        )
    assert len(ran) == len(set(ran)) == 6  # four at the first rung, two at the last
    done, total = progress(list(trials.values()), SPEC)
    assert done == total == 6


def finished(number: int, accuracy: float, measured_ms: float):
    return make_trial(number, 1.0, 5.0, (accuracy / 2, accuracy), state=TrialState.SUCCEEDED, measured_ms=measured_ms)


def test_the_front_uses_measured_latency_of_finished_trials() -> None:
    trials = [finished(0, 0.9, 3.0), finished(1, 0.8, 2.0), finished(2, 0.85, 4.0), make_trial(3, 9.0, 0.1, (0.99,))]
    assert [t.number for t in front(SPEC, trials)] == [0, 1]
    assert winner(SPEC, trials) is trials[0]
    assert [t.number for t in front(SPEC, trials, rung=0)] == [3]


def test_ties_of_accuracy_go_to_the_lower_latency() -> None:
    trials = [finished(0, 0.9, 3.0), finished(1, 0.9, 2.0)]
    assert winner(SPEC, trials) is trials[1]


def test_no_trial_no_front() -> None:
    assert front(SPEC, []) == front(SPEC, scored()) == []
    assert winner(SPEC, []) is None
    assert front(SPEC, [], rung=0) == []


def test_scores_rank_all_trials() -> None:
    scores = zero_shot_scores(SPEC, scored())
    assert max(scores, key=lambda number: scores[number]) == 0


@pytest.mark.parametrize("eta", [2, 3, 4])
def test_eta_decides_how_many_climb(eta: int) -> None:
    trials = [trained(n, 0.5 + n / 100, 5.0 + n) for n in range(7)]
    assert len(climbers(trials, make_spec(eta=eta), 1)) == -(-7 // eta)
