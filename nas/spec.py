"""The specification of a search: the HTTP body, the database column and the engine's input."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from nas.objectives import METRICS, Goal, metric_key
from search_spaces.definition import SpaceReference, read_reference, space_name
from search_spaces.errors import nearest

SPEC_VERSION: Literal[1] = 1
NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._+/@-]*$"


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _check_metric(metric: str, device: str | None) -> None:
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: {nearest(metric, list(METRICS))}")
    if METRICS[metric].kind == "device" and device is None:
        raise ValueError(f'{metric} needs a device, for example "device": "local-onnxruntime"')
    if METRICS[metric].kind != "device" and device is not None:
        raise ValueError(f'{metric} does not depend on a device: leave out "device"')


# strict: JSON true or "30" is no number
Real = Annotated[float, Field(strict=True)]
PositiveInt = Annotated[int, Field(gt=0, strict=True)]


class Objective(_Wire):
    metric: str
    goal: Goal
    device: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_goal(cls, data: Any) -> Any:
        if isinstance(data, dict) and "goal" not in data and isinstance(data.get("metric"), str):
            metric = data["metric"]
            _check_metric(metric, data.get("device"))
            return {**data, "goal": METRICS[metric].goal}
        return data

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_metric(self.metric, self.device)
        return self


class Constraint(_Wire):
    """A hard bound, inclusive, on a metric."""

    metric: str
    max: Real | None = None
    min: Real | None = None
    device: str | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_metric(self.metric, self.device)
        if self.max is None and self.min is None:
            raise ValueError('a constraint needs "max" or "min"')
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self

    def allows(self, value: float) -> bool:
        return (self.max is None or value <= self.max) and (self.min is None or value >= self.min)

    def __str__(self) -> str:
        key = metric_key(self.metric, self.device, 2)
        return " and ".join(
            f"{key} {sign} {bound:g}" for sign, bound in (("<=", self.max), (">=", self.min)) if bound is not None
        )


class Budget(_Wire):
    """What a search may spend: ``scored`` zero-shot scores, ``trainings`` trials that enter rung 1."""

    scored: PositiveInt = 300
    trainings: PositiveInt = 16
    wall_seconds: Annotated[Real, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.trainings > self.scored:
            raise ValueError(f"trainings ({self.trainings}) must not exceed scored ({self.scored})")
        return self


class Rung(_Wire):
    """One step of the ladder; ``epochs`` is the total at its end, continued from its checkpoint."""

    epochs: PositiveInt


class Training(_Wire):
    """The recipe, the same for every trial of a search (AdamW, one-cycle cosine over the last rung)."""

    batch_size: PositiveInt = 128
    learning_rate: Annotated[Real, Field(gt=0, le=10)] = 6e-3
    weight_decay: Annotated[Real, Field(ge=0, le=10)] = 0.02
    label_smoothing: Annotated[Real, Field(ge=0, lt=1)] = 0.05
    augment: bool = True


class SearchSpec(_Wire):
    """One search. Names of spaces, proxies, strategies, devices and data sets are checked at submission.

    ``space`` is the name of a space, or the definition of one (docs/spaces.md).

    Source of the shape: docs/spec.md.
    """

    spec_version: Literal[1] = SPEC_VERSION
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=NAME)] = "search"
    space: Annotated[SpaceReference, BeforeValidator(read_reference)]
    dataset: Annotated[str, Field(max_length=200)]
    objectives: Annotated[tuple[Objective, ...], Field(max_length=8)]
    constraints: Annotated[tuple[Constraint, ...], Field(max_length=32)] = ()
    strategy: Annotated[str, Field(max_length=200)] = "default"
    score: Annotated[str, Field(max_length=200)] = "default"
    budget: Budget = Budget()
    rungs: Annotated[tuple[Rung, ...], Field(max_length=10)] = (Rung(epochs=5), Rung(epochs=30))
    eta: Annotated[int, Field(ge=2, le=100, strict=True)] = 3
    training: Training = Training()
    measure: Literal["last_rung", "trained"] = "last_rung"
    baselines: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=20_000)], ...], Field(max_length=32)] = ()
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    labels: Annotated[
        dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=1000)]], Field(max_length=64)
    ] = {}

    @field_validator("rungs")
    @classmethod
    def _rising(cls, rungs: tuple[Rung, ...]) -> tuple[Rung, ...]:
        if not rungs:
            raise ValueError('name at least one rung, for example {"epochs": 30}')
        epochs = [rung.epochs for rung in rungs]
        if any(b <= a for a, b in pairwise(epochs)):
            raise ValueError(f"epochs are totals and must rise from rung to rung, got {epochs}")
        return rungs

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if not objectives:  # not by min_length, which would also complain whenever an objective is wrong
            raise ValueError('name at least one objective, for example {"metric": "accuracy"}')
        keys = [(o.metric, o.device) for o in objectives]
        if len(set(keys)) < len(keys):
            raise ValueError("the same metric on the same device stands twice")
        return objectives

    @model_validator(mode="after")
    def _room_for_baselines(self) -> Self:
        if len(self.baselines) > self.budget.trainings:
            raise ValueError(
                f"{len(self.baselines)} baselines, but {self.budget.trainings} trainings: all of them train"
            )
        return self

    @property
    def space_name(self) -> str:
        """The space as architectures and profiles name it: a definition of the user's own as ``NAME@DIGEST``."""
        return space_name(self.space)

    @property
    def steering(self) -> tuple[Objective, ...]:
        """What decides which networks train: the objectives, and accuracy where only a bound from below names it.

        By the other objectives alone the networks that break the bound would look best.
        """
        named = any(o.metric == "accuracy" for o in self.objectives)
        bounded = any(c.metric == "accuracy" and c.min is not None for c in self.constraints)
        return (
            self.objectives
            if named or not bounded
            else (*self.objectives, Objective(metric="accuracy", goal="maximize"))
        )

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device named by an objective or a constraint, in order of first mention."""
        named = [o.device for o in self.objectives] + [c.device for c in self.constraints]
        return tuple(dict.fromkeys(d for d in named if d is not None))

    def key(self, metric: str, device: str | None) -> str:
        """The JSON key under which this search shows a metric."""
        return metric_key(metric, device, len(self.devices))
