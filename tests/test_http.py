"""The API over real HTTP: what it answers, and that bad input is refused with a hint and writes nothing."""

import json
import socket
from collections.abc import Iterator
from math import log10
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from sqlalchemy import func, select, text
from structlog.testing import capture_logs
from support_service import SPACE, SPEC, make_settings, make_trial, serving

from api import leases, space_store, store, trial_store
from api.db import Database, open_database
from api.models import Base, Export, Search, Space
from api.settings import Settings
from latency_models.estimate import Source
from nas.scores import get_score_facts
from nas.spec import SearchSpec
from nas.trial import Measurement, TrialState
from search_spaces import BLOCKS, SPACES, Classification, Task, get_space
from search_spaces.definition import SpaceDefinition

DEVICE = "local-onnxruntime"
UNTRAINED, TRAINED, WORSE, PRUNED = range(4)


class Service(NamedTuple):
    client: httpx.Client
    database: Database
    settings: Settings


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = make_settings(tmp_path_factory.mktemp("data"))
    database = open_database(settings.url)
    with serving(settings) as client:
        yield Service(client, database, settings)
    database.close()


@pytest.fixture(scope="module", autouse=True)
def search_id(service: Service) -> str:
    """A finished search with four trials; made first, while it is the only one to claim."""
    with service.database.write() as session:
        made = store.create_search(session, SearchSpec.model_validate(SPEC)).id
        held = leases.claim(session, Search, "worker", 60, 5)
        assert held is not None
        trial_store.record_trials(session, held, trials())
        leases.finish(session, held, "SUCCEEDED")
    return made


def trials() -> list[Any]:
    def finished(number: int, accuracy: float, latency_ms: float) -> Any:
        return make_trial(
            number,
            state=TrialState.SUCCEEDED,
            rung=2,
            epochs=2,
            proxies={name: float(number) for name in get_score_facts("default").proxies},
            measurements=(
                Measurement("params", None, 0, 1000.0, 0.0, Source.ANALYTIC),
                Measurement("latency_ms", DEVICE, 0, 2 * latency_ms, 0.1, Source.PREDICTED),
                Measurement("accuracy", None, 1, 0.5, 0.01, Source.MEASURED),
                Measurement("accuracy", None, 2, accuracy, 0.01, Source.MEASURED),
                Measurement("latency_ms", DEVICE, 2, latency_ms, 0.05, Source.MEASURED),
            ),
        )

    scored = make_trial(UNTRAINED, proxies={"naswot": 0.5, "synflow": None})
    pruned = make_trial(PRUNED, state=TrialState.PRUNED, rung=1, epochs=1)
    return [scored, finished(TRAINED, 0.9, 1.0), finished(WORSE, 0.8, 2.0), pruned]


def trial_id(service: Service, search: str, number: int) -> str:
    with service.database.read() as session:
        return trial_store.load_rows(session, search)[number].id


def rows(database: Database) -> dict[str, int]:
    """The number of rows in every table."""
    with database.read() as session:
        return {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
        }


def error(response: httpx.Response) -> dict[str, str]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint"}
    found: dict[str, str] = body["error"]
    return found


def spec(**changes: Any) -> dict[str, Any]:
    return {**SPEC, **changes}


def constrained(*constraints: dict[str, Any]) -> dict[str, Any]:
    return spec(constraints=list(constraints))


def least_params() -> int:
    space = get_space("mobilenet_v2_small")
    return space.graph(space.smallest(), Task((1, 8, 8), Classification(10))).params


# submitting


def test_a_search_is_accepted_and_shown(service: Service) -> None:
    response = service.client.post("/v1/searches", json=dict(SPEC))
    assert response.status_code == 202
    created = response.json()
    assert created["state"] == "QUEUED"
    assert response.headers["Location"] == f"/v1/searches/{created['id']}"
    shown = service.client.get(response.headers["Location"]).json()
    assert shown["state"] == "QUEUED"
    assert shown["phase"] is None
    assert shown["progress"] == {"done": 0, "total": 0}
    assert shown["error"] is None
    assert shown["elapsed_seconds"] is None
    assert shown["created_at"].endswith("Z")
    assert SearchSpec.model_validate(shown["spec"]) == SearchSpec.model_validate(SPEC)


def test_the_same_key_makes_one_search(service: Service) -> None:
    send = {"json": spec(name="once"), "headers": {"Idempotency-Key": "abc"}}
    first, second = (service.client.post("/v1/searches", **send) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    other = service.client.post("/v1/searches", json=spec(name="twice"), headers={"Idempotency-Key": "abc"})
    assert other.status_code == 409
    assert first.json()["id"] in error(other)["hint"]


BAD_SPECS: dict[str, tuple[dict[str, Any], int, str, str, str]] = {
    # case: body, status, code, in the message, in the hint
    "space": (spec(space="mobilenet_v0"), 422, "unknown_name", "mobilenet_v0", "mobilenet_v2"),
    "dataset": (spec(dataset="digit"), 422, "unknown_name", "digit", "'digits'"),
    "strategy": (spec(strategy="randon"), 422, "unknown_name", "randon", "'random'"),
    "proxy": (spec(score="synflo"), 422, "unknown_name", "synflo", "'synflow'"),
    "unknown field": (spec(objective=[]), 422, "invalid_spec", "objective: unknown field", "'objectives'"),
    "unknown inner field": (
        spec(budget={"scored": 20, "training": 4}),
        422,
        "invalid_spec",
        "budget.training: unknown field",
        "'trainings'",
    ),
    "unknown field in a list": (
        spec(rungs=[{"epochs": 1}, {"epoch": 2}]),
        422,
        "invalid_spec",
        "rungs.1.epoch: unknown field",
        "'epochs'",
    ),
    "no objective": (spec(objectives=[]), 422, "invalid_spec", "objectives", '"metric": "accuracy"'),
    "missing objectives": (
        {k: v for k, v in SPEC.items() if k != "objectives"},
        422,
        "invalid_spec",
        "objectives: is missing",
        '"metric": "accuracy"',
    ),
    "unknown metric": (spec(objectives=[{"metric": "acuracy"}]), 422, "invalid_spec", "acuracy", "'accuracy'"),
    "metric without device": (spec(objectives=[{"metric": "latency_ms"}]), 422, "invalid_spec", "device", DEVICE),
    "unknown device": (
        spec(objectives=[{"metric": "latency_ms", "device": "local-onnxrun"}]),
        409,
        "device_unavailable",
        "local-onnxrun",
        DEVICE,
    ),
    "device without profile": (
        spec(objectives=[{"metric": "latency_ms", "device": "pixel9"}]),
        409,
        "device_unavailable",
        "pixel9",
        "hwnas profile",
    ),
    "bound below the least": (
        constrained({"metric": "params", "max": 10}),
        422,
        "invalid_spec",
        "the least params",
        str(least_params()),
    ),
    "bounds that leave nothing": (
        constrained({"metric": "params", "max": least_params()}, {"metric": "macs", "min": 1e15}),
        422,
        "infeasible",
        "rejected most",
        "relax",
    ),
    "zero budget": (spec(budget={"scored": 0, "trainings": 0}), 422, "invalid_spec", "budget.scored", "greater than 0"),
    "negative budget": (
        spec(budget={"scored": 9, "trainings": -1}),
        422,
        "invalid_spec",
        "budget.trainings",
        "greater than 0",
    ),
    "negative seconds": (spec(budget={"wall_seconds": -5}), 422, "invalid_spec", "wall_seconds", "greater than 0"),
    "more trainings than scores": (
        spec(budget={"scored": 5, "trainings": 6}),
        422,
        "invalid_spec",
        "trainings (6)",
        "scored (5)",
    ),
    "falling rungs": (spec(rungs=[{"epochs": 5}, {"epochs": 5}]), 422, "invalid_spec", "rungs", "rise"),
    "no rungs": (spec(rungs=[]), 422, "invalid_spec", "rungs", "epochs"),
    "text for a number": (spec(seed="1"), 422, "invalid_spec", "seed", "whole number"),
    "true for a number": (spec(seed=True), 422, "invalid_spec", "got true", "whole number"),
    "future version": (spec(spec_version=2), 422, "invalid_spec", "spec_version", "1"),
    "wrong type": (spec(rungs={"epochs": 1}), 422, "invalid_spec", "rungs", "square brackets"),
    "long name": (spec(name="x" * 201), 422, "invalid_spec", "name", "at most 200"),
    "strange name": (spec(name="<script>"), 422, "invalid_spec", "name", "matches"),
}


@pytest.mark.parametrize("case", BAD_SPECS)
def test_a_bad_specification_is_refused(service: Service, case: str) -> None:
    body, status, code, in_message, in_hint = BAD_SPECS[case]
    before = rows(service.database)
    response = service.client.post("/v1/searches", json=body)
    found = error(response)
    assert (response.status_code, found["code"]) == (status, code), found
    assert in_message in found["message"]
    assert in_hint in found["hint"]
    assert rows(service.database) == before


BAD_BODIES = {
    "cut off": b'{"space": ',
    "empty": b"",
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "two objects": b"{} {}",
    "deeply nested": b"[" * 100_000,
    "a number too long": b"[" + b"9" * 5000 + b"]",
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_malformed_json_is_refused(service: Service, case: str) -> None:
    before = rows(service.database)
    headers = {"Content-Type": "application/json"}
    response = service.client.post("/v1/searches", content=BAD_BODIES[case], headers=headers)
    expected = 422 if case == "empty" else 400
    assert response.status_code == expected
    assert "JSON" in error(response)["hint"]
    assert rows(service.database) == before


@pytest.mark.parametrize("body", ["[]", "null", "3", '"text"', '{"seed": NaN}', '{"seed": 1e999}'])
def test_json_that_is_no_specification_is_refused(service: Service, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = service.client.post("/v1/searches", content=body, headers=headers)
    assert response.status_code == 422
    assert error(response)["hint"]


def test_a_body_that_is_not_called_json_is_refused(service: Service) -> None:
    response = service.client.post("/v1/searches", content=json.dumps(SPEC), headers={"Content-Type": "text/plain"})
    assert response.status_code == 422
    assert "application/json" in error(response)["hint"]


TEN_MB = b"x" * 10_000_000


def test_a_body_of_10_mb_is_refused(service: Service) -> None:
    before = rows(service.database)
    response = service.client.post("/v1/searches", content=TEN_MB, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert error(response)["code"] == "body_too_large"
    assert "1,048,576 bytes" in error(response)["hint"]
    assert rows(service.database) == before
    assert service.client.get("/v1/searches").status_code == 200


def test_a_large_body_of_unknown_length_is_refused(service: Service) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(TEN_MB), 100_000):
            yield TEN_MB[start : start + 100_000]

    response = service.client.post("/v1/searches", content=pieces())
    assert response.status_code == 413


def test_a_large_body_is_refused_before_it_is_sent(service: Service) -> None:
    url = service.client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        head = f"POST /v1/searches HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 10000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


# reading


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "in_hint"),
    [
        ("GET", "/v1/searches/s_none", 404, "not_found", "GET /v1/searches"),
        ("GET", "/v1/searches/s_none/trials", 404, "not_found", "GET /v1/searches"),
        ("GET", "/v1/searches/s_none/front", 404, "not_found", "GET /v1/searches"),
        ("POST", "/v1/searches/s_none/cancel", 404, "not_found", "GET /v1/searches"),
        ("GET", "/v1/trials/t_none", 404, "not_found", "trials"),
        ("GET", "/v1/exports/x_none", 404, "not_found", "exports"),
        ("GET", "/v1/exports/x_none/file", 404, "not_found", "exports"),
        ("GET", "/v1/exports/..%2f..%2fetc/file", 404, "not_found", "openapi"),
        ("GET", "/v1/nothing", 404, "not_found", "openapi"),
        ("DELETE", "/v1/searches", 405, "method_not_allowed", "POST"),
        ("GET", "/v1/searches?page_size=0", 422, "invalid_query", "at least 1"),
        ("GET", "/v1/searches?page_size=9999", 422, "invalid_query", "at most 500"),
        ("GET", "/v1/searches?state=DONE", 422, "invalid_query", "SUCCEEDED"),
        ("GET", "/v1/searches?page_token=abc", 422, "invalid_query", "next_page_token"),
    ],
)
def test_a_bad_address_is_refused(
    service: Service, method: str, path: str, status: int, code: str, in_hint: str
) -> None:
    response = service.client.request(method, path)
    assert (response.status_code, error(response)["code"]) == (status, code), response.text
    assert in_hint in error(response)["hint"]


def test_searches_are_listed_in_pages(service: Service, search_id: str) -> None:
    seen: list[str] = []
    token = None
    for _ in range(20):
        query = {"page_size": 1} | ({"page_token": token} if token else {})
        page = service.client.get("/v1/searches", params=query).json()
        assert set(page) == {"items", "next_page_token"}
        seen += [item["id"] for item in page["items"]]
        token = page["next_page_token"]
        if token is None:
            break
    everything = service.client.get("/v1/searches").json()["items"]
    assert seen == [item["id"] for item in everything]
    finished = service.client.get("/v1/searches", params={"state": "SUCCEEDED"}).json()["items"]
    assert [item["id"] for item in finished] == [search_id]
    assert finished[0]["trials"] == {"PRUNED": 1, "SCORED": 1, "SUCCEEDED": 2}


def test_trials_are_filtered_ordered_and_paged(service: Service, search_id: str) -> None:
    def numbers(**query: Any) -> list[int]:
        found = service.client.get(f"/v1/searches/{search_id}/trials", params=query)
        assert found.status_code == 200, found.text
        return [item["number"] for item in found.json()["items"]]

    assert numbers() == [UNTRAINED, TRAINED, WORSE, PRUNED]
    assert numbers(state=["PRUNED", "SCORED"]) == [UNTRAINED, PRUNED]
    assert numbers(min_rung=2) == [TRAINED, WORSE]
    assert numbers(order_by="-latency_ms") == [WORSE, TRAINED, UNTRAINED, PRUNED]
    assert numbers(order_by="-accuracy", page_size=1) == [TRAINED]
    bad = service.client.get(f"/v1/searches/{search_id}/trials", params={"order_by": "acuracy"})
    assert (bad.status_code, error(bad)["code"]) == (422, "invalid_query")
    assert "'accuracy'" in error(bad)["hint"]


def test_a_trial_shows_its_best_figures_and_all_of_them(service: Service, search_id: str) -> None:
    shown = service.client.get(f"/v1/trials/{trial_id(service, search_id, TRAINED)}").json()
    assert shown["search_id"] == search_id
    assert shown["metrics"]["accuracy"] == {"value": 0.9, "error": 0.01, "source": "measured", "note": ""}
    assert shown["metrics"]["latency_ms"] == {"value": 1.0, "error": 0.05, "source": "measured", "note": ""}
    assert shown["predicted"] == {"latency_ms": {"value": 2.0, "error": 0.1, "source": "predicted", "note": ""}}
    assert len(shown["measurements"]) == 5


def test_the_front_holds_what_is_not_dominated(service: Service, search_id: str) -> None:
    front = service.client.get(f"/v1/searches/{search_id}/front").json()
    assert (front["basis"], front["rung"], front["next_page_token"]) == ("measured", 2, None)
    (item,) = front["items"]
    assert item["trial_id"] == trial_id(service, search_id, TRAINED)
    assert item["architecture"] == "arch-1"
    assert item["metrics"]["accuracy"]["value"] == 0.9
    assert item["metrics"]["latency_ms"]["source"] == "measured"
    assert item["predicted"]["latency_ms"] == {"value": 2.0, "error": 0.1, "source": "predicted", "note": ""}
    bad = service.client.get(f"/v1/searches/{search_id}/front", params={"rung": 1})
    assert (bad.status_code, error(bad)["code"]) == (422, "invalid_query")


def test_the_front_of_the_zero_shot_scores_is_named_as_what_it_is(service: Service, search_id: str) -> None:
    front = service.client.get(f"/v1/searches/{search_id}/front", params={"rung": 0}).json()
    assert (front["basis"], front["rung"]) == ("zero_shot_score", 0)
    numbers = [item["number"] for item in front["items"]]
    assert TRAINED in numbers
    assert WORSE in numbers  # slower, but of higher score
    assert front["items"][0]["proxies"]["intrain"] is not None


def test_cancelling(service: Service, search_id: str) -> None:
    queued = service.client.post("/v1/searches", json=dict(SPEC)).json()["id"]
    cancelled = service.client.post(f"/v1/searches/{queued}/cancel")
    assert cancelled.status_code == 202
    assert cancelled.json()["state"] == "CANCELLED"
    late = service.client.post(f"/v1/searches/{search_id}/cancel")
    assert (late.status_code, error(late)["code"]) == (409, "conflict")
    assert "SUCCEEDED" in error(late)["message"]


# exports


def test_an_export_is_queued_and_its_file_served_when_done(service: Service, search_id: str) -> None:
    trial = trial_id(service, search_id, TRAINED)
    response = service.client.post(f"/v1/trials/{trial}/exports", json={"format": "onnx"})
    assert response.status_code == 202
    export_id = response.json()["id"]
    early = service.client.get(f"/v1/exports/{export_id}/file")
    assert (early.status_code, error(early)["code"]) == (409, "conflict")
    folder = service.settings.export_dir(export_id)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"the model")
    with service.database.write() as session:
        held = leases.claim(session, Export, "worker", 60, 5)
        assert held is not None
        leases.finish(session, held, "SUCCEEDED", report={"file": "model.onnx"})
    shown = service.client.get(f"/v1/exports/{export_id}").json()
    assert (shown["state"], shown["search_id"], shown["report"]) == ("SUCCEEDED", search_id, {"file": "model.onnx"})
    served = service.client.get(shown["file"])
    assert served.content == b"the model"
    assert "digits%20on%20this%20machine-1.onnx" in served.headers["Content-Disposition"]
    listed = service.client.get(f"/v1/trials/{trial}/exports").json()["items"]
    assert [item["id"] for item in listed] == [export_id]


def test_a_bad_export_is_refused(service: Service, search_id: str) -> None:
    before = rows(service.database)
    untrained = f"/v1/trials/{trial_id(service, search_id, UNTRAINED)}/exports"
    trained = f"/v1/trials/{trial_id(service, search_id, TRAINED)}/exports"
    cases = [
        (untrained, {"format": "onnx"}, 409, "conflict", "/front"),
        (trained, {"format": "onxx"}, 422, "unknown_name", "onnx"),
        (trained, {}, 422, "invalid_spec", '"onnx"'),
        (trained, {"format": "onnx", "fmt": 1}, 422, "invalid_spec", "format"),
        ("/v1/trials/t_none/exports", {"format": "onnx"}, 404, "not_found", "trials"),
    ]
    for path, body, status, code, in_hint in cases:
        response = service.client.post(path, json=body)
        assert (response.status_code, error(response)["code"]) == (status, code)
        assert in_hint in error(response)["hint"]
    assert rows(service.database) == before


# spaces

YAML = {"Content-Type": "application/yaml"}


def own_space(name: str, **changes: Any) -> dict[str, Any]:
    return {**SPACE, "name": name, **changes}


def test_a_space_is_stored_shown_listed_and_deleted(service: Service) -> None:
    made = service.client.post("/v1/spaces", json=own_space("mine"))
    assert made.status_code == 201
    assert made.headers["Location"] == "/v1/spaces/mine"
    shown = service.client.get("/v1/spaces/mine").json()
    assert shown == made.json()
    assert shown["stored"] is True
    assert (shown["size"], shown["choice_count"], shown["size_log10"]) == (40, 8, pytest.approx(1.602, abs=0.001))
    assert shown["key"].startswith("mine@")
    assert shown["papers"] == [BLOCKS[b].paper for b in ("conv_bn_act", "ghost_bottleneck", "inverted_residual")]
    assert shown["choices"][1] == {"name": "body.depth", "options": [1, 2]}
    assert shown["definition"]["name"] == "mine"
    again = service.client.post("/v1/spaces", json=shown["definition"])
    assert (again.status_code, again.json()) == (200, shown)
    as_yaml = service.client.post("/v1/spaces", content=yaml.safe_dump(own_space("mine")), headers=YAML)
    assert (as_yaml.status_code, as_yaml.json()) == (200, shown)
    listed = {item["name"]: item for item in service.client.get("/v1/spaces").json()["items"]}
    assert listed["mine"] == {key: value for key, value in shown.items() if key != "definition"}
    assert service.client.delete("/v1/spaces/mine").status_code == 204
    assert service.client.get("/v1/spaces/mine").status_code == 404
    assert service.client.delete("/v1/spaces/mine").status_code == 404


def test_a_stored_space_never_changes(service: Service) -> None:
    assert service.client.post("/v1/spaces", json=own_space("fixed")).status_code == 201
    for other in (own_space("fixed", width=1.0), own_space("fixed", description="other words")):
        response = service.client.post("/v1/spaces", json=other)
        assert (response.status_code, error(response)["code"]) == (409, "conflict")
        assert "DELETE /v1/spaces/fixed" in error(response)["hint"]
    for response in (
        service.client.post("/v1/spaces", json=own_space("mobilenet_v2")),
        service.client.delete("/v1/spaces/mobilenet_v2"),
    ):
        assert (response.status_code, error(response)["code"]) == (409, "conflict")


BAD_SPACES: dict[str, tuple[Any, dict[str, str], int, str, str]] = {
    # case: body, headers, status, in the message, in the hint
    "unknown block": (
        own_space("bad", stages=[{**SPACE["stages"][0], "block": "conv_bn_atc"}]),
        {},
        422,
        "stages.0.block",
        "'conv_bn_act'",
    ),
    "wrong field": (own_space("bad", width=[1.0, 0.5]), {}, 422, "width.1: comes after 1.0, got 0.5", "rising"),
    "unknown field": (own_space("bad", widths=[1.0]), {}, 422, "widths: unknown field", "'width'"),
    "a network that cannot be": (
        own_space("bad", stages=[{**SPACE["stages"][0], "groups": [1, 5]}]),
        {},
        422,
        "stages.0: the layer of stage stem, conv_bn_act",
        "groups",
    ),
    "wrong type": ("name: bad", {"Content-Type": "text/plain"}, 422, "text/plain", "application/yaml"),
    "no YAML": ("name: [", YAML, 422, "line 1", "docs/spaces.md"),
    "an alias": ("name: &a bad\ndescription: *a", YAML, 422, "aliases", "docs/spaces.md"),
    "no JSON": ("{", {"Content-Type": "application/json"}, 422, "line 1", "docs/spaces.md"),
    "not UTF-8": (b"name: \xff", YAML, 422, "UTF-8", "UTF-8"),
    "too long": (b"#" * 300_000, YAML, 422, "300,000 bytes", "262,144"),
    "far too long": (b"#" * 2_000_000, YAML, 413, "larger", "1,048,576"),
}


@pytest.mark.parametrize("case", BAD_SPACES)
def test_a_bad_space_is_refused(service: Service, case: str) -> None:
    body, headers, status, in_message, in_hint = BAD_SPACES[case]
    before = rows(service.database)
    send = {"json": body} if isinstance(body, dict) else {"content": body}
    response = service.client.post("/v1/spaces", headers=headers, **send)
    assert response.status_code == status, response.text
    assert in_message in error(response)["message"]
    assert in_hint in error(response)["hint"]
    assert rows(service.database) == before


def test_a_search_takes_a_definition_or_a_stored_name_and_keeps_it(service: Service) -> None:
    inline = service.client.post("/v1/searches", json=spec(space=own_space("inline")))
    assert inline.status_code == 202, inline.text
    service.client.post("/v1/spaces", json=own_space("stored"))
    by_name = service.client.post("/v1/searches", json=spec(space="stored"))
    assert by_name.status_code == 202, by_name.text
    assert service.client.delete("/v1/spaces/stored").status_code == 204
    for response, name in ((inline, "inline"), (by_name, "stored")):
        shown = service.client.get(response.headers["Location"]).json()
        definition = SearchSpec.model_validate(shown["spec"]).space
        assert isinstance(definition, SpaceDefinition)
        assert definition == SpaceDefinition.model_validate(own_space(name))
    gone = service.client.post("/v1/searches", json=spec(space="stored"))
    assert (gone.status_code, error(gone)["code"]) == (422, "unknown_name")


def test_a_mistake_in_the_space_of_a_search_is_named(service: Service) -> None:
    before = rows(service.database)
    stem, body = SPACE["stages"]
    cases = [
        ({"stages": [stem, {**body, "depth": [2, 1]}]}, "space.stages.1.depth.1", "rising"),
        ({"stages": [{**stem, "kernel": 4}]}, "space.stages.0.kernel", "odd"),
        ({"stages": [{**stem, "kernal": 3}]}, "space.stages.0.kernal", "'kernel'"),
        ({"colour": "red"}, "space.colour", "resolution"),
        ({"stages": [{**stem, "kernel": 9, "padding": "valid"}]}, "space.stages.0", "larger input"),
    ]
    for changes, in_message, in_hint in cases:
        response = service.client.post("/v1/searches", json=spec(space=own_space("bad", **changes)))
        assert (response.status_code, error(response)["code"]) == (422, "invalid_spec"), response.text
        assert in_message in error(response)["message"]
        assert in_hint in error(response)["hint"]
    unknown = service.client.post("/v1/searches", json=spec(space=own_space("bad") | {"stages": "none"}))
    assert "space.stages" in error(unknown)["message"]
    assert rows(service.database) == before


def test_spaces_are_listed_in_pages(service: Service) -> None:
    for name in ("aa", "zz"):
        service.client.post("/v1/spaces", json=own_space(name))
    seen: list[str] = []
    query: dict[str, Any] = {"page_size": 3}
    while True:
        page = service.client.get("/v1/spaces", params=query).json()
        seen += [item["name"] for item in page["items"]]
        if page["next_page_token"] is None:
            break
        query["page_token"] = page["next_page_token"]
    assert seen == sorted(seen) == [item["name"] for item in service.client.get("/v1/spaces").json()["items"]]
    assert {"aa", "zz", *SPACES} <= set(seen)
    bad = service.client.get("/v1/spaces", params={"page_token": "abc"})
    assert (bad.status_code, error(bad)["code"]) == (422, "invalid_query")


def test_a_built_in_space_is_described(service: Service) -> None:
    shown = service.client.get("/v1/spaces/mobilenet_v2").json()
    space = get_space("mobilenet_v2")
    assert (shown["stored"], shown["definition"], shown["created_at"]) == (False, None, None)
    assert shown["size"] is None
    assert shown["size_log10"] == pytest.approx(log10(space.size))
    assert shown["choice_count"] == len(shown["choices"]) == len(space.choices)
    assert shown["input_sizes"] == [96, 128, 160, 192, 224]
    assert {"mobilenetv2_035", "mobilenetv2_100"} <= set(shown["presets"])
    assert shown["papers"] == ["Sandler et al. 2018, arXiv:1801.04381"]
    unknown = service.client.get("/v1/spaces/mobilenet_v9")
    assert (unknown.status_code, error(unknown)["code"]) == (404, "not_found")
    assert "mobilenet_v" in error(unknown)["hint"]


def test_a_stored_space_whose_block_is_gone_says_so(service: Service) -> None:
    with service.database.write() as session:
        row, _ = space_store.add_space(session, SpaceDefinition.model_validate(own_space("old")))
    stages = [{**SPACE["stages"][0], "block": "no_longer_there"}]
    with service.database.write() as session:
        session.merge(Space(name="old", definition={**row.definition, "stages": stages}, created_at=row.created_at))
    shown = service.client.get("/v1/spaces/old").json()
    assert "no_longer_there" in shown["error"]["message"]
    assert (shown["size"], shown["choices"]) == (None, [])
    assert service.client.get("/v1/spaces").status_code == 200


# the rest


def test_the_catalogue_names_what_a_search_can_use(service: Service) -> None:
    def names(kind: str) -> set[str]:
        return {item["name"] for item in service.client.get(f"/v1/{kind}").json()["items"]}

    assert {"mobilenet_v2", "mobilenet_v2_small", "nas_bench_201"} <= names("spaces")
    assert {"default", "params", "macs", "synflow", "naswot", "grad_norm", "snip", "jacov"} <= names("proxies")
    assert {"default", "random", "nsga2"} <= names("strategies")
    assert "digits" in names("datasets")
    assert DEVICE in names("devices")
    cell = next(s for s in service.client.get("/v1/spaces").json()["items"] if s["name"] == "nas_bench_201")
    assert cell["size"] == 15_625
    assert len(cell["choices"]) == 6


def test_health_needs_a_worker_and_a_database_that_can_be_written(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with serving(settings) as client:
        alone = client.get("/healthz")
        assert (alone.status_code, error(alone)["code"]) == (503, "not_ready")
        assert "worker" in error(alone)["message"]
        database = open_database(settings.url)
        with database.write() as session:
            store.beat(session, "worker")
        assert client.get("/healthz").json() == {"status": "ok", "workers": 1}
        with database.write() as session:
            session.execute(text("UPDATE workers SET heartbeat_at = '2020-01-01 00:00:00.000000'"))
        assert client.get("/healthz").status_code == 503
        with database.write() as session:
            session.execute(text("DROP TABLE workers"))
        broken = client.get("/healthz")
        assert broken.status_code == 503
        assert "database" in error(broken)["message"]
        database.close()


def test_an_unexpected_error_keeps_the_shape_and_is_logged(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with serving(settings) as client:
        database = open_database(settings.url)
        with database.write() as session:
            store.create_search(session, SearchSpec.model_validate(SPEC))
            session.execute(text("UPDATE searches SET spec = '3'"))
        with capture_logs() as logged:
            response = client.get("/v1/searches")
        assert (response.status_code, error(response)["code"]) == (500, "internal_error")
        assert [(entry["log_level"], entry["path"]) for entry in logged] == [("error", "/v1/searches")]
        database.close()


def test_the_api_describes_itself(service: Service) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    assert {"/v1/searches", "/v1/searches/{search_id}/front", "/v1/exports/{export_id}/file", "/healthz"} <= set(paths)
