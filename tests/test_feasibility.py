"""Bounds: which rejects, what is said before anything runs, and that a tight bound can still be met."""

import pytest
from support_graphs import TASK

from latency_models.estimate import Estimate, Source
from nas.feasibility import ARITHMETIC, Feasibility
from nas.spec import Constraint
from search_spaces import SPACES, get_space
from search_spaces.errors import Infeasible, InvalidSpec
from search_spaces.graph import Graph


class MacsClock:
    """A predictor by a formula: a microsecond for a thousand MACs."""

    def predict(self, graph: Graph) -> Estimate:
        return Estimate(graph.macs / 1e6, 0.1, Source.PREDICTED)


def build(*constraints: Constraint, space: str = "mobilenet_v2_small", clock: bool = False) -> Feasibility:
    return Feasibility(get_space(space), TASK, constraints, {"here": MacsClock()} if clock else {})


def test_the_first_broken_bound_is_named() -> None:
    feasible = build(Constraint(metric="params", max=20_000), Constraint(metric="macs", max=1e12))
    space = get_space("mobilenet_v2_small")
    assert feasible(space.smallest()) is None
    assert feasible(space.cover()[-1]) == "params <= 20000"


@pytest.mark.parametrize("space", [name for name in SPACES if get_space(name).ordered])
@pytest.mark.parametrize("metric", ARITHMETIC)
def test_a_bound_below_the_least_value_is_refused_with_that_value(space: str, metric: str) -> None:
    members = get_space(space)
    least = ARITHMETIC[metric](members.graph(members.smallest(), TASK))
    with pytest.raises(InvalidSpec, match=str(least)) as caught:
        build(Constraint(metric="params", min=0), Constraint(metric=metric, max=least - 1), space=space).check()
    assert caught.value.field == "constraints.1.max"
    build(Constraint(metric=metric, max=least), space=space).check()


def test_where_blocks_are_chosen_a_bound_that_nothing_meets_is_found_by_drawing() -> None:
    space = get_space("fbnet[early_strides=false]")
    assert not space.ordered
    least = space.graph(space.smallest(), TASK).params
    Feasibility(space, TASK, [Constraint(metric="params", max=least)], {}).check()
    with pytest.raises(Infeasible, match="params <= 10 rejected most"):
        Feasibility(space, TASK, [Constraint(metric="params", max=10)], {}).check()


def test_bounds_that_together_leave_nothing_name_the_one_that_rejects_most() -> None:
    space = get_space("mobilenet_v2_small")
    least = space.graph(space.smallest(), TASK)
    with pytest.raises(Infeasible, match="macs >= 5e\\+09") as caught:
        build(Constraint(metric="params", max=20 * least.params), Constraint(metric="macs", min=5e9)).check()
    assert "draws" in str(caught.value)
    assert "relax" in caught.value.hint


def test_a_latency_bound_counts_once_the_device_has_a_predictor() -> None:
    bound = Constraint(metric="latency_ms", device="here", max=1e-3)
    build(bound).check()
    with pytest.raises(Infeasible, match="latency_ms@here"):
        build(bound, clock=True).check()


def test_the_walk_reaches_what_random_draws_miss() -> None:
    space = get_space("mobilenet_v2_small")
    least = space.graph(space.smallest(), TASK)
    bounds = [Constraint(metric="params", max=least.params + 200), Constraint(metric="macs", min=least.macs + 1)]
    build(*bounds).check()


def test_without_bounds_everything_is_feasible() -> None:
    space = get_space("nas_bench_201")
    assert all(build(space="nas_bench_201")(arch) is None for arch in space.cover())
