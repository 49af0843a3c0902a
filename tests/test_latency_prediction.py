"""Units and kernels, the table of units, their composition to networks, and the error that it states."""

from dataclasses import replace

import numpy as np
import pytest

from latency_models.device import parse_device
from latency_models.kernels import Unit, executed, families, features, named_units, unit_kernels, units
from latency_models.predictors.composed import ComposedPredictor
from latency_models.predictors.composition import (
    LEAST_NETWORKS,
    Composition,
    Deviations,
    compose,
    conformal_quantile,
)
from latency_models.predictors.regression import fit_rates, fit_units
from latency_models.predictors.table import UnitRecord, UnitTable
from latency_models.report import accuracy_report, spearman
from search_spaces import SPACES, Classification, Task, get_space
from search_spaces.builder import Builder, Value
from search_spaces.deploy import deploy
from search_spaces.errors import UnsupportedKernel
from search_spaces.graph import Graph
from search_spaces.onnx_graph import to_onnx

DEVICE = parse_device("local-onnxruntime")
EXACT = Composition(0.0, (1.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0, 0.5, 0.0, (), (), relative_error=0.1)
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


def records_of(*graphs: Graph) -> list[UnitRecord]:
    """Each unit takes as many microseconds as it has thousands of MACs, plus one."""
    found = {unit.key: unit for graph in graphs for unit in units(graph)}
    return [record(unit, 1e-3 + unit.graph.macs * 1e-6) for unit in found.values()]


@pytest.mark.parametrize("name", SPACES)
def test_units_hold_every_op_of_the_deployed_network(name: str) -> None:
    space = get_space(name)
    rng = np.random.default_rng(0)
    for arch in [*space.cover(), *(space.sample(rng) for _ in range(20))]:
        graph = space.graph(arch, TASKS.get(name, Task((3, 32, 32), Classification(10))))
        deployed = executed(graph)
        found = units(graph)
        if not found:  # nothing depends on the input
            assert any(node.op == "zeros" for node in deployed.nodes)
            continue
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


@pytest.mark.parametrize("name", SPACES)
def test_kernels_name_every_node_of_the_deployed_network_once(name: str) -> None:
    space = get_space(name)
    rng = np.random.default_rng(1)
    for _ in range(5):
        graph = space.graph(space.sample(rng), TASKS.get(name, Task((3, 32, 32), Classification(10))))
        found = named_units(graph)
        assert [named.unit.key for named in found] == [unit.key for unit in units(graph)]
        if not found:
            continue
        nodes = [node for named in found for kernel in named.kernels for node in kernel.nodes]
        assert sorted(nodes) == sorted(node.name for node in executed(graph).nodes)
        for named in found:
            assert sum(kernel.unit.graph.macs for kernel in named.kernels) == named.unit.graph.macs
            assert [kernel.unit.key for kernel in named.kernels] == [k.key for k in unit_kernels(named.unit)]


def test_an_activation_and_a_sum_run_in_the_kernel_of_their_layer() -> None:
    b = Builder([(8, 8, 8)])
    x = b.inputs[0]
    y = b.op("act", "relu", b.conv("conv", x, 8, 3, bias=True))
    z = b.op("sum", "add", b.conv("last", y, 8, 1, bias=True), x)
    w = b.op("gate", "sigmoid", y)  # reads what the last layer reads too, so it runs by itself
    (named,) = named_units(b.build([z, w]))
    assert [kernel.nodes for kernel in named.kernels] == [("conv", "act"), ("last", "sum"), ("gate",)]


def test_a_prediction_is_the_exact_sum_of_known_units() -> None:
    graphs = [chain(4, 8), chain(8, 8, 16)]
    records = records_of(*graphs)
    predictor = ComposedPredictor(DEVICE, records, EXACT)
    for graph in graphs:
        estimate = predictor.predict(graph)
        assert estimate.value == pytest.approx(sum(1e-3 + u.graph.macs * 1e-6 for u in units(graph)), rel=1e-12)
        assert estimate.error == pytest.approx(0.1 * estimate.value)
        assert estimate.source == "predicted"
        assert estimate.note == ""
    twice = replace(EXACT, call_ms=5e-4, coefficients=(2.0, 0.0, -5e-4, 0.0, 0.0, 0.0))
    times = [UnitTable(records).unit_ms(unit) for unit in units(graphs[1])]
    found = ComposedPredictor(DEVICE, records, twice).predict(graphs[1]).value
    assert found == pytest.approx(5e-4 + sum(2 * t - 5e-4 for t in times))


def test_layers_add_up_to_the_network() -> None:
    graph = chain(8, 8, 16)
    predictor = ComposedPredictor(DEVICE, records_of(graph), EXACT)
    layers = predictor.layers(graph)
    assert sum(layer.latency_ms.value for layer in layers) == pytest.approx(predictor.predict(graph).value)
    assert [layer.nodes for layer in layers] == [(f"block{i}.conv", f"block{i}.act") for i in range(3)]
    assert {layer.family for layer in layers} == {"conv"}
    assert sum(layer.macs for layer in layers) == graph.macs
    assert layers[0].bytes_moved == 4 * (3 + 8) * 64
    assert layers[0].weight_bytes == 4 * (3 * 8 * 9 + 8)


def test_a_network_that_ignores_its_input_takes_next_to_nothing() -> None:
    import onnxruntime

    space = get_space("nas_bench_201")
    none = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    graph = space.graph(space.from_string(none), TASKS["nas_bench_201"])
    assert units(graph) == named_units(graph) == ()
    session = onnxruntime.InferenceSession(to_onnx(deploy(graph)[0]).SerializeToString())
    rng = np.random.default_rng(0)
    (one,), (two,) = (session.run(None, {"input": rng.random((1, 3, 32, 32), np.float32)}) for _ in range(2))
    assert np.array_equal(one, two)
    predictor = ComposedPredictor(DEVICE, records_of(chain(4, 8)), EXACT)
    estimate = predictor.predict(graph)
    assert 0 < estimate.value < predictor.predict(chain(4, 8)).value
    assert predictor.layers(graph) == ()
    timed = ComposedPredictor(DEVICE, records_of(chain(4, 8)), replace(EXACT, idle_ms=0.007)).predict(graph)
    assert (timed.value, timed.note) == (0.007, "it ignores its input")


def test_an_unknown_unit_is_modelled_and_said_so() -> None:
    known = [chain(width, after) for width in (4, 8, 12, 16, 24, 32) for after in (8, 16, 40)]
    uneven = [replace(r, ms=r.ms * (1.1 if i % 2 else 0.9)) for i, r in enumerate(records_of(*known))]
    predictor = ComposedPredictor(DEVICE, uneven, EXACT)
    estimate = predictor.predict(chain(16, 20))
    wanted = sum(1e-3 + u.graph.macs * 1e-6 for u in units(chain(16, 20)))
    assert estimate.value == pytest.approx(wanted, rel=0.2)
    assert estimate.error is not None
    assert estimate.error > 0.1 * estimate.value
    assert "extrapolated" in estimate.note
    assert estimate == ComposedPredictor(DEVICE, uneven, EXACT).predict(chain(16, 20))
    assert estimate == predictor.predict(chain(16, 20))


def test_an_op_that_was_never_timed_raises() -> None:
    predictor = ComposedPredictor(DEVICE, records_of(chain(4, 8), chain(16)), EXACT)
    with pytest.raises(UnsupportedKernel, match="hard_swish"):
        predictor.predict(chain(4, activation="hard_swish"))
    b = Builder([(8, 8, 8)])
    with pytest.raises(UnsupportedKernel, match="depthwise"):
        predictor.predict(b.build(b.conv("conv", b.inputs[0], 8, 3, groups=8, bias=True)))
    with pytest.raises(UnsupportedKernel):
        ComposedPredictor(DEVICE, [], EXACT).predict(chain(4))


def test_no_composition_makes_a_unit_free() -> None:
    free = replace(EXACT, coefficients=(1.0, 0.0, -10.0, 0.0, 0.0, 0.0))
    assert free.linear_ms(0.5, {}) > 0
    assert ComposedPredictor(DEVICE, records_of(chain(4, 8)), free).predict(chain(4, 8)).value > 0


def made_up_units(rng: np.random.Generator, count: int = 40) -> dict[str, UnitRecord]:
    """Units of random cost, whose features tell what they take alone."""
    found = {}
    for i in range(count):
        macs, moved = rng.uniform(1e4, 1e6), rng.uniform(1e4, 1e5)
        facts = {"macs": macs, "inputs": moved, "outputs": moved, "weights": macs / 100}
        found[f"u{i}"] = UnitRecord(f"u{i}", 0.002 + 1e-7 * macs, 0.0, 1, ("conv",), facts)
    return found


def draw_networks(
    rng: np.random.Generator, records: dict[str, UnitRecord], count: int, noise: float
) -> tuple[list[list[str]], np.ndarray]:
    """Networks of units that each pay 2 µs for a call which a network pays once, timed with relative noise."""
    names = list(records)
    networks = [[names[i] for i in rng.integers(0, len(names), rng.integers(5, 30))] for _ in range(count)]
    true = np.array([0.002 + sum(0.9 * records[k].ms - 0.002 for k in network) for network in networks])
    return networks, true * (1 + noise * rng.standard_normal(count))


def test_a_composition_finds_what_a_call_costs_despite_outliers() -> None:
    rng = np.random.default_rng(0)
    records = made_up_units(rng)
    networks, measured = draw_networks(rng, records, 60, 0.0)
    measured[3] *= 2
    _, left_out = compose(networks, measured.tolist(), records)
    assert left_out[3] == pytest.approx(measured[3] / 2, rel=0.03)
    assert np.median(np.abs(left_out / measured - 1)) < 0.005


def test_units_that_deviate_are_learned_from_the_networks_they_are_in() -> None:
    rng = np.random.default_rng(3)
    records = made_up_units(rng)
    odd = {key for key, record in records.items() if record.features["macs"] > 7e5}
    networks, _ = draw_networks(rng, records, 150, 0.0)
    measured = np.array([sum(records[k].ms * (1.4 if k in odd else 1.0) for k in network) for network in networks])
    composition, left_out = compose(networks, measured.tolist(), records)
    assert composition.amplitude > 0
    plain = np.array([sum(records[k].ms for k in network) for network in networks])
    scaled = plain * np.median(measured / plain)
    assert np.mean(np.abs(left_out / measured - 1)) < 0.5 * np.mean(np.abs(scaled / measured - 1))


def test_a_runtime_where_time_does_not_add_up_is_bent_to_what_was_measured() -> None:
    rng = np.random.default_rng(4)
    records = made_up_units(rng)
    networks, added = draw_networks(rng, records, 300, 0.01)
    logs = np.log(added / np.median(added))
    bent = added * np.exp(0.15 * logs**2 - 0.1 * logs**3)
    straight, _ = compose(networks[:200], added[:200].tolist(), records)
    assert straight.curve is None
    composition, _ = compose(networks[:200], bent[:200].tolist(), records)
    assert composition.curve is not None
    found, without = (Predicts(c, records) for c in (composition, replace(composition, curve=None)))
    error = [abs(found.predict(k) / ms - 1) for k, ms in zip(networks[200:], bent[200:], strict=True)]
    before = [abs(without.predict(k) / ms - 1) for k, ms in zip(networks[200:], bent[200:], strict=True)]
    assert np.mean(error) < 0.8 * np.mean(before)
    least, most = composition.curve.least_ms, composition.curve.most_ms
    latencies = np.array([least, least / 100, most, most * 100])
    beyond = composition.curve.apply(latencies) / latencies
    assert beyond[0] == pytest.approx(beyond[1])
    assert beyond[2] == pytest.approx(beyond[3])


def test_stated_errors_cover_new_networks() -> None:
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(12):
        records = made_up_units(rng)
        networks, measured = draw_networks(rng, records, 40, 0.05)
        composition, _ = compose(networks[:25], measured[:25].tolist(), records)
        predictor = Predicts(composition, records)
        inside += [predictor.covers(k, ms) for k, ms in zip(networks[25:], measured[25:], strict=True)]
    assert 0.80 <= np.mean(inside) <= 0.99


class Predicts:
    """A composition as the predictor uses it, for units without a graph."""

    def __init__(self, composition: Composition, records: dict[str, UnitRecord]) -> None:
        self.composition = composition
        deviations = Deviations(composition, records)
        self.parts = {
            key: composition.linear_ms(r.ms, r.features) * (1 + deviations.of(key, r.features))
            for key, r in records.items()
        }

    def predict(self, network: list[str]) -> float:
        return self.composition.total_ms(sum(self.parts[key] for key in network), 0.0)

    def covers(self, network: list[str], ms: float) -> bool:
        predicted = self.predict(network)
        return abs(ms - predicted) <= self.composition.relative_error * predicted


def test_conformal_quantile() -> None:
    assert conformal_quantile(np.arange(1, 20) / 100.0) == pytest.approx(0.18)
    assert conformal_quantile(np.arange(1, LEAST_NETWORKS + 1) / 100.0) == pytest.approx(0.10)


def test_unit_model_is_smooth_deterministic_and_positive() -> None:
    rng = np.random.default_rng(2)
    rows = [{"macs": float(m), "moved": float(b)} for m, b in rng.integers(1_000, 1_000_000, (80, 2))]
    times = [1e-3 + 1e-7 * row["macs"] + 2e-8 * row["moved"] for row in rows]
    rates = fit_rates(rows[:60], times[:60])
    assert rates.total_ms(rows[70]) == pytest.approx(times[70], rel=0.05)
    assert rates.total_ms({}) > 0
    model = fit_units(rows[:60], times[:60], [0.0] * 60, rates)
    errors = [abs(model.predict_ms(row) / ms - 1) for row, ms in zip(rows[60:], times[60:], strict=True)]
    assert np.median(errors) < 0.03
    assert model.relative_error < 0.2
    assert model.predict_ms({}) > 0
    assert model.predict_ms(rows[0]) == fit_units(rows[:60], times[:60], [0.0] * 60, rates).predict_ms(rows[0])


def test_report_counts_by_hand() -> None:
    report = accuracy_report([1.0, 2.08, 3.27, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert report["within_5"] == 0.5
    assert report["within_10"] == 0.75
    assert report["spearman"] == pytest.approx(1.0)
    assert report["mean_error"] == pytest.approx((0 + 0.04 + 0.09 + 1) / 4)
    assert spearman(np.array([1.0, 1.0, 2.0]), np.array([3.0, 3.0, 1.0])) == pytest.approx(-1.0)
    assert spearman(np.ones(3), np.arange(3.0)) == 0.0
