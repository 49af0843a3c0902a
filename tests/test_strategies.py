"""What every strategy must keep: conformance over all of them, and what is special to some."""

import json
import subprocess
import sys

import numpy as np
import pytest
from support_strategies import (
    GOALS,
    SPACES,
    TASK,
    anything,
    architectures,
    live,
    make,
    params_bound,
    scored,
    tiny,
    values,
)

from nas.pareto import hypervolume
from nas.strategies import REPEATED, STRATEGIES, History, Proposal, ScoredTrial, make_strategy
from search_spaces import Architecture
from search_spaces.errors import Infeasible, InvalidSpec, SpaceExhausted, UnknownName

SCORELESS = ("random", "mathematical_programming")
"""Strategies that read no score."""
SLOW = ("gp", "controller", "mathematical_programming")
"""Strategies that fit or solve at every ask: asked for one proposal at a time they get shorter searches."""
every_strategy = pytest.mark.parametrize("name", list(STRATEGIES))
every_space = pytest.mark.parametrize("space_name", list(SPACES))


@every_strategy
@every_space
@pytest.mark.parametrize("batch", [1, 7])
def test_proposals_are_valid_feasible_and_new(name: str, space_name: str, batch: int) -> None:
    space = SPACES[space_name]()
    median = np.median([values(space, space.sample(np.random.default_rng(i)))[1] for i in range(50)])

    def feasible(arch: Architecture) -> str | None:
        return None if values(space, arch)[1] <= median else "cost"

    count = 30 if batch == 1 and name in SLOW else 70
    found = architectures(live(make(name, space, feasible=feasible), space, count, batch))
    assert len({arch.id for arch in found}) == len(found) == count
    for arch in found:
        space.validate(arch)
        assert feasible(arch) is None


@every_strategy
@every_space
@pytest.mark.parametrize("batch", [1, 7])
def test_same_seed_same_proposals_and_other_seed_others(name: str, space_name: str, batch: int) -> None:
    space = SPACES[space_name]()
    count = 26 if batch == 1 and name in SLOW else 45
    first, again, other = (live(make(name, space, seed), space, count, batch) for seed in (3, 3, 4))
    assert first == again
    assert architectures(first) != architectures(other)


@every_strategy
@every_space
@pytest.mark.parametrize("batch", [1, 7])
def test_a_replay_gives_what_the_live_search_gave(name: str, space_name: str, batch: int) -> None:
    space = SPACES[space_name]()
    feasible = params_bound(space, np.median([space.graph(a, TASK).params for a in space.cover()]))
    count = 31 if batch == 1 and name in SLOW else 56
    lived = live(make(name, space, feasible=feasible), space, count, batch)
    for cut in range(0, len(lived), 5 if batch == 1 else 1):
        resumed = make(name, space, feasible=feasible)
        resumed.tell([trial for earlier in lived[:cut] for trial in earlier])
        proposals = resumed.ask(len(lived[cut]))
        assert [p.architecture for p in proposals] == [trial.architecture for trial in lived[cut]]
        assert [dict(p.notes) for p in proposals] == [trial.notes for trial in lived[cut]]


@every_strategy
def test_an_ask_changes_nothing(name: str) -> None:
    space = SPACES["mobilenet_v2_small"]()
    strategy = make(name, space)
    live(strategy, space, 30, 10)
    assert strategy.ask(5) == strategy.ask(5)


@every_strategy
def test_the_order_of_telling_does_not_matter(name: str) -> None:
    space = SPACES["nas_bench_201"]()
    trials = [trial for batch in live(make(name, space), space, 60, 20) for trial in batch]
    forwards, backwards = make(name, space), make(name, space)
    forwards.tell(trials)
    for trial in reversed(trials):
        backwards.tell([trial])
    assert forwards.ask(10) == backwards.ask(10)


@every_strategy
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_space_ends_when_all_of_it_has_been_proposed(name: str, batch: int) -> None:
    space = tiny()
    strategy = make(name, space)
    found = architectures(live(strategy, space, space.size, batch))
    assert len(set(found)) == len(found) == space.size == 14
    with pytest.raises(SpaceExhausted, match="all 14 architectures"):
        strategy.ask(batch)


@every_strategy
def test_what_the_bounds_leave_is_found_to_the_last(name: str) -> None:
    space = SPACES["nas_bench_201"]()

    def feasible(arch: Architecture) -> str | None:
        return None if sum(value != "none" for value in arch.values) <= 1 else "edges <= 1"

    strategy = make(name, space, feasible=feasible)
    strategy.tell(scored(space, strategy.ask(100), 0))
    with pytest.raises(SpaceExhausted, match="edges <= 1"):
        strategy.ask(1)
    assert len(make(name, space, feasible=feasible).ask(100)) == 1 + 6 * 4


@every_strategy
@pytest.mark.parametrize(
    ("space_name", "slack", "count"),
    # 2 % above its least parameters mobilenet_v2_small has one network in three resolutions
    [("mobilenet_v2_small", 1.02, 3), ("mobilenet_v2_small", 1.1, 40), ("nas_bench_201", 1.02, 40)],
)
def test_tight_bounds_that_can_be_met_are_met(name: str, space_name: str, slack: float, count: int) -> None:
    space = SPACES[space_name]()
    feasible = params_bound(space, slack * space.graph(space.smallest(), TASK).params)
    found = architectures(live(make(name, space, feasible=feasible), space, count, 20))
    assert len(set(found)) == count
    assert all(feasible(arch) is None for arch in found)


@every_strategy
@every_space
def test_impossible_bounds_end_with_the_bound_that_rejected_most(name: str, space_name: str) -> None:
    space = SPACES[space_name]()

    def feasible(arch: Architecture) -> str | None:
        return "latency_ms <= 0.5" if int(arch.id, 16) % 10 else "params <= 7"

    strategy = make(name, space, feasible=feasible, max_draws=1_000)
    with pytest.raises(Infeasible, match=r"latency_ms <= 0\.5 rejected most") as caught:
        strategy.ask(3)
    assert caught.value.field == "constraints"
    assert strategy.rejected["latency_ms <= 0.5"] > strategy.rejected["params <= 7"] > 0
    # a small space is gone through whole, any other in as many draws as were allowed
    most = space.size + 100 if space_name == "nas_bench_201" else 1_000
    assert sum(strategy.rejected.values()) <= most


@every_strategy
def test_a_search_with_trials_is_exhausted_and_not_infeasible(name: str) -> None:
    """Bounds that let a few architectures through end the exploring; the search goes on with what it has."""
    space = SPACES["mobilenet_v2_small"]()
    smallest = space.smallest()
    strategy = make(name, space, feasible=lambda arch: None if arch == smallest else "params <= 100", max_draws=500)
    proposals = strategy.ask(5)
    assert [p.architecture for p in proposals] == [smallest]
    strategy.tell(scored(space, proposals, 0))
    with pytest.raises(SpaceExhausted, match="params <= 100 rejected most"):
        strategy.ask(5)


@every_strategy
def test_rejections_are_counted_by_reason(name: str) -> None:
    space = tiny()
    strategy = make(name, space, feasible=lambda arch: "depth" if arch.values[1] == 3 else None)
    strategy.ask(6)
    assert strategy.rejected["depth"] > 0
    assert set(strategy.rejected) <= {"depth", REPEATED}


@every_strategy
def test_notes_of_another_strategy_do_no_harm(name: str) -> None:
    space = SPACES["mobilenet_v2_small"]()
    foreign = live(make("random", space), space, 60, 20)
    strategy = make(name, space)
    for batch in foreign:
        strategy.tell(batch)
    assert len(strategy.ask(20)) == 20


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in SCORELESS])
def test_a_strategy_that_learns_beats_random_draws(name: str) -> None:
    space = SPACES["mobilenet_v2_small"]()

    def reached(strategy_name: str) -> float:
        """In the mean of three searches."""
        found = [architectures(live(make(strategy_name, space, seed), space, 120, 20)) for seed in range(3)]
        return float(np.mean([hypervolume([values(space, arch) for arch in each], [0.0, 300.0]) for each in found]))

    assert reached(name) > reached("random")


@every_strategy
@pytest.mark.parametrize("objectives", [1, 3])
def test_any_number_of_objectives(name: str, objectives: int) -> None:
    space = SPACES["nas_bench_201"]()
    strategy = make_strategy(name, space=space, feasible=anything, goals=("minimize",) * objectives, seed=0)
    for start in range(0, 60, 20):
        strategy.tell(
            [
                ScoredTrial(start + i, p.architecture, {}, tuple(space.encode(p.architecture)[:objectives]), p.notes)
                for i, p in enumerate(strategy.ask(20))
            ]
        )
    assert len(strategy.ask(20)) == 20


def test_the_score_stands_in_for_what_only_training_shows() -> None:
    space = SPACES["nas_bench_201"]()
    rng = np.random.default_rng(0)
    proxies = [{"params": 10.0}, {"params": 30.0}, {"params": None}, {"params": 20.0}]
    trials = tuple(ScoredTrial(i, space.sample(rng), p, (None, float(i))) for i, p in enumerate(proxies))
    points = History(space, trials, GOALS, "params").points
    assert np.argsort(points[:, 0]).tolist() == [1, 3, 0, 2]
    assert points[:, 1].tolist() == [0.0, 1.0, 2.0, 3.0]
    reversed_goal = History(space, trials, ("minimize", "minimize"), "params").points
    assert reversed_goal[:, 0].tolist() == (-points[:, 0]).tolist()


@every_strategy
def test_other_scores_lead_elsewhere(name: str) -> None:
    """The strategy reads the proxies and not only the values: a replay with other proxies proposes otherwise.

    Two do not look at how their proposals fared: random draws, and the greatest entropy.
    """
    space = SPACES["nas_bench_201"]()

    def proposed(sign: float) -> list[Proposal]:
        strategy = make(name, space, score="params")
        rng = np.random.default_rng(1)
        archs = [space.sample(rng) for _ in range(60)]
        strategy.tell(
            [
                ScoredTrial(i, arch, {"params": sign * space.encode(arch).sum()}, (None, 0.0))
                for i, arch in enumerate(archs)
            ]
        )
        return strategy.ask(10)

    assert (proposed(1.0) == proposed(-1.0)) == (name in SCORELESS)


def test_proposals_do_not_depend_on_the_process() -> None:
    """Another process, with other hashes, replays to the same proposals."""
    code = (
        "from nas.strategies import ScoredTrial, make_strategy\n"
        "from search_spaces import get_space\n"
        "space = get_space('mobilenet_v2_small')\n"
        "s = make_strategy('nsga2', space=space, feasible=lambda a: None, goals=('minimize', 'minimize'), seed=5)\n"
        "for start in range(0, 60, 20):\n"
        "    asked = [(start + i, p, float(space.encode(p.architecture).sum())) for i, p in enumerate(s.ask(20))]\n"
        "    s.tell([ScoredTrial(n, p.architecture, {}, (cost, -cost), p.notes) for n, p, cost in asked])\n"
        "print([p.architecture.id for p in s.ask(20)])\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(json.loads(outputs.pop().replace("'", '"'))) == 20


def test_generations_of_nsga2_advance() -> None:
    space = SPACES["mobilenet_v2_small"]()
    batches = live(make("nsga2", space, population=10), space, 45, 5)
    generations = [trial.notes["generation"] for batch in batches for trial in batch]
    assert generations == [i // 10 for i in range(45)]


def test_a_trial_without_all_objectives_is_refused() -> None:
    space = tiny()
    with pytest.raises(InvalidSpec, match="trial 0 has 1 values"):
        make("random", space).tell([ScoredTrial(0, space.smallest(), {}, (1.0,))])


def test_an_unknown_strategy_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="regularized_evolution"):
        make("regularised_evolution", tiny())


def test_reading_the_registry_imports_no_optimiser() -> None:
    code = "import sys, nas.strategies, nas.pareto; assert not {'torch', 'ray', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nsga3_keeps_a_spread_of_the_front_and_the_ends_of_it() -> None:
    from nas.strategies.generations import _along_directions

    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.uniform(0.0, 0.3, 180), np.linspace(0.35, np.pi / 2, 20)])  # crowded at one end
    front = 1 - np.column_stack([np.cos(angles), np.sin(angles)])
    behind = front + 0.5
    kept, _ = _along_directions(np.concatenate([behind, front]), 20, rng)
    assert len(set(kept.tolist())) == 20
    assert kept.min() >= 200
    taken = np.sort(angles[kept - 200])
    assert np.count_nonzero(taken > 0.3) >= 15  # a tenth of the front, three quarters of its length
    assert taken[0] < 0.1
    assert taken[-1] > np.pi / 2 - 0.1
