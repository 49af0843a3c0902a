"""Size as a proxy: the baselines that every other proxy must beat. Read from the graph."""

from nas.proxies.passes import Passes


def params(passes: Passes) -> float:
    """Trainable parameters."""
    return float(passes.graph.params)


def depth(passes: Passes) -> float:
    """Convolution and linear layers."""
    return float(len(passes.graph.layers()))


def macs(passes: Passes) -> float:
    """Multiply-accumulates of convolution and linear layers for one image."""
    return float(passes.graph.macs)
