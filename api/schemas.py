"""What the API answers with. Times are UTC in ISO 8601; accuracies are fractions from 0 to 1."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class ErrorBody(_Out):
    code: str
    message: str
    hint: str


class ErrorOut(_Out):
    """Every answer with a status of 400 or more."""

    error: ErrorBody


class PageOut(_Out, Generic[T]):
    """One page of a list; ``next_page_token`` is null on the last one."""

    items: list[T]
    next_page_token: str | None


class EstimateOut(_Out):
    """A figure; ``error`` is the half-width of the 90 % interval in the same unit, null if unknown."""

    value: float
    error: float | None
    source: Literal["measured", "predicted", "analytic"]
    note: str = ""


class ProgressOut(_Out):
    done: int
    total: int


class SearchCreated(_Out):
    id: str
    state: str


class ReportCardOut(_Out):
    """How well accuracy was foretold: Kendall's tau over the networks that have ``trained`` to the first rung.

    ``tau`` of each proxy, of ``params`` and ``macs``, and of the ``score`` that joins the proxies; ``surrogate_tau`` is
    cross-validated, null while there is too little to learn from; ``dropped`` are proxies that do not rank.
    ``not_finite`` counts the networks on which a proxy had no finite value, and ranked last.
    """

    trained: int
    score: str
    tau: dict[str, float]
    surrogate_tau: float | None
    dropped: list[str]
    not_finite: dict[str, int]


class SearchOut(_Out):
    """A search. ``trials`` counts them by state, ``rejected`` what the bounds refused, by reason.

    ``report_card`` says what training has shown of the proxies; null before the first wave has trained.
    """

    id: str
    name: str
    state: str
    phase: str | None
    progress: ProgressOut
    trials: dict[str, int]
    rejected: dict[str, int]
    report_card: ReportCardOut | None
    error: ErrorBody | None
    cancel_requested: bool
    created_at: datetime
    running_since: datetime | None
    finished_at: datetime | None
    elapsed_seconds: float | None
    spec: dict[str, Any]


class MeasurementOut(_Out):
    """One figure as it was taken; ``rung`` is the rung after which (0: before training)."""

    metric: str
    device: str | None
    rung: int
    value: float
    error: float | None
    source: Literal["measured", "predicted", "analytic"]


class TrialOut(_Out):
    """A trial. ``metrics`` has the best figure known of each, ``measurements`` all of them."""

    id: str
    search_id: str
    number: int
    architecture: str
    architecture_id: str
    fingerprint: str
    baseline: str | None
    state: str
    rung: int
    epochs: int
    metrics: dict[str, EstimateOut]
    predicted: dict[str, EstimateOut]
    proxies: dict[str, float | None]
    measurements: list[MeasurementOut]
    error: str | None
    created_at: datetime
    updated_at: datetime


class FrontItem(_Out):
    """One Pareto-optimal trial: its best figures, and what was predicted before it was measured.

    ``baseline`` is the name under which the specification lists it as a baseline, null for what was found.
    """

    trial_id: str
    number: int
    architecture: str
    baseline: str | None
    metrics: dict[str, EstimateOut]
    predicted: dict[str, EstimateOut]
    proxies: dict[str, float | None]


class BaselineItem(FrontItem):
    """A baseline, wherever it ended; ``error`` says why where that is not on or behind the front."""

    state: str
    on_front: bool
    error: str | None


class FrontOut(_Out):
    """A front. ``basis`` says what it compares: finished trials as measured, or zero-shot scores.

    ``baselines`` has the baselines of the specification, on the front or not.
    """

    basis: Literal["measured", "zero_shot_score"]
    rung: int
    items: list[FrontItem]
    baselines: list[BaselineItem]
    next_page_token: str | None = None


class ExportIn(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str


class ExportCreated(_Out):
    id: str
    state: str


class ExportOut(_Out):
    """An export; ``report`` and ``file`` (the address of the download) are set once it SUCCEEDED."""

    id: str
    trial_id: str
    search_id: str
    format: str
    state: str
    report: dict[str, Any] | None
    file: str | None
    error: ErrorBody | None
    created_at: datetime
    finished_at: datetime | None


class ChoiceOut(_Out):
    name: str
    options: list[Any]


class SpaceOut(_Out):
    """A search space, built in or (``stored``) of a user.

    ``key`` is its name in architectures and profiles. ``size`` is the exact number of architectures, null from
    2**53 on, where not every reader of JSON keeps it; ``size_log10`` its logarithm. ``presets`` are known networks
    that are points of the space, ``input_sizes`` the resolutions to choose from. ``error`` says why a stored space
    can no longer be built; it then has no choices.
    """

    name: str
    key: str
    stored: bool
    description: str
    papers: list[str]
    size: int | None
    size_log10: float | None
    choice_count: int
    choices: list[ChoiceOut]
    input_sizes: list[int]
    presets: list[str]
    created_at: datetime | None
    error: ErrorBody | None


class SpaceDetail(SpaceOut):
    """A search space with its definition, null where it is built in."""

    definition: dict[str, Any] | None


class ProxyOut(_Out):
    """A zero-shot score: one proxy, or an ensemble of several."""

    name: str
    description: str
    proxies: list[str]


class StrategyOut(_Out):
    name: str
    description: str


class DatasetOut(_Out):
    name: str
    description: str
    input_shape: list[int]
    classes: int


class ProfileOut(_Out):
    space: str
    task: str
    created_at: datetime
    report: dict[str, Any]


class DeviceOut(_Out):
    """A device. ``local`` ones are profiled by the search that needs them, if ``available``.

    What only the device's own machine knows is null for the others. Nobody can attach an ``analytic`` one: its
    figures follow from the ``facts`` that it states (docs/devices.md).
    """

    name: str
    kind: Literal["measured", "analytic"] = "measured"
    runtime: str | None
    precision: str | None
    threads: int | None
    batch_size: int | None
    local: bool
    available: bool
    install: str
    profiles: list[ProfileOut]
    facts: dict[str, Any] | None = None


class HealthOut(_Out):
    status: Literal["ok"]
    workers: int
