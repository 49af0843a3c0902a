"""The lease under which one worker runs a job (a search or an export).

A claim carries a token that is new each time. Whoever writes for a job shows its token, so a worker
that lost its lease, even to a later claim of its own process, can write nothing more. All changes are
compare-and-set: safe with any number of workers, on SQLite and PostgreSQL alike.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from api.models import Export, Search, utcnow


class LeaseLost(Exception):
    """Another worker may run the job now; this one must stop and write nothing more."""


Job = type[Search] | type[Export]

CLAIM_LIMIT = 20
"""Candidates that one call looks at; another worker may be faster on each of them."""

_RELEASED: dict[str, Any] = {"owner": None, "lease_token": None, "lease_expires_at": None}


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one job until its lease ends; renewed by whoever holds it."""

    table: Job
    id: str
    token: str


def claim(session: Session, table: Job, owner: str, lease_seconds: float, max_attempts: int) -> Claim | None:
    """The oldest job that nobody runs, now RUNNING under a new lease; None if there is none.

    A job on which ``max_attempts`` workers died in a row, with no progress between, ends FAILED instead.
    """
    for _ in range(CLAIM_LIMIT):
        now = utcnow()
        free = _free(table, now)
        candidate = select(table.id, table.attempts).where(free).order_by(table.created_at, table.id).limit(1)
        row = session.execute(candidate).one_or_none()
        if row is None:
            return None
        if row.attempts >= max_attempts:
            _give_up(session, table, row.id, free, row.attempts)
            continue
        taken = Claim(table, row.id, secrets.token_hex(8))
        values: dict[str, Any] = {
            "state": "RUNNING",
            "running_since": func.coalesce(table.running_since, now),
            "owner": owner,
            "lease_token": taken.token,
            "lease_expires_at": now + timedelta(seconds=lease_seconds),
            "attempts": table.attempts + 1,
        }
        if _update(session, table, (table.id == row.id, free), values):
            return taken
    return None


def _free(table: Job, now: datetime) -> ColumnElement[bool]:
    expired = or_(table.lease_expires_at.is_(None), table.lease_expires_at < now)
    return or_(table.state == "QUEUED", and_(table.state == "RUNNING", expired))


def _give_up(session: Session, table: Job, job_id: str, free: ColumnElement[bool], attempts: int) -> None:
    values = {
        "state": "FAILED",
        "finished_at": utcnow(),
        "error_code": "worker_died",
        "error_message": f"{attempts} workers in a row died on this job without recording anything",
        "error_hint": "the worker's log says why; a common reason is too little memory",
        **_RELEASED,
    }
    _update(session, table, (table.id == job_id, free), values)


def renew(session: Session, held: Claim, lease_seconds: float) -> bool:
    """Whether the claim still holds; if so, its lease now ends ``lease_seconds`` from now."""
    values = {"lease_expires_at": utcnow() + timedelta(seconds=lease_seconds)}
    return _update(session, held.table, _held(held), values)


def write(session: Session, held: Claim, **values: Any) -> None:
    """Write columns of a job that the claim holds; LeaseLost otherwise."""
    if not _update(session, held.table, _held(held), values):
        raise LeaseLost(f"the lease on {held.id} is lost")


def progress(session: Session, held: Claim) -> None:
    """Note that the job went on, so that earlier deaths no longer count; LeaseLost if not held."""
    # 1, not 0: the attempt that makes the progress is itself still open
    write(session, held, attempts=1)


def finish(session: Session, held: Claim, state: str, **values: Any) -> None:
    """End a job that the claim holds; LeaseLost otherwise."""
    write(session, held, state=state, finished_at=utcnow(), **values, **_RELEASED)


def release(session: Session, held: Claim) -> None:
    """Give a running job back unfinished, for any worker to go on with; LeaseLost if not held."""
    # a worker that ends in good order has not died on the job
    write(session, held, attempts=held.table.attempts - 1, **_RELEASED)


def owners(session: Session) -> set[str]:
    """Everyone who is down as running a job."""
    found: set[str] = set()
    tables: tuple[Job, ...] = (Search, Export)
    for table in tables:
        rows = session.scalars(select(table.owner).where(table.state == "RUNNING").distinct())
        found.update(owner for owner in rows if owner is not None)
    return found


def expire_owner(session: Session, owner: str) -> None:
    """End the leases of an owner that is known to be dead, so that others need not wait for them."""
    tables: tuple[Job, ...] = (Search, Export)
    for table in tables:
        _update(session, table, (table.state == "RUNNING", table.owner == owner), {"lease_expires_at": None})


def _held(held: Claim) -> tuple[ColumnElement[bool], ...]:
    table = held.table
    return (table.id == held.id, table.lease_token == held.token, table.state == "RUNNING")


def _update(session: Session, table: Job, where: tuple[ColumnElement[bool], ...], values: dict[str, Any]) -> bool:
    statement = update(table).where(*where).values(values).execution_options(synchronize_session=False)
    return bool(session.execute(statement).rowcount)  # type: ignore[attr-defined]
