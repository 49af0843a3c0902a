"""Whether searches can be submitted and will run."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from api import store
from api.dependencies import DatabaseOf, SettingsOf
from api.errors import body_of
from api.schemas import HealthOut

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=HealthOut)
def healthz(database: DatabaseOf, settings: SettingsOf) -> HealthOut | JSONResponse:
    """200 once the database can be written and a worker lives; else 503 with the reason."""
    try:
        with database.write() as session:
            store.check_writable(session)
            workers = store.live_workers(session, settings.worker_timeout_seconds)
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        return _unhealthy(f"the database cannot be written: {reason}", "check the disk and the database's address")
    if workers == 0:
        return _unhealthy("no worker is running", "start one: python -m api.worker (hwnas up does it)")
    return HealthOut(status="ok", workers=workers)


def _unhealthy(message: str, hint: str) -> JSONResponse:
    return JSONResponse(body_of("not_ready", message, hint), status_code=503, headers={"Retry-After": "1"})
