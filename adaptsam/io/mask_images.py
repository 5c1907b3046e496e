"""Masks as pictures: one structure as black and white, several as label values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from adaptsam.errors import InputError
from adaptsam.image.remarks import Remark
from adaptsam.io.labelmaps import label_values
from adaptsam.io.video.frames import opened_picture

#: The name of what a mask shows that has no labels.
UNNAMED = "structure"
#: With more gray values than this, a mask has soft edges (or is a picture), and gray values are no labels.
_MOST_LABELS = 8
#: Soft edges: so much of the mask lies within so many gray values of black or white.
_CLEAR_SHARE, _CLEAR_VALUES = 0.9, 20
_LARGEST_LABEL = 2**16 - 1


class FrameMasks(dict[str, np.ndarray]):
    """Masks bool (H, W) by the structures' names, with what their reader had to choose."""

    remarks: tuple[Remark, ...] = ()


def read_mask_picture(path: str | Path) -> FrameMasks:
    """The structures of a mask picture, each bool (H, W).

    A mask with one value beside 0 (0 and 255, 0 and 1, black and white) is one structure, called ``structure``; so is
    one from black to white with soft edges, as a JPEG has, cut in the middle. Otherwise each gray value or palette
    index is a label: ``label-1``, ``label-2``, …; of gray values there may be eight, or all from 1 to the last one.

    Raises:
        InputError: it cannot be read, marks nothing, or is no mask.
    """
    path = Path(path)
    values = read_gray(path)
    labels = _values_above_0(values)
    if not labels:
        raise InputError(f"{path.name} marks nothing: every pixel is 0; outline the structure in it.")
    if 1 < len(labels) <= _MOST_LABELS or (len(labels) > 1 and labels == list(range(1, len(labels) + 1))):
        return FrameMasks((f"label-{label}", values == label) for label in labels)
    masks = FrameMasks({UNNAMED: _inside(values, path)})
    if not masks[UNNAMED].any():
        raise InputError(f"{path.name} marks nothing above half white; save the mask as PNG, 0 outside and 255 inside.")
    if len(labels) > 1:
        soft = int(((values > 0) & (values < 255)).sum())
        masks.remarks = (
            Remark("pixels of the mask", soft, "they are gray, and were cut in the middle", left_out=False),
        )
    return masks


def read_masks_like(path: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The structures of these names in another frame's mask picture, each bool (H, W); empty where it does not mark it.

    Args:
        path: the picture.
        names: as :func:`read_mask_picture` gave them for the outlined frame; what is not called ``label-n`` is all that
            is marked.

    Raises:
        InputError: it cannot be read or is no mask.
    """
    path = Path(path)
    values = read_gray(path)
    return {
        name: values == int(name.removeprefix("label-")) if re.fullmatch(r"label-\d+", name) else _inside(values, path)
        for name in names
    }


def _inside(values: np.ndarray, path: Path) -> np.ndarray:
    """Pixels that a mask without labels marks."""
    count = len(_values_above_0(values))
    if count <= _MOST_LABELS:
        return values > 0
    clear = (values <= _CLEAR_VALUES) | (values >= 255 - _CLEAR_VALUES)
    if values.dtype != np.uint8 or clear.mean() < _CLEAR_SHARE:
        raise InputError(
            f"{path.name} has {count} gray values, so it is a picture and no mask; "
            "save the mask as PNG, 0 outside and 255 inside."
        )
    return values > 127


def _values_above_0(values: np.ndarray) -> list[int]:
    return [int(value) for value in np.flatnonzero(np.bincount(values.ravel(), minlength=256)) if value]


def read_gray(path: Path) -> np.ndarray:
    """A picture's gray values or palette indices (H, W), turned as a frame with its EXIF data would be.

    They are uint8, or uint16 where a picture of 16 bits has values above 255.

    Raises:
        InputError: it cannot be read, is in colour, or has values beyond 16 bits.
    """
    with opened_picture(path) as image:
        if image.mode in ("P", "L", "1"):
            values = np.array(image).astype(np.uint8)
            if image.mode == "P":
                _check_palette(values, image.getpalette() or [], path)
            return values
        if image.mode.startswith("I"):
            values = np.array(image)
            if values.min() < 0 or values.max() > _LARGEST_LABEL:
                raise InputError(f"{path.name} has label values that are not between 0 and {_LARGEST_LABEL}.")
            return values.astype(np.uint8 if values.max() <= 255 else np.uint16)
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        channels = np.array(Image.alpha_composite(black, image.convert("RGBA")))[..., :3]
    red, green, blue = np.moveaxis(channels, 2, 0)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    if spread.max() > _CLEAR_VALUES:
        raise InputError(f"{path.name} is in colour; save the mask as gray values or with a palette.")
    return channels[..., 1]


def _check_palette(indices: np.ndarray, palette: Sequence[int], path: Path) -> None:
    """Raise :class:`InputError` if index 0, which is outside, is shown in a colour, and another index is black."""
    colours = np.reshape(palette, (-1, 3))
    used = np.flatnonzero(np.bincount(indices.ravel()))
    black = [int(index) for index in used if 0 < index < len(colours) and not colours[index].any()]
    if black and colours[0].any():
        raise InputError(
            f"{path.name} shows palette index {black[0]} as black and index 0 not, so that inside and outside "
            "cannot be told apart; save the mask as gray values, 0 outside and 255 inside."
        )


def mask_picture(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Masks bool (H, W) as one picture, uint8 (H, W), or uint16 with label values above 255.

    One structure is 0 and 255. Of several, each has its label value (``label-7`` keeps 7); where two overlap, the
    smaller one is seen.
    """
    if len(masks) == 1:
        return np.where(next(iter(masks.values())), 255, 0).astype(np.uint8)
    values = dict(zip(masks, label_values(list(masks), _LARGEST_LABEL), strict=True))
    kind = np.uint8 if max(values.values()) <= 255 else np.uint16
    picture = np.zeros(next(iter(masks.values())).shape, kind)
    for name in sorted(masks, key=lambda name: -int(masks[name].sum())):
        picture[masks[name]] = values[name]
    return picture
