"""Tissue by its gray value anywhere in a structure, and a look that changed while the contour did not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from adaptsam.slicewise import PriorVisit, VolumeSettings, carry
from adaptsam.slicewise.tissue import look_changed
from adaptsam.slicewise.volume_settings import LookChangeSettings

PIXEL = (1.5, 1.5)
SETTINGS = VolumeSettings(register="rigid")


def disc(inside: float, outside: float, radius: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """A noisy disc, (80, 80), and signed distances in mm to one of 20 mm."""
    j, i = np.mgrid[:80, :80]
    away = np.hypot(i - 40, j - 40) * 1.5
    image = np.where(away < radius, inside, outside) + np.random.default_rng(int(inside)).normal(0, 2, away.shape)
    return np.clip(image, 0, 255), away - 20.0


@pytest.mark.parametrize(
    ("inside", "outside", "radius", "changed"),
    [
        (160, 20, 20.0, False),  # nothing happened
        (185, 20, 20.0, True),  # a contrast agent came
        (140, 22, 20.0, True),  # or went
        (20, 20, 20.0, False),  # it vanished
        (160, 20, 10.0, False),  # it shrank to a quarter of its area
    ],
)
def test_a_look_changed_if_the_contour_still_shows(inside: float, outside: float, radius: float, changed: bool) -> None:
    prior, distance = disc(160, 20)
    target, _ = disc(inside, outside, radius)
    assert look_changed([(target, prior, distance)], PIXEL, LookChangeSettings()) is changed


def test_nothing_changed_where_there_is_nothing_to_see() -> None:
    empty = np.zeros((0, 0))
    assert not look_changed([(empty, empty, empty)], PIXEL, LookChangeSettings())


def test_an_organ_with_contrast_agent_keeps_its_registered_contour(
    make_thorax: Callable, by_gray, dice: Callable
) -> None:
    prior, later = make_thorax(), make_thorax((4, 0, 0), seed=1)
    bright = later.volume.array + 120 * later.mask("heart")
    carried = carry(
        PriorVisit(by_gray, prior.volume, prior.structures, SETTINGS),
        replace(later.volume, array=bright.astype(np.float32)),
    )
    [tumour, heart] = carried.visit.target.prior.plans
    assert carried.visit.evidence.look_changed(heart)
    assert not carried.visit.evidence.look_changed(tumour)
    assert dice(carried.masks[1], later.mask("heart")) > 0.9


def test_a_tumour_that_left_three_slices_is_followed_deep_inside(make_thorax: Callable, by_gray) -> None:
    prior, later = make_thorax(), make_thorax(seed=1)
    middle = int(np.median(np.flatnonzero(later.mask("tumour").any(axis=(1, 2)))))
    gone = slice(middle - 1, middle + 2)
    lung = make_thorax(seed=1, tumour=False).volume.array
    image = later.volume.array.copy()
    image[gone] = lung[gone]
    carried = carry(PriorVisit(by_gray, prior.volume, prior.structures, SETTINGS), replace(later.volume, array=image))
    assert not carried.masks[0][gone].any()
    assert carried.masks[0][middle - 2].any()
    empty = [one for one in carried.reports[0].worst_slices if not one.held]
    assert {one.index for one in empty} >= {middle - 1, middle, middle + 1}
