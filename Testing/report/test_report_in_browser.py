"""The report in a real browser: keys, slider, what a screen reader is told, paper, and no complaint by the browser."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.report.volume_report import Visit, compared, write_report
from adaptsam.slicewise.slice_report import SliceReport, StructureReport

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium with its driver on this machine"),
]
SHAPE = (12, 48, 48)


def visit() -> tuple[Volume, StructureSet, Visit]:
    geometry = Geometry(SHAPE, (2.0, 2.0, 4.0), (0.0, 0.0, 0.0))
    volume = Volume(np.random.default_rng(0).normal(-300, 200, SHAPE).astype(np.int16), geometry, "CT")
    mask = np.zeros(SHAPE, bool)
    mask[2:10, 15:30, 15:30] = True
    both = StructureSet((Structure("GTV-1", mask), Structure("Heart", mask, (240, 170, 60))), geometry)
    confidences = [0.9, 0.8, 0.3, 0.85, 0.9, 0.9, 0.2, 0.7]

    def slices(shift: float) -> tuple[SliceReport, ...]:
        points, labels = np.array([[20.0, 20.0]]), np.array([1])
        return tuple(
            SliceReport(k, k, True, 0.4, 0.9, value - shift, points, labels)
            for k, value in enumerate(confidences, start=2)
        )

    reports = (
        StructureReport("GTV-1", "found", 8.0, 10.0, 3.0, slices(0.0)),
        StructureReport("Heart", "found", 8.0, 10.0, 3.0, slices(0.1)),
    )
    found = SimpleNamespace(structures=both, reports=reports, warnings=(), encoded=0)
    seen = compared(Visit("Target 1", volume, found), both)
    return volume, both, replace(seen, baseline=seen.agreements)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    volume, structures, seen = visit()
    model = SimpleNamespace(kind="small", precision="torch.float32", sha256="0" * 64)
    return write_report(folder, volume, structures, [seen], model=model, settings={"register": "rigid"})


@pytest.fixture(scope="module")
def browser(page):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.get(page.as_uri())
    yield driver
    driver.quit()


def said(browser, place: int = 0) -> str:
    return browser.find_elements("css selector", ".viewer output")[place].text


def press(browser, key: str) -> None:
    webdriver.ActionChains(browser).send_keys(key).perform()


def test_the_browser_complains_about_nothing(browser):
    assert [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_a_slider_shows_every_slice_in_turn(browser):
    slider = browser.find_element("css selector", ".viewer input")
    image = browser.find_element("css selector", ".viewer img")
    browser.execute_script("arguments[0].value = 0; arguments[0].dispatchEvent(new Event('input'))", slider)
    seen = []
    for _ in range(8):
        seen.append((said(browser).split(",")[0], image.get_attribute("src")))
        slider.send_keys("\ue014")  # the right arrow
    assert [words for words, _ in seen] == [f"Slice {k}" for k in range(2, 10)]
    assert len({picture for _, picture in seen}) == 8
    assert browser.execute_script("return arguments[0].naturalWidth", image) > 256


def test_n_and_p_step_through_the_flagged_slices_of_the_whole_page(browser):
    browser.get(browser.current_url)
    press(browser, "n")
    first = said(browser)
    assert "look at this slice" in first
    press(browser, "n")
    assert said(browser) != first
    press(browser, "p")
    assert said(browser) == first


def test_a_slice_in_the_table_leads_to_its_picture(browser):
    browser.get(browser.current_url)
    link = browser.find_element("css selector", "a[data-slice]")
    link.click()
    shown = {words for place in (0, 1) if (words := said(browser, place)).startswith(f"Slice {link.text},")}
    assert shown


def test_a_screen_reader_is_told_what_a_slider_and_its_picture_show(browser):
    slider = browser.find_element("css selector", ".viewer input")
    assert slider.get_attribute("aria-label") == "Slice of GTV-1"
    assert slider.get_attribute("aria-valuetext").startswith("Slice ")
    assert "GTV-1" in browser.find_element("css selector", ".viewer img").get_attribute("alt")
    assert browser.find_element("css selector", ".viewer output").get_attribute("aria-live") == "polite"
    assert browser.find_elements("css selector", "main")
    assert not browser.find_elements("css selector", "th:not([scope])")


def test_on_paper_still_pictures_stand_in_for_the_sliders(browser):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.find_element("css selector", ".viewer").is_displayed()
    assert browser.find_element("css selector", ".still").is_displayed()
    paper = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert paper.startswith(b"%PDF")
    assert browser.find_element("css selector", ".viewer").is_displayed()
    assert not browser.find_element("css selector", ".still").is_displayed()


def test_on_paper_no_column_of_a_table_is_cut_off(browser):
    size = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # A4 less its margins
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    wider = browser.execute_script(
        "return [...document.querySelectorAll('table')].filter(one => one.scrollWidth > document.body.clientWidth + 1)"
        ".map(one => one.textContent)"
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wider == []


def test_the_file_is_small(page):
    assert page.stat().st_size < 10_000_000
