"""The tables. Times are UTC; a metric's device is NULL where the metric has none."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class SearchState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ExportState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class TimingState(StrEnum):
    QUEUED = "QUEUED"
    LEASED = "LEASED"
    DONE = "DONE"
    FAILED = "FAILED"


FINISHED = (SearchState.SUCCEEDED, SearchState.FAILED, SearchState.CANCELLED)
"""States of a search that never change again."""


def utcnow() -> datetime:
    return datetime.now(UTC)


class Utc(TypeDecorator[datetime]):
    """An aware UTC time; SQLite stores it without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Utc, dict[str, Any]: JSON, str: Text}  # noqa: RUF012 (SQLAlchemy reads it)


class Search(Base):
    """One search. ``running_since`` is set once, so elapsed time survives restarts."""

    __tablename__ = "searches"
    __table_args__ = (Index("ix_searches_created_at_id", "created_at", "id"), Index("ix_searches_state", "state"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str]
    spec: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    phase: Mapped[str | None] = mapped_column(String(32))
    progress_done: Mapped[int] = mapped_column(default=0)
    progress_total: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[dict[str, Any]] = mapped_column(default=dict)
    report_card: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    error_hint: Mapped[str | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    idempotency_key: Mapped[str | None] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime]
    running_since: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    owner: Mapped[str | None]
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)


class Trial(Base):
    """One architecture of a search, in its latest version."""

    __tablename__ = "trials"
    __table_args__ = (UniqueConstraint("search_id", "number"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id", ondelete="CASCADE"))
    number: Mapped[int]
    architecture: Mapped[str]
    architecture_id: Mapped[str] = mapped_column(String(128))
    fingerprint: Mapped[str] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(16))
    rung: Mapped[int]
    epochs: Mapped[int]
    proxies: Mapped[dict[str, Any]]
    notes: Mapped[dict[str, Any]]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    measurements: Mapped[list["Measurement"]] = relationship(order_by="Measurement.position", lazy="raise")
    search: Mapped[Search] = relationship(lazy="raise")


class Measurement(Base):
    """One figure of a trial; ``position`` keeps the order in which the engine holds them."""

    __tablename__ = "measurements"

    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    metric: Mapped[str] = mapped_column(String(64))
    device: Mapped[str | None] = mapped_column(String(200))
    rung: Mapped[int]
    value: Mapped[float]
    error: Mapped[float | None]
    source: Mapped[str] = mapped_column(String(16))


class Export(Base):
    """A finished bundle of one trial, written by a worker."""

    __tablename__ = "exports"
    __table_args__ = (Index("ix_exports_state", "state"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"), index=True)
    format: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    report: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    error_hint: Mapped[str | None]
    created_at: Mapped[datetime]
    running_since: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    owner: Mapped[str | None]
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    trial: Mapped[Trial] = relationship(lazy="raise")


class DeviceProfile(Base):
    """What is known of a device for one space and task; ``path`` is relative to the data folder."""

    __tablename__ = "device_profiles"

    device: Mapped[str] = mapped_column(String(200), primary_key=True)
    space: Mapped[str] = mapped_column(String(200), primary_key=True)
    task: Mapped[str] = mapped_column(String(200), primary_key=True)
    path: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    report: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Space(Base):
    """A search space of a user's own, stored by name; ``definition`` is the whole document."""

    __tablename__ = "spaces"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    definition: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Agent(Base):
    """A remote device's program; what it said of its machine is null before it first connects."""

    __tablename__ = "agents"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    token_sha256: Mapped[str] = mapped_column(String(64))
    cpu: Mapped[str | None]
    runtime_version: Mapped[str | None]
    threads: Mapped[int | None]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime | None]


class TimingJob(Base):
    """A file that an agent times; those of a batch together. ``path`` is relative to the data folder.

    Not leased after ``wanted_until``, which whoever waits for the samples keeps ahead of the clock.
    """

    __tablename__ = "timing_jobs"
    __table_args__ = (UniqueConstraint("batch", "position"), Index("ix_timing_jobs_agent_state", "agent", "state"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    agent: Mapped[str] = mapped_column(ForeignKey("agents.name", ondelete="CASCADE"))
    batch: Mapped[str] = mapped_column(String(64))
    position: Mapped[int]
    device: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64))
    path: Mapped[str]
    size: Mapped[int]
    visits: Mapped[int]
    visit_s: Mapped[float]
    seed: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    samples: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    wanted_until: Mapped[datetime]
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)


class Worker(Base):
    """A worker process; gone when its heartbeat is old."""

    __tablename__ = "workers"

    owner: Mapped[str] = mapped_column(String(300), primary_key=True)
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
