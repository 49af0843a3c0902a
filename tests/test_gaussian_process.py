"""The additive Gaussian process: gradients against differences, predictions against a library's, groups that matter."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from nas import gaussian_process
from nas.gaussian_process import believe


def made_up(n: int = 120, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Two groups of features, and what depends on one column of either."""
    rng = np.random.default_rng(seed)
    groups = [rng.normal(size=(n, 3)), rng.normal(size=(n, 40))]
    target = np.sin(2 * groups[0][:, 0]) + 0.5 * groups[0][:, 1] + 0.3 * groups[1][:, 0] + 0.1 * rng.normal(size=n)
    return groups, (target - target.mean()) / target.std()


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_the_likelihood(seed: int) -> None:
    groups, target = made_up(30, seed)
    distances = [gaussian_process._distances(t, t) for t in map(gaussian_process._scaled, groups)]
    theta = 0.5 * np.random.default_rng(seed).normal(size=5)
    _, slopes = gaussian_process._misfit(theta, distances, target)
    step = 1e-5
    for i, slope in enumerate(slopes):
        ends = [gaussian_process._misfit(theta + s * np.eye(5)[i], distances, target)[0] for s in (-step, step)]
        assert slope == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-5, abs=1e-6)


def test_with_one_group_it_is_the_process_of_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    groups, target = made_up()
    known = np.arange(60)
    monkeypatch.setattr(gaussian_process, "_most_likely", lambda *_: np.log([0.7, 1.3, 0.05]))
    ours = believe(groups[:1], known, target[known])
    kernel = ConstantKernel(0.7) * Matern(1.3, nu=2.5) + WhiteKernel(0.05)
    x, middle = gaussian_process._scaled(groups[0]), target[known].mean()
    model = GaussianProcessRegressor(kernel, optimizer=None).fit(x[known], target[known] - middle)
    mean, deviation = model.predict(x, return_std=True)
    assert ours.mean == pytest.approx(mean + middle, abs=1e-6)
    assert ours.deviation**2 == pytest.approx(deviation**2 - 0.05, abs=1e-6)


def test_a_small_group_is_heard_beside_a_large_one() -> None:
    apart, together = [], []
    for seed in range(4):
        groups, target = made_up(seed=seed)
        known = np.arange(60)
        for found, given in ((apart, groups), (together, [np.column_stack(groups)])):
            found.append(np.corrcoef(believe(given, known, target[known]).mean[60:], target[60:])[0, 1])
    assert np.mean(apart) > 0.6
    assert np.mean(apart) > np.mean(together) + 0.2


def test_what_is_near_to_what_is_known_is_known_better() -> None:
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-1, 1, size=(80, 1)), axis=0)
    known = np.arange(30, 50)
    found = believe([x], known, np.sin(4 * x[known, 0]))
    assert found.deviation[known].max() < found.deviation[[0, -1]].min()
    assert found.deviation[0] > found.deviation[20]
