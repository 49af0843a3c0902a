"""A graph as a ``torch.nn.Module``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search_spaces.errors import InvalidGraph
from search_spaces.graph import Attrs, Graph, Shape
from search_spaces.ops import OPS
from search_spaces.torch_learned import DynamicConv, Polyphase, SpacedConv, SparseShift
from search_spaces.torch_modules import (
    Add,
    BlurPool,
    Concat,
    DropPath,
    Gather,
    GlobalAvgPool,
    GlobalPool,
    GroupNorm,
    L2Norm,
    LayerNorm,
    MatMul,
    Mul,
    Multiply,
    Pad,
    ParameterTensor,
    Reduce,
    Reshape,
    Resize,
    ResponseNorm,
    Scale,
    Slice,
    SquaredReLU,
    StarReLU,
    Sub,
    Transpose,
    Zeros,
)

_Shapes = tuple[Shape, ...]


def _conv(attrs: Attrs, shapes: _Shapes) -> nn.Module:
    kind = _by_axes((nn.Conv1d, nn.Conv2d, nn.Conv3d), len(attrs["kernel"]))
    return kind(
        shapes[0][0],
        attrs["out_channels"],
        attrs["kernel"],
        attrs["stride"],
        attrs["padding"],
        attrs["dilation"],
        attrs["groups"],
        attrs["bias"],
    )


def _linear(attrs: Attrs, shapes: _Shapes) -> nn.Module:
    return nn.Linear(shapes[0][-1], attrs["out_features"], attrs["bias"])


def _batch_norm(attrs: Attrs, shapes: _Shapes) -> nn.Module:
    kind = _by_axes((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), max(1, len(shapes[0]) - 1))
    return kind(shapes[0][0], attrs["eps"], attrs["momentum"])


def _max_pool(attrs: Attrs, shapes: _Shapes) -> nn.Module:
    kind = _by_axes((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), len(attrs["kernel"]))
    return kind(attrs["kernel"], attrs["stride"], attrs["padding"], ceil_mode=attrs.get("ceil_mode", False))


def _avg_pool(attrs: Attrs, shapes: _Shapes) -> nn.Module:
    kind = _by_axes((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), len(attrs["kernel"]))
    ceil_mode = attrs.get("ceil_mode", False)
    return kind(attrs["kernel"], attrs["stride"], attrs["padding"], ceil_mode, count_include_pad=False)


def _dim(attrs: Attrs, shapes: _Shapes) -> int:
    """The axis of an op as PyTorch counts it, the batch being 0."""
    axis: int = attrs.get("axis", 0)
    return axis % len(shapes[0]) + 1


def _instance_norm(attrs: Attrs, shapes: _Shapes) -> nn.Module:
    kind = _by_axes((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), len(shapes[0]) - 1)
    return kind(shapes[0][0], attrs["eps"], affine=True)


def _by_axes(kinds: tuple[Callable[..., nn.Module], ...], axes: int) -> Callable[..., nn.Module]:
    return kinds[axes - 1]


TORCH: Mapping[str, Callable[[Attrs, _Shapes], nn.Module]] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": lambda attrs, shapes: LayerNorm(
        shapes[0][attrs["axis"]], _dim(attrs, shapes), attrs["eps"], attrs["bias"]
    ),
    "group_norm": lambda attrs, shapes: GroupNorm(attrs["groups"], shapes[0][0], attrs["eps"], attrs["bias"]),
    "instance_norm": _instance_norm,
    "response_norm": lambda attrs, shapes: ResponseNorm(shapes[0][attrs["axis"]], _dim(attrs, shapes), attrs["eps"]),
    "l2_norm": lambda attrs, shapes: L2Norm(_dim(attrs, shapes), attrs["eps"]),
    "relu": lambda attrs, shapes: nn.ReLU(),
    "relu6": lambda attrs, shapes: nn.ReLU6(),
    "hard_swish": lambda attrs, shapes: nn.Hardswish(),
    "hard_sigmoid": lambda attrs, shapes: nn.Hardsigmoid(),
    "sigmoid": lambda attrs, shapes: nn.Sigmoid(),
    "silu": lambda attrs, shapes: nn.SiLU(),
    "gelu": lambda attrs, shapes: nn.GELU(),
    "tanh": lambda attrs, shapes: nn.Tanh(),
    "squared_relu": lambda attrs, shapes: SquaredReLU(),
    "star_relu": lambda attrs, shapes: StarReLU(),
    "softmax": lambda attrs, shapes: nn.Softmax(_dim(attrs, shapes)),
    "scale": lambda attrs, shapes: Scale(shapes[0][attrs["axis"]], _dim(attrs, shapes), len(shapes[0]), attrs["init"]),
    "multiply": lambda attrs, shapes: Multiply(attrs["factor"]),
    "add": lambda attrs, shapes: Add(),
    "add_broadcast": lambda attrs, shapes: Add(),
    "sub": lambda attrs, shapes: Sub(),
    "mul": lambda attrs, shapes: Mul(),
    "mul_broadcast": lambda attrs, shapes: Mul(),
    "parameter": lambda attrs, shapes: ParameterTensor(attrs["shape"], attrs["init"], attrs["trainable"]),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "blur_pool": lambda attrs, shapes: BlurPool(shapes[0][0], attrs["kernel"], attrs["stride"], attrs["reflect"]),
    "polyphase": lambda attrs, shapes: Polyphase(),
    "global_avg_pool": lambda attrs, shapes: GlobalAvgPool(),
    "global_max_pool": lambda attrs, shapes: GlobalPool("max"),
    "global_std_pool": lambda attrs, shapes: GlobalPool("std"),
    "reduce_mean": lambda attrs, shapes: Reduce("mean", _dim(attrs, shapes)),
    "reduce_max": lambda attrs, shapes: Reduce("max", _dim(attrs, shapes)),
    "matmul": lambda attrs, shapes: MatMul(attrs["transpose_b"]),
    "spaced_conv": lambda attrs, shapes: SpacedConv(shapes[0][0], attrs),
    "sparse_shift": lambda attrs, shapes: SparseShift(shapes[0][0], attrs["reach"]),
    "dynamic_conv": lambda attrs, shapes: DynamicConv(attrs["kernel"]),
    "concat": lambda attrs, shapes: Concat(_dim(attrs, shapes)),
    "slice": lambda attrs, shapes: Slice(_dim(attrs, shapes), attrs["start"], attrs["stop"]),
    "gather": lambda attrs, shapes: Gather(_dim(attrs, shapes), attrs["indices"]),
    "reshape": lambda attrs, shapes: Reshape(attrs["shape"]),
    "transpose": lambda attrs, shapes: Transpose(attrs["axes"]),
    "flatten": lambda attrs, shapes: nn.Flatten(),
    "pad": lambda attrs, shapes: Pad(attrs["before"], attrs["after"]),
    "resize": lambda attrs, shapes: Resize(attrs["size"], attrs["mode"]),
    "dropout": lambda attrs, shapes: nn.Dropout(attrs["p"]),
    "drop_path": lambda attrs, shapes: DropPath(attrs["p"]),
    "zeros": lambda attrs, shapes: Zeros(attrs["shape"]),
}
"""How each op of ``OPS`` becomes a module, from its attributes and input shapes."""


class TorchNetwork(nn.Module):
    """The network of a graph, training or deployed.

    Inputs are (batch, \\*shape) tensors, one for each input of the graph; the result is a tensor, or a
    tuple where the graph has several outputs. State-dict keys are ``<entry>.<tensor>``; a module without
    weights stands under its node's name, so a forward hook finds every node. Initialised by PyTorch's
    defaults from its global generator.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        shapes = graph.shapes_by_name()
        made: dict[str, nn.Module] = {}
        slots = {name: i for i, name in enumerate(graph.input_names)}
        self._steps: list[tuple[nn.Module, tuple[int, ...], int]] = []
        for node in graph.nodes:
            path = node.weights if OPS[node.op].weights is not None else node.name
            if path not in made:
                made[path] = TORCH[node.op](node.attrs, tuple(shapes[name] for name in node.inputs))
                self._place(path, made[path])
            slots[node.name] = len(slots)
            self._steps.append((made[path], tuple(slots[name] for name in node.inputs), slots[node.name]))
        self._outputs = tuple(slots[name] for name in graph.output_names)
        # values that no later step reads, so that eval mode holds no more than the peak
        last = {slot: i for i, (_, inputs, out) in enumerate(self._steps) for slot in (*inputs, out)}
        self._frees = [
            tuple(slot for slot in {*inputs, out} if last[slot] == i and slot not in self._outputs)
            for i, (_, inputs, out) in enumerate(self._steps)
        ]
        self._values = len(slots)

    def module_of(self, node_name: str) -> nn.Module:
        """The module that computes a node. Raises: InvalidGraph if there is no such node."""
        for node, (module, _, _) in zip(self.graph.nodes, self._steps, strict=True):
            if node.name == node_name:
                return module
        raise InvalidGraph(f"the network has no node {node_name!r}", hint="see graph.nodes")

    def forward(self, *inputs: Tensor) -> Any:
        values: list[Any] = [*inputs, *[None] * (self._values - len(inputs))]
        for (module, sources, out), frees in zip(self._steps, self._frees, strict=True):
            values[out] = module(*[values[i] for i in sources])
            for slot in frees:
                values[slot] = None
        outputs = tuple(values[i] for i in self._outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _place(self, path: str, module: nn.Module) -> None:
        """Puts a module at a dotted path, with plain modules as parents."""
        parent: nn.Module = self
        *above, leaf = path.split(".")
        for part in above:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent._modules[part]  # type: ignore[assignment]
        parent.add_module(leaf, module)


def numpy_weights(network: TorchNetwork) -> dict[str, NDArray[np.float32]]:
    """Every tensor of the graph's entries by ``<entry>.<tensor>``, as float32 arrays."""
    state = network.state_dict()
    return {
        f"{entry}.{tensor}": state[f"{entry}.{tensor}"].detach().cpu().numpy().astype(np.float32)
        for entry, tensors in network.graph.entries().items()
        for tensor in tensors
    }


def load_numpy_weights(network: TorchNetwork, weights: Mapping[str, NDArray[Any]]) -> None:
    """Sets the tensors of the graph's entries. Raises: InvalidGraph if one is missing or misshapen."""
    from search_spaces.deploy import check_weights

    check_weights(network.graph, weights)
    state = network.state_dict()
    with torch.no_grad():
        for entry, tensors in network.graph.entries().items():
            for tensor in tensors:
                state[f"{entry}.{tensor}"].copy_(torch.from_numpy(np.array(weights[f"{entry}.{tensor}"])))
