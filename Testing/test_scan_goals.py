"""The goals of the bundled model: which structure has which, and when it is reached."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def goals() -> ModuleType:
    path = next(Path(__file__).parent.rglob("scan_goals.py"))
    spec = importlib.util.spec_from_file_location("scan_goals", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("case", "structure", "five"),
    [
        ("LUNG1-001", "Lung-Left", 0.93),
        ("LUNG1-003", "Lung R", 0.93),
        ("LUNG1-001", "Spinal-Cord", 0.88),
        ("LUNG1-003", "GTV-2", 0.85),
        ("abdomen", "kidney_left", 0.88),
        ("SegTHOR", "heart", 0.85),
        ("ACDC", "left ventricle", 0.88),
        ("STS-001 MR_T1", "GTV Mass MR T1", 0.82),
        ("LUNG1-003", "Heart", None),
        ("SegTHOR", "aorta", None),
    ],
)
def test_a_structure_has_one_goal_or_none(goals: ModuleType, case: str, structure: str, five: float | None) -> None:
    assert [goal.five for goal in goals.GOALS if goal.holds(case, structure)] == ([] if five is None else [five])


def test_what_reaches_its_goal_is_bold_and_a_box_must_beat_the_ellipse_whatever_its_goal(goals: ModuleType) -> None:
    row = {"ellipse": 0.95, "growing": 0.5}
    row |= {f"m, {goals.WHOLE}: {key}": 0.91 for key in ("box", "1 clicks", "3 clicks", "5 clicks")}
    line = list(goals.goal_table({("abdomen", "liver"): [row, row], ("CVC", "other"): [row]}, "m"))[-1]
    assert line.startswith("| abdomen | liver | 2 | 0.95 | 0.50 | 0.91 (0.88) | **0.91** (0.75) | **0.91** (growing) |")
