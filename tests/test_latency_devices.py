"""Names of devices, runtimes, and timing a model on them."""

import sys
import threading
import time

import numpy as np
import pytest

from latency_models.device import Device, cpu_model, is_local, local_devices, parse_device
from latency_models.lock import measurement_lock
from latency_models.measure import Protocol, measure_latency_ms, time_models
from latency_models.runtimes import RUNTIMES, RuntimeFacts, loader, runtime_version
from search_spaces.builder import Builder
from search_spaces.errors import DeviceUnavailable, InvalidGraph, UnknownName
from search_spaces.onnx_graph import to_onnx

QUICK = Protocol(rounds=4, least_rounds=3, model_s=0.01)


def conv_model(channels: int, batch: int | None = None) -> bytes:
    b = Builder([(channels, 16, 16)])
    x = b.conv("conv", b.inputs[0], channels, 3, bias=True)
    return to_onnx(b.build(b.op("act", "relu6", x)), batch=batch).SerializeToString()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("suffix", "batch"), [("", 1), ("-b2", 2), ("-b64", 64), ("-b4096", 4096)])
def test_a_local_name_is_parsed(runtime: str, suffix: str, batch: int) -> None:
    name = f"local-{runtime}{suffix}"
    assert parse_device(name) == Device(name, runtime, "fp32", 1, batch)
    assert is_local(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("local-onnxruntim", "local-onnxruntime"),
        ("pixel3", "hwnas profile --device pixel3"),
        ("", "hwnas profile"),
        ("local-onnxruntime-b0", "-bN"),
        ("local-onnxruntime-b01", "-bN"),
        ("local-onnxruntime-b-3", "-bN"),
        ("local-onnxruntime-int8", "local-onnxruntime"),
        ("local-onnxruntime-b1", "write local-onnxruntime"),
        ("local-onnxruntime-b9999", "4096"),
        ("local-onnxruntime\n", "hwnas profile"),
    ],
)
def test_an_unknown_device_is_refused_with_what_to_do(name: str, hint: str) -> None:
    with pytest.raises(DeviceUnavailable) as caught:
        parse_device(name)
    assert hint in caught.value.hint
    assert not is_local(name)


def test_a_runtime_that_is_not_installed_is_listed_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = RuntimeFacts("absent", "package_that_is_absent", "pip install absent", "nowhere:load")
    monkeypatch.setitem(RUNTIMES, "absent", absent)  # type: ignore[arg-type]
    status = {s.device.name: s for s in local_devices()}
    assert status["local-onnxruntime"].available
    assert not status["local-absent"].available
    assert status["local-absent"].install == "pip install absent"
    assert not is_local("local-absent")
    with pytest.raises(DeviceUnavailable, match="pip install absent"):
        loader("absent")
    with pytest.raises(UnknownName, match="onnxruntime"):
        runtime_version("onnxruntim")


def test_this_machine_is_named() -> None:
    assert cpu_model() == cpu_model()
    assert len(cpu_model()) > 5
    assert runtime_version("onnxruntime")[0].isdigit()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("fixed", [False, True])
def test_a_model_is_timed_at_the_devices_batch(runtime: str, fixed: bool) -> None:
    device = parse_device(f"local-{runtime}-b4")
    timings = time_models([lambda: conv_model(8, 4 if fixed else None)], device, protocol=QUICK)
    (estimate,) = timings.estimates
    assert estimate.value > 0
    assert estimate.source == "measured"
    assert estimate.error is not None
    assert estimate.error >= 0
    assert len(timings.reference_ms) == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_of_another_batch_or_no_model_is_refused(runtime: str) -> None:
    load = loader(runtime)
    with pytest.raises(InvalidGraph, match="batch 4"):
        load(conv_model(8, 4), parse_device(f"local-{runtime}-b2"))
    with pytest.raises(InvalidGraph, match="does not load"):
        load(b"no model", parse_device(f"local-{runtime}"))
    with pytest.raises(DeviceUnavailable, match="int8"):
        load(conv_model(8), Device("d", runtime, precision="int8"))


def test_larger_models_take_longer_and_order_is_kept() -> None:
    estimates = measure_latency_ms([conv_model(c) for c in (128, 8, 32)], parse_device("local-onnxruntime"))
    assert np.argsort([e.value for e in estimates]).tolist() == [1, 2, 0]


def test_timing_ends_between_chunks_when_asked_or_out_of_time() -> None:
    device = parse_device("local-onnxruntime")
    makers = [lambda: conv_model(8)] * 5
    small = Protocol(3, 3, 0.001, chunk=2)
    done: list[tuple[int, int]] = []
    late = time_models(makers, device, protocol=small, deadline=time.monotonic() - 1)
    stopped = time_models(
        makers, device, protocol=small, should_stop=lambda: bool(done), on_progress=lambda *d: done.append(d)
    )
    assert (len(late.estimates), len(stopped.estimates)) == (2, 2)
    assert done == [(2, 5)]
    assert len(time_models(makers, device, protocol=small).estimates) == 5


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
    import subprocess

    code = (
        "import sys, latency_models.predictors.table, latency_models.profile_file;"
        "heavy = {'torch', 'sklearn', 'ray', 'optuna', 'onnxruntime', 'openvino'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
