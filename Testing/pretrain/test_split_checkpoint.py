"""The state of a training in pieces: whole or not at all, and small enough to travel."""

import hashlib
import json
from pathlib import Path
from unittest import mock

import pytest
import torch

from adaptsam.errors import InputError
from adaptsam.pretrain import split_checkpoint as module
from adaptsam.pretrain.split_checkpoint import forget_state, keep_state, kept_state, narrowed

STATE = {"weights": torch.arange(1000.0), "step": torch.tensor(7.0), "name": "joint"}


def test_what_was_kept_comes_back_from_pieces_of_the_given_size(tmp_path: Path) -> None:
    index = tmp_path / "model.training"
    assert kept_state(index) is None
    keep_state(index, {"old": 1}, piece_bytes=1000)
    keep_state(index, STATE, piece_bytes=1000)
    pieces = [path for path in tmp_path.iterdir() if path != index]
    assert len(pieces) > 4
    assert max(path.stat().st_size for path in pieces) == 1000
    state = kept_state(index)
    assert state is not None
    assert torch.equal(state["weights"], STATE["weights"])
    assert state["name"] == "joint"
    forget_state(index)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_damaged_piece_is_told(tmp_path: Path) -> None:
    index = tmp_path / "model.training"
    keep_state(index, STATE, piece_bytes=1000)
    piece = next(tmp_path.glob("*.2"))
    piece.write_bytes(piece.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="damaged; copy it again"):
        kept_state(index)
    piece.unlink()
    with pytest.raises(InputError, match="damaged; copy it again"):
        kept_state(index)


def test_nothing_in_a_state_that_somebody_made_is_run(tmp_path: Path) -> None:
    index = tmp_path / "model.training"
    piece, victim = tmp_path / "model.training.0", tmp_path / "victim"
    victim.touch()

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.unlink, (victim,)

    torch.save(Hostile(), piece)
    digest = hashlib.sha256(piece.read_bytes()).hexdigest()
    for content in (json.dumps({"sha256": digest, "pieces": [piece.name]}), "half an index", "[" * 100_000):
        index.write_text(content)
        with pytest.raises(InputError, match="damaged; copy it again"):
            kept_state(index)
    assert victim.exists()


def test_a_program_that_ends_between_the_pieces_leaves_what_was_there(tmp_path: Path) -> None:
    index = tmp_path / "model.training"
    keep_state(index, {"old": torch.ones(500)}, piece_bytes=1000)
    with mock.patch.object(module.json, "dumps", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        keep_state(index, STATE, piece_bytes=1000)
    state = kept_state(index)
    assert state is not None
    assert torch.equal(state["old"], torch.ones(500))


def test_numbers_are_narrowed_but_counts_are_not() -> None:
    narrow = narrowed({"adam": STATE}, torch.bfloat16)["adam"]
    assert narrow["weights"].dtype == torch.bfloat16
    assert narrow["step"].dtype == torch.float32
