"""Drift between two timings: what is put in comes out, outliers do not move it, little data asks for little."""

import numpy as np
import pytest

from latency_models.drift import LEAST_FOR_OFFSET, Drift, fit_drift

THEN = np.exp(np.linspace(-0.5, 2.5, 20))


def test_a_factor_and_an_offset_are_found_and_undone() -> None:
    now = Drift(1.1, 0.1).apply(THEN)
    assert now == pytest.approx(1.1 * THEN + 0.1)
    found = fit_drift(now, THEN)
    assert found == pytest.approx((1.1, 0.1, THEN.min()), rel=1e-6)
    assert found.undo(now) == pytest.approx(THEN)


def test_disturbed_networks_hardly_move_it() -> None:
    rng = np.random.default_rng(0)
    now = (1.1 * THEN + 0.1) * rng.lognormal(0, 0.01, len(THEN))
    now[[4, 11, 17]] *= 2
    assert fit_drift(now, THEN).apply(THEN) == pytest.approx(1.1 * THEN + 0.1, rel=0.02)


def test_few_networks_give_a_factor_alone() -> None:
    few = THEN[: LEAST_FOR_OFFSET - 1]
    assert fit_drift(1.3 * few + 0.1, few).offset_ms == 0
    assert fit_drift(few[:2], few[:2]) == Drift(1.0, 0.0)


def test_equal_networks_say_nothing_of_an_offset() -> None:
    then = np.full(12, 3.0)
    found = fit_drift(1.2 * then, then)
    assert found.apply(then) == pytest.approx(1.2 * then)


@pytest.mark.parametrize("offset_ms", [0.05, -0.05])
def test_far_faster_calls_drift_as_the_fastest_that_was_seen(offset_ms: float) -> None:
    drift, then = Drift(1.1, offset_ms, 0.5), np.array([0.005, 0.02, 0.1, 0.5, 1.0])
    now = drift.apply(then)
    assert now[:4] / then[:4] == pytest.approx(1.1 + offset_ms / 0.5)
    assert now[-1] == pytest.approx(1.1 + offset_ms)
    assert drift.undo(now) == pytest.approx(then)
