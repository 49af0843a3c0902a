"""The builder: blocks are functions on it, a block call is the only nesting and the only memo point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph, Item, Shape
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


_NO_ATTRS: dict[str, Any] = {}


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
        self.inputs = tuple([Value(i, shape) for i, shape in enumerate(input_shapes)])
        self._memo = Memo() if memo is None else memo
        self._items: list[Item] = []
        self._next = len(self.inputs)
        self._entries: dict[str, dict[str, Weight] | Graph] = {}
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
        self._take(name)
        try:
            row = OPS[op]
            in_shapes = tuple([value.shape for value in inputs])
            shape = row.shape(attrs, in_shapes)
        except KeyError as missing:
            raise InvalidGraph(f"{name}: op {op!r} does not exist or lacks {missing}", hint="see OPS") from None
        except InvalidGraph as error:
            raise InvalidGraph(f"{name}: {error.message}", hint=error.hint) from None
        if row.weights is not None:
            self._own(name, weights, row.weights(attrs, in_shapes))
        if row.macs is not None:
            self._macs += row.macs(attrs, in_shapes, shape)
        elif row.matmul_macs is not None:
            self._matmul_macs += row.matmul_macs(attrs, in_shapes, shape)
        self._items.append(Item(name, op, tuple([v.id for v in inputs]), attrs, (shape,), weights or name))
        self._next += 1
        return Value(self._next - 1, shape)

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
            key: Any = (fn, inputs[1], args, tuple(map(type, args)))
        else:
            distinct = tuple(dict.fromkeys(inputs))
            if len(distinct) < len(inputs):
                order = tuple([distinct.index(v) for v in inputs])
            key = (fn, tuple([v.shape for v in distinct]), order, args, tuple(map(type, args)))
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
            if graph.params or weights is not None:
                self._own(name, weights, graph)
            self._macs += graph.macs
            self._matmul_macs += graph.matmul_macs
            ids = (inputs[0][0],) if len(inputs) == 1 else tuple([v.id for v in inputs])
            self._items.append(Item(name, graph, ids, _NO_ATTRS, shapes, weights or name))
            self._next = first_output + len(shapes)
        if single:
            (i,) = returned
            return inputs[~i] if i < 0 else Value(first_output + i, shapes[i])
        return tuple([inputs[~i] if i < 0 else Value(first_output + i, shapes[i]) for i in returned])

    def build(self, outputs: Value | Sequence[Value]) -> Graph:
        """The finished graph."""
        values = (outputs,) if isinstance(outputs, Value) else tuple(outputs)
        return Graph(
            tuple([v.shape for v in self.inputs]),
            tuple(self._items),
            tuple([v.id for v in values]),
            tuple([v.shape for v in values]),
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
        axes = len(x.shape) - 1
        kernels, dilations = per_axis(kernel, axes), per_axis(dilation, axes)
        if padding is None:
            padding = tuple([d * (k - 1) // 2 for k, d in zip(kernels, dilations, strict=True)])
        return self.op(
            name,
            "conv",
            x,
            weights=weights,
            out_channels=out_channels,
            kernel=kernels,
            stride=per_axis(stride, axes),
            padding=padding,
            dilation=dilations,
            groups=groups,
            bias=bias,
        )

    def batch_norm(self, name: str, x: Value, eps: float = 1e-5, momentum: float = 0.1) -> Value:
        return self.op(name, "batch_norm", x, eps=eps, momentum=momentum)

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
        sub = Builder([v.shape for v in inputs], self._memo)
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

    def _own(self, name: str, weights: str | None, needs: dict[str, Weight] | Graph) -> None:
        """Enters a weight entry and counts its parameters, unless it is there already."""
        entry = name if weights is None else weights
        known = self._entries.get(entry)
        if known is None:
            if entry != name and not self._taken.get(entry):
                self._take(entry)
            self._entries[entry] = needs
            self._params += (
                needs.params
                if isinstance(needs, Graph)
                else sum([_size(w.shape) for w in needs.values() if w.trainable])
            )
        elif _tensors(known) != _tensors(needs):
            raise InvalidGraph(f"{name}: shares {entry!r}, whose tensors have other shapes", hint="share equal shapes")


def per_axis(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    """One entry a spatial axis."""
    return (value,) * axes if isinstance(value, int) else value


def _size(shape: Shape) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _tensors(needs: dict[str, Weight] | Graph) -> Any:
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
