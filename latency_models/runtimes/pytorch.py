"""PyTorch: eager and compiled on the CPU, and on an NVIDIA GPU, where a run ends when the GPU has finished.

A file is PyTorch's exported program. Threads are a setting of the whole process: they are set when a model is loaded,
and again by a run that finds others.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export.passes import move_to_device_pass

from latency_models.device import Device
from latency_models.runtimes import Run
from latency_models.runtimes.torch_program import export
from search_spaces.errors import DeviceUnavailable, InvalidGraph
from search_spaces.graph import Graph

_TYPES = {"fp32": torch.float32, "fp16": torch.float16}


def build(
    graph: Graph,
    weights: Mapping[str, NDArray[Any]] | None,
    device: Device,
    *,
    samples: Sequence[NDArray[Any]] | None = None,
) -> bytes:
    """See ``latency_models.runtimes.Build``. Weights are float32, whatever the device's precision."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(export(graph, weights, device.batch_size), file)
    return file.getvalue()


def load(model: bytes, device: Device, *, seed: int = 0) -> Run:
    """See ``latency_models.runtimes.Load``. A compiled network is compiled here, which takes seconds."""
    network, shapes = _open(model, device)
    rng = np.random.default_rng(seed)
    call = _caller(network, device, [rng.standard_normal(shape).astype(np.float32) for shape in shapes])
    call()  # a compiled network is compiled, and a failure shows, before anything is timed
    return call


def outputs(model: bytes, device: Device, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """See ``latency_models.runtimes.Outputs``."""
    network, shapes = _open(model, device)
    for array, shape in zip(inputs, shapes, strict=True):
        if array.shape != shape:
            raise InvalidGraph(f"an input has shape {array.shape}", hint=f"{shape}")
    found = _caller(network, device, list(inputs))()
    return [np.asarray(tensor.float().cpu().numpy()) for tensor in (found if isinstance(found, tuple) else (found,))]


def _open(model: bytes, device: Device) -> tuple[Callable[..., Any], list[tuple[int, ...]]]:
    """The network on its device in its precision, and the shapes of its inputs."""
    _prepare(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.load(io.BytesIO(model))
        except Exception as error:  # a corrupt file raises whatever its first wrong byte leads to
            raise InvalidGraph(
                f"PyTorch does not load the model: {error}", hint="take the file that this runtime's build makes"
            ) from error
    place = _place(device)
    if place.type == "cuda":
        program = move_to_device_pass(program, place)
    network = program.module(check_guards=False)
    inputs = program.graph_signature.user_inputs
    wanted = [tuple(node.meta["val"].shape) for node in program.graph.nodes if node.name in inputs]
    if any(shape[0] != device.batch_size for shape in wanted):
        raise InvalidGraph(
            f"the model has batch {wanted[0][0]}, the device {device.batch_size}", hint="build it for the device"
        )
    network = network.to(dtype=_TYPES[device.precision])
    found = {str(p.dtype) for p in network.state_dict().values() if p.is_floating_point()}
    if found - {str(_TYPES[device.precision])}:
        raise DeviceUnavailable(f"PyTorch holds {sorted(found)}, asked for {device.precision}", hint="use fp32")
    if device.runtime != "pytorch-compiled":
        return network, wanted
    return torch.compile(network, fullgraph=True, dynamic=False), wanted


def _prepare(device: Device) -> None:
    """Sets what belongs to the process, and reads it back."""
    if device.runtime == "pytorch-cuda":
        if not torch.cuda.is_available():
            raise DeviceUnavailable("PyTorch finds no NVIDIA GPU", hint="install its driver, and a PyTorch with CUDA")
        # TensorFloat-32 has 10 bits where float32 has 23
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(device.threads)
    if torch.get_num_threads() != device.threads:
        raise DeviceUnavailable(
            f"PyTorch runs with {torch.get_num_threads()} threads, asked for {device.threads}", hint="ask for 1"
        )


def _place(device: Device) -> torch.device:
    return torch.device("cuda" if device.runtime == "pytorch-cuda" else "cpu")


def _caller(network: Callable[..., Any], device: Device, inputs: list[NDArray[Any]]) -> Callable[[], Any]:
    place, threads = _place(device), device.threads
    held = [torch.from_numpy(array).to(device=place, dtype=_TYPES[device.precision]) for array in inputs]
    on_gpu = place.type == "cuda"

    def call() -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            found = network(*held)
        if on_gpu:
            torch.cuda.synchronize()
        return found

    return call
