"""Paths, amplitudes and volumes over phases."""

from __future__ import annotations

import numpy as np
import pytest

from adaptsam.image import Geometry, Structure, StructureSet
from adaptsam.metrics.motion import motion
from adaptsam.report.course_report import Course

GRID = Geometry((12, 20, 20), (2.0, 2.0, 3.0), (-20.0, -20.0, 100.0))


def ball(j: int, k: int, radius: float = 3.0) -> StructureSet:
    rows = np.indices(GRID.shape)
    mask = (rows[0] - k) ** 2 + (rows[1] - j) ** 2 + (rows[2] - 9) ** 2 <= radius**2
    return StructureSet((Structure("GTV", mask),), GRID)


def test_amplitude_is_the_range_along_each_axis_and_extent_the_greatest_distance() -> None:
    path = np.array([[0, 0, 0], [3, 0, 0], [0, 4, 0], [np.nan] * 3])
    found = motion(path, np.array([1, 2, 3, 0]), 1)
    assert found.amplitude == pytest.approx([3, 4, 0])
    assert found.extent == pytest.approx(5)
    assert found.relative[2] == pytest.approx([-3, 4, 0])
    assert np.isnan(found.relative[3]).all()


def test_one_position_has_no_amplitude() -> None:
    found = motion(np.array([[1.0, 2, 3], [np.nan] * 3]), np.array([1, 0]), 0)
    assert np.isnan(found.amplitude).all()
    assert np.isnan(found.extent)


def test_the_extent_of_a_long_path_is_found_in_little_memory() -> None:
    turns = np.linspace(0, 40 * np.pi, 20000)
    path = np.stack([turns, 30 * np.cos(turns), 30 * np.sin(turns)], axis=1)
    ends = path[:: len(path) - 1]
    assert motion(path, np.ones(len(path)), 0).extent >= np.linalg.norm(ends[1] - ends[0]) * 0.999


def test_a_course_tells_path_and_volume_in_the_order_of_the_phases() -> None:
    course = Course(ball(10, 5), label="Phase 50 %", place=1, moving=True)
    course.add("Phase 0 %", ball(8, 5))
    course.add("Phase 90 %", ball(10, 8, radius=2.0))
    assert course.labels == ["Phase 0 %", "Phase 50 %", "Phase 90 %"]
    [told] = course.summary()
    assert told["relative_to_prior_lps_mm"] == [pytest.approx(row) for row in ([0, -4, 0], [0, 0, 0], [0, 0, 9])]
    assert told["amplitude_mm"] == {"LR": pytest.approx(0), "AP": pytest.approx(4), "SI": pytest.approx(9)}
    assert told["amplitude_3d_mm"] == pytest.approx(np.hypot(4, 9))
    volume = ball(10, 5).structures[0].mask.sum() * 12 / 1000
    assert told["volume_cm3"][:2] == pytest.approx([volume, volume])
    assert told["volume_cm3"][2] < volume
    assert "Motion and volume" in course.section()


def test_visits_tell_volumes_but_no_motion_and_a_lost_structure_leaves_a_gap() -> None:
    course = Course(ball(10, 5))
    course.add("Visit 2", ball(10, 5, radius=0.1))
    course.add("Visit 3", StructureSet((Structure("GTV", np.zeros(GRID.shape, bool)),), GRID))
    [told] = course.summary()
    assert "amplitude_mm" not in told
    assert told["volume_cm3"][2] == 0
    assert "Volume over time" in course.section()
    [row] = course.rows()
    assert row["Found in"] == "2 of 3"
