"""A 4D scan of the phantom: what moves moves as asked, what stays stays, and a phase on disk reads back."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from adaptsam.errors import InputError
from adaptsam.io import list_series, read_structures, read_volume
from adaptsam.synthetic.thorax_phantom import (
    Breathing,
    PhantomPhase,
    PhantomSettings,
    PhantomVisit,
    phantom_patient,
    write_visit,
)
from adaptsam.synthetic.thorax_phantom import truth as truth_of

GRID = {"shape": (64, 64, 64), "spacing": (6.0, 6.0, 5.0)}
BREATHING = Breathing(phases=10, diaphragm=25.0, tumour=18.0, hysteresis=2.0, forward=3.0)


def mask(phase: PhantomPhase, name: str) -> np.ndarray:
    return next(s.mask for s in phase.structures.structures if s.name == name)


@pytest.fixture(scope="module")
def visit() -> PhantomVisit:
    contours = ("GTV-1", "Lung-Left", "Lung-Right", "Heart", "Spinal-Cord", "Ribs", "Liver")
    return phantom_patient(10, 1, settings=PhantomSettings(breathing=BREATHING, contours=contours), **GRID)[0]


def centroid(phase: PhantomPhase, name: str) -> np.ndarray:
    k, j, i = np.array(np.nonzero(mask(phase, name))).mean(axis=1)
    return phase.volume.geometry.world(np.array([i, j, k]))


def test_the_tumour_goes_where_the_phase_says(visit: PhantomVisit) -> None:
    rest = centroid(visit.phases[5], "GTV-1")
    for phase in visit.phases:
        assert centroid(phase, "GTV-1") - rest == pytest.approx(phase.motion.tumour, abs=1.0)


def test_the_amplitude_is_the_one_asked_for(visit: PhantomVisit) -> None:
    down = [-phase.motion.tumour[2] for phase in visit.phases]
    assert max(down) == pytest.approx(18.0)
    assert min(down) == pytest.approx(0.0, abs=1e-9)
    assert max(phase.motion.diaphragm for phase in visit.phases) == pytest.approx(25.0)
    assert np.argmax(down) == 0
    assert np.argmin(down) == 5


def test_air_goes_out_on_another_path_than_it_came_in(visit: PhantomVisit) -> None:
    forward = {round(phase.motion.percent): -phase.motion.tumour[1] for phase in visit.phases}
    for out, back_in in ((10, 90), (20, 80), (30, 70), (40, 60)):
        assert forward[back_in] - forward[out] == pytest.approx(4.0 * np.sin(2 * np.pi * out / 100))


def test_the_diaphragm_takes_the_liver_along(visit: PhantomVisit) -> None:
    spacing = visit.volume.geometry.spacing[2]
    tops = [np.nonzero(mask(visit.phases[n], "Liver").any(axis=(1, 2)))[0].max() * spacing for n in (0, 5)]
    assert tops[1] - tops[0] == pytest.approx(25.0, abs=spacing)


def test_lungs_grow_with_the_breath_and_keep_their_mass() -> None:
    fine = {"shape": (64, 96, 96), "spacing": (4.0, 4.0, 5.0)}
    settings = PhantomSettings(breathing=Breathing(phases=2, diaphragm=25.0))
    inhaled, exhaled = phantom_patient(10, 1, settings=settings, **fine)[0].phases
    volumes, masses = [], []
    for phase in (inhaled, exhaled):
        lungs = mask(phase, "Lung-Left") | mask(phase, "Lung-Right")
        volumes.append(lungs.sum())
        masses.append((phase.volume.array[lungs] + 1000.0).sum())
    assert volumes[0] / volumes[1] > 1.15
    assert masses[0] / masses[1] == pytest.approx(1, abs=0.06)  # what is left are voxels at the edge


def test_ribs_and_spine_hardly_move(visit: PhantomVisit) -> None:
    inhaled, exhaled = visit.phases[0], visit.phases[5]
    assert np.array_equal(mask(inhaled, "Spinal-Cord"), mask(exhaled, "Spinal-Cord"))
    assert np.abs(centroid(inhaled, "Ribs") - centroid(exhaled, "Ribs")).max() < BREATHING.chest


def test_the_heart_goes_a_part_of_the_way(visit: PhantomVisit) -> None:
    moved = centroid(visit.phases[0], "Heart") - centroid(visit.phases[5], "Heart")
    assert moved == pytest.approx(visit.phases[0].motion.heart, abs=2.5)
    assert -moved[2] == pytest.approx(0.35 * 25, abs=2.5)


def test_the_end_of_exhalation_is_the_anatomy_as_drawn(visit: PhantomVisit) -> None:
    held = phantom_patient(10, 1, settings=PhantomSettings(contours=visit.structures.names), **GRID)[0]
    for drawn, phase in zip(held.structures.structures, visit.phases[5].structures.structures, strict=True):
        assert np.mean(drawn.mask != phase.mask) < 1e-4


def test_structures_have_the_density_of_their_kind_in_every_phase(visit: PhantomVisit) -> None:
    for phase in visit.phases:
        assert -920 < np.median(phase.volume.array[mask(phase, "Lung-Left")]) < -700
        assert 20 < np.median(phase.volume.array[mask(phase, "Liver")]) < 100
        assert np.quantile(phase.volume.array[mask(phase, "GTV-1")], 0.9) > -100


def test_the_same_seed_breathes_the_same() -> None:
    tiny = {"shape": (6, 16, 16), "spacing": (25, 25, 40)}
    settings = PhantomSettings(breathing=Breathing(phases=3))
    once, again = (phantom_patient(2, 2, settings=settings, **tiny) for _ in range(2))
    for one, other in zip(once[1].phases, again[1].phases, strict=True):
        assert np.array_equal(one.volume.array, other.volume.array)
    assert once[1].volume is once[1].phases[0].volume


@pytest.fixture(scope="module")
def few_slices() -> PhantomVisit:
    grid = {"shape": (4, 40, 40), "spacing": (10.0, 10.0, 30.0)}
    return phantom_patient(11, 1, settings=PhantomSettings(breathing=Breathing(phases=10)), **grid)[0]


@pytest.mark.parametrize("layout", ["folders", "together"])
def test_every_phase_reads_back_by_its_series_with_its_own_contours(
    few_slices: PhantomVisit, tmp_path: Path, layout: str
) -> None:
    write_visit(tmp_path, few_slices, layout=layout)
    listed = list_series(tmp_path)
    assert [info.description for info in listed] == [f"4DCT, Gated, {10 * n}.0%A" for n in range(10)]
    for info, phase in list(zip(listed, few_slices.phases, strict=True))[::3]:
        place = tmp_path / ("ct" if layout == "together" else f"phase-{phase.motion.percent:02.0f}")
        image = read_volume(place, info.uid)
        assert np.array_equal(image.array, phase.volume.array)
        assert image.geometry.matches(phase.volume.geometry)
        contours = read_structures(tmp_path / f"rtstruct-{phase.motion.percent:02.0f}.dcm", image)
        for read, drawn in zip(contours.structures, phase.structures.structures, strict=True):
            assert np.array_equal(read.mask, drawn.mask)


def test_phases_share_study_and_frame_of_reference_and_count_their_positions(
    few_slices: PhantomVisit, tmp_path: Path
) -> None:
    write_visit(tmp_path, few_slices)
    headers = [pydicom.dcmread(next((tmp_path / f"phase-{10 * n:02d}").iterdir())) for n in range(10)]
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "StudyDate", "PatientID"):
        assert len({str(header[keyword].value) for header in headers}) == 1
    assert len({header.SeriesInstanceUID for header in headers}) == 10
    for keyword in ("TemporalPositionIdentifier", "TemporalPositionIndex", "AcquisitionNumber"):
        assert [int(header[keyword].value) for header in headers] == list(range(1, 11))
    assert {int(header.NumberOfTemporalPositions) for header in headers} == {10}


def test_the_truth_tells_where_everything_was(visit: PhantomVisit) -> None:
    phases = truth_of(visit)["phases"]
    assert isinstance(phases, list)
    assert phases[0]["tumour_shift_lps_mm"][2] == pytest.approx(-18.0)
    assert phases[0]["volumes_cm3"]["Lung-Left"] > phases[5]["volumes_cm3"]["Lung-Left"]


def test_a_layout_that_does_not_exist_is_refused(few_slices: PhantomVisit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose one of folders, together"):
        write_visit(tmp_path, few_slices, layout="heap")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"phases": 1}, "at least 2 breathing phases"),
        ({"phases": -3}, "at least 2 breathing phases"),
        ({"diaphragm": 90.0}, "0 to 40 mm"),
        ({"tumour": 16.0}, "diaphragm's 15 mm"),
        ({"hysteresis": -1.0}, "hysteresis is 0 to 10 mm"),
        ({"heart": 2.0}, "share of the motion"),
    ],
)
def test_a_breath_that_nobody_breathes_is_refused(values: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Breathing(**values)
