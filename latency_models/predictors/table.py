"""Times of units, timed or modelled: what is not in the table is modelled from what is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latency_models.kernels import Unit, families, features
from latency_models.predictors.regression import Features, Rates, UnitModel, fit_rates, fit_units
from search_spaces.errors import UnsupportedKernel

_MODELLED_LIMIT = 100_000
_LEAST_OF_A_KIND = 8
_MOST_POINTS = 800


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """A unit: its time with the 90 % half-width ``error_ms``, how often it was drawn, and what a model learns from.

    ``timed`` is False where the time is modelled: the unit is here because a network with it was timed.
    """

    key: str
    ms: float
    error_ms: float
    count: int
    families: tuple[str, ...]
    features: Mapping[str, float]
    timed: bool = True


class UnitTable:
    """Models are fitted when first needed, always the same way: one for each kind of unit, and one for the rest."""

    def __init__(self, records: Sequence[UnitRecord]) -> None:
        self.records = tuple(record for record in records if record.timed)
        self.timed = {record.key: record.ms for record in self.records}
        self._families = frozenset(name for record in self.records for name in record.families)
        self._modelled: dict[str, float] = {}
        self._models: dict[tuple[str, ...], UnitModel] = {}
        self._rates: Rates | None = None

    def model_of(self, kind: tuple[str, ...]) -> UnitModel:
        """The regression over the units of exactly these families, or over all. Raises: UnsupportedKernel."""
        known = self._models.get(kind)
        if known is None:
            known = self._models[kind] = self._fit(kind)
        return known

    def _fit(self, kind: tuple[str, ...]) -> UnitModel:
        alike = [record for record in self.records if not kind or record.families == kind]
        if kind and len(alike) < _LEAST_OF_A_KIND:
            return self.model_of(())
        if len(alike) < 2:
            raise UnsupportedKernel("too few units were timed to model others", hint="profile with more time")
        alike = sorted(alike, key=lambda r: (-r.count, r.key))[:_MOST_POINTS]
        errors = [record.error_ms / record.ms for record in alike]
        if self._rates is None:
            self._rates = fit_rates([r.features for r in self.records], [r.ms for r in self.records])
        return fit_units([r.features for r in alike], [r.ms for r in alike], errors, self._rates)

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
            known = self.modelled(tuple(sorted(families(unit))), features(unit))
            if len(self._modelled) >= _MODELLED_LIMIT:
                self._modelled.clear()
            self._modelled[unit.key] = known
        return known

    def modelled(self, kind: tuple[str, ...], found: Features) -> float:
        """The modelled time of a unit of these families and features."""
        return self.model_of(kind).predict_ms(found)

    def supports(self, wanted: Sequence[Unit]) -> bool:
        """Whether every unit was timed or can be modelled."""
        return all(unit.key in self.timed or families(unit) <= self._families for unit in wanted)

    def unit_ms(self, unit: Unit) -> float:
        """The time of a unit, timed where possible. Raises: UnsupportedKernel."""
        known = self.timed.get(unit.key)
        return self.modelled_ms(unit) if known is None else known
