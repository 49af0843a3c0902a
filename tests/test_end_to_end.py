"""The whole service as its user starts it: HTTP to a checked ONNX file, with the worker killed on the way."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from api.client import ApiError, Client
from nas.datasets import load_dataset

SPEC: dict[str, Any] = {
    "name": "end to end",
    "space": "mobilenet_v2_small",
    "dataset": "digits",
    "objectives": [{"metric": "accuracy"}, {"metric": "latency_ms", "device": "local-onnxruntime-b64"}],
    "constraints": [{"metric": "params", "max": 40_000}, {"metric": "macs", "max": 1_500_000}],
    "budget": {"scored": 24, "trainings": 6},
    "rungs": [{"epochs": 2}, {"epochs": 6}],
    "measure": "trained",
}
LIMIT_SECONDS = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[tuple[Client, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "api.cli", "up", "--port", str(port), "--data-dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            client.wait_ready(timeout_s=60)
            yield client, process
    finally:
        process.terminate()
        process.wait(timeout=15)


def worker_pid(supervisor: int) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError):
                continue
            if parent == supervisor and b"api.worker" in command:
                return int(entry.name)
    raise AssertionError("the service has no worker")


def completed(client: Client, search_id: str) -> dict[tuple[str, int], float]:
    """The accuracy of every rung recorded as complete."""
    return {
        (t["id"], m["rung"]): m["value"]
        for t in client.trials(search_id)
        for m in t["measurements"]
        if m["metric"] == "accuracy"
    }


def test_a_killed_worker_loses_nothing_and_repeats_nothing(
    service: tuple[Client, subprocess.Popen[bytes]], folder: Path
) -> None:
    client, supervisor = service
    search_id = client.submit(SPEC)["id"]
    deadline = time.monotonic() + LIMIT_SECONDS
    while len(completed(client, search_id)) < 2:
        assert time.monotonic() < deadline, client.get(search_id)
        assert client.get(search_id)["state"] in ("QUEUED", "RUNNING")
        time.sleep(0.1)
    victim = worker_pid(supervisor.pid)
    os.kill(victim, signal.SIGKILL)
    before = completed(client, search_id)
    trials_before = {t["id"]: t["architecture"] for t in client.trials(search_id)}
    workspace = folder / "searches" / search_id
    files = {path: path.stat().st_mtime_ns for path in workspace.rglob("rung*.pt")}
    ended = client.wait(search_id, timeout_s=LIMIT_SECONDS)
    assert ended["state"] == "SUCCEEDED", ended["error"]
    assert worker_pid(supervisor.pid) != victim
    after = completed(client, search_id)
    assert {key: after[key] for key in before} == before
    assert len(after) == 6 + 2
    trials = list(client.trials(search_id))
    assert len(trials) == SPEC["budget"]["scored"]
    assert {t["id"]: t["architecture"] for t in trials if t["id"] in trials_before} == trials_before
    # what was recorded as complete was not written again
    recorded = {
        f"trials/{t['number']}/rung{rung}.pt" for t in trials for (trial_id, rung) in before if trial_id == t["id"]
    }
    again = {path for path, changed in files.items() if path.stat().st_mtime_ns != changed}
    assert not {str(path.relative_to(workspace)) for path in again} & recorded


@pytest.fixture(scope="module")
def finished(service: tuple[Client, subprocess.Popen[bytes]]) -> tuple[Client, dict[str, Any]]:
    client, _ = service
    search = next(client.list(), None)
    assert search is not None
    assert search["state"] == "SUCCEEDED"
    return client, search


def test_the_front_is_measured(finished: tuple[Client, dict[str, Any]]) -> None:
    client, search = finished
    items = client.front(search["id"])["items"]
    assert items
    for item in items:
        assert item["metrics"]["accuracy"]["source"] == "measured"
        assert item["metrics"]["latency_ms"]["source"] == "measured"
        assert item["predicted"]["latency_ms"]["source"] == "predicted"
        assert 0 < item["metrics"]["accuracy"]["value"] <= 1
        assert item["metrics"]["params"]["value"] <= 40_000
    values = [(-i["metrics"]["accuracy"]["value"], i["metrics"]["latency_ms"]["value"]) for i in items]
    for a in values:
        assert not any(b[0] <= a[0] and b[1] <= a[1] and b != a for b in values)


def test_an_export_is_a_checked_file_that_runs(finished: tuple[Client, dict[str, Any]], tmp_path: Path) -> None:
    client, search = finished
    item = client.front(search["id"])["items"][0]
    export = client.wait_export(client.export(item["trial_id"])["id"], timeout_s=60)
    assert export["state"] == "SUCCEEDED", export["error"]
    path = client.download(export["id"], tmp_path / "model.onnx")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts["hwnas.architecture"] == item["architecture"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[-1]
    images, labels = load_dataset("digits").validation.images, load_dataset("digits").validation.labels
    if size == images.shape[-1]:
        (out,) = session.run(None, {"input": images.astype(np.float32)})
        accuracy = float((out.argmax(1) == labels).mean())
        assert accuracy == pytest.approx(item["metrics"]["accuracy"]["value"], abs=0.01)
    assert export["report"]["parity"]["max_abs_difference"] <= export["report"]["parity"]["tolerance"]
    assert json.dumps(export["report"]["latency_ms"][0]["source"]) == '"measured"'


def test_what_never_trained_cannot_be_exported(finished: tuple[Client, dict[str, Any]]) -> None:
    client, search = finished
    scored = next(t for t in client.trials(search["id"]) if t["state"] == "SCORED")
    with pytest.raises(ApiError) as caught:
        client.export(scored["id"])
    assert caught.value.status == 409
    assert caught.value.hint


def test_the_service_ends_with_all_its_processes(service: tuple[Client, subprocess.Popen[bytes]]) -> None:
    _, process = service
    family = descendants(process.pid)
    assert len(family) >= 2
    started = time.monotonic()
    process.terminate()
    assert process.wait(timeout=12) == 0
    assert time.monotonic() - started < 12  # a hang, not a speed, fails here
    alive = [pid for pid in family if Path(f"/proc/{pid}").exists() and not is_zombie(pid)]
    assert alive == []


def descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError):
                continue
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found[1:]


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True
