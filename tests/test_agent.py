"""Agents of remote devices: real server processes and real agent processes on this machine."""

import ast
import contextlib
import errno
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import onnxruntime as ort
import pytest
from sqlalchemy import select, text, update
from support_service import SPEC, make_settings, serving, wait_until
from typer.testing import CliRunner

from api import agent_store, timing_jobs
from api.cli import app
from api.db import Database, open_database
from api.models import Agent, TimingJob, TimingState, utcnow
from api.remote_timer import RemoteTimer, timer_of
from api.settings import Settings
from latency_models import agent as agent_program
from latency_models.device import parse_device
from latency_models.measure import REFERENCE_COPIES, LocalTimer, Timed, estimate, reference_graphs, time_workloads
from latency_models.runtimes import builder, loader
from latency_models.timing import Effort, MeasuringStopped, Workload
from search_spaces.errors import DeviceUnavailable, StorageFull

DEVICE = "pi4-onnxruntime"
FAST = Effort(visits=3, visit_s=0.0005)
SMALL = [Workload(reference_graphs(1)[0]), Workload(reference_graphs(4)[0]), Workload(reference_graphs(1)[1])]
MACHINE = {"protocol": 1, "cpu": "a CPU", "runtime_version": "1.2.3", "threads": 2}

TRIGGER = """
CREATE TRIGGER note AFTER UPDATE ON timing_jobs WHEN NEW.state IN ('DONE', 'FAILED')
BEGIN INSERT INTO stored VALUES (NEW.id, NEW.error); END
"""
"""Writes down each time that a job ends, also of those that are taken over and deleted."""


class Pi:
    """The service's folder, an agent's token, and what an agent would send."""

    def __init__(self, settings: Settings, client: httpx.Client, database: Database) -> None:
        self.settings = settings
        self.client = client
        self.database = database
        with self.database.write() as session:
            self.token = agent_store.add_agent(session, "pi4")

    def post(self, path: str, token: str | None = None, **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        # httpx would refuse NaN; a real agent's json does not
        return self.client.post(
            f"/v1/agents/pi4/{path}", content=json.dumps(body), headers={**headers, "Content-Type": "application/json"}
        )

    def jobs(self) -> list[TimingJob]:
        with self.database.read() as session:
            return list(session.scalars(select(TimingJob).order_by(TimingJob.position)))

    def ended(self) -> list[str]:
        """The ids of jobs in the order in which they ended, as often as they did."""
        with self.database.read() as session:
            return list(session.scalars(text("SELECT job FROM stored")))

    def queue(self, count: int = 1, visits: int = 2, model: bytes = b"") -> None:
        """Jobs with the same file, by default a small network."""
        model = model or builder("onnxruntime")(SMALL[0].graph, None, parse_device(DEVICE))
        (self.settings.data_dir / "model.onnx").write_bytes(model)
        jobs = [
            TimingJob(
                agent="pi4", batch="b", position=i, device=DEVICE, sha256=hashlib.sha256(model).hexdigest(),
                path="model.onnx", size=len(model), visits=visits, visit_s=0.001, seed=0,
            )
            for i in range(count)
        ]  # fmt: skip
        with self.database.write() as session:
            timing_jobs.add_jobs(session, jobs, wanted_s=60)

    @contextlib.contextmanager
    def agent(self, url: str = "", token: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """An agent process, from the file as the service hands it out."""
        program = self.settings.data_dir / "elsewhere" / "agent.py"
        program.parent.mkdir(exist_ok=True)
        program.write_bytes(Path(agent_program.__file__).read_bytes())
        command = [sys.executable, "-I", str(program), "--server", url or str(self.client.base_url), "--name", "pi4"]
        environment = {"PATH": os.environ["PATH"], "NO_PROXY": "*", "HWNAS_AGENT_TOKEN": token or self.token}
        with (self.settings.data_dir / "agent.log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, cwd=program.parent, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=20)

    def log(self) -> str:
        return (self.settings.data_dir / "agent.log").read_text()

    def greet(self) -> None:
        assert self.post("hello", **MACHINE).status_code == 200

    def lease(self) -> dict[str, Any]:
        answer = self.post("lease")
        assert answer.status_code == 200, answer.text
        batch: dict[str, Any] = answer.json()["batch"]
        return batch


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, httpx.Client, Database]]:
    settings = make_settings(tmp_path_factory.mktemp("agents"), lease_seconds=1.0)
    database = open_database(settings.url)
    with database.write() as session:
        session.execute(text("CREATE TABLE stored (job TEXT, error TEXT)"))
        session.execute(text(TRIGGER))
    with serving(settings) as client:
        yield settings, client, database
    database.close()


@pytest.fixture
def pi(running: tuple[Settings, httpx.Client, Database]) -> Iterator[Pi]:
    pi = Pi(*running)
    yield pi
    with pi.database.write() as session:
        agent_store.remove_agent(session, "pi4")
        session.execute(text("DELETE FROM stored"))
    (pi.settings.data_dir / "agent.log").unlink(missing_ok=True)


# what an operator does


def test_the_database_keeps_no_token(pi: Pi) -> None:
    with pi.database.read() as session:
        (row,) = agent_store.list_agents(session)
        assert row.token_sha256 == hashlib.sha256(pi.token.encode()).hexdigest()
    assert pi.token not in json.dumps(pi.client.get("/v1/agents").json())


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        ("pi4", 409, "there is an agent 'pi4' already"),
        ("local", 409, "the machine of the service"),
        ("cortex_m4", 409, "analytic"),
        ("a-b", 422, "name"),
        ("Pi", 422, "name"),
        ("", 422, "name"),
        ("x" * 33, 422, "name"),
    ],
)
def test_a_name_that_cannot_be(pi: Pi, name: str, status: int, told: str) -> None:
    answer = pi.client.post("/v1/agents", json={"name": name})
    assert answer.status_code == status
    assert told in answer.json()["error"]["message"]
    assert answer.json()["error"]["hint"]
    assert [agent["name"] for agent in pi.client.get("/v1/agents").json()["items"]] == ["pi4"]


def test_commands(pi: Pi) -> None:
    def hwnas(*arguments: str) -> tuple[int, str]:
        environment = {"HWNAS_URL": str(pi.client.base_url), "COLUMNS": "160", "TERM": "dumb", "NO_COLOR": "1"}
        result = CliRunner().invoke(app, list(arguments), env=environment)
        return result.exit_code, result.output

    code, text = hwnas("agents", "add", "shelf")
    assert code == 0
    assert "agent.py --server" in text
    with pi.database.read() as session:
        assert agent_store.authenticate(session, "shelf", text.split()[0]).name == "shelf"
    code, text = hwnas("agents")
    assert (code, "never" in text, "shelf" in text) == (0, True, True)
    assert hwnas("agents", "add", "shelf")[0] == 1
    assert hwnas("agents", "remove", "shelf")[0] == 0
    code, text = hwnas("agents", "remove", "shelf")
    assert code == 1
    assert "there is no agent 'shelf'" in text


def test_the_program_is_handed_out_as_it_is(pi: Pi) -> None:
    answer = pi.client.get("/v1/agent.py")
    assert answer.content == Path(agent_program.__file__).read_bytes()


def test_its_devices_are_listed_and_available_while_it_is_heard_of(pi: Pi) -> None:
    def device() -> dict[str, Any]:
        found = {row["name"]: row for row in pi.client.get("/v1/devices").json()["items"]}
        row: dict[str, Any] = found[DEVICE]
        return row

    before = device()
    assert (before["available"], before["local"], before["runtime"]) == (False, False, "onnxruntime")
    assert before["install"] == "python agent.py --server URL --token TOKEN --name pi4"
    pi.greet()
    assert device()["available"]
    with pi.database.write() as session:
        session.execute(update(Agent).values(last_seen_at=utcnow() - timedelta(minutes=2)))
    assert not device()["available"]


@pytest.mark.parametrize(("host", "status"), [("pi4", 202), ("pi5", 409)])
def test_a_search_may_name_the_device_of_an_agent(pi: Pi, host: str, status: int) -> None:
    objectives = [{"metric": "accuracy"}, {"metric": "latency_ms", "device": f"{host}-onnxruntime"}]
    answer = pi.client.post("/v1/searches", json={**SPEC, "objectives": objectives})
    assert answer.status_code == status, answer.text
    if status == 409:
        assert "hwnas agents add pi5" in answer.json()["error"]["hint"]


# the service's side of the protocol


@pytest.mark.parametrize("token", ["", "wrong", "tök"])
def test_a_wrong_token_is_refused_everywhere(pi: Pi, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".strip().encode()}
    calls = [("POST", "hello", MACHINE), ("POST", "lease", {}), ("POST", "renew", {"lease": "x"})]
    calls += [("POST", "jobs/x", {"lease": "x", "samples": []}), ("GET", f"files/{'0' * 64}", {})]
    for method, path, body in calls:
        answer = pi.client.request(method, f"/v1/agents/pi4/{path}", json=body, headers=headers)
        assert answer.status_code == 401, path
        assert "token" in answer.json()["error"]["message"]
    assert pi.client.post("/v1/agents/nobody/lease", headers=headers).status_code == 401
    assert pi.client.post("/v1/agents/pi4/lease").status_code == 401


def test_another_protocol_is_refused(pi: Pi) -> None:
    answer = pi.post("hello", **{**MACHINE, "protocol": 2})
    assert answer.status_code == 409
    assert "/v1/agent.py" in answer.json()["error"]["hint"]


@pytest.mark.parametrize(
    ("samples", "field"),
    [
        ([[1.0, float("nan")], [1.0]], "samples.0.1"),
        ([[1.0], [float("inf")]], "samples.1.0"),
        ([[1.0], [-5]], "samples.1.0"),
        ([[0], [1]], "samples.0.0"),
        ([[True], [1]], "samples.0.0"),
        ([["1"], [1]], "samples.0.0"),
        ([[10**400], [1]], "samples.0.0"),
        ([[1], []], "samples.1"),
        ([[1]], "samples"),
        ([[1], [1], [1]], "samples"),
        (None, "samples"),
        ({"0": [1], "1": [1]}, "samples"),
    ],
)
def test_samples_that_are_no_times(pi: Pi, samples: Any, field: str) -> None:
    pi.queue()
    batch = pi.lease()
    answer = pi.post(f"jobs/{batch['jobs'][0]['id']}", lease=batch["lease"], samples=samples)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith(f"{field}: ")
    (job,) = pi.jobs()
    assert (job.state, job.samples, job.attempts) == (TimingState.QUEUED, None, 1)


def test_bad_samples_again_and_again_end(pi: Pi) -> None:
    pi.queue()
    for _ in range(pi.settings.max_attempts):
        batch = pi.lease()
        assert pi.post(f"jobs/{batch['jobs'][0]['id']}", lease=batch["lease"], samples=[]).status_code == 422
    (job,) = pi.jobs()
    assert job.state == TimingState.FAILED
    assert "0 visits" in str(job.error)
    assert pi.lease() is None


def test_a_result_twice_changes_nothing(pi: Pi) -> None:
    pi.queue()
    batch = pi.lease()
    path = f"jobs/{batch['jobs'][0]['id']}"
    assert pi.post(path, lease=batch["lease"], samples=[[1, 2], [3.5]]).status_code == 204
    assert pi.post(path, lease=batch["lease"], samples=[[7], [7]]).status_code == 204
    assert pi.post(path, lease=batch["lease"], error="too late").status_code == 204
    (job,) = pi.jobs()
    assert (job.state, job.samples, job.error) == (TimingState.DONE, [[1, 2], [3.5]], None)
    assert pi.lease() is None


def test_an_expired_lease_is_free_and_its_old_token_worth_nothing(pi: Pi) -> None:
    pi.queue(count=2)
    first = pi.lease()
    assert pi.lease() is None  # all is leased
    done, open_job = (job["id"] for job in first["jobs"])
    assert pi.post(f"jobs/{done}", lease=first["lease"], samples=[[1], [1]]).status_code == 204
    with pi.database.write() as session:
        session.execute(update(TimingJob).values(lease_expires_at=utcnow()))
    second = pi.lease()
    assert [job["id"] for job in second["jobs"]] == [open_job]  # what is done is not timed again
    assert pi.post("renew", lease=first["lease"]).json() == {"held": False}
    assert pi.post("renew", lease=second["lease"]).json() == {"held": True}
    assert pi.post(f"jobs/{open_job}", lease=first["lease"], samples=[[2], [2]]).status_code == 409
    assert pi.post(f"jobs/{open_job}", lease=second["lease"], samples=[[3], [3]]).status_code == 204
    assert [job.samples for job in pi.jobs()] == [[[1], [1]], [[3], [3]]]


def test_a_result_that_comes_late_but_first_counts(pi: Pi) -> None:
    pi.queue()
    batch = pi.lease()
    with pi.database.write() as session:
        session.execute(update(TimingJob).values(lease_expires_at=utcnow()))
    assert pi.post(f"jobs/{batch['jobs'][0]['id']}", lease=batch["lease"], samples=[[1], [1]]).status_code == 204


def test_an_agent_that_starts_again_gets_what_it_held(pi: Pi) -> None:
    pi.queue()
    pi.lease()
    assert pi.lease() is None
    pi.greet()
    assert pi.lease() is not None


def test_an_agent_sees_only_its_own_jobs_and_files(pi: Pi) -> None:
    pi.queue()
    batch = pi.lease()
    other = pi.client.post("/v1/agents", json={"name": "shelf"}).json()["token"]
    headers = {"Authorization": f"Bearer {other}"}
    job = batch["jobs"][0]
    url = "/v1/agents/shelf"
    assert pi.client.get(f"{url}/files/{job['sha256']}", headers=headers).status_code == 404
    body = {"lease": batch["lease"], "samples": [[1], [1]]}
    assert pi.client.post(f"{url}/jobs/{job['id']}", json=body, headers=headers).status_code == 404
    assert pi.client.post(f"{url}/lease", json={}, headers=headers).json() == {"batch": None}
    assert pi.client.get(f"/v1/agents/pi4/files/{job['sha256']}", headers=headers).status_code == 401
    assert pi.client.delete("/v1/agents/shelf").status_code == 204


# the agent as a process of its own


def test_the_agent_needs_only_python_and_onnxruntime() -> None:
    tree = ast.parse(Path(agent_program.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {a.name for node in imports if isinstance(node, ast.Import) for a in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in names}
    assert roots - sys.stdlib_module_names == {"numpy", "onnxruntime"}
    assert not roots & {"subprocess", "pickle", "shutil", "socket", "importlib", "ctypes"}


def test_an_agent_times_what_the_service_asks_for(pi: Pi) -> None:
    with pi.agent():
        wait_until(lambda: pi.client.get("/v1/agents").json()["items"][0]["threads"])
        timer = timer_of(pi.database, pi.settings, DEVICE)
        samples = timer.time(SMALL, effort=FAST)
        assert timer.machine() == LocalTimer(parse_device("local-onnxruntime")).machine()
        batched = timer_of(pi.database, pi.settings, f"{DEVICE}-b4").time(SMALL[:1], effort=FAST)
    assert [len(visits) for visits in [*samples, *batched]] == [3, 3, 3, 3]
    assert all(estimate(visits).value > 0 for visits in [*samples, *batched])
    assert pi.jobs() == []  # taken over
    assert list((pi.settings.data_dir / "timing").iterdir()) == []
    (row,) = pi.client.get("/v1/agents").json()["items"]
    assert row["connected"]


def test_a_killed_agent_loses_nothing_and_times_nothing_twice(pi: Pi) -> None:
    work = SMALL * 3
    chunks: list[int] = []
    effort = Effort(visits=10, visit_s=0.001, chunk=3)

    def time_all() -> list[Timed]:
        timer = RemoteTimer(pi.database, pi.settings, parse_device(DEVICE))
        return time_workloads(work, timer, effort=effort, on_chunk=lambda start, timed: chunks.append(start))

    with pi.agent() as first:
        wait_until(lambda: pi.client.get("/v1/agents").json()["items"][0]["threads"])
        with ThreadPoolExecutor(1) as pool:
            timing = pool.submit(time_all)
            wait_until(lambda: chunks == [0] and any(job.state == TimingState.LEASED for job in pi.jobs()))
            first.send_signal(signal.SIGKILL)
            first.wait(timeout=20)
            assert not timing.done()
            with pi.agent():
                found = timing.result(timeout=100)
    assert len(found) == len(work)
    assert chunks == [0, 3, 6]
    references = REFERENCE_COPIES * len(reference_graphs(1))
    ended = pi.ended()
    assert len(ended) == len(set(ended)) == len(work) + len(chunks) * references


def test_an_agent_sets_onnxruntime_up_as_this_machine_does(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Any]] = []
    entries = ("session.intra_op.allow_spinning",)
    names = ("intra_op_num_threads", "inter_op_num_threads", "execution_mode", "graph_optimization_level")

    def open_session(model: bytes, options: ort.SessionOptions, providers: list[str]) -> Any:
        found = [getattr(options, name) for name in names]
        seen.append([*found, *(options.get_session_config_entry(entry) for entry in entries), providers])
        return real(model, options, providers=providers)

    real = ort.InferenceSession
    device = parse_device("local-onnxruntime-t2-b4")
    model = builder("onnxruntime")(SMALL[0].graph, None, device)
    monkeypatch.setattr(ort, "InferenceSession", open_session)
    loader("onnxruntime")(model, device)()
    agent_program.load_onnx(model, threads=2, batch_size=4)()
    assert seen[0] == seen[1]
    assert seen[0][0] == 2


def test_a_wrong_token_ends_the_agent(pi: Pi) -> None:
    with pi.agent(token="wrong") as process:
        assert process.wait(timeout=60) == 1
    assert "this is not the token of agent 'pi4'" in pi.log()


def test_a_removed_agent_ends(pi: Pi) -> None:
    with pi.agent() as process:
        wait_until(lambda: "ready" in pi.log())
        pi.client.delete("/v1/agents/pi4")
        assert process.wait(timeout=60) == 1
        with pi.database.write() as session:
            agent_store.add_agent(session, "pi4")


def test_an_agent_ends_in_good_order(pi: Pi) -> None:
    with pi.agent() as process:
        wait_until(lambda: "ready" in pi.log())
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_a_changed_file_is_not_run(pi: Pi) -> None:
    pi.queue(count=2)
    path = pi.settings.data_dir / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pi.agent():
        wait_until(lambda: len(pi.ended()) == 2)
    assert {job.state for job in pi.jobs()} == {TimingState.FAILED}
    assert all("SHA-256" in str(job.error) and "not run" in str(job.error) for job in pi.jobs())


def test_a_file_that_is_no_model_is_reported_and_the_others_timed(pi: Pi) -> None:
    pi.queue()
    good = pi.jobs()[0]
    bad = pi.settings.data_dir / "bad.onnx"
    bad.write_bytes(b"no model")
    with pi.database.write() as session:
        fields = {c.name: getattr(good, c.name) for c in TimingJob.__table__.columns}
        digest = hashlib.sha256(b"no model").hexdigest()
        fields |= {"id": "f" * 32, "position": 1, "sha256": digest, "path": "bad.onnx", "size": 8}
        session.add(TimingJob(**fields))
    with pi.agent():
        wait_until(lambda: len(pi.ended()) == 2)
    first, second = pi.jobs()
    assert (first.state, second.state) == (TimingState.DONE, TimingState.FAILED)
    assert "onnxruntime" in str(second.error)


def test_a_failure_reaches_whoever_waits(pi: Pi) -> None:
    timer = RemoteTimer(pi.database, pi.settings, parse_device(DEVICE))
    pi.greet()
    with ThreadPoolExecutor(1) as pool:
        timing = pool.submit(timer.time, SMALL, effort=FAST)
        wait_until(lambda: len(pi.jobs()) == len(SMALL))
        batch = pi.lease()
        pi.post(f"jobs/{batch['jobs'][1]['id']}", lease=batch["lease"], error="out of\nmemory")
        with pytest.raises(DeviceUnavailable, match="pi4 did not time 1 of the files; number 1: out of memory"):
            timing.result(timeout=60)
    assert pi.jobs() == []
    assert pi.post("renew", lease=batch["lease"]).json() == {"held": False}


def test_a_server_that_comes_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = make_settings(tmp_path, port=port, lease_seconds=1.0)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        database = open_database(settings.url)
        pi = Pi(settings, client, database)
        timer = RemoteTimer(database, settings, parse_device(DEVICE))
        with pi.agent(), ThreadPoolExecutor(1) as pool:  # the agent is there before the server
            with server(settings):
                wait_until(lambda: "ready" in pi.log())
                timing = pool.submit(timer.time, SMALL, effort=Effort(visits=100, visit_s=0.003))
                wait_until(lambda: any(job.state == TimingState.LEASED for job in pi.jobs()))
                wait_until(lambda: "timing" in pi.log())
            wait_until(lambda: "trying again" in pi.log().partition("timing")[2])  # it has samples and nobody to tell
            assert not timing.done()
            with server(settings):
                samples = timing.result(timeout=100)
        assert [len(visits) for visits in samples] == [100, 100, 100]
        assert pi.log().count("timing") == 1  # what it had timed was kept, and sent
        database.close()


@contextlib.contextmanager
def server(settings: Settings) -> Iterator[None]:
    environment = {**os.environ, **settings.environment()}
    process = subprocess.Popen(
        [sys.executable, "-m", "api.serve"], env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(timeout=20)


# whoever waits for an agent


def test_a_silent_agent_is_given_up(pi: Pi) -> None:
    with pytest.raises(DeviceUnavailable, match="pi4 has never connected") as error:
        timer_of(pi.database, pi.settings, DEVICE).machine()
    assert "agent.py --server" in error.value.hint
    pi.greet()
    timer = RemoteTimer(pi.database, pi.settings, parse_device(DEVICE), silence_s=0.3)
    with pytest.raises(DeviceUnavailable, match="pi4 has said nothing for") as error:
        timer.time(SMALL, effort=FAST)
    assert "agent.py --server" in error.value.hint
    assert pi.jobs() == []


def test_stopping_takes_the_jobs_away(pi: Pi) -> None:
    pi.greet()
    timer = RemoteTimer(pi.database, pi.settings, parse_device(DEVICE))
    leases: list[dict[str, Any]] = []

    def stop() -> bool:
        if pi.jobs():
            leases.append(pi.lease())
        return bool(leases)

    with pytest.raises(MeasuringStopped):
        timer.time(SMALL, effort=FAST, should_stop=stop)
    assert pi.jobs() == []
    assert pi.post("renew", lease=leases[0]["lease"]).json() == {"held": False}


def test_what_was_timed_for_one_that_died_is_found_again(pi: Pi) -> None:
    pi.greet()
    timer = RemoteTimer(pi.database, pi.settings, parse_device(DEVICE))
    files = [builder("onnxruntime")(work.graph, None, timer.device) for work in SMALL]
    timer._submit(timer._key(files, FAST, 0, timer.machine()), files, FAST, 0)  # as far as a killed process came
    batch = pi.lease()
    for job in batch["jobs"]:
        pi.post(f"jobs/{job['id']}", lease=batch["lease"], samples=[[5], [6], [7]])
    assert timer.time(SMALL, effort=FAST) == [[[5], [6], [7]]] * 3


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pi5-onnxruntime", "there is no agent 'pi5'"),
        ("pi4-openvino", "agents run onnxruntime only"),
        ("pi4-onnxruntime-t3", "the agent's machine has 2 threads"),
    ],
)
def test_a_device_that_the_agent_is_not(pi: Pi, name: str, told: str) -> None:
    pi.greet()
    with pytest.raises(DeviceUnavailable, match=told) as error:
        timer_of(pi.database, pi.settings, name).machine()
    assert error.value.hint


def test_a_full_disk_leaves_nothing(pi: Pi, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    pi.greet()
    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(StorageFull, match="no space left"):
        RemoteTimer(pi.database, pi.settings, parse_device(DEVICE)).time(SMALL, effort=FAST)
    assert pi.jobs() == []
    assert list((pi.settings.data_dir / "timing").iterdir()) == []
