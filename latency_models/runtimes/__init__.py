"""The programs that run a model file. Each is a module with ``build`` and ``load``, imported when used."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from search_spaces.errors import DeviceUnavailable, UnknownName, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latency_models.device import Device
    from search_spaces.graph import Graph

Run = Callable[[], object]
"""Runs a loaded model once on its fixed input."""


class Build(Protocol):
    def __call__(
        self,
        graph: Graph,
        weights: Mapping[str, NDArray[Any]] | None,
        device: Device,
        *,
        samples: Sequence[NDArray[Any]] | None = None,
    ) -> bytes:
        """The file of a deployed graph that ``load`` of the same runtime reads, with the device's batch.

        Weights are random where None. ``samples``, one array of any number of examples an input, give an int8 file
        the ranges of its activations; random ones, where None, do for timing.
        Raises: UnsupportedKernel where the runtime lacks an op, InvalidGraph for wrong weights or samples.
        """


class Load(Protocol):
    def __call__(self, model: bytes, device: Device, *, seed: int = 0) -> Run:
        """Loads a file made by ``build``, with fixed random inputs of the device's batch.

        Raises: DeviceUnavailable if the runtime does not run with the device's precision and threads,
        InvalidGraph if it cannot load the model or the model's batch is another than the device's.
        """


class Outputs(Protocol):
    def __call__(self, model: bytes, device: Device, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """What a file made by ``build`` gives for the inputs of one call, as float32 arrays, run as ``load`` runs it.

        Raises: as ``Load``.
        """


class RuntimeKernel(NamedTuple):
    """A kernel that a runtime made: its own name for the op, and the nodes of the deployed network that run in it.

    ``nodes`` is empty for what the runtime put in, such as a change of layout. Ops that together compute one node,
    and nothing else, count as one kernel; their names are joined by ``+``.
    """

    op: str
    nodes: tuple[str, ...]


class ReadKernels(Protocol):
    def __call__(self, model: bytes, device: Device) -> tuple[RuntimeKernel, ...]:
        """The kernels that run for a file made by ``build``, in order of execution.

        Every node of the deployed network is in one kernel; or in none, where nothing runs for it (a duplicate of
        another, one that moves nothing) or the runtime does not say what became of it. Raises: as ``Load``.
        """


class RuntimeFacts(NamedTuple):
    """A runtime: what it is, the package that holds it, how it is installed, its precisions, and its module.

    ``own_layout``: ``load`` takes ``part=True``, and inputs and outputs then have the layout that the runtime uses
    between layers. ``slow_build``: a file takes seconds, so that several processes build.
    """

    description: str
    package: str
    install: str
    precisions: tuple[str, ...]
    module: str
    own_layout: bool = False
    slow_build: bool = False


RUNTIMES: Mapping[str, RuntimeFacts] = {
    "onnxruntime": RuntimeFacts(
        "ONNX Runtime, CPU execution provider",
        "onnxruntime",
        "pip install onnxruntime",
        ("fp32", "int8"),
        "latency_models.runtimes.onnxruntime",
    ),
    "openvino": RuntimeFacts(
        "OpenVINO, CPU plugin",
        "openvino",
        "pip install openvino",
        ("fp32", "int8"),
        "latency_models.runtimes.openvino",
        own_layout=True,
    ),
    "executorch": RuntimeFacts(
        "ExecuTorch, XNNPACK backend on the CPU",
        "executorch",
        "pip install executorch",
        ("fp32", "int8"),
        "latency_models.runtimes.executorch",
        slow_build=True,
    ),
    "pytorch": RuntimeFacts(
        "PyTorch on the CPU, eager", "torch", "pip install torch", ("fp32",), "latency_models.runtimes.pytorch"
    ),
    "pytorch-compiled": RuntimeFacts(
        "PyTorch on the CPU, torch.compile with inductor",
        "torch",
        "pip install torch",
        ("fp32",),
        "latency_models.runtimes.pytorch",
    ),
    "pytorch-cuda": RuntimeFacts(
        "PyTorch on an NVIDIA GPU, eager, without TensorFloat-32",
        "torch",
        "pip install --force-reinstall torch",
        ("fp32", "fp16"),
        "latency_models.runtimes.pytorch",
    ),
}
"""Every runtime by the name that it has in a device's name."""
_GPU_DRIVER = ("/dev/nvidiactl", "/dev/dxg")


def is_installed(runtime: str) -> bool:
    """Whether the runtime is there; nothing is imported."""
    return not missing(runtime)


def missing(runtime: str) -> str:
    """What the runtime lacks on this machine, as the one command that installs it or in words; empty if nothing."""
    facts = RUNTIMES[runtime]
    if find_spec(facts.package) is None:
        return facts.install
    if runtime == "pytorch-compiled" and which(os.environ.get("CXX", "g++")) is None:
        return "apt-get install g++"
    if runtime == "pytorch-cuda":
        if not any(Path(path).exists() for path in _GPU_DRIVER):
            return "needs an NVIDIA GPU and its driver"
        if version(facts.package).endswith("+cpu"):
            return facts.install
    return ""


def runtime_version(runtime: str) -> str:
    """The installed version. Raises: DeviceUnavailable with the command that installs it."""
    _require(runtime)
    return version(RUNTIMES[runtime].package)


def builder(runtime: str) -> Build:
    """The runtime's ``build``. Raises: UnknownName, DeviceUnavailable."""
    build: Build = _module(runtime).build
    return build


def loader(runtime: str) -> Load:
    """The runtime's ``load``. Raises: UnknownName, DeviceUnavailable."""
    load: Load = _module(runtime).load
    return load


def runner(runtime: str) -> Outputs:
    """The runtime's ``outputs``. Raises: UnknownName, DeviceUnavailable."""
    outputs: Outputs = _module(runtime).outputs
    return outputs


def kernel_reader(runtime: str) -> ReadKernels | None:
    """The runtime's ``read_kernels``; None where it tells nobody. Raises: UnknownName, DeviceUnavailable."""
    read: ReadKernels | None = getattr(_module(runtime), "read_kernels", None)
    return read


def _module(runtime: str) -> Any:
    _require(runtime)
    return import_module(RUNTIMES[runtime].module)


def _require(runtime: str) -> None:
    if runtime not in RUNTIMES:
        raise UnknownName(f"unknown runtime {runtime!r}", hint=nearest(runtime, list(RUNTIMES)))
    if lacks := missing(runtime):
        raise DeviceUnavailable(f"the runtime {runtime} is not installed", hint=lacks)
