"""The store: no image is encoded twice, and nothing that goes wrong on disk stops the work."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from adaptsam.errors import Cancelled
from adaptsam.sam import EmbeddingStore, SamModel


def test_equal_images_are_encoded_once_within_a_call_and_across_calls(model, images):
    store = EmbeddingStore(model)
    first = store.get([images[0], images[1], images[0].copy()])
    second = store.get([images[1], images[2]])
    assert store.encoded == 3
    assert first[0] is first[2]
    assert second[0] is first[1]


def test_the_store_gives_what_the_model_gives(model, images):
    for stored, fresh in zip(EmbeddingStore(model, batch_size=2).get(images), model.embed(images), strict=True):
        assert torch.allclose(stored.features, fresh.features, atol=1e-5)
        assert (stored.input_size, stored.original_size) == (fresh.input_size, fresh.original_size)


def test_a_gray_image_and_its_colour_copy_are_one_entry(model, images):
    gray = images[0][..., 0]
    store = EmbeddingStore(model)
    store.get([gray, np.repeat(gray[..., None], 3, axis=2)])
    assert store.encoded == 1


def test_the_same_bytes_in_another_shape_are_another_entry(model, images):
    store = EmbeddingStore(model)
    store.get([images[2][:32], images[2][:32].reshape(64, 32, 3)])
    assert store.encoded == 2


def test_memory_smaller_than_one_embedding_still_works(model, images):
    store = EmbeddingStore(model, memory_bytes=10)
    assert len(store.get(images)) == 3
    assert len(store.get(images)) == 3
    assert store.encoded == 6


def test_the_least_recently_used_entry_leaves_memory_first(model, images):
    size = model.embed(images[:1])[0].nbytes
    store = EmbeddingStore(model, memory_bytes=2 * size)
    store.get([images[0]])
    store.get([images[1]])
    store.get([images[0]])
    store.get([images[2]])
    assert store.encoded == 3
    store.get([images[0]])
    assert store.encoded == 3
    store.get([images[1]])
    assert store.encoded == 4


def test_a_folder_outlives_the_process_and_holds_exactly_what_was_computed(model, images, tmp_path):
    before = EmbeddingStore(model, folder=tmp_path / "new").get(images)
    store = EmbeddingStore(model, folder=tmp_path / "new")
    after = store.get(images)
    assert store.encoded == 0
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.features, other.features)
        assert (one.input_size, one.original_size) == (other.input_size, other.original_size)


def test_files_are_named_by_their_key_alone(model, images, tmp_path):
    EmbeddingStore(model, folder=tmp_path).get(images)
    assert all(re.fullmatch(r"[0-9a-f]{64}\.safetensors", path.name) for path in tmp_path.iterdir())


@pytest.mark.parametrize("damage", [b"", b"garbage", None], ids=["empty", "garbage", "cut short"])
def test_a_damaged_file_is_encoded_anew_and_repaired(model, images, tmp_path, damage):
    expected = EmbeddingStore(model, folder=tmp_path).get(images[:1])[0]
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    store = EmbeddingStore(model, folder=tmp_path)
    assert torch.equal(store.get(images[:1])[0].features, expected.features)
    assert store.encoded == 1
    repaired = EmbeddingStore(model, folder=tmp_path)
    repaired.get(images[:1])
    assert repaired.encoded == 0


def test_a_folder_that_cannot_be_written_costs_time_but_not_the_result(model, images, tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = EmbeddingStore(model, folder=tmp_path / "file" / "below")
    assert len(store.get(images)) == 3


def test_two_models_never_share_an_entry(model, images, random_sam, tmp_path):
    other = SamModel.from_sam(random_sam(model.config, seed=1), model.config, device="cpu")
    EmbeddingStore(model, folder=tmp_path).get(images[:1])
    store = EmbeddingStore(other, folder=tmp_path)
    store.get(images[:1])
    assert store.encoded == 1


def test_a_cancelled_run_keeps_what_was_encoded(model, images):
    def cancel_after_two(stage: str, done: int, total: int) -> None:
        assert total == 3
        if done == 2:
            raise Cancelled("Stopped.")

    store = EmbeddingStore(model, batch_size=1)
    with pytest.raises(Cancelled):
        store.get(images, progress=cancel_after_two)
    assert store.encoded == 2
    store.get(images)
    assert store.encoded == 3


def test_what_comes_from_disk_lies_in_memory_as_what_was_encoded_just_now(model, images, tmp_path):
    fresh = EmbeddingStore(model, folder=tmp_path).get(images)
    again = EmbeddingStore(model, folder=tmp_path).get(images)
    for first, second in zip(fresh, again, strict=True):
        assert torch.equal(first.features, second.features)
        assert first.features.stride() == second.features.stride()  # or sums are taken in another order
