"""The synthetic endoscopy video: its frames show the polyp where its masks say."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptsam.errors import InputError
from adaptsam.io.video.video_files import VideoFile
from adaptsam.synthetic.endoscopy.endoscopy_video import (
    EndoscopySettings,
    endoscopy_frames,
    endoscopy_video,
    write_endoscopy,
)

SMALL = EndoscopySettings(size=(64, 80), fps=4.0)
STILL = EndoscopySettings(size=(64, 64), motion=0, peristalsis=0, blur=0, noise=0, occlusions=0)


def test_the_same_seed_gives_the_same_video_and_any_length_of_it() -> None:
    video, longer = endoscopy_video(3, 4, SMALL), endoscopy_video(3, 6, SMALL)
    assert video.frames.shape == (4, 64, 80, 3)
    assert video.frames.dtype == np.uint8
    assert video.masks.shape == (4, 64, 80)
    assert video.masks.dtype == bool
    assert np.array_equal(video.frames, longer.frames[:4])
    assert not np.array_equal(video.frames[0], endoscopy_video(4, 1, SMALL).frames[0])


@pytest.mark.parametrize("seed", range(6))
def test_the_first_frame_shows_the_polyp(seed: int) -> None:
    _, mask = next(endoscopy_frames(seed, 1, SMALL))
    assert mask.mean() > 0.002


def test_the_mask_is_what_the_polyp_changes_in_the_frame() -> None:
    # The same colon with a polyp half as wide: only where one of the two polyps is, or beside it, do frames differ.
    for seed in range(3):
        large, small = (
            endoscopy_video(seed, 1, EndoscopySettings(**vars(STILL) | {"radius": radius, "height": 0.8}))
            for radius in (6.0, 2.0)
        )
        either = large.masks[0] | small.masks[0]
        beside = np.pad(either, 1)
        near = either | beside[2:, 1:-1] | beside[:-2, 1:-1] | beside[1:-1, 2:] | beside[1:-1, :-2]
        change = np.abs(large.frames[0].astype(int) - small.frames[0]).max(axis=-1)
        assert large.masks[0].sum() > small.masks[0].sum()
        assert change[~near].max() <= 1
        assert np.mean(change[large.masks[0] & ~small.masks[0]] > 3) > 0.7


def test_nothing_moves_where_nothing_shall_move_and_the_camera_moves_otherwise() -> None:
    still = endoscopy_video(2, 3, STILL)
    assert np.array_equal(still.frames[0], still.frames[2])
    moving = endoscopy_video(2, 3, EndoscopySettings(**vars(STILL) | {"motion": 1.0, "fps": 2.0}))
    assert not np.array_equal(moving.masks[0], moving.masks[2])


def test_the_polyp_is_hidden_now_and_then_and_comes_back() -> None:
    hidden = EndoscopySettings(**vars(STILL) | {"occlusions": 100.0, "fps": 5.0, "size": (48, 48)})
    free = EndoscopySettings(**vars(hidden) | {"occlusions": 0.0})
    seen = endoscopy_video(1, 40, hidden).masks.sum(axis=(1, 2))
    whole = endoscopy_video(1, 1, free).masks.sum()
    assert seen[0] == whole
    assert (seen < whole).any()
    assert (seen[10:] == whole).any()


def test_the_corners_are_black_and_the_lumen_darker_than_the_wall() -> None:
    frame = endoscopy_video(0, 1, STILL).frames[0].astype(int)
    assert frame[0, 0].max() == 0
    assert frame[..., 0].mean() > frame[..., 2].mean()


@pytest.mark.parametrize("kind", ["mp4", "avi", "png"])
def test_video_and_masks_on_disk_are_those_in_memory(kind: str, tmp_path: Path) -> None:
    told = write_endoscopy(tmp_path, 5, 5, SMALL, kind=kind)
    video = endoscopy_video(5, 5, SMALL)
    masks = [np.array(Image.open(path)) for path in sorted((tmp_path / "masks").iterdir())]
    assert np.array_equal(np.stack(masks), np.where(video.masks, 255, 0))
    assert told["polyp_pixels"] == video.masks.sum(axis=(1, 2)).tolist()
    if kind == "png":
        frames = [np.array(Image.open(path)) for path in sorted((tmp_path / "frames").iterdir())]
        assert np.array_equal(np.stack(frames), video.frames)
    else:
        frames = list(VideoFile(tmp_path / f"video.{kind}"))
        assert len(frames) == 5
        assert np.abs(np.stack(frames).astype(int) - video.frames).mean() < 6


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (lambda: endoscopy_video(0, 0), "at least one frame"),
        (lambda: endoscopy_video(-1, 1), "seed of a video"),
        (lambda: EndoscopySettings(size=(4, 4)), "at least 16×16"),
        (lambda: EndoscopySettings(fps=0), "frames per second"),
        (lambda: EndoscopySettings(radius=50), "radius of 1 to 12 mm"),
        (lambda: EndoscopySettings(height=0), "stands out by"),
        (lambda: EndoscopySettings(noise=-1), "0 or more"),
        (lambda: write_endoscopy(Path("nowhere"), 0, 1, kind="gif"), "choose one of mp4"),
    ],
)
def test_a_video_that_cannot_be_is_refused(asked, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        asked()
