"""Single trials, and the request to export one."""

from fastapi import APIRouter, Response

from api import store, trial_store
from api.dependencies import ReadSession, WriteSession
from api.present import present_export, present_trial, spec_of
from api.schemas import ExportCreated, ExportIn, ExportOut, PageOut, TrialOut
from nas.exporters import known_format

router = APIRouter(prefix="/v1/trials", tags=["trials"])


@router.get("/{trial_id}")
def get_trial(trial_id: str, session: ReadSession) -> TrialOut:
    """One trial with every figure taken of it."""
    row = trial_store.get_trial(session, trial_id)
    return present_trial(row, trial_store.as_trial(row), spec_of(row.search))


@router.post("/{trial_id}/exports", status_code=202)
def export_trial(trial_id: str, wanted: ExportIn, session: WriteSession, response: Response) -> ExportCreated:
    """Queue the export of a trained trial."""
    trial = trial_store.get_trial(session, trial_id)
    known_format(wanted.format)
    export = store.create_export(session, trial, wanted.format)
    response.headers["Location"] = f"/v1/exports/{export.id}"
    return ExportCreated(id=export.id, state=export.state)


@router.get("/{trial_id}/exports")
def list_exports(trial_id: str, session: ReadSession) -> PageOut[ExportOut]:
    """The exports of a trial, oldest first."""
    trial = trial_store.get_trial(session, trial_id)
    items = [present_export(row, trial.search_id) for row in store.list_exports(session, trial_id)]
    return PageOut(items=items, next_page_token=None)
