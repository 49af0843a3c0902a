"""ONNX Runtime on the CPU: one session a model, inputs and outputs allocated once."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from latency_models.device import Device
from latency_models.runtimes import Run
from search_spaces.errors import DeviceUnavailable, InvalidGraph

_TYPES = {"tensor(float)": np.float32}


def load(model: bytes, device: Device, *, seed: int = 0) -> Run:
    """See ``latency_models.runtimes.Load``. Sequential, without spinning threads, every optimisation on."""
    if device.precision != "fp32":
        raise DeviceUnavailable(f"onnxruntime is set up for fp32, not {device.precision}", hint="use fp32")
    options = ort.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_free_dimension_override_by_name("batch", device.batch_size)
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen unrelated classes
        raise InvalidGraph(
            f"onnxruntime does not load the model: {error}", hint="check it with onnx.checker"
        ) from error
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


def _shape(value: ort.NodeArg, device: Device) -> list[int]:
    if value.type not in _TYPES:
        raise InvalidGraph(f"{value.name} is a {value.type}", hint="models take and give float32 tensors")
    shape = [device.batch_size if isinstance(n, str) else n for n in value.shape]
    if shape[0] != device.batch_size:
        raise InvalidGraph(
            f"the model has batch {shape[0]}, the device {device.batch_size}", hint="write it with batch=None"
        )
    return shape
