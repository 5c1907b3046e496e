"""Images and masks go in and out of the model's frame exactly as in SAM's predictor and the P²SAM reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.utils.transforms import ResizeLongestSide
from torch.nn import functional

from adaptsam.errors import InputError
from adaptsam.sam import choose_device


def test_embeddings_equal_those_of_the_predictor_for_any_aspect(model, images):
    predictor = SamPredictor(model.sam)
    for image, embedding in zip(images, model.embed(images, batch_size=2), strict=True):
        predictor.set_image(image)
        theirs = predictor.get_image_embedding()[0]
        assert float((embedding.features - theirs).abs().max() / theirs.abs().max()) < 1e-4
        assert embedding.input_size == predictor.input_size
        assert embedding.original_size == predictor.original_size
        assert embedding.features.dtype == torch.float32


def test_a_gray_image_is_three_equal_channels(model, images):
    gray = images[0][..., 1]
    one, other = model.embed([gray, np.stack([gray] * 3, axis=-1)])
    assert torch.equal(one.features, other.features)


def test_embeddings_of_a_batch_do_not_keep_each_other_in_memory(model, images):
    for embedding in model.embed(images, batch_size=3):
        assert embedding.features.untyped_storage().nbytes() == embedding.nbytes


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((8, 8, 3), np.float32), "8-bit"),
        (np.zeros((8, 8, 4), np.uint8), "shape"),
        (np.zeros((0, 8, 3), np.uint8), "shape"),
        (np.zeros((2, 8, 8, 3), np.uint8), "shape"),
        (np.zeros((1, 5000, 3), np.uint8), "narrow"),
    ],
)
def test_what_is_not_an_image_is_refused_in_words(model, image, words):
    with pytest.raises(InputError, match=words):
        model.embed([image])


def test_a_batch_size_below_one_is_refused(model, images):
    with pytest.raises(InputError, match="at least 1"):
        model.embed(images, batch_size=-1)


@pytest.mark.parametrize("shape", [(40, 90), (77, 33), (64, 64), (200, 130)])
def test_a_mask_is_resized_padded_and_centred_as_in_the_reference(model, shape):
    mask = np.zeros(shape, bool)
    mask[5:20, 7:30] = True
    # The reference reads masks as colour images, resizes them like one and pads with zeros.
    colour = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)
    resized = torch.from_numpy(ResizeLongestSide(64).apply_image(colour)).permute(2, 0, 1)[None]
    height, width = resized.shape[-2:]
    padded = functional.pad(resized, (0, 64 - width, 0, 64 - height))
    expected = padded - (padded.max() + padded.min()) / 2.0
    ours = model.resize_mask(mask)
    assert ours.shape == (1, 1, 64, 64)
    assert torch.equal(ours, expected[:, :1])


def test_an_empty_mask_has_no_foreground(model):
    assert not (model.resize_mask(np.zeros((30, 50), bool)) > 0).any()


def test_a_stack_of_masks_is_refused(model):
    with pytest.raises(InputError, match="shape"):
        model.resize_mask(np.zeros((3, 30, 50), bool))


def test_upscaling_keeps_any_leading_axes(model, images):
    (embedding,) = model.embed(images[:1])
    logits = torch.randn(2, 3, 32, 32)
    upscaled = model.upscale(logits, embedding)
    assert upscaled.shape == (2, 3, 40, 90)
    sizes = embedding.input_size, embedding.original_size
    assert torch.equal(upscaled, model.sam.postprocess_masks(logits, *sizes))
    alone = model.sam.postprocess_masks(logits[1:, 2:], *sizes)
    assert torch.equal(model.upscale(logits[1, 2], embedding), alone[0, 0])
    assert torch.equal(model.upscale(logits[1], embedding)[2], alone[0, 0])


def test_a_device_that_is_not_there_is_refused_in_words():
    with pytest.raises(InputError, match="not available"):
        choose_device("cuda:99")
    with pytest.raises(InputError, match="not available"):
        choose_device("toaster")
    assert choose_device("cpu").type == "cpu"


def test_logits_framed_for_the_decoder_come_back_by_upscaling(model, images):
    (embedding,) = model.embed(images[:1])
    rows, columns = embedding.original_size
    j, i = np.mgrid[:rows, :columns]
    ramp = np.clip(8 - np.hypot(j - rows / 2, i - columns / 2), -8, 8).astype(np.float32)
    framed = model.frame_logits(ramp, embedding)
    assert framed.shape == (4 * model.grid_size, 4 * model.grid_size)
    back = model.upscale(framed, embedding).numpy()
    assert np.abs(back - ramp).mean() < 0.5
    assert ((back > 0) == (ramp > 0)).mean() > 0.98
