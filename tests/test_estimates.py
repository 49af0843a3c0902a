"""One network on one device without a search: over HTTP, on the command line, and on the page of a trial."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import support_seeding as seeding
from support_service import SPACE, serving
from typer.testing import CliRunner, Result

from api import store
from api.cli import app
from api.db import Database, open_database
from api.models import DeviceProfile, utcnow
from api.profile_store import task_key
from api.settings import Settings
from latency_models.analytic import analytic_predictor
from latency_models.device import parse_device
from latency_models.estimate import Estimate, Source
from latency_models.memory import memory_schedule
from latency_models.predictors import LayerEstimate
from latency_models.profile_file import NetworkRecord
from latency_models.roofline import observed_roof
from nas.spec import SearchSpec
from nas.trial import Trial
from search_spaces import Classification, Task, get_preset, get_space
from search_spaces.cost import weight_bytes
from search_spaces.deploy import deploy
from search_spaces.graph import Graph

PRESET = {"space": "mobilenet_v2", "preset": "mobilenetv2_100", "device": "phone_cpu"}
TASK = {"input_shape": [3, 8, 8], "classes": 2}
SMALL = get_space("mobilenet_v2_small")
ARCHITECTURE = SMALL.to_string(SMALL.sample(np.random.default_rng(0)))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("estimates"))


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings.url)
    yield database
    database.close()


@pytest.fixture(scope="module")
def client(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    with serving(settings) as client:
        yield client


def ask(client: httpx.Client, **asked: Any) -> dict[str, Any]:
    response = client.post("/v1/estimates", json=asked)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_document_has_what_the_predictor_says(client: httpx.Client) -> None:
    found = ask(client, **PRESET)
    graph = get_preset("mobilenetv2_100").graph()
    predictor = analytic_predictor("phone_cpu")
    assert (found["device"], found["runtime"], found["precision"]) == (
        "phone_cpu",
        "analytic",
        predictor.device.precision,
    )
    assert (found["input_shape"], found["classes"], found["preset"]) == ([3, 224, 224], 1000, "mobilenetv2_100")
    assert found["latency_ms"]["value"] == predictor.predict(graph).value
    assert found["latency_ms"]["source"] == "analytic"
    assert found["energy_mj"]["value"] == predictor.energy_mj(graph).value
    assert [one["nodes"] for one in found["layers"]] == [list(one.nodes) for one in predictor.layers(graph)]
    assert found["roof"]["peak_macs_per_s"] == predictor.roof.peak_macs_per_s
    assert (found["params"]["value"], found["macs"]["value"]) == (graph.params, graph.macs)
    assert found["report"] is None


def test_the_layers_and_the_call_add_up_to_the_network(client: httpx.Client) -> None:
    found = ask(client, **PRESET | {"device": "server_gpu-b8"})
    total = sum(one["latency_ms"]["value"] for one in found["layers"]) + found["overhead_ms"]["value"]
    assert total == pytest.approx(found["latency_ms"]["value"])
    shares = sum(one["share"] for one in found["layers"])
    assert shares + found["overhead_ms"]["value"] / found["latency_ms"]["value"] == pytest.approx(1.0)
    assert found["overhead_ms"]["value"] > 0
    assert sum(one["macs"] for one in found["layers"]) == 8 * found["macs"]["value"]
    assert [found["layers"][i]["efficiency"] for i in found["waterline"]["layers"]] == found["waterline"]["efficiency"]


@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("int8", 1)])
def test_memory_is_that_of_the_schedule(client: httpx.Client, precision: str, size: int) -> None:
    memory = ask(client, **PRESET)["memory"][precision]
    deployed = deploy(get_preset("mobilenetv2_100").graph())[0]
    schedule = memory_schedule(deployed, size)
    step = schedule.steps[memory["step"] - 1]
    assert memory["peak_bytes"]["value"] == step.bytes == schedule.peak_bytes
    assert (memory["nodes"], memory["steps"]) == (list(step.nodes), len(schedule.steps))
    assert memory["weight_bytes"]["value"] == weight_bytes(deployed, size)


def test_every_estimate_says_its_source_and_error(client: httpx.Client) -> None:
    found = ask(client, **PRESET)
    seen = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "value" in value:
                seen.append(value)
                assert value["source"] == "analytic"
                assert value["error"] is None or value["error"] >= 0
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(found)
    assert len(seen) > 2 * len(found["layers"])
    assert found["params"]["error"] == 0


def test_what_does_not_fit_is_said(client: httpx.Client) -> None:
    limits = {limit["name"]: limit for limit in ask(client, **PRESET | {"device": "cortex_m7"})["limits"]}
    assert not limits["flash_bytes"]["fits"]
    small = ask(client, space=SMALL.name, architecture=ARCHITECTURE, dataset="digits", device="cortex_m7")
    assert all(limit["fits"] for limit in small["limits"])
    assert {limit["name"] for limit in small["limits"]} == {"flash_bytes", "ram_bytes"}


@pytest.mark.parametrize(
    ("task", "shape", "classes"),
    [
        ({"dataset": "digits"}, [1, 8, 8], 10),
        ({"task": {"input_shape": [3, 40, 32], "classes": 7}}, [3, 40, 32], 7),
        ({}, [3, 224, 224], 10),
    ],
)
def test_the_input_is_what_is_asked_for(client: httpx.Client, task: Any, shape: list[int], classes: int) -> None:
    space = get_space("nas_bench_201")
    found = ask(client, space=space.name, architecture=space.to_string(space.cover()[0]), device="phone_cpu", **task)
    assert (found["input_shape"], found["classes"]) == (shape, classes)


def test_a_space_of_the_users_own(client: httpx.Client) -> None:
    from search_spaces.definition_text import parse_definition

    architecture = parse_definition(SPACE).space()
    text = architecture.to_string(architecture.smallest())
    inline = ask(client, space=SPACE, architecture=text, device="phone_cpu", dataset="digits")
    assert client.post("/v1/spaces", json=SPACE).status_code == 201
    stored = ask(client, space=SPACE["name"], architecture=text, device="phone_cpu", dataset="digits")
    assert inline == stored


@pytest.mark.parametrize(
    ("changed", "status", "code", "said"),
    [
        ({"device": "phone_cpi"}, 404, "not_found", "did you mean 'phone_cpu'"),
        ({"device": "local-onnxruntim"}, 404, "not_found", "local-onnxruntime"),
        ({"device": "pi9-onnxruntime"}, 404, "not_found", "pi9"),
        ({"device": "phone_cpu-b1"}, 404, "not_found", "write phone_cpu"),
        (
            {"device": "local-onnxruntime-b3", "dataset": "digits"},
            409,
            "device_unavailable",
            "hwnas profile --device local-onnxruntime-b3 --space mobilenet_v2 --dataset digits",
        ),
        ({"preset": None, "architecture": "width=9"}, 422, "invalid_architecture", "width"),
        ({"preset": "resnet50"}, 422, "invalid_spec", "resnet50"),
        ({"space": "mobilenet_v"}, 422, "unknown_name", "mobilenet_v2"),
        ({"dataset": "digit"}, 422, "unknown_name", "digits"),
        ({"preset": None}, 422, "invalid_spec", "either architecture"),
        ({"architecture": "width=1.0"}, 422, "invalid_spec", "either architecture"),
        (
            {"dataset": "digits", "task": {"input_shape": [3, 8, 8], "classes": 2}},
            422,
            "invalid_spec",
            "either dataset",
        ),
        ({"task": TASK | {"input_shape": [3, 0, 8]}}, 422, "invalid_spec", "task.input_shape"),
        ({"devise": "x"}, 422, "invalid_spec", "devise"),
    ],
)
def test_what_is_wrong_is_said(client: httpx.Client, changed: Any, status: int, code: str, said: str) -> None:
    asked = {key: value for key, value in (PRESET | changed).items() if value is not None}
    response = client.post("/v1/estimates", json=asked)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code), error
    assert said in f"{error['message']} {error['hint']}"


def test_a_device_file_of_the_users_own(tmp_path: Path) -> None:
    from latency_models.catalogue import BUILT_IN

    text = BUILT_IN.read_text(encoding="utf-8")
    (tmp_path / "devices.yaml").write_text(
        "devices:\n  my_mcu:" + text.split("  cortex_m4:")[1].split("\n\n")[0] + "\n", encoding="utf-8"
    )
    with serving(Settings(data_dir=tmp_path)) as client:
        mine = ask(client, **PRESET | {"device": "my_mcu"})
        theirs = ask(client, **PRESET | {"device": "cortex_m4"})
    assert mine | {"device": ""} == theirs | {"device": ""}


# the command line


def hwnas(*arguments: str, url: str = "http://127.0.0.1:1", columns: int = 100) -> Result:
    environment = {"COLUMNS": str(columns), "TERM": "dumb", "NO_COLOR": "1", "HWNAS_URL": url}
    return CliRunner().invoke(app, ["estimate", *arguments], env=environment)


def test_the_table_has_the_figures_of_the_document(client: httpx.Client) -> None:
    url = str(client.base_url).rstrip("/")
    found = ask(client, **PRESET)
    result = hwnas("mobilenet_v2", "--preset", "mobilenetv2_100", "--device", "phone_cpu", url=url)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert max(map(len, result.stdout.splitlines())) <= 100
    slowest = max(found["layers"], key=lambda one: one["latency_ms"]["value"])
    first = re.search(r"the 15 layers.*\n.*\n.*\n.*\n (\S+) +(\S+) +(\S+)", result.stdout).groups()
    assert (f"{first[0]}.conv", first[1]) == (slowest["name"], slowest["family"])
    assert float(first[2]) == pytest.approx(slowest["latency_ms"]["value"], rel=0.05)
    assert f"{len(found['layers']) - 15} more (--all)" in result.stdout
    assert "the call itself" in result.stdout
    assert re.search(r"latency +\S+ .*ms, analytic", result.stdout)
    assert "not measured" in result.stdout
    every = hwnas("mobilenet_v2", "--preset", "mobilenetv2_100", "--device", "phone_cpu", "--all", url=url)
    names = [one["name"].removesuffix(".conv") for one in found["layers"]]
    rows = [line.split()[0] for line in every.stdout.split("in order of execution")[1].splitlines() if line.split()]
    assert rows[2 : 2 + len(names)] == names


def test_as_json_it_is_the_document(client: httpx.Client) -> None:
    url = str(client.base_url).rstrip("/")
    result = hwnas(SMALL.name, ARCHITECTURE, "--device", "phone_cpu", "--dataset", "digits", "--json", url=url)
    asked = {"space": SMALL.name, "architecture": ARCHITECTURE, "device": "phone_cpu", "dataset": "digits"}
    assert json.loads(result.stdout) == ask(client, **asked)


def test_without_a_service_it_is_worked_out_here_and_nothing_is_written(client: httpx.Client, tmp_path: Path) -> None:
    data = tmp_path / "data"
    arguments = ["mobilenet_v2", "--preset", "mobilenetv2_100", "--device", "phone_cpu", "--json"]
    result = hwnas(*arguments, "--data-dir", str(data))
    assert "no service answers" in result.stderr
    assert json.loads(result.stdout) == ask(client, **PRESET)
    assert not data.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mobilenet_v2", "--device", "phone_cpu"], "either ARCHITECTURE or --preset"),
        (["--preset", "mobilenetv2_100", "--device", "phone_cpu"], "either SPACE or --file"),
        (["mobilenet_v2", "a", "--device", "phone_cpu", "--input", "3x32x32"], "--input and --classes belong together"),
        (["mobilenet_v2", "a=1", "--device", "phone_cpu"], "a"),
        (
            ["mobilenet_v2", "--preset", "mobilenetv2_100", "--device", "local-openvino-b7"],
            "hwnas profile --device local",
        ),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], said: str) -> None:
    result = hwnas(*arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_file_takes_the_place_of_the_space(tmp_path: Path) -> None:
    from search_spaces.definition_text import parse_definition

    space = parse_definition(SPACE).space()
    (tmp_path / "space.json").write_text(json.dumps(SPACE), encoding="utf-8")
    text = space.to_string(space.smallest())
    task = ["--input", "1x16x16", "--classes", "3"]
    result = hwnas(text, "--file", str(tmp_path / "space.json"), "--device", "phone_cpu", *task, "--json")
    found = json.loads(result.stdout)
    assert (found["architecture"], found["input_shape"], found["classes"]) == (text, [1, 16, 16], 3)


# the page


class Page(HTMLParser):
    """The rows of layers of a page, and all its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.layers: list[list[str]] = []
        self.text = ""
        self._in_row = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self._in_row = "data-layer" in dict(attrs)
            if self._in_row:
                self.layers.append([])
        elif tag == "td" and self._in_row:
            self.layers[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_row and self.layers[-1]:
            self.layers[-1][-1] += data.strip()


def add_search(database: Database, devices: list[str], architecture: str | None = ARCHITECTURE) -> str:
    """A search that has ended, whose networks can be built; ``architecture`` None: as no space has them."""

    def trials(spec: SearchSpec) -> list[Trial]:
        made = seeding.train(spec, seeding.make_trials(spec, scored=12), entered=4, finished=2, measured=True)
        return [replace(trial, architecture=architecture or trial.architecture) for trial in made]

    objectives = [{"metric": "accuracy"}, *[{"metric": "latency_ms", "device": device} for device in devices]]
    objectives += [] if devices else [{"metric": "params"}]
    spec = {**seeding.SPEC, "objectives": objectives, "constraints": []}
    return seeding.add_search(database, spec, trials, phase="measure", state="SUCCEEDED")


def trial_of(client: httpx.Client, search_id: str) -> str:
    items = client.get(f"/v1/searches/{search_id}/trials", params={"order_by": "-accuracy"}).json()["items"]
    return str(items[0]["id"])


def test_the_page_shows_a_trial_on_each_device_of_its_search(client: httpx.Client, database: Database) -> None:
    search_id = add_search(database, ["cortex_m7", "phone_cpu"])
    trial = trial_of(client, search_id)
    assert f'href="/trials/{trial}"' in client.get(f"/searches/{search_id}").text
    for address, device in ((f"/trials/{trial}", "cortex_m7"), (f"/trials/{trial}?device=phone_cpu", "phone_cpu")):
        page = client.get(address)
        assert page.status_code == 200
        found = ask(client, space=SMALL.name, architecture=ARCHITECTURE, dataset="digits", device=device)
        parsed = Page(page.text)
        assert f"On {device}" in parsed.text
        assert [row[0] for row in parsed.layers] == [one["name"] for one in found["layers"]]
        shown = [float(row[2].replace(",", "")) for row in parsed.layers]
        assert shown == pytest.approx([one["latency_ms"]["value"] for one in found["layers"]], abs=0.006)
        plot = json.loads(re.search(r'id="estimate-data">(.*?)</script>', page.text, re.S).group(1))
        assert plot["waterline"]["efficiency"] == found["waterline"]["efficiency"]
        assert [one["bound"] for one in plot["layers"]] == [one["bound"] for one in found["layers"]]
        assert "style=" not in page.text  # the policy would refuse it
        assert "analytic" in parsed.text
        for static in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
            assert client.get(static).status_code == 200


def test_the_page_says_why_there_is_nothing_to_show(client: httpx.Client, database: Database) -> None:
    unknown = client.get("/trials/t_none")
    assert (unknown.status_code, "there is no trial" in unknown.text) == (404, True)
    unprofiled = trial_of(client, add_search(database, ["local-onnxruntime-b9"]))
    page = client.get(f"/trials/{unprofiled}")
    assert page.status_code == 200
    assert "hwnas profile --device local-onnxruntime-b9 --space mobilenet_v2_small --dataset digits" in page.text
    wrong = client.get(f"/trials/{unprofiled}", params={"device": "<b>"})
    assert wrong.status_code == 422
    assert "<b>" not in wrong.text
    assert "names no device" in client.get(f"/trials/{trial_of(client, add_search(database, []))}").text
    foreign = client.get(f"/trials/{trial_of(client, add_search(database, ['phone_cpu'], architecture=None))}")
    assert foreign.status_code == 200
    assert 'role="alert"' in foreign.text


# a device with a profile


class Profiled:
    """As much of a device's profile as estimates read: two networks, and a predictor of a nanosecond a MAC."""

    task = Task((1, 8, 8), Classification(10))
    report = {"networks": 2, "within_5": 0.5, "within_10": 1.0, "mean_error": 0.04}  # noqa: RUF012
    networks = tuple(
        NetworkRecord(SMALL.to_string(arch), 1.0, 0.1, 1.0) for arch in (SMALL.smallest(), SMALL.cover()[0])
    )
    device = parse_device("local-onnxruntime-b2")

    def predictor(self) -> "Profiled":
        return self

    def layers(self, graph: Graph) -> tuple[LayerEstimate, ...]:
        facts = analytic_predictor("phone_cpu").layers(graph)
        times = [Estimate(1e-6 * one.macs + 0.001, 0.0001, Source.PREDICTED) for one in facts]
        return tuple(one._replace(latency_ms=ms) for one, ms in zip(facts, times, strict=True))

    def predict(self, graph: Graph) -> Estimate:
        return Estimate(sum(one.latency_ms.value for one in self.layers(graph)) + 0.5, 0.3, Source.PREDICTED)


def test_a_profiled_device_has_the_roof_that_its_networks_reach(
    client: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.estimating.load_profile", lambda path, sha256, check_machine: Profiled())
    row = DeviceProfile(
        device="local-onnxruntime-b2", space=SMALL.name, task=task_key(Profiled.task), path="profiles/x.json",
        sha256="0" * 64, report=Profiled.report, created_at=utcnow(),
    )  # fmt: skip
    with database.write() as session:
        store.put_profile(session, row)
    asked = {"space": SMALL.name, "architecture": ARCHITECTURE, "device": "local-onnxruntime-b2"}
    found = ask(client, **asked)
    assert (found["input_shape"], found["classes"]) == ([1, 8, 8], 10)  # what it was profiled for
    assert (found["report"], found["energy_mj"], found["limits"]) == (Profiled.report, None, [])
    assert found["overhead_ms"]["value"] == pytest.approx(0.5)
    assert found["latency_ms"]["error"] == 0.3
    graphs = [SMALL.graph(SMALL.from_string(one.architecture), Profiled.task) for one in Profiled.networks]
    roof = observed_roof([Profiled().layers(graph) for graph in graphs], Profiled.device)
    assert found["roof"]["peak_macs_per_s"] == roof.peak_macs_per_s < 2e9
    assert found["roof"]["source"] == found["gap"]["source"] == "predicted"
    other = client.post("/v1/estimates", json=asked | {"task": TASK})
    assert other.status_code == 409
    assert "only for classification-10-1x8x8" in other.json()["error"]["message"]
    told = hwnas(SMALL.name, ARCHITECTURE, "--device", "local-onnxruntime-b2", url=str(client.base_url).rstrip("/"))
    assert "50% within 5 %, 100% within 10 %, mean error 4.0%" in " ".join(told.stdout.split())
    assert "±0.3" in told.stdout
    on_page = client.get(f"/trials/{trial_of(client, add_search(database, []))}").text
    assert "On local-onnxruntime-b2" in on_page
    assert "predicted" in on_page
