"""A whole search, from HTTP to a checked ONNX file, on the handwritten digits that scikit-learn ships.

Starts the service on its embedded default (SQLite, a local Ray), submits ``digits.json``, shows its
progress, prints the Pareto front and how right the latency predictions were, exports the winner, and ends
the service. Everything stays in ``./demo``: the database, the bundle, the front as JSON, and the logs.
"""

import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from api import console as render
from api.client import Client
from search_spaces.errors import NasError

FOLDER = Path("demo")
MARKER = FOLDER / ".hwnas-demo"
SPEC = Path(__file__).with_name("digits.json")
START_SECONDS = 90
SEARCH_SECONDS = 1200
EXPORT_SECONDS = 120

Json = dict[str, Any]


class DemoFailed(NasError):
    """The demo cannot go on; the message says why and the hint what to do."""


def main() -> int:
    console = Console()
    started = time.monotonic()
    try:
        prepare_folder(console)
        port = free_port()
        service = start_service(port)
        try:
            with Client(f"http://127.0.0.1:{port}") as client:
                run(client, service, console)
        finally:
            stop_service(service)
    except NasError as error:
        console.print(render.error_text(error))
        return 1
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    console.print(f"[dim]Done in {time.monotonic() - started:.0f} s. Database, bundle and logs are in ./{FOLDER}/[/]")
    return 0


def prepare_folder(console: Console) -> None:
    """An empty folder. One that an earlier demo left, whole or half, is replaced; any other is not touched."""
    if FOLDER.exists():
        if not MARKER.exists():
            raise DemoFailed(f"./{FOLDER} exists and is not from a demo", hint="move it away and try again")
        console.print(f"[dim]Replacing ./{FOLDER} of an earlier run.[/]")
        shutil.rmtree(FOLDER)
    FOLDER.mkdir()
    MARKER.touch()


def free_port() -> int:
    """A free port of the loopback address, so that a busy one is no reason to fail."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_service(port: int) -> subprocess.Popen[bytes]:
    log = (FOLDER / "service.log").open("wb")
    command = [sys.executable, "-m", "api.cli", "up", "--port", str(port), "--data-dir", str(FOLDER)]
    with log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def stop_service(service: subprocess.Popen[bytes]) -> None:
    if service.poll() is None:
        service.send_signal(signal.SIGTERM)
        try:
            service.wait(timeout=15)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait(timeout=5)


def run(client: Client, service: subprocess.Popen[bytes], console: Console) -> None:
    wait_ready(client, service)
    spec = json.loads(SPEC.read_text())
    search_id = client.submit(spec)["id"]
    console.print(f"Search [bold]{search_id}[/] runs; watch it at [link]{client.base_url}/searches/{search_id}[/link]")
    search = render.watch_search(client, search_id, console, timeout_s=SEARCH_SECONDS)
    if search["state"] != "SUCCEEDED":
        error = search["error"] or {"message": f"the search ended {search['state']}", "hint": ""}
        raise DemoFailed(error["message"], hint=f"{error['hint']} (logs: {FOLDER}/logs)".strip())
    front = client.front(search_id)
    trials = list(client.trials(search_id))
    (FOLDER / "front.json").write_text(json.dumps({"search": search, "front": front, "trials": trials}, indent=2))
    console.print(counts(trials, spec))
    console.print(render.front_table(front, spec))
    console.print(prediction_table(trials))
    export_winner(client, front, console)


def wait_ready(client: Client, service: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if service.poll() is not None:
            last = (FOLDER / "service.log").read_text().strip().splitlines()[-1:]
            raise DemoFailed(f"the service ended at once: {' '.join(last)}", hint=f"see {FOLDER}/service.log")
        try:
            client.wait_ready(timeout_s=1)
            return
        except NasError:
            time.sleep(0.1)
    raise DemoFailed(f"the service was not ready after {START_SECONDS} s", hint=f"see {FOLDER}/logs")


def counts(trials: list[Json], spec: Json) -> str:
    last = len(spec["rungs"])
    epochs = spec["rungs"][-1]["epochs"]
    first, final = (sum(trial["rung"] >= rung for trial in trials) for rung in (1, last))
    latencies = [
        m["value"] for t in trials for m in t["measurements"] if m["metric"] == "latency_ms" and m["rung"] == 0
    ]
    return (
        f"{len(trials)} candidates scored, {first} trained at the first rung, {final} to the last ({epochs} epochs); "
        f"their latency spans {max(latencies) / min(latencies):.0f} times"
    )


def prediction_table(trials: list[Json]) -> Table:
    """The error of predicted latency on every trained candidate, beside that of predicting a constant."""
    pairs = []
    for trial in trials:
        figures = {m["source"]: m["value"] for m in trial["measurements"] if m["metric"] == "latency_ms"}
        if "measured" in figures:
            pairs.append((figures["predicted"], figures["measured"]))
    measured = [m for _, m in pairs]
    constant = statistics.median(measured)
    table = Table(title=f"predicted against measured latency, {len(pairs)} networks", title_justify="left")
    table.add_column("")
    table.add_column("median error", justify="right")
    table.add_column("largest", justify="right")
    for name, errors in (
        ("prediction", [abs(p - m) / m for p, m in pairs]),
        ("a constant (the median)", [abs(constant - m) / m for m in measured]),
    ):
        table.add_row(name, f"{statistics.median(errors):.1%}", f"{max(errors):.1%}")
    return table


def export_winner(client: Client, front: Json, console: Console) -> None:
    """Exports the front's point of highest accuracy, downloads it, and prints what its checks found."""
    winner_id = render.winner_id(front["items"])
    export = client.wait_export(client.export(winner_id, "onnx")["id"], timeout_s=EXPORT_SECONDS)
    if export["state"] != "SUCCEEDED":
        raise DemoFailed(export["error"]["message"], hint=export["error"]["hint"])
    bundle = FOLDER / "bundle"
    client.download(export["id"], bundle / "model.onnx")
    report = export["report"]
    (bundle / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    parity, (latency, *_) = report["parity"], report["latency_ms"]
    test = report["test_accuracy"]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    for name, value in (
        ("winner", winner_id),
        ("file", f"{bundle / 'model.onnx'} ({report['file_bytes']:,} bytes, {report['params']:,} parameters)"),
        ("validation accuracy", f"{report['accuracy']['value']:.4f}"),
        ("test accuracy", f"{test['value']:.4f} ±{test['error']:.4f} (read once, decided nothing)"),
        (
            "ONNX against PyTorch",
            f"largest difference {parity['max_abs_difference']:.1e}, allowed {parity['tolerance']:.1e}",
        ),
        (
            f"latency on {latency['device']}",
            f"{latency['value']:.3f} ms ±{latency['error']:.3f} measured, "
            f"{latency['predicted']['value']:.3f} predicted",
        ),
    ):
        facts.add_row(name, value)
    console.print(facts)


if __name__ == "__main__":
    sys.exit(main())
