"""The report: what it must say, what it must never say, and that it opens off line."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from adaptsam.image.intensity import Window
from adaptsam.image.volume import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.metrics.volume_metrics import compare_structures
from adaptsam.report import slice_viewer
from adaptsam.report.html_page import change, number, plain
from adaptsam.report.slice_pictures import Pane
from adaptsam.report.volume_report import Visit, field_of_view, measured, position, slice_plane, write_report
from adaptsam.slicewise.slice_report import SliceReport, StructureReport

SHAPE = (8, 32, 36)
GEOMETRY = Geometry(SHAPE, (2.0, 2.0, 5.0), (-36.0, -32.0, -100.0))
MODEL = SimpleNamespace(kind="small", precision="torch.float32", sha256="c0ffee" * 10)


@dataclass(frozen=True)
class Inner:
    retrieval: bool = True


@dataclass(frozen=True)
class SomeSettings:
    pairing: str = "rigid"
    margin_mm: float = 12.0
    inner: Inner = field(default_factory=Inner)


def slice_report(index: int, confidence: float, accepted: bool = True) -> SliceReport:
    points = np.array([[14.0, 15.0], [30.0, 5.0]])
    return SliceReport(index, index, accepted, 0.4, 0.9, confidence, points, np.array([1, 0]))


@pytest.fixture
def run() -> tuple[Volume, StructureSet, Visit]:
    """A tumour that is found, and a heart that is gone; the patient has a name."""
    array = np.random.default_rng(0).normal(-200, 200, SHAPE).astype(np.int16)
    identity = DicomSource(patient_id="4711-0815", study_date="20240229", header={"PatientName": "Muster^Erika"})
    volume = Volume(array, GEOMETRY, "CT", identity)
    mask = np.zeros(SHAPE, bool)
    mask[2:6, 10:20, 10:20] = True
    prior = StructureSet((Structure("GTV <1>", mask), Structure("Heart", mask, (240, 170, 60))), GEOMETRY, identity)
    result = StructureSet((Structure("GTV <1>", mask), Structure("Heart", mask & False)), GEOMETRY, identity)
    reports = (
        StructureReport("GTV <1>", "found", 8.0, 10.0, 3.25, (slice_report(2, 0.9), slice_report(4, 0.123))),
        StructureReport("Heart", "gone", 0.0, 10.0, float("nan"), (slice_report(3, 0.05, accepted=False),)),
    )
    propagation = SimpleNamespace(structures=result, reports=reports, warnings=("Heart was not found.",), encoded=9)
    return volume, prior, Visit("Target 1", volume, propagation, prior, compare_structures(result, prior))


@pytest.fixture
def page(run, tmp_path) -> str:
    volume, prior, visit = run
    path = write_report(tmp_path, volume, prior, [visit], model=MODEL, settings=SomeSettings(), note="A note & more.")
    return path.read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Every tag with its attributes, and whether all were closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_says_what_it_is_and_what_made_it(page):
    assert "For research use only, not approved by a clinician" in page
    for fact in ("small", MODEL.sha256, "rigid", "margin_mm", "inner.retrieval", "A note &amp; more."):
        assert fact in page


def test_the_report_never_says_who_the_patient_is(page, tmp_path):
    for secret in ("Muster", "Erika", "4711-0815", "20240229", str(tmp_path)):
        assert secret not in page


def test_the_report_opens_off_line_and_allows_its_own_script_alone(page):
    tags = Tags(page)
    assert tags.open == []
    assert not {"link", "iframe", "object"} & {tag for tag, _ in tags.found}
    assert "http" not in re.sub(r"http-equiv", "", page)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in page
    kinds = [attributes.get("type") for tag, attributes in tags.found if tag == "script"]
    assert kinds == ["application/json", "application/json", None]
    sources = [attributes["src"] for tag, attributes in tags.found if tag == "img" and "src" in attributes]
    assert sources
    for source in sources:
        kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.*)", source).groups()
        assert base64.b64decode(data).startswith(b"\x89PNG" if kind == "png" else b"\xff\xd8")


def viewers(page: str) -> list[list[dict]]:
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)]


def test_every_slice_of_a_structure_is_in_its_viewer_with_words_for_those_who_do_not_see_it(page):
    tumour, heart = viewers(page)
    assert [(one["slice"], one["flagged"]) for one in tumour] == [(2, True), (4, True)]
    assert "confidence 0.12" in tumour[1]["words"]
    assert [(one["slice"], one["flagged"]) for one in heart] == [(3, False)]
    picture = Image.open(io.BytesIO(base64.b64decode(tumour[0]["jpeg"])))
    assert picture.width > 2 * picture.height  # prior and target side by side


def test_a_slice_to_review_leads_to_its_place_in_the_viewer(page):
    assert '<a href="#slices-1-1" data-slice="4">4</a>' in page
    assert 'id="slices-1-1"' in page


def test_contour_and_points_lie_in_the_viewer_where_they_lie_in_the_volume():
    array = np.full((3, 40, 60), -500, np.int16)
    mask = np.zeros(array.shape, bool)
    mask[1, 10:20, 30:50] = True
    volume = Volume(array, Geometry(array.shape, (1.0, 2.0, 3.0), (0.0, 0.0, 0.0)), "CT")
    pane = Pane(volume, Window(-1000, 1000), 2, 1, "", [(mask, (255, 0, 0))], np.array([[40.0, 15.0]]), np.array([1]))
    drawn = np.array(slice_viewer._draw(pane, slice_viewer._middle([pane]), 80.0, 160)).astype(int)
    red = (drawn[..., 0] > 200) & (drawn[..., 1] < 60)
    rows, columns = np.nonzero(red)
    # 20 mm by 20 mm around the middle of a square of 80 mm in 160 pixels.
    assert (columns.min(), columns.max()) == pytest.approx((60, 99), abs=1)
    assert (rows.min(), rows.max()) == pytest.approx((60, 99), abs=1)
    green = (drawn[..., 1] > 200) & (drawn[..., 0] < 170)
    assert np.argwhere(green).mean(axis=0) == pytest.approx([82, 81], abs=2)


def test_many_slices_keep_the_page_small_and_no_flagged_one_is_left_out():
    noise = np.random.default_rng(1).integers(-1000, 1000, (60, 64, 64)).astype(np.int16)
    loud = Volume(noise, Geometry(noise.shape, (2.0, 2.0, 3.0), (0.0, 0.0, 0.0)), "CT")
    panes = [Pane(loud, Window(-1000, 1000), 2, index, "") for index in range(60)]
    slices = [slice_viewer.ViewedSlice(pane, pane, "", pane.slice == 31) for pane in panes]
    pictures = slice_viewer._within(slices, 120.0, 300_000)
    assert 0 < sum(map(len, pictures)) <= 300_000
    assert pictures[31]


def test_every_picture_is_described_and_lies_beside_the_page_too(page, tmp_path):
    descriptions = [attributes["alt"] for tag, attributes in Tags(page).found if tag == "img" and "src" in attributes]
    assert all(descriptions)
    files = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert files == [
        "target-1-1-gtv--1-confidence.png",
        "target-1-1-gtv--1-slice-2.png",
        "target-1-1-gtv--1-slice-4.png",
        "target-1-2-heart-confidence.png",
        "target-1-2-heart-slice-3.png",
    ]


def test_a_structure_that_is_gone_is_flagged_and_the_warning_is_shown(page):
    assert '<span class="flag">gone</span>' in page
    assert "Heart was not found." in page


def test_volumes_changes_and_agreement_stand_in_the_table(page):
    row = next(row for row in re.findall(r"<tr>.*?</tr>", page) if "GTV" in row and "found" in row)
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row)]
    assert cells == ["GTV &lt;1&gt;", "found", "10.0", "8.0", "−20 %", "3.2", "2", "0.12", "1.000", "0.0", "1.000"]


def test_the_slices_to_review_are_sorted_by_confidence_and_hold_none_that_was_rejected(page):
    table = page.split("Look at these first")[1].split("</table>")[0]
    assert re.findall(r"<td>(0\.\d\d)</td><td>0\.400", table) == ["0.12", "0.90"]
    assert "Heart" not in table


def test_names_are_escaped_so_that_a_structure_cannot_write_html(page):
    assert "<1>" not in page


def test_without_a_reference_there_are_no_columns_for_it(run, tmp_path):
    volume, prior, visit = run
    bare = Visit("Target 1", volume, visit.propagation)
    page = write_report(tmp_path, volume, prior, [bare], model=MODEL, settings=SomeSettings()).read_text()
    assert "Dice" not in page


def test_registration_alone_is_measured_beside_the_propagation(run, tmp_path):
    volume, prior, visit = run
    both = measured(Visit("Target 1", volume, visit.propagation), volume, prior, prior)
    assert both.baseline["Heart"].dice == pytest.approx(1.0, abs=0.1)
    assert both.agreements["Heart"].dice == 0.0
    page = write_report(tmp_path, volume, prior, [both], model=MODEL, settings=SomeSettings()).read_text()
    assert "Dice, registration alone" in page


def test_a_colour_volume_is_drawn_without_sides_of_the_patient(run, tmp_path):
    _, prior, visit = run
    frames = Volume(np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), dtype=np.uint8), GEOMETRY)
    seen = Visit("Frame", frames, visit.propagation)
    assert write_report(tmp_path, frames, prior, [seen], model=MODEL, settings=SomeSettings()).is_file()
    assert position(frames, 0, 3) == ""


def test_the_position_of_a_slice_is_the_one_that_dicom_gives_it():
    volume = Volume(np.zeros(SHAPE, np.int16), GEOMETRY)
    assert position(volume, 0, 3) == "S −85.0 mm"
    assert position(volume, 1, 3) == "P −26.0 mm"


def test_slices_counted_along_another_axis_of_the_array_run_along_another_axis_of_the_patient():
    assert [slice_plane(GEOMETRY, axis) for axis in (0, 1, 2)] == [2, 1, 0]


def test_the_field_of_view_holds_the_structure_with_room_around_it():
    mask = np.zeros(SHAPE, bool)
    mask[2:6, 0:30, 5:10] = True
    assert field_of_view(2, (mask, GEOMETRY)) == pytest.approx(1.7 * 60)
    assert field_of_view(2, (mask & False, GEOMETRY)) == 90.0


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (number(1.234, 2), "1.23"),
        (number(float("nan"), 2), "–"),
        (change(12.0, 10.0), "+20 %"),
        (change(5.0, 0.0), "–"),
        (plain((1, 4)), "1, 4"),
        (plain(None), "–"),
        (plain(True), "yes"),
    ],
)
def test_figures_are_written_for_people(shown, wanted):
    assert shown == wanted


def test_the_page_is_written_as_utf_8(page, tmp_path):
    assert "cm³".encode() in Path(tmp_path / "report.html").read_bytes()
