import numpy as np
import pytest

from adaptsam.data.volume import Geometry, Volume
from adaptsam.errors import InputError
from adaptsam.volumes.windows import WINDOWS, Window, choose_window


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
    assert choose_window(_volume(np.abs(array), "")) != WINDOWS["papers"]
    assert choose_window(_volume(np.abs(array), ""), modality="CT") == WINDOWS["papers"]


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
