"""The pages in a real browser: plots are drawn, tables are filled, and nothing is refused."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import support_seeding as seeding
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from support_service import serving

from api import leases
from api.db import open_database
from api.models import Search
from api.settings import Settings
from nas.spec import SearchSpec
from nas.trial import Trial
from search_spaces import get_space

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs chromium and its driver")

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1400,1000"
)
STATUS = "return document.getElementById('status').innerText"
DRAWN = """
    const canvas = document.querySelector('#plot canvas');
    if (!canvas) return 0;
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const wanted = arguments[0];
    let found = 0;
    for (let i = 0; i < pixels.length; i += 4)
      if (wanted.every((c, k) => Math.abs(pixels[i + k] - c) < 4) && pixels[i + 3] === 255) found++;
    return found;
"""
DRAWN_AT = """
    const canvas = document.querySelector('#{plot} canvas');
    if (!canvas) return 0;
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.filter((value, i) => i % 4 === 3 && value > 0).length;
"""
FRONT_BLUE, WINNER_ORANGE = (0x00, 0x72, 0xB2), (0xC2, 0x50, 0x0A)


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()


def test_the_search_page_draws_its_front_and_keeps_itself_current(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    database = open_database(settings.url)
    finished, running = seeding.finished(database), seeding.running(database)
    wait = WebDriverWait(chromium, 20)
    with serving(settings) as client:
        address = str(client.base_url).rstrip("/")
        chromium.get(f"{address}/searches/{finished}")
        wait.until(lambda driver: driver.execute_script(DRAWN, FRONT_BLUE) > 100)
        assert chromium.execute_script(DRAWN, WINNER_ORANGE) > 50
        rows = chromium.find_elements(By.CSS_SELECTOR, "#front tr[data-trial]")
        points = [p for p in json.loads(_text(chromium, "plot-data"))["points"] if p["front"]]
        assert {row.get_attribute("data-trial") for row in rows} == {point["id"] for point in points}
        assert len(rows) >= 3

        # a row and its point belong together
        webdriver.ActionChains(chromium).move_to_element(rows[-1]).perform()
        tip = chromium.find_element(By.CLASS_NAME, "tip")
        wait.until(lambda _: tip.is_displayed())
        assert rows[-1].get_attribute("data-trial") in tip.text

        # a running search: what its worker writes appears without a reload
        chromium.get(f"{address}/searches/{running}")
        wait.until(lambda driver: driver.execute_script(DRAWN, FRONT_BLUE) > 10)
        chromium.execute_script("window.sameDocument = true")
        with database.write() as session:
            row = session.get_one(Search, running)
            held = leases.Claim(Search, running, row.lease_token)
            leases.finish(session, held, "FAILED", error_message="the disk is full", error_code="x", error_hint="y")
        # read in one step: the page replaces the element while it refreshes
        wait.until(lambda driver: "the disk is full" in driver.execute_script(STATUS))
        assert chromium.execute_script("return window.sameDocument") is True
        assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []
    database.close()


def test_a_layer_is_marked_in_both_plots_of_a_trial(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    database = open_database(settings.url)
    architecture = get_space("mobilenet_v2_small").to_string(get_space("mobilenet_v2_small").cover()[-1])

    def trials(spec: SearchSpec) -> list[Trial]:
        made = seeding.train(spec, seeding.make_trials(spec, scored=12), entered=4, finished=2, measured=True)
        return [replace(trial, architecture=architecture) for trial in made]

    objectives = [{"metric": "accuracy"}, {"metric": "latency_ms", "device": "phone_cpu"}]
    spec = {**seeding.SPEC, "objectives": objectives}
    search_id = seeding.add_search(database, spec, trials, phase="measure", state="SUCCEEDED")
    wait = WebDriverWait(chromium, 20)
    with serving(settings) as client:
        trial_id = client.get(f"/v1/searches/{search_id}/trials").json()["items"][0]["id"]
        chromium.get(f"{str(client.base_url).rstrip('/')}/trials/{trial_id}")
        for plot in ("roofline", "waterline"):
            wait.until(lambda driver, plot=plot: driver.execute_script(DRAWN_AT.format(plot=plot)) > 1000)
        (row, *_) = chromium.find_elements(By.CSS_SELECTOR, "tr[data-layer]")
        webdriver.ActionChains(chromium).move_to_element(row).perform()
        name = row.find_element(By.TAG_NAME, "td").text
        tips = chromium.find_elements(By.CLASS_NAME, "tip")
        wait.until(lambda _: all(tip.is_displayed() for tip in tips))
        assert [tip.text.splitlines()[0] for tip in tips] == [name, name]

        # and the other way round: a bar of the waterline marks its row
        canvas = chromium.find_element(By.CSS_SELECTOR, "#waterline canvas")
        webdriver.ActionChains(chromium).move_to_element(canvas).perform()
        marked = chromium.find_elements(By.CSS_SELECTOR, "tr.active td:first-child")
        assert [cell.text for cell in marked] == [tips[1].text.splitlines()[0]]
        assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []
    database.close()


def _text(driver: webdriver.Chrome, element_id: str) -> str:
    return driver.find_element(By.ID, element_id).get_attribute("textContent")
