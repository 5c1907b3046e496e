"""Does the tissue at a pixel look like the structure or like what lies beside it in the prior, right there?

Every patch of the target slice is compared with the patches of the registered prior around the same place, and those
that look alike vote with their labels (Coupé et al., NeuroImage 2011; Rousseau et al., IEEE TMI 2011). Tissue that
moved a little finds its own label; tissue that was replaced finds the label of what replaced it.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

#: Patches of 3 × 3 pixels are compared; pixels that are finer than this many mm are averaged to about that.
USUAL_MM = 1.5

#: Differences of 8-bit gray values that noise and reconstruction alone make.
NOISE = 6.0

#: No vote is surer than this, in log-odds.
SUREST = 4.0


def vote(
    target: np.ndarray, prior: np.ndarray, inside: np.ndarray, pixel: tuple[float, float], search_mm: float
) -> np.ndarray:
    """The log-odds (H, W), within ±:data:`SUREST`, that a pixel belongs to the structure; see :func:`voted`."""
    return voted(target, prior, inside, pixel, search_mm)[0]


def voted(
    target: np.ndarray, prior: np.ndarray, inside: np.ndarray, pixel: tuple[float, float], search_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """The log-odds (H, W), within ±:data:`SUREST`, that a pixel belongs to the structure, and how alike the most alike
    patch is, (H, W), 0 to 1.

    Args:
        target: gray values 0 to 255, float32 (H, W).
        prior: those of the prior at the same places, float32 (H, W).
        inside: how much of each prior pixel is the structure, 0 to 1, (H, W).
        pixel: width and height of a pixel in mm.
        search_mm: how far from its place a patch is looked for.
    """
    block = (max(1, round(USUAL_MM / pixel[1])), max(1, round(USUAL_MM / pixel[0])))
    fixed, moving, labels = (_block_means(one, block) for one in (target, prior, inside))
    reach = [max(1, int(search_mm / (size * b))) for size, b in zip(pixel[::-1], block, strict=True)]
    offsets = [(j, i) for j in range(-reach[0], reach[0] + 1) for i in range(-reach[1], reach[1] + 1)]
    padded, labelled = (np.pad(one, [(r, r) for r in reach], mode="edge") for one in (moving, labels))
    rows, columns = fixed.shape

    def shifted(array: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
        j, i = offset[0] + reach[0], offset[1] + reach[1]
        return array[j : j + rows, i : i + columns]

    unlike = np.empty((len(offsets), rows, columns), np.float32)
    for difference, offset in zip(unlike, offsets, strict=True):
        apart = fixed - shifted(padded, offset)
        cv2.blur(np.multiply(apart, apart, out=apart), (3, 3), dst=difference, borderType=cv2.BORDER_REPLICATE)
    nearest = unlike.min(axis=0)
    scale = nearest + NOISE**2
    weights = np.exp(np.divide(np.subtract(nearest, unlike, out=unlike), scale, out=unlike), out=unlike)
    total, agreed = weights.sum(axis=0), np.zeros_like(fixed)
    for weight, offset in zip(weights, offsets, strict=True):
        agreed += np.multiply(weight, shifted(labelled, offset), out=weight)
    share = np.clip(agreed / total, 1e-6, 1 - 1e-6)
    # Where nothing in the prior looks like this, the vote says little.
    known = NOISE**2 / scale
    odds = np.clip(np.log(share / (1 - share)), -SUREST, SUREST) * known
    size = (target.shape[0], target.shape[1])
    return _spread(odds.astype(np.float32), block, size), _spread(known.astype(np.float32), block, size)


def _block_means(array: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    if block == (1, 1):
        return array.astype(np.float32)
    padding = [(0, -size % b) for size, b in zip(array.shape, block, strict=True)]
    padded = np.pad(array.astype(np.float32), padding, mode="edge")
    parts = padded.reshape(padded.shape[0] // block[0], block[0], padded.shape[1] // block[1], block[1])
    return np.asarray(parts.mean(axis=(1, 3)), np.float32)


def _spread(array: np.ndarray, block: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Block values back on pixels, linearly between the blocks' centres."""
    if block == (1, 1):
        return array
    offset = [(1 - b) / (2 * b) for b in block]
    return np.asarray(
        ndimage.affine_transform(array, [1 / b for b in block], offset, shape, order=1, mode="nearest"), np.float32
    )
