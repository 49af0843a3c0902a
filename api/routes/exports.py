"""Exports: their state, and the file."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from api import store
from api.dependencies import ReadSession, SettingsOf
from api.errors import Conflict, NotFound
from api.models import ExportState
from api.present import present_export
from api.schemas import ExportOut

router = APIRouter(prefix="/v1/exports", tags=["exports"])


@router.get("/{export_id}")
def get_export(export_id: str, session: ReadSession) -> ExportOut:
    """One export, with its report once it SUCCEEDED."""
    row = store.get_export(session, export_id)
    return present_export(row, row.trial.search_id)


@router.get("/{export_id}/file")
def get_file(export_id: str, session: ReadSession, settings: SettingsOf) -> FileResponse:
    """The model file of a finished export."""
    row = store.get_export(session, export_id)
    if row.state != ExportState.SUCCEEDED or row.report is None:
        raise Conflict(
            f"export {export_id!r} is {row.state}", hint=f"wait until GET /v1/exports/{export_id} says SUCCEEDED"
        )
    path = settings.export_dir(export_id) / row.report["file"]
    if not path.is_file():
        raise NotFound(f"the file of export {export_id!r} is gone", hint="export the trial again")
    filename = f"{row.trial.search.name}-{row.trial.number}{path.suffix}".replace("/", "-")
    return FileResponse(path, filename=filename, media_type="application/octet-stream")
