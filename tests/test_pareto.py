"""Pareto functions against brute force on small whole numbers, and against pymoo."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from nas.pareto import (
    best_if_relaxed,
    best_under_bound,
    crowding_distance,
    dominates,
    hypervolume,
    hypervolume_contributions,
    hypervolume_over_time,
    knee_point,
    non_dominated,
    non_dominated_sort,
    rank_by_dominance,
    signed,
)

SIDE = 5


def grids(most_points: int = 9, most_objectives: int = 4) -> st.SearchStrategy[np.ndarray]:
    """Point sets on a small grid: rich in copies, ties and points outside the reference."""
    shapes = st.tuples(st.integers(0, most_points), st.integers(1, most_objectives))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(0, SIDE).map(float)))


def counted_volume(points: np.ndarray, side: int) -> int:
    """The cells of the grid of this side that some point dominates, counted one by one."""
    cells = np.stack(np.meshgrid(*[np.arange(side)] * points.shape[1], indexing="ij"), axis=-1)
    covered = np.zeros(cells.shape[:-1], dtype=bool)
    for point in points:
        covered |= (cells >= point).all(axis=-1)
    return int(covered.sum())


def included_volume(points: np.ndarray, corner: np.ndarray) -> float:
    """Hypervolume by inclusion and exclusion over all subsets."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in combinations(points, size):
            total += (-1) ** (size + 1) * np.prod(np.maximum(corner - np.max(chosen, axis=0), 0))
    return total


@given(grids())
def test_hypervolume_counts_the_dominated_cells(points: np.ndarray) -> None:
    assert hypervolume(points, np.full(points.shape[1], SIDE - 1.0)) == counted_volume(points, SIDE - 1)


@settings(max_examples=50)
@given(arrays(np.float64, st.tuples(st.integers(1, 7), st.integers(1, 6)), elements=st.floats(0, 1, width=32)))
def test_hypervolume_equals_inclusion_and_exclusion(points: np.ndarray) -> None:
    corner = np.full(points.shape[1], 0.9)
    assert hypervolume(points, corner) == pytest.approx(included_volume(points, corner), abs=1e-9)


@pytest.mark.parametrize(("count", "objectives"), [(200, 2), (80, 3), (25, 4), (15, 5)])
def test_hypervolume_equals_that_of_pymoo(count: int, objectives: int) -> None:
    points = np.random.default_rng(count).random((count, objectives)) * 1.2
    corner = np.ones(objectives)
    assert hypervolume(points, corner) == pytest.approx(float(HV(corner)(points)), rel=1e-12)


@given(grids())
def test_a_contribution_is_what_the_set_loses_without_the_point(points: np.ndarray) -> None:
    corner = np.full(points.shape[1], SIDE - 1.0)
    whole = counted_volume(points, SIDE - 1)
    lost = [whole - counted_volume(np.delete(points, i, axis=0), SIDE - 1) for i in range(len(points))]
    assert hypervolume_contributions(points, corner).tolist() == lost


@given(grids())
def test_the_mask_is_that_of_all_pairs(points: np.ndarray) -> None:
    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert non_dominated(points).tolist() == expected


@given(grids(most_points=25))
def test_fronts_are_those_of_pymoo(points: np.ndarray) -> None:
    fronts = [front.tolist() for front in non_dominated_sort(points)]
    expected = [sorted(front.tolist()) for front in NonDominatedSorting().do(points)] if len(points) else []
    assert fronts == expected


@given(grids(most_points=15, most_objectives=5))
def test_the_ranking_is_a_permutation_in_order_of_fronts(points: np.ndarray) -> None:
    order = rank_by_dominance(points)
    level = np.empty(len(points), dtype=int)
    for number, front in enumerate(non_dominated_sort(points)):
        level[front] = number
    assert sorted(order.tolist()) == list(range(len(points)))
    assert (np.diff(level[order]) >= 0).all()


@given(grids(most_points=15, most_objectives=3), st.integers(1, 4))
def test_the_ranking_does_not_depend_on_scale(points: np.ndarray, exponent: int) -> None:
    scales = 2.0 ** (exponent * np.arange(points.shape[1]))  # powers of two: exact
    assert rank_by_dominance(points).tolist() == rank_by_dominance(points * scales).tolist()


def test_ends_lead_their_front_then_the_larger_contribution() -> None:
    points = np.array([[5.0, 5.1], [4.0, 6.0], [10.0, 0.0], [0.0, 10.0], [4.8, 5.2], [11.0, 11.0]])
    assert set(rank_by_dominance(points)[:2].tolist()) == {2, 3}
    inner = rank_by_dominance(points)[2:5].tolist()
    gains = hypervolume_contributions(points, [12.1, 12.1])
    assert inner == sorted([0, 1, 4], key=lambda i: -gains[i])
    assert rank_by_dominance(points)[-1] == 5


def test_copies_stand_at_the_end_of_their_front() -> None:
    points = np.array([[0.0, 2.0], [0.0, 2.0], [1.0, 1.0], [2.0, 0.0], [2.0, 2.0]])
    assert rank_by_dominance(points).tolist() == [0, 3, 2, 1, 4]


def test_ties_go_to_the_lower_index() -> None:
    points = np.array([[3.0, 0.0], [2.0, 1.0], [1.0, 2.0], [0.0, 3.0]])
    assert rank_by_dominance(points).tolist() == [0, 3, 1, 2]


def test_many_objectives_rank_without_exponential_cost() -> None:
    points = np.random.default_rng(0).random((300, 8))
    assert sorted(rank_by_dominance(points).tolist()) == list(range(300))


def test_infinite_values_rank_last_in_what_they_are_infinite_in() -> None:
    points = np.array([[np.inf, 0.0], [1.0, 1.0], [np.inf, np.inf]])
    assert rank_by_dominance(points)[-1] == 2


def test_no_points() -> None:
    nothing = np.empty((0, 2))
    assert hypervolume(nothing, [1.0, 1.0]) == 0.0
    assert hypervolume([], [1.0, 1.0]) == 0.0
    assert hypervolume_contributions(nothing, [1.0, 1.0]).shape == (0,)
    assert non_dominated(nothing).shape == (0,)
    assert non_dominated_sort(nothing) == []
    assert rank_by_dominance(nothing).shape == (0,)
    assert best_under_bound(nothing, 0, [None, None]) is None
    with pytest.raises(ValueError, match="at least one point"):
        knee_point(nothing)


@pytest.mark.parametrize("points", [[[float("nan"), 0.0]], [1.0, 2.0], [[[1.0]]]])
def test_points_of_a_wrong_kind_are_refused(points: list[object]) -> None:
    with pytest.raises(ValueError, match="points must be numbers"):
        non_dominated(points)


def test_a_reference_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        hypervolume([[1.0, 2.0]], [3.0, 3.0, 3.0])


def test_goals_decide_the_sign() -> None:
    assert signed([[0.9, 3.0]], ["maximize", "minimize"]).tolist() == [[-0.9, 3.0]]
    assert signed([0.9], ["maximize"]).tolist() == [-0.9]


def test_equal_points_do_not_dominate_each_other() -> None:
    assert not dominates([1, 2], [1, 2])
    assert dominates([1, 2], [1, 3])
    assert not dominates([1, 3], [2, 2])


def test_crowding_is_infinite_at_the_ends_and_sums_the_gaps() -> None:
    assert crowding_distance([[0, 4], [1, 2], [4, 0]]).tolist() == [np.inf, 2.0, np.inf]


def test_the_knee_is_where_the_front_bends() -> None:
    front = [[0.0, 1.0], [0.1, 0.2], [0.6, 0.15], [1.0, 0.0]]
    assert knee_point([[0.9, 0.9], *front]) == 2
    assert knee_point([[3.0, 3.0]]) == 0


def test_the_best_under_bounds() -> None:
    points = [[-0.9, 9.0], [-0.8, 5.0], [-0.7, 1.0], [-0.8, 4.0]]
    assert best_under_bound(points, 0, [None, 5.0]) == 3
    assert best_under_bound(points, 0, [None, None]) == 0
    assert best_under_bound(points, 1, [-0.75, None]) == 3
    assert best_under_bound(points, 0, [None, 0.5]) is None


def test_the_next_best_when_a_bound_is_relaxed() -> None:
    points = [[-0.9, 9.0], [-0.8, 5.0], [-0.7, 1.0], [-0.8, 4.0]]
    assert best_under_bound(points, 0, [None, 4.5]) == 3
    assert best_if_relaxed(points, 0, [None, 4.5], 1, 0.5) is None  # 6.75: nothing better than -0.8
    assert best_if_relaxed(points, 0, [None, 4.5], 1, 1.0) == 0
    assert best_if_relaxed(points, 0, [None, 0.5], 1, 1.0) == 2  # nothing was within the bound
    assert best_if_relaxed(points, 1, [-0.9, None], 0, 0.1) is None  # -0.81
    assert best_if_relaxed(points, 1, [-0.9, None], 0, 0.12) == 3
    for bounds, share in (([None, None], 0.1), ([None, 4.5], -0.1)):
        with pytest.raises(ValueError, match="relaxed by"):
            best_if_relaxed(points, 0, bounds, 1, share)


@given(grids())
def test_hypervolume_over_time_is_that_of_each_beginning(points: np.ndarray) -> None:
    reference = np.full(points.shape[1], SIDE - 1.0)
    found = hypervolume_over_time(points, reference)
    assert found == pytest.approx([hypervolume(points[: i + 1], reference) for i in range(len(points))])
