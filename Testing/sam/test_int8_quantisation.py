"""The image encoder in 8-bit integers: near the float32 one, never taken for it, and refused in a sentence."""

from __future__ import annotations

import argparse
import importlib.util

import numpy as np
import pytest
import torch

from adaptsam.commands.console import add_model_options, load_model
from adaptsam.errors import InputError
from adaptsam.sam import DecodeRequest, EmbeddingStore, SamModel, load_sam
from adaptsam.sam import int8_quantisation as int8
from adaptsam.synthetic.thorax_phantom import phantom_patient
from adaptsam.worker import memory

needs_torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="the extra int8 is missing")


@pytest.fixture(scope="module")
def bundled() -> tuple[SamModel, SamModel]:
    """The trained model that comes with AdaptSAM, in float32 and in 8 bits."""
    return load_sam(device="cpu"), load_sam(device="cpu", precision="int8")


@pytest.fixture(scope="module")
def slices() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Slices of a phantom, uint8, and the heart on them."""
    [visit] = phantom_patient(100_000, 1, shape=(24, 160, 160), spacing=(2.6, 2.6, 8.0))
    heart = next(one.mask for one in visit.structures.structures if one.name == "Heart")
    shown = [k for k in range(24) if heart[k].sum() > 200]
    gray = np.clip((visit.volume.array + 910) / 1500 * 255, 0, 255).astype(np.uint8)
    return [gray[k] for k in shown], [heart[k] for k in shown]


@needs_torchao
def test_embeddings_of_the_bundled_model_point_the_same_way(bundled, slices):
    exact, fast = (torch.stack([one.features for one in model.embed(slices[0])]) for model in bundled)
    assert float(torch.cosine_similarity(exact.flatten(1), fast.flatten(1)).min()) >= 0.999
    assert float(torch.cosine_similarity(exact, fast).min()) >= 0.99
    assert not torch.equal(exact, fast)


@needs_torchao
def test_masks_of_the_bundled_model_agree_for_equal_prompts(bundled, slices):
    images, masks = slices
    boxes = [np.array([*np.argwhere(one).min(0)[::-1], *np.argwhere(one).max(0)[::-1]], float) for one in masks]
    found = []
    for model in bundled:
        requests = [DecodeRequest(one, box=box) for one, box in zip(model.embed(images), boxes, strict=True)]
        found.append([one.logits[0].numpy() > 0 for one in model.decode(requests)])
    dices = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in zip(*found, strict=True)]
    assert len(dices) > 3
    assert np.mean(dices) >= 0.99
    assert min(dices) >= 0.97


@needs_torchao
def test_the_model_that_was_given_keeps_its_weights_and_shares_what_stays(model):
    fast = SamModel.from_sam(model.sam, model.config, device="cpu", precision="int8")
    assert type(model.sam.image_encoder.blocks[0].attn.qkv.weight) is torch.nn.Parameter
    assert fast.sha256 == model.sha256
    own, given = fast.sam.mask_decoder.iou_token.weight, model.sam.mask_decoder.iou_token.weight
    assert own.data_ptr() == given.data_ptr()
    assert fast.precision == torch.int8


@needs_torchao
def test_an_embedding_in_8_bits_is_never_taken_for_another(model, images, tmp_path):
    fast = SamModel.from_sam(model.sam, model.config, device="cpu", precision="int8")
    EmbeddingStore(fast, folder=tmp_path).get(images)
    store = EmbeddingStore(model, folder=tmp_path)
    [exact] = store.get(images[:1])
    assert store.encoded == 1
    assert torch.equal(exact.features, model.embed(images[:1])[0].features)
    again = EmbeddingStore(fast, folder=tmp_path)
    again.get(images)
    assert again.encoded == 0


@needs_torchao
def test_mobile_sam_has_8_bits_too(random_sam):
    from adaptsam.sam import VIT_T

    sam = random_sam(VIT_T)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    exact, fast = (
        SamModel.from_sam(sam, VIT_T, device="cpu", precision=precision).embed([image])[0].features
        for precision in ("auto", "int8")
    )
    assert float(torch.cosine_similarity(exact.flatten(), fast.flatten(), 0)) > 0.99


@needs_torchao
def test_the_command_line_and_the_worker_ask_for_8_bits():
    parser = argparse.ArgumentParser()
    add_model_options(parser)
    assert load_model(parser.parse_args(["--device=cpu", "--precision=int8"])).precision == torch.int8
    assert load_model(parser.parse_args(["--device=cpu"])).precision == torch.float32
    assert "cpu:int8" in [one["name"] for one in memory.devices()]
    assert memory.device_and_precision("cpu:int8") == ("cpu", "int8")
    assert memory.device_and_precision("cuda:1") == ("cuda:1", "auto")


def test_without_torchao_there_is_one_sentence_and_the_worker_does_not_offer_it(monkeypatch):
    monkeypatch.setattr(int8.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'needs the extra "int8": pip install "adaptsam\[int8\]"'):
        load_sam(device="cpu", precision="int8")
    assert "cpu:int8" not in [one["name"] for one in memory.devices()]


def test_without_fast_products_of_8_bits_they_are_refused(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(InputError, match="no fast 8-bit products on this machine"):
        load_sam(device="cpu", precision="int8")


def test_a_precision_that_is_not_to_be_had_is_said(model):
    with pytest.raises(InputError, match="auto, float32, bfloat16, int8, not 'int4'"):
        load_sam(device="cpu", precision="int4")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="for the CPU, not for meta"):
        SamModel.from_sam(model.sam, model.config, device="meta", precision="int8")
