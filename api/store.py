"""Searches, exports, device profiles and workers in the database.

Every function works inside the session it is given and never commits. Trials have a file of their
own (trial_store.py), and so has the lease of a running job (leases.py).
"""

import secrets
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from api.errors import Conflict, InvalidQuery, NotFound
from api.models import FINISHED, DeviceProfile, Export, ExportState, Search, SearchState, Trial, Worker, utcnow
from api.paging import Page, cut, read_token
from nas.spec import SearchSpec


def new_id(prefix: str) -> str:
    """A short random id, safe in addresses and file names: ``s_`` search, ``t_`` trial, ``x_`` export."""
    return f"{prefix}_{secrets.token_hex(6)}"


def create_search(session: Session, spec: SearchSpec, *, idempotency_key: str | None = None) -> Search:
    """The new search, QUEUED, or the one made before with the same key; Conflict if that had another spec."""
    document = spec.model_dump(mode="json")
    existing = _by_idempotency_key(session, idempotency_key, document)
    if existing is not None:
        return existing
    search = Search(
        id=new_id("s"),
        name=spec.name,
        spec=document,
        state=SearchState.QUEUED,
        idempotency_key=idempotency_key,
        created_at=utcnow(),
    )
    try:
        with session.begin_nested():
            session.add(search)
    except IntegrityError:  # another request with the same key was faster
        existing = _by_idempotency_key(session, idempotency_key, document)
        if existing is None:
            raise
        return existing
    return search


def _by_idempotency_key(session: Session, key: str | None, document: Mapping[str, Any]) -> Search | None:
    found = session.scalar(select(Search).where(Search.idempotency_key == key)) if key is not None else None
    if found is not None and found.spec != document:
        raise Conflict(
            f"the idempotency key {key!r} was used for another specification",
            hint=f"send a new key, or look at search {found.id}",
        )
    return found


def get_search(session: Session, search_id: str) -> Search:
    """The search; NotFound if there is none."""
    search = session.get(Search, search_id)
    if search is None:
        raise NotFound(f"there is no search {search_id!r}", hint="GET /v1/searches lists the searches")
    return search


def list_searches(
    session: Session, *, state: str | None = None, page_size: int = 50, page_token: str | None = None
) -> Page[Search]:
    """One page of searches, newest first; InvalidQuery for a token that is not from this list."""
    query = select(Search).order_by(Search.created_at.desc(), Search.id.desc()).limit(page_size + 1)
    if state is not None:
        query = query.where(Search.state == state)
    if page_token is not None:
        created, last_id = read_token(page_token, "searches", (str, str))
        created_at = _parse_time(created)
        same = and_(Search.created_at == created_at, Search.id < last_id)
        query = query.where(or_(Search.created_at < created_at, same))
    rows = session.scalars(query).all()
    return cut(rows, page_size, "searches", lambda row: (row.created_at.isoformat(), row.id))


def _parse_time(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise InvalidQuery("the page token is not valid", field="page_token") from error


def count_trials(session: Session, search_ids: Collection[str]) -> dict[str, dict[str, int]]:
    """Trials by state, for each of the searches."""
    counts: dict[str, dict[str, int]] = {search_id: {} for search_id in search_ids}
    rows = session.execute(
        select(Trial.search_id, Trial.state, func.count())
        .where(Trial.search_id.in_(search_ids))
        .group_by(Trial.search_id, Trial.state)
        .order_by(Trial.state)
    )
    for search_id, state, count in rows:
        counts[search_id][state] = count
    return counts


def request_cancel(session: Session, search_id: str) -> Search:
    """The search, CANCELLED at once if it was queued, else asked to stop; NotFound, or Conflict if finished."""
    mine = Search.id == search_id
    stopped = {"state": SearchState.CANCELLED, "cancel_requested": True, "finished_at": utcnow()}
    session.execute(update(Search).where(mine, Search.state == SearchState.QUEUED).values(stopped))
    session.execute(update(Search).where(mine, Search.state.not_in(FINISHED)).values(cancel_requested=True))
    search = get_search(session, search_id)
    session.refresh(search)
    if not search.cancel_requested or search.state in (SearchState.SUCCEEDED, SearchState.FAILED):
        raise Conflict(f"search {search_id!r} has already ended: {search.state}", hint="there is nothing to cancel")
    return search


def cancel_requested(session: Session, search_id: str) -> bool:
    """Whether someone asked for the search to stop."""
    return bool(session.scalar(select(Search.cancel_requested).where(Search.id == search_id)))


def create_export(session: Session, trial: Trial, export_format: str) -> Export:
    """The new export, QUEUED; Conflict if the trial has no trained network."""
    if trial.rung < 1:
        raise Conflict(
            f"trial {trial.id!r} was never trained (it is {trial.state}), so it has no weights to export",
            hint=f"choose a trial of GET /v1/searches/{trial.search_id}/front",
        )
    export = Export(
        id=new_id("x"), trial_id=trial.id, format=export_format, state=ExportState.QUEUED, created_at=utcnow()
    )
    session.add(export)
    session.flush()
    return export


def get_export(session: Session, export_id: str) -> Export:
    """The export with its trial and search; NotFound if there is none."""
    query = select(Export).where(Export.id == export_id)
    export = session.scalar(query.options(selectinload(Export.trial).selectinload(Trial.search)))
    if export is None:
        raise NotFound(f"there is no export {export_id!r}", hint="POST /v1/trials/{id}/exports makes one")
    return export


def list_exports(session: Session, trial_id: str) -> list[Export]:
    """The exports of a trial, oldest first."""
    query = select(Export).where(Export.trial_id == trial_id).order_by(Export.created_at, Export.id)
    return list(session.scalars(query))


def get_profile(session: Session, device: str, space: str, task: str) -> DeviceProfile | None:
    """The profile of a device for a space and task; None if there is none."""
    return session.get(DeviceProfile, (device, space, task))


def put_profile(session: Session, profile: DeviceProfile) -> None:
    """Store a profile in place of the one for the same device, space and task."""
    session.merge(profile)


def list_profiles(session: Session) -> list[DeviceProfile]:
    """Every profile, by device, space and task."""
    return list(
        session.scalars(select(DeviceProfile).order_by(DeviceProfile.device, DeviceProfile.space, DeviceProfile.task))
    )


def beat(session: Session, owner: str) -> None:
    """Note that the worker lives."""
    now = utcnow()
    known = session.get(Worker, owner)
    if known is None:
        session.add(Worker(owner=owner, started_at=now, heartbeat_at=now))
    else:
        known.heartbeat_at = now


def forget_worker(session: Session, owner: str) -> None:
    """Note that the worker has ended."""
    session.execute(delete(Worker).where(Worker.owner == owner))


def worker_owners(session: Session) -> list[str]:
    """Every worker that is listed, living or not."""
    return list(session.scalars(select(Worker.owner)))


def forget_silent_workers(session: Session, timeout_seconds: float) -> None:
    """Drop workers whose last heartbeat is long past."""
    session.execute(delete(Worker).where(Worker.heartbeat_at < utcnow() - timedelta(seconds=timeout_seconds)))


def live_workers(session: Session, timeout_seconds: float) -> int:
    """Workers whose last heartbeat is younger than the timeout."""
    fresh = Worker.heartbeat_at >= utcnow() - timedelta(seconds=timeout_seconds)
    return session.scalar(select(func.count()).select_from(Worker).where(fresh)) or 0


def check_writable(session: Session) -> None:
    """Raises SQLAlchemyError if the database cannot be written."""
    session.execute(update(Worker).where(Worker.owner == "").values(owner=""))
