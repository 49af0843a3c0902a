"""The predictor of a measured device: units from the table, composed to networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import hypot

from latency_models.device import Device
from latency_models.estimate import Estimate, Source
from latency_models.kernel_rules import rules_of
from latency_models.kernels import BYTES, Unit, features, kind_of, named_units, units
from latency_models.predictors import LayerEstimate
from latency_models.predictors.composition import Composition, Deviations
from latency_models.predictors.table import UnitRecord, UnitTable
from search_spaces.errors import UnsupportedKernel
from search_spaces.graph import Graph

_PARTS_LIMIT = 200_000
_LEAST_SHARE_OF_UNIT = 0.5  # nothing takes less than this part of the fastest unit


class ComposedPredictor:
    """A ``LatencyPredictor``: a sum over units of what each adds to a network, computed once a unit."""

    def __init__(self, device: Device, records: Sequence[UnitRecord], composition: Composition) -> None:
        self.device = device
        self.table = UnitTable(records)
        self.composition = composition
        self._rules = rules_of(device.runtime)
        self._records: Mapping[str, UnitRecord] = {record.key: record for record in records}
        self._deviations = Deviations(composition, self._records)
        self._least_ms = _LEAST_SHARE_OF_UNIT * min((record.ms for record in records), default=0.0)
        self._parts: dict[str, tuple[float, float]] = {}

    def predict(self, graph: Graph) -> Estimate:
        """See ``LatencyPredictor``. The error grows with the share of units that were not timed."""
        parts = self._parts
        raised = 0.0
        modelled = 0.0
        inside = units(graph, self._rules)
        if not inside:
            return self._idle()
        for unit in inside:
            part = parts.get(unit.key) or self._part(unit)
            raised += part[0]
            modelled += part[1]
        total = self.composition.total_ms(raised, self._least_ms)
        error = self.composition.relative_error * total
        if not modelled:
            return Estimate(total, error, Source.PREDICTED)
        share = modelled / raised  # what was modelled is above 0
        # the error was found on networks of which a share was modelled too: only more than that adds to it
        more = max(0.0, share - self.composition.modelled_share)
        error = hypot(error, self._model_error() * more * total)
        return Estimate(total, error, Source.PREDICTED, f"{share:.0%} of the time extrapolated from other blocks")

    def _idle(self) -> Estimate:
        """A network that its runtime computes once, when it loads it: a call is left."""
        known = self.composition.idle_ms
        value = max(self._least_ms, self.composition.call_ms) if known is None else known
        return Estimate(value, self.composition.relative_error * value, Source.PREDICTED, "it ignores its input")

    def _part(self, unit: Unit) -> tuple[float, float]:
        """What a unit adds to a network, and how much of that is modelled: remembered."""
        known = self._records.get(unit.key)
        found = known.features if known is not None else features(unit)
        ms = known.ms if known is not None else self.table.modelled_ms(unit)
        part = self.composition.linear_ms(ms, found) * (1 + self._deviations.of(unit.key, found))
        if len(self._parts) >= _PARTS_LIMIT:
            self._parts.clear()
        self._parts[unit.key] = part, 0.0 if known is not None and known.timed else part
        return self._parts[unit.key]

    def _model_error(self) -> float:
        try:
            return self.table.model_of(()).relative_error
        except UnsupportedKernel:
            return 1.0

    def layers(self, graph: Graph) -> tuple[LayerEstimate, ...]:
        """See ``LatencyPredictor``: what a unit adds, divided among its kernels as they would take alone.

        Where the fit found that a call costs less than nothing, each takes its part of that.
        """
        found: list[LayerEstimate] = []
        named = named_units(graph, self._rules)
        parts = [(self._parts.get(unit.key) or self._part(unit))[0] for unit, _ in named]
        raised = sum(parts)
        taken = min(1.0, self.predict(graph).value / raised) if raised else 1.0
        for (_, kernels), part in zip(named, parts, strict=True):
            alone = [self._alone_ms(kernel.unit) for kernel in kernels]
            whole = sum(alone)
            for kernel, ms in zip(kernels, alone, strict=True):
                value = taken * part * ms / whole
                of = kernel.unit.graph
                facts = features(kernel.unit)
                found.append(
                    LayerEstimate(
                        kernel.nodes,
                        kind_of(kernel.unit),
                        Estimate(value, self.composition.relative_error * value, Source.PREDICTED),
                        of.macs + of.matmul_macs,
                        int(facts["inputs"] + facts["outputs"]),
                        int(facts["weights"]),
                    )
                )
        return tuple(found)

    def _alone_ms(self, kernel: Unit) -> float:
        """A kernel as a unit of its own; by its bytes and MACs where no unit was ever like it."""
        try:
            return self.table.unit_ms(kernel)
        except UnsupportedKernel:
            facts = features(kernel)
            return 1e-6 * (1 + facts["inputs"] + facts["outputs"] + facts["weights"]) / BYTES
