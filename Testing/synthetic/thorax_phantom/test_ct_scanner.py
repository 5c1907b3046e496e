"""Scanners and the faults of their projections: each shows in the image what it is known for."""

from dataclasses import replace

import numpy as np
import pytest

from adaptsam.errors import InputError
from adaptsam.synthetic.thorax_phantom import (
    CONE_BEAM,
    KERNELS,
    SCANNERS,
    Beam,
    PhantomSettings,
    PhantomVisit,
    Scanner,
    phantom_patient,
)
from adaptsam.synthetic.thorax_phantom.projections import with_faults

GRID = {"shape": (6, 64, 64), "spacing": (6.8, 6.8, 40.0)}
SPACING = (4.0, 4.0)


def scan(scanner: Scanner, visits: int = 1, **settings: object) -> PhantomVisit:
    return phantom_patient(3, visits, settings=PhantomSettings(scanner=scanner, **settings), **GRID)[-1]


def faulty(image: np.ndarray, **beam: float) -> np.ndarray:
    return with_faults(image, SPACING, Beam(views=90, **beam), np.random.default_rng(0))


@pytest.fixture
def cylinder() -> np.ndarray:
    """Two slices through a cylinder of water with a radius of 100 mm, 64 × 64 pixels of 4 mm."""
    axis = (np.arange(64) - 31.5) * 4
    disc = np.hypot(axis[None, :], axis[:, None]) < 100
    return np.stack([np.where(disc, 0.0, -1000.0)] * 2)


def ring_mean(image: np.ndarray, inner: float, outer: float) -> float:
    axis = (np.arange(64) - 31.5) * 4
    radius = np.hypot(axis[None, :], axis[:, None])
    return float(image[:, (radius >= inner) & (radius < outer)].mean())


def test_a_perfect_measurement_changes_nothing(cylinder: np.ndarray) -> None:
    assert np.abs(faulty(cylinder) - cylinder).max() < 0.5


@pytest.mark.parametrize("fault", [{"scatter": 0.1}, {"hardening": 0.02}])
def test_scatter_and_hardening_make_a_cup(cylinder: np.ndarray, fault: dict) -> None:
    image = faulty(cylinder, **fault)
    assert ring_mean(image, 0, 20) < ring_mean(image, 75, 90) - 20
    assert ring_mean(image, 0, 20) < -20


def test_fewer_photons_are_more_noise_and_most_of_it_in_the_middle(cylinder: np.ndarray) -> None:
    spread = {}
    for photons in (1e5, 1e3):
        change = faulty(cylinder, photons=photons) - cylinder
        spread[photons] = change[:, 24:40, 24:40].std(), change[:, 2:8, 2:8].std()
    assert spread[1e3][0] > 5 * spread[1e5][0]
    assert spread[1e3][0] > spread[1e3][1]


def test_a_bad_element_draws_a_ring_around_the_middle(cylinder: np.ndarray) -> None:
    change = faulty(cylinder, rings=0.01) - cylinder
    # Along a ring the error is the same, across rings it is not.
    axis = (np.arange(64) - 31.5) * 4
    radius = np.hypot(axis[None, :], axis[:, None])
    means = [change[0][(radius >= r) & (radius < r + 4)].mean() for r in range(8, 100, 4)]
    assert np.std(means) > 0.5 * change[0][radius < 100].std()


def test_missing_views_are_streaks_without_a_change_of_the_mean(cylinder: np.ndarray) -> None:
    change = faulty(cylinder, views_kept=6) - cylinder
    assert change.std() > 15
    assert abs(change[:, 20:44, 20:44].mean()) < 15


def test_a_narrow_detector_brightens_its_rim(cylinder: np.ndarray) -> None:
    image = faulty(cylinder, field=140.0)
    assert ring_mean(image, 60, 70) > ring_mean(image, 0, 30) + 50


def test_a_cone_beam_scan_is_short_round_and_off_in_hounsfield_units() -> None:
    cone = replace(CONE_BEAM, spacing=(6.8, 6.8, 10.0), beam=replace(CONE_BEAM.beam, views=60))
    first, later = phantom_patient(
        3, 2, settings=PhantomSettings(follow_up=cone, contours=("GTV-1", "Lung-Left", "Heart")), **GRID
    )
    assert first.volume.array.shape == GRID["shape"]
    geometry = later.volume.geometry
    assert geometry.shape[0] * geometry.spacing[2] == CONE_BEAM.length
    assert (later.volume.array[:, 0, 0] == -1000).all()
    assert "CBCT" in later.description
    hearts = [visit.volume.array[visit.structures.structures[2].mask] for visit in (first, later)]
    assert np.median(hearts[1]) < np.median(hearts[0]) - 30
    tumour = np.nonzero(later.structures.structures[0].mask.any(axis=(1, 2)))[0]
    assert len(tumour)
    assert later.structures.geometry == geometry


def test_a_scan_is_centred_on_the_tumour_but_stays_in_the_patient() -> None:
    for seed in range(4):
        whole, short = (
            phantom_patient(seed, 1, settings=PhantomSettings(scanner=Scanner(length=length)), **GRID)[0]
            for length in (None, 80.0)
        )
        assert short.volume.geometry.shape[0] == 2
        low, high = (whole.volume.geometry.world(np.array([0, 0, k]))[2] for k in (0, 5))
        assert low - 1e-6 <= short.volume.geometry.origin[2] <= high - 40 + 1e-6


def test_a_sharp_kernel_is_noisier_and_a_soft_one_smoother() -> None:
    fine = {"shape": (2, 96, 96), "spacing": (1.0, 1.0, 40.0)}
    rough = {}
    for kernel in KERNELS:
        visit = phantom_patient(3, 1, settings=PhantomSettings(scanner=Scanner(kernel=kernel)), **fine)[0]
        rough[kernel] = float(np.abs(np.diff(visit.volume.array.astype(float), axis=2)).mean())
    assert rough["soft"] < rough["standard"] < rough["sharp"]


def test_noise_scales_with_the_scanner() -> None:
    quiet, usual, loud = (scan(Scanner(noise=noise)).volume.array[:, :4].astype(float) for noise in (0, 1, 3))
    assert quiet.std() < usual.std() < loud.std()


@pytest.mark.parametrize(("table", "there"), [("flat", True), ("curved", True), ("none", False)])
def test_the_table_is_there_as_chosen(table: str, there: bool) -> None:
    tall = {"shape": (1, 128, 64), "spacing": (6.8, 3.4, 40.0)}
    settings = PhantomSettings(scanner=Scanner(table=table), contours=("Body",))
    visit = phantom_patient(3, 1, settings=settings, **tall)[0]
    body = visit.structures.structures[0].mask[0]
    under_the_back = np.nonzero(body.any(axis=1))[0].max() + 3
    assert (np.median(visit.volume.array[0, under_the_back:, 28:36], axis=1) > -850).any() == there


def test_a_scanner_with_its_own_grid_covers_the_same_field() -> None:
    visit = scan(Scanner(spacing=(10.0, 10.0, 20.0)))
    assert visit.volume.geometry.shape == (12, 44, 44)
    assert np.allclose(visit.volume.geometry.world(np.array([21.5, 21.5, 5.5])), 0)


@pytest.mark.parametrize("name", SCANNERS)
def test_every_named_scanner_scans(name: str) -> None:
    scanner = SCANNERS[name]
    small = replace(scanner, spacing=None, beam=replace(scanner.beam, views=min(scanner.beam.views, 40)))
    visit = scan(small)
    assert visit.volume.array.std() > 100
    assert np.array_equal(visit.volume.array, scan(small).volume.array)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (lambda: Scanner(kernel="B70"), "choose one of soft, standard, sharp"),
        (lambda: Scanner(table="bed"), "choose one of flat, curved, none"),
        (lambda: Scanner(noise=-1), "noise is 0 or more"),
        (lambda: Scanner(spacing=(1, 0, 1)), "more than 0 mm"),
        (lambda: Scanner(length=-5), "longer than -5 mm"),
        (lambda: Beam(scatter=-1), "0 or more"),
        (lambda: Beam(views=3), "at least 8 views"),
        (lambda: Beam(views_kept=100), "one of at most 45"),
        (lambda: Beam(field=10), "at least 50 mm"),
    ],
)
def test_a_scanner_that_cannot_be_is_refused(asked, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        asked()
