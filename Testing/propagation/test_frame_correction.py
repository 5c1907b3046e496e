"""Corrections of a video's frames, with the bundled model on discs that move."""

from __future__ import annotations

import numpy as np
import pytest

from adaptsam.errors import InputError
from adaptsam.propagation.frame_correction import VideoVisit, correct_frame, follow_frame
from adaptsam.propagation.video_fusion import VARIANTS
from adaptsam.propagation.video_propagation import propagate_video
from adaptsam.sam import EmbeddingStore, load_sam


def disc(x: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices((96, 96))
    mask = (columns - x) ** 2 + (rows - 48) ** 2 <= 20**2
    frame = np.where(mask[..., None], (210, 120, 110), (60, 90, 120)).astype(np.uint8)
    return frame, mask


@pytest.fixture(scope="module")
def video() -> list[tuple[np.ndarray, np.ndarray]]:
    return [disc(x) for x in (30, 40, 50)]


@pytest.fixture(scope="module")
def visit(video: list[tuple[np.ndarray, np.ndarray]]) -> VideoVisit:
    frames, masks = [one for one, _ in video], {"disc": video[0][1]}
    made = VideoVisit(frames[0], masks, EmbeddingStore(load_sam()))
    list(propagate_video(frames, 0, masks, store=made.store))
    return made


def test_a_store_keeps_what_was_encoded_so_that_a_correction_encodes_nothing(visit, video) -> None:
    before = visit.store.encoded
    assert before == len(video) + len(VARIANTS)
    made = correct_frame(visit, "disc", video[2][0], [[50, 48], [5, 5]], [1, 0])
    assert visit.store.encoded == before
    assert made.mask.shape == (96, 96)
    assert made.mask[48, 50]
    assert not made.mask[5, 5]
    assert 0 <= made.confidence <= 1


def test_a_click_decides_where_it_was_made(visit, video) -> None:
    inside = correct_frame(visit, "disc", video[1][0], [[40, 48], [80, 80]], [1, 1])
    outside = correct_frame(visit, "disc", video[1][0], [[40, 48], [80, 80]], [1, 0])
    assert inside.mask[80, 80]
    assert not outside.mask[80, 80]
    unclicked = correct_frame(visit, "disc", video[1][0], [[40, 48], [80, 80]], [1, 1], [True, False])
    assert np.array_equal(unclicked.points, inside.points)


def test_a_drawn_frame_teaches_its_neighbours(visit, video) -> None:
    before = visit.store.encoded
    made = list(follow_frame(visit, "disc", video[1][0], video[1][1], [video[0][0], video[2][0]]))
    assert [one.index for one in made] == [0, 1]
    assert visit.store.encoded == before + len(VARIANTS)  # of the frame that was drawn
    assert all(one.masks["disc"].shape == (96, 96) for one in made)
    assert list(follow_frame(visit, "disc", video[1][0], video[1][1], [])) == []


def test_what_cannot_be_corrected_is_told(visit, video) -> None:
    with pytest.raises(InputError, match="disk was not followed in this video"):
        correct_frame(visit, "disk", video[1][0], [[1, 1]], [1])
    with pytest.raises(InputError, match="at least one prompt of disc"):
        correct_frame(visit, "disc", video[1][0], [], [])
    with pytest.raises(InputError, match="mask of disc is empty"):
        follow_frame(visit, "disc", video[1][0], np.zeros((96, 96), bool), [video[2][0]])
