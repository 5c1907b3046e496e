"""Attention maps for agents: which CLIP they ask for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from blob_agent import make_agent
from tiny_sam import tiny_model

from adaptsam.autoprompting.text_maps import text_maps
from adaptsam.errors import CheckpointError

pytest.importorskip("open_clip")


def test_a_clip_that_is_named_without_its_hash_may_be_another_and_one_with_it_may_not() -> None:
    package = replace(make_agent(tiny_model(), branch="explicit"), text="lung")
    maps = text_maps("phantom_clip", [replace(package, clip="any CLIP that knows lungs")], "cpu")
    assert maps is not None
    [found] = maps("lung", [np.zeros((30, 40, 3), np.uint8)])
    assert found.shape == (30, 40)
    with pytest.raises(CheckpointError, match="another CLIP"):
        text_maps("phantom_clip", [replace(package, clip=f"ViT-B-16, SHA-256 {'0' * 64}")], "cpu")
