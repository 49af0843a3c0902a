"""``python -m api.worker``: claims searches and exports, and runs them one of each at a time.

SIGTERM or SIGINT: running jobs are told to stop and are given back unfinished; what does not stop in
time is left behind, and its children are ended. A worker that is killed loses its lease instead.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api import leases, processes, store
from api.db import Database, open_database
from api.jobs import Job, run_export_job, run_search_job
from api.leases import Claim, LeaseLost
from api.logs import configure_logs
from api.models import Export, Search
from api.settings import Settings

log = structlog.get_logger("worker")

RunJob = Callable[[Job], None]
T = TypeVar("T")


class Worker:
    """The loops of one worker process, each in a thread of its own, until ``stop`` is called."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.owner = processes.owner_name()
        self._stopping = threading.Event()
        self._claims: dict[str, Claim] = {}

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> bool:
        """Work until stopped; whether every job stopped in time."""
        loops = [
            threading.Thread(target=self._loop, args=(Search, run_search_job), name="searches", daemon=True),
            threading.Thread(target=self._loop, args=(Export, run_export_job), name="exports", daemon=True),
        ]
        self._try(self._beat)
        for loop in loops:
            loop.start()
        log.info("worker ready", owner=self.owner)
        while not self._stopping.wait(self.settings.heartbeat_seconds):
            self._try(self._beat)
        log.info("worker stopping")
        deadline = time.monotonic() + self.settings.shutdown_seconds
        for loop in loops:
            loop.join(timeout=max(0.0, deadline - time.monotonic()))
        for claim in list(self._claims.values()):  # of jobs that did not stop: nothing they write counts now
            self._try(partial(self._release, claim))
        self._try(self._forget)
        return not any(loop.is_alive() for loop in loops)

    def _loop(self, table: leases.Job, run: RunJob) -> None:
        """Claim a job, run it, and again."""
        while not self._stopping.is_set():
            claim = self._try(partial(self._claim, table))
            if claim is None:
                self._stopping.wait(self.settings.poll_seconds)
                continue
            self._claims[claim.id] = claim
            run(Job(claim, self.database, self.settings, self._stopping))
            self._claims.pop(claim.id, None)

    def _try(self, action: Callable[[], T]) -> T | None:
        """What the action returns; None where the database cannot be used now (the caller tries again)."""
        try:
            return action()
        except (SQLAlchemyError, LeaseLost) as error:
            log.warning("cannot use the database", error=str(error))
            return None

    def _claim(self, table: leases.Job) -> Claim | None:
        settings = self.settings
        with self.database.write() as session:
            for owner in leases.owners(session):
                if processes.is_dead(owner):
                    leases.expire_owner(session, owner)
            return leases.claim(session, table, self.owner, settings.lease_seconds, settings.max_attempts)

    def _beat(self) -> None:
        with self.database.write() as session:
            store.beat(session, self.owner)
            store.forget_silent_workers(session, 10 * self.settings.worker_timeout_seconds)
            for owner in store.worker_owners(session):
                if processes.is_dead(owner):
                    store.forget_worker(session, owner)

    def _release(self, claim: Claim) -> None:
        with self.database.write() as session:
            leases.release(session, claim)

    def _forget(self) -> None:
        with self.database.write() as session:
            store.forget_worker(session, self.owner)


def main() -> int:
    # Ray's handler in C++ would abort this process three seconds after a SIGTERM, whatever Python does
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
    configure_logs("worker")
    settings = Settings()
    database = open_database(settings.url)
    worker = Worker(database, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    processes.watch_parent(worker.stop)
    if worker.run():
        database.close()
        return 0
    log.warning("jobs did not stop in time")
    # a thread that still runs would keep the interpreter from ending
    processes.kill(processes.descendants(os.getpid()))
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
