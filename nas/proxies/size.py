"""Size as a proxy: the baselines that every other proxy must beat. Read from the graph."""

from nas.proxies.passes import GraphOnly, Passes


def params(passes: Passes | GraphOnly) -> float:
    """Trainable parameters."""
    return float(passes.graph.params)


def depth(passes: Passes | GraphOnly) -> float:
    """Convolution and linear layers."""
    return float(len(passes.graph.layers()))


def macs(passes: Passes | GraphOnly) -> float:
    """Multiply-accumulates of convolution and linear layers for one image."""
    return float(passes.graph.macs)
