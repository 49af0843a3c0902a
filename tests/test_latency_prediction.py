"""Units, the block table, its calibration, and the error that it states."""

import numpy as np
import pytest

from latency_models.device import parse_device
from latency_models.kernels import Unit, families, features, units
from latency_models.predictors.calibration import LEAST_NETWORKS, Calibration, calibrate, conformal_quantile
from latency_models.predictors.regression import fit_units
from latency_models.predictors.table import BlockTable, UnitRecord, UnitTable
from latency_models.report import accuracy_report, spearman
from search_spaces import SPACES, Classification, Task, get_space
from search_spaces.builder import Builder, Value
from search_spaces.deploy import deploy
from search_spaces.errors import UnsupportedKernel
from search_spaces.graph import Graph

DEVICE = parse_device("local-onnxruntime")
EXACT = Calibration(call_ms=0.0, scale=1.0, relative_error=0.1)
TASKS = {
    "mobilenet_v2": Task((3, 224, 224), Classification(10)),
    "mobilenet_v2_small": Task((1, 8, 8), Classification(10)),
    "nas_bench_201": Task((3, 32, 32), Classification(10)),
}


def block(b: Builder, x: Value, channels: int, activation: str) -> Value:
    return b.op("act", activation, b.batch_norm("bn", b.conv("conv", x, channels, 3)))


def chain(*widths: int, activation: str = "relu") -> Graph:
    b = Builder([(3, 8, 8)])
    x = b.inputs[0]
    for i, width in enumerate(widths):
        x = b.block(f"block{i}", block, x, width, activation)
    return b.build(x)


def record(unit: Unit, ms: float, error_ms: float = 0.0) -> UnitRecord:
    return UnitRecord(unit.key, ms, error_ms, 1, tuple(sorted(families(unit))), features(unit))


def table_of(*graphs: Graph) -> UnitTable:
    """Each unit takes as many microseconds as it has thousands of MACs, plus one."""
    found = {unit.key: unit for graph in graphs for unit in units(graph)}
    return UnitTable([record(unit, 1e-3 + unit.graph.macs * 1e-6) for unit in found.values()])


@pytest.mark.parametrize("name", SPACES)
def test_units_hold_every_op_of_the_deployed_network(name: str) -> None:
    space = get_space(name)
    rng = np.random.default_rng(0)
    for arch in [*space.cover(), *(space.sample(rng) for _ in range(20))]:
        graph = space.graph(arch, TASKS.get(name, Task((3, 32, 32), Classification(10))))
        deployed, _ = deploy(graph)
        found = units(graph)
        assert sum(unit.graph.macs for unit in found) == deployed.macs
        assert sum(unit.graph.params for unit in found) == deployed.params
        ops = sorted(node.op for unit in found for node in unit.graph.nodes)
        assert ops == sorted(node.op for node in deployed.nodes)


def test_equal_blocks_are_one_unit_and_shapes_tell_units_apart() -> None:
    keys = [unit.key for unit in units(chain(16, 16, 16, 8))]
    assert keys[1] == keys[2]
    assert len(set(keys)) == 3
    assert units(chain(16, 16))[0].key == keys[0]


def test_runs_of_single_ops_between_blocks_are_units() -> None:
    b = Builder([(3, 8, 8)])
    x = b.block("one", block, b.inputs[0], 8, "relu")
    y = b.op("pool", "max_pool", x, kernel=(2, 2), stride=(2, 2), padding=(0, 0))
    y = b.op("act", "relu", y)
    z = b.block("two", block, y, 8, "relu")
    first, run, last = units(b.build(b.op("sum", "add", z, y)))[:3]
    assert [node.op for node in run.graph.nodes] == ["max_pool", "relu"]
    assert run.graph.inputs == ((8, 8, 8),)
    assert [node.op for node in first.graph.nodes] == ["conv", "relu"]
    assert last.graph.inputs == ((8, 4, 4),)


def test_a_prediction_is_the_exact_sum_of_known_units() -> None:
    graphs = [chain(4, 8), chain(8, 8, 16)]
    table = table_of(*graphs)
    predictor = BlockTable(DEVICE, table, EXACT)
    for graph in graphs:
        estimate = predictor.predict(graph)
        assert estimate.value == pytest.approx(sum(1e-3 + u.graph.macs * 1e-6 for u in units(graph)), rel=1e-12)
        assert estimate.error == pytest.approx(0.1 * estimate.value)
        assert estimate.source == "predicted"
        assert estimate.note == ""
    calibrated = BlockTable(DEVICE, table, Calibration(call_ms=5e-4, scale=2.0, relative_error=0.1))
    times = [table.unit_ms(unit) for unit in units(graphs[1])]
    assert calibrated.predict(graphs[1]).value == pytest.approx(5e-4 + sum(2 * t - 5e-4 for t in times))


def test_an_unknown_unit_is_modelled_and_said_so() -> None:
    known = [chain(width, after) for width in (4, 8, 12, 16, 24, 32) for after in (8, 16, 40)]
    predictor = BlockTable(DEVICE, table_of(*known), EXACT)
    estimate = predictor.predict(chain(16, 20))
    wanted = sum(1e-3 + u.graph.macs * 1e-6 for u in units(chain(16, 20)))
    assert estimate.value == pytest.approx(wanted, rel=0.15)
    assert estimate.error is not None
    assert estimate.error > 0.1 * estimate.value
    assert "extrapolated" in estimate.note
    assert estimate == BlockTable(DEVICE, table_of(*known), EXACT).predict(chain(16, 20))


def test_an_op_that_was_never_timed_raises() -> None:
    predictor = BlockTable(DEVICE, table_of(chain(4, 8), chain(16)), EXACT)
    with pytest.raises(UnsupportedKernel, match="hard_swish"):
        predictor.predict(chain(4, activation="hard_swish"))
    b = Builder([(8, 8, 8)])
    with pytest.raises(UnsupportedKernel, match="depthwise"):
        predictor.predict(b.build(b.conv("conv", b.inputs[0], 8, 3, groups=8, bias=True)))
    with pytest.raises(UnsupportedKernel):
        BlockTable(DEVICE, UnitTable([]), EXACT).predict(chain(4))


def test_no_calibration_makes_a_unit_free() -> None:
    assert Calibration(call_ms=1.0, scale=1.0, relative_error=0.1).part_ms(0.5) > 0


def draw_networks(rng: np.random.Generator, count: int, noise: float) -> tuple[list[list[float]], np.ndarray]:
    """Networks of units that each pay 2 µs for a call which a network pays once, timed with relative noise."""
    networks = [(0.002 + rng.uniform(0.001, 0.02, rng.integers(5, 30))).tolist() for _ in range(count)]
    true = np.array([0.002 + 0.9 * sum(units) - 0.0018 * len(units) for units in networks])
    return networks, true * (1 + noise * rng.standard_normal(count))


def test_calibration_finds_scale_and_call_despite_outliers() -> None:
    rng = np.random.default_rng(0)
    networks = [rng.uniform(0.005, 0.02, rng.integers(5, 30)).tolist() for _ in range(24)]
    measured = np.array([0.002 + sum(0.9 * t - 0.002 for t in units) for units in networks])
    measured[3] *= 2
    calibration, left_out = calibrate(networks, measured.tolist())
    assert calibration.scale == pytest.approx(0.9, rel=0.01)
    assert calibration.call_ms == pytest.approx(0.002, rel=0.2)
    assert left_out[3] == pytest.approx(measured[3] / 2, rel=0.02)


def test_stated_errors_cover_new_networks() -> None:
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(40):
        networks, measured = draw_networks(rng, 24, 0.05)
        calibration, _ = calibrate(networks, measured.tolist())
        for units_ms, ms in zip(*draw_networks(rng, 20, 0.05), strict=True):
            predicted = calibration.network_ms(units_ms)
            inside.append(abs(ms - predicted) <= calibration.relative_error * predicted)
    assert 0.86 <= np.mean(inside) <= 0.97


def test_conformal_quantile() -> None:
    assert conformal_quantile(np.arange(1, 20) / 100.0) == pytest.approx(0.18)
    assert conformal_quantile(np.arange(1, LEAST_NETWORKS + 1) / 100.0) == pytest.approx(0.10)


def test_unit_model_is_smooth_deterministic_and_positive() -> None:
    rng = np.random.default_rng(2)
    rows = [{"macs": float(m), "moved": float(b)} for m, b in rng.integers(1_000, 1_000_000, (80, 2))]
    times = [1e-3 + 1e-7 * row["macs"] + 2e-8 * row["moved"] for row in rows]
    model = fit_units(rows[:60], times[:60], [0.0] * 60)
    errors = [abs(model.predict_ms(row) / ms - 1) for row, ms in zip(rows[60:], times[60:], strict=True)]
    assert np.median(errors) < 0.03
    assert model.relative_error < 0.2
    assert model.predict_ms({}) > 0
    assert model.predict_ms(rows[0]) == fit_units(rows[:60], times[:60], [0.0] * 60).predict_ms(rows[0])


def test_report_counts_by_hand() -> None:
    report = accuracy_report([1.0, 2.08, 3.27, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert report["within_5_percent"] == 0.5
    assert report["within_10_percent"] == 0.75
    assert report["spearman"] == pytest.approx(1.0)
    assert report["mean_error"] == pytest.approx((0 + 0.04 + 0.09 + 1) / 4)
    assert spearman(np.array([1.0, 1.0, 2.0]), np.array([3.0, 3.0, 1.0])) == pytest.approx(-1.0)
    assert spearman(np.ones(3), np.arange(3.0)) == 0.0
