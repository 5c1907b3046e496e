"""The report's list of slices to look at first: a deleted lobe, an empty slice and a jump in volume are all in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from adaptsam.image.volume import Structure, StructureSet, Volume
from adaptsam.report.volume_report import slices_to_review
from adaptsam.slicewise import CleanupSettings, PriorVisit, VolumeSettings, carry

Triple = tuple[float, float, float]
HEART, LOBE = ((20, -30, -20), (45, 40, 35)), ((-30, -88, -20), (16, 16, 16))
BLOOD, TISSUE = 150.0, 30.0


@dataclass(frozen=True)
class Change:
    """What another visit shows otherwise: slices of the lobe, one that is empty, and one that is too large."""

    prior: Volume
    structures: StructureSet
    target: Volume
    lobe: set[int]
    empty: int
    larger: int


def _ellipsoid(volume: Volume, centre: Triple, radii: Triple, grown: float = 1.0) -> np.ndarray:
    k, j, i = np.indices(volume.geometry.shape)
    apart = (volume.geometry.world(np.stack([i, j, k], axis=-1)) - np.asarray(centre, float)) / np.asarray(radii)
    return (apart[..., 0] / grown) ** 2 + (apart[..., 1] / grown) ** 2 + apart[..., 2] ** 2 <= 1


@pytest.fixture
def changed(make_thorax: Callable) -> Change:
    before, after = make_thorax().volume, make_thorax(seed=1).volume
    heart, lobe = _ellipsoid(before, *HEART), _ellipsoid(before, *LOBE)
    noise = np.random.default_rng(2).normal(0, 8, before.array.shape).astype(np.float32)
    earlier = np.where(lobe, BLOOD + noise, before.array).astype(np.float32)
    drawn = sorted(set(np.flatnonzero(heart.any((1, 2)))) - set(np.flatnonzero(lobe.any((1, 2)))))
    empty, larger = int(drawn[-2]), int(drawn[-5])
    later = after.array.copy()
    later[empty][heart[empty]] = TISSUE
    later[larger][_ellipsoid(after, *HEART, grown=1.5)[larger]] = BLOOD
    structures = StructureSet((Structure("heart", heart | lobe),), before.geometry)
    slices = {int(k) for k in np.flatnonzero(lobe.any((1, 2)))}
    return Change(replace(before, array=earlier), structures, replace(after, array=later), slices, empty, larger)


@pytest.mark.parametrize("bridge", [True, False], ids=["filled in", "left empty"])
def test_all_that_went_wrong_is_among_the_slices_to_look_at_first(changed: Change, by_gray, bridge: bool) -> None:
    settings = VolumeSettings(cleaning=CleanupSettings(bridge=bridge))
    carried = carry(PriorVisit(by_gray, changed.prior, changed.structures, settings), changed.target)
    assert carried.masks[0][changed.empty].any() == bridge
    first = {slice_.index for _, slice_ in slices_to_review(carried.reports)[:8]}
    assert changed.empty in first
    assert changed.larger in first
    assert changed.lobe & first
    assert any("nothing was found" in text for text in carried.warnings)
