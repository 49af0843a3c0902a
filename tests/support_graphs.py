"""Graphs and checks that several tests share."""

import numpy as np

from search_spaces import Classification, Task
from search_spaces.builder import Builder, Value
from search_spaces.graph import Graph
from search_spaces.ops import OPS

TASK = Task((3, 32, 32), Classification(10))


def flat(graph: Graph) -> Graph:
    """The same network without nesting, rebuilt op by op from its flat nodes."""
    b = Builder(graph.inputs)
    values: dict[str, Value] = dict(zip(graph.input_names, b.inputs, strict=True))
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        values[node.name] = b.op(node.name, node.op, *inputs, weights=node.weights, **node.attrs)
    return b.build([values[name] for name in graph.output_names])


def simulated_peak_elements(graph: Graph) -> int:
    """Peak activation elements by acting the schedule out on the flat nodes, buffer by buffer."""
    nodes = graph.nodes
    sizes = {name: int(np.prod(shape)) for name, shape in graph.shapes_by_name().items()}
    readers: dict[str, list[int]] = {name: [] for name in sizes}
    for index, node in enumerate(nodes):
        for name in node.inputs:
            readers[name].append(index)
    for name in graph.output_names:
        readers[name].append(len(nodes))
    alive = set(graph.input_names)
    peak = sum(sizes[name] for name in alive)
    for index, node in enumerate(nodes):
        source = node.inputs[0]
        in_place = OPS[node.op].in_place and readers[source] == [index] and source not in graph.input_names
        if in_place:
            alive.remove(source)
        alive.add(node.name)
        peak = max(peak, sum(sizes[name] for name in alive))
        alive -= {name for name in alive if readers[name] and max(readers[name]) <= index}
        alive -= {name for name in alive if not readers[name] and name not in graph.input_names}
    return peak


def randomised(weights: dict[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """Weights with batch-norm statistics and affine parameters far from their fresh values."""
    rng = np.random.default_rng(seed)
    out = dict(weights)
    for name in weights:
        entry, _, tensor = name.rpartition(".")
        if tensor == "running_mean":
            size = weights[name].shape
            out[name] = rng.normal(0, 0.3, size).astype(np.float32)
            out[f"{entry}.running_var"] = rng.uniform(0.5, 2.0, size).astype(np.float32)
            out[f"{entry}.weight"] = rng.uniform(0.5, 1.5, size).astype(np.float32)
            out[f"{entry}.bias"] = rng.normal(0, 0.2, size).astype(np.float32)
    return out
