"""What a worker does with a claim: run the search, or write the export, and record how it ended."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api import leases, store, trial_store
from api.db import Database
from api.errors import kind_of
from api.keeper import LeaseKeeper
from api.leases import Claim, LeaseLost
from api.models import utcnow
from api.present import spec_of
from api.profile_store import Profiles
from api.settings import Settings
from latency_models.analytic import analytic_predictor
from nas.trial import Trial
from search_spaces.errors import NasError

if TYPE_CHECKING:
    from nas.search import Outcome
    from nas.waves import ReportCard

log = structlog.get_logger("worker")

PHASE_SECONDS = 0.3
"""Progress within a phase is written at most this often."""


@dataclass(frozen=True)
class Job:
    """A claim, and what it takes to work on it."""

    claim: Claim
    database: Database
    settings: Settings
    stopping: threading.Event

    def write(self, action: Callable[..., None], **values: object) -> None:
        """One transaction in which ``action`` writes under the claim. Raises: LeaseLost."""
        with self.database.write() as session:
            action(session, self.claim, **values)


class SearchRecorder:
    """Stores what ``run_search`` reports."""

    def __init__(self, job: Job, rejected_before: Mapping[str, int]) -> None:
        self._job = job
        self._rejected_before = Counter(rejected_before)
        self._phase: tuple[str, int, int] | None = None
        self._written = 0.0
        self._rejected: dict[str, int] = {}

    def trials(self, trials: Sequence[Trial]) -> None:
        """New versions of trials, in one transaction. Raises: LeaseLost."""
        self._job.write(trial_store.record_trials, trials=trials)

    def phase(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun = self._phase is None or self._phase[0] != phase
        if not begun and done < total and now - self._written < PHASE_SECONDS:
            return
        if self._phase != (phase, done, total):
            self._job.write(leases.write, phase=phase, progress_done=done, progress_total=total)
            self._phase, self._written = (phase, done, total), now

    def rejected(self, counts: Mapping[str, int]) -> None:
        if counts != self._rejected:
            # a strategy counts from its own start, the search over all of its workers
            self._job.write(leases.write, rejected=dict(self._rejected_before + Counter(counts)))
            self._rejected = dict(counts)

    def report_card(self, card: "ReportCard") -> None:
        self._job.write(leases.write, report_card=asdict(card))


def run_search_job(job: Job) -> None:
    """Runs or resumes a search. Whatever goes wrong ends up in its row, and the worker lives on."""
    _guarded(job, _run_search)


def run_export_job(job: Job) -> None:
    """Writes the bundle of an export. Whatever goes wrong ends up in its row, and the worker lives on."""
    _guarded(job, _run_export)


def _guarded(job: Job, run: Callable[[Job], None]) -> None:
    log.info("started", job=job.claim.id)
    try:
        run(job)
    except LeaseLost as error:
        log.warning("left to another worker", job=job.claim.id, reason=str(error))
    except Exception as error:
        _record_failure(job, error)


def _record_failure(job: Job, error: Exception) -> None:
    """The error becomes the end of the job; if even that cannot be written, its lease will run out."""
    log.error("failed", job=job.claim.id, exc_info=error)
    if isinstance(error, NasError):
        values = {"error_code": kind_of(error).code, "error_message": error.message, "error_hint": error.hint}
    else:
        message = f"{type(error).__name__}: {error}"
        values = {"error_code": "internal_error", "error_message": message, "error_hint": "the worker's log says more"}
    try:
        job.write(leases.finish, state="FAILED", **values)
    except (LeaseLost, SQLAlchemyError) as failure:
        log.error("cannot record the failure", job=job.claim.id, reason=str(failure))


def _run_search(job: Job) -> None:
    from nas.runners import make_runner
    from nas.search import run_search

    settings, search_id = job.settings, job.claim.id
    with job.database.read() as session:
        row = store.get_search(session, search_id)
        history = trial_store.load_trials(session, search_id)
    running_since = row.running_since or utcnow()
    ray_options = {"address": settings.ray_address, "cpus": settings.ray_cpus} if settings.runner == "ray" else {}
    options = {name: value for name, value in ray_options.items() if value is not None}
    workspace = settings.search_dir(search_id)
    workspace.mkdir(parents=True, exist_ok=True)
    keeper = LeaseKeeper(
        job.database,
        job.claim,
        settings.lease_seconds,
        job.stopping,
        lambda session: store.cancel_requested(session, search_id),
    )
    with keeper, make_runner(settings.runner, **options) as runner:
        outcome = run_search(
            spec_of(row),
            history,
            runner=runner,
            profiles=Profiles(job.database, settings),
            workspace=workspace,
            observer=SearchRecorder(job, row.rejected or {}),
            should_stop=keeper.should_stop,
            elapsed_s=lambda: max(0.0, (utcnow() - running_since).total_seconds()),
            analytic_of=partial(analytic_predictor, own=settings.devices_file),
        )
        _record_outcome(job, outcome)  # before the runner's processes end, which takes time


def _record_outcome(job: Job, outcome: "Outcome") -> None:
    log.info("ended", job=job.claim.id, state=outcome.state, message=outcome.message)
    if outcome.state == "STOPPED":
        job.write(leases.release)
        return
    failed = outcome.state == "FAILED"
    job.write(
        leases.finish,
        state=outcome.state,
        error_code="search_failed" if failed else None,
        error_message=outcome.message if failed else None,
        error_hint=outcome.hint if failed else None,
    )


def _run_export(job: Job) -> None:
    from nas.exporters import export

    settings, export_id = job.settings, job.claim.id
    with job.database.read() as session:
        row = store.get_export(session, export_id)
        trial = trial_store.as_trial(trial_store.get_trial(session, row.trial_id))
        search = row.trial.search
    keeper = LeaseKeeper(job.database, job.claim, settings.lease_seconds, job.stopping, lambda session: False)
    folder = settings.export_dir(export_id)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with keeper:
        report = export(
            spec_of(search),
            trial,
            workspace=settings.search_dir(search.id),
            folder=folder,
            format=row.format,
            timer_of=Profiles(job.database, settings).timer,
        )
    log.info("ended", job=export_id, state="SUCCEEDED")
    job.write(leases.finish, state="SUCCEEDED", report=report)
