"""A contrast agent that only one of two CT has."""

import numpy as np
import pytest

from adaptsam.registration.contrast_agent import agent_differs


def chest(vessel: float, shift: int, seed: int) -> np.ndarray:
    """HU of soft tissue with a spine of bone and a large vessel."""
    rng = np.random.default_rng(seed)
    image = np.full((12, 60, 60), 40.0)
    image[:, 44 + shift : 52 + shift, 26:36] = 500.0
    image[:, 12:28, 18:42] = vessel
    return (image + rng.normal(0, 12, image.shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("before", "after", "shift", "differs"),
    [(45, 300, 0, True), (300, 45, 2, True), (45, 45, 0, False), (45, 45, 3, False), (300, 300, 3, False)],
)
def test_an_agent_is_told_from_bones_that_are_not_aligned(before: int, after: int, shift: int, differs: bool) -> None:
    first, second = chest(before, 0, 1), chest(after, shift, 2)
    assert agent_differs(first, second, np.ones(first.shape, bool)) is differs
