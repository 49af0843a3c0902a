"""ONNX Runtime on the CPU: one session a model, inputs and outputs allocated once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from latency_models.device import Device
from latency_models.runtimes import Run, RuntimeKernel
from latency_models.runtimes.onnx_file import build as build
from latency_models.runtimes.onnx_file import check_precision
from search_spaces.errors import DeviceUnavailable, InvalidGraph, UnsupportedKernel

_TYPES = {"tensor(float)": np.float32}
_FLOAT_LAYERS = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")


def load(model: bytes, device: Device, *, seed: int = 0) -> Run:
    """See ``latency_models.runtimes.Load``. Sequential, without spinning threads, every optimisation on."""
    session = open_session(model, device)
    rng = np.random.default_rng(seed)
    binding = session.io_binding()
    held = []  # a bound buffer must outlive the binding
    for value in session.get_inputs():
        shape = _shape(value, device)
        held.append(ort.OrtValue.ortvalue_from_numpy(rng.standard_normal(shape).astype(_TYPES[value.type])))
        binding.bind_ortvalue_input(value.name, held[-1])
    for value in session.get_outputs():
        held.append(ort.OrtValue.ortvalue_from_shape_and_type(_shape(value, device), _TYPES[value.type], "cpu"))
        binding.bind_ortvalue_output(value.name, held[-1])

    def run(keep: object = (session, held)) -> None:
        session.run_with_iobinding(binding)

    return run


def outputs(model: bytes, device: Device, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """See ``latency_models.runtimes.Outputs``."""
    session = open_session(model, device)
    for value, array in zip(session.get_inputs(), inputs, strict=True):
        if list(array.shape) != _shape(value, device):
            raise InvalidGraph(f"{value.name} has shape {array.shape}", hint=f"{_shape(value, device)}")
    found: list[NDArray[Any]] = session.run(None, dict(zip(_names(session.get_inputs()), inputs, strict=True)))
    return found


def read_kernels(model: bytes, device: Device) -> tuple[RuntimeKernel, ...]:
    """See ``latency_models.runtimes.ReadKernels``. Read from the optimised graph; ``nchwc`` is the blocked layout."""
    from latency_models.runtimes.onnxruntime_kernels import attribute

    _, optimised = _open(model, device, keep=True)
    assert optimised is not None
    return attribute(onnx.load_from_string(model), optimised)


def open_session(model: bytes, device: Device) -> ort.InferenceSession:
    """A session as ``load`` uses it, with the device's precision and threads."""
    session, optimised = _open(model, device, keep=device.precision == "int8")
    if optimised is not None:
        _check_int8(optimised)
    return session


def _open(model: bytes, device: Device, *, keep: bool) -> tuple[ort.InferenceSession, onnx.ModelProto | None]:
    """A session, and the graph that it runs if that is to be kept."""
    check_precision(model, device)
    options = ort.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_free_dimension_override_by_name("batch", device.batch_size)
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="hwnas-onnxruntime-") as folder:
        path = Path(folder) / "optimised.onnx"
        if keep:
            options.optimized_model_filepath = str(path)
        try:
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen unrelated classes
            raise InvalidGraph(
                f"onnxruntime does not load the model: {error}", hint="check it with onnx.checker"
            ) from error
        optimised = onnx.load(path) if keep else None
    found = session.get_session_options().intra_op_num_threads
    if found != device.threads:
        raise DeviceUnavailable(f"onnxruntime runs with {found} threads, asked for {device.threads}", hint="ask for 1")
    return session, optimised


def _check_int8(optimised: onnx.ModelProto) -> None:
    """ONNX Runtime computes in float32, without a word, what it has no 8-bit kernel for."""
    left = [node.name or node.op_type for node in optimised.graph.node if node.op_type in _FLOAT_LAYERS]
    if left:
        raise UnsupportedKernel(
            f"onnxruntime has no 8-bit kernel for {left[0]}" + (f" and {len(left) - 1} more" if left[1:] else ""),
            hint="use the device without -int8",
        )


def _names(values: Sequence[ort.NodeArg]) -> list[str]:
    return [value.name for value in values]


def _shape(value: ort.NodeArg, device: Device) -> list[int]:
    if value.type not in _TYPES:
        raise InvalidGraph(f"{value.name} is a {value.type}", hint="models take and give float32 tensors")
    shape = [device.batch_size if isinstance(n, str) else n for n in value.shape]
    if shape[0] != device.batch_size:
        raise InvalidGraph(
            f"the model has batch {shape[0]}, the device {device.batch_size}", hint="write it with batch=None"
        )
    return shape
