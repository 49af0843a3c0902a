"""What training teaches: features worked out by hand, improvements against sampling, the choice against chance."""

import numpy as np
import pytest
from support_graphs import TASK

from nas.acquisition import choose, improvement
from nas.graph_features import NAMES, graph_features
from nas.learning import START, Pool, next_trainings, wave_size
from nas.pareto import hypervolume
from nas.surrogate import LEAST, Lesson, cross_validated_tau, kendall_tau, normal_scores, predict_pool, predict_rungs
from search_spaces import SPACES, get_space
from search_spaces.builder import Builder
from search_spaces.errors import InvalidSpec


def named(graph: object) -> dict[str, float]:
    return dict(zip(NAMES, graph_features(graph).tolist(), strict=True))


def test_the_form_of_a_network_with_two_paths() -> None:
    b = Builder([(3, 8, 8)])
    x = b.conv("stem", b.inputs[0], 4, 3)
    around = b.op("pool", "avg_pool", x, kernel=(3, 3), stride=(1, 1), padding=(1, 1))
    x = b.op("add", "add", b.conv("deep", x, 4, 3, groups=4), around)
    graph = b.build(b.linear("last", b.op("flat", "flatten", b.op("mean", "global_avg_pool", x)), 2))
    found = named(graph)
    assert found["log_params"] == pytest.approx(np.log1p(graph.params))
    assert found["log_count_conv3"] == found["log_count_depthwise"] == found["log_count_linear"] == np.log1p(1)
    assert found["log_count_conv1"] == found["log_macs_conv1"] == found["log_count_conv5"] == 0
    assert found["log_macs_conv3"] == pytest.approx(np.log1p(3 * 4 * 9 * 64))
    assert found["log_macs_depthwise"] == pytest.approx(np.log1p(4 * 9 * 64))
    assert found["log_count_pool"] == found["log_count_sum"] == np.log1p(1)
    assert found["log_paths"] == pytest.approx(np.log1p(2))
    assert (found["longest_path"], found["shortest_path"], found["mean_path"]) == (3, 2, 2.5)
    assert (found["mean_path_spatial"], found["mean_path_pool"]) == (1.5, 0.5)


@pytest.mark.parametrize("name", SPACES)
def test_the_form_read_block_by_block_is_that_of_the_flat_network(name: str) -> None:
    space = get_space(name)
    for seed in range(3):
        graph = space.graph(space.sample(np.random.default_rng(seed)), TASK)
        found = named(graph)
        layers = {layer.name: layer for layer in graph.layers()}
        paths = {each: (1, 0.0, 0.0, 0.0) for each in graph.input_names}  # how many, most, least, sum of layers
        for node in graph.nodes:
            if before := [paths[each] for each in node.inputs if each in paths]:
                count, here = sum(each[0] for each in before), float(node.name in layers)
                total = sum(each[3] for each in before) + count * here
                most, least = max(each[1] for each in before), min(each[2] for each in before)
                paths[node.name] = (count, most + here, least + here, total)
        (count, most, least, total) = paths[graph.output_names[0]]
        assert len(found) == len(NAMES)
        assert found["log_paths"] == pytest.approx(np.log1p(count))
        assert (found["longest_path"], found["shortest_path"]) == (most, least)
        assert found["mean_path"] == pytest.approx(total / count)
        kinds = ("depthwise", "conv1", "conv3", "conv5", "linear")
        assert sum(np.expm1(found[f"log_count_{kind}"]) for kind in kinds) == pytest.approx(len(layers))
        macs = sum(np.expm1(found[f"log_macs_{kind}"]) for kind in kinds)
        assert macs == pytest.approx(sum(layer.macs for layer in layers.values()))


def test_normal_scores_share_ties_and_put_what_is_not_finite_last() -> None:
    found = normal_scores([3.0, np.nan, 1.0, 3.0, -np.inf])
    assert found[0] == found[3] == found.max()
    assert found[1] == found[4] == found.min()
    assert found.sum() == pytest.approx(0, abs=0.5)
    assert normal_scores([2.0, 1.0, 3.0]).tolist() == pytest.approx([0, -0.9674, 0.9674], abs=1e-4)


def problem(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, a score that knows half of the truth, and the truth: a saturating accuracy with failures."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 6))
    hidden = features[:, 0] + 0.8 * features[:, 1] * (features[:, 2] > 0) + 0.1 * rng.normal(size=n)
    accuracy = 0.95 - 0.1 * np.exp(-hidden)
    score = features[:, 0] + rng.normal(size=n)
    return features, score, np.where(hidden < -1.8, 0.1, accuracy)


def groups_of(features: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, ...]:
    """As the surrogate of a search sees them: the score stands for a proxy."""
    return features[:, :3], features[:, 3:], normal_scores(score)[:, None]


def test_the_surrogate_ranks_what_was_not_trained() -> None:
    features, score, accuracy = problem()
    left = slice(100, None)
    truth = normal_scores(accuracy[left])
    taught = {}
    for count in (20, 100):
        found = predict_pool(groups_of(features, score), np.arange(count), accuracy[:count]).mean[left]
        taught[count] = np.corrcoef(normal_scores(found), truth)[0, 1]
    assert taught[100] > max(0.75, taught[20])
    assert taught[20] > np.corrcoef(normal_scores(score[left]), truth)[0, 1]
    told = cross_validated_tau(groups_of(features, score), np.arange(100), accuracy[:100])
    assert told == pytest.approx(kendall_tau(found, accuracy[left]), abs=0.15)


@pytest.mark.parametrize("lost", [0.05, 0.0])
def test_what_finishes_corrects_what_trains_fast(lost: float) -> None:
    """At the first rung some networks look better than they end, by what one feature says; or none does."""
    first, both = [], []
    for seed in range(5):
        features, score, accuracy = problem(400, seed)
        early, groups = accuracy - lost * features[:, 3] - 0.02, groups_of(features, score)
        entered = np.arange(60)
        finished = entered[np.argsort(-early[:60])[:20]]
        lessons = [Lesson(entered, early[entered]), Lesson(finished, accuracy[finished])]
        for found, given in ((first, lessons[:1]), (both, lessons)):
            predicted, place = predict_rungs(groups, given)
            assert place == len(given) - 1
            assert (predicted.optimistic >= predicted.mean).all()
            found.append(kendall_tau(predicted.mean[60:], accuracy[60:]))
    gained = np.mean(both) - np.mean(first)
    assert gained > 0.05 if lost else abs(gained) < 0.01
    few = Lesson(finished[: LEAST - 1], accuracy[finished[: LEAST - 1]])
    alone, place = predict_rungs(groups, [lessons[0], few])
    assert place == 0
    assert (alone.mean == predict_pool(groups, *lessons[0]).mean).all()


def test_the_optimistic_prediction_is_one_deviation_above() -> None:
    """As many of the networks that were not trained are above it as of a normal distribution, some sixth."""
    above = []
    for seed in range(5):
        features, score, accuracy = problem(600, seed)
        found = predict_pool(groups_of(features, score), np.arange(80), accuracy[:80])
        assert (found.optimistic >= found.mean).all()
        gap = normal_scores(found.optimistic - found.mean)
        assert gap[80:].mean() > gap[:80].mean()  # what has trained is known
        above.append((accuracy[80:] > found.optimistic[80:]).mean())
    assert 0.08 < np.mean(above) < 0.3


def test_the_surrogate_is_deterministic_and_says_what_is_missing() -> None:
    features, score, accuracy = problem(60)
    groups = groups_of(features, score)
    first, again = (predict_pool(groups, np.arange(12), accuracy[:12]) for _ in range(2))
    assert (first.mean == again.mean).all()
    assert (first.optimistic == again.optimistic).all()
    with pytest.raises(InvalidSpec, match=f"{LEAST - 1} trained"):
        predict_pool(groups, np.arange(LEAST - 1), accuracy[: LEAST - 1])
    broken = accuracy[:12].copy()
    broken[3] = np.nan
    with pytest.raises(InvalidSpec, match="metric"):
        predict_pool(groups, np.arange(12), broken)


def test_features_that_are_constant_or_not_finite_are_no_trouble() -> None:
    features, score, accuracy = problem(60)
    features[:, 3], features[::7, 4], features[:, 5] = 1.0, np.nan, np.inf
    groups = groups_of(features, score)
    alike = np.full(20, 0.5)
    assert predict_pool(groups, np.arange(20), alike).mean == pytest.approx(0.5)
    assert cross_validated_tau(groups, np.arange(20), alike) == 0
    assert np.isfinite(predict_pool(groups, np.arange(20), accuracy[:20]).optimistic).all()
    nothing = predict_pool((np.ones((60, 2)), np.empty((60, 0))), np.arange(20), accuracy[:20])
    assert np.ptp(nothing.mean) == 0


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_the_improvement_is_what_the_hypervolume_grows_by(objectives: int) -> None:
    rng = np.random.default_rng(1)
    front, new = rng.uniform(0.2, 1.3, size=(12, objectives)), rng.uniform(0.1, 1.2, size=(30, objectives))
    reference = np.full(objectives, 1.1)
    found = improvement(new, front, reference)
    before = hypervolume(front, reference)
    grown = [hypervolume(np.vstack([front, point]), reference) - before for point in new]
    assert found == pytest.approx(grown, abs=1e-12)
    assert (found > 0).any()
    assert (found == 0).any()
    alone = improvement(new, np.empty((0, objectives)), reference)
    assert alone == pytest.approx([hypervolume(point[None], reference) for point in new])


def test_nothing_that_is_predicted_to_be_worthless_trains_before_what_may_be_of_worth() -> None:
    """Networks that cost nothing and do not learn fall short of such a front member by nothing."""
    predicted, costs = [0.9, 0.9, 0.3, 0.4], [[0.0], [0.1], [5.0], [6.0]]
    front, reference = [[0.9, 0.0], [0.2, 4.0]], [0.8, 10.0]
    chosen = choose(predicted, costs, front, reference, 4, np.ones(4, dtype=bool))
    assert set(chosen[:2]) == {2, 3}
    assert sorted(chosen) == [0, 1, 2, 3]


def test_a_batch_does_not_choose_the_same_improvement_twice() -> None:
    # the first two are alike; the third adds less than either, but more than the second after the first
    predicted, costs = np.array([0.3, 0.301, 0.65]), np.array([[0.5], [0.5], [0.1]])
    arguments = (predicted, costs, np.array([[0.9, 0.9]]), np.array([1.0, 1.0]))
    assert choose(*arguments, 2, np.ones(3, dtype=bool)) == [0, 2]
    assert choose(*arguments, 5, np.array([False, True, True])) == [1, 2]


def pool_of(seed: int) -> tuple[Pool, np.ndarray]:
    features, score, accuracy = problem(400, seed)
    costs = np.exp(0.5 * features[:, :1] + 0.3 * np.random.default_rng(seed).normal(size=(400, 1)))
    return Pool(groups_of(features, score), score, costs), accuracy


def trained_by(pool: Pool, accuracy: np.ndarray, budget: int) -> list[int]:
    trained: list[int] = []
    while len(trained) < budget:
        picks = next_trainings(pool, [Lesson(trained, accuracy[trained])], min(5, budget - len(trained)))
        assert not set(picks) & set(trained)
        trained += picks
    return trained


def share(pool: Pool, accuracy: np.ndarray, rows: list[int]) -> float:
    points = np.column_stack([-accuracy, pool.costs])
    reference = np.array([-np.quantile(accuracy, 0.05), pool.costs.max()])
    return hypervolume(points[rows], reference) / hypervolume(points, reference)


def test_what_is_chosen_completes_the_front_before_chance_does() -> None:
    ours, chance = [], []
    for seed in range(3):
        pool, accuracy = pool_of(seed)
        ours.append(share(pool, accuracy, trained_by(pool, accuracy, 40)))
        orders = [np.random.default_rng([seed, draw]).permutation(400).tolist() for draw in range(20)]
        chance.append([np.mean([share(pool, accuracy, rows[:count]) for rows in orders]) for count in (40, 80)])
    assert all(a > b for a, (b, _) in zip(ours, chance, strict=True))
    assert np.mean(ours) > np.mean([twice for _, twice in chance])


def test_the_first_trainings_span_the_costs() -> None:
    pool, _ = pool_of(0)
    first = next_trainings(pool, [], wave_size(0))
    assert len(first) == len(set(first)) == START
    assert pool.costs[first].min() == pool.costs.min()
    assert int(np.argmax(pool.score)) in first


def test_a_pool_that_is_used_up_gives_nothing_more() -> None:
    pool, accuracy = pool_of(0)
    small = Pool(tuple(group[:12] for group in pool.features), pool.score[:12], pool.costs[:12])
    assert sorted(trained_by(small, accuracy[:12], 12)) == list(range(12))
    assert next_trainings(small, [Lesson(range(12), accuracy[:12])], 3) == []
