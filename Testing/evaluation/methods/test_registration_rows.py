"""Contours carried by registration: a shift is known, and every method must find it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from adaptsam.evaluation.methods import NotApplicable, VolumePair, make_methods
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.metrics.volume_metrics import dice

GRID = Geometry((24, 40, 48), (5.0, 5.0, 6.0), (-120.0, -100.0, 0.0))
SHIFT = (1, 2, -3)


def body(shift=(0, 0, 0)) -> tuple[np.ndarray, np.ndarray]:
    """A body with lungs and a tumour, moved by whole voxels (k, j, i)."""
    k, j, i = (axis - offset for axis, offset in zip(np.indices(GRID.shape), shift, strict=True))
    image = np.full(GRID.shape, -1000.0, np.float32)
    image[((j - 20) / 15) ** 2 + ((i - 24) / 20) ** 2 <= 1] = 40
    for side in (-9, 9):
        image[((j - 19) / 8) ** 2 + ((i - 24 - side) / 6) ** 2 + ((k - 12) / 10) ** 2 <= 1] = -800
    image[((j - 31) / 2.5) ** 2 + ((i - 24) / 2.5) ** 2 <= 1] = 500
    tumour = ((j - 18) / 4) ** 2 + ((i - 15) / 4) ** 2 + ((k - 12) / 3.5) ** 2 <= 1
    image[tumour] = 60
    return ndimage.gaussian_filter(image, 0.4), tumour


@pytest.fixture(scope="module")
def pair() -> VolumePair:
    (first, tumour), (second, _) = body(), body(SHIFT)
    structures = StructureSet((Structure("GTV", tumour),), GRID)
    return VolumePair("moved", Volume(first, GRID, "CT"), structures, Volume(second, GRID, "CT"))


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return body(SHIFT)[1]


def test_a_copied_contour_stays_where_it_was(pair, truth, bench):
    [method] = make_methods(["copied"])
    found = method.volume(bench, pair)["GTV"].mask
    assert dice(found, pair.structures.structures[0].mask) > 0.95
    assert dice(found, truth) < 0.6


@pytest.mark.parametrize("name", ["rigid", "registration"])
def test_registration_finds_the_shift(pair, truth, bench, name):
    [method] = make_methods([name])
    assert dice(method.volume(bench, pair)["GTV"].mask, truth) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("name", "library"), [("elastix", "itk"), ("syn", "ants")])
def test_an_optional_library_finds_the_shift_on_a_grid_of_its_own(pair, truth, bench, name, library):
    pytest.importorskip(library, reason=f"the extra of {name} is not installed")
    cropped = replace(GRID, shape=(20, 40, 48), origin=(-120.0, -100.0, 12.0))
    target = Volume(np.ascontiguousarray(pair.target.array[2:22]), cropped, "CT")
    [method] = make_methods([name])
    method.prepare(bench)
    found = method.volume(bench, VolumePair("cropped", pair.prior, pair.structures, target))["GTV"].mask
    assert found.shape == (20, 40, 48)
    assert dice(found, truth[2:22]) > 0.8


def test_registration_has_no_part_in_single_pictures(bench, make_pair):
    for method in make_methods(["copied", "rigid", "registration", "elastix", "syn"]):
        with pytest.raises(NotApplicable, match="needs volumes"):
            method.pictures(bench, [make_pair()])


class Echo:
    """Stands for a method of pictures: says where the prior's mask is."""

    def __init__(self):
        self.asked = []

    def __call__(self, bench, pairs):
        self.asked += [one.name for one in pairs]
        return [one.prior.mask for one in pairs]


def test_a_method_for_pictures_gets_the_known_slices_paired_by_their_offset_from_the_middle(pair, truth, bench):
    [method] = make_methods(["panet"])
    echo = Echo()
    method.pictures = echo
    held = np.flatnonzero(truth.any(axis=(1, 2)))
    found = method.volume(bench, replace(pair, known_slices={"GTV": held.tolist()}))["GTV"].mask
    assert echo.asked == [f"moved/GTV/{k}" for k in held]
    np.testing.assert_array_equal(np.flatnonzero(found.any(axis=(1, 2))), held)
    prior = pair.structures.structures[0].mask
    np.testing.assert_array_equal(found[held[2]], prior[np.flatnonzero(prior.any(axis=(1, 2)))[2]])


def test_without_knowing_them_it_gets_the_slices_that_the_registered_contour_reaches(pair, truth, bench):
    [method] = make_methods(["panet"])
    method.pictures = Echo()
    found = method.volume(bench, pair)["GTV"].mask
    held = np.flatnonzero(truth.any(axis=(1, 2)))
    reached = np.flatnonzero(found.any(axis=(1, 2)))
    assert set(held) >= set(reached[1:-1])
    assert len(reached) >= len(held) - 1


@pytest.mark.parametrize("name", ["panet", "fine-tune"])
def test_a_structure_too_small_for_the_grid_is_not_found_and_no_failure(pair, bench, name):
    speck = np.zeros(GRID.shape, bool)
    speck[12, 20, 20] = True
    structures = StructureSet((Structure("speck", speck),), GRID)
    [method] = make_methods([name])
    found = method.volume(bench, replace(pair, structures=structures, known_slices={"speck": [12]}))
    assert not found["speck"].mask.any()


def test_all_methods_of_a_pair_share_one_registration(pair):
    assert pair.rigid is pair.rigid
    assert pair.deformation.rigid is pair.rigid
