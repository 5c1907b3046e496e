"""Model files that mean harm: each was found by Testing/tools/experiments/fuzz.py."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_sam import TINY, tiny_model

from adaptsam.errors import CheckpointError
from adaptsam.sam import EmbeddingStore, build_sam, load_sam, save_checkpoint


def test_a_pickle_whose_archive_is_packed_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save(build_sam(TINY).state_dict(), tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as old, zipfile.ZipFile(tmp_path / "packed.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="is damaged or not a model file"):
        load_sam(tmp_path / "packed.pth", "cpu")


def test_a_tensor_that_claims_more_numbers_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    weights = build_sam(TINY).state_dict()
    weights["image_encoder.pos_embed"] = torch.zeros(1).expand(1, 2**15, 2**15, 32)
    torch.save(weights, tmp_path / "huge.pth")
    with pytest.raises(CheckpointError, match="is damaged or not a model file"):
        load_sam(tmp_path / "huge.pth", "cpu")


@pytest.mark.parametrize(
    ("field", "value"),
    [("encoder_depth", 10**9), ("encoder_dim", 60_000), ("image_size", 10**7), ("embed_dim", "x"), ("tiny_vit", 3)],
)
def test_a_described_model_of_another_world_is_not_built(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, build_sam(TINY), TINY)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    described = json.loads(header["__metadata__"]["adaptsam"])
    described["config"][field] = value
    header["__metadata__"]["adaptsam"] = json.dumps(described)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(CheckpointError, match=r"cannot be built|instead of"):
        load_sam(path, "cpu")


def test_a_stored_embedding_with_one_changed_digit_is_computed_anew(tmp_path: Path) -> None:
    model, image = tiny_model(), np.arange(4096, dtype=np.uint32).reshape(64, 64).astype(np.uint8)
    [good] = EmbeddingStore(model, folder=tmp_path).get([image])
    [path] = tmp_path.rglob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    store = EmbeddingStore(model, folder=tmp_path)
    [again] = store.get([image])
    assert store.encoded == 1
    assert torch.equal(again.features, good.features)
    assert EmbeddingStore(model, folder=tmp_path).get([image])[0].original_size == (64, 64)
