import numpy as np
import pytest

from adaptsam.image.cropping import UNSEEN, View, full_view, square_view


def _image(rows: int = 40, columns: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (rows, columns, 3)).astype(np.uint8)


def test_the_full_view_of_square_pixels_is_the_slice_itself() -> None:
    image = _image()
    view = full_view((40, 50), (0.8, 0.8), 1024)
    assert np.array_equal(view.image(image), image)


def test_a_square_of_square_pixels_is_an_exact_padded_crop() -> None:
    image = _image()
    view = square_view((2.0, 20.0), 20.0, (1.0, 1.0), 1024)
    shown = view.image(image)
    assert shown.shape == (20, 20, 3)
    x, y = (int(value) for value in view.origin)
    assert x < 0
    assert np.array_equal(shown[:, -x:], image[y : y + 20, : 20 + x])
    assert (shown[:, :-x] == 0).all()


def test_a_view_beyond_the_slice_is_empty() -> None:
    assert (square_view((500.0, 500.0), 10.0, (1.0, 1.0), 64).image(_image()) == 0).all()
    assert (square_view((-500.0, -500.0), 10.0, (1.0, 1.0), 64).restore(np.ones((10, 10)), (40, 50)) == UNSEEN).all()


def test_two_slices_moved_by_whole_pixels_give_equal_bytes() -> None:
    image = _image(60, 60)
    moved = np.roll(image, (3, 5), axis=(0, 1))
    first = square_view((30.0, 30.0), 20.0, (1.0, 1.0), 64)
    for error in (-0.1, 0.1):  # of the registration, in pixels
        second = square_view((first.centre[0] + 5 + error, first.centre[1] + 3 - error), 20.0, (1.0, 1.0), 64)
        assert np.array_equal(first.image(image), second.image(moved))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.4), (3.0, 0.9)])
def test_masks_come_back_where_they_were(spacing: tuple[float, float]) -> None:
    j, i = np.mgrid[:80, :90]
    mask = ((i - 45) * spacing[0]) ** 2 + ((j - 30) * spacing[1]) ** 2 <= 15**2
    view = square_view((44.3, 31.2), 60.0, spacing, 1024)
    seen = view.mask(mask)
    back = view.restore(np.where(seen, 4.0, -4.0).astype(np.float32), mask.shape) > 0
    overlap = 2 * (back & mask).sum() / (back.sum() + mask.sum())
    assert overlap == 1 if spacing == (1.0, 1.0) else overlap > 0.93


@pytest.mark.parametrize("spacing", [(0.7, 1.4), (3.0, 0.9)])
def test_unequal_pixels_are_made_equal(spacing: tuple[float, float]) -> None:
    for view in (square_view((40.0, 40.0), 60.0, spacing, 1024), full_view((80, 90), spacing, 1024)):
        assert view.step[0] * spacing[0] == pytest.approx(view.step[1] * spacing[1])
        assert view.step[0] * spacing[0] == pytest.approx(min(spacing))


def test_a_view_has_no_more_pixels_than_the_model_sees_when_it_is_resampled() -> None:
    assert max(full_view((20, 512), (0.5, 5.0), 256).size) == 256


def test_positions_go_to_the_slice_and_pixels_agree() -> None:
    view = View((10, 10), (7.0, 3.0))
    image = np.zeros((40, 50, 3), np.uint8)
    image[8, 9] = 200
    assert view.image(image)[5, 2, 0] == 200
    assert view.to_slice(np.array([[2, 5]])).tolist() == [[9.0, 8.0]]


@pytest.mark.parametrize("view", [View((8, 6), (3.0, -2.0)), View((8, 6), (6.2, 3.5), (0.8, 1.1))])
def test_a_field_of_numbers_has_the_given_value_where_there_is_no_slice(view: View) -> None:
    field = np.arange(100, dtype=np.float32).reshape(10, 10) + 5
    seen = view.values(field, -7.0)
    assert seen.shape == (8, 6)
    x, y = np.meshgrid(np.arange(6), np.arange(8))
    places = view.to_slice(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(8, 6, 2)
    inside = np.all((places >= 0) & (places <= 9), axis=2)
    assert np.allclose(seen[inside], (places[..., 1] * 10 + places[..., 0] + 5)[inside], atol=1e-3)
    assert seen[~np.all((places >= -0.5) & (places <= 9.5), axis=2)].tolist().count(-7.0) > 0
