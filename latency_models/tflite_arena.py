"""The arena of TFLite Micro: what its planner gives the activations, and what the interpreter keeps beside them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import NamedTuple

from search_spaces.errors import DeviceUnavailable, InvalidGraph
from search_spaces.graph import Graph
from search_spaces.schedule import greedy, height
from search_spaces.tflite_graph import INSTALL
from search_spaces.tflite_ops import lower
from search_spaces.tflite_schedule import tflite_offsets, tflite_schedule

# Of a 64-bit build, in bytes. Pointers are half as long on a 32-bit microcontroller, and so its arena is smaller.
_INTERPRETER = 712  # allocators, planner, builtin data of the model, one input and one output tensor
_TENSOR = 24  # TfLiteEvalTensor
_OPERATOR = 64  # NodeAndRegistration
_CHANNEL = 8  # multiplier and shift of each output channel of a convolution
_KERNELS: Mapping[str, int] = {
    "CONV_2D": 108,
    "DEPTHWISE_CONV_2D": 108,
    "FULLY_CONNECTED": 112,
    "ADD": 72,
    "SUB": 72,
    "MUL": 52,
    "RELU": 32,
    "RELU6": 16,
    "HARD_SWISH": 32,
    "LOGISTIC": 16,
    "TANH": 16,
    "SOFTMAX": 84,
    "AVERAGE_POOL_2D": 72,
    "MAX_POOL_2D": 72,
    "MEAN": 74,
    "CONCATENATION": 88,
    "QUANTIZE": 32,
    "SLICE": 0,
    "GATHER": 40,
    "RESHAPE": 36,
    "TRANSPOSE": 0,
    "PAD": 64,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "RESIZE_BILINEAR": 2,
}
"""What a kernel of each kind keeps: its options and its prepared data, by the difference of files with more of it."""


class Arena(NamedTuple):
    """Bytes of an arena: activations and scratch (its head), and what lives as long as the interpreter (its tail)."""

    head_bytes: int
    tail_bytes: int

    @property
    def bytes(self) -> int:
        return self.head_bytes + self.tail_bytes


def predict_arena(graph: Graph, *, planned: bool = True) -> Arena:
    """The arena that the int8 file of a deployed graph needs, by arithmetic, for a 64-bit build of TFLite Micro.

    ``planned``: as ``to_tflite`` has it. The head is exact, the tail within a few per mille.
    Raises: UnsupportedKernel for an op that TFLite Micro lacks.
    """
    program = lower(graph)
    tail = _INTERPRETER + _TENSOR * len(program.tensors)
    for operator in program.operators:
        tail += _OPERATOR + _KERNELS[operator.kind]
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            tail += _CHANNEL * program.tensors[operator.output].shape[-1]
    buffers = tflite_schedule(graph).buffers
    return Arena(height(buffers, tflite_offsets(graph) if planned else greedy(buffers)), tail)


def measure_arena(model: bytes, *, limit_bytes: int = 1 << 28) -> Arena:
    """What TFLite Micro's own interpreter allocates for a file, as its recording allocator counts it.

    In a process of its own: the interpreter prints its count, and ends its process where the arena is too small.
    Raises: DeviceUnavailable if the package is not installed, InvalidGraph if the interpreter does not take the file
    or an arena of ``limit_bytes`` is too small.
    """
    if find_spec("tflite_micro") is None:
        raise DeviceUnavailable("TFLite Micro is not installed", hint=INSTALL)
    command = [sys.executable, "-c", _LOAD, str(limit_bytes)]
    done = subprocess.run(command, input=model, capture_output=True, timeout=120, check=False)
    said = done.stderr.decode(errors="replace")
    found = dict(re.findall(r"Arena allocation (\w+) (\d+) bytes", said))
    if done.returncode or not {"head", "tail"} <= found.keys():
        lines = said.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise InvalidGraph(
            f"TFLite Micro does not load the file: {lines[0]}",
            hint=f"a file of int8 operators that fits in {limit_bytes:,} bytes",
        )
    return Arena(int(found["head"]), int(found["tail"]))


_LOAD = """
import sys
from tflite_micro import runtime
runtime.Interpreter.from_bytes(sys.stdin.buffer.read(), arena_size=int(sys.argv[1])).print_allocations()
"""
