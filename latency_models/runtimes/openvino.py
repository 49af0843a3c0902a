"""OpenVINO on the CPU. It would choose bfloat16 by itself where the CPU has it: float32 is set and read back."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov

from latency_models.device import Device
from latency_models.runtimes import Run
from search_spaces.errors import DeviceUnavailable, InvalidGraph


def load(model: bytes, device: Device, *, seed: int = 0) -> Run:
    """See ``latency_models.runtimes.Load``. One stream, no thread pinning."""
    if device.precision != "fp32":
        raise DeviceUnavailable(f"openvino is set up for fp32, not {device.precision}", hint="use fp32")
    wanted = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": device.threads, "NUM_STREAMS": 1}
    core = ov.Core()
    try:
        network = core.read_model(model, b"")
        network.reshape(_shapes(network, device))
        compiled = core.compile_model(network, "CPU", {**wanted, "ENABLE_CPU_PINNING": False})
    except RuntimeError as error:
        raise InvalidGraph(f"openvino does not load the model: {error}", hint="check it with onnx.checker") from error
    found = {name: compiled.get_property(name) for name in wanted}
    if found["INFERENCE_PRECISION_HINT"] != ov.Type.f32 or found["INFERENCE_NUM_THREADS"] != device.threads:
        raise DeviceUnavailable(f"openvino runs with {found}, asked for {wanted}", hint="use another runtime")
    rng = np.random.default_rng(seed)
    request = compiled.create_infer_request()
    for i, port in enumerate(compiled.inputs):
        request.set_input_tensor(i, ov.Tensor(rng.standard_normal(tuple(port.shape)).astype(np.float32)))
    infer: Run = request.infer
    return infer


def _shapes(network: Any, device: Device) -> dict[int, list[int]]:
    shapes = {}
    for i, port in enumerate(network.inputs):
        batch, *rest = port.partial_shape
        if batch.is_static and batch.get_length() != device.batch_size:
            raise InvalidGraph(
                f"the model has batch {batch.get_length()}, the device {device.batch_size}",
                hint="write it with batch=None",
            )
        shapes[i] = [device.batch_size, *(n.get_length() for n in rest)]
    return shapes
