"""Text attention maps for the explicit branch: handed in, because whoever makes them needs CLIP and we do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from adaptsam.alignsam.alignsam_settings import Branch
from adaptsam.errors import InputError

Image = NDArray[np.uint8]
Map = NDArray[np.floating]

#: M_c of each image: made when requested, or made already. Maps cover the whole image at any resolution, 0 to 1.
Attention = Callable[[Sequence[Image]], Sequence[Map]] | Sequence[Map]


def attention_maps(attention: Attention | None, images: Sequence[Image], branch: Branch) -> list[Map | None]:
    """One map for each image; None for each in the implicit branch, which looks at none.

    Raises:
        InputError: the explicit branch was given no attention, or there are not as many maps as images.
    """
    if branch == "implicit":
        return [None] * len(images)
    if attention is None:
        raise InputError(
            "The explicit branch needs the attention map of a text prompt for every image; give 'attention', or choose "
            "the implicit branch."
        )
    maps = attention(images) if callable(attention) else attention
    if len(maps) != len(images):
        raise InputError(f"There are {len(maps)} attention maps for {len(images)} images; give one to each.")
    return [np.asarray(one) for one in maps]
