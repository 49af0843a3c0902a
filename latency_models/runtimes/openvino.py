"""OpenVINO on the CPU. It would choose bfloat16 by itself where the CPU has it: float32 is set and read back.

On an int8 device that is the precision of the ops that are not quantised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from latency_models.device import Device
from latency_models.runtimes import Run, RuntimeKernel
from latency_models.runtimes.onnx_file import build as build
from latency_models.runtimes.onnx_file import check_precision
from search_spaces.errors import DeviceUnavailable, InvalidGraph, UnsupportedKernel

_LAYERS = ("Convolution", "FullyConnected", "MatMul")
_EIGHT_BITS = ("i8", "u8")
_LESS_THAN_FP32 = ("bf16", "f16", *_EIGHT_BITS)


def load(model: bytes, device: Device, *, seed: int = 0, part: bool = False) -> Run:
    """See ``latency_models.runtimes.Load``. One stream, no thread pinning.

    ``part``: inputs and outputs are channels-last, as between layers, so that nothing is reordered at the ends.
    """
    infer: Run = open_request(compile_network(model, device, part=part), seed).infer
    return infer


def outputs(model: bytes, device: Device, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """See ``latency_models.runtimes.Outputs``."""
    compiled = compile_network(model, device)
    for port, array in zip(compiled.inputs, inputs, strict=True):
        if array.shape != tuple(port.shape):
            raise InvalidGraph(f"{port.any_name} has shape {array.shape}", hint=f"{tuple(port.shape)}")
    found = compiled.create_infer_request().infer(list(inputs))
    return [np.array(found[port]) for port in compiled.outputs]


def read_kernels(model: bytes, device: Device) -> tuple[RuntimeKernel, ...]:
    """See ``latency_models.runtimes.ReadKernels``. Read from the runtime model; constants are no kernels."""
    import onnx

    from latency_models.runtimes.fusion import join, owners

    owner = owners(onnx.load_from_string(model))
    kernels = []
    for op in compile_network(model, device).get_runtime_model().get_ordered_ops():
        kind, names = _said(op, "layerType"), _said(op, "originalLayersNames").split(",")
        shapes_only = kind == "Reshape" and owner.keys().isdisjoint(names)
        if kind not in ("Const", "Input", "Output") and not shapes_only:
            kernels.append((kind, names))
    return join(kernels, owner)


def compile_network(model: bytes, device: Device, *, part: bool = False) -> Any:
    """The compiled network as ``load`` uses it."""
    check_precision(model, device)
    wanted = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": device.threads, "NUM_STREAMS": 1}
    core = ov.Core()
    try:
        network = core.read_model(model, b"")
        network.reshape(_shapes(network, device))
        if part:
            network = _channels_last(network)
        options = {**wanted, "ENABLE_CPU_PINNING": False}
        compiled = core.compile_model(network, "CPU", options)
    except RuntimeError as error:
        raise InvalidGraph(f"openvino does not load the model: {error}", hint="check it with onnx.checker") from error
    found = {name: compiled.get_property(name) for name in wanted}
    if found["INFERENCE_PRECISION_HINT"] != ov.Type.f32 or found["INFERENCE_NUM_THREADS"] != device.threads:
        raise DeviceUnavailable(f"openvino runs with {found}, asked for {wanted}", hint="use another runtime")
    _check_executed(compiled, device)
    return compiled


def _channels_last(network: Any) -> Any:
    """Channels-last ends where a layer takes them as they are; what else there is would transpose them."""
    if not any("Convolution" in op.get_type_name() for op in network.get_ops()):
        return network
    ends = ov.preprocess.PrePostProcessor(network)
    for i, port in enumerate(network.inputs):
        if len(port.partial_shape) == 4:
            ends.input(i).tensor().set_layout(ov.Layout("NHWC"))
            ends.input(i).model().set_layout(ov.Layout("NCHW"))
    for i, port in enumerate(network.outputs):
        if len(port.partial_shape) == 4:
            ends.output(i).model().set_layout(ov.Layout("NCHW"))
            ends.output(i).tensor().set_layout(ov.Layout("NHWC"))
    return ends.build()


def _check_executed(compiled: Any, device: Device) -> None:
    """What the kernels say of themselves, for a hint is only a hint."""
    for op in compiled.get_runtime_model().get_ordered_ops():
        precision = _said(op, "runtimePrecision")
        if device.precision == "int8":
            wrong = _said(op, "layerType") in _LAYERS and precision not in _EIGHT_BITS
        else:
            wrong = precision in _LESS_THAN_FP32
        if wrong:
            raise UnsupportedKernel(
                f"openvino runs {op.get_friendly_name()} in {precision}, the device is {device.precision}",
                hint="use another precision or runtime",
            )


def _said(op: Any, fact: str) -> str:
    info = op.get_rt_info()
    return str(info[fact].astype(str)) if fact in info else ""


def open_request(compiled: Any, seed: int) -> Any:
    """A request with random inputs."""
    rng = np.random.default_rng(seed)
    request = compiled.create_infer_request()
    for i, port in enumerate(compiled.inputs):
        request.set_input_tensor(i, ov.Tensor(rng.standard_normal(tuple(port.shape)).astype(np.float32)))
    return request


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
