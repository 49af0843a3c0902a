"""Names of devices, and timing networks on them."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from latency_models.device import Device, cpu_model, is_local, local_devices, parse_device
from latency_models.lock import measurement_lock
from latency_models.measure import LocalTimer, measure_latency_ms, time_workloads
from latency_models.runtimes import RUNTIMES, RuntimeFacts, is_installed, loader, runtime_version
from latency_models.timing import Effort, MeasuringStopped, Workload
from search_spaces.builder import Builder
from search_spaces.errors import DeviceUnavailable, UnknownName

QUICK = Effort(visits=12, visit_s=0.0005)
TIMED = [name for name in ("local-onnxruntime", "local-openvino", "local-pytorch") if is_local(name)]


def workload(channels: int) -> Workload:
    b = Builder([(channels, 16, 16)])
    x = b.conv("conv", b.inputs[0], channels, 3, bias=True)
    return Workload(b.build(b.op("act", "relu6", x)))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("suffix", "threads", "batch"), [("", 1, 1), ("-t2", 2, 1), ("-b64", 1, 64), ("-t16-b4096", 16, 4096)]
)
def test_a_name_is_parsed(runtime: str, suffix: str, threads: int, batch: int) -> None:
    for precision in RUNTIMES[runtime].precisions:
        for host in ("local", "pi_4"):
            name = f"{host}-{runtime}" + ("" if precision == "fp32" else f"-{precision}") + suffix
            device = parse_device(name)
            assert device == Device(name, runtime, precision, threads, batch, host)
            assert device.is_local == (host == "local")
            assert is_local(name) == (host == "local" and is_installed(runtime))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("local-onnxruntim", "local-onnxruntime"),
        ("pixel3", "hwnas agents add"),
        ("", "hwnas agents add"),
        ("local-onnxruntime-b0", "-bN"),
        ("local-onnxruntime-b01", "-bN"),
        ("local-onnxruntime-b-3", "-bN"),
        ("local-onnxruntime-b2-t2", "in this order"),
        ("local-onnxruntime-int4", "-int8"),
        ("local-onnxruntime-fp16", "fp32, int8"),
        ("local-pytorch-int8", "fp32"),
        ("local-onnxruntime-fp32", "write local-onnxruntime"),
        ("local-onnxruntime-int8-t1-b4", "write local-onnxruntime-int8-b4"),
        ("local-onnxruntime-b1", "write local-onnxruntime"),
        ("local-onnxruntime-t999", "256"),
        ("local-onnxruntime-b9999", "4096"),
        ("local-onnxruntime\n", "hwnas agents add"),
    ],
)
def test_an_unknown_device_is_refused_with_what_to_do(name: str, hint: str) -> None:
    with pytest.raises(DeviceUnavailable) as caught:
        parse_device(name)
    assert hint in caught.value.hint
    assert caught.value.field == "device"
    assert not is_local(name)


def test_a_runtime_that_is_not_installed_is_listed_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = RuntimeFacts("absent", "package_that_is_absent", "pip install absent", ("fp32", "int8"), "nowhere")
    monkeypatch.setitem(RUNTIMES, "absent", absent)  # type: ignore[arg-type]
    monkeypatch.setattr("latency_models.device.parse_device", lambda name: Device(name, name.split("-")[1]))
    status = {s.device.name: s for s in local_devices()}
    assert status["local-onnxruntime-int8"].available
    for name in ("local-absent", "local-absent-int8"):
        assert not status[name].available
        assert status[name].install == "pip install absent"
    with pytest.raises(DeviceUnavailable, match="pip install absent"):
        loader("absent")
    with pytest.raises(UnknownName, match="onnxruntime"):
        runtime_version("onnxruntim")


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "a-compiler-that-is-absent")
    status = {s.device.name: s for s in local_devices()}
    assert not status["local-pytorch-compiled"].available
    assert "g++" in status["local-pytorch-compiled"].install
    assert status["local-pytorch"].available


def test_a_gpu_is_needed_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latency_models.runtimes._GPU_DRIVER", ("/nowhere/nvidia",))
    status = {s.device.name: s for s in local_devices()}
    for name in ("local-pytorch-cuda", "local-pytorch-cuda-fp16"):
        assert not status[name].available
        assert "NVIDIA" in status[name].install
    with pytest.raises(DeviceUnavailable, match="NVIDIA"):
        loader("pytorch-cuda")


def test_this_machine_is_named() -> None:
    assert cpu_model() == cpu_model()
    assert len(cpu_model()) > 5
    assert runtime_version("onnxruntime")[0].isdigit()


@pytest.mark.parametrize("name", TIMED)
def test_a_network_is_timed_at_the_devices_batch(name: str) -> None:
    timer = LocalTimer(parse_device(f"{name}-b4"))
    (estimate,) = measure_latency_ms([workload(8)], timer, effort=QUICK)
    assert estimate.value > 0
    assert estimate.source == "measured"
    assert estimate.error is not None
    assert estimate.error >= 0
    assert timer.machine().runtime_version == runtime_version(timer.device.runtime)


def test_only_this_machine_is_timed_here() -> None:
    with pytest.raises(DeviceUnavailable, match="pi4-onnxruntime"):
        LocalTimer(parse_device("pi4-onnxruntime"))


def test_larger_networks_take_longer_and_order_is_kept() -> None:
    timer = LocalTimer(parse_device("local-onnxruntime"))
    estimates = measure_latency_ms([workload(c) for c in (128, 8, 32)], timer, effort=QUICK)
    assert np.argsort([e.value for e in estimates]).tolist() == [1, 2, 0]


def test_timing_goes_chunk_by_chunk_and_stops_when_asked() -> None:
    timer = LocalTimer(parse_device("local-onnxruntime"))
    small = Effort(visits=2, visit_s=0.0001, chunk=2)
    done: list[tuple[int, int]] = []
    timed = time_workloads(
        [workload(8)] * 5, timer, effort=small, on_chunk=lambda at, found: done.append((at, len(found)))
    )
    assert len(timed) == 5
    assert done == [(0, 2), (2, 2), (4, 1)]
    done.clear()
    with pytest.raises(MeasuringStopped):
        time_workloads(
            [workload(8)] * 5,
            timer,
            effort=small,
            on_chunk=lambda at, found: done.append((at, len(found))),
            should_stop=lambda: bool(done),
        )
    assert done == [(0, 2)]


def test_measurements_never_overlap(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "lock"
    inside = threading.Event()
    leave = threading.Event()

    def hold() -> None:
        with measurement_lock(path):
            inside.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(10)
    with pytest.raises(DeviceUnavailable, match="busy"), measurement_lock(path, wait_s=0.1):
        pytest.fail("two measurements at once")
    leave.set()
    holder.join(10)
    with measurement_lock(path, wait_s=1):
        pass


def test_prediction_needs_no_heavy_package() -> None:
    code = (
        "import sys, latency_models.predictors.table, latency_models.profile_file;"
        "heavy = {'torch', 'sklearn', 'ray', 'optuna', 'onnxruntime', 'openvino'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
