"""The queue of files that agents time. A batch is timed together by one agent under one lease.

Every function works inside the session it is given and never commits. A job that is DONE is never timed again.
"""

import secrets
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from api.errors import Conflict, NotFound
from api.models import Agent, TimingJob, TimingState, utcnow
from latency_models.agent import LEAST_VISITS
from search_spaces.errors import InvalidSpec, NasError

MAX_JOBS = 512
MAX_BATCH_BYTES = 512 * 1024 * 1024
"""Of one lease; what is left of a batch is leased next."""
MAX_RUNS = 1000
MAX_NS = 24 * 3600 * 10**9
MAX_ERROR_LENGTH = 1000
_KEPT = timedelta(hours=1)

_OPEN = (TimingState.QUEUED, TimingState.LEASED)
_NO_LEASE: dict[str, Any] = {"lease_token": None, "lease_expires_at": None}


def add_jobs(session: Session, jobs: Sequence[TimingJob], wanted_s: float) -> None:
    """Puts the jobs of one batch into the queue; those that are there already are kept, with their samples."""
    now = utcnow()
    batch = jobs[0].batch
    keep_wanted(session, batch, wanted_s)
    known = set(session.scalars(select(TimingJob.position).where(TimingJob.batch == batch)))
    for job in jobs:
        if job.position not in known:
            job.id, job.state, job.attempts = secrets.token_hex(16), TimingState.QUEUED, 0
            job.created_at, job.wanted_until = now, now + timedelta(seconds=wanted_s)
            session.add(job)


def list_batch(session: Session, batch: str) -> list[TimingJob]:
    """The jobs of a batch, in order."""
    return list(session.scalars(select(TimingJob).where(TimingJob.batch == batch).order_by(TimingJob.position)))


def batch_states(session: Session, batch: str) -> list[str]:
    """The states of a batch's jobs, in order; the samples are not read."""
    return list(session.scalars(select(TimingJob.state).where(TimingJob.batch == batch).order_by(TimingJob.position)))


def keep_wanted(session: Session, batch: str, wanted_s: float) -> None:
    """Note that someone still waits for a batch."""
    until = utcnow() + timedelta(seconds=wanted_s)
    session.execute(update(TimingJob).where(TimingJob.batch == batch).values(wanted_until=until))


def drop_batch(session: Session, batch: str) -> None:
    """Forget a batch: its samples were taken over, or nobody wants them."""
    session.execute(delete(TimingJob).where(TimingJob.batch == batch))


def drop_forgotten(session: Session) -> list[str]:
    """Forget the batches for which nobody has waited for long, and name them."""
    old = TimingJob.wanted_until < utcnow() - _KEPT
    batches = list(session.scalars(select(TimingJob.batch).where(old).distinct()))
    session.execute(delete(TimingJob).where(TimingJob.batch.in_(batches)))
    return batches


def lease(session: Session, agent: Agent, lease_seconds: float, max_attempts: int) -> list[TimingJob]:
    """The free jobs of the batch that waits longest, now leased to the agent under a token of their own.

    Free is what is queued, or whose lease ran out. After ``max_attempts`` leases without samples a job is FAILED.
    """
    now = utcnow()
    mine = (TimingJob.agent == agent.name, TimingJob.state.in_(_OPEN), TimingJob.wanted_until >= now)
    order = (TimingJob.created_at, TimingJob.batch, TimingJob.position)
    open_jobs = session.scalars(select(TimingJob).where(*mine).order_by(*order).with_for_update())
    free = [job for job in open_jobs if job.lease_expires_at is None or job.lease_expires_at < now]
    token = secrets.token_hex(16)
    leased: list[TimingJob] = []
    for job in free:
        if job.attempts >= max_attempts:
            _fail(job, f"given to the agent {job.attempts} times, and never came back with samples")
        elif not leased or (job.batch == leased[0].batch and _fits(leased, job)):
            job.state, job.lease_token, job.attempts = TimingState.LEASED, token, job.attempts + 1
            job.lease_expires_at = now + timedelta(seconds=lease_seconds)
            leased.append(job)
    return leased


def _fits(leased: Collection[TimingJob], job: TimingJob) -> bool:
    return len(leased) < MAX_JOBS and sum(other.size for other in leased) + job.size <= MAX_BATCH_BYTES


def renew(session: Session, agent: Agent, token: str, lease_seconds: float) -> bool:
    """Whether a job is still leased under the token; if so, the lease now ends ``lease_seconds`` from now."""
    now = utcnow()
    held = (TimingJob.agent == agent.name, TimingJob.lease_token == token, TimingJob.state == TimingState.LEASED)
    values = {"lease_expires_at": now + timedelta(seconds=lease_seconds)}
    result = session.execute(update(TimingJob).where(*held, TimingJob.wanted_until >= now).values(values))
    return bool(result.rowcount)  # type: ignore[attr-defined]


def release_all(session: Session, agent: Agent) -> None:
    """Back into the queue with what is leased to an agent that has just started: it knows nothing of it."""
    leased = (TimingJob.agent == agent.name, TimingJob.state == TimingState.LEASED)
    session.execute(update(TimingJob).where(*leased).values(state=TimingState.QUEUED, **_NO_LEASE))


def path_of(session: Session, agent: Agent, sha256: str) -> str:
    """Where the file of a job of this agent is. Raises: NotFound."""
    mine = (TimingJob.agent == agent.name, TimingJob.sha256 == sha256)
    path = session.scalar(select(TimingJob.path).where(*mine).limit(1))
    if path is None:
        raise NotFound("no job of this agent names this file", hint="ask for jobs again")
    return path


def record_error(session: Session, agent: Agent, job_id: str, token: str, error: str) -> None:
    """FAILED, as the agent reports: it could not run the file. Raises: NotFound, Conflict."""
    job = _leased(session, agent, job_id, token)
    if job is not None:
        _fail(job, "".join(c if c.isprintable() else " " for c in error)[:MAX_ERROR_LENGTH])


def record_samples(
    session: Session, agent: Agent, job_id: str, token: str, samples: Any, max_attempts: int
) -> NasError | None:
    """DONE with its samples; or the error in them, with the job back in the queue (FAILED at ``max_attempts``).

    Nothing is changed where the job is DONE already. Raises: NotFound, Conflict.
    """
    job = _leased(session, agent, job_id, token)
    if job is None:
        return None
    try:
        check_samples(samples, job.visits)
    except InvalidSpec as error:
        if job.attempts >= max_attempts:
            _fail(job, f"the agent sent {error.message}")
        else:
            job.state, job.lease_token, job.lease_expires_at = TimingState.QUEUED, None, None
        return error
    job.samples, job.state = samples, TimingState.DONE
    job.lease_expires_at = None
    return None


def check_samples(samples: Any, visits: int) -> None:
    """Raises InvalidSpec that names the first value which is not a possible time."""
    least = min(visits, LEAST_VISITS)
    if not isinstance(samples, list) or not least <= len(samples) <= visits:
        found = f"{len(samples)} visits" if isinstance(samples, list) else "no list"
        raise InvalidSpec(f"samples: {found}", hint=f"{least} to {visits} visits were asked for", field="samples")
    for i, visit in enumerate(samples):
        if not isinstance(visit, list) or not 1 <= len(visit) <= MAX_RUNS:
            hint = f"a list of 1 to {MAX_RUNS} times in nanoseconds"
            raise InvalidSpec(f"samples.{i}: no visit", hint=hint, field=f"samples.{i}")
        for j, value in enumerate(visit):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value <= MAX_NS:  # NaN is neither
                raise InvalidSpec(
                    f"samples.{i}.{j}: {str(value)[:50]} is no time",
                    hint="nanoseconds, finite and above 0, at most a day",
                    field=f"samples.{i}.{j}",
                )


def _leased(session: Session, agent: Agent, job_id: str, token: str) -> TimingJob | None:
    """The job, if it is leased under the token (which may have run out); None if it is DONE."""
    job = session.get(TimingJob, job_id, with_for_update=True)
    if job is None or job.agent != agent.name:
        raise NotFound("there is no such job: it was taken over or is no longer wanted", hint="ask for jobs again")
    if job.state == TimingState.DONE:
        return None
    if job.state != TimingState.LEASED or job.lease_token is None or job.lease_token != token:
        raise Conflict("the job is not leased under this token", hint="ask for jobs again")
    return job


def _fail(job: TimingJob, error: str) -> None:
    job.state, job.error, job.lease_token, job.lease_expires_at = TimingState.FAILED, error, None, None
