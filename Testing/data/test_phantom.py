"""The synthetic patient: exact contours, plausible densities, and visits that differ as they say."""

import numpy as np
import pytest

from adaptsam.data.phantom import CONTOURED, PhantomVisit, phantom_patient
from adaptsam.errors import InputError

SMALL = {"shape": (16, 64, 64), "spacing": (6.8, 6.8, 18.0)}


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
