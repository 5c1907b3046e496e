"""Inputs as people have them, arrays, dictionaries and paths, as images and structures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.volume import Structure, StructureSet, Volume
from adaptsam.io.files import read_frames, read_structures, read_volume
from adaptsam.io.labelmaps import gap_remarks
from adaptsam.io.mask_images import UNNAMED, read_mask_picture
from adaptsam.io.video.frames import Frames, read_picture

#: An image: itself, or where it lies.
ImageLike: TypeAlias = Volume | str | Path
#: Structures of an image: themselves, masks (K, J, I) alone or by name, or the file that holds them.
StructuresLike: TypeAlias = (
    StructureSet | Structure | Sequence[Structure] | Mapping[str, np.ndarray] | np.ndarray | str | Path
)
S = TypeVar("S")
_MOST_LABELS = 512


def as_volume(image: Any, what: str = "The image") -> Volume:
    """An image, read where it is a path.

    Raises:
        InputError: it is neither, or cannot be read; an array alone does not say how large its voxels are.
    """
    if isinstance(image, Volume):
        if not isinstance(image.array, np.ndarray) or image.array.dtype.kind not in "iuf":
            raise InputError(f"{what} holds no array of numbers; give its intensities as a NumPy array.")
        return image
    if isinstance(image, str | Path):
        return read_volume(image)
    if isinstance(image, np.ndarray):
        raise InputError(
            f"{what} is an array, which does not say where its voxels lie; give adaptsam.Volume(array, "
            "adaptsam.Geometry(array.shape, spacing, origin)), or a path."
        )
    raise InputError(f"{what} is of type {type(image).__name__}; give a Volume or a path.")


def as_volumes(images: Any, what: str = "The target") -> list[Volume]:
    """Several images, or one.

    Raises:
        InputError: as :func:`as_volume`.
    """
    if isinstance(images, Volume | str | Path | np.ndarray) or not isinstance(images, Iterable):
        return [as_volume(images, what)]
    if isinstance(images, Mapping):
        raise InputError("The targets are a dictionary; give a list of images or paths.")
    return [as_volume(one, what) for one in images]


def as_structures(given: Any, image: Volume, names: Sequence[str] | str | None = None) -> StructureSet:
    """Structures on the grid of an image.

    Args:
        given: a :class:`StructureSet`; masks (K, J, I) on the image's grid: one, with labels or not, or a dictionary of
            them by name; one or more :class:`Structure`; or a path as :func:`read_structures` takes it.
        image: they lie on it.
        names: those of interest, of a file; one name is what a mask alone is called, which is ``structure`` otherwise.

    Raises:
        InputError: it is none of these, or a mask has another shape than the image.
    """
    if isinstance(given, StructureSet):
        return given
    if isinstance(given, str | Path):
        return read_structures(given, image, names)
    if isinstance(given, Structure):
        given = [given]
    if isinstance(given, Mapping):
        named = [Structure(str(name), _mask(mask, str(name), image)) for name, mask in given.items()]
    elif isinstance(given, list | tuple) and given and all(isinstance(one, Structure) for one in given):
        for one in given:
            _mask(one.mask, one.name, image)
        named = list(given)
    elif hasattr(given, "__array__"):
        named = _from_array(_mask(given, UNNAMED, image), names)
    else:
        raise InputError(
            f"The structures are of type {type(given).__name__}; give a mask, a dictionary of name and mask, a "
            "StructureSet or a path."
        )
    return StructureSet(tuple(named), image.geometry, image.dicom, tuple(gap_remarks(named)))


def _from_array(mask: np.ndarray, names: Sequence[str] | str | None) -> list[Structure]:
    labels = [value for value in np.unique(mask) if value != 0]
    if len(labels) > 1 and mask.dtype != bool:
        whole = all(float(value).is_integer() and value > 0 for value in labels)
        if not whole or len(labels) > _MOST_LABELS:
            raise InputError("The mask has values that are no labels; give true and false, as mask > 0.5.")
        return [Structure(f"label-{int(label)}", mask == label, number=int(label)) for label in labels]
    only = [names] if isinstance(names, str) else list(names or ())
    return [Structure(only[0] if len(only) == 1 else UNNAMED, mask)]


def _mask(given: Any, name: str, image: Volume) -> np.ndarray:
    try:
        mask = np.asarray(given)
    except Exception:
        raise InputError(f"The mask of {name!r} is no array; give one of true and false.") from None
    if mask.dtype.kind not in "biuf":
        raise InputError(f"The mask of {name!r} is no array of numbers; give one of true and false.")
    shape = image.geometry.shape
    if mask.shape != shape:
        turned = mask.ndim == 3 and mask.shape[::-1] == shape
        hint = "mask.transpose(2, 1, 0) turns x, y, z round" if turned else "both are counted as slices, rows, columns"
        raise InputError(f"The mask of {name!r} has the shape {mask.shape}, the image {shape}; {hint}.")
    if mask.dtype.kind == "f" and not np.isfinite(mask).all():
        raise InputError(f"The mask of {name!r} holds values that are not numbers; give true and false.")
    return mask


def as_settings(settings: Any, kind: type[S]) -> S:
    """Settings of a kind, its defaults where there are none.

    Raises:
        InputError: they are of another kind.
    """
    if settings is None:
        return kind()
    if not isinstance(settings, kind):
        raise InputError(f"The settings are of type {type(settings).__name__}; give {kind.__name__}(…).")
    return settings


def as_frames(frames: Any) -> Frames | Sequence[np.ndarray]:
    """Frames, uint8 (H, W, 3), read where they are a path to a video or a folder of pictures."""
    if not isinstance(frames, str | Path) and not hasattr(frames, "__len__"):
        raise InputError(f"The frames are of type {type(frames).__name__}; give a list of pictures, or a path.")
    return read_frames(frames) if isinstance(frames, str | Path) else frames


def as_picture(picture: Any) -> Any:
    """The number of a frame or a picture, read where it is a path."""
    return read_picture(picture) if isinstance(picture, str | Path) else picture


def as_frame_masks(given: Any) -> Mapping[str, np.ndarray]:
    """Masks (H, W) of one frame by name: a dictionary, one mask, or the path of a mask picture.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(given, Mapping):
        return {str(name): _frame_mask(mask) for name, mask in given.items()}
    if isinstance(given, str | Path):
        return read_mask_picture(given)
    if hasattr(given, "__array__"):
        return {UNNAMED: _frame_mask(given)}
    raise InputError(
        f"The masks are of type {type(given).__name__}; give a mask, a dictionary of name and mask, or a path."
    )


def _frame_mask(given: Any) -> np.ndarray:
    mask = np.asarray(given)
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "iuf" or len(np.unique(mask[mask != 0])) > 1:
        raise InputError("The mask of a frame has several values; give true and false, as mask > 127.")
    return mask != 0
