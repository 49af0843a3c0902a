"""The command line and its client, against the real application."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support_seeding as seeding
import support_service
import yaml
from rich.console import Console
from support_service import serving
from typer.testing import CliRunner, Result

from api import leases, net, store, trial_store
from api.cli import app
from api.client import ApiError, Client, ServerUnreachable, WaitTimeout
from api.console import progress_view, report_value, watch_search
from api.db import Database, open_database
from api.figures import NOTHING
from api.models import Export, Search
from api.settings import Settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings.url)
    yield database
    database.close()


@pytest.fixture(scope="module")
def url(settings: Settings, database: Database) -> Iterator[str]:
    with serving(settings) as client:
        yield str(client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def finished(database: Database) -> str:
    return seeding.finished(database)


@pytest.fixture
def nowhere() -> str:
    """An address at which nothing answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def hwnas(*arguments: str, url: str | None = None, **options: Any) -> Result:
    environment = {"COLUMNS": "160", "TERM": "dumb", "NO_COLOR": "1", "HWNAS_URL": url}
    return CliRunner().invoke(app, list(arguments), env=environment, **options)


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    code = """
import sys
from typer.testing import CliRunner
from api.cli import app
result = CliRunner().invoke(app, ["--help"])
assert result.exit_code == 0, result.output
for name in "up submit watch list show front export cancel devices spaces profile space estimate agents agent".split():
    assert name in result.output, name
heavy = {"torch", "ray", "optuna", "numpy", "sqlalchemy", "fastapi", "httpx", "onnx"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_version() -> None:
    from importlib.metadata import version

    assert hwnas("--version").output == f"hwnas {version('hwnas')}\n"


def test_submit_prints_the_id_alone(url: str, tmp_path: Path) -> None:
    spec = {**seeding.SPEC, "objectives": [{"metric": "accuracy"}, {"metric": "params"}], "name": "by file"}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    by_file = hwnas("submit", str(tmp_path / "spec.json"), url=url)
    by_pipe = hwnas("submit", "-", url=url, input=json.dumps({**spec, "name": "by pipe"}))
    with Client(url) as client:
        for result, name in ((by_file, "by file"), (by_pipe, "by pipe")):
            assert result.exit_code == 0, result.output
            search = client.get(result.stdout.strip())
            assert (search["name"], search["state"]) == (name, "QUEUED")
            # also leaves nothing that another test could claim
            assert hwnas("cancel", search["id"], url=url).stdout == "cancelled\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "does not hold a JSON object"),
        ('{"space": "mobilenet_v2_small"}', "dataset"),
        (json.dumps({**seeding.SPEC, "space": "mobilenet_v2_smal"}), "did you mean 'mobilenet_v2_small'"),
    ],
)
def test_a_bad_specification_is_told_and_nothing_is_stored(url: str, text: str, message: str) -> None:
    with Client(url) as client:
        before = len(list(client.list()))
        result = hwnas("submit", "-", url=url, input=text)
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stdout == ""
        assert len(list(client.list())) == before


def test_a_file_that_is_not_there(url: str) -> None:
    result = hwnas("submit", "no-such-file.json", url=url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot read no-such-file.json" in result.stderr


def test_front_has_one_row_a_trial_and_marks_the_winner(url: str, finished: str) -> None:
    front = json.loads(hwnas("front", finished, "--json", url=url).stdout)
    lines = hwnas("front", finished, url=url).stdout.splitlines()
    rows = {item["trial_id"]: next(line for line in lines if item["trial_id"] in line) for item in front["items"]}
    assert len(rows) >= 3
    for item in front["items"]:
        metrics, row = item["metrics"], rows[item["trial_id"]]
        for figure in (metrics["accuracy"], metrics["latency_ms"]):
            assert f"{figure['value']:.3f} ±{figure['error']:.3f}".replace("±0", "±") in row
        assert f"{item['predicted']['latency_ms']['value']:.3f} ±" in row
        assert f"{metrics['params']['value'] / 1e3:.0f}k" in row
    best = max(front["items"], key=lambda item: item["metrics"]["accuracy"]["value"])
    assert [trial for trial, row in rows.items() if "★" in row] == [best["trial_id"]]


def test_front_before_there_is_one(url: str, database: Database) -> None:
    result = hwnas("front", seeding.exploring(database), url=url)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "no trial has been measured yet" in result.stderr


def test_list_and_show(url: str, finished: str, database: Database) -> None:
    failed = seeding.failed(database)
    listed = hwnas("list", "--state", "failed", url=url).stdout
    assert failed in listed
    assert finished not in listed
    shown = hwnas("show", failed, url=url).stdout
    assert "rejected every one" in shown
    assert '"mobilenet_v2_small"' in shown
    assert json.loads(hwnas("show", finished, "--json", url=url).stdout)["id"] == finished


def test_devices_and_spaces(url: str) -> None:
    assert "local-onnxruntime" in hwnas("devices", url=url).stdout
    assert "15,625" in hwnas("spaces", url=url).stdout  # NAS-Bench-201


def test_built_in_spaces_are_listed_without_a_service() -> None:
    with socket.socket() as probe:  # a port that nobody listens on
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listed = hwnas("spaces", url=f"http://127.0.0.1:{port}")
    assert "15,625" in listed.stdout
    assert "only the built-in spaces" in listed.stderr


def test_spaces_are_listed_with_what_can_be_chosen(url: str) -> None:
    lines = hwnas("spaces", url=url).stdout.splitlines()
    (row,) = [line for line in lines if line.split()[:1] == ["mobilenet_v2"]]
    for part in ("1.36e18", "49", "mobilenetv2_035 + 4", "Sandler et al. 2018"):
        assert part in row


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**support_service.SPACE, "name": "mine"}))
    return path


def test_a_space_in_a_file_needs_no_service(nowhere: str, space_file: Path) -> None:
    checked = hwnas("space", "check", str(space_file), url=nowhere)
    assert re.fullmatch(r"mine@[0-9a-f]{12}: 40 architectures, 8 choices, .*\n", checked.stdout)
    assert hwnas("space", "check", str(space_file), "--input", "1x8x8", url=nowhere).stdout == checked.stdout
    shown = hwnas("space", "show", "--file", str(space_file), "--input", "1x8x8", url=nowhere).stdout
    for part in ("mine@", "1x8x8, 10 classes", "conv_bn_act", "body.layer1.ghost", "ghost_bottleneck", "8x4x4"):
        assert part in shown
    found = json.loads(hwnas("space", "show", "--file", str(space_file), "--json", url=nowhere).stdout)
    architecture = "width=1.0,body.depth=1,body.layer1.block=inverted,body.layer1.inverted.kernel=5"
    options = ["--file", str(space_file), "--arch", architecture, "--json"]
    chosen = json.loads(hwnas("space", "show", *options, url=nowhere).stdout)
    assert chosen["architecture"] == architecture
    assert chosen["params"] > found["params"]
    as_json = space_file.with_suffix(".json")
    as_json.write_text(json.dumps({**support_service.SPACE, "name": "mine"}))
    assert hwnas("space", "check", str(as_json), url=nowhere).stdout == checked.stdout
    assert hwnas("space", "check", "-", url=nowhere, input=space_file.read_text()).stdout == checked.stdout


def test_a_published_network_is_shown_in_numbers(nowhere: str) -> None:
    shown = hwnas("space", "show", "mobilenet_v2", "--preset", "mobilenetv2_100", url=nowhere).stdout
    for part in ("stage7.layer1", "inverted_residual", "320x7x7", "3,504,872", "300,774,272", "1,000 classes"):
        assert part in shown
    assert "stage1.cell1" in hwnas("space", "show", "nas_bench_201", "--input", "3x32x32", url=nowhere).stdout


def test_a_space_is_stored_used_and_removed(url: str, space_file: Path) -> None:
    added = hwnas("space", "add", str(space_file), url=url)
    assert re.fullmatch(r"mine@[0-9a-f]{12}\n", added.stdout)
    assert hwnas("space", "add", str(space_file), url=url).stdout == added.stdout
    assert added.stdout.strip() in hwnas("space", "show", "mine", url=url).stdout
    assert "mine" in [line.split()[0] for line in hwnas("spaces", url=url).stdout.splitlines() if line.strip()]
    spec = {**seeding.SPEC, "objectives": [{"metric": "accuracy"}], "space": "mine", "constraints": []}
    search = hwnas("submit", "-", url=url, input=json.dumps(spec)).stdout.strip()
    assert "mine" in next(line for line in hwnas("list", url=url).stdout.splitlines() if search in line)
    assert hwnas("cancel", search, url=url).stdout == "cancelled\n"
    assert hwnas("space", "remove", "mine", url=url).stdout == "removed mine\n"
    assert "no space 'mine'" in hwnas("space", "remove", "mine", url=url).stderr


def test_submit_puts_a_space_from_a_file_in(url: str, space_file: Path) -> None:
    spec = {**seeding.SPEC, "objectives": [{"metric": "accuracy"}], "constraints": []}
    result = hwnas("submit", "-", "--space", str(space_file), url=url, input=json.dumps(spec))
    assert result.exit_code == 0, result.stderr
    with Client(url) as client:
        assert client.get(result.stdout.strip())["spec"]["space"]["name"] == "mine"
    assert hwnas("cancel", result.stdout.strip(), url=url).stdout == "cancelled\n"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["check", "no-such-file.yaml"], "cannot read no-such-file.yaml", "YAML or JSON"),
        (["show"], "either NAME or --file", "hwnas spaces"),
        (["show", "mobilenet_v2", "--input", "3x224"], "no shape", "3x224x224"),
        (["show", "mobilenet_v2", "--preset", "resnet50"], "no preset of space mobilenet_v2", "mobilenetv2_100"),
        (["show", "mobilenet_v2", "--arch", "width=9"], "width=9 is no option", "0.35"),
        (["show", "mobilenet_v22"], "no built-in space", "did you mean 'mobilenet_v2'"),
        (["blocks", "ghost_botleneck"], "no block", "did you mean 'ghost_bottleneck'"),
    ],
)
def test_a_space_that_cannot_be_shown(nowhere: str, arguments: list[str], message: str, hint: str) -> None:
    result = hwnas("space", *arguments, url=nowhere)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert hint in result.stderr


def test_a_mistake_in_a_file_is_told_by_its_path(url: str, space_file: Path) -> None:
    space_file.write_text(space_file.read_text().replace("kernel: 3", "kernel: 4", 1))
    file = str(space_file)
    for command in (["space", "check", file], ["space", "add", file], ["submit", "-", "--space", file]):
        result = hwnas(*command, url=url, input=json.dumps(seeding.SPEC))
        assert result.exit_code == 1
        assert "stages.0.kernel: 4 is no kernel of block conv_bn_act" in result.stderr


def test_the_vocabulary_is_listed() -> None:
    listed = hwnas("space", "blocks").stdout
    for name in ("conv_bn_act", "ghost_bottleneck", "arXiv:1911.11907"):
        assert name in listed
    shown = hwnas("space", "blocks", "ghost_bottleneck").stdout
    for part in ("the stage sets: channels, stride", "required", "an odd whole number up to 31", "true or false"):
        assert part in shown


def test_watch_ends_with_the_search_and_its_exit_code_tells(url: str, finished: str, database: Database) -> None:
    succeeded = hwnas("watch", finished, url=url)
    assert succeeded.exit_code == 0
    assert "★" in succeeded.stdout
    failed = hwnas("watch", seeding.failed(database), url=url)
    assert failed.exit_code == 1
    assert "rejected every one" in failed.stderr
    assert "the least latency" in failed.stderr


def test_watch_is_live_on_a_terminal(url: str, finished: str) -> None:
    console = Console(force_terminal=True, width=140, file=io.StringIO())
    with Client(url) as client:
        search = watch_search(client, finished, console, timeout_s=30)
        best = client.best(finished)
    text = console.file.getvalue()
    assert search["state"] == "SUCCEEDED"
    assert best is not None
    assert f"best accuracy {best['metrics']['accuracy']['value']:.4f}" in text


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--device", "local-onnxrunti", "--space", "nas_bench_201"], "did you mean 'local-onnxruntime'"),
        (["--device", "local-onnxruntime", "--space", "nas_bench_20"], "did you mean 'nas_bench_201'"),
        (["--device", "local-onnxruntime", "--space", "nas_bench_201", "--dataset", "digit"], "did you mean 'digits'"),
    ],
)
def test_profile_of_what_is_unknown(tmp_path: Path, arguments: list[str], hint: str) -> None:
    result = hwnas("profile", *arguments, "--data-dir", str(tmp_path / "data"))
    assert result.exit_code == 1
    assert hint in result.stderr
    assert os.listdir(tmp_path) == []


def test_errors_of_the_server_keep_their_hint(url: str, finished: str) -> None:
    for arguments in (("show", "s_none"), ("watch", "s_none"), ("export", "t_none"), ("show", "../healthz")):
        result = hwnas(*arguments, url=url)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: there is no")
        assert len(result.stderr.splitlines()) == 2
    ended = hwnas("cancel", finished, url=url)
    assert "already ended" in ended.stderr
    with Client(url) as client, pytest.raises(ApiError) as caught:
        client.get("s_none")
    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_no_service(nowhere: str) -> None:
    result = hwnas("list", url=nowhere)
    assert result.exit_code == 1
    assert "hwnas up" in result.stderr
    assert "Traceback" not in result.output
    assert hwnas("list", url="http://[").exit_code == 1


def test_up_on_a_busy_port_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = hwnas("up", "--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert result.exit_code == 1
    assert f"port {port} on 127.0.0.1 is in use" in result.stderr


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    code = "from api.cli import app; app()"
    environment = {**os.environ, "HWNAS_LEASE_SECONDS": "soon"}
    done = subprocess.run(
        [sys.executable, "-c", code, "up", "--data-dir", str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "HWNAS_LEASE_SECONDS" in done.stderr
    assert "Traceback" not in done.stderr


def test_export_of_a_search_takes_its_winner(
    url: str, finished: str, database: Database, settings: Settings, tmp_path: Path
) -> None:
    with Client(url) as client:
        winner = client.front(finished)["items"][0]["trial_id"]
    stop = threading.Event()
    exporter = threading.Thread(target=_export_all, args=(database, settings, stop))
    exporter.start()
    try:
        result = hwnas("export", finished, "--output", str(tmp_path), url=url)
    finally:
        stop.set()
        exporter.join()
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(tmp_path / f"{winner}.onnx")
    assert (tmp_path / f"{winner}.onnx").read_bytes() == b"model" * 50_000
    assert "0.5 ±0.01 measured, predicted 0.6 ±0.05" in result.stdout
    assert os.listdir(tmp_path) == [f"{winner}.onnx"]


def _export_all(database: Database, settings: Settings, stop: threading.Event) -> None:
    """What a worker does with exports, but for the model itself."""
    while not stop.wait(0.05):
        with database.write() as session:
            claim = leases.claim(session, Export, "test", 60.0, 5)
            if claim is None:
                continue
            folder = settings.export_dir(claim.id)
            folder.mkdir(parents=True)
            (folder / "model.onnx").write_bytes(b"model" * 50_000)
            latency = {"value": 0.5, "error": 0.01, "source": "measured", "predicted": {"value": 0.6, "error": 0.05}}
            report = {"file": "model.onnx", "latency_ms": [latency]}
            leases.finish(session, claim, "SUCCEEDED", report=report)


def test_a_refused_download_leaves_nothing(url: str, finished: str, tmp_path: Path) -> None:
    with Client(url) as client:
        trial = client.front(finished)["items"][1]["trial_id"]
        export_id = client.export(trial)["id"]
        with pytest.raises(ApiError, match="QUEUED"):
            client.download(export_id, tmp_path / "model.onnx")
        with pytest.raises(WaitTimeout):
            client.wait_export(export_id, timeout_s=0.2, poll_s=0.05)
    assert os.listdir(tmp_path) == []


def test_submitting_again_after_a_lost_answer_starts_no_second_search(url: str) -> None:
    spec = {**seeding.SPEC, "objectives": [{"metric": "accuracy"}], "name": "once"}
    with Client(url) as client:
        first = client.submit(spec, idempotency_key="a-key-of-this-test")
        again = client.submit(spec, idempotency_key="a-key-of-this-test")
        other = client.submit(spec)
        assert first["id"] == again["id"] != other["id"]
        for search in (first, other):
            client.cancel(search["id"])


def test_waiting_outlives_a_restart_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path)
    database = open_database(settings.url)
    search_id = seeding.running(database)
    listener = net.bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    monkeypatch.setattr(support_service, "bind", lambda host, _: net.bind(host, port))
    answered, seen = threading.Event(), []

    def on_update(search: dict[str, Any]) -> None:
        seen.append(search["state"])
        answered.set()

    def follow() -> None:
        with Client(f"http://127.0.0.1:{port}") as client:
            seen.append(client.wait(search_id, timeout_s=60, on_update=on_update, poll_s=0.02)["state"])

    follower = threading.Thread(target=follow)
    with serving(settings):
        follower.start()
        assert answered.wait(30)
    # nobody answers now
    with database.write() as session:
        held = leases.Claim(Search, search_id, store.get_search(session, search_id).lease_token or "")
        leases.finish(session, held, "SUCCEEDED")
    database.close()
    with serving(settings):
        follower.join(30)
    assert not follower.is_alive()
    assert seen[0] == "RUNNING"
    assert seen[-1] == "SUCCEEDED"


def test_waiting_is_bounded(url: str, database: Database, nowhere: str) -> None:
    search_id = seeding.exploring(database)
    with Client(url) as client, pytest.raises(WaitTimeout, match="has not ended"):
        client.wait(search_id, timeout_s=0.2, poll_s=0.05)
    with Client(nowhere) as client:
        with pytest.raises(ServerUnreachable):
            client.wait(search_id, timeout_s=60, poll_s=0.05, reconnect_s=0.2)
        with pytest.raises(WaitTimeout, match="was not ready"):
            client.wait_ready(timeout_s=0.2, poll_s=0.05)
    with Client(url) as client, pytest.raises(WaitTimeout, match="no worker"):
        client.wait_ready(timeout_s=0.2, poll_s=0.05)
    with database.write() as session:
        store.beat(session, "a worker")
    with Client(url) as client:
        assert client.wait_ready(timeout_s=30)["status"] == "ok"


def test_every_page_of_a_list_is_followed(url: str, finished: str, database: Database) -> None:
    with Client(url) as client:
        numbers = [trial["number"] for trial in client.trials(finished, page_size=7, order_by="-number")]
        best = client.best(finished)
    assert numbers == list(range(299, -1, -1))
    with database.read() as session:
        trials = trial_store.load_trials(session, finished)
    assert best is not None
    assert best["metrics"]["accuracy"]["value"] == max(m.value for t in trials if (m := t.find("accuracy")))


def test_progress_says_how_far_and_how_good(url: str, database: Database) -> None:
    with Client(url) as client:
        search_id = seeding.running(database)
        search, best = client.get(search_id), client.best(search_id)
    console = Console(width=120, file=None, record=True, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(progress_view(search, best=best, front_size=2))
    text = captured.get()
    assert best is not None
    for part in ("RUNNING", "training", "14 of 18", "300 scored", "2 on the front"):
        assert part in text
    assert f"{best['metrics']['accuracy']['value']:.4f}" in text
    assert "after 30 epochs" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_234_567, "1,234,567"),
        (True, "yes"),
        (None, NOTHING),
        ({"value": 0.98333, "error": 0.011, "source": "measured"}, "0.98333 ±0.011 measured"),
        ({"onnx": "1.2", "torch": "2.3"}, "onnx 1.2, torch 2.3"),
        (["batch", 1, 8], "batch, 1, 8"),
    ],
)
def test_report_values(value: Any, text: str) -> None:
    assert report_value(value) == text
