"""Heads of agents' files that are damaged: one sentence, whatever is missing in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptsam.alignsam.agent_header import read_header
from adaptsam.errors import CheckpointError


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1]},
        {"data_offsets": []},
        {"data_offsets": [0]},
        {"data_offsets": None},
        {"data_offsets": [0, "x"]},
        [],
        None,
        7,
    ],
)
def test_a_tensor_without_its_place_is_damage(tmp_path: Path, entry: object) -> None:
    head = json.dumps({"a": entry}).encode()
    path = tmp_path / "x.agent.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"\0" * 4)
    with pytest.raises(CheckpointError, match="damaged or not an agent file"):
        read_header(path)
