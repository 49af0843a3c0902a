"""A block graph while the passes of ``deploy`` rewrite it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from search_spaces.affine import Expression, Layer
from search_spaces.graph import Graph, Item, Shape

_NOTHING: Mapping[str, Expression] = {}


class Step(NamedTuple):
    """An item of a draft and the values that it makes.

    ``recipes`` says by entry what the weights become where they change; of a block that is called, ``inner``
    says so inside, by its own entries, and ``recipes`` holds what the caller changes besides.
    """

    item: Item
    makes: tuple[int, ...]
    recipes: Mapping[str, Expression] = _NOTHING
    inner: Mapping[str, Expression] = _NOTHING

    @property
    def expression(self) -> Expression:
        """What a convolution or linear layer computes."""
        item = self.item
        return self.recipes.get(item.weights) or Layer(item.weights, item.attrs["bias"])

    def as_layer(self, makes: tuple[int, ...], expression: Expression, **attrs: object) -> Step:
        """The layer in another place, with another expression and with attributes changed."""
        item = self.item._replace(attrs={**self.item.attrs, **attrs})
        return Step(item, makes, {item.weights: expression})


class Draft(NamedTuple):
    """``shapes`` of all values by id, the steps in order of execution, and the values that are the outputs.

    Values keep their ids while steps disappear. Of two steps that make one value the later counts.
    """

    shapes: tuple[Shape, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]


class Sight:
    """What a rule sees: the steps before its own, as rewritten."""

    def __init__(self, draft: Draft) -> None:
        self.shapes = draft.shapes
        self.steps: list[Step] = []
        self._made: dict[int, Step] = {}
        # as before the rewriting: rules only ever take readers away
        self._reads = Counter(draft.outputs)
        self._entries: Counter[str] = Counter()
        for step in draft.steps:
            self._reads.update(step.item.inputs)
            self._entries[step.item.weights] += 1

    def add(self, step: Step) -> None:
        self.steps.append(step)
        for value in step.makes:
            self._made[value] = step

    def owns(self, item: Item) -> bool:
        """Whether the weights of the item are its own: an entry that others share keeps its tensors."""
        return self._entries[item.weights] == 1

    def private(self, value: int, *ops: str) -> Step | None:
        """The step behind a value if it is one of ``ops``, with weights of its own, and one step alone reads it."""
        step = self._made.get(value)
        if step is None or step.item.op not in ops or self._reads[value] != 1 or not self.owns(step.item):
            return None
        return step

    def private_call(self, value: int) -> Step | None:
        """The block call behind a value, under the same conditions."""
        step = self._made.get(value)
        if step is None or not isinstance(step.item.op, Graph) or self._reads[value] != 1 or not self.owns(step.item):
            return None
        return step


Rule = Callable[[Step, Sight], tuple[Step, ...] | None]
"""What a step is rewritten to, or None. Steps whose values nothing reads any more are dropped afterwards."""
