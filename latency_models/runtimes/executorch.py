"""ExecuTorch with XNNPACK, the runtime of PyTorch for phones and boards, here through its Python package.

The pool of threads is one a process, and models that were loaded before it changed cannot run any more. A model is
loaded by the bindings: ``executorch.runtime`` is a thin layer on them that imports the compiler, which takes seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latency_models.device import Device
from latency_models.runtimes import Run
from latency_models.runtimes.onnx_file import check_samples, random_samples
from search_spaces.errors import DeviceUnavailable, InvalidGraph, UnsupportedKernel
from search_spaces.graph import Graph

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own parts
    import executorch.extension.pybindings._C as _bindings

_LAYERS = ("convolution", "linear", "addmm", ".mm.", "bmm")
_BITS = {"fp32": 32, "int8": 8}
_BITS_METHOD = "weight_bits"

_pools = [0]
"""How many pools of threads this process has made."""


def build(
    graph: Graph,
    weights: Mapping[str, NDArray[Any]] | None,
    device: Device,
    *,
    samples: Sequence[NDArray[Any]] | None = None,
) -> bytes:
    """See ``latency_models.runtimes.Build``. Lowering takes seconds.

    Raises: UnsupportedKernel also where a layer with weights would run outside of XNNPACK.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    from latency_models.runtimes.torch_program import export

    given = random_samples(graph) if samples is None else samples
    check_samples(graph, given)
    program = export(graph, weights, device.batch_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if device.precision == "int8":
                program = _quantised(program, given, device.batch_size)
            lowered = to_edge_transform_and_lower(
                program,
                partitioner=[XnnpackPartitioner()],
                constant_methods={_BITS_METHOD: _BITS[device.precision]},
                compile_config=EdgeCompileConfig(_check_ir_validity=False),  # a third of the time
            )
            outside = [
                str(node.target)
                for node in lowered.exported_program().graph.nodes
                if node.op == "call_function" and "delegate" not in str(node.target)
            ]
            file = bytes(lowered.to_executorch().buffer)
        except Exception as error:  # lowering raises whatever the first unsupported op leads to
            raise UnsupportedKernel(
                f"ExecuTorch does not lower the network: {error}", hint="use another runtime"
            ) from error
    layers = [name for name in outside if any(layer in name for layer in _LAYERS)]
    if layers:
        raise UnsupportedKernel(
            f"XNNPACK does not take {layers[0]}" + (f" and {len(layers) - 1} more" if layers[1:] else ""),
            hint="use another runtime or precision",
        )
    return file


def load(model: bytes, device: Device, *, seed: int = 0) -> Run:
    """See ``latency_models.runtimes.Load``. Raises DeviceUnavailable from a run after another number of threads."""
    call, shapes = _open(model, device)
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(shape, generator=generator) for shape in shapes]

    def run() -> object:
        return call(inputs)

    return run


def outputs(model: bytes, device: Device, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """See ``latency_models.runtimes.Outputs``."""
    call, shapes = _open(model, device)
    for array, shape in zip(inputs, shapes, strict=True):
        if array.shape != shape:
            raise InvalidGraph(f"an input has shape {array.shape}", hint=f"{shape}")
    found = call([torch.from_numpy(np.ascontiguousarray(array)) for array in inputs])
    return [np.array(tensor.numpy()) for tensor in found]


def _open(
    model: bytes, device: Device
) -> tuple[Callable[[list[torch.Tensor]], Sequence[torch.Tensor]], list[tuple[int, ...]]]:
    """What runs the model, and the shapes of its inputs."""
    pool = _set_threads(device.threads)
    try:
        program = _bindings._load_program_from_buffer(
            model, program_verification=_bindings.Verification.InternalConsistency
        )
        if not {"forward", _BITS_METHOD} <= {program.get_method_name(i) for i in range(program.num_methods())}:
            raise RuntimeError("it is no program of this runtime's build")
        bits = int(program.load_method(_BITS_METHOD)([])[0])
        method = program.load_method("forward")
    except (RuntimeError, ValueError, TypeError) as error:
        raise InvalidGraph(
            f"ExecuTorch does not load the model: {error}", hint="take the file that this runtime's build makes"
        ) from error
    if bits != _BITS[device.precision]:
        raise InvalidGraph(f"the model has {bits}-bit weights, the device {device.precision}", hint="build it again")
    meta = method.method_meta()
    shapes = [tuple(meta.input_tensor_meta(i).sizes()) for i in range(meta.num_inputs())]
    if any(shape[0] != device.batch_size for shape in shapes):
        raise InvalidGraph(
            f"the model has batch {shapes[0][0]}, the device {device.batch_size}", hint="build it for the device"
        )

    def call(inputs: list[torch.Tensor], keep: object = (program, model)) -> Sequence[torch.Tensor]:
        if _pools[0] != pool:
            raise DeviceUnavailable(
                f"ExecuTorch has {_bindings._threadpool_get_thread_count()} threads by now, "
                f"the model was loaded for {device.threads}",
                hint="load it again",
            )
        found: Sequence[torch.Tensor] = method(inputs)
        return found

    return call, shapes


def _set_threads(threads: int) -> int:
    """Makes a pool of that many threads unless there is one; the number of the pool."""
    if _bindings._threadpool_get_thread_count() != threads:
        _bindings._unsafe_reset_threadpool(threads)
        _pools[0] += 1
    found = _bindings._threadpool_get_thread_count()
    if found != threads:
        raise DeviceUnavailable(f"ExecuTorch runs with {found} threads, asked for {threads}", hint="ask for 1")
    return _pools[0]


def _quantised(program: Any, samples: Sequence[NDArray[Any]], batch_size: int) -> Any:
    """The program with int8 weights, one scale a channel, and int8 activations, as XNNPACK's quantizer places them."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    calls = -(-len(samples[0]) // batch_size)
    batches = [  # the first examples again where they do not fill the last batch
        tuple(torch.from_numpy(np.ascontiguousarray(array[part])) for array in samples)
        for part in np.resize(np.arange(len(samples[0])), (calls, batch_size))
    ]
    with torch.no_grad():
        prepared = prepare_pt2e(program.module(), quantizer)
        for batch in batches:
            prepared(*batch)
        return torch.export.export(convert_pt2e(prepared), batches[0], strict=False)
