"""When each tensor of a TFLite program is alive, and where the file tells TFLite Micro to place it."""

from __future__ import annotations

from math import prod

from search_spaces.graph import Graph
from search_spaces.schedule import Buffer, MemorySchedule, plan, scheduled
from search_spaces.tflite_ops import lower
from search_spaces.tflite_program import Operator, Program

PLACED_BY_RUNTIME = -1


def tflite_schedule(graph: Graph) -> MemorySchedule:
    """The schedule of the int8 file of a deployed graph, as TFLite Micro runs it.

    Nothing runs in place: what is not fused has an output of its own, and a padded copy counts.
    Raises: UnsupportedKernel for an op that TFLite Micro lacks.
    """
    schedule: MemorySchedule = graph.memo("tflite_schedule", lambda graph: _schedule(lower(graph)))
    return schedule


def tflite_offsets(graph: Graph) -> list[int]:
    """Where each buffer of ``tflite_schedule`` is placed in the file, scratch where the runtime will place it."""
    offsets: list[int] = graph.memo("tflite_offsets", lambda graph: plan(tflite_schedule(graph).buffers))
    return offsets


def offline_plan(graph: Graph) -> list[int]:
    """The offset of every tensor of the file, as its metadata ``OfflineMemoryAllocation`` holds it."""
    buffers = tflite_schedule(graph).buffers
    placed = {buffer.name: offset for buffer, offset in zip(buffers, tflite_offsets(graph), strict=True)}
    return [placed.get(name, PLACED_BY_RUNTIME) for name in lower(graph).tensors]


def _schedule(program: Program) -> MemorySchedule:
    first = dict.fromkeys(program.inputs, 0)
    last = dict.fromkeys(program.inputs, 0)
    scratch = []
    for step, operator in enumerate(program.operators):
        first[operator.output] = step
        for name in (operator.output, *operator.inputs):
            last[name] = step
        if needed := _scratch_bytes(program, operator):
            scratch.append(Buffer(f"{operator.output}/scratch", needed, step, step, scratch=True))
    for name in program.outputs:
        last[name] = max(0, len(program.operators) - 1)
    tensors = [
        Buffer(name, prod(tensor.shape), first[name], last[name])
        for name, tensor in program.tensors.items()
        if name in first
    ]
    return scheduled([operator.nodes for operator in program.operators], [*tensors, *scratch])


def _scratch_bytes(program: Program, operator: Operator) -> int:
    """What a kernel asks for while it runs: a mean sums in int32."""
    return 4 * prod(program.tensors[operator.output].shape) if operator.kind == "MEAN" else 0
