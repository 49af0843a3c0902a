"""What the default proposes once networks have trained, and how much is scored before the next ones do."""

import numpy as np
import pytest
from support_graphs import TASK

from nas.learning import START, WAVE, scored_before
from nas.looks import Looks
from nas.pareto import hypervolume
from nas.scores import get_score_facts
from nas.spec import Objective
from nas.strategies import STRATEGIES, ScoredTrial, Strategy, make_strategy
from search_spaces import Architecture, get_space

SPACE = get_space("nas_bench_201")
OBJECTIVES = (Objective(metric="accuracy", goal="maximize"), Objective(metric="macs", goal="minimize"))
LOOKS = Looks(SPACE, TASK, OBJECTIVES, {})
FIRST = 60
MOST_MACS = max(SPACE.graph(arch, TASK).macs for arch in SPACE.cover())


def truth(arch: Architecture) -> float:
    """An accuracy that convolutions make, beyond what they cost, and that the score knows nothing of."""
    codes = SPACE.encode(arch)
    return 0.5 + 0.05 * float((codes == codes.max()).sum()) + 0.03 * float(codes[0] == 2)


def told(seed: int, *, trained: int) -> tuple[Strategy, list[ScoredTrial]]:
    strategy = make_strategy(
        "default", space=SPACE, feasible=lambda _: None, goals=("maximize", "minimize"), seed=seed, look=LOOKS
    )
    rng = np.random.default_rng(seed)
    archs = list(dict.fromkeys(SPACE.sample(rng) for _ in range(FIRST)))
    names = get_score_facts("default").proxies
    trials = []
    for i, arch in enumerate(archs):
        proxies = dict.fromkeys(names, float(rng.normal()))
        trials.append(ScoredTrial(i, arch, proxies, LOOKS(arch).costs, {}, (truth(arch),) if i < trained else ()))
    strategy.tell(trials)
    return strategy, trials


def test_what_has_trained_leads_to_a_fuller_front_than_the_score_does() -> None:
    gained = []
    for seed in range(3):
        found = []
        for trained in (30, 0):
            strategy, trials = told(seed, trained=trained)
            proposed = [proposal.architecture for proposal in strategy.ask(20)]
            assert len({arch.id for arch in proposed} | {t.architecture.id for t in trials}) == 20 + len(trials)
            both = [*proposed, *(trial.architecture for trial in trials[:30])]
            points = np.array([(-truth(arch), LOOKS(arch).costs[1]) for arch in both], dtype=float)
            found.append(hypervolume(points, np.array([-0.5, MOST_MACS])))
        gained.append(found[0] / found[1] - 1)
    assert np.mean(gained) > 0
    assert sum(gain > 0 for gain in gained) >= 2


def test_stored_trials_give_the_proposals_that_they_gave() -> None:
    strategy, trials = told(1, trained=START)
    first = strategy.ask(10)
    again = make_strategy(
        "default", space=SPACE, feasible=lambda _: None, goals=("maximize", "minimize"), seed=1, look=LOOKS
    )
    again.tell(trials[::-1])
    assert again.ask(10) == first


def test_a_look_has_none_for_what_only_training_shows() -> None:
    arch = SPACE.smallest()
    look = LOOKS(arch)
    assert look.costs == (None, float(SPACE.graph(arch, TASK).macs))
    assert LOOKS(arch) is look


@pytest.mark.parametrize(("scored", "trainings"), [(1000, 100), (301, 16), (20, 11), (50, START)])
def test_a_budget_is_scored_by_the_last_wave(scored: int, trainings: int) -> None:
    counts = [scored_before(trained, scored, trainings) for trained in range(trainings + 1)]
    assert counts == sorted(counts)
    assert counts[max(0, trainings - WAVE)] == scored
    assert max(counts) == scored
    assert counts[0] == (scored if trainings <= START else (scored + 1) // 2)


def test_the_default_alone_learns() -> None:
    assert [name for name, facts in STRATEGIES.items() if facts.learns] == ["default"]
