"""Prompts for training: points inside and outside of the true mask, noisy boxes, and points where the model errs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adaptsam.sam.prompt_encoder import PromptTokens

_NOT_A_POINT, _BOX = -1, (2, 3)

Mask = NDArray[np.bool_]


def draw_points(rng: np.random.Generator, mask: Mask, count: int, label: int) -> PromptTokens:
    """Up to ``count`` points, x then y in pixels, drawn evenly from a mask (H, W)."""
    rows, columns = np.nonzero(mask)
    chosen = rng.integers(len(rows), size=count if len(rows) else 0)
    points = np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.float32)
    return PromptTokens(points.reshape(-1, 2), np.full(len(points), label, np.int64))


def joined(*prompts: PromptTokens) -> PromptTokens:
    """All tokens of several prompts."""
    return PromptTokens(
        np.concatenate([prompt.coordinates for prompt in prompts]), np.concatenate([prompt.kinds for prompt in prompts])
    )


def box_around(mask: Mask) -> PromptTokens:
    """The two corners of the box of a mask; no token for an empty one."""
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        return PromptTokens(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
    corners = np.array([[columns.min(), rows.min()], [columns.max(), rows.max()]], np.float32)
    return PromptTokens(corners, np.array(_BOX, np.int64))


def noisy_box(rng: np.random.Generator, mask: Mask) -> PromptTokens:
    """The mask's box with noise on its corners, of a tenth of its sides or 20 pixels at most as standard deviation.

    SAM's App. A has "10 % of the box sidelength, to a maximum of 20 pixels"; P²SAM's code bounds the deviation and not
    the noise.
    """
    box = box_around(mask)
    if len(box) == 0:
        return box
    sides = box.coordinates[1] - box.coordinates[0]
    noise = (rng.normal(size=(2, 2)) * np.minimum(0.1 * sides, 20)).astype(np.float32)
    return PromptTokens(box.coordinates + noise, box.kinds)


def closed(points: PromptTokens) -> PromptTokens:
    """Points as SAM wants them when there is no box: followed by one "not a point" token."""
    end = PromptTokens(np.zeros((1, 2), np.float32), np.array([_NOT_A_POINT], np.int64))
    return joined(points, end)


def padded(points: PromptTokens, count: int) -> PromptTokens:
    """Points filled up to a number with "not a point" tokens, as P²SAM's code does."""
    lacking = max(0, count - len(points))
    filling = PromptTokens(np.zeros((lacking, 2), np.float32), np.full(lacking, _NOT_A_POINT, np.int64))
    return joined(points, filling)


def error_points(rng: np.random.Generator, mask: Mask, found: Mask, count: int) -> PromptTokens:
    """Up to ``count`` pixels of the error region, drawn evenly and none twice (SAM, App. A).

    They are foreground where the mask was missed, and background where there is too much.
    """
    rows, columns = np.nonzero(mask != found)
    chosen = rng.choice(len(rows), size=min(count, len(rows)), replace=False)
    points = np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.float32)
    return PromptTokens(points, mask[rows[chosen], columns[chosen]].astype(np.int64))
