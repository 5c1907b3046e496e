from dataclasses import replace

import numpy as np
import pytest

from adaptsam.errors import InputError
from adaptsam.image.intensity import same_kind
from adaptsam.image.volume import Geometry, Volume
from adaptsam.image.windowing import WINDOWS, Window, choose_window
from adaptsam.registration.rigid import register


def _volume(array: np.ndarray, modality: str = "CT") -> Volume:
    return Volume(array, Geometry(array.shape[:3], (1.0, 1.0, 1.0), (0, 0, 0)), modality)


def test_ct_gets_the_papers_window_in_three_equal_channels() -> None:
    row = np.array([[-2000.0, -910.0, -160.0, 590.0, 3000.0]])
    image = choose_window(_volume(row[None])).rgb(row)
    assert image.shape == (1, 5, 3)
    assert image[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert (image == image[..., :1]).all()


def test_mr_gets_its_own_robust_range() -> None:
    array = np.random.default_rng(0).uniform(0, 1000, (20, 20, 20))
    array[0, 0, 0] = 1e6
    window = choose_window(_volume(array, "MR"))
    assert window.low == pytest.approx(5, abs=4)
    assert window.high == pytest.approx(995, abs=4)


def test_ct_without_modality_is_recognised_by_air_and_bone() -> None:
    array = np.full((10, 10, 10), 40.0)
    array[:5] = -1000
    array[9] = 700
    assert choose_window(_volume(array, "")) == WINDOWS["papers"]
    without_air = np.maximum(array, -100)
    assert choose_window(_volume(without_air, "")) != WINDOWS["papers"]
    assert choose_window(_volume(without_air, ""), modality="CT") == WINDOWS["papers"]


@pytest.mark.parametrize("moved", [1024, 1000])
def test_numbers_that_are_never_below_0_are_no_hounsfield_units_because_another_image_has_them(moved: int) -> None:
    array = np.full((10, 10, 10), 40.0)
    array[:5] = -1000
    image = _volume(array + moved, "")
    assert choose_window(image, modality="CT") != WINDOWS["papers"]
    assert not same_kind(_volume(array, "CT"), image)
    assert choose_window(_volume(array + moved, "CT")) != WINDOWS["papers"]  # whatever its header says


def test_colour_passes_through() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    assert np.array_equal(choose_window(_volume(frame[None], "")).rgb(frame), frame)


def test_a_window_is_chosen_by_name_number_structure_or_anatomy() -> None:
    ct = _volume(np.zeros((2, 2, 2)))
    assert choose_window(ct, "soft tissue") == Window(-160, 240)
    assert choose_window(ct, (0, 80)) == Window(0, 80)
    assert choose_window(ct, {"liver": "liver"}, "liver") == WINDOWS["liver"]
    assert choose_window(ct, {"liver": "liver"}, "lung") == WINDOWS["papers"]
    assert choose_window(ct, "anatomy", "Kidney_L") == WINDOWS["soft tissue"]
    assert choose_window(ct, "anatomy", "GTV-1") == WINDOWS["papers"]


def test_an_unknown_window_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="Did you mean 'soft tissue'"):
        choose_window(_volume(np.zeros((2, 2, 2))), "soft tisue")
    with pytest.raises(InputError, match="lower limit below"):
        choose_window(_volume(np.zeros((2, 2, 2))), (10, 10))


def _thorax(make_thorax, modality: str = "CT") -> Volume:
    """Wide air around the patient, as images have it."""
    wide = Geometry((24, 140, 150), (4.0, 4.0, 5.0), (-300.0, -280.0, -57.5))
    return replace(make_thorax(geometry=wide).volume, modality=modality)


def test_mr_gets_percentiles_of_the_body_so_that_the_air_around_it_does_not_matter() -> None:
    values = np.random.default_rng(0).normal(200, 50, (10, 30, 30))
    narrow = np.zeros((10, 40, 40))
    narrow[:, 5:35, 5:35] = values
    wide = np.zeros((10, 200, 200))
    wide[:, 85:115, 85:115] = values
    windows = [choose_window(_volume(array, "MR")) for array in (narrow, wide)]
    for window in windows:
        assert window.low == 0  # the skin's voxels hold some of the air around
        assert window.high == pytest.approx(np.percentile(values, 99.5), abs=12)


@pytest.mark.parametrize("choice", ["auto", "anatomy", "lung", "percentiles"])
def test_hounsfield_windows_mean_nothing_to_mr(choice: str) -> None:
    mr = _volume(np.random.default_rng(0).uniform(100, 900, (10, 20, 20)), "MR")
    window = choose_window(mr, choice, "Lung_L")
    assert (window.low, window.high) == pytest.approx((104, 896), abs=5)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.8, -60.0), (1.2, 150.0), (0.9, 1024.0)])
def test_a_cone_beam_shows_the_grays_of_a_fan_beam_whatever_its_scale(make_thorax, scale: float, shift: float) -> None:
    fan = _thorax(make_thorax)
    cone = replace(fan, array=fan.array * scale + shift, modality="CBCT")
    for choice in ("auto", "soft tissue"):
        expected = choose_window(fan, choice).rgb(fan.array[12]).astype(int)
        error = np.abs(choose_window(cone, choice).rgb(cone.array[12]) - expected).mean()
        unmoved = np.abs(choose_window(replace(cone, modality="CT"), choice).rgb(cone.array[12]) - expected).mean()
        assert error < 5
        assert scale == 1.0 or error < 0.5 * unmoved


def test_a_cone_beam_without_air_or_tissue_gets_percentiles() -> None:
    array = np.random.default_rng(0).uniform(0, 200, (10, 20, 20))
    window = choose_window(_volume(array, "CBCT"))
    assert (window.low, window.high) == pytest.approx((0, 200), abs=20)


def test_two_numbers_are_taken_as_they_are_in_every_modality() -> None:
    array = np.random.default_rng(0).uniform(0, 200, (10, 20, 20))
    assert all(choose_window(_volume(array, kind), (3, 70)) == Window(3, 70) for kind in ("CT", "CBCT", "MR"))


def test_a_cone_beam_registers_to_a_fan_beam(make_thorax) -> None:
    prior = make_thorax().volume
    later = make_thorax((12, -8, 10), seed=1).volume
    cone = replace(later, array=(later.array * 0.8 + 1100).astype(np.float32), modality="CBCT")
    found = register(prior, cone)
    assert not found.warning
    assert found.to_prior(np.zeros((1, 3)))[0] == pytest.approx([-12, 8, -10], abs=3)
