"""A few of the random files of Testing/tools/experiments/differential.py, read as independent readers read them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def differential() -> ModuleType:
    path = Path(__file__).parents[1] / "tools" / "experiments" / "differential.py"
    spec = importlib.util.spec_from_file_location("differential", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["rtstruct", "seg", "nifti", "seg.nrrd"])
def test_random_files_are_read_as_independent_readers_read_them(differential: ModuleType, kind: str) -> None:
    assert [differential.compare(kind, 7, number) for number in range(3)] == [[], [], []]


def test_a_voxel_that_differs_is_found(differential: ModuleType) -> None:
    mask = differential.np.zeros((2, 3, 4), bool)
    other = mask.copy()
    other[1, 2, 3] = True
    assert differential._differences({"a": mask}, {"a": other, "b": mask}, "x") == [
        "no 'b', which x has",
        "'a': 1 voxels differ from x's",
    ]
