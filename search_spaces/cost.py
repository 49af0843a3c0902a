"""What a graph costs: peak activation memory by liveness, and weight bytes. Parameters and MACs are on the graph."""

from math import prod
from typing import NamedTuple

from search_spaces.graph import Graph
from search_spaces.ops import OPS

# What the caller of a graph does with an input value, or with an output of the graph.
_GONE = 0  # already dead and not read here
_OUTLIVES = 1  # read again after the call
_DIES_SHARED = 2  # last read here, but others read it before
_DIES_SOLE = 3  # read only here, so an in-place op may overwrite it
_UNUSED, _USED = 0, 1

_IN_PLACE = frozenset(name for name, op in OPS.items() if op.in_place)


class _Liveness(NamedTuple):
    """Elements, number of reading primitive ops, and index of the last reading item, of every value."""

    sizes: tuple[int, ...]
    uses: tuple[int, ...]
    last: tuple[int, ...]
    line: bool
    """The graph is one primitive op after the other."""


def peak_memory_bytes(graph: Graph, bytes_per_element: int = 4) -> int:
    """The most activation memory alive at one step of the schedule, batch 1, weights apart.

    Items run in order; a value is freed after its last reader; an in-place op (batch norm, activation,
    flatten) that is the only reader of a value overwrites it. The graph's inputs belong to the caller
    and are never overwritten; they are freed after their last reader.

    A block's peak is cached per state of its inputs, so nesting changes the cost and not the result.
    """
    chain = _chain_peak(graph)
    if chain is not None:
        return chain * bytes_per_element
    uses = _liveness(graph).uses
    states = tuple([_DIES_SHARED if uses[i] else _OUTLIVES for i in range(len(graph.inputs))])
    return _peak(graph, states, (_USED,) * len(graph.outputs)) * bytes_per_element


def weight_bytes(graph: Graph, bytes_per_element: int = 4) -> int:
    """Bytes of every tensor that a file of this graph holds, running statistics included, each entry once."""
    elements: int = graph.memo("weight_elements", _weight_elements)
    return elements * bytes_per_element


def _weight_elements(graph: Graph) -> int:
    entries: dict[str, int] = {}
    shapes = graph.value_shapes
    for item in graph.items:
        if isinstance(item.op, Graph):
            entries[item.weights] = item.op.memo("weight_elements", _weight_elements)
        elif (rule := OPS[item.op].weights) is not None:
            tensors = rule(item.attrs, tuple([shapes[v] for v in item.inputs]))
            entries[item.weights] = sum([prod(weight.shape) for weight in tensors.values()])
    return sum(entries.values())


def _liveness(graph: Graph) -> _Liveness:
    found: _Liveness | None = graph._cache.get("liveness")
    if found is None:
        found = graph._cache["liveness"] = _analyse(graph)
    return found


def _analyse(graph: Graph) -> _Liveness:
    line = _analyse_line(graph)
    if line is not None:
        return line
    sizes = [prod(shape) for shape in graph.inputs]
    uses = [0] * len(sizes)
    last = [-1] * len(sizes)
    for index, (_, op, inputs, _, shapes, _) in enumerate(graph.items):
        if isinstance(op, str):
            for read in inputs:
                uses[read] += 1
                last[read] = index
            sizes.append(prod(shapes[0]))
            uses.append(0)
            last.append(-1)
        else:
            inner_sizes, inner_uses, _, _ = _liveness(op)
            for position, read in enumerate(inputs):
                if inner_uses[position]:
                    uses[read] += inner_uses[position]
                    last[read] = index
            for made in op.outputs:
                sizes.append(inner_sizes[made])
                # what a block reads of its own output is read by more than the caller
                uses.append(inner_uses[made])
                last.append(-1)
    return _Liveness(tuple(sizes), tuple(uses), tuple(last), False)


def _analyse_line(graph: Graph) -> _Liveness | None:
    """The liveness of one primitive op after the other, as most blocks are; None for any other graph."""
    end = len(graph.items)
    if graph.outputs != (end,) or len(graph.inputs) != 1:
        return None
    sizes = [prod(graph.inputs[0])]
    for index, (_, op, inputs, _, shapes, _) in enumerate(graph.items):
        if inputs != (index,) or not isinstance(op, str):
            return None
        sizes.append(prod(shapes[0]))
    return _Liveness(tuple(sizes), (*(1,) * end, 0), (*range(end), -1), True)


def _line_peak(graph: Graph, state: int) -> int:
    """Peak elements during a line of primitive ops whose output is read."""
    sizes = _liveness(graph).sizes
    held = sizes[0] if state == _OUTLIVES else 0
    peak = before = sizes[0]
    own = state == _DIES_SOLE
    for (_, op, _, _, _, _), size in zip(graph.items, sizes[1:], strict=True):
        during = before if own and op in _IN_PLACE else before + size
        if during > peak:
            peak = during
        before = size + held
        own = True
    return peak


def _single_peak(graph: Graph, state: int) -> int:
    """Peak elements during a block of one input, in that state, and one output that is read."""
    peak: int | None = graph._cache.get(state)
    if peak is None:
        line = _liveness(graph).line
        peak = _line_peak(graph, state) if line else _compute_peak(graph, (state,), (_USED,))
        graph._cache[state] = peak
    return peak


def _peak(graph: Graph, states: tuple[int, ...], used: tuple[int, ...]) -> int:
    """Peak elements during the graph, counting every value that is alive in it."""
    key = (states, used)
    peak: int | None = graph._cache.get(key)
    if peak is None:
        peak = graph._cache[key] = _compute_peak(graph, states, used)
    return peak


def _chain_peak(graph: Graph) -> int | None:
    """The peak of a chain of blocks, as most networks are at the top: the largest of its blocks' peaks.

    None for any other graph. Nothing else is alive while a block of a chain runs, so liveness, which costs
    more than building the graph, need not be worked out.
    """
    if len(graph.inputs) != 1 or graph.outputs != (len(graph.items),):
        return None
    peak, state = 0, _DIES_SHARED  # the graph's own input belongs to its caller
    for index, (_, op, inputs, _, shapes, _) in enumerate(graph.items):
        if isinstance(op, str) or inputs != (index,) or len(shapes) != 1:
            return None
        during: int | None = op._cache.get(state)
        if during is None:
            if not _liveness(op).uses[0]:
                return None  # a block that does not read its input does not keep it alive
            during = _single_peak(op, state)
        if during > peak:
            peak = during
        state = _DIES_SOLE
    return peak


def _compute_peak(graph: Graph, states: tuple[int, ...], used: tuple[int, ...]) -> int:
    sizes, uses, last_read, _ = _liveness(graph)
    end = len(graph.items)
    last = list(last_read)
    shared = [False] * len(sizes)  # also read by somebody outside of this graph
    live = 0
    for value, state in enumerate(states):
        if state != _GONE:
            live += sizes[value]
        if state == _OUTLIVES:
            last[value] = end
        shared[value] = state != _DIES_SOLE
    for value, kept in zip(graph.outputs, used, strict=True):
        if kept:
            last[value] = end
            shared[value] = True
    peak = live
    value = len(graph.inputs)
    for index, (_, op, inputs, _, shapes, _) in enumerate(graph.items):
        freed = 0
        for read in inputs if len(inputs) == 1 else set(inputs):  # a value read twice is freed once
            if last[read] == index:
                freed += sizes[read]
        if isinstance(op, str):
            made = sizes[value]
            during = live + made
            if op in _IN_PLACE and uses[inputs[0]] == 1 and not shared[inputs[0]]:
                during = live
            live += made - freed if last[value] >= 0 else -freed
            value += 1
        elif len(inputs) == 1 and len(shapes) == 1 and last[inputs[0]] >= index and last[value] >= 0:
            (read,) = inputs
            state = _OUTLIVES
            if last[read] == index:
                sole = uses[read] == op._cache["liveness"][1][0] and not shared[read]
                state = _DIES_SOLE if sole else _DIES_SHARED
            during = live - sizes[read] + _single_peak(op, state)
            live += sizes[value] - freed
            value += 1
        else:
            inner_uses = op._cache["liveness"][1]
            inner: list[int] = []
            alive = 0
            for position, read in enumerate(inputs):
                final = last[read]
                if final > index:
                    inner.append(_OUTLIVES)
                elif final < index:
                    inner.append(_GONE)
                    continue
                else:
                    inner.append(
                        _DIES_SOLE if uses[read] == inner_uses[position] and not shared[read] else _DIES_SHARED
                    )
                alive += sizes[read]
            wanted: list[int] = []
            made = 0
            for _ in shapes:
                if last[value] >= 0:
                    wanted.append(_USED)
                    made += sizes[value]
                else:
                    wanted.append(_UNUSED)
                value += 1
            during = live - alive + _peak(op, tuple(inner), tuple(wanted))
            live += made - freed
        if during > peak:
            peak = during
    return peak
