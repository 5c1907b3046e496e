"""The benchmark itself: it runs, and measures what it says."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from adaptsam.registration.rigid import Rigid


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[1] / "tools" / "benchmarks" / "registration.py"
    spec = spec_from_file_location("registration_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_registers_moved_scans_and_tells_time_and_error(benchmark: ModuleType) -> None:
    figures = benchmark.run(repeats=1, full=0, shape=(34, 96, 96))
    assert figures["voxels"] == "96×96×34"
    assert figures["rigid, CPU [s]"] > 0
    assert figures["rigid, error, mean [mm]"] <= figures["rigid, error, largest at any point [mm]"] < 5
    assert figures["deformable, correlation"] >= figures["deformable, correlation before"] > 0.9


def test_a_point_that_is_taken_elsewhere_counts_by_its_distance(benchmark: ModuleType) -> None:
    pair = benchmark.Pair(None, None, np.zeros((2, 3)), np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]]))
    assert pair.errors(Rigid()).tolist() == [5.0, 0.0]
