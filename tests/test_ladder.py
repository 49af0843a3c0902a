"""Who climbs: pure functions of the history."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from support_trials import make_spec, make_trial

from nas.front import front, winner, zero_shot_scores
from nas.ladder import climbers, decide, entrants, has_entered, progress
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
    entered = [t.number for t in entrants(trials, SPEC)]
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
    entered = [t.number for t in entrants(trials, SPEC)]
    assert len(entered) == 4
    assert len({0, 2} & set(entered)) == 1


def test_trials_without_a_finite_score_stay_behind() -> None:
    trials = [replace(t, proxies={"params": None}) if t.number == 0 else t for t in scored()]
    assert 0 not in [t.number for t in entrants(trials, SPEC)]


def trained(number: int, accuracy: float, latency_ms: float, **options: object):
    return make_trial(number, 100 - 10 * (number // 2), latency_ms, (accuracy,), state=TrialState.WAITING, **options)


def test_nobody_climbs_before_the_rung_is_complete() -> None:
    trials = [replace(t, state=TrialState.TRAINING) if t.number in (2, 4, 6) else t for t in scored()]
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


def by_number(candidates: Sequence[Trial], entered: Sequence[Trial], count: int) -> list[Trial]:
    """Two at a time."""
    assert all(t.rung >= 1 or t.state == TrialState.FAILED for t in entered)
    return sorted(candidates, key=lambda t: t.number)[: min(2, count)]


def test_networks_enter_in_waves_and_a_wave_waits_for_the_one_before() -> None:
    trials = {t.number: t for t in scored()}
    waves: list[list[int]] = []
    for _ in range(20):
        decision = decide([trials[n] for n in sorted(trials)], SPEC, by_number)
        entering = [n for n, rung in decision.jobs if rung == 1 and not has_entered(trials[n])]
        if entering:
            waves.append(entering)
            assert not any(t.state == TrialState.TRAINING for t in trials.values())
        trials.update((n, replace(trials[n], state=state)) for n, state in decision.states.items())
        again = decide([trials[n] for n in sorted(trials)], SPEC, by_number)
        assert sorted(again.jobs) == sorted(decision.jobs)  # what is stored says who has entered
        if not decision.jobs:
            break
        number, rung = decision.jobs[0]
        if number == 1:
            trials[1] = replace(trials[1], state=TrialState.FAILED, error="it broke")
        else:
            trials[number] = replace(make_trial(number, 1.0, 10 - number // 2, (0.9,) * rung, state=TrialState.WAITING))
    assert waves == [[0, 1], [2, 3]]
    assert sum(t.rung >= 1 for t in trials.values()) == 3


def test_what_could_not_be_scored_has_not_entered() -> None:
    trials = scored()
    trials[0] = replace(trials[0], state=TrialState.FAILED, proxies={"params": None}, error="no image fits")
    assert not has_entered(trials[0])
    assert sorted(decide(trials, SPEC).jobs) == [(1, 1), (2, 1), (4, 1), (6, 1)]


def test_the_best_climb_early_where_slots_would_idle() -> None:
    trials = [replace(t, state=TrialState.TRAINING) if t.number == 6 else t for t in scored()]
    for number, accuracy in ((0, 0.95), (2, 0.80), (4, 0.85)):
        trials[number] = trained(number, accuracy, trials[number].measurements[0].value)
    assert decide(trials, SPEC, slots=1).jobs == ((6, 1),)
    early = decide(trials, SPEC, slots=4)
    assert early.jobs == ((6, 1), (4, 2))  # floor(3 / 3), the best of those that have completed the rung
    assert early.states == {
        6: TrialState.TRAINING, 4: TrialState.TRAINING, 0: TrialState.WAITING, 2: TrialState.WAITING
    }  # fmt: skip
    trials = [replace(t, state=early.states.get(t.number, t.state)) for t in trials]
    # the last one turns out better than the one that has climbed: ceil(4 / 3) climb in all
    trials[6] = trained(6, 0.99, trials[6].measurements[0].value)
    late = decide(trials, SPEC, slots=4)
    assert sorted(late.jobs) == [(4, 2), (6, 2)]
    assert {n for n, state in late.states.items() if state == TrialState.PRUNED} == {0, 2}
