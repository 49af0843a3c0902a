"""Rows of the database as the schemas that the API answers with."""

from collections.abc import Mapping

from api.models import Export, Search, Trial, utcnow
from api.schemas import (
    BaselineItem,
    ErrorBody,
    EstimateOut,
    ExportOut,
    FrontItem,
    MeasurementOut,
    ProgressOut,
    ReportCardOut,
    SearchOut,
    TrialOut,
)
from latency_models.estimate import Source
from nas.spec import SearchSpec
from nas.trial import Measurement
from nas.trial import Trial as EngineTrial


def spec_of(row: Search) -> SearchSpec:
    """The specification of a search."""
    return SearchSpec.model_validate(row.spec)


def present_search(row: Search, trials: Mapping[str, int]) -> SearchOut:
    end = row.finished_at or utcnow()
    return SearchOut(
        id=row.id,
        name=row.name,
        state=row.state,
        phase=row.phase,
        progress=ProgressOut(done=row.progress_done, total=row.progress_total),
        trials=dict(trials),
        rejected=row.rejected,
        report_card=None if row.report_card is None else ReportCardOut.model_validate(row.report_card),
        error=_error(row),
        cancel_requested=row.cancel_requested,
        created_at=row.created_at,
        running_since=row.running_since,
        finished_at=row.finished_at,
        elapsed_seconds=None if row.running_since is None else max(0.0, (end - row.running_since).total_seconds()),
        spec=row.spec,
    )


def present_trial(row: Trial, trial: EngineTrial, spec: SearchSpec) -> TrialOut:
    return TrialOut(
        id=row.id,
        search_id=row.search_id,
        number=trial.number,
        architecture=trial.architecture,
        architecture_id=trial.architecture_id,
        fingerprint=trial.fingerprint,
        baseline=trial.baseline,
        state=trial.state,
        rung=trial.rung,
        epochs=trial.epochs,
        metrics=figures(trial, spec),
        predicted=figures(trial, spec, Source.PREDICTED),
        proxies=dict(trial.proxies),
        measurements=[MeasurementOut.model_validate(m) for m in trial.measurements],
        error=trial.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def present_baseline(trial_id: str, trial: EngineTrial, spec: SearchSpec, on_front: bool) -> BaselineItem:
    item = present_front_item(trial_id, trial, spec)
    return BaselineItem(**dict(item), state=trial.state, on_front=on_front, error=trial.error)


def present_front_item(trial_id: str, trial: EngineTrial, spec: SearchSpec) -> FrontItem:
    return FrontItem(
        trial_id=trial_id,
        number=trial.number,
        architecture=trial.architecture,
        baseline=trial.baseline,
        metrics=figures(trial, spec),
        predicted=figures(trial, spec, Source.PREDICTED),
        proxies=dict(trial.proxies),
    )


def figures(trial: EngineTrial, spec: SearchSpec, source: Source | None = None) -> dict[str, EstimateOut]:
    """The best figure of every metric, of one source or of any, under the key that the search uses for it."""
    pairs = dict.fromkeys((m.metric, m.device) for m in trial.measurements)
    found = {spec.key(metric, device): _best(trial, metric, device, source) for metric, device in pairs}
    return {key: _estimate(m) for key, m in found.items() if m is not None}


def _best(trial: EngineTrial, metric: str, device: str | None, source: Source | None) -> Measurement | None:
    return trial.find(metric, device, source=source)


def _estimate(m: Measurement) -> EstimateOut:
    return EstimateOut(value=m.value, error=m.error, source=m.source.value)


def present_export(row: Export, search_id: str) -> ExportOut:
    done = row.report is not None
    return ExportOut(
        id=row.id,
        trial_id=row.trial_id,
        search_id=search_id,
        format=row.format,
        state=row.state,
        report=row.report,
        file=f"/v1/exports/{row.id}/file" if done else None,
        error=_error(row),
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def _error(row: Search | Export) -> ErrorBody | None:
    if row.error_code is None:
        return None
    return ErrorBody(code=row.error_code, message=row.error_message or "", hint=row.error_hint or "")
