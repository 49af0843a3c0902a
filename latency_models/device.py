"""What a device is, and the names of the local ones: ``local-RUNTIME[-bN]``."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from latency_models.runtimes import RUNTIMES, is_installed
from search_spaces.errors import DeviceUnavailable, nearest

MAX_BATCH_SIZE = 4096
_LOCAL = re.compile(r"local-(?P<runtime>[a-z]+)(?:-b(?P<batch>[1-9]\d{0,3}))?")


@dataclass(frozen=True, slots=True)
class Device:
    """Where and how a network runs. A latency is that of one call with ``batch_size`` inputs."""

    name: str
    runtime: str
    precision: str = "fp32"
    threads: int = 1
    batch_size: int = 1


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A local device, whether its runtime is there, and the command that installs it."""

    device: Device
    available: bool
    install: str


def parse_device(name: str) -> Device:
    """The local device of that name: one thread, float32, batch N of ``-bN``, else 1.

    Raises: DeviceUnavailable with the nearest name and the command that profiles a device.
    """
    match = _LOCAL.fullmatch(name)
    if match is not None and match["runtime"] in RUNTIMES:
        batch = int(match["batch"] or 1)
        if match["batch"] == "1":
            raise DeviceUnavailable(
                f"{name} has batch 1, which needs no suffix", hint=f"write {name[:-3]}", field="device"
            )
        if batch > MAX_BATCH_SIZE:
            raise DeviceUnavailable(f"{name}: batch {batch}", hint=f"at most {MAX_BATCH_SIZE}", field="device")
        return Device(name, match["runtime"], batch_size=batch)
    known = [f"local-{runtime}" for runtime in RUNTIMES]
    raise DeviceUnavailable(
        f"unknown device {name!r}",
        hint=f"{nearest(name, known)}; with -bN for batch N; another one needs: hwnas profile --device {name}",
        field="device",
    )


def is_local(name: str) -> bool:
    """Whether this machine can run the device: the name is a local one and its runtime is installed."""
    try:
        return is_installed(parse_device(name).runtime)
    except DeviceUnavailable:
        return False


def local_devices() -> list[DeviceStatus]:
    """One device of batch 1 for each runtime, also for those that are not installed."""
    return [
        DeviceStatus(parse_device(f"local-{runtime}"), is_installed(runtime), facts.install)
        for runtime, facts in RUNTIMES.items()
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
