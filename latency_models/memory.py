"""Activation memory of a deployed graph by its schedule, for any op.

The order is that of the graph's nodes, in which ``search_spaces.onnx_graph`` and ``search_spaces.tflite_graph``
write them. What TFLite Micro needs for its int8 file is in ``latency_models.tflite_arena``.
"""

from __future__ import annotations

from collections import Counter
from math import prod

from search_spaces.graph import Graph
from search_spaces.ops import OPS
from search_spaces.schedule import Buffer, MemorySchedule, scheduled


def memory_schedule(graph: Graph, bytes_per_element: int = 4) -> MemorySchedule:
    """The schedule of a deployed graph on a runtime that runs activations in place, batch 1, weights apart.

    An in-place op (``OPS``) that is the only reader of a value overwrites it, and is one kernel with the op that
    made the value where it follows directly. A graph's inputs are never overwritten.
    """
    reads = Counter(graph.output_names)
    for node in graph.nodes:
        reads.update(node.inputs)
    holds = {name: name for name in graph.input_names}  # the buffer of each value
    size = {name: prod(shape) * bytes_per_element for name, shape in zip(graph.input_names, graph.inputs, strict=True)}
    kernels: list[list[str]] = []
    made: dict[str, int] = {}
    last = dict.fromkeys(graph.input_names, -1)
    for node in graph.nodes:
        source = node.inputs[0] if OPS[node.op].in_place else ""
        if source in holds and source not in graph.input_names and reads[source] == 1:
            holds[node.name] = holds[source]
            if kernels[-1][-1] == source:
                kernels[-1].append(node.name)
                continue
        else:
            holds[node.name] = node.name
            size[node.name] = prod(node.shape) * bytes_per_element
            made[node.name] = len(kernels)
        for name in node.inputs:
            last[holds[name]] = len(kernels)
        last[holds[node.name]] = len(kernels)
        kernels.append([node.name])
    for name in graph.output_names:
        last[holds[name]] = len(kernels) - 1
    buffers = [Buffer(name, size[name], made.get(name, 0), last[name]) for name in size]
    return scheduled(kernels, buffers)
