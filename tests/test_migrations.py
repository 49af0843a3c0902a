"""The migrations: they agree with the models, and processes that start together take turns."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from api.db import alembic_config, make_engine, open_database, upgrade_database
from api.models import Base


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return make_engine(f"sqlite:///{tmp_path / 'test.sqlite3'}")


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))


def test_migrations_make_the_tables_of_the_models(engine: Engine) -> None:
    assert differences(engine)  # an empty database differs, or the comparison sees nothing
    upgrade_database(engine)
    assert differences(engine) == []
    engine.dispose()


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    upgrade_database(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO workers VALUES ('w', '2026-01-01 00:00:00', '2026-01-01 00:00:00')"))
    upgrade_database(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM workers")) == 1
    engine.dispose()


def test_downgrade_removes_every_table(engine: Engine) -> None:
    upgrade_database(engine)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_a_failed_migration_leaves_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: object, revision: str) -> None:
        real(config, revision)
        raise RuntimeError("no power")

    real: Callable[[object, str], None] = command.upgrade  # type: ignore[assignment]
    monkeypatch.setattr(command, "upgrade", fail)
    with pytest.raises(RuntimeError, match="no power"):
        upgrade_database(engine)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_processes_that_start_together_take_turns(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'test.sqlite3'}"
    code = f"from api.db import open_database; open_database({url!r}).close()"
    starting = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(4)]
    for process in starting:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    plain = create_engine(url)
    assert differences(plain) == []
    plain.dispose()


def test_sqlite_is_set_up_for_two_processes(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'test.sqlite3'}")
    with database.read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        assert session.scalar(text("PRAGMA busy_timeout")) > 0
    database.close()
