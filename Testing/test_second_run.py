"""A second run on the same scans, as Testing/tools/benchmarks/second_run.py measures it: what it does not do again."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from adaptsam.registration import registration_cache as kept_registration


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parent / "tools" / "benchmarks" / "second_run.py"
    spec = spec_from_file_location("second_run_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Three propagations with the bundled model, and a phantom: about 8 s.
def test_another_structure_and_a_corrected_prior_are_neither_encoded_nor_registered_again(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[int] = []
    compute = kept_registration._computed
    monkeypatch.setattr(kept_registration, "_computed", lambda *given: registered.append(1) or compute(*given))
    figures = benchmark.run(repeats=1, shape=(8, 64, 64))
    assert figures["first run, encoded"] > 0
    assert figures["another structure, encoded"] == 0
    assert figures["a corrected prior, encoded"] == 0
    assert figures["another structure, decoder passes"] > 0
    assert figures["a corrected prior, decoder passes"] > 0
    assert len(registered) == 1
