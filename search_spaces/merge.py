"""Rule of ``deploy``: parallel layers become one (Ding et al. 2021, RepVGG, arXiv:2101.03697, section 3.3)."""

from __future__ import annotations

from math import prod

from search_spaces.affine import Expression, Identity, Normed, Sum, Term
from search_spaces.draft import Sight, Step
from search_spaces.graph import Attrs


def merge_branches(step: Step, sight: Sight) -> tuple[Step, ...] | None:
    """A sum or difference of layers on one input, of norms of that input and of the input becomes one layer.

    That is the largest of the layers (the host), and no larger than before; the others must fit into it. Dilated
    kernels: Ding et al. 2024, UniRepLKNet, arXiv:2311.15599, section 3.1.
    """
    inputs = step.item.inputs
    layers = [sight.private(v, "conv", "linear") for v in inputs]
    host = max((layer for layer in layers if layer), key=_taps, default=None)
    if host is None or len(inputs) < 2 or not _centred(host.item.attrs):
        return None
    signs = (1, -1) if step.item.op == "sub" else (1,) * len(inputs)
    terms = []
    for sign, value, layer in zip(signs, inputs, layers, strict=True):
        term = _layer_term(sign, layer, host) if layer else _input_term(sign, value, host, sight)
        if term is None:
            return None
        terms.append(term)
    window: tuple[int, ...] = host.item.attrs.get("kernel", ())
    return (host.as_layer(step.makes, Sum(tuple(terms), window), bias=True),)


def _taps(step: Step) -> int:
    return prod(step.item.attrs.get("kernel", ()))


def _layer_term(sign: int, layer: Step, host: Step) -> Term | None:
    """A layer as part of the host, if both read one value and its kernel fits into the host's."""
    (op, read, attrs), (host_op, host_read, to) = [(s.item.op, s.item.inputs, s.item.attrs) for s in (layer, host)]
    if op != host_op or read != host_read:
        return None
    if op == "linear":
        return Term(sign, layer.expression, ())
    if any(attrs[name] != to[name] for name in ("stride", "groups")) or not _centred(attrs):
        return None
    spread = []
    for taps, step, size, unit in zip(attrs["kernel"], attrs["dilation"], to["kernel"], to["dilation"], strict=True):
        if taps > 1 and (step % unit or step // unit * (taps - 1) + 1 > size):
            return None
        spread.append(step // unit if taps > 1 else 1)
    return Term(sign, layer.expression, tuple(spread))


def _input_term(sign: int, value: int, host: Step, sight: Sight) -> Term | None:
    """The host's input, or a norm of it, as part of the host."""
    (source,), attrs = host.item.inputs, host.item.attrs
    if any(stride != 1 for stride in attrs.get("stride", ())):
        return None
    shape, axes = sight.shapes[source], len(attrs.get("kernel", ()))
    identity = Identity(shape[0 if axes else -1], attrs.get("groups", 1), axes)
    expression: Expression = identity
    if value != source:
        branch = sight.private(value, "batch_norm")
        if branch is None or branch.item.inputs[0] != source or (not axes and len(shape) > 1):
            return None
        expression = Normed(identity, branch.item.weights, branch.item.attrs["eps"])
    return Term(sign, expression, (1,) * axes)


def _centred(attrs: Attrs) -> bool:
    """Whether every output position lies in the middle of its window; a linear layer has none."""
    if "kernel" not in attrs:
        return True
    return all(
        2 * padding == dilation * (taps - 1) and taps % 2
        for taps, padding, dilation in zip(attrs["kernel"], attrs["padding"], attrs["dilation"], strict=True)
    )
