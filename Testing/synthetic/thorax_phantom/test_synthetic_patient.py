"""The synthetic patient: exact contours, plausible densities, and visits that differ as they say."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptsam.errors import InputError
from adaptsam.synthetic.thorax_phantom import (
    CONTOURABLE,
    CONTOURED,
    CONTRASTS,
    COURSES,
    Contrast,
    Course,
    PhantomSettings,
    PhantomVisit,
    Scanner,
    phantom_patient,
    phantom_visits,
)

SMALL = {"shape": (16, 64, 64), "spacing": (6.8, 6.8, 18.0)}


REFERENCE = json.loads((Path(__file__).parent / "phantom_reference.json").read_text())


def structure(visit: PhantomVisit, name: str) -> np.ndarray:
    return next(s.mask for s in visit.structures.structures if s.name == name)


@pytest.fixture(scope="module")
def patient() -> list[PhantomVisit]:
    return phantom_patient(3, visits=3, tumour_scales=(1.2, 0.0), **SMALL)


def test_the_same_seed_gives_the_same_voxels_and_another_seed_another_patient(patient: list[PhantomVisit]) -> None:
    again = phantom_patient(3, visits=1, **SMALL)[0]
    other = phantom_patient(4, visits=1, **SMALL)[0]
    assert np.array_equal(again.volume.array, patient[0].volume.array)
    assert not np.array_equal(other.volume.array, patient[0].volume.array)


def test_every_visit_has_all_contours_on_its_own_grid(patient: list[PhantomVisit]) -> None:
    for visit in patient:
        assert visit.structures.names == tuple(CONTOURED)
        assert visit.structures.geometry == visit.volume.geometry
        assert visit.volume.array.shape == visit.volume.geometry.shape


def test_tissues_have_the_hounsfield_units_of_their_kind(patient: list[PhantomVisit]) -> None:
    array = patient[0].volume.array
    lung = array[structure(patient[0], "Lung-Left")]
    assert -900 < np.median(lung) < -650
    # Voxels are coarse here, so that most of the tumour shares one with lung.
    assert -60 < np.quantile(array[structure(patient[0], "GTV-1")], 0.9) < 120
    assert 10 < np.median(array[structure(patient[0], "Heart")]) < 80
    assert np.median(array[:, 0, :]) < -900


def test_the_lungs_lie_on_their_own_sides_in_lps(patient: list[PhantomVisit]) -> None:
    geometry = patient[0].volume.geometry
    for name, sign in (("Lung-Left", 1), ("Lung-Right", -1)):
        k, j, i = np.array(np.nonzero(structure(patient[0], name))).mean(axis=1)
        assert sign * geometry.world(np.array([i, j, k]))[0] > 20


def test_the_tumour_lies_in_or_at_a_lung_and_never_in_the_heart(patient: list[PhantomVisit]) -> None:
    gtv = structure(patient[0], "GTV-1")
    assert gtv.any()
    assert not (gtv & structure(patient[0], "Heart")).any()


def test_a_tumour_grows_and_vanishes_as_asked() -> None:
    fine = {"shape": (40, 96, 96), "spacing": (4.5, 4.5, 7.0)}
    first, grown, gone = phantom_patient(3, visits=3, tumour_scales=(1.3, 0.0), **fine)
    before, after = structure(first, "GTV-1").sum(), structure(grown, "GTV-1").sum()
    assert 1.5 < after / before < 2.6
    assert not structure(gone, "GTV-1").any()
    assert "gone" in gone.description


def test_a_later_visit_is_set_up_differently(patient: list[PhantomVisit]) -> None:
    assert not np.array_equal(structure(patient[0], "Heart"), structure(patient[1], "Heart"))
    assert patient[0].volume.dicom is not None
    assert patient[1].volume.dicom is not None
    assert patient[0].volume.dicom.study_date < patient[1].volume.dicom.study_date


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(InputError, match="at least one visit"):
        phantom_patient(0, visits=0)
    with pytest.raises(InputError, match="tumour scales"):
        phantom_patient(0, visits=2, tumour_scales=(1.0, 1.0), **SMALL)


@pytest.mark.parametrize(
    "recorded", REFERENCE["visits"], ids=lambda recorded: f"{recorded['seed']}-{recorded['visit']}"
)
def test_the_plain_patient_stays_what_published_figures_were_measured_on(recorded: dict) -> None:
    visit = phantom_patient(recorded["seed"], 2, **SMALL)[recorded["visit"]]
    digest = hashlib.sha256(visit.volume.array.tobytes())
    for found in visit.structures.structures:
        digest.update(found.mask.tobytes())
    if digest.hexdigest() == recorded["sha256"]:
        return
    # Another processor rounds a sine differently, which may move a voxel by 1 HU and a surface voxel in or out.
    assert np.abs(visit.volume.array[2::4, 5::9, 5::9].ravel() - np.array(recorded["voxels"])).max() <= 1
    counts = [int(found.mask.sum()) for found in visit.structures.structures]
    assert np.abs(np.array(counts) - recorded["counts"]).max() <= 2


def test_visits_are_a_week_apart_and_come_one_at_a_time() -> None:
    visits = phantom_visits(1, 6, shape=(2, 8, 8), spacing=(50, 50, 100))
    dates = [visit.volume.dicom.study_date for visit in visits if visit.volume.dicom]
    assert dates == ["20260101", "20260108", "20260115", "20260122", "20260129", "20260205"]


# A free tumour of 26 mm, and fine voxels around it only.
NODULE = 10
FINE = {"shape": (72, 96, 96), "spacing": (3.5, 3.5, 4.0)}
AROUND = Scanner(length=64.0)


def gtv_volumes(course: Course) -> np.ndarray:
    settings = PhantomSettings(course=course, scanner=AROUND)
    return np.array(
        [structure(visit, "GTV-1").sum() for visit in phantom_patient(NODULE, 3, settings=settings, **FINE)]
    )


@pytest.mark.parametrize("name", ["grow", "shrink", "vanish"])
def test_a_course_changes_the_tumour_as_its_name_says(name: str) -> None:
    # At each visit posture deforms the tumour a little, so that the stable one is what to compare with.
    stable, changed = gtv_volumes(COURSES["stable"]), gtv_volumes(COURSES[name])
    factor = COURSES[name].volume
    assert factor is not None
    expected = [1, factor, 0 if name == "vanish" else factor**2]
    assert stable.min() > 100
    assert changed / stable == pytest.approx(expected, rel=0.1)


def test_a_dying_tumour_gets_a_dark_core_inside_of_a_rim() -> None:
    dying = PhantomSettings(course=Course(volume=1.1, core=0.7), scanner=AROUND)
    first, second = phantom_patient(NODULE, 2, settings=dying, **FINE)
    whole = phantom_patient(NODULE, 2, settings=replace(dying, course=Course(volume=1.1)), **FINE)[1]
    assert "necrotic core of 70%" in second.description
    assert "necrotic" not in first.description
    change = second.volume.array.astype(int) - whole.volume.array
    inside = structure(second, "GTV-1")
    assert np.array_equal(inside, structure(whole, "GTV-1"))
    assert change[inside].min() < -40
    assert 0.05 < np.mean(change[inside] < -10) < 0.7
    assert np.abs(change[~inside]).max() < 10


def test_weight_is_lost_under_the_skin_and_nowhere_else() -> None:
    settings = PhantomSettings(weight=-0.1, contours=("Body", "Lung-Left", "Spinal-Cord"))
    thin, plain = (
        phantom_patient(2, 2, settings=chosen, **SMALL)[1] for chosen in (settings, replace(settings, weight=0.0))
    )
    assert 0.85 < structure(thin, "Body").sum() / structure(plain, "Body").sum() < 0.95
    assert structure(thin, "Lung-Left").sum() == pytest.approx(structure(plain, "Lung-Left").sum(), rel=0.02)
    assert "weight -10%" in thin.description


def test_contrast_agent_lights_up_blood_and_leaves_fat_alone() -> None:
    chosen = PhantomSettings(contours=("Aorta", "Heart", "Spine", "Lung-Left"))
    plain, bright = (
        phantom_patient(4, 1, settings=replace(chosen, contrast=contrast), **SMALL)[0]
        for contrast in (Contrast(), CONTRASTS["arterial"])
    )
    change = bright.volume.array.astype(int) - plain.volume.array
    assert np.quantile(change[structure(plain, "Aorta")], 0.9) > 200
    assert np.quantile(change[structure(plain, "Heart")], 0.9) > 150  # chambers
    assert 20 < np.quantile(change[structure(plain, "Heart")], 0.1) < 90  # muscle
    assert np.median(change[structure(plain, "Lung-Left")]) == 0


def test_bronchi_are_air_in_the_lung_that_leaves_the_contours_as_they_are() -> None:
    fine = {"shape": (40, 96, 96), "spacing": (2.5, 2.5, 2.5)}
    plain, branched = (phantom_patient(5, 1, settings=PhantomSettings(bronchi=count), **fine)[0] for count in (0, 3))
    darker = branched.volume.array.astype(int) - plain.volume.array < -60
    assert darker.sum() > 50
    lungs = structure(plain, "Lung-Left") | structure(plain, "Lung-Right")
    assert (darker & lungs).sum() > 0.8 * darker.sum()
    for name in plain.structures.names:
        assert np.array_equal(structure(plain, name), structure(branched, name))


def test_a_liver_with_an_edge_ends_above_the_one_without() -> None:
    tall = {"shape": (40, 48, 48), "spacing": (8.0, 8.0, 9.0)}
    endless, edged = (
        phantom_patient(6, 1, settings=PhantomSettings(liver_edge=edge, contours=("Liver",)), **tall)[0]
        for edge in (False, True)
    )
    assert structure(endless, "Liver")[0].any()
    assert not structure(edged, "Liver")[0].any()
    assert structure(edged, "Liver").sum() > 1000e3 / edged.volume.geometry.voxel_volume / 3
    assert np.median(edged.volume.array[structure(edged, "Liver")]) == pytest.approx(60, abs=15)


def test_every_structure_can_be_contoured() -> None:
    visit = phantom_patient(0, 1, settings=PhantomSettings(contours=tuple(CONTOURABLE)), **SMALL)[0]
    assert visit.structures.names == tuple(CONTOURABLE)
    assert all(found.mask.any() for found in visit.structures.structures if found.name != "GTV-1")


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (lambda: PhantomSettings(weight=0.5), "Weight changes"),
        (lambda: PhantomSettings(bronchi=6), "generations of bronchi"),
        (lambda: PhantomSettings(contours=("Knee",)), "Knee cannot be contoured"),
        (lambda: PhantomSettings(contours=()), "Nothing cannot be contoured"),
        (lambda: Course(volume=9.0), "factor of 0.05 to 3"),
        (lambda: Course(core=0.9), "necrotic core"),
        (lambda: Contrast(blood=-1), "0 to 600 HU"),
        (lambda: phantom_patient(-1), "seed"),
        (lambda: phantom_patient(0, 1, shape=(0, 8, 8)), "at least one voxel"),
        (lambda: phantom_patient(0, 2, tumour_scales=(-1.0,)), r"0 \(gone\) or more"),
    ],
)
def test_values_that_make_no_patient_are_refused_in_a_sentence(asked, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as refused:
        asked()
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)
