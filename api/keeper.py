"""Keeps the lease of a running job, and knows why the job must stop."""

import threading
import time
from collections.abc import Callable
from typing import Self

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api import leases
from api.db import Database
from api.leases import Claim

log = structlog.get_logger("worker")

CANCEL_POLL_SECONDS = 0.5


class LeaseKeeper:
    """Renews a lease from a thread while a job runs. A context manager.

    ``cancelled`` reads from the database whether the job's user wants it to stop.
    """

    def __init__(
        self,
        database: Database,
        claim: Claim,
        lease_seconds: float,
        stopping: threading.Event,
        cancelled: Callable[[Session], bool],
    ) -> None:
        self._database = database
        self._claim = claim
        self._lease_seconds = lease_seconds
        self._stopping = stopping
        self._cancelled = cancelled
        self._lost = threading.Event()
        self._cancel = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease {claim.id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join(timeout=self._lease_seconds)

    def should_stop(self) -> str | None:
        """None, "cancel" (its user) or "shutdown" (this worker ends, or the job is another's now)."""
        if self._stopping.is_set() or self._lost.is_set():
            return "shutdown"
        return "cancel" if self._cancel.is_set() else None

    def _run(self) -> None:
        interval = min(CANCEL_POLL_SECONDS, self._lease_seconds / 6)
        renewed = time.monotonic()
        while not self._done.wait(interval):
            now = time.monotonic()
            try:
                if now - renewed >= self._lease_seconds / 3:
                    if not self._renew():
                        break
                    renewed = now
                with self._database.read() as session:
                    if self._cancelled(session):
                        self._cancel.set()
            except SQLAlchemyError as error:
                log.warning("cannot reach the database", job=self._claim.id, error=str(error))
                if now - renewed > self._lease_seconds:
                    break  # another worker may have the job by now
        else:
            return
        log.warning("lease lost", job=self._claim.id)
        self._lost.set()

    def _renew(self) -> bool:
        with self._database.write() as session:
            return leases.renew(session, self._claim, self._lease_seconds)
