"""The builder: blocks are functions on it, a block call is the only nesting and the only memo point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from search_spaces.errors import InvalidGraph
from search_spaces.graph import Attrs, Graph, Item, Shape
from search_spaces.ops import OPS, Weight

# What torch.nn.Module uses itself, so no child module may be called so (a test compares the list).
_TORCH_NAMES = (
    "T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double dump_patches "
    "eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict "
    "modules mtia named_buffers named_children named_modules named_parameters parameters register_backward_hook "
    "register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook "
    "register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook "
    "register_module register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ "
    "set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu zero_grad "
    "input weight bias running_mean running_var num_batches_tracked"
)
RESERVED = frozenset(_TORCH_NAMES.split())


Signature = tuple[Callable[..., Any], tuple[type, ...]]
"""A block's function and the types of its arguments, so that ``True`` is not ``1``."""

_MADE = (0,)  # a block returns its one output
_NO_ATTRS: dict[str, Any] = {}
_new = tuple.__new__  # makes a named tuple at half the cost of calling its class


class Value(NamedTuple):
    """A tensor while a graph is being built: its id in the graph, and its shape without the batch."""

    id: int
    shape: Shape


class Memo:
    """A bounded store of block graphs, owned by a search space; the oldest entry leaves first."""

    __slots__ = ("entries", "limit")

    def __init__(self, limit: int = 20_000) -> None:
        self.limit = limit
        self.entries: dict[Any, tuple[Graph, tuple[int, ...], bool]] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def put(self, key: Any, entry: tuple[Graph, tuple[int, ...], bool]) -> None:
        if len(self.entries) >= self.limit:
            del self.entries[next(iter(self.entries))]
        self.entries[key] = entry


class Builder:
    """Builds one graph. ``inputs`` are its input values.

    Example: ``b = Builder([(3, 32, 32)]); x = b.conv("stem.conv", b.inputs[0], 16, 3); g = b.build(x)``
    """

    __slots__ = ("_entries", "_items", "_macs", "_matmul_macs", "_memo", "_next", "_params", "_taken", "inputs")

    def __init__(self, input_shapes: Sequence[Shape], memo: Memo | None = None) -> None:
        self.inputs = tuple([_new(Value, pair) for pair in enumerate(input_shapes)])
        self._memo = Memo() if memo is None else memo
        self._items: list[Item] = []
        self._next = len(self.inputs)
        self._entries: dict[str, Mapping[str, Weight] | Graph] = {}
        # every name (True) and every prefix of a name (False): a name is a leaf or a prefix, never both
        self._taken: dict[str, bool] = {}
        self._params = 0
        self._macs = 0
        self._matmul_macs = 0

    def op(self, name: str, op: str, *inputs: Value, weights: str | None = None, **attrs: Any) -> Value:
        """Appends a primitive op.

        ``weights`` names the weight entry (default: the op's own name); an entry named twice is shared
        and counted once. Raises: InvalidGraph if the name is taken or reserved, or shapes do not fit.
        """
        if len(inputs) == 1:
            ((source, shape),) = inputs
            ids: tuple[int, ...] = (source,)
            shapes: tuple[Shape, ...] = (shape,)
        else:
            ids = tuple([value[0] for value in inputs])
            shapes = tuple([value[1] for value in inputs])
        try:
            facts = _facts(op, attrs, shapes) if attrs else _plain_facts(op, shapes)
        except InvalidGraph as error:
            raise InvalidGraph(f"{name}: {error.message}", hint=error.hint) from None
        return self._add(name, op, ids, facts, weights)

    def _add(self, name: str, op: str, ids: tuple[int, ...], facts: _Facts, weights: str | None) -> Value:
        """Appends a primitive op whose facts are known."""
        attrs, shapes, tensors, params, macs, matmul_macs = facts
        self._take(name)
        if tensors is not None:
            if weights is None:  # its own entry, which cannot be there yet
                self._entries[name] = tensors
                self._params += params
            else:
                self._own(name, weights, tensors, params)
        self._macs += macs
        self._matmul_macs += matmul_macs
        self._items.append(_new(Item, (name, op, ids, attrs, shapes, weights or name)))
        made = self._next
        self._next = made + 1
        return _new(Value, (made, shapes[0]))

    def block(
        self,
        name: str,
        fn: Callable[..., Any],
        inputs: Value | tuple[Value, ...],
        *args: Any,
        weights: str | None = None,
    ) -> Any:
        """Calls a block, ``fn(builder, *inputs, *args)``, as one item; returns what ``fn`` returns.

        The block's graph is taken from the memo when the function, the input shapes, which inputs are
        the same, and the arguments (with their types: ``True`` is not ``1``) were seen before, so
        ``fn`` must be a module-level function of nothing else.
        """
        order: tuple[int, ...] | None = None
        if isinstance(inputs, Value):
            distinct: tuple[Value, ...] = (inputs,)
            key: Any = ((fn, tuple(map(type, args))), inputs[1], args)
        else:
            distinct = inputs
            if len({v[0] for v in inputs}) < len(inputs):
                distinct = tuple(dict.fromkeys(inputs))
                order = tuple([distinct.index(v) for v in inputs])
            key = ((fn, tuple(map(type, args))), tuple([v[1] for v in distinct]), args, order)
        try:
            entry = self._memo.entries.get(key)
        except TypeError:
            raise InvalidGraph(
                f"{name}: arguments {args} cannot be hashed", hint="pass numbers, names, tuples"
            ) from None
        if entry is None:
            entry = self._call(name, fn, distinct, order, args)
            self._memo.put(key, entry)
        return self._append(name, entry, distinct, weights)

    def chain(self, x: Value, calls: Iterable[tuple[str, Signature, tuple[Any, ...]]]) -> Value:
        """``block`` for one (name, signature, arguments) after the other, each on what the one before returned.

        Each block takes one value and returns one. Half the cost of as many calls of ``block``: what most
        networks are at the top, and what a search builds thousands of times a second.
        """
        entries = self._memo.entries
        items, owned, take = self._items, self._entries, self._take
        source, shape = x
        made = self._next
        params = macs = matmul_macs = 0
        for name, signature, args in calls:
            key = (signature, shape, args)
            entry = entries.get(key)
            if entry is None:
                entry = self._call(name, signature[0], (Value(source, shape),), None, args)
                self._memo.put(key, entry)
            graph, returned, _ = entry
            if returned != _MADE:  # it hands its input through
                self._next = made
                source, shape = self._append(name, entry, (Value(source, shape),), None)
                made = self._next
                continue
            take(name)
            if graph.params:
                owned[name] = graph
                params += graph.params
            macs += graph.macs
            matmul_macs += graph.matmul_macs
            shapes = graph.output_shapes
            items.append(_new(Item, (name, graph, (source,), _NO_ATTRS, shapes, name)))
            shape = shapes[0]
            source = made
            made += 1
        self._next = made
        self._params += params
        self._macs += macs
        self._matmul_macs += matmul_macs
        return Value(source, shape)

    def call(self, name: str, graph: Graph, inputs: tuple[Value, ...], weights: str | None = None) -> tuple[Value, ...]:
        """Appends a finished graph as one item and returns its outputs; ``inputs`` are distinct values."""
        entry = (graph, tuple(range(len(graph.outputs))), False)
        values: tuple[Value, ...] = self._append(name, entry, inputs, weights)
        return values

    def close(self, result: Value | Sequence[Value]) -> tuple[Graph, tuple[int, ...], bool]:
        """The graph as a block, what it returns, and whether that is one value.

        The outputs of a block are distinct and made by it; what it returns is given by an index into
        them, or by ``~i`` for input ``i`` handed through.
        """
        if isinstance(result, Value) and result[0] >= len(self.inputs):
            return self.build(result), _MADE, True
        single = isinstance(result, Value)
        values: tuple[Value, ...] = (result,) if isinstance(result, Value) else tuple(result)
        made = tuple(dict.fromkeys(v for v in values if v.id >= len(self.inputs)))
        returned = tuple([~v.id if v.id < len(self.inputs) else made.index(v) for v in values])
        return self.build(made), returned, single

    def _append(
        self, name: str, entry: tuple[Graph, tuple[int, ...], bool], inputs: tuple[Value, ...], weights: str | None
    ) -> Any:
        graph, returned, single = entry
        first_output = self._next
        shapes = graph.output_shapes
        if graph.items:
            self._take(name)
            if weights is not None:
                self._own(name, weights, graph, graph.params)
            elif graph.params:  # its own entry, which cannot be there yet
                self._entries[name] = graph
                self._params += graph.params
            self._macs += graph.macs
            self._matmul_macs += graph.matmul_macs
            ids = (inputs[0][0],) if len(inputs) == 1 else tuple([v[0] for v in inputs])
            self._items.append(_new(Item, (name, graph, ids, _NO_ATTRS, shapes, weights or name)))
            self._next = first_output + len(shapes)
        if single:
            (i,) = returned
            return inputs[~i] if i < 0 else _new(Value, (first_output + i, shapes[i]))
        return tuple([inputs[~i] if i < 0 else _new(Value, (first_output + i, shapes[i])) for i in returned])

    def build(self, outputs: Value | Sequence[Value]) -> Graph:
        """The finished graph."""
        values = (outputs,) if isinstance(outputs, Value) else tuple(outputs)
        return Graph(
            tuple([v[1] for v in self.inputs]),
            tuple(self._items),
            tuple([v[0] for v in values]),
            tuple([v[1] for v in values]),
            self._params,
            self._macs,
            self._matmul_macs,
        )

    def conv(
        self,
        name: str,
        x: Value,
        out_channels: int,
        kernel: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        groups: int = 1,
        dilation: int | tuple[int, ...] = 1,
        bias: bool = False,
        padding: tuple[int, ...] | None = None,
        weights: str | None = None,
    ) -> Value:
        """A convolution over every spatial axis of ``x``; the default padding keeps the size at stride 1."""
        try:
            facts = _conv_facts(x[1], out_channels, kernel, stride, groups, dilation, bias, padding)
        except InvalidGraph as error:
            raise InvalidGraph(f"{name}: {error.message}", hint=error.hint) from None
        return self._add(name, "conv", (x[0],), facts, weights)

    def batch_norm(self, name: str, x: Value, eps: float = 1e-5, momentum: float = 0.1) -> Value:
        return self._add(name, "batch_norm", (x[0],), _batch_norm_facts(x[1], eps, momentum), None)

    def linear(self, name: str, x: Value, out_features: int, bias: bool = True) -> Value:
        return self.op(name, "linear", x, out_features=out_features, bias=bias)

    def layer_norm(self, name: str, x: Value, axis: int = 0, eps: float = 1e-6, bias: bool = True) -> Value:
        """Over the channels of each position; ``axis`` is -1 where the channels come last."""
        return self.op(name, "layer_norm", x, axis=axis, eps=eps, bias=bias)

    def pool(
        self, name: str, kind: str, x: Value, kernel: int, stride: int, padding: int = 0, ceil_mode: bool = False
    ) -> Value:
        """``max_pool`` or ``avg_pool`` (which does not count padding)."""
        axes = len(x.shape) - 1
        attrs: dict[str, Any] = {"kernel": (kernel,) * axes, "stride": (stride,) * axes, "padding": (padding,) * axes}
        if ceil_mode:
            attrs["ceil_mode"] = True
        return self.op(name, kind, x, **attrs)

    def slice(self, name: str, x: Value, start: int, stop: int, axis: int = 0) -> Value:
        """Indices ``start`` to ``stop`` (not included) of an axis."""
        return self.op(name, "slice", x, axis=axis, start=start, stop=stop)

    def matmul(self, name: str, a: Value, b: Value, transpose_b: bool = False) -> Value:
        """The product over the last two axes, of ``a`` and the transpose of ``b`` if ``transpose_b``."""
        return self.op(name, "matmul", a, b, transpose_b=transpose_b)

    def _call(
        self, name: str, fn: Callable[..., Any], inputs: tuple[Value, ...], order: tuple[int, ...] | None, args: Any
    ) -> tuple[Graph, tuple[int, ...], bool]:
        if "<" in fn.__qualname__:
            raise InvalidGraph(f"{name}: block {fn.__qualname__} is not a module-level function", hint="move it out")
        sub = Builder([v[1] for v in inputs], self._memo)
        try:
            result = fn(sub, *(sub.inputs if order is None else [sub.inputs[i] for i in order]), *args)
        except InvalidGraph as error:
            raise InvalidGraph(f"{name}.{error.message}", hint=error.hint) from None
        return sub.close(result)

    def _take(self, name: str) -> None:
        taken = self._taken
        if name in taken:
            raise InvalidGraph(
                f"the name {name!r} is used twice" if taken[name] else f"{name!r} is already the prefix of a name",
                hint="a name is a leaf or a prefix, never both",
            )
        for prefix in _prefixes(name):
            if taken.setdefault(prefix, False):
                raise InvalidGraph(f"{name!r} lies below {prefix!r}, which is a leaf", hint="rename one of them")
        taken[name] = True

    def _own(self, name: str, entry: str, needs: Mapping[str, Weight] | Graph, params: int) -> None:
        """Enters a weight entry and counts its parameters, unless it is there already."""
        known = self._entries.get(entry)
        if known is None:
            if entry != name and not self._taken.get(entry):
                self._take(entry)
            self._entries[entry] = needs
            self._params += params
        elif _tensors(known) != _tensors(needs):
            raise InvalidGraph(f"{name}: shares {entry!r}, whose tensors have other shapes", hint="share equal shapes")


class _Facts(NamedTuple):
    """What the table of ops says of one op at given input shapes."""

    attrs: Attrs
    shapes: tuple[Shape]
    tensors: Mapping[str, Weight] | None
    params: int
    macs: int
    matmul_macs: int


def _facts(op: str, attrs: Attrs, in_shapes: tuple[Shape, ...]) -> _Facts:
    try:
        shape_of, weights_of, macs_of, matmul_macs_of, _, _, _ = OPS[op]
        shape = shape_of(attrs, in_shapes)
    except KeyError as missing:
        raise InvalidGraph(f"op {op!r} does not exist or lacks {missing}", hint="see OPS") from None
    tensors = None
    params = 0
    if weights_of is not None:
        tensors = weights_of(attrs, in_shapes)
        for size, trainable in tensors.values():
            if trainable:
                params += prod(size)
    macs = 0 if macs_of is None else macs_of(attrs, in_shapes, shape)
    matmul_macs = 0 if matmul_macs_of is None else matmul_macs_of(attrs, in_shapes, shape)
    return _new(_Facts, (attrs, (shape,), tensors, params, macs, matmul_macs))


# most layers of a network occur in it several times
@lru_cache(maxsize=4096, typed=True)
def _conv_facts(
    in_shape: Shape,
    out_channels: int,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...],
    groups: int,
    dilation: int | tuple[int, ...],
    bias: bool,
    padding: tuple[int, ...] | None,
) -> _Facts:
    axes = len(in_shape) - 1
    kernels, dilations = per_axis(kernel, axes), per_axis(dilation, axes)
    if padding is None:
        padding = tuple([d * (k - 1) // 2 for k, d in zip(kernels, dilations, strict=True)])
    attrs = {
        "out_channels": out_channels,
        "kernel": kernels,
        "stride": per_axis(stride, axes),
        "padding": padding,
        "dilation": dilations,
        "groups": groups,
        "bias": bias,
    }
    return _facts("conv", attrs, (in_shape,))


@lru_cache(maxsize=4096)
def _plain_facts(op: str, in_shapes: tuple[Shape, ...]) -> _Facts:
    """Of an op without attributes."""
    return _facts(op, _NO_ATTRS, in_shapes)


@lru_cache(maxsize=4096, typed=True)
def _batch_norm_facts(in_shape: Shape, eps: float, momentum: float) -> _Facts:
    return _facts("batch_norm", {"eps": eps, "momentum": momentum}, (in_shape,))


def forget_layers() -> None:
    """Empties the caches of layers, which all builders of a process share."""
    _conv_facts.cache_clear()
    _batch_norm_facts.cache_clear()
    _plain_facts.cache_clear()


def per_axis(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    """One entry a spatial axis."""
    return (value,) * axes if isinstance(value, int) else value


def _tensors(needs: Mapping[str, Weight] | Graph) -> Any:
    return needs.entries() if isinstance(needs, Graph) else needs


@lru_cache(maxsize=8192)
def _prefixes(name: str) -> tuple[str, ...]:
    """Checks a dotted name and returns its proper prefixes."""
    parts = name.split(".")
    for part in parts:
        if part in RESERVED or not (part.isidentifier() or part.isdigit()) or part.startswith("_"):
            raise InvalidGraph(
                f"{part!r} in {name!r} cannot name a part of a network",
                hint="torch modules use it, or it is no identifier",
            )
    return tuple([".".join(parts[:i]) for i in range(1, len(parts))])
