"""Whether every network of a definition can be built: each layer, with its options, on every shape that reaches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import combinations, product
from math import prod
from typing import Any

from search_spaces.architecture import Option
from search_spaces.blocks import BLOCKS
from search_spaces.builder import Builder, Memo
from search_spaces.cost import weight_bytes
from search_spaces.definition import SpaceDefinition
from search_spaces.definition_build import stages_of
from search_spaces.errors import InvalidGraph, InvalidSpec
from search_spaces.graph import Shape
from search_spaces.parameters import arguments
from search_spaces.stage import Candidate, Stage
from search_spaces.task import Task, classifier

EVERY = 64
"""Combinations of a block's options that are all tried; of more, every pair of options."""
BUILDS = 30_000
"""Layers that are built before a definition counts as too large."""
ELEMENTS = 2**28
"""Numbers in one output or in the weights of one layer, at most: 1 GiB in float32."""
SIZES = (224, 32, 28)
"""Heights and widths of which one must fit where neither the definition nor a task names any."""


def check_definition(definition: SpaceDefinition, task: Task | None = None) -> None:
    """Raises where some network of the space could not be built, for the task or (None) for 3-channel images.

    A resolution choice overrides the task's height and width. Raises: InvalidSpec naming the stage, the block with
    its arguments, the shape that reaches it, and what the block said.
    """
    definition.space()
    _check(definition, task)


@lru_cache(maxsize=64)
def _check(definition: SpaceDefinition, task: Task | None) -> None:
    walk = _Walk(definition)
    channels, height, width = task.input_shape if task else (3, 0, 0)
    classes = task.head.classes if task else 10
    if definition.resolution or task:
        for size in definition.resolution or (0,):
            walk.networks((channels, size or height, size or width), classes)
        return
    refusals = []
    for size in SIZES:
        try:
            return walk.networks((channels, size, size), classes)
        except InvalidSpec as error:
            refusals.append(error)
    raise refusals[0]


class _Walk:
    """Follows the shapes through the stages; each layer is built once an input shape, width and stride."""

    def __init__(self, definition: SpaceDefinition) -> None:
        self.definition = definition
        self.stages = stages_of(definition)
        self.memo = Memo()
        self.done: dict[tuple[int, int, Shape, int], frozenset[Shape]] = {}
        self.builds = 0

    def networks(self, input_shape: Shape, classes: int) -> None:
        """Every network on inputs of one shape."""
        for width in self.definition.width:
            shapes = frozenset([input_shape])
            for i, stage in enumerate(self.stages):
                options = stage.out_channels if isinstance(stage.out_channels, tuple) else (stage.out_channels,)
                shapes = frozenset().union(*(self.stage(i, shapes, stage.channels(c, width)) for c in options))
            for shape in shapes:
                self.build(f"the classifier on {_text(shape)}", "stages", classifier, shape, (classes,))

    def stage(self, i: int, shapes: frozenset[Shape], out_channels: int) -> frozenset[Shape]:
        """The shapes that leave stage ``i``, whichever reaches it, at every depth."""
        stage = self.stages[i]
        left: set[Shape] = set()
        for layer in range(1, stage.depth[-1] + 1):
            stride = stage.stride if layer == 1 else 1
            shapes = frozenset().union(*(self.layer(i, layer, shape, out_channels, stride) for shape in shapes))
            if layer in stage.depth:
                left |= shapes
        return frozenset(left)

    def layer(self, i: int, layer: int, shape: Shape, out_channels: int, stride: int) -> frozenset[Shape]:
        """The shapes that leave a layer, with every candidate and every row of its options."""
        key = (i, stride, shape, out_channels)
        if key not in self.done:
            stage = self.stages[i]
            self.done[key] = frozenset(
                self.option(i, layer, label, candidate, row, shape, {"out_channels": out_channels, "stride": stride})
                for label, candidate in stage.candidates().items()
                for row in _rows(candidate, stage)
            )
        return self.done[key]

    def option(
        self,
        i: int,
        layer: int,
        label: str,
        candidate: Candidate,
        row: Mapping[str, Option],
        shape: Shape,
        by_stage: Mapping[str, int],
    ) -> Shape:
        given = {
            name: by_stage.get(name, row.get(name, default)) for name, default in arguments(candidate.block).items()
        }
        field = f"stages.{i}.blocks.{label}" if label else f"stages.{i}"
        stage = self.stages[i]
        which = "the layer" if stage.single else f"layer {layer}"
        chosen = {name: value for name, value in given.items() if name in by_stage or name in row}
        told = ", ".join(f"{name} {value}" for name, value in chosen.items())
        what = f"{which} of stage {stage.name}, {candidate.block} ({told}) on {_text(shape)}"
        return self.build(what, field, BLOCKS[candidate.block].function, shape, tuple(given.values()))

    def build(self, what: str, field: str, function: Any, shape: Shape, given: tuple[Any, ...]) -> Shape:
        """The output shape of one layer. Raises: InvalidSpec."""
        self.builds += 1
        if self.builds > BUILDS:
            raise InvalidSpec(
                f"stages: more than {BUILDS:,} different layers would have to be checked",
                hint="give fewer widths, resolutions, channels or options",
                field="stages",
            )
        builder = Builder((shape,), self.memo)
        try:
            value = builder.block("layer", function, builder.inputs[0], *given)
            graph = builder.build(value)
        except InvalidGraph as error:
            said = error.message.removeprefix("layer.")
            raise InvalidSpec(f"{field}: {what}: {said}", hint=error.hint, field=field) from None
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            said = f"{type(error).__name__}: {error}"
            raise InvalidSpec(f"{field}: {what}: {said}", hint="this block does not fit there", field=field) from None
        largest = max(prod(value.shape), weight_bytes(graph, 1))
        if largest > ELEMENTS:
            raise InvalidSpec(
                f"{field}: {what}: {largest:,} numbers in its output or its weights",
                hint=f"at most {ELEMENTS:,}: use fewer channels, a smaller input or more strides",
                field=field,
            )
        output: Shape = value.shape
        return output


def _rows(candidate: Candidate, stage: Stage) -> Iterator[Mapping[str, Option]]:
    """The arguments to try: all combinations of options, or where these are many every pair, the others first."""
    options = {**stage.options, **candidate.options}
    names = list(options)
    if prod(map(len, options.values())) <= EVERY:
        yield from (dict(zip(names, values, strict=True)) for values in product(*options.values()))
        return
    first = {name: values[0] for name, values in options.items()}
    several = [name for name in names if len(options[name]) > 1]
    if len(several) == 1:
        yield from ({**first, several[0]: value} for value in options[several[0]])
    for a, b in combinations(several, 2):
        yield from ({**first, a: x, b: y} for x, y in product(options[a], options[b]))


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
