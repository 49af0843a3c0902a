"""Memory of a schedule: which tensors are alive at each step, and where they are placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

ALIGNMENT = 16
_MOVES = 20  # of a plan that is not the best yet: the last improvements come within about as many


class Buffer(NamedTuple):
    """A tensor in memory, from the step that makes it to the last that reads it; a graph's input from step 0.

    ``scratch``: a kernel's own, which the runtime places after all others.
    """

    name: str
    bytes: int
    first: int
    last: int
    scratch: bool = False


class Step(NamedTuple):
    """A kernel: the nodes that run as one, the tensors that are alive while it runs, and their bytes."""

    nodes: tuple[str, ...]
    live: tuple[str, ...]
    bytes: int


class MemorySchedule(NamedTuple):
    """``steps`` in order of execution, and the buffers that they use."""

    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]

    @property
    def peak_bytes(self) -> int:
        """The most that is alive in one step: no placement needs less."""
        return max([step.bytes for step in self.steps], default=sum([buffer.bytes for buffer in self.buffers]))


def scheduled(kernels: Sequence[Sequence[str]], buffers: Sequence[Buffer]) -> MemorySchedule:
    """The schedule of kernels, each given by its nodes, and of buffers whose first and last steps are known."""
    live: list[list[Buffer]] = [[] for _ in kernels]
    for buffer in buffers:
        for step in range(buffer.first, min(buffer.last + 1, len(kernels))):
            live[step].append(buffer)
    steps = [
        Step(tuple(nodes), tuple([b.name for b in alive]), sum([b.bytes for b in alive]))
        for nodes, alive in zip(kernels, live, strict=True)
    ]
    return MemorySchedule(tuple(steps), tuple(buffers))


def greedy(buffers: Sequence[Buffer]) -> list[int]:
    """An offset for each buffer, the largest first, each in the first gap among those alive at the same time.

    Greedy by size (Pisarchyk and Lee 2020, arXiv:2001.03288, section 5.2) as TFLite Micro's planner does it: sizes
    in whole 16 bytes, and of buffers of one size the later first.
    """
    return _first_fit(buffers, sorted(range(len(buffers)), key=lambda i: (_aligned(buffers[i]), i), reverse=True))


def plan(buffers: Sequence[Buffer]) -> list[int]:
    """An offset for each buffer, no higher altogether than that of ``greedy``, and mostly as low as can be.

    Largest first, then by size times lifetime; a buffer that sticks out moves to the front, a bounded number of
    times. Stops where the peak of what is alive is reached.
    """
    lowest = _peak(buffers)
    best = greedy(buffers)
    tensors = [i for i, buffer in enumerate(buffers) if not buffer.scratch]
    scratch = [i for i, buffer in enumerate(buffers) if buffer.scratch]
    for by_lifetime in (False, True):
        order = sorted(tensors, key=lambda i: (_weight(buffers[i], by_lifetime), i), reverse=True)
        for _ in range(_MOVES):
            if height(buffers, best) == lowest:
                return best
            offsets = _first_fit(buffers, [*order, *scratch])
            if height(buffers, offsets) < height(buffers, best):
                best = offsets
            highest = max(order, key=lambda i: offsets[i] + _aligned(buffers[i]))
            order.remove(highest)
            order.insert(0, highest)
    return best


def height(buffers: Sequence[Buffer], offsets: Sequence[int]) -> int:
    """The bytes that placed buffers take altogether."""
    return max([offset + _aligned(b) for offset, b in zip(offsets, buffers, strict=True)], default=0)


def _first_fit(buffers: Sequence[Buffer], order: Sequence[int]) -> list[int]:
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for index in order:
        wanted, size, offset = buffers[index], _aligned(buffers[index]), 0
        for other in sorted(placed, key=offsets.__getitem__):
            if buffers[other].first > wanted.last or wanted.first > buffers[other].last:
                continue
            if offsets[other] - offset >= size:
                break
            offset = max(offset, offsets[other] + _aligned(buffers[other]))
        offsets[index] = offset
        placed.append(index)
    return offsets


def _peak(buffers: Sequence[Buffer]) -> int:
    return max([sum([_aligned(b) for b in buffers if b.first <= a.first <= b.last]) for a in buffers], default=0)


def _weight(buffer: Buffer, by_lifetime: bool) -> int:
    return _aligned(buffer) * (buffer.last - buffer.first + 1 if by_lifetime else 1)


def _aligned(buffer: Buffer) -> int:
    return -(-buffer.bytes // ALIGNMENT) * ALIGNMENT
