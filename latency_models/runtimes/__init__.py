"""The programs that run a model file. Each is a module with ``load`` and ``version``, imported when used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Protocol

from search_spaces.errors import DeviceUnavailable, UnknownName, nearest

if TYPE_CHECKING:
    from latency_models.device import Device

Run = Callable[[], object]
"""Runs a loaded model once on its fixed input."""


class Load(Protocol):
    def __call__(self, model: bytes, device: Device, *, seed: int = 0) -> Run:
        """Loads an ONNX model with fixed random inputs of the device's batch.

        Raises: DeviceUnavailable if the runtime does not run with the device's precision and threads,
        InvalidGraph if it cannot load the model or the model's batch is another than the device's.
        """


class RuntimeFacts(NamedTuple):
    """A runtime: what it is, the package that holds it, how it is installed, and where ``load`` lives."""

    description: str
    package: str
    install: str
    path: str


RUNTIMES: Mapping[str, RuntimeFacts] = {
    "onnxruntime": RuntimeFacts(
        "ONNX Runtime, CPU execution provider",
        "onnxruntime",
        "pip install onnxruntime",
        "latency_models.runtimes.onnxruntime:load",
    ),
    "openvino": RuntimeFacts(
        "OpenVINO, CPU plugin, float32 set explicitly",
        "openvino",
        "pip install openvino",
        "latency_models.runtimes.openvino:load",
    ),
}
"""Every runtime by the name that it has in a device's name."""


def is_installed(runtime: str) -> bool:
    """Whether the runtime's package is there; nothing is imported."""
    return find_spec(RUNTIMES[runtime].package) is not None


def runtime_version(runtime: str) -> str:
    """The installed version. Raises: DeviceUnavailable with the command that installs it."""
    _require(runtime)
    return version(RUNTIMES[runtime].package)


def loader(runtime: str) -> Load:
    """The runtime's ``load``. Raises: UnknownName, DeviceUnavailable."""
    _require(runtime)
    module, _, name = RUNTIMES[runtime].path.partition(":")
    load: Load = getattr(import_module(module), name)
    return load


def _require(runtime: str) -> None:
    if runtime not in RUNTIMES:
        raise UnknownName(f"unknown runtime {runtime!r}", hint=nearest(runtime, list(RUNTIMES)))
    if not is_installed(runtime):
        raise DeviceUnavailable(f"the runtime {runtime} is not installed", hint=RUNTIMES[runtime].install)
