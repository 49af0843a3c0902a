"""Predictors of latency: from a training graph to milliseconds with an error. None of them imports torch."""

from typing import Protocol

from latency_models.device import Device
from latency_models.estimate import Estimate
from search_spaces.graph import Graph


class LatencyPredictor(Protocol):
    """A pure function of its stored measurements: the same file gives the same predictions."""

    @property
    def device(self) -> Device: ...
    def predict(self, graph: Graph) -> Estimate:
        """Milliseconds of one call of the training graph as deployed, above 0, with the 90 % half-width.

        The note says what share was extrapolated. Raises: UnsupportedKernel where a kind of op was never timed.
        """
