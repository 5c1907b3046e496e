import gc
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from adaptsam.errors import Cancelled
from adaptsam.image.volume import Geometry, Volume
from adaptsam.registration.rigid import informational_correlation, masked_correlation, register, share_of_pitch


def _error_mm(found: np.ndarray, true: np.ndarray) -> float:
    points = np.random.default_rng(0).uniform(-60, 60, (100, 3))
    a, b = (points @ m[:3, :3].T + m[:3, 3] for m in (found, true))
    return float(np.linalg.norm(a - b, axis=1).mean())


def _moved(volume: Volume, matrix: np.ndarray, geometry: Geometry) -> Volume:
    """The volume as seen on ``geometry`` after the patient moved; ``matrix`` takes target to prior points."""
    k, j, i = np.indices(geometry.shape)
    world = geometry.world(np.stack([i, j, k], axis=-1)) @ matrix[:3, :3].T + matrix[:3, 3]
    index = np.moveaxis(volume.geometry.index(world)[..., ::-1], -1, 0)
    array = ndimage.map_coordinates(volume.array, index, order=1, cval=-1000.0)
    return Volume(array + np.random.default_rng(3).normal(0, 10, array.shape).astype(np.float32), geometry, "CT")


def _euler(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    transform = sitk.Euler3DTransform()
    transform.SetRotation(*np.radians(degrees).tolist())
    transform.SetTranslation(shift)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.GetTranslation()
    return matrix


@pytest.mark.parametrize(
    ("degrees", "shift"),
    [((0, 0, 0), (0, 0, 0)), ((0, 0, 0), (45, -30, 25)), ((3, -4, 8), (10, 20, -10)), ((-6, 2, -9), (-35, 5, 20))],
)
def test_known_shifts_and_rotations_are_recovered(make_thorax: Callable, degrees: tuple, shift: tuple) -> None:
    prior = make_thorax().volume
    true = _euler(degrees, shift)
    found = register(prior, _moved(prior, true, prior.geometry))
    assert found.method == "rigid"
    assert not found.warning
    assert _error_mm(found.matrix, true) < 3.0


def test_another_field_of_view_and_spacing_do_not_matter(make_thorax: Callable) -> None:
    prior = make_thorax().volume
    shift = np.eye(4)
    shift[:3, 3] = (400.0, -250.0, 1000.0)  # another couch, another origin
    smaller = Geometry((20, 100, 100), (3.0, 3.0, 4.0), (-550.0, 100.0, -1040.0))
    found = register(prior, _moved(prior, shift, smaller))
    assert _error_mm(found.matrix, shift) < 3.0 + 0.02 * 1000  # points lie a metre from the patient here
    there = smaller.world(np.random.default_rng(1).uniform(20, 80, (50, 3)) * [1, 1, 0.2])
    assert np.linalg.norm(found.to_prior(there) - (there + shift[:3, 3]), axis=1).mean() < 3.0


def test_the_same_images_give_the_same_transform_bit_for_bit(make_thorax: Callable) -> None:
    prior, target = make_thorax().volume, make_thorax((12, 3, -6), seed=1).volume
    first, second = register(prior, target), register(prior, target)
    assert np.array_equal(first.matrix, second.matrix)


def test_mr_registers_too(make_thorax: Callable) -> None:
    prior = make_thorax().volume
    target = make_thorax((15, -10, 5), seed=1).volume
    as_mr = [Volume(np.sqrt(np.clip(v.array + 1000, 0, None)) * 20, v.geometry, "MR") for v in (prior, target)]
    shift = np.eye(4)
    shift[:3, 3] = (-15, 10, -5)
    assert _error_mm(register(*as_mr).matrix, shift) < 3.0


def _small(seed: int) -> Volume:
    """An organ's cut-out of 40 mm, as of a hippocampus: tissue that changes over a few millimetres."""
    array = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(64, 64, 64)), 4.0)[12:52, 12:52, 12:52]
    grid = Geometry((40, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    return Volume((500 + 300 * array / array.std()).astype(np.float32), grid, "MR")


@pytest.mark.parametrize("seed", range(4))
def test_a_small_image_is_registered_at_a_pitch_that_shows_what_it_holds(seed: int) -> None:
    prior = _small(seed)
    true = _euler((4, -3, 5), (5, -6, 4))
    found = register(prior, replace(_moved(prior, true, prior.geometry), modality="MR"))
    assert (found.method, found.warning) == ("rigid", "")
    points = np.random.default_rng(0).uniform(10, 30, (100, 3))
    there = points @ true[:3, :3].T + true[:3, 3]
    assert np.linalg.norm(found.to_prior(points) - there, axis=1).mean() < 1.0


def test_the_pitch_of_a_whole_scan_stays(make_thorax: Callable) -> None:
    assert share_of_pitch(5.0, make_thorax().volume) == 1.0
    assert share_of_pitch(5.0, make_thorax().volume, _small(0)) == pytest.approx(0.315, abs=0.01)


def test_images_that_cannot_be_registered_fall_back_to_their_position_with_a_warning(make_thorax: Callable) -> None:
    prior = make_thorax().volume
    noise = np.random.default_rng(77).normal(0, 300, prior.array.shape).astype(np.float32)
    found = register(prior, Volume(noise, prior.geometry, "CT"))
    assert np.array_equal(found.matrix, np.eye(4))
    assert "could not be registered" in found.warning


def test_two_slices_are_too_few_to_register_but_no_error(make_thorax: Callable) -> None:
    prior = make_thorax().volume
    flat = Geometry((2, *prior.geometry.shape[1:]), prior.geometry.spacing, prior.geometry.origin)
    assert "too few slices" in register(prior, Volume(prior.array[:2], flat, "CT")).warning


def test_registration_can_be_cancelled(make_thorax: Callable) -> None:
    calls = []

    def tick() -> None:
        calls.append(1)
        if len(calls) == 5:
            raise Cancelled("stop")

    prior = make_thorax().volume
    with pytest.raises(Cancelled):
        register(prior, make_thorax((10, 0, 0)).volume, tick=tick)
    assert len(calls) == 5


def test_points_go_to_the_prior_and_back(make_thorax: Callable) -> None:
    found = register(make_thorax().volume, make_thorax((8, 0, 0), seed=2).volume)
    points = np.random.default_rng(0).normal(size=(10, 3)) * 50
    assert np.allclose(found.to_target(found.to_prior(points)), points)


def test_masked_correlation_peaks_at_the_true_lag() -> None:
    image = np.random.default_rng(0).normal(size=(12, 14, 16))
    part = image[2:10, 3:12, 4:15]
    score = masked_correlation(part, np.ones(part.shape, bool), image, np.ones(image.shape, bool), 0.5)
    peak = np.unravel_index(int(np.argmax(score)), score.shape)
    assert (np.array(peak) - (np.array(part.shape) - 1)).tolist() == [2, 3, 4]
    assert score[peak] == pytest.approx(1.0)


def test_a_registration_leaves_nothing_in_memory(make_thorax: Callable) -> None:
    class Tick:
        def __call__(self) -> None: ...

    tick = Tick()
    told = weakref.ref(tick)
    register(make_thorax().volume, make_thorax(seed=1).volume, tick=tick)
    del tick
    gc.collect()
    assert told() is None


def test_the_informational_correlation_is_pearsons_of_normal_variables_and_does_not_mind_a_curve() -> None:
    a, b = np.random.default_rng(5).normal(size=(2, 60000))
    mixed = 0.8 * a + 0.6 * b
    assert informational_correlation(a, mixed, 32) == pytest.approx(0.8, abs=0.02)
    assert informational_correlation(a, -(mixed**3), 64) > 0.5
    assert informational_correlation(a, b, 32) < 0.05


def test_another_modality_is_registered_by_what_both_tell_of_each_other_and_stays_where_it_lies_well(
    make_thorax: Callable,
) -> None:
    prior = make_thorax().volume

    def as_mr(volume: Volume) -> Volume:
        return Volume((400 - np.abs(volume.array - 40) * 0.4).astype(np.float32), volume.geometry, "MR")

    moved = register(prior, as_mr(make_thorax((12, -8, 10), seed=1).volume))
    assert (moved.method, moved.warning) == ("rigid", "")
    assert np.linalg.norm(moved.to_prior(np.array([12.0, -8.0, 10.0]))) < 3
    assert np.array_equal(register(prior, as_mr(make_thorax(seed=1).volume)).matrix, np.eye(4))
