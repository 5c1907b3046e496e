"""A tiny SAM and a study that takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drawn_study import drawn_study
from tiny_sam import tiny_model

from adaptsam.evaluation.evaluation_cases import Study
from adaptsam.sam import SamModel


@pytest.fixture(scope="session")
def tiny() -> SamModel:
    return tiny_model(spread=2.0)


@pytest.fixture
def make_study() -> Callable[..., Study]:
    return drawn_study
