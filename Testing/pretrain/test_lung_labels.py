"""Lungs by threshold and components: as the phantom has them, and nothing where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from adaptsam.pretrain.lung_labels import lung_labels
from adaptsam.synthetic.thorax_phantom import phantom_patient


def _gray(array: np.ndarray, low: float, high: float) -> np.ndarray:
    return (255 * ((array - low) / (high - low)).clip(0, 1)).round().astype(np.uint8)


@pytest.mark.parametrize("window", [(-910, 590), (-160, 240), (-1000, 2000)])
def test_the_lungs_of_a_phantom_are_found_in_any_window(window: tuple[float, float]) -> None:
    visit = phantom_patient(5)[0]
    masks = {s.name: s.mask for s in visit.structures.structures}
    lungs = [masks[name] for name in masks if "lung" in name.lower()]
    middle = int(np.argmax(np.sum(lungs, axis=0).sum((1, 2))))
    found = lung_labels(_gray(visit.volume.array[middle], *window))
    overlaps = sorted(_best_dice(found, lung[middle]) for lung in lungs)
    assert overlaps[0] > 0.9


def _best_dice(found: np.ndarray, truth: np.ndarray) -> float:
    return max(2 * (truth & (found == n)).sum() / (truth.sum() + (found == n).sum()) for n in (1, 2))


def test_a_picture_without_air_has_no_lungs() -> None:
    assert not lung_labels(np.full((64, 64), 90, np.uint8)).any()
    y, x = np.mgrid[:256, :256]
    disk = np.where((x - 128) ** 2 + (y - 128) ** 2 < 90**2, 120, 0).astype(np.uint8)
    assert not lung_labels(disk).any()


def test_the_air_around_the_body_is_no_lung_and_vessels_belong_to_one() -> None:
    y, x = np.mgrid[:256, :256]
    gray = np.where(((x - 128) / 110) ** 2 + ((y - 128) / 80) ** 2 < 1, 130, 3).astype(np.uint8)
    for centre in (80, 176):
        gray[((x - centre) / 35) ** 2 + ((y - 128) / 55) ** 2 < 1] = 20
    gray[126:130, 60:100] = 140
    found = lung_labels(gray)
    assert set(np.unique(found)) == {0, 1, 2}
    assert found[5, 5] == 0
    assert found[128, 80] > 0
    assert found[128, 80] != found[128, 176]
