"""Each chunk is timed by a process of its own, which ends with its work, with whoever started it, or by itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from latency_models.device import parse_device
from latency_models.measure import LocalTimer, measure_latency_ms
from latency_models.timing import Effort, MeasuringStopped, Workload
from latency_models.timing_process import time_files
from search_spaces.builder import Builder
from search_spaces.errors import DeviceUnavailable, InvalidGraph

DEVICE = parse_device("local-onnxruntime")
QUICK = Effort(visits=3, visit_s=0.0002)
LONG = Effort(visits=100_000, visit_s=0.05)
WAIT_S = 30.0
MODULE = "latency_models.timing_process"


def network() -> Workload:
    b = Builder([(8, 16, 16)])
    return Workload(b.build(b.conv("conv", b.inputs[0], 8, 3, bias=True)))


def timing(parent: int) -> list[int]:
    """The processes that time for another one."""
    lists = (file.read_text() for file in Path(f"/proc/{parent}/task").glob("*/children"))
    children = [int(pid) for text in lists for pid in text.split()]
    return [pid for pid in children if MODULE in command_of(pid)]


def command_of(pid: int) -> list[str]:
    """Empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.05)


def test_a_process_that_is_killed_ends_in_an_error_and_the_next_one_works() -> None:
    killed: list[int] = []

    def kill() -> bool:
        for child in timing(os.getpid()):
            killed.append(child)
            os.kill(child, signal.SIGKILL)
        return False

    with pytest.raises(DeviceUnavailable, match="ended with -9"):
        measure_latency_ms([network()], LocalTimer(DEVICE), effort=LONG, should_stop=kill)
    assert killed
    (found,) = measure_latency_ms([network()], LocalTimer(DEVICE), effort=QUICK)
    assert found.value > 0
    assert not timing(os.getpid())


def test_the_error_of_a_file_that_cannot_be_loaded_comes_back() -> None:
    with pytest.raises(InvalidGraph) as caught:
        time_files([(b"no model", False)], 1, DEVICE, effort=QUICK, seed=0, should_stop=lambda: False)
    assert caught.value.message
    assert not timing(os.getpid())


def test_stopping_ends_the_process() -> None:
    seen: list[int] = []

    def stop() -> bool:
        seen.extend(timing(os.getpid()))
        return bool(seen)

    started = time.monotonic()
    with pytest.raises(MeasuringStopped):
        measure_latency_ms([network()], LocalTimer(DEVICE), effort=LONG, should_stop=stop)
    assert time.monotonic() - started < WAIT_S
    assert not any(map(command_of, seen))


def test_it_ends_with_whoever_started_it() -> None:
    starter = subprocess.Popen([sys.executable, __file__])
    try:
        until(lambda: bool(timing(starter.pid)))
        children = timing(starter.pid)
        time.sleep(2)  # it is loading, or timing already
    finally:
        starter.kill()
        starter.wait()
    until(lambda: not any(map(command_of, children)))


if __name__ == "__main__":
    measure_latency_ms([network()], LocalTimer(DEVICE), effort=LONG)
