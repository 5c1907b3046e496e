"""Grids in memory: what no scanner makes is refused where it is made."""

from __future__ import annotations

import pytest

from adaptsam import Geometry
from adaptsam.errors import InputError


@pytest.mark.parametrize("side", [0.0, -2.0, float("nan"), float("inf")])
def test_a_spacing_that_is_no_length_is_refused(side: float) -> None:
    with pytest.raises(InputError, match="must be above 0"):
        Geometry((3, 4, 5), (1.0, side, 1.0), (0.0, 0.0, 0.0))


def test_an_axis_runs_the_other_way_by_its_direction() -> None:
    grid = Geometry((3, 4, 5), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    assert tuple(grid.world([1, 0, 0])) == (-2.0, 0.0, 0.0)
