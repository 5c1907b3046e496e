"""A method for pictures, asked for a volume whose voxels are stored in another order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from thorax import thorax

from adaptsam.evaluation.methods import VolumePair, Workbench, make_methods
from adaptsam.image import StructureSet, Volume

FLIPPED = (slice(None), slice(None, None, -1), slice(None, None, -1))


def flipped(volume: Volume, structures: StructureSet) -> tuple[Volume, StructureSet]:
    """The same visit with rows and columns stored backwards."""
    grid = volume.geometry
    origin = grid.world(np.array([grid.shape[2] - 1, grid.shape[1] - 1, 0]))
    turned = replace(grid, origin=tuple(map(float, origin)), direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    drawn = tuple(replace(one, mask=np.ascontiguousarray(one.mask[FLIPPED])) for one in structures.structures)
    array = np.ascontiguousarray(volume.array[FLIPPED])
    return replace(volume, array=array, geometry=turned), replace(structures, structures=drawn, geometry=turned)


@pytest.mark.parametrize("name", ["persam", "persam-f", "matcher", "panet", "direct-transfer", "p2sam-slices"])
def test_the_order_of_the_voxels_does_not_matter(name: str, bench: Workbench) -> None:
    prior, target = thorax(), thorax(shift_mm=(6, 4, 0))
    [method] = make_methods([name])
    known = {"heart": [4, 5]}
    heart = replace(prior.structures, structures=(prior.structures.structures[1],))
    straight = method.volume(bench, VolumePair("one", prior.volume, heart, target.volume, known_slices=known))
    turned_prior, turned_heart = flipped(prior.volume, heart)
    turned_target, _ = flipped(target.volume, target.structures)
    turned = method.volume(bench, VolumePair("one", turned_prior, turned_heart, turned_target, known_slices=known))
    assert np.array_equal(turned["heart"].mask[FLIPPED], straight["heart"].mask)
