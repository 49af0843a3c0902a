"""What a device is, and its name: ``HOST-RUNTIME[-PRECISION][-tN][-bN]``, HOST ``local`` or the name of an agent."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from latency_models.runtimes import RUNTIMES, is_installed, missing
from search_spaces.errors import DeviceUnavailable, nearest

LOCAL = "local"
"""The host that is this machine."""
MAX_BATCH_SIZE = 4096
MAX_THREADS = 256
_NAME = re.compile(
    r"(?P<host>[a-z0-9_]+)-(?P<runtime>"
    + "|".join(sorted(map(re.escape, RUNTIMES), key=len, reverse=True))
    + r")(?:-(?P<precision>int8|fp16|bf16|fp32))?(?:-t(?P<threads>[1-9]\d{0,2}))?(?:-b(?P<batch>[1-9]\d{0,3}))?"
)


@dataclass(frozen=True, slots=True)
class Device:
    """Where and how a network runs. A latency is that of one call with ``batch_size`` inputs."""

    name: str
    runtime: str
    precision: str = "fp32"
    threads: int = 1
    batch_size: int = 1
    host: str = LOCAL

    @property
    def is_local(self) -> bool:
        """Whether it is this machine."""
        return self.host == LOCAL


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A local device, whether its runtime is there, and the command that installs it."""

    device: Device
    available: bool
    install: str


def parse_device(name: str) -> Device:
    """The device of that name; left out are float32, one thread and batch 1.

    A host other than ``local`` is the name of an agent; whether there is one is for the service to say.
    Raises: DeviceUnavailable with the nearest name and the command that profiles a device.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        known = [f"{LOCAL}-{runtime}" for runtime in RUNTIMES]
        raise DeviceUnavailable(
            f"unknown device {name!r}",
            hint=f"{nearest(name, known)}; with -int8, -tN for threads and -bN for batch N, in this order; "
            "a device elsewhere: hwnas agents add NAME",
            field="device",
        )
    facts = RUNTIMES[match["runtime"]]
    for part, default in (("precision", "fp32"), ("threads", "1"), ("batch", "1")):
        if match[part] == default:
            left_out = name.replace({"precision": "-fp32", "threads": "-t1", "batch": "-b1"}[part], "", 1)
            what = {"precision": "precision", "threads": "threads:", "batch": "batch"}[part]
            raise DeviceUnavailable(
                f"{name} has {what} {default}, which needs no suffix", hint=f"write {left_out}", field="device"
            )
    precision, threads, batch = match["precision"] or "fp32", int(match["threads"] or 1), int(match["batch"] or 1)
    if precision not in facts.precisions:
        raise DeviceUnavailable(
            f"{name}: {match['runtime']} does not run in {precision}", hint=", ".join(facts.precisions), field="device"
        )
    for what, value, most in (("batch", batch, MAX_BATCH_SIZE), ("threads", threads, MAX_THREADS)):
        if value > most:
            raise DeviceUnavailable(f"{name}: {what} {value}", hint=f"at most {most}", field="device")
    return Device(name, match["runtime"], precision, threads, batch, match["host"])


def is_local(name: str) -> bool:
    """Whether this machine can run the device: the name is a local one and its runtime is installed."""
    try:
        device = parse_device(name)
    except DeviceUnavailable:
        return False
    return device.is_local and is_installed(device.runtime)


def local_devices() -> list[DeviceStatus]:
    """One device of one thread and batch 1 for each runtime and precision, also for those not installed."""
    return [
        DeviceStatus(parse_device(name), not missing(runtime), missing(runtime) or facts.install)
        for runtime, facts in RUNTIMES.items()
        for precision in facts.precisions
        for name in [f"{LOCAL}-{runtime}" + ("" if precision == "fp32" else f"-{precision}")]
    ]


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """This machine's CPU, precise enough that latencies of another one do not hold."""
    info = Path("/proc/cpuinfo")
    facts: dict[str, str] = {}
    if info.exists():
        for line in info.read_text(encoding="utf-8").split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            facts[key.strip()] = value.strip()
    name = facts.get("model name") or platform.processor() or "unknown CPU"
    family = ", ".join(f"{key} {facts[key]}" for key in ("cpu family", "model", "stepping") if key in facts)
    return f"{name} ({platform.machine()}{', ' + family if family else ''})"
