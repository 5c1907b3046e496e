"""Signed distances against the plain way: two transforms of the whole array."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from adaptsam.image.signed_distance import signed_distance


@pytest.mark.parametrize("shape", [(9, 14), (5, 12, 9), (1, 7, 7)])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_distances_are_those_of_the_whole_array_although_the_inside_is_measured_in_its_box(shape, share):
    spacing = (2.5, 0.9, 0.7)[: len(shape)]
    for seed in range(5):
        mask = np.random.default_rng(seed).random(shape) < share
        mask.flat[seed] = True
        mask.flat[-1 - seed] = False
        outside, inside = (ndimage.distance_transform_edt(one, sampling=spacing) for one in (~mask, mask))
        half = min(spacing) / 2
        expected = np.where(mask, half - inside, outside - half).astype(np.float32)
        assert np.array_equal(signed_distance(mask, spacing), expected)
