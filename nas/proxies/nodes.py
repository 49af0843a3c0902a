"""Which nodes of a network the passes look at, and what of it a proxy needs. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nas.proxies import Need
from search_spaces.graph import Graph, Node
from search_spaces.ops import OPS

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.torch_network import TorchNetwork

THRESHOLDS = frozenset({"relu", "relu6", "hard_swish", "silu", "gelu", "squared_relu", "star_relu"})
"""Activations whose input's sign says whether the unit is on."""
NORMS = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "response_norm", "l2_norm"})
CONVOLUTIONS = frozenset({"conv", "spaced_conv"})
LAYERS = CONVOLUTIONS | {"linear"}
POOLS = frozenset({"global_avg_pool", "global_max_pool", "global_std_pool", "reduce_mean", "reduce_max"})
AFTER_STAGES = frozenset({"head", "last"})
LINEARISED = THRESHOLDS | NORMS
"""What the synflow pass bypasses. A norm over channels would cut off the flow of an even input."""


def block_outputs(graph: Graph) -> list[Node]:
    """The last node of each of the network's outermost blocks whose output has positions; empty blocks have none.

    What follows the last stage (``AFTER_STAGES``) only fits features to the classifier, and is none of them, as in the
    code of AZ-NAS.
    """
    nodes = {node.name: node for node in graph.nodes}
    blocks = [
        (i.name, i.op.output_names)
        for i in graph.items
        if isinstance(i.op, Graph) and i.name.split(".")[0] not in AFTER_STAGES
    ]
    ends = (f"{name}.{outputs[-1]}" for name, outputs in blocks if outputs)
    return [nodes[name] for name in ends if name in nodes and len(nodes[name].shape) == 3]


def ends_features(graph: Graph) -> list[Node]:
    """The node whose input are a network's features: the last pooling, or the last linear layer where there is none."""
    nodes = graph.nodes
    ending = [n for n in nodes if n.op in POOLS] or [n for n in nodes if n.op == "linear"]
    return ending[-1:]


def expands_features(node: Node) -> bool:
    """Whether it is the first layer of a feed-forward block."""
    return node.op in LAYERS and node.name.split(".")[-3:-1] == ["mlp", "expand"]


def layer_weights(graph: Graph) -> list[str]:
    """The names of the weights of all convolution and linear layers, shared ones once, in order of execution."""
    return list(dict.fromkeys(f"{node.weights}.weight" for node in graph.nodes if node.op in LAYERS))


def module_of(network: TorchNetwork, node: Node) -> nn.Module:
    return network.get_submodule(node.name if OPS[node.op].weights is None else node.weights)


HAS: Mapping[Need, tuple[str, Callable[[Graph], bool]]] = {
    "images": ("images", lambda _: True),  # every data set has them, and labels too
    "labels": ("labels of classes", lambda _: True),
    "relu": (
        "an activation whose input's sign says whether a unit is on",
        lambda graph: any(node.op in THRESHOLDS for node in graph.nodes),
    ),
    "blocks": ("blocks whose outputs have positions", lambda graph: bool(block_outputs(graph))),
    "convolutions": ("convolutions", lambda graph: any(node.op in CONVOLUTIONS for node in graph.nodes)),
    "feed_forward": (
        "blocks of two layers over the channels of each position",
        lambda graph: any(expands_features(node) for node in graph.nodes),
    ),
}
"""What each need is in words, and whether a network has it."""
