"""The database: an engine, short transactions, and the migration to the newest tables.

A session is one transaction: it commits when its block ends, and nobody commits in the middle.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

BUSY_TIMEOUT_SECONDS = 20
_BEGIN = "hwnas_begin"
_MIGRATION_LOCK = 0x68776E6173  # any fixed number: the key of PostgreSQL's advisory lock


class Database:
    """Sessions on one engine.

    A writing session takes SQLite's write lock when it begins: a transaction that reads first and
    writes later would otherwise fail at once, without waiting, when another one wrote in between.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._read = sessionmaker(engine, expire_on_commit=False)
        self._write = sessionmaker(engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}), expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads."""
        with self._read.begin() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that writes; committed when the block ends, rolled back when it raises."""
        with self._write.begin() as session:
            yield session

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str) -> Database:
    """The database at a SQLAlchemy address, with its tables at the newest version."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = make_engine(url)
    upgrade_database(engine)
    return Database(engine)


def make_engine(url: str) -> Engine:
    """An engine whose JSON columns refuse NaN, which PostgreSQL and JSON readers would not take."""
    parsed = make_url(url)
    serializer = partial(json.dumps, allow_nan=False)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, json_serializer=serializer, pool_pre_ping=True)
    engine = create_engine(parsed, json_serializer=serializer, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    raw: Any = connection
    raw.isolation_level = None  # transactions are begun by _begin_sqlite, not by the driver
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        raw.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def upgrade_database(engine: Engine) -> None:
    """Bring the tables to the newest version; two processes that start together take turns."""
    from alembic import command

    with engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Any:
    """Alembic's configuration for an open connection (no ini file: the settings are ours)."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
