"""Devices that nobody can attach: their facts, the roofline and the energy by hand, and a search for one."""

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support_service import make_settings, serving
from support_trials import make_spec

from api.figures import cell, front_columns
from api.plot import axes, plot_data
from api.present import present_front_item
from latency_models.analytic import NOTE, AnalyticPredictor, analytic_devices, analytic_predictor
from latency_models.catalogue import BUILT_IN, AnalyticDevice, built_in, load_catalogue, parse_catalogue
from latency_models.device import Device
from latency_models.estimate import Source
from latency_models.kernels import executed, is_constant
from latency_models.profile import Profile
from latency_models.timing import Timer
from nas.admission import check_spec
from nas.exporters import export
from nas.front import front, winner
from nas.on_device import ANALYTIC
from nas.runners import make_runner
from nas.search import Outcome, run_search
from nas.spec import SearchSpec
from nas.trial import Trial, TrialState
from nas.waves import ReportCard
from search_spaces import SPACES, Classification, Task, get_preset, get_space
from search_spaces.builder import Builder, Value
from search_spaces.deploy import deploy
from search_spaces.errors import CorruptFile, DeviceUnavailable, Infeasible, InvalidSpec
from search_spaces.graph import Graph

FACTS: Mapping[str, Any] = {
    "description": "a device for sums by hand",
    "source": "this test",
    "assumes": "round numbers",
    "precision": "int8",
    "macs_per_s": {"int8": {"conv": 1e6, "depthwise": 5e5, "linear": 2e6, "matmul": 1e6}},
    "elements_per_s": {"int8": 1e5},
    "on_chip": {"capacity_bytes": 4096, "bytes_per_s": 1e6},
    "off_chip_bytes_per_s": 1e4,
    "weights": "streamed",
    "weights_in": "flash",
    "overhead_per_kernel_us": 100,
    "overhead_per_call_us": 1000,
    "relative_error": 0.5,
}


def device(batch_size: int = 1, **changes: Any) -> AnalyticPredictor:
    facts = AnalyticDevice.model_validate({**FACTS, **changes})
    return AnalyticPredictor(Device("mine", "analytic", "int8", 1, batch_size, "mine"), facts)


def _residual(b: Builder, x: Value) -> Value:
    y = b.op("act", "relu", b.batch_norm("bn", b.conv("conv", x, 8, 3, bias=False)))
    return b.op("sum", "add", y, x)


def _pool(b: Builder, x: Value) -> Value:
    return b.op("pool", "max_pool", x, kernel=(2, 2), stride=(2, 2), padding=(0, 0))


def network(with_pool: bool = True) -> Graph:
    """8 channels of 8 by 8; conv, batch norm, ReLU and a residual sum in one block, pooling in another."""
    b = Builder([(8, 8, 8)])
    x = b.block("body", _residual, b.inputs[0])
    return b.build(b.block("pool", _pool, x) if with_pool else x)


CONV_MACS, CONV_WEIGHTS = 8 * 8 * 9 * 64, 8 * 8 * 9 + 8


def test_a_kernel_takes_the_longest_of_arithmetic_and_memories_and_its_overhead() -> None:
    """The block is one kernel. Streamed weights: 584 bytes at 10 kB/s take longer than 36,864 MACs at 1 million/s."""
    ms = device().predict(network(with_pool=False))
    assert ms.value == pytest.approx(1.0 + 0.1 + 1e3 * max(CONV_MACS / 1e6, 1024 / 1e6, CONV_WEIGHTS / 1e4))
    assert CONV_WEIGHTS / 1e4 > CONV_MACS / 1e6
    assert (ms.source, ms.error, ms.note) == (Source.ANALYTIC, pytest.approx(0.5 * ms.value), NOTE)
    fast = device(off_chip_bytes_per_s=1e9).predict(network(with_pool=False)).value
    assert fast == pytest.approx(1.0 + 0.1 + 1e3 * CONV_MACS / 1e6)


def test_what_does_not_multiply_costs_its_elements() -> None:
    both, alone = (device().predict(network(with_pool)).value for with_pool in (True, False))
    assert both - alone == pytest.approx(0.1 + 1e3 * (4 * 8 * 4 * 4) / 1e5)


def test_kept_weights_cost_nothing_until_they_do_not_fit_beside_the_activations() -> None:
    """512 values in and 512 out leave the rest of the chip for 584 bytes of weights."""
    graph = network(with_pool=False)

    def ms(capacity: int) -> float:
        chip = {"capacity_bytes": capacity, "bytes_per_s": 1e6}
        return device(weights="kept", on_chip=chip).predict(graph).value

    least = 1.1 + 1e3 * CONV_MACS / 1e6
    assert ms(1024 + CONV_WEIGHTS) == pytest.approx(least)
    half = CONV_WEIGHTS // 2
    assert ms(1024 + half) == pytest.approx(1.1 + 1e3 * max(CONV_MACS / 1e6, (CONV_WEIGHTS - half) / 1e4))
    assert ms(1024) == pytest.approx(1.1 + 1e3 * CONV_WEIGHTS / 1e4)
    assert ms(1023) == pytest.approx(1.1 + 1e3 * 1024 / 1e4)  # activations off the chip, weights on it


def test_a_batch_moves_its_activations_and_the_weights_once() -> None:
    graph = network(with_pool=False)
    four = device(batch_size=4, on_chip={"capacity_bytes": 4096, "bytes_per_s": 1e6}).predict(graph).value
    assert four == pytest.approx(1.1 + 1e3 * max(4 * CONV_MACS / 1e6, CONV_WEIGHTS / 1e4, 4 * 1024 / 1e6))


def test_energy_by_access_and_by_power() -> None:
    graph = network(with_pool=False)
    energy = {"pj_per_mac": {"int8": 2.0}, "pj_per_byte_on_chip": 10.0, "pj_per_byte_off_chip": 100.0}
    found = device(energy=energy).energy_mj(graph)
    assert found is not None
    assert found.value == pytest.approx(1e-9 * (2 * CONV_MACS + 10 * 1024 + 100 * CONV_WEIGHTS))
    assert (found.source, found.error) == (Source.ANALYTIC, None)
    seconds = 1e-3 * device().predict(graph).value
    static = device(energy={**energy, "static_power_w": 0.5}).energy_mj(graph)
    assert static is not None
    assert static.value == pytest.approx(found.value + 1e3 * 0.5 * seconds)
    powered = device(power_w=0.25).energy_mj(graph)
    assert powered is not None
    assert powered.value == pytest.approx(1e3 * 0.25 * seconds)
    assert device().energy_mj(graph) is None


def test_the_layers_are_the_network() -> None:
    predictor, graph = device(), network()
    body, pool = predictor.layers(graph)
    assert body.nodes == ("body.conv", "body.act", "body.sum")
    assert (body.family, body.macs, body.bytes_moved, body.weight_bytes) == ("conv", CONV_MACS, 4096, 4 * CONV_WEIGHTS)
    assert (pool.nodes, pool.family, pool.macs) == (("pool.pool",), "max_pool", 0)
    total = sum(layer.latency_ms.value for layer in (body, pool))
    assert predictor.predict(graph).value == pytest.approx(1.0 + total)


@pytest.mark.parametrize("name", SPACES)
def test_every_space_on_every_device(name: str) -> None:
    space = get_space(name)
    channels, size = (1, 8) if name == "mobilenet_v2_small" else (3, 32)
    graph = space.graph(space.smallest(), Task((channels, size, size), Classification(10)))
    nodes = [] if is_constant(graph) else sorted(node.name for node in executed(graph).nodes)
    for found, facts in analytic_devices(built_in()):
        predictor = AnalyticPredictor(found, facts)
        layers = predictor.layers(graph)
        assert sorted(name for layer in layers for name in layer.nodes) == nodes
        call_ms = 1e-3 * facts.overhead_per_call_us
        assert predictor.predict(graph).value == pytest.approx(
            call_ms + sum(layer.latency_ms.value for layer in layers)
        )
        assert predictor.roof.source == Source.ANALYTIC
        assert all(layer.macs == 0 or layer.latency_ms.value >= 1e3 * layer.macs / predictor.roof.peak_macs_per_s
                   for layer in layers)  # fmt: skip


@pytest.mark.parametrize("name", built_in())
def test_more_work_never_costs_less(name: str) -> None:
    predictor = analytic_predictor(name)
    assert predictor is not None
    task = Task((3, 64, 64), Classification(10))
    space = get_space("mobilenet_v2")
    rng = np.random.default_rng(0)
    smallest = predictor.predict(space.graph(space.smallest(), task)).value
    for _ in range(5):
        graph = space.graph(space.sample(rng), task)
        assert predictor.predict(graph).value >= smallest
        batch = AnalyticPredictor(Device("b", "analytic", predictor.device.precision, 1, 2, "b"), predictor.facts)
        assert batch.predict(graph).value >= predictor.predict(graph).value


def test_the_rates_give_the_published_times_that_they_were_set_to() -> None:
    for preset, device_name, published_ms in (
        ("mobilenetv1_100", "edge_tpu", 2.4),
        ("mobilenetv2_100", "edge_tpu", 2.6),
        ("mobilenetv1_100", "in_sensor", 3.1),
    ):
        known = get_preset(preset)
        graph = known.space().graph(known.architecture(), Task((3, 224, 224), Classification(1000)))
        predictor = analytic_predictor(device_name)
        assert predictor is not None
        assert predictor.predict(graph).value == pytest.approx(published_ms, rel=0.15)


def test_names_of_devices() -> None:
    predictor = analytic_predictor("server_gpu-fp16-b64")
    assert predictor is not None
    assert predictor.device == Device("server_gpu-fp16-b64", "analytic", "fp16", 1, 64, "server_gpu")
    assert analytic_predictor("local-onnxruntime") is None
    assert analytic_predictor("pi4-onnxruntime-int8-t4") is None
    for name, message, hint in (
        ("cortex_m8", "unknown device", "cortex_m7"),
        ("cortex_m7-int8", "needs no suffix", "write cortex_m7"),
        ("phone_cpu-int8-b1", "needs no suffix", "write phone_cpu-int8"),
        ("cortex_m7-bf16", "no bf16", "int8, fp32"),
        ("server_gpu-b9999", "batch 9999", "4096"),
    ):
        with pytest.raises(DeviceUnavailable, match=message) as caught:
            analytic_predictor(name)
        assert hint in caught.value.hint


def own_file(folder: Path, **changes: Any) -> Path:
    path = folder / "devices.yaml"
    path.write_text(yaml.safe_dump({"devices": {"mine": {**FACTS, **changes}}}))
    return path


def test_a_user_adds_a_device(tmp_path: Path) -> None:
    path = own_file(tmp_path)
    predictor = analytic_predictor("mine", path)
    assert predictor is not None
    assert predictor.predict(network()).value == pytest.approx(device().predict(network()).value)
    assert [*load_catalogue(path)] == [*built_in(), "mine"]


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"off_chip_bytes_per_s": -1.0}, "devices.mine.off_chip_bytes_per_s", "greater than 0"),
        ({"off_chip_bytes_per_s": float("nan")}, "devices.mine.off_chip_bytes_per_s", "number"),
        ({"bandwidth": 1.0}, "devices.mine.bandwidth", "unknown field"),
        ({"on_chip": {"bytes_per_s": 1.0}}, "devices.mine.on_chip.capacity_bytes", "missing"),
        ({"elements_per_s": {"fp32": 1.0}}, "devices.mine", "different precisions"),
        ({"precision": "fp16"}, "devices.mine", "no macs_per_s"),
        ({"power_w": 1.0, "energy": {"pj_per_mac": {"int8": 1.0}, "pj_per_byte_on_chip": 1.0,
          "pj_per_byte_off_chip": 1.0}}, "devices.mine", "contradict"),
        ({"limits": {"ram_bytes": "128K"}}, "devices.mine.limits.ram_bytes", "integer"),
    ],
)  # fmt: skip
def test_a_corrupt_entry_is_refused_by_its_field(
    tmp_path: Path, changes: Mapping[str, Any], field: str, said: str
) -> None:
    with pytest.raises(CorruptFile, match=said) as caught:
        load_catalogue(own_file(tmp_path, **changes))
    assert caught.value.field == field
    assert str(tmp_path) in caught.value.message
    assert caught.value.hint


def test_files_that_are_no_catalogue_are_refused(tmp_path: Path) -> None:
    for text, said in (("devices: [", "not YAML"), ("- 1", "one object"), ("devices: {A-b: {}}", "A-b")):
        with pytest.raises(CorruptFile, match=said):
            parse_catalogue(text, "file")
    taken = {"devices": {"cortex_m7": FACTS}}
    (tmp_path / "devices.yaml").write_text(yaml.safe_dump(taken))
    with pytest.raises(CorruptFile, match="the name is taken"):
        load_catalogue(tmp_path / "devices.yaml")
    with pytest.raises(CorruptFile, match="cannot read"):
        load_catalogue(tmp_path / "absent.yaml")


def test_the_catalogue_has_the_classes_that_are_asked_for() -> None:
    limits = {name: built_in()[name].limits for name in ("mcu_kws_small", "mcu_kws_medium", "mcu_kws_large")}
    assert [(found.ram_bytes, found.macs) for found in limits.values()] == [
        (80_000, 3_000_000), (200_000, 10_000_000), (500_000, 40_000_000)]  # fmt: skip
    assert built_in()["in_sensor"].limits.ram_bytes == 8 * 1024 * 1024
    assert {"cortex_m4", "cortex_m7", "edge_tpu", "phone_cpu", "server_gpu"} <= set(built_in())
    assert BUILT_IN.read_text().isascii()


def test_memory_is_counted_in_the_precision_of_the_device() -> None:
    graph = network(with_pool=False)
    assert device().flash_bytes(graph).value == CONV_WEIGHTS
    assert device().ram_bytes(graph).value == 3 * 512  # the input outlives the convolution until the sum
    assert device(weights_in="ram", batch_size=1).ram_bytes(graph).value == 3 * 512 + CONV_WEIGHTS
    assert device(batch_size=4).ram_bytes(graph).value == 4 * 3 * 512
    fp32 = analytic_predictor("cortex_m7-fp32")
    assert fp32 is not None
    assert fp32.flash_bytes(graph).value == 4 * CONV_WEIGHTS


class Nothing:
    """A profile store that holds nothing, and must not be given anything."""

    def get(self, device: str, space: str, task: Task) -> Profile | None:
        return None

    def put(self, profile: Profile) -> None:
        raise AssertionError("nothing is profiled for an analytic device")

    def timer(self, device: str) -> Timer:
        raise AssertionError("nothing is timed on an analytic device")


class Recorder:
    def __init__(self) -> None:
        self.found: dict[int, Trial] = {}
        self.phases: list[str] = []
        self.counts: dict[str, int] = {}

    def trials(self, trials: Sequence[Trial]) -> None:
        self.found.update((trial.number, trial) for trial in trials)

    def phase(self, phase: str, done: int, total: int) -> None:
        self.phases.append(phase)

    def rejected(self, counts: Mapping[str, int]) -> None:
        self.counts = dict(counts)

    def report_card(self, card: ReportCard) -> None:
        self.card = card


def search(spec: SearchSpec, folder: Path, own: Path | None = None) -> tuple[Outcome, Recorder]:
    recorder = Recorder()
    with make_runner("local") as runner:
        outcome = run_search(
            spec,
            [],
            runner=runner,
            profiles=Nothing(),
            workspace=folder,
            observer=recorder,
            should_stop=lambda: None,
            elapsed_s=lambda: 0.0,
            analytic_of=lambda name: analytic_predictor(name, own),
        )
    return outcome, recorder


SPEC = make_spec(
    objectives=[
        {"metric": "accuracy"},
        {"metric": "latency_ms", "device": "cortex_m7"},
        {"metric": "energy_mj", "device": "cortex_m7"},
    ],
    constraints=[{"metric": "flash_bytes", "device": "cortex_m7", "max": 60_000}],
    budget={"scored": 6, "trainings": 2},
    rungs=[{"epochs": 1}],
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome, list[Trial], list[str]]:
    folder = tmp_path_factory.mktemp("search")
    check_spec(SPEC, Nothing().get)
    outcome, recorder = search(SPEC, folder)
    return folder, outcome, [recorder.found[n] for n in sorted(recorder.found)], recorder.phases


Whole = tuple[Path, Outcome, list[Trial], list[str]]


def test_a_search_for_an_analytic_device_ends_with_a_front_and_measures_nothing_on_it(whole: Whole) -> None:
    _, outcome, trials, phases = whole
    assert outcome == Outcome("SUCCEEDED")
    assert "profile" not in phases
    best = front(SPEC, trials)
    assert winner(SPEC, trials) in best
    for trial in trials:
        on_device = [m for m in trial.measurements if m.device == "cortex_m7"]
        assert sorted(m.metric for m in on_device) == ["energy_mj", "flash_bytes", "latency_ms", "ram_bytes"]
        assert {(m.source, m.rung) for m in on_device} == {(Source.ANALYTIC, 0)}
        values = {m.metric: m.value for m in on_device}
        assert values["flash_bytes"] <= 60_000
        assert values["energy_mj"] == pytest.approx(0.34 * values["latency_ms"])
    assert {m.metric for m in best[0].measurements if m.source == Source.MEASURED} == {"accuracy", "test_accuracy"}


def test_the_front_shows_it_as_analytic_beside_measured_accuracy(whole: Whole) -> None:
    trials = whole[2]
    items = [present_front_item(str(t.number), t, SPEC).model_dump() for t in front(SPEC, trials)]
    assert items[0]["metrics"]["latency_ms"]["source"] == "analytic"
    assert items[0]["predicted"] == {}
    columns = front_columns(SPEC.model_dump(), items)
    shown = {column.title: cell(items[0], column) for column in columns}
    assert shown["analytic latency"].source == "analytic"
    assert shown["analytic energy"].source == "analytic"
    assert shown["accuracy"].source == "measured"
    assert not any(column.field == "predicted" for column in columns)
    axis = axes(SPEC)[0]
    plot = plot_data(SPEC, trials, {t.number: str(t.number) for t in trials}, front(SPEC, trials), None, axis)
    assert plot["x"]["estimate"] == "analytic"
    assert {point["measured"] for point in plot["points"]} == {False}
    assert all(line.endswith("analytic") for point in plot["points"] for line in point["text"] if "latency" in line)


def test_the_report_of_an_export_claims_no_measured_latency(whole: Whole, tmp_path: Path) -> None:
    folder, _, trials, _ = whole
    best = winner(SPEC, trials)
    assert best is not None
    report = export(SPEC, best, workspace=folder, folder=tmp_path / "bundle")
    (latency,) = report["latency_ms"]
    assert (latency["device"], latency["source"], latency["predicted"]) == ("cortex_m7", "analytic", None)
    assert json.loads((tmp_path / "bundle" / "report.json").read_text())["latency_ms"] == [latency]


def test_the_limits_of_a_device_are_bounds(tmp_path: Path) -> None:
    small, large = (np.percentile(sizes, q) for sizes in [_flash_of_samples()] for q in (20, 95))
    path = own_file(tmp_path, limits={"flash_bytes": int(small)})
    spec = make_spec(
        objectives=[{"metric": "accuracy"}, {"metric": "latency_ms", "device": "mine"}],
        budget={"scored": 4, "trainings": 1},
        baselines=[_sample_above(float(large))],
        rungs=[{"epochs": 1}],
    )
    outcome, recorder = search(spec, tmp_path / "search", path)
    assert outcome.state == "FAILED"  # the baseline alone trained
    assert f"flash_bytes@mine <= {int(small)} is broken: analytic" in outcome.message
    assert recorder.counts[f"flash_bytes@mine <= {int(small)}"] > 0
    assert recorder.found[0].state == TrialState.INFEASIBLE
    assert all(t.find("flash_bytes").value <= small for n, t in recorder.found.items() if n > 0)  # type: ignore[union-attr]


def _flash_of_samples() -> list[float]:
    return [device().flash_bytes(graph).value for _, graph in _samples()]


def _sample_above(size: float) -> str:
    text, _ = min(
        ((text, graph) for text, graph in _samples() if device().flash_bytes(graph).value > size),
        key=lambda pair: pair[1].macs,
    )
    return text


def _samples() -> list[tuple[str, Graph]]:
    space = get_space("mobilenet_v2_small")
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(100)]
    return [(space.to_string(arch), space.graph(arch, Task((1, 8, 8), Classification(10)))) for arch in drawn]


def test_a_device_too_small_for_the_space_is_refused_at_submission(tmp_path: Path) -> None:
    own = own_file(tmp_path, limits={"ram_bytes": 10})
    spec = make_spec(objectives=[{"metric": "accuracy"}, {"metric": "latency_ms", "device": "mine"}])
    with pytest.raises(Infeasible, match="ram_bytes@mine <= 10") as caught:
        check_spec(spec, Nothing().get, lambda name: analytic_predictor(name, own))
    assert "limit of the device" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (
            {"objectives": [{"metric": "accuracy"}, {"metric": "energy_mj", "device": "local-onnxruntime"}]},
            "objectives.1",
        ),
        ({"constraints": [{"metric": "ram_bytes", "device": "local-onnxruntime", "max": 1e6}]}, "constraints.0"),
        ({"constraints": [{"metric": "energy_mj", "device": "mine", "max": 1.0}]}, "constraints.0"),
    ],
)
def test_what_a_device_does_not_state_is_refused_at_submission(
    tmp_path: Path, changes: Mapping[str, Any], field: str
) -> None:
    own = own_file(tmp_path)
    with pytest.raises(InvalidSpec, match="does not state") as caught:
        check_spec(make_spec(**changes), Nothing().get, lambda name: analytic_predictor(name, own))
    assert caught.value.field == field
    assert "latency_ms" in caught.value.hint


def test_a_search_may_name_a_measured_and_an_analytic_device() -> None:
    devices = ["local-onnxruntime", "cortex_m4"]
    spec = make_spec(objectives=[{"metric": "accuracy"}, *({"metric": "latency_ms", "device": d} for d in devices)])
    check_spec(spec, Nothing().get)
    with pytest.raises(DeviceUnavailable, match="cortex_m44"):
        check_spec(make_spec(objectives=[{"metric": "latency_ms", "device": "cortex_m44"}]), Nothing().get, ANALYTIC)


def test_the_api_lists_analytic_devices_with_their_facts(tmp_path: Path) -> None:
    own_file(tmp_path)
    with serving(make_settings(tmp_path)) as client:
        items = {item["name"]: item for item in client.get("/v1/devices").json()["items"]}
        assert {"mine", "cortex_m7", "cortex_m7-fp32", "local-onnxruntime"} <= set(items)
        assert items["local-onnxruntime"]["kind"] == "measured"
        found = items["cortex_m7"]
        assert (found["kind"], found["runtime"], found["precision"], found["local"]) == (
            "analytic", "analytic", "int8", False)  # fmt: skip
        assert found["facts"]["limits"] == {"flash_bytes": 1048576, "ram_bytes": 327680}
        assert found["facts"]["source"]
        body = {**json.loads(SPEC.model_dump_json()), "objectives": [{"metric": "energy_mj", "device": "mine"}]}
        refused = client.post("/v1/searches", json=body)
        assert refused.status_code == 422
        assert "mine does not state energy_mj" in refused.json()["error"]["message"]
        (tmp_path / "devices.yaml").write_text("devices: {mine: {precision: int8}}")
        broken = client.get("/v1/devices")
        assert (broken.status_code, broken.json()["error"]["code"]) == (500, "corrupt_file")
        assert "devices.mine" in broken.json()["error"]["message"]


def test_shapes_of_the_sums_by_hand() -> None:
    """What the figures above rest on."""
    graph = deploy(network(with_pool=False))[0]
    assert graph.macs == CONV_MACS
    assert prod(graph.inputs[0]) == prod(graph.output_shapes[0]) == 512
