"""The web pages as a browser without scripts gets them."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
import support_seeding as seeding
from support_service import SPACE, serving

from api.db import Database, open_database
from api.plot import axes, plot_data
from api.settings import Settings
from nas.spec import SearchSpec


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings.url)
    yield database
    database.close()


@pytest.fixture(scope="module")
def browser(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    with serving(settings) as client:
        yield client


@pytest.fixture(scope="module")
def finished(database: Database) -> str:
    return seeding.finished(database)


class Rows(HTMLParser):
    """The cells of every table row of a page, and which tags it holds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.text = ""
        self._cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.rows[-1][-1] += data


def test_an_empty_service_says_how_to_start(tmp_path: Path) -> None:
    with serving(Settings(data_dir=tmp_path)) as client:
        page = client.get("/")
    assert page.status_code == 200
    assert "hwnas submit" in page.text


def test_the_list_has_every_search_newest_first(browser: httpx.Client, database: Database) -> None:
    seeding.failed(database)
    seeding.exploring(database)
    seeding.finished(database)
    page = Rows(browser.get("/").text)
    header, newest, middle, oldest = page.rows[:4]
    assert [newest[0].split()[0], middle[0].split()[0], oldest[0].split()[0]] == ["digits", "exploring", "impossible"]
    front = header.index("Front")
    size = len(browser.get(f"/v1/searches/{_id(newest)}/front").json()["items"])
    assert size >= 3
    assert newest[front] == str(size)
    assert "96 of 300" in middle[2]
    assert "rejected every one" in oldest[2]


def _id(row: list[str]) -> str:
    return re.search(r"s_[0-9a-f]+", row[0]).group()


def test_older_searches_are_a_page_away(browser: httpx.Client, database: Database) -> None:
    stored = {seeding.failed(database, name=f"search {number}") for number in range(27)}
    first = browser.get("/")
    link = re.search(r'href="(/\?page_token=[^"]+)"', first.text).group(1)
    rows = Rows(first.text).rows[1:] + Rows(browser.get(link).text).rows[1:]
    assert len(Rows(first.text).rows[1:]) == 25
    assert len({_id(row) for row in rows}) == len(rows)
    assert stored <= {_id(row) for row in rows}
    assert browser.get("/?page_token=nonsense").status_code == 422


def test_the_table_has_the_figures_of_the_front(browser: httpx.Client, finished: str) -> None:
    page = Rows(browser.get(f"/searches/{finished}").text)
    items = browser.get(f"/v1/searches/{finished}/front").json()["items"]
    header, *rows = page.rows
    assert [row[-1] for row in rows] == [item["trial_id"] for item in items]
    for row, item in zip(rows, items, strict=True):
        accuracy, latency = item["metrics"]["accuracy"], item["metrics"]["latency_ms"]
        predicted = item["predicted"]["latency_ms"]
        assert row[0] == f"{accuracy['value']:.3f} ±{accuracy['error']:.3f}"
        assert row[2] == f"{latency['value']:.3f} ±{latency['error']:.3f}"
        assert row[3] == f"{predicted['value']:.3f} ±{predicted['error']:.3f}"
        assert latency["value"] != predicted["value"]
    assert header[2:4] == ["Latency ms", "Predicted ms"]
    assert f"hwnas export {items[0]['trial_id']}" in page.text


def test_before_the_front_the_trained_trials_are_shown(browser: httpx.Client, database: Database) -> None:
    page = browser.get(f"/searches/{seeding.running(database)}")
    header, *rows = Rows(page.text).rows
    assert "Trained so far" in page.text
    assert len(rows) == 12
    assert [int(row[header.index("Epochs")]) for row in rows] == [30] * 3 + [5] * 9
    assert "Latency ms" not in header  # nothing has been measured
    assert "57 by params &lt;= 200000" in page.text
    assert re.search(r'id="status" data-live data-refresh', page.text)


def test_a_search_that_has_ended_is_not_asked_for_again(browser: httpx.Client, database: Database) -> None:
    page = browser.get(f"/searches/{seeding.failed(database)}").text
    assert "data-refresh" not in page
    assert "the least latency that was drawn is 0.11 ms" in page
    assert "there is no front" in page


def test_the_plot_gets_every_trained_trial_and_no_height_for_others(browser: httpx.Client, finished: str) -> None:
    plot = _plot(browser.get(f"/searches/{finished}").text)
    trials = browser.get(f"/v1/searches/{finished}/trials", params={"page_size": 500}).json()["items"]
    trained = {trial["id"]: trial for trial in trials if trial["rung"] >= 1}
    assert {point["id"] for point in plot["points"]} == set(trained)
    for point in plot["points"]:
        assert point["measured"] == (trained[point["id"]]["state"] == "SUCCEEDED")
        assert point["y"] == pytest.approx(trained[point["id"]]["metrics"]["accuracy"]["value"], rel=1e-5)
    front = [item["trial_id"] for item in browser.get(f"/v1/searches/{finished}/front").json()["items"]]
    assert {point["id"] for point in plot["points"] if point["front"]} == set(front)
    assert [point["id"] for point in plot["points"] if point["winner"]] == front[:1]
    assert len(plot["rug"]) == len(trials)
    assert plot["staircase"]


def _plot(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S).group(1))


def test_the_plot_can_be_seen_along_other_axes(browser: httpx.Client, finished: str) -> None:
    page = browser.get(f"/searches/{finished}?x=params")
    plot = _plot(page.text)
    assert plot["x"]["label"] == "params"
    assert not plot["staircase"]  # the front is one of latency, not of this axis
    wrong = browser.get(f"/searches/{finished}?x=parms")
    assert wrong.status_code == 422
    assert "did you mean &#39;params&#39;" in wrong.text


def test_two_devices_have_an_axis_each() -> None:
    spec = SearchSpec.model_validate(
        {
            **seeding.SPEC,
            "objectives": [
                {"metric": "accuracy"},
                {"metric": "latency_ms", "device": "local-onnxruntime"},
                {"metric": "latency_ms", "device": seeding.DEVICE},
            ],
        }
    )
    keys = [axis.key for axis in axes(spec)]
    assert keys == ["latency_ms@local-onnxruntime", f"latency_ms@{seeding.DEVICE}", "params", "macs"]
    trials = seeding.train(spec, seeding.make_trials(spec, scored=12), entered=4, finished=2, measured=True)
    plot = plot_data(spec, trials, {t.number: str(t.number) for t in trials}, [], None, axes(spec)[1])
    assert len(plot["points"]) == 4
    assert not plot["staircase"]


def test_a_long_rug_is_thinned() -> None:
    spec = SearchSpec.model_validate(seeding.SPEC)
    trials = seeding.make_trials(spec, scored=2500)
    plot = plot_data(spec, trials, {t.number: str(t.number) for t in trials}, [], None, axes(spec)[0])
    assert plot["scored"] == 2500
    assert 800 <= len(plot["rug"]) <= 1000


def test_what_users_type_is_text(browser: httpx.Client, database: Database) -> None:
    attack = "</script><script>alert(1)</script>"
    search_id = seeding.finished(database, labels={"note": attack, "quote": "\"'&"})
    page = browser.get(f"/searches/{search_id}").text
    assert attack not in page
    assert "&lt;/script&gt;&lt;script&gt;" in page
    reflected = browser.get("/searches/%3Cimg%20src%3Dx%3E")
    assert reflected.status_code == 404
    assert "<img src=x>" not in reflected.text


def test_a_space_of_the_users_own_is_shown_by_its_name(browser: httpx.Client, database: Database) -> None:
    search_id = seeding.running(database, space={**SPACE, "name": "two_kinds_of_layers"})
    assert "<dd>two_kinds_of_layers</dd>" in browser.get(f"/searches/{search_id}").text
    assert "<td>two_kinds_of_layers</td>" in browser.get("/").text


def test_an_unknown_search_is_a_page_that_says_so(browser: httpx.Client) -> None:
    page = browser.get("/searches/s_000000000000")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "there is no search" in page.text
    assert 'href="/"' in page.text


@pytest.mark.parametrize("path", ["/", "/searches/s_000000000000"])
def test_pages_load_nothing_from_elsewhere(browser: httpx.Client, path: str) -> None:
    page = browser.get(path)
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r'(src|href)="(https?:)?//', page.text)
    assert "style=" not in page.text  # the policy would refuse it
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert browser.get(address).status_code == 200, address


def test_the_vendored_library_is_the_one_that_is_documented() -> None:
    import hashlib

    folder = Path(__file__).parent.parent / "api" / "static" / "vendor"
    listed = re.findall(r"^    ([0-9a-f]{64})  (\S+)$", (folder / "README.md").read_text(), re.M)
    assert {name for _, name in listed} == {"uplot/uPlot.iife.min.js", "uplot/uPlot.min.css"}
    for digest, name in listed:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "MIT" in (folder / "uplot" / "LICENSE").read_text()
