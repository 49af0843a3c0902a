"""How two cells become a network: the cell as a block, and the stack of cells between stem and classifier."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from search_spaces.blocks.cell_ops import CELL_OPERATIONS, factorized_reduction, relu_conv_bn
from search_spaces.blocks.conv import conv_bn_act, dropped
from search_spaces.builder import Builder, Memo, Value
from search_spaces.errors import InvalidSpec
from search_spaces.graph import Graph, Shape
from search_spaces.task import Classification, classifier

Nodes = tuple[Any, ...]
"""A cell, flat: for each node (input, operation, input, operation), inputs being states by number."""

STEMS = ("small", "imagenet")
MOST_REPEATS = 64


@dataclass(frozen=True)
class Stacking:
    """Everything of a network but its two cells (Zoph et al. 2018, NASNet, figure 2 and appendix A.4).

    ``repeats`` normal cells stand in each of three stages, with a reduction cell between the stages; ``filters`` is
    the width of the first stage and doubles at each reduction. ``stem``: "small" is a 3 x 3 convolution that keeps the
    size, for inputs of 32 pixels; "imagenet" one of stride 2 and then two reduction cells of a quarter and half the
    filters. ``stem_filters`` is the width of that convolution, 0 being three times the filters.

    What published networks differ in: ``kept``, the states of the normal and of the reduction cell that are part
    of the output although a node reads them; ``first_reduces``, whether a reduction cell takes the place of the first
    normal cell of its stage; ``skip_reduction``, whether the cell after a reduction reads, as its earlier input, what
    came before the reduction's own input. ``padding`` is "symmetric" or "same" (see ``PADDINGS``).

    ``drop_path`` is the share of samples for which an operation of the last cell is dropped in training; it grows
    linearly from cell to cell (ScheduledDropPath, appendix A.7; the schedule over the steps is the trainer's).
    """

    repeats: tuple[int, ...] = (2,)
    filters: tuple[int, ...] = (16,)
    stem: str = "small"
    stem_filters: int = 0
    kept: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    first_reduces: bool = False
    skip_reduction: bool = False
    padding: str = "symmetric"
    eps: float = 1e-3
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if self.stem not in STEMS:
            raise InvalidSpec(f"stem {self.stem!r}", hint=f"one of {', '.join(STEMS)}", field="stem")
        if self.padding not in ("symmetric", "same"):
            raise InvalidSpec(f"padding {self.padding!r}", hint="symmetric or same", field="padding")
        if not 0 <= self.drop_path < 1:
            raise InvalidSpec(f"drop_path {self.drop_path}", hint="a rate from 0 to below 1", field="drop_path")
        for field in ("repeats", "filters"):
            options = getattr(self, field)
            if list(options) != sorted(set(options)):
                raise InvalidSpec(f"{field} {options}", hint="distinct options that rise", field=field)
        least = 2 if self.stem == "small" else 8
        if not self.repeats or not all(1 <= n <= MOST_REPEATS for n in self.repeats):
            raise InvalidSpec(f"repeats {self.repeats}", hint=f"1 to {MOST_REPEATS} cells a stage", field="repeats")
        if not self.filters or min(self.filters) < least:
            raise InvalidSpec(f"filters {self.filters}", hint=f"at least {least}", field="filters")

    def network(
        self,
        cells: tuple[Nodes, Nodes],
        repeats: int,
        filters: int,
        input_shape: Shape,
        head: Classification,
        memo: Memo,
    ) -> Graph:
        """The training graph of a normal and a reduction cell."""
        plan = self.plan(repeats, filters)
        padding, eps = self.padding, self.eps
        stride, stem_padding = (1, padding) if self.stem == "small" else (2, "valid")
        stem_filters = self.stem_filters or 3 * filters
        b = Builder((input_shape,), memo)
        x: Value = b.block("stem", conv_bn_act, b.inputs[0], stem_filters, 3, stride, "none", 1, 1, eps, stem_padding)
        earlier = x
        for number, (name, kind, width, skips) in enumerate(plan, 1):
            p = self.drop_path * number / len(plan)
            y = b.block(
                name, cell, (x, earlier), cells[kind], self.kept[kind], width, 2 if kind else 1, padding, eps, p
            )
            if not skips:
                earlier = x
            x = y
        return b.build(head.attach(b, b.op("last.relu", "relu", x), classifier))

    def plan(self, repeats: int, filters: int) -> tuple[tuple[str, int, int, bool], ...]:
        """(name, 1 for a reduction cell, filters, whether the next cell skips it) of every cell in order."""
        return _plan(self.stem == "imagenet", self.first_reduces, self.skip_reduction, repeats, filters)


@lru_cache(maxsize=256)
def _plan(
    strided: bool, first_reduces: bool, skip_reduction: bool, repeats: int, filters: int
) -> tuple[tuple[str, int, int, bool], ...]:
    cells = [("stem1", 1, filters // 4, False), ("stem2", 1, filters // 2, False)] if strided else []
    for stage in (1, 2, 3):
        width = filters * 2 ** (stage - 1)
        if stage > 1:
            cells.append((f"reduction{stage - 1}", 1, width, skip_reduction))
        ones = repeats - (stage > 1 and first_reduces)
        cells += [(f"stage{stage}.cell{n}", 0, width, False) for n in range(1, ones + 1)]
    return tuple(cells)


def cell(
    b: Builder,
    x: Value,
    earlier: Value,
    nodes: Nodes,
    kept: tuple[int, ...],
    out_channels: int,
    stride: int = 1,
    padding: str = "symmetric",
    eps: float = 1e-3,
    drop_path: float = 0.0,
) -> Value:
    """A cell on the output of the last cell (state 0) and of the one before it (state 1).

    Both are brought to ``out_channels`` first, but ``earlier`` where it is ``x``: the first cell of a network has it
    as it is. A node (states 2 and up) is the sum of two operations on earlier states; those on the inputs have the
    stride. States that no node reads, and those ``kept``, are concatenated.
    Source: Zoph et al. 2018, section 3.2 and appendix A.4.
    """
    states = [b.block("current", relu_conv_bn, x, out_channels, 1, 1, "symmetric", eps)]
    states.append(earlier if earlier == x else _fitted(b, "earlier", earlier, x, out_channels, eps, "relu"))
    unread = set(range(2 + len(nodes) // 4))
    for place in range(0, len(nodes), 4):
        number = len(states)
        first, one, second, other = nodes[place : place + 4]
        unread -= {first, second}
        twin = "_twin" if (first, one) == (second, other) else ""
        terms = []
        for state, operation, name in ((first, one, ""), (second, other, twin)):
            function, kernel, rest = CELL_OPERATIONS[operation]
            name = f"node{number}.state{state}{name}.{operation}"
            step = stride if state < 2 else 1
            term = b.block(name, function, states[state], out_channels, kernel, step, padding, eps, *rest)
            terms.append(term if operation == "identity" else dropped(b, term, drop_path, f"{name}_drop"))
        states.append(b.op(f"node{number}.add", "add", *terms))
    last = states[-1]
    made = [
        _fitted(b, f"output.state{i}", states[i], last, out_channels, eps, "none") if i < 2 else states[i]
        for i in sorted(unread.union(kept))
    ]
    return b.op("output.concat", "concat", *made) if len(made) > 1 else made[0]


def _fitted(b: Builder, name: str, x: Value, like: Value, out_channels: int, eps: float, activation: str) -> Value:
    """``x`` at the size of ``like`` and ``out_channels``; as it is where it has both."""
    fitted = x
    if x.shape[1:] != like.shape[1:]:
        fitted = b.block(name, factorized_reduction, x, out_channels, eps, activation)
    elif x.shape[0] != out_channels and activation == "none":
        fitted = b.block(name, conv_bn_act, x, out_channels, 1, 1, "none", 1, 1, eps)
    elif x.shape[0] != out_channels:
        fitted = b.block(name, relu_conv_bn, x, out_channels, 1, 1, "symmetric", eps)
    return fitted
