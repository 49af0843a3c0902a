"""The worker and the supervisor as real processes: a search to its end, a kill, a stop, a busy port."""

import os
import re
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
from api.models import Export, Search
from api.settings import Settings
from nas.spec import SearchSpec
from nas.trial import Trial, TrialState
from search_spaces.definition_text import read_definition

GUIDE = Path(__file__).parent.parent / "docs" / "spaces.md"

TINY: dict[str, Any] = {
    **SPEC,
    # no device: profiling is tested where it lives
    "budget": {"scored": 6, "trainings": 2},
    "objectives": [{"metric": "accuracy"}, {"metric": "macs"}],
    "constraints": [{"metric": "macs", "max": 500_000}],
    "score": "params",
    "strategy": "random",
}


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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, subprocess.Popen[bytes]]]:
    """A worker that several tests give work to: it imports torch once for all of them."""
    settings = make_settings(tmp_path_factory.mktemp("shared"), heartbeat_seconds=0.2)
    database = open_database(settings.url)
    with worker(settings) as process:
        yield database, process
    database.close()


LONG = {"rungs": [{"epochs": 1}, {"epochs": 5000}]}


def in_training(database: Database, search_id: str) -> bool:
    """Whether a first rung is recorded."""
    return any(rung >= 1 for _, rung in states(database, search_id).values())


def test_a_killed_worker_loses_nothing_and_a_stopped_one_gives_back(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, heartbeat_seconds=0.2)
    database = open_database(settings.url)
    search_id = submit(database)
    with worker(settings) as first:
        wait_until(lambda: in_training(database, search_id))
        first.kill()
        first.wait(timeout=20)
    killed = read(database, search_id)
    assert (killed.state, killed.attempts) == ("RUNNING", 1)
    with database.read() as session:
        recorded = trial_store.load_trials(session, search_id)
    with worker(settings) as second:
        wait_until(lambda: ended(database, search_id))
        check_resumed(database, killed, recorded)
        check_export(settings, database, search_id)
        unfinished = submit(database, **LONG)
        wait_until(lambda: in_training(database, unfinished))
        second.terminate()
        assert second.wait(timeout=20) == 0
    row = read(database, unfinished)
    assert (row.state, row.owner, row.lease_expires_at, row.attempts) == ("RUNNING", None, None, 0)
    with database.read() as session:
        assert store.live_workers(session, 60) == 0  # neither the killed nor the stopped one is listed
    database.close()


def check_resumed(database: Database, killed: Search, recorded: list[Trial]) -> None:
    """The search ended well, and every figure of the first worker is still there as it was."""
    row = read(database, killed.id)
    assert (row.state, row.error_message) == ("SUCCEEDED", None)
    assert (row.running_since, row.owner) == (killed.running_since, None)
    with database.read() as session:
        final = trial_store.load_trials(session, killed.id)
    assert len(final) == TINY["budget"]["scored"]
    for old in recorded:
        new = final[old.number]
        assert (new.architecture, new.proxies) == (old.architecture, old.proxies)
        assert new.measurements[: len(old.measurements)] == old.measurements


def check_export(settings: Settings, database: Database, search_id: str) -> None:
    with database.write() as session:
        rows = trial_store.load_rows(session, search_id)
        trial = next(row for row in rows if row.state == TrialState.SUCCEEDED)
        export_id = store.create_export(session, trial, "onnx").id

    def read_export() -> Export:
        with database.read() as session:
            return store.get_export(session, export_id)

    wait_until(lambda: read_export().state in ("SUCCEEDED", "FAILED"))
    row = read_export()
    assert (row.state, row.error_message) == ("SUCCEEDED", None)
    assert row.report is not None
    assert (settings.export_dir(export_id) / row.report["file"]).stat().st_size > 0


def test_a_search_over_a_space_of_the_users_own(shared: tuple[Database, subprocess.Popen[bytes]]) -> None:
    database, _ = shared
    example = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0]
    definition = read_definition(example)
    search_id = submit(database, space=definition.document, score="naswot", constraints=[])
    wait_until(lambda: ended(database, search_id))
    row = read(database, search_id)
    assert (row.state, row.error_message) == ("SUCCEEDED", None)
    space = definition.space()
    with database.read() as session:
        trials = trial_store.load_trials(session, search_id)
    assert len(trials) == TINY["budget"]["scored"]
    for trial in trials:
        assert space.from_string(trial.architecture).id == trial.architecture_id
        assert trial.proxies["naswot"] is not None
    assert any(trial.find("accuracy", rung=2) for trial in trials)


def test_an_error_ends_the_search_and_not_the_worker(shared: tuple[Database, subprocess.Popen[bytes]]) -> None:
    database, process = shared
    with database.write() as session:  # in one transaction: the worker sees them broken
        broken = store.create_search(session, SearchSpec.model_validate(TINY)).id
        session.execute(update(Search).where(Search.id == broken).values(spec={"space": 3}))
    impossible = submit(database, constraints=[{"metric": "macs", "max": 1}])
    wait_until(lambda: ended(database, broken) and ended(database, impossible))
    first, second = read(database, broken), read(database, impossible)
    assert (first.state, first.error_code) == ("FAILED", "internal_error")
    assert first.error_hint
    assert (second.state, second.error_code) == ("FAILED", "search_failed")
    assert second.error_message is not None
    assert "macs" in second.error_message
    assert process.poll() is None


def test_a_cancelled_search_ends(shared: tuple[Database, subprocess.Popen[bytes]]) -> None:
    database, _ = shared
    search_id = submit(database, **LONG)
    wait_until(lambda: in_training(database, search_id))
    with database.write() as session:
        store.request_cancel(session, search_id)
    wait_until(lambda: ended(database, search_id))
    assert read(database, search_id).state == "CANCELLED"
    assert {state for state, _ in states(database, search_id).values()} <= {"SCORED", "CANCELLED", "PRUNED"}


def test_a_worker_that_lost_its_lease_writes_nothing_more(shared: tuple[Database, subprocess.Popen[bytes]]) -> None:
    database, _ = shared
    search_id = submit(database, **LONG)
    wait_until(lambda: in_training(database, search_id))
    with database.write() as session:  # as if another worker had taken over
        taken = {"owner": "thief", "lease_token": "other"}
        session.execute(update(Search).where(Search.id == search_id).values(taken))
        assert leases.renew(session, leases.Claim(Search, search_id, "other"), 600)
    before = states(database, search_id)
    other = submit(database, constraints=[{"metric": "macs", "max": 1}])
    wait_until(lambda: ended(database, other))  # the worker noticed, and is free for the next search
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
        log = settings.log_dir / "worker.log"
        wait_until(lambda: log.read_text().count("worker ready") == 2)
        assert not processes.is_alive(killed)
        wait_until(lambda: healthy(settings))
        database.close()
        family = processes.descendants(service.pid)
        service.terminate()
        assert service.wait(timeout=30) == 0
        assert [p for p in family if processes.is_alive(p)] == []


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


def test_a_recorded_trial_is_what_the_next_worker_starts_from(tmp_path: Path) -> None:
    """What a worker would get as its history, after another one died between two records."""
    database = open_database(f"sqlite:///{tmp_path / 'test.sqlite3'}")
    search_id = submit(database)
    with database.write() as session:
        held = leases.claim(session, Search, "first", 60, 5)
        assert held is not None
        trial_store.record_trials(session, held, [make_trial(0), make_trial(1)])
        trial_store.record_trials(session, held, [make_trial(1, state=TrialState.WAITING, rung=1, epochs=1)])
    with database.read() as session:
        history = trial_store.load_trials(session, search_id)
    assert [(t.number, t.state, t.rung) for t in history] == [(0, "SCORED", 0), (1, "WAITING", 1)]
    database.close()
