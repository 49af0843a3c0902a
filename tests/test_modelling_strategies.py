"""What is special to the strategies that model what they were told, or the networks themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support_strategies import GOALS, SPACES, architectures, live, make, tiny, values

from benchmarks.strategy_comparison import paired
from nas.strategies import History, ScoredTrial
from nas.strategies.controller import rewards, shares_below, trained
from nas.strategies.gradient import Losses, Relaxed, descend
from nas.strategies.mathematical_programming import Programs, standing
from nas.strategies.optuna_samplers import FITTED, _best_and_latest
from search_spaces import Classification, SearchSpace, Task

SPACE = SPACES["nas_bench_201"]()
TASK = Task((3, 32, 32), Classification(10))


def random_history(space: SearchSpace, count: int, seed: int = 0) -> History:
    rng = np.random.default_rng(seed)
    archs = [space.sample(rng) for _ in range(count)]
    trials = tuple(ScoredTrial(i, arch, {}, values(space, arch)) for i, arch in enumerate(archs))
    return History(space, trials, GOALS, "default")


@pytest.mark.parametrize("name", ["gp", "controller", "gradient"])
def test_what_fares_well_is_proposed_more_often(name: str) -> None:
    """The first of six choices decides: its last option is best in both objectives."""
    strategy = make(name, SPACE)
    for trial in random_history(SPACE, 60).trials:
        best = float(SPACE.encode(trial.architecture)[0] == 5)
        strategy.tell([replace(trial, values=(-best, -best))])
    chosen = [SPACE.encode(proposal.architecture)[0] == 5 for proposal in strategy.ask(20)]
    assert np.mean(chosen) > 0.5


def test_gaussian_processes_are_fitted_on_a_bounded_number_of_trials() -> None:
    history = random_history(SPACE, 3 * FITTED)
    chosen = _best_and_latest(history, FITTED)
    assert len(set(chosen)) == len(chosen) == FITTED
    assert chosen == sorted(chosen)
    assert chosen[-1] == 3 * FITTED - 1


def test_the_controller_learns_which_option_goes_with_which_trade_off() -> None:
    """What it emits for either objective alone is better in that one than the random draws it has seen."""
    history = random_history(SPACE, 200)
    network, rng = trained(history), np.random.default_rng(0)
    for own, weights in enumerate(np.eye(2)):
        emitted = [values(SPACE, SPACE.decode(codes)) for codes in network.emit(np.tile(weights, (100, 1)), rng)]
        assert np.mean(emitted, axis=0)[own] < history.points.mean(axis=0)[own] - history.points.std(axis=0)[own]


def test_the_controller_emits_by_its_likelihood() -> None:
    controller = trained(random_history(tiny(), 60))
    weights = np.tile([0.5, 0.5], (4_000, 1))
    codes = controller.emit(weights, np.random.default_rng(0))
    log, _ = controller.log_likelihood(torch.tensor(codes), torch.tensor(weights, dtype=torch.float32))
    distinct, first, counts = np.unique(codes, axis=0, return_index=True, return_counts=True)
    assert len(distinct) > 3
    expected = log.exp().detach().numpy()[first]
    assert np.abs(counts / len(codes) - expected).max() < 0.03


def test_a_reward_prefers_what_its_trade_off_minds() -> None:
    points = np.array([[0.0, 3.0], [1.0, 1.0], [3.0, 0.0], [3.0, 3.0]])
    found = rewards(shares_below(points), np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]))
    assert found.argmax(axis=1).tolist() == [0, 1, 2]
    assert found.mean(axis=1) == pytest.approx([0.0, 0.0, 0.0])
    assert found.std(axis=1) == pytest.approx([1.0, 1.0, 1.0])


def test_descents_end_cheap_where_cost_weighs_and_good_where_quality_does() -> None:
    space = SPACES["mobilenet_v2_small"]()
    history = random_history(space, 200)
    relaxed = Relaxed(space)
    features = relaxed.one_hot(np.stack([space.encode(trial.architecture) for trial in history.trials]))
    losses = Losses(features, history.points, len(space.choices))
    weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    alpha = descend(relaxed, losses, weights, np.random.default_rng(0))
    best = [1 + part.argmax(axis=1) for part in np.split(alpha, relaxed.starts[1:], axis=1)]
    good, between, cheap = (values(space, space.decode(codes)) for codes in np.stack(best, axis=1))
    assert good[0] < between[0] < cheap[0]
    assert good[1] > between[1] > cheap[1]
    assert cheap[1] <= history.points[:, 1].min()


def test_the_gradient_is_that_of_the_loss() -> None:
    history = random_history(SPACE, 50)
    relaxed = Relaxed(SPACE)
    features = relaxed.one_hot(np.stack([SPACE.encode(trial.architecture) for trial in history.trials]))
    losses = Losses(features, history.points, len(SPACE.choices))
    weights = np.array([[0.3, 0.7]])

    def loss(alpha: np.ndarray) -> float:
        return float((losses.values(relaxed.softmax(alpha)) @ weights[0])[0])

    alpha = np.random.default_rng(0).standard_normal((1, len(relaxed.owner)))
    shares = relaxed.softmax(alpha)
    slopes = relaxed.through_softmax(shares, losses.slopes(shares, weights))[0]
    steps = 1e-5 * np.eye(len(relaxed.owner))[:, None]
    numeric = [(loss(alpha + step) - loss(alpha - step)) / 2e-5 for step in steps]
    assert slopes == pytest.approx(numeric, abs=1e-7)


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_climb_keeps_its_bounds_and_no_single_change_is_better(share: float) -> None:
    space = SPACES["mobilenet_v2_small"]()
    programs = Programs(space, TASK)
    low, high = programs.range
    bounds = np.append(low + share * (high - low), programs.usual_effectiveness)
    genes = programs.climb(tuple(np.maximum(space.encode(space.smallest()), 1).tolist()), bounds)
    found = programs.figures(programs.decode(genes))
    assert (np.array(found[1:]) <= bounds + 1e-9).all()
    single = programs.effects(genes)
    within = (single.at[1:] + single.figures[:, 1:] <= bounds).all(axis=1)
    assert single.figures[within, 0].max() <= 1e-9


def test_the_sweep_rises_and_is_above_random_draws() -> None:
    programs = Programs(SPACE, TASK)
    most = programs.usual_effectiveness
    swept = [programs.figures(programs.decode(genes)) for genes in programs.sweep(most)]
    entropies = [each.entropy for each in swept]
    assert entropies == sorted(entropies)
    rng = np.random.default_rng(1)
    drawn = [programs.figures(SPACE.sample(rng)) for _ in range(300)]
    for found in swept:
        bounds = np.array([found.macs, np.inf, most])
        assert standing(found, bounds) >= max(standing(each, bounds) for each in drawn)


def test_networks_whose_entropy_is_undefined_are_proposed_all_the_same() -> None:
    """On a single pixel no layer has positions to count."""
    space = tiny()
    task = Task((3, 1, 1), Classification(10))
    assert Programs(space, task).figures(space.smallest()).entropy == 0.0
    strategy = make("mathematical_programming", space, task=task)
    assert len(set(architectures(live(strategy, space, 14, 7)))) == 14


def test_differences_to_random_search_are_paired() -> None:
    found = paired(np.array([0.1, 0.2, -0.1, 0.2]))
    assert (found["mean"], found["won"]) == (0.1, 3)
    assert found["interval"] == pytest.approx([-0.0664, 0.2664], abs=1e-4)  # 0.1 -+ 2.3534 x 0.1414 / 2
    assert paired(np.array([0.1]))["interval"] is None
