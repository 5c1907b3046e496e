"""Pictures show the patient as a radiologist expects, whatever the order of the array."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from adaptsam.image.orientation import Orientation
from adaptsam.image.volume import Geometry, Volume
from adaptsam.image.windowing import Window
from adaptsam.report.slice_pictures import Pane, draw_confidence, draw_pair

SHAPE = (6, 40, 30)
GEOMETRY = Geometry(SHAPE, (2.0, 3.0, 5.0), (-30.0, -60.0, 0.0))
WINDOW = Window(0.0, 255.0)
MASK_COLOR = (255, 0, 255)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png))).astype(int)


def pane(volume: Volume, mask: np.ndarray, index: int, points: np.ndarray) -> Pane:
    return Pane(volume, WINDOW, 2, index, "title", [(mask, MASK_COLOR)], points, np.array([1, 0]))


def scene() -> tuple[Volume, np.ndarray, np.ndarray]:
    """Bright in front on the patient's right, where a mask and a positive point are too."""
    array = np.zeros(SHAPE, np.uint8)
    array[:, :12, :9] = 220
    mask = np.zeros(SHAPE, bool)
    mask[2:5, 2:10, 1:7] = True
    return Volume(array, GEOMETRY, "OT"), mask, np.array([[4.0, 6.0], [25.0, 35.0]])


def centre_of(picture: np.ndarray, color: tuple[int, int, int], columns: slice) -> tuple[float, float]:
    """Mean (x, y) of pixels near one colour, in a part of the picture."""
    near = (np.abs(picture[:, columns] - color).max(axis=2) < 60).nonzero()
    assert near[0].size
    return float(near[1].mean()), float(near[0].mean())


def test_the_patients_right_is_on_the_left_and_the_front_on_top():
    volume, mask, points = scene()
    picture = pixels(draw_pair(pane(volume, mask, 3, points), pane(volume, mask, 3, points), 130.0))
    height, width = picture.shape[:2]
    bright = (picture[:, : width // 2].min(axis=2) > 180).nonzero()
    assert bright[1].mean() < width / 4
    assert bright[0].mean() < height / 2


@pytest.mark.parametrize(
    "orientation",
    [
        Orientation((0, 1, 2), (True, True, True)),
        Orientation((0, 2, 1), (False, False, True)),
        Orientation((2, 0, 1), (True, False, False)),
    ],
    ids=["flipped", "rows and columns swapped", "slices along another axis"],
)
def test_a_volume_that_is_stored_otherwise_gives_the_same_picture(orientation):
    volume, mask, points = scene()
    stored = Volume(orientation.undo(volume.array), stored_geometry(orientation), "OT")
    turned = orientation.undo(mask)
    index = orientation.stored_slice(3, stored.geometry.shape)
    turned_points = orientation.stored_points(points, stored.geometry.shape)
    before = draw_pair(pane(volume, mask, 3, points), pane(volume, mask, 3, points), 130.0)
    after = pane(stored, turned, index, turned_points)
    assert np.abs(pixels(before) - pixels(draw_pair(after, after, 130.0))).max() <= 2


def stored_geometry(orientation: Orientation) -> Geometry:
    """The grid of a stored array that ``orientation`` turns into the scene's."""
    shape = orientation.undo(np.empty(SHAPE)).shape
    corners = [orientation.stored_index(index, shape) for index in np.vstack([np.zeros(3), np.eye(3)])]
    world = GEOMETRY.world(np.vstack([np.zeros(3), np.eye(3)]))
    steps = np.array([corner - corners[0] for corner in corners[1:]])
    columns = np.linalg.solve(steps, world[1:] - world[0]).T
    spacing = np.linalg.norm(columns, axis=0)
    origin = world[0] - columns @ corners[0]
    return Geometry(shape, tuple(spacing), tuple(origin), tuple((columns / spacing).ravel()))


def test_pixels_that_are_not_square_are_shown_in_true_proportions():
    """A square of 24×24 mm, of 12 columns and 8 rows, is as wide as high."""
    mask = np.zeros(SHAPE, bool)
    mask[3, 10:18, 10:22] = True
    volume = Volume(np.zeros(SHAPE, np.uint8), GEOMETRY, "OT")
    one = Pane(volume, WINDOW, 2, 3, "", [(mask, MASK_COLOR)])
    rows, columns = (np.abs(pixels(draw_pair(one, one, 60.0))[:, :460] - MASK_COLOR).max(axis=2) < 90).nonzero()
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=3)


def test_positive_and_negative_prompts_differ_in_colour_and_lie_where_they_were_set():
    volume, mask, points = scene()
    picture = pixels(draw_pair(pane(volume, mask, 3, points), pane(volume, mask, 3, points), 130.0))
    right = slice(picture.shape[1] // 2, None)
    positive, negative = centre_of(picture, (124, 252, 154), right), centre_of(picture, (255, 90, 90), right)
    scale = picture.shape[1] * 0.493 / 130.0
    assert negative[0] - positive[0] == pytest.approx(21 * 2.0 * scale, abs=4)
    assert negative[1] - positive[1] == pytest.approx(29 * 3.0 * scale, abs=4)


def test_rejected_slices_are_grey_in_the_plot_of_confidence():
    color = (0, 90, 200)
    accepted, rejected = (pixels(draw_confidence([(5, 1.0, taken)], color)) for taken in (True, False))
    assert (np.abs(accepted - color).max(axis=2) < 20).sum() > 100
    assert (np.abs(rejected - color).max(axis=2) < 20).sum() == 0


def test_an_empty_mask_and_no_slices_still_give_pictures():
    volume, mask, _ = scene()
    empty = Pane(volume, WINDOW, 2, 3, "", [(mask & False, MASK_COLOR)])
    assert pixels(draw_pair(empty, empty, 90.0)).shape[2] == 3
    assert pixels(draw_confidence([], MASK_COLOR)).shape[2] == 3
