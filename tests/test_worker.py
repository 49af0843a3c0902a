"""The worker and the supervisor as real processes: a search to its end, a kill, a stop, a busy port."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from support_service import SPEC, make_settings, make_trial, wait_until

from api import leases, processes, store, trial_store
from api.db import Database, open_database
from api.models import Search
from api.settings import Settings
from nas.spec import SearchSpec
from nas.trial import TrialState

TINY: dict[str, Any] = {
    **SPEC,
    # no device: profiling is tested where it lives
    "objectives": [{"metric": "accuracy"}, {"metric": "macs"}],
    "constraints": [{"metric": "macs", "max": 500_000}],
    "score": "params",
    "strategy": "random",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path, heartbeat_seconds=0.2)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.url)
    yield opened
    opened.close()


@contextmanager
def worker(settings: Settings, module: str = "api.worker") -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **settings.environment()}
    with (settings.data_dir / "worker.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=20)


def submit(database: Database, **changes: Any) -> str:
    with database.write() as session:
        return store.create_search(session, SearchSpec.model_validate(TINY | changes)).id


def read(database: Database, search_id: str) -> Search:
    with database.read() as session:
        return store.get_search(session, search_id)


def ended(database: Database, search_id: str) -> bool:
    return read(database, search_id).state in ("SUCCEEDED", "FAILED", "CANCELLED")


def states(database: Database, search_id: str) -> dict[int, tuple[str, int]]:
    with database.read() as session:
        return {t.number: (t.state, t.rung) for t in trial_store.load_trials(session, search_id)}


def test_a_killed_worker_loses_nothing_and_the_next_one_finishes(settings: Settings, database: Database) -> None:
    search_id = submit(database)
    with worker(settings) as first:
        wait_until(lambda: any(rung >= 1 for _, rung in states(database, search_id).values()))
        first.kill()
        first.wait(timeout=20)
    before = read(database, search_id)
    with database.read() as session:
        recorded = trial_store.load_trials(session, search_id)
    assert before.state == "RUNNING"
    assert before.running_since is not None
    with worker(settings) as second:
        wait_until(lambda: ended(database, search_id))
        after = read(database, search_id)
        assert (after.state, after.error_message) == ("SUCCEEDED", None)
        assert after.running_since == before.running_since
        assert after.owner is None
        with database.read() as session:
            final = trial_store.load_trials(session, search_id)
        assert len(final) == TINY["budget"]["scored"]
        for old in recorded:  # every figure of the first worker is still there, as it was
            new = final[old.number]
            assert (new.architecture, new.proxies) == (old.architecture, old.proxies)
            assert new.measurements[: len(old.measurements)] == old.measurements
        succeeded = next(t for t in final if t.state == TrialState.SUCCEEDED)
        check_export(settings, database, search_id, succeeded.number)
        second.terminate()
        assert second.wait(timeout=20) == 0
    with database.read() as session:
        assert store.live_workers(session, 60) <= 1  # the killed one may still be listed, the stopped one is not


def check_export(settings: Settings, database: Database, search_id: str, number: int) -> None:
    with database.write() as session:
        trial = trial_store.load_rows(session, search_id)[number]
        export_id = store.create_export(session, trial, "onnx").id

    def state() -> str:
        with database.read() as session:
            return store.get_export(session, export_id).state

    wait_until(lambda: state() in ("SUCCEEDED", "FAILED"))
    with database.read() as session:
        row = store.get_export(session, export_id)
    assert (row.state, row.error_message) == ("SUCCEEDED", None)
    assert row.report is not None
    assert (settings.export_dir(export_id) / row.report["file"]).stat().st_size > 0


LONG = {"budget": {"scored": 20, "trainings": 4}, "rungs": [{"epochs": 1}, {"epochs": 5000}]}


def test_a_stopped_worker_gives_its_search_back_and_a_cancelled_one_ends(
    settings: Settings, database: Database
) -> None:
    search_id = submit(database, **LONG)
    with worker(settings) as first:
        wait_until(lambda: any(rung >= 1 for _, rung in states(database, search_id).values()))
        first.terminate()
        assert first.wait(timeout=20) == 0
    row = read(database, search_id)
    assert (row.state, row.owner, row.attempts) == ("RUNNING", None, 0)
    with worker(settings):
        wait_until(lambda: read(database, search_id).owner is not None)
        with database.write() as session:
            store.request_cancel(session, search_id)
        wait_until(lambda: ended(database, search_id))
    assert read(database, search_id).state == "CANCELLED"
    assert {state for state, _ in states(database, search_id).values()} <= {"SCORED", "CANCELLED", "PRUNED", "FAILED"}


def test_an_error_ends_the_search_and_not_the_worker(settings: Settings, database: Database) -> None:
    broken, infeasible = submit(database), submit(database)
    with database.write() as session:
        session.execute(update(Search).where(Search.id == broken).values(spec={"space": 3}))
        spec = {**TINY, "constraints": [{"metric": "macs", "max": 1}]}
        session.execute(update(Search).where(Search.id == infeasible).values(spec=spec))
    with worker(settings) as process:
        wait_until(lambda: ended(database, broken) and ended(database, infeasible))
        assert process.poll() is None
    first, second = read(database, broken), read(database, infeasible)
    assert (first.state, first.error_code) == ("FAILED", "internal_error")
    assert first.error_hint
    assert second.state == "FAILED"
    assert second.error_message is not None
    assert "macs" in second.error_message


def test_a_worker_that_lost_its_lease_writes_nothing_more(settings: Settings, database: Database) -> None:
    search_id = submit(database, **LONG)
    with worker(settings):
        wait_until(lambda: any(rung >= 1 for _, rung in states(database, search_id).values()))
        with database.write() as session:  # as if another worker had taken over
            taken = {"owner": "thief", "lease_token": "other"}
            session.execute(update(Search).where(Search.id == search_id).values(taken))
            held = leases.Claim(Search, search_id, "other")
            leases.renew(session, held, 600)
        before = states(database, search_id)
        # the worker is free again: it runs the next search to its end
        other = submit(database)
        wait_until(lambda: ended(database, other))
    assert states(database, search_id) == before
    assert (read(database, search_id).state, read(database, search_id).owner) == ("RUNNING", "thief")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


SUPERVISE = "import sys; from api.settings import Settings; from api.supervisor import run_service; "
SUPERVISE += "sys.exit(run_service(Settings()))"


@contextmanager
def supervised(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **settings.environment()}
    process = subprocess.Popen([sys.executable, "-c", SUPERVISE], env=environment, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        family = processes.descendants(process.pid)
        process.kill()
        process.communicate(timeout=20)
        processes.kill(family)


def healthy(settings: Settings) -> bool:
    try:
        url = f"http://127.0.0.1:{settings.port}/healthz"
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_the_service_restarts_its_worker_and_ends_with_all_its_processes(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, heartbeat_seconds=0.2, port=free_port())
    with supervised(settings) as service:
        wait_until(lambda: healthy(settings))
        database = open_database(settings.url)
        with database.read() as session:
            assert store.live_workers(session, 60) == 1
        family = processes.descendants(service.pid)
        (killed,) = [p for p in family if b"api.worker" in Path(f"/proc/{p.pid}/cmdline").read_bytes()]
        os.kill(killed.pid, signal.SIGKILL)
        wait_until(lambda: not processes.is_alive(killed))
        wait_until(lambda: len([p for p in processes.descendants(service.pid) if processes.is_alive(p)]) >= 2)
        wait_until(lambda: healthy(settings))
        database.close()
        family = processes.descendants(service.pid)
        service.terminate()
        assert service.wait(timeout=30) == 0
        assert [p for p in family if processes.is_alive(p)] == []
    assert (settings.log_dir / "worker.log").read_text().count("worker ready") == 2


def test_the_processes_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, heartbeat_seconds=0.2, port=free_port())
    with supervised(settings) as service:
        wait_until(lambda: healthy(settings))
        family = processes.descendants(service.pid)
        assert len(family) >= 2
        service.kill()
        wait_until(lambda: not any(processes.is_alive(p) for p in family))


@pytest.mark.parametrize("command", [["-c", SUPERVISE], ["-m", "api.serve"]])
def test_a_busy_port_is_told_in_one_line(tmp_path: Path, command: list[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = make_settings(tmp_path, port=other.getsockname()[1])
        environment = {**os.environ, **settings.environment()}
        done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert f"port {settings.port} on 127.0.0.1 is in use" in line
    assert "--port" in line
    assert not (settings.data_dir / "hwnas.sqlite3").exists()


def test_a_recorded_trial_is_what_the_next_worker_starts_from(database: Database) -> None:
    """What a worker would get as its history, after another one died between two records."""
    search_id = submit(database)
    with database.write() as session:
        held = leases.claim(session, Search, "first", 60, 5)
        assert held is not None
        trial_store.record_trials(session, held, [make_trial(0), make_trial(1)])
        trial_store.record_trials(session, held, [make_trial(1, state=TrialState.WAITING, rung=1, epochs=1)])
    with database.read() as session:
        history = trial_store.load_trials(session, search_id)
    assert [(t.number, t.state, t.rung) for t in history] == [(0, "SCORED", 0), (1, "WAITING", 1)]
