"""Videos and folders of pictures: what is written is read again, and damage is told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptsam.errors import Cancelled, InputError, OutputError
from adaptsam.io.video.frames import PictureFolder, write_pictures
from adaptsam.io.video.video_files import VideoFile, write_video


def moving_frames(count: int = 24, size: tuple[int, int] = (96, 128)) -> list[np.ndarray]:
    """Gradients with a bright disc that moves, and the number of the frame in the blue channel."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    frames = []
    for number in range(count):
        frame = np.stack([columns % 200, rows % 200, np.full_like(rows, 8 * number)], axis=-1).astype(np.uint8)
        frame[(rows - 40) ** 2 + (columns - 20 - 3 * number) ** 2 < 150] = 250
        frames.append(frame)
    return frames


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mov", ".mkv"])
def test_a_written_video_is_read_again_in_order_and_in_colour(tmp_path: Path, suffix: str) -> None:
    frames = moving_frames()
    write_video(tmp_path / f"clip{suffix}", frames, fps=12.5)
    video = VideoFile(tmp_path / f"clip{suffix}")
    assert (len(video), video.size, video.fps) == (24, (96, 128), 12.5)
    assert video.names[0] == "frame-000000"
    for read, written in zip(video, frames, strict=True):
        assert read.shape == (96, 128, 3)
        assert read.dtype == np.uint8
        assert np.abs(read.astype(int) - written).mean() < 4


def test_any_single_frame_of_a_video_is_the_one_that_iterating_gives(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", moving_frames())
    video = VideoFile(tmp_path / "clip.mp4")
    everything = list(video)
    for number in (17, 0, 23, 5):
        assert np.array_equal(video[number], everything[number])
    with pytest.raises(InputError, match=r"no frame 24: its frames are numbered 0 to 23"):
        video[24]


def test_frames_of_odd_size_can_be_written_as_h264_with_one_more_column(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", moving_frames(4, (96, 127)))
    assert VideoFile(tmp_path / "clip.mp4").size == (96, 128)
    write_video(tmp_path / "clip.avi", moving_frames(4, (95, 127)))
    assert VideoFile(tmp_path / "clip.avi").size == (95, 127)


def test_gray_frames_can_be_written(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.avi", [np.full((32, 32), 90, np.uint8)] * 2)
    assert abs(int(VideoFile(tmp_path / "clip.avi")[1].mean()) - 90) < 3


def test_frames_are_taken_one_at_a_time_while_a_video_is_written(tmp_path: Path) -> None:
    alive = 0
    most = 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= self.base is None

    def frames() -> Iterator[np.ndarray]:
        nonlocal alive, most
        for _ in range(50):
            frame = Counted((32, 32, 3), np.uint8)
            frame[:] = 100
            alive += 1
            most = max(most, alive)
            yield frame
            del frame

    write_video(tmp_path / "clip.avi", frames())
    assert most <= 3


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mov", ".mkv"])
def test_a_truncated_video_is_refused_in_one_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    write_video(path, moving_frames())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"clip\.\w+ (is truncated|cannot be read|is not a video)|of clip\.\w+ cannot"):
        VideoFile(path)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_damaged_frame_is_told_by_its_number(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    write_video(path, moving_frames())
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"Frame \d+ of clip\.\w+ cannot be read: the file is damaged"):
        VideoFile(path)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("this is text")
    with pytest.raises(InputError, match=r"notes\.mp4 is not a video that can be read"):
        VideoFile(tmp_path / "notes.mp4")
    with pytest.raises(InputError, match=r"absent\.mp4 does not exist"):
        VideoFile(tmp_path / "absent.mp4")


def test_reading_a_video_can_be_cancelled(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.avi", moving_frames(6))

    def stop(stage: str, done: int, total: int) -> None:
        if done == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        VideoFile(tmp_path / "clip.avi", stop)


def test_a_video_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    frames = [*moving_frames(3), np.zeros((10, 10, 3), np.uint8)]
    with pytest.raises(InputError, match="Frame 3 has 10×10 pixels and the first one 128×96"):
        write_video(tmp_path / "clip.mp4", frames)
    with pytest.raises(InputError, match="no frame to write"):
        write_video(tmp_path / "clip.mp4", [])
    with pytest.raises(InputError, match="no suffix for a video"):
        write_video(tmp_path / "clip.gif", moving_frames(2))
    with pytest.raises(InputError, match="uint8"):
        write_video(tmp_path / "clip.mp4", [np.zeros((16, 16, 3))])
    assert list(tmp_path.iterdir()) == []
    write_video(tmp_path / "clip.mp4", moving_frames(2))
    before = (tmp_path / "clip.mp4").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write_video(tmp_path / "clip.mp4", moving_frames(3))
    assert (tmp_path / "clip.mp4").read_bytes() == before


def test_a_folder_of_pictures_is_read_in_natural_order(tmp_path: Path) -> None:
    frames = moving_frames(12)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"Frame{number}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / ".hidden.png").write_text("not a frame")
    folder = PictureFolder(tmp_path)
    assert folder.names == tuple(f"Frame{number}" for number in range(12))
    assert all(np.array_equal(read, frame) for read, frame in zip(folder, frames, strict=True))
    assert np.array_equal(folder[10], frames[10])
    assert folder.fps is None


def test_pictures_whose_names_differ_only_by_suffix_get_numbers(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "b.png"):
        Image.fromarray(moving_frames(1)[0]).save(tmp_path / name)
    assert PictureFolder(tmp_path).names == ("frame-000000", "frame-000001", "frame-000002")


def test_pictures_of_different_sizes_damaged_or_absent_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pictures"):
        PictureFolder(tmp_path)
    write_pictures(tmp_path, moving_frames(3), ["1", "2", "3"])
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "4.png")
    with pytest.raises(InputError, match=r"differ in size: 1\.png has 128×96 pixels, 4\.png 30×20"):
        PictureFolder(tmp_path)
    (tmp_path / "4.png").write_bytes((tmp_path / "3.png").read_bytes()[:200])
    with pytest.raises(InputError, match=r"4\.png cannot be read as a picture"):
        PictureFolder(tmp_path)


def test_a_picture_of_16_bits_is_refused_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png has more than 8 bits"):
        PictureFolder(tmp_path)
