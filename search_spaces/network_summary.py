"""One network of a space in numbers: each item at its top level, and what the whole costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from search_spaces import preset_point, presets_in
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.cost import peak_memory_bytes, weight_bytes
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidSpec, nearest
from search_spaces.graph import Graph, Item, Shape
from search_spaces.ops import OPS
from search_spaces.staged import StagedSpace
from search_spaces.task import Classification, Task

DEFAULT_SIZE = 224
"""Height and width where neither the architecture nor the caller names any."""


@dataclass(frozen=True, slots=True)
class ItemSummary:
    """A block call or an op at the top of a network; ``macs`` without products of activations."""

    name: str
    block: str
    output: Shape
    params: int
    macs: int
    matmul_macs: int


@dataclass(frozen=True, slots=True)
class NetworkSummary:
    """Bytes are of float32 and of the deployed network; peak memory is that of activations at batch 1."""

    space: str
    architecture: str
    input: Shape
    classes: int
    items: tuple[ItemSummary, ...]
    params: int
    macs: int
    matmul_macs: int
    peak_memory_bytes: int
    weight_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def choose(space: SearchSpace, *, arch: str | None = None, preset: str | None = None) -> Architecture:
    """The architecture of a text or of a preset, or the smallest of the space.

    Raises: InvalidArchitecture; InvalidSpec where no variant of the space has the preset.
    """
    if arch is not None:
        return space.from_string(arch)
    if preset is None:
        return space.smallest()
    members = presets_in(space.name)
    if preset not in members:
        hint = nearest(preset, members) if members else "the space has none"
        raise InvalidSpec(f"{preset!r} is no preset of space {space.name}", hint=hint, field="preset")
    return preset_point(preset, space)


def summarise(space: SearchSpace, arch: Architecture, input_shape: Shape | None, classes: int) -> NetworkSummary:
    """A network on inputs of a shape; None: 3 channels at the resolution that the architecture chose, or at 224.

    Raises: InvalidGraph where it does not fit.
    """
    task = Task(input_shape or (3, DEFAULT_SIZE, DEFAULT_SIZE), Classification(classes))
    if input_shape is not None and isinstance(space, StagedSpace):
        graph = space.network(arch, input_shape, task.head)  # whatever the architecture says
    else:
        graph = space.graph(arch, task)
    deployed = deploy(graph)[0]
    return NetworkSummary(
        space.name,
        space.to_string(arch),
        graph.inputs[0],
        classes,
        tuple(_item(space, graph, item) for item in graph.items),
        graph.params,
        graph.macs,
        graph.matmul_macs,
        peak_memory_bytes(deployed),
        weight_bytes(deployed),
    )


def _item(space: SearchSpace, graph: Graph, item: Item) -> ItemSummary:
    shape = item.shapes[0]
    if isinstance(item.op, Graph):
        costs = item.op.params, item.op.macs, item.op.matmul_macs
        return ItemSummary(item.name, _block(space, item.name), shape, *costs)
    row = OPS[item.op]
    shapes = tuple([graph.value_shapes[i] for i in item.inputs])
    weights = row.weights(item.attrs, shapes).values() if row.weights else ()
    params = sum([prod(weight.shape) for weight in weights if weight.trainable])
    macs = row.macs(item.attrs, shapes, shape) if row.macs else 0
    matmul_macs = row.matmul_macs(item.attrs, shapes, shape) if row.matmul_macs else 0
    return ItemSummary(item.name, item.op, shape, params, macs, matmul_macs)


def _block(space: SearchSpace, name: str) -> str:
    """The name of the block at an item of a staged space; of another space nothing is known but the item's."""
    for stage in space.stages if isinstance(space, StagedSpace) else ():
        if name == stage.name or name.startswith(f"{stage.name}."):
            candidates = stage.candidates()
            label = name.rpartition(".")[2] if len(candidates) > 1 else next(iter(candidates))
            return candidates[label].block
    return "" if name != "classifier" else name
