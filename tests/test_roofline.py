"""The roofline, the gap and the waterline: by hand, and on every device of the catalogue."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_models.analysis import Analysis, analyse
from latency_models.analytic import analytic_predictor
from latency_models.catalogue import built_in
from latency_models.device import Device
from latency_models.estimate import Estimate, Source
from latency_models.predictors import LayerEstimate
from latency_models.roofline import Bound, Roof, Work, attainable_macs_per_s, bound, ideal_ms, observed_roof, work
from search_spaces import Classification, Task, get_preset, get_space
from search_spaces.builder import Builder
from search_spaces.deploy import deploy
from search_spaces.errors import DeviceUnavailable
from search_spaces.graph import Graph

DEVICE = Device("local-onnxruntime", "onnxruntime")
ROOF = Roof(1e9, 2e8, Source.PREDICTED)


def layer(ms: float, macs: int, moved: int, weights: int = 0, error: float | None = None) -> LayerEstimate:
    return LayerEstimate((f"n{ms}",), "conv", Estimate(ms, error, Source.PREDICTED), macs, moved, weights)


class Stated:
    """A predictor of given layers, with ``call_ms`` on top."""

    def __init__(self, layers: Sequence[LayerEstimate], call_ms: float, device: Device = DEVICE) -> None:
        self.device = device
        self._layers = tuple(layers)
        self._call_ms = call_ms

    def layers(self, graph: Graph) -> tuple[LayerEstimate, ...]:
        return self._layers

    def predict(self, graph: Graph) -> Estimate:
        return Estimate(sum(found.latency_ms.value for found in self._layers) + self._call_ms, 0.5, Source.PREDICTED)


def analysis_of(*layers: LayerEstimate, call_ms: float = 0.0, roof: Roof = ROOF) -> Analysis:
    b = Builder([(1, 1, 1)])
    return analyse(b.build(b.op("relu", "relu", b.inputs[0])), Stated(layers, call_ms), roof)


@pytest.mark.parametrize(
    ("intensity", "attainable", "limit"),
    [(0.0, 0.0, Bound.MEMORY), (2.0, 4e8, Bound.MEMORY), (5.0, 1e9, Bound.COMPUTE), (50.0, 1e9, Bound.COMPUTE)],
)
def test_the_lower_ceiling_counts(intensity: float, attainable: float, limit: Bound) -> None:
    assert ROOF.ridge == 5.0
    assert attainable_macs_per_s(ROOF, intensity) == attainable
    assert bound(ROOF, intensity) is limit


def test_the_ideal_time_is_that_of_the_slower_of_computing_and_moving() -> None:
    assert ideal_ms(ROOF, Work(2_000_000, 1_000_000)) == pytest.approx(5.0)  # 2 ms of MACs, 5 ms of bytes
    assert ideal_ms(ROOF, Work(2_000_000, 1_000)) == pytest.approx(2.0)


def test_work_is_that_of_a_call_in_the_precision_of_the_device() -> None:
    found = layer(1.0, 100, 400, 40)
    assert work(found, DEVICE) == Work(100, 440)
    assert work(found, Device("d", "analytic", "int8", batch_size=4)) == Work(400, (4 * 400 + 40) // 4)
    assert work(found, Device("d", "analytic", "fp16")).intensity == pytest.approx(100 / 220)


def test_the_observed_roof_is_the_best_of_the_kernels_that_matter() -> None:
    fast, wide = layer(1.0, 3_000_000, 1_000), layer(2.0, 1_000, 8_000_000)
    lucky = layer(0.01, 10**9, 10**9)  # less than a hundredth of its network
    assert observed_roof([[fast], [wide, lucky]], DEVICE) == Roof(3e9, 4e9, Source.PREDICTED)
    with pytest.raises(DeviceUnavailable, match="no kernel was timed") as raised:
        observed_roof([[layer(1.0, 0, 10)]], DEVICE)
    assert "hwnas profile --device local-onnxruntime" in raised.value.hint


def test_a_network_by_hand() -> None:
    # at the peak 2 ms and 1 ms; by bytes 1 ms, 5 ms and 1 ms
    found = analysis_of(
        layer(4.0, 2_000_000, 200_000, error=0.4),
        layer(10.0, 1_000_000, 900_000, 100_000),
        layer(2.0, 0, 200_000),
        call_ms=4.0,
    )
    assert [one.share for one in found.layers] == pytest.approx([0.2, 0.5, 0.1])
    assert [one.bound for one in found.layers] == [Bound.COMPUTE, Bound.MEMORY, Bound.MEMORY]
    assert [one.ideal_ms.value for one in found.layers] == pytest.approx([2.0, 5.0, 1.0])
    assert [one.gap.value for one in found.layers] == pytest.approx([2.0, 2.0, 2.0])
    assert (found.layers[0].gap.error, found.layers[1].gap.error) == (pytest.approx(0.2), None)
    assert [one.efficiency for one in found.layers] == pytest.approx([0.5, 0.1, 0.0])
    assert [one.attainable_macs_per_s for one in found.layers] == pytest.approx([1e9, 2e8, 0.0])
    assert found.overhead_ms == Estimate(pytest.approx(4.0), None, Source.PREDICTED)
    assert (found.ideal_ms.value, found.gap.value, found.peak_gap.value) == pytest.approx((8.0, 20 / 8, 20 / 3))
    assert found.gap.error == pytest.approx(0.5 / 8)
    line = found.waterline
    assert line.layers == (0, 1)
    assert line.width == pytest.approx((2 / 3, 1 / 3))
    assert line.start == pytest.approx((0.0, 2 / 3))
    assert line.ideal_ms == pytest.approx((2.0, 1.0))
    assert line.latency_ms == (4.0, 10.0)
    assert line.level == pytest.approx(3 / 20)


def test_what_takes_no_time_is_no_work() -> None:
    view = analysis_of(layer(1.0, 1_000, 1_000), layer(0.0, 0, 4_000)).layers[1]
    assert (view.work, view.gap, view.ideal_ms.value, view.efficiency) == (Work(0, 0), None, 0.0, 0.0)


def test_a_network_that_does_not_compute_has_no_waterline() -> None:
    found = analysis_of(layer(1.0, 0, 200_000))
    assert (found.peak_gap, found.waterline.layers, found.waterline.level) == (None, (), 0.0)
    assert found.gap.value == pytest.approx(1.0)


@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(1, 10**9)), min_size=1, max_size=30))
def test_the_peak_gap_is_the_mean_of_the_layers_weighted_by_operations(drawn: list[tuple[float, int]]) -> None:
    found = analysis_of(*[layer(ms, macs, 100) for ms, macs in drawn])
    line = found.waterline
    assert sum(line.width) == pytest.approx(1.0)
    assert list(line.efficiency) == sorted(line.efficiency, reverse=True)
    weighted = sum(width / efficiency for width, efficiency in zip(line.width, line.efficiency, strict=True))
    assert found.peak_gap.value == pytest.approx(weighted)
    assert line.level == pytest.approx(1 / found.peak_gap.value)


@pytest.mark.parametrize("device", [*built_in(), "server_gpu-fp16-b8"])
@pytest.mark.parametrize("space", ["mobilenet_v2_small", "nas_bench_201"])
def test_on_an_analytic_device_the_layers_add_up_below_the_roof(device: str, space: str) -> None:
    predictor = analytic_predictor(device)
    found_space = get_space(space)
    graph = found_space.graph(found_space.cover()[0], Task((3, 32, 32), Classification(10)))
    found = analyse(graph, predictor, predictor.roof)
    total = sum(one.latency_ms.value for one in found.layers) + 1e-3 * predictor.facts.overhead_per_call_us
    assert found.latency_ms.value == pytest.approx(total)
    assert sum(one.work.macs for one in found.layers) == predictor.device.batch_size * (graph.macs + graph.matmul_macs)
    assert all(one.gap is None or one.gap.value >= 1 - 1e-9 for one in found.layers)
    assert 0 < found.waterline.level <= max(found.waterline.efficiency)
    figures = [found.latency_ms, found.gap, found.peak_gap, *[one.latency_ms for one in found.layers]]
    assert {figure.source for figure in figures} == {Source.ANALYTIC}


def test_every_node_of_the_network_is_in_one_layer() -> None:
    graph = get_preset("mobilenetv3_small_100").graph()
    predictor = analytic_predictor("phone_cpu")
    named = [name for one in analyse(graph, predictor, predictor.roof).layers for name in one.nodes]
    assert sorted(named) == sorted(node.name for node in deploy(graph)[0].nodes)
