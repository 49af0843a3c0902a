"""Transfer on made-up devices: a network's latency is a sum over its choices of a cost that the device decides."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.latency_transfer import chip, group, main
from latency_models.report import spearman
from latency_models.transfer import choose_samples, fit
from search_spaces.errors import InvalidSpec

NETWORKS, CHOICES, OPTIONS = 400, 8, 4
NOISE = 0.02
SOURCES = 6


class World(NamedTuple):
    encodings: NDArray[np.int64]
    source_latency_ms: NDArray[np.float64]
    alike_ms: NDArray[np.float64]
    unlike_ms: NDArray[np.float64]


def timed(encodings: NDArray[np.int64], costs: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    total = 1 + costs[np.arange(CHOICES), encodings].sum(axis=1)
    noisy: NDArray[np.float64] = total * np.exp(NOISE * rng.standard_normal(len(encodings)))
    return noisy


def make_world(seed: int) -> World:
    """Sources and a target that pay for compute, memory and calls in their own proportions; and one of its own kind."""
    rng = np.random.default_rng([seed, 1])
    encodings = rng.integers(0, OPTIONS, (NETWORKS, CHOICES))
    resources = rng.gamma(0.5, 1.0, (3, CHOICES, OPTIONS))
    # no target is transferred to if it is slow in what no source is slow in: the first three have one weakness each
    mixes = np.concatenate([0.7 * np.eye(3) + 0.1, rng.dirichlet((0.5, 0.5, 0.5), SOURCES - 3)])
    mixes *= rng.uniform(0.5, 20, (SOURCES, 1))
    sources = [timed(encodings, np.tensordot(mix, resources, 1), rng) for mix in mixes]
    return World(
        encodings,
        np.stack(sources, axis=1),
        timed(encodings, np.tensordot([1.0, 0.8, 1.2], resources, 1), rng),
        timed(encodings, rng.gamma(0.5, 1.0, (CHOICES, OPTIONS)), rng),
    )


@pytest.fixture(scope="module", params=[0, 1, 2])
def world(request: pytest.FixtureRequest) -> World:
    return make_world(request.param)


def test_it_recovers_a_mixture_of_known_devices(world: World) -> None:
    chosen = choose_samples(world.encodings, world.source_latency_ms, 10)
    predictor = fit(world.encodings, world.source_latency_ms, chosen, world.alike_ms[chosen])
    unseen = np.setdiff1d(np.arange(NETWORKS), chosen)
    mean_ms, error_ms = predictor.predict(unseen)
    actual_ms = world.alike_ms[unseen]
    best_source = max(spearman(column, actual_ms) for column in world.source_latency_ms[unseen].T)
    assert spearman(mean_ms, actual_ms) > max(0.97, best_source)
    assert np.mean(np.abs(mean_ms - actual_ms) <= 0.10 * actual_ms) > 0.95
    assert np.mean(error_ms / mean_ms) < 0.15
    assert predictor.alike
    assert predictor.explained > 0.9
    assert predictor.leave_one_out.within_10 >= 0.7
    assert predictor.leave_one_out.spearman > 0.9


def test_it_says_when_no_known_device_is_alike() -> None:
    """By chance a device can look alike on ten networks and not be; that must be rare."""
    alike, unlike = [], []
    for seed in range(20):
        world = make_world(seed)
        chosen = choose_samples(world.encodings, world.source_latency_ms, 10)
        for found, target in ((alike, world.alike_ms), (unlike, world.unlike_ms)):
            found.append(fit(world.encodings, world.source_latency_ms, chosen, target[chosen]).alike)
    assert all(alike)
    assert sum(unlike) <= 2


def test_nine_of_ten_networks_are_inside_the_interval() -> None:
    """On the mean over devices, alike or not: ten samples cannot say it of each."""
    inside = []
    for seed in range(15):
        world = make_world(seed)
        chosen = choose_samples(world.encodings, world.source_latency_ms, 10)
        for target in (world.alike_ms, world.unlike_ms):
            predictor = fit(world.encodings, world.source_latency_ms, chosen, target[chosen])
            mean_ms, error_ms = predictor.predict(range(NETWORKS))
            assert np.all(mean_ms > 0)
            inside.append(np.mean(np.abs(mean_ms - target) <= error_ms))
    assert 0.88 < np.mean(inside) < 0.98


def test_it_names_the_nearest_device(world: World) -> None:
    sources = np.column_stack([world.source_latency_ms, 3 * world.alike_ms])
    chosen = choose_samples(world.encodings, sources, 10)
    predictor = fit(world.encodings, sources, chosen, world.alike_ms[chosen])
    assert predictor.nearest == SOURCES
    assert predictor.nearest_correlation == pytest.approx(1)


def test_a_table_of_choices_is_learned_without_a_known_device(world: World) -> None:
    nothing = np.zeros((NETWORKS, 0))
    chosen = choose_samples(world.encodings, nothing, 60)
    predictor = fit(world.encodings, nothing, chosen, world.alike_ms[chosen])
    mean_ms, _ = predictor.predict(range(NETWORKS))
    assert spearman(mean_ms, world.alike_ms) > 0.95
    assert (predictor.alike, predictor.nearest, predictor.nearest_correlation) == (False, None, 0.0)


def test_a_disturbed_sample_loses_its_say(world: World) -> None:
    chosen = choose_samples(world.encodings, world.source_latency_ms, 12)
    disturbed = world.alike_ms[chosen].copy()
    disturbed[int(np.argmin(disturbed))] *= 5
    mean_ms, _ = fit(world.encodings, world.source_latency_ms, chosen, disturbed).predict(range(NETWORKS))
    assert spearman(mean_ms, world.alike_ms) > 0.9


def test_chosen_networks_teach_more_than_random_ones() -> None:
    """One world proves little: the mean over several."""
    chosen_rho, random_rho = [], []
    for seed in range(12):
        world = make_world(seed)
        rng = np.random.default_rng(seed)
        for rho, rows in (
            (chosen_rho, choose_samples(world.encodings, world.source_latency_ms, 5, seed)),
            (random_rho, rng.choice(NETWORKS, 5, replace=False)),
        ):
            mean_ms, _ = fit(world.encodings, world.source_latency_ms, rows, world.alike_ms[rows]).predict(
                range(NETWORKS)
            )
            rho.append(spearman(mean_ms, world.alike_ms))
    assert np.mean(chosen_rho) > np.mean(random_rho)


def test_samples_are_distinct_and_decided_by_the_seed(world: World) -> None:
    encodings, sources = np.tile(world.encodings, (10, 1)), np.tile(world.source_latency_ms, (10, 1))
    first, again, other = (choose_samples(encodings, sources, 10, seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()
    assert len(set(first.tolist())) == 10
    assert sorted(choose_samples(world.encodings[:20], world.source_latency_ms[:20], 20)) == list(range(20))


def test_fitting_twice_gives_the_same(world: World) -> None:
    rows = choose_samples(world.encodings, world.source_latency_ms, 10)
    twice = [fit(world.encodings, world.source_latency_ms, rows, world.alike_ms[rows]) for _ in range(2)]
    assert np.array_equal(twice[0].predict(range(50)), twice[1].predict(range(50)))
    assert twice[0].leave_one_out == twice[1].leave_one_out


def test_the_unit_does_not_matter(world: World) -> None:
    rows = choose_samples(world.encodings, world.source_latency_ms, 10)
    small = fit(world.encodings, world.source_latency_ms, rows, world.alike_ms[rows])
    large = fit(world.encodings, world.source_latency_ms * 7, rows, world.alike_ms[rows] * 1000)
    for one, other in zip(small.predict(range(NETWORKS)), large.predict(range(NETWORKS)), strict=True):
        np.testing.assert_allclose(one * 1000, other, rtol=1e-4)


def test_columns_that_never_vary_change_nothing(world: World) -> None:
    encodings = np.column_stack([np.full(NETWORKS, 3), world.encodings])
    sources = np.column_stack([np.full(NETWORKS, 7.0), world.source_latency_ms])
    rows = choose_samples(world.encodings, world.source_latency_ms, 10)
    assert choose_samples(encodings, sources, 10).tolist() == rows.tolist()
    plain = fit(world.encodings, world.source_latency_ms, rows, world.alike_ms[rows])
    padded = fit(encodings, sources, rows, world.alike_ms[rows])
    np.testing.assert_allclose(plain.predict(range(NETWORKS)), padded.predict(range(NETWORKS)))
    assert plain.nearest is not None
    assert padded.nearest == plain.nearest + 1


def test_two_samples_and_a_constant_target_do_not_break_it(world: World) -> None:
    rows = choose_samples(world.encodings, world.source_latency_ms, 2)
    mean_ms, error_ms = fit(world.encodings, world.source_latency_ms, rows, [3.0, 3.0]).predict(range(NETWORKS))
    assert np.all(np.isfinite(mean_ms) & (mean_ms > 0) & np.isfinite(error_ms) & (error_ms > 0))
    all_same = np.zeros((NETWORKS, 2), dtype=int)
    predictor = fit(all_same, np.ones((NETWORKS, 1)), [0, 1, 2], [2.0, 2.1, 1.9])
    assert predictor.predict([5])[0] == pytest.approx(2.0, rel=0.05)
    assert not predictor.alike


GOOD: dict[str, Any] = {
    "encodings": [[0, 1], [1, 0], [1, 1], [0, 0]],
    "source_latency_ms": [[1.0], [2.0], [3.0], [1.5]],
    "indices": [0, 1, 2],
    "latency_ms": [1.0, 2.0, 3.0],
}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"encodings": [0, 1]}, "encodings"),
        ({"encodings": [[0], [1, 2], [0], [1]]}, "encodings"),
        ({"encodings": [[0.5, 1.0]] * 4}, "encodings"),
        ({"encodings": [["a", "b"]] * 4}, "encodings"),
        ({"encodings": np.arange(8_000).reshape(4, 2_000)}, "encodings"),
        ({"encodings": [[0, 1]], "source_latency_ms": [[1.0]]}, "encodings"),
        ({"source_latency_ms": [1.0, 2.0, 3.0, 4.0]}, "source_latency_ms"),
        ({"source_latency_ms": [[1.0], [2.0]]}, "source_latency_ms"),
        ({"source_latency_ms": [["a"]] * 4}, "source_latency_ms"),
        ({"source_latency_ms": [[1.0], [2.0], [np.nan], [1.0]]}, "source_latency_ms.2.0"),
        ({"source_latency_ms": [[1.0], [0.0], [1.0], [1.0]]}, "source_latency_ms.1.0"),
        ({"indices": [0, 1, 4]}, "indices.2"),
        ({"indices": [-1, 1, 2]}, "indices.0"),
        ({"indices": [0, 1, 1]}, "indices.2"),
        ({"indices": [0.0, 1.0, 2.0]}, "indices"),
        ({"indices": [0], "latency_ms": [1.0]}, "indices"),
        ({"latency_ms": [1.0, 2.0]}, "latency_ms"),
        ({"latency_ms": [1.0, -2.0, 3.0]}, "latency_ms.1"),
        ({"latency_ms": [1.0, 2.0, np.inf]}, "latency_ms.2"),
        ({"latency_ms": [[1.0], [2.0], [3.0]]}, "latency_ms"),
    ],
)
def test_a_bad_input_is_named(changed: dict[str, Any], field: str) -> None:
    fit(**GOOD)
    with pytest.raises(InvalidSpec) as error:
        fit(**(GOOD | changed))
    assert error.value.field == field
    assert error.value.hint


@pytest.mark.parametrize(
    ("k", "seed", "field"), [(5, 0, "k"), (1, 0, "k"), (2.0, 0, "k"), (True, 0, "k"), (2, -1, "seed"), (2, 0.5, "seed")]
)
def test_a_bad_count_or_seed_is_named(k: Any, seed: Any, field: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        choose_samples(GOOD["encodings"], GOOD["source_latency_ms"], k, seed)
    assert error.value.field == field


@pytest.mark.parametrize("rows", [[4], [-1], [0.5]])
def test_a_row_that_is_not_in_the_table_is_refused(rows: list[Any]) -> None:
    with pytest.raises(InvalidSpec, match="indices"):
        fit(**GOOD).predict(rows)


def test_batch_sizes_of_a_chip_are_told_from_model_numbers() -> None:
    names = ["titanx_1", "titanx_256", "titanxp_32", "titan_rtx_1", "1080ti_64", "essential_ph_1", "silver_4114",
             "silver_4210r", "gold_6240", "gold_6226", "pixel3", "samsung_a50"]  # fmt: skip
    assert [chip(name) for name in names] == ["titanx", "titanx", "titanxp", "titan_rtx", "1080ti", "essential_ph",
                                              "silver_4114", "silver_4210r", "gold_6240", "gold_6226", "pixel3",
                                              "samsung_a50"]  # fmt: skip
    assert {group(name) for name in names} == {"cpu", "phone", "gpu"}


def test_the_benchmark_leaves_out_the_whole_chip(
    world: World, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The unlike device is there with another batch size: with it in the sources it would be predicted well."""
    path = tmp_path / "devices.npz"
    latency_ms = np.column_stack([world.source_latency_ms, world.alike_ms, world.unlike_ms, 2 * world.unlike_ms])
    devices = [f"gold_{number}" for number in range(6001, 6001 + SOURCES)] + ["pixel3", "titanx_1", "titanx_32"]
    np.savez(path, edges=world.encodings.astype(np.int8), devices=np.array(devices), latency_ms=latency_ms)
    command = ["latency_transfer", "--data", str(path), "--targets", "pixel3,titanx_1", "--seeds", "1", "--json"]
    monkeypatch.setattr("sys.argv", command)
    main()
    results = json.loads(capsys.readouterr().out)
    assert results["targets"]["pixel3"]["spearman"] > 0.95
    assert results["targets"]["titanx_1"]["spearman"] < 0.9
    expected = np.mean([row["spearman"] for row in results["targets"].values()])
    assert results["mean_spearman"] == pytest.approx(expected)
