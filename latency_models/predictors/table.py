"""The table of timed units, summed and calibrated; what is not in the table is modelled, and the estimate says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import hypot

from latency_models.device import Device
from latency_models.estimate import Estimate, Source
from latency_models.kernels import Unit, families, features, units
from latency_models.predictors.calibration import Calibration
from latency_models.predictors.regression import UnitModel, fit_units
from search_spaces.errors import UnsupportedKernel
from search_spaces.graph import Graph

_MODELLED_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """A timed unit: 90 % half-width ``error_ms``, how often it was drawn, and what a model needs to learn from it."""

    key: str
    ms: float
    error_ms: float
    count: int
    families: tuple[str, ...]
    features: Mapping[str, float]


class UnitTable:
    """Times of units, timed or modelled. The model is fitted when first needed, the same each time."""

    def __init__(self, records: Sequence[UnitRecord]) -> None:
        self.records = tuple(records)
        self.timed = {record.key: record.ms for record in self.records}
        self._families = frozenset(name for record in self.records for name in record.families)
        self._modelled: dict[str, float] = {}

    @cached_property
    def model(self) -> UnitModel:
        """The regression over all timed units. Raises: UnsupportedKernel with fewer than two."""
        if len(self.records) < 2:
            raise UnsupportedKernel("too few units were timed to model others", hint="profile with more time")
        errors = [record.error_ms / record.ms for record in self.records]
        return fit_units([record.features for record in self.records], [record.ms for record in self.records], errors)

    def modelled_ms(self, unit: Unit) -> float:
        """The modelled time of a unit that was not timed. Raises: UnsupportedKernel."""
        known = self._modelled.get(unit.key)
        if known is None:
            unseen = families(unit) - self._families
            if unseen:
                raise UnsupportedKernel(
                    f"no timed unit contains {', '.join(sorted(unseen))}",
                    hint="profile the device on a space that contains it: hwnas profile",
                )
            if len(self._modelled) >= _MODELLED_LIMIT:
                self._modelled.clear()
            known = self._modelled[unit.key] = self.model.predict_ms(features(unit))
        return known

    def supports(self, wanted: Sequence[Unit]) -> bool:
        """Whether every unit was timed or can be modelled."""
        return all(unit.key in self.timed or families(unit) <= self._families for unit in wanted)

    def unit_ms(self, unit: Unit) -> float:
        """The time of a unit, timed where possible. Raises: UnsupportedKernel."""
        known = self.timed.get(unit.key)
        return self.modelled_ms(unit) if known is None else known


class BlockTable:
    """A ``LatencyPredictor``: the calibrated sum of the times of a network's units."""

    def __init__(self, device: Device, table: UnitTable, calibration: Calibration) -> None:
        self.device = device
        self.table = table
        self.calibration = calibration
        self._parts = {key: calibration.part_ms(ms) for key, ms in table.timed.items()}

    def predict(self, graph: Graph) -> Estimate:
        """See ``LatencyPredictor``. The error grows with the share of units that were not timed."""
        known = self._parts
        total = self.calibration.call_ms
        extrapolated = 0.0
        for unit in units(graph):
            part = known.get(unit.key)
            if part is None:
                part = self.calibration.part_ms(self.table.modelled_ms(unit))
                extrapolated += part
            total += part
        error = self.calibration.relative_error * total
        if not extrapolated:
            return Estimate(total, error, Source.PREDICTED)
        # the errors of modelled units have a common cause, so they add up; that of the calibration is another
        error = hypot(error, self.table.model.relative_error * extrapolated)
        share = extrapolated / total
        return Estimate(total, error, Source.PREDICTED, f"{share:.0%} of the time extrapolated from other blocks")
