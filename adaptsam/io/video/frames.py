"""Frames in order, read one at a time: what a video and a folder of pictures have in common."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from adaptsam.errors import InputError
from adaptsam.image.remarks import Remark
from adaptsam.io.native_stderr import quiet_libraries
from adaptsam.progress import Progress, silent

#: What a picture's file name may end with.
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_PICTURE_KINDS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
#: Pixels of a frame that are read: 6000×6000.
_MOST_PIXELS = 36_000_000

#: What a video's file name may end with.
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".wmv", ".webm")


class Frames(ABC):
    """A sequence of frames of one size. Iterating reads them anew, in order, and keeps none.

    Attributes:
        name: of the file or folder.
        names: one for each frame, unique, without a suffix: what a result for that frame is called.
        size: (H, W) in pixels.
        fps: frames per second; ``None`` for pictures, which do not know.
        remarks: what of the file or folder was left out.
    """

    name: str
    names: tuple[str, ...]
    size: tuple[int, int]
    fps: float | None = None
    remarks: tuple[Remark, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def __iter__(self) -> Iterator[np.ndarray]:
        """Every frame, uint8 (H, W, 3) in RGB order."""

    def __getitem__(self, index: int) -> np.ndarray:
        """One frame, counted from 0.

        Raises:
            InputError: there are not so many.
        """
        self.check_index(index)
        return next(islice(self, index, None))

    def check_index(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise InputError(f"{self.name} has no frame {index}: its frames are numbered 0 to {len(self) - 1}.")


class PictureFolder(Frames):
    """The pictures of a folder in natural order: ``frame2.png`` before ``frame10.png``.

    Every picture is read once here, so that a damaged one is told before the work and not in the middle of it.

    Args:
        folder: its pictures; files of other kinds and hidden ones are left alone.
        progress: receives "reading"; may cancel.

    Raises:
        InputError: no picture, one that cannot be read, or pictures of different sizes.
    """

    def __init__(self, folder: str | Path, progress: Progress = silent) -> None:
        self._paths = pictures_in(folder)
        self.name = Path(folder).absolute().name
        if not self._paths:
            raise InputError(f"{self.name} holds no pictures; a frame is one of {', '.join(PICTURE_SUFFIXES)}.")
        self.size = self._check(progress)
        self.remarks = (*self.remarks, *_other_files(folder))
        stems = [path.stem for path in self._paths]
        self.names = tuple(stems if len(set(stems)) == len(stems) else numbered(len(stems)))

    def __iter__(self) -> Iterator[np.ndarray]:
        return (read_picture(path) for path in self._paths)

    def __getitem__(self, index: int) -> np.ndarray:
        self.check_index(index)
        return read_picture(self._paths[index])

    def _check(self, progress: Progress) -> tuple[int, int]:
        size: tuple[int, int] | None = None
        transparent = 0
        for number, path in enumerate(self._paths):
            progress("reading", number, len(self._paths))
            picture, clear = _rgb(path)
            height, width = picture.shape[:2]
            transparent += clear
            size = size or (height, width)
            if (height, width) != size:
                raise InputError(
                    f"The frames of {self.name} differ in size: {self._paths[0].name} has {size[1]}×{size[0]} pixels, "
                    f"{path.name} {width}×{height}; make them equal."
                )
        progress("reading", len(self._paths), len(self._paths))
        if transparent:
            why = "their transparency has no place in a frame; the colours beneath it were taken"
            self.remarks = (Remark("pictures", transparent, why, left_out=False),)
        assert size is not None
        return size


def pictures_in(folder: str | Path) -> list[Path]:
    """The pictures that lie directly in a folder, in natural order.

    Raises:
        InputError: it is not a folder.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise InputError(f"{folder.name} is not a folder; check the path.")
    found = [path for path in folder.iterdir() if is_picture(path) and not path.name.startswith(".") and path.is_file()]
    return sorted(found, key=lambda path: natural_key(path.name))


def is_picture(path: Path) -> bool:
    """Whether the name is a picture's."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sorts names as people count: runs of digits by their value, the rest without regard to case."""
    parts = re.split(r"(\d+)", name)
    ordered = [(False, int(part), "") if part.isdecimal() else (True, 0, part.casefold()) for part in parts if part]
    return [*ordered, (True, 0, name)]  # "01" and "1" are two names


def numbered(count: int) -> list[str]:
    """Names for frames that have none: ``frame-000000``, …"""
    return [f"frame-{number:06d}" for number in range(count)]


def read_picture(path: str | Path) -> np.ndarray:
    """One picture, uint8 (H, W, 3) in RGB order, turned as its EXIF data says.

    Raises:
        InputError: it cannot be read, or has more than 8 bits a channel.
    """
    return _rgb(Path(path))[0]


def _rgb(path: Path) -> tuple[np.ndarray, bool]:
    """A picture as uint8 (H, W, 3), and whether some of it is transparent."""
    with opened_picture(path) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError(f"{path.name} has more than 8 bits per pixel; save it with 8 bits (0 to 255).")
        clear = image.mode in ("RGBA", "LA", "PA") and bool((np.asarray(image.getchannel("A")) < 255).any())
        return np.array(image.convert("RGB")), clear


def _other_files(folder: str | Path) -> tuple[Remark, ...]:
    others = [path for path in Path(folder).iterdir() if not path.name.startswith(".") and not is_picture(path)]
    return (Remark("files and folders beside the pictures", len(others), "they are no pictures"),) if others else ()


def opened_picture(path: Path) -> Image.Image:
    """A picture with its pixels, as Pillow reads it, turned as its EXIF data says; to be closed.

    Raises:
        InputError: it is not there, damaged, of an unknown kind or too large.
    """
    try:
        with quiet_libraries(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Of these kinds only: Pillow knows others (PostScript) that it hands to programs.
            image = Image.open(path, formats=_PICTURE_KINDS)
            if image.width * image.height > _MOST_PIXELS:
                raise InputError(
                    f"{path.name} has {image.width}×{image.height} pixels, which is more than a frame needs; make it "
                    "smaller."
                )
            pages = getattr(image, "n_frames", 1)
            if pages > 1 and image.format != "MPO":  # telephones' JPEGs have a preview beside the picture
                raise InputError(f"{path.name} holds {pages} pages; save each as a picture of its own.")
            if image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile) for tile in image.tile):
                raise InputError(f"{path.name} has more than 8 bits a channel; save it with 8 bits (0 to 255).")
            image.load()
            _set_upright(image)
            return image
    except FileNotFoundError:
        raise InputError(f"{path.name} does not exist; check the path.") from None
    except InputError:
        raise
    except Exception:  # Pillow's readers raise whatever the broken bytes lead them to
        raise InputError(f"{path.name} cannot be read as a picture: it is damaged; copy it again.") from None


def _set_upright(image: Image.Image) -> None:
    """Turn a picture, in place, as its EXIF data says."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # damaged EXIF data; the pixels are whole
        return


def check_frame(frame: np.ndarray, size: tuple[int, int] | None, number: int) -> np.ndarray:
    """A frame to write as uint8 (H, W, 3), from gray (H, W) too.

    Raises:
        InputError: another type, another number of channels, or another size than ``size`` (H, W).
    """
    frame = np.asarray(frame)
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] != 3):
        raise InputError(
            f"Frame {number} is {frame.dtype} of shape {frame.shape}; needed is uint8, (H, W) or (H, W, 3)."
        )
    if size is not None and frame.shape[:2] != size:
        raise InputError(
            f"Frame {number} has {frame.shape[1]}×{frame.shape[0]} pixels and the first one {size[1]}×{size[0]}; "
            "the frames of a video have one size."
        )
    return frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2)


def checked_frames(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Check frames one at a time, as they are requested: uint8 (H, W, 3), from gray (H, W) too.

    Raises:
        InputError: while iterating, a frame of another type, number of channels or size than the first.
    """
    size: tuple[int, int] | None = None
    for number, frame in enumerate(frames):
        checked = check_frame(frame, size, number)
        size = size or (checked.shape[0], checked.shape[1])
        yield checked


def write_pictures(folder: Path, frames: Iterable[np.ndarray], names: Sequence[str] | None = None) -> list[Path]:
    """Write frames as PNG, without loss, into a folder that is made if missing; returns their paths.

    Args:
        folder: for the pictures; write into a :func:`~adaptsam.storage.staged_output` folder to have all or none.
        frames: uint8 (H, W) or (H, W, 3), of one size; taken one at a time.
        names: of the files, without suffix; ``frame-000000``, … by default.

    Raises:
        InputError: no frames, or such as cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size: tuple[int, int] | None = None
    paths = []
    for number, frame in enumerate(frames):
        size = check_frame(frame, size, number).shape[:2]
        paths.append(folder / f"{names[number] if names else f'frame-{number:06d}'}.png")
        Image.fromarray(np.asarray(frame)).save(paths[-1])
    if not paths:
        raise InputError("There is no frame to write.")
    return paths
