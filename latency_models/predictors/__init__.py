"""Predictors of latency: from a training graph to milliseconds with an error. None of them imports torch."""

from typing import NamedTuple, Protocol

from latency_models.device import Device
from latency_models.estimate import Estimate
from search_spaces.graph import Graph


class LayerEstimate(NamedTuple):
    """A kernel of a deployed network: the nodes that run as one, and what it costs for one input of the batch.

    ``family`` is the kind of op that takes its time: ``conv``, ``depthwise``, ``grouped``, ``linear``, ``add`` ...
    ``latency_ms`` is that of the device's whole batch. ``bytes_moved`` counts activations read and written in
    float32, ``weight_bytes`` the weights.
    """

    nodes: tuple[str, ...]
    family: str
    latency_ms: Estimate
    macs: int
    bytes_moved: int
    weight_bytes: int


class LatencyPredictor(Protocol):
    """A pure function of its stored measurements: the same file gives the same predictions."""

    @property
    def device(self) -> Device: ...
    def predict(self, graph: Graph) -> Estimate:
        """Milliseconds of one call of the training graph as deployed, above 0, with the 90 % half-width.

        The note says what share was extrapolated. Raises: UnsupportedKernel where a kind of op was never timed.
        """

    def layers(self, graph: Graph) -> tuple[LayerEstimate, ...]:
        """What each kernel of the training graph, as deployed, adds to its latency, in order of execution."""
