"""Batched decoding against SAM's own predictor, one prompt at a time."""

from __future__ import annotations

import numpy as np
import pytest
from segment_anything import SamPredictor

from adaptsam.sam import DecodeRequest, SamModel


def _predict(model: SamModel, image, request: DecodeRequest, multimask: bool):
    predictor = SamPredictor(model.sam)
    predictor.set_image(image)
    mask = None if request.mask_input is None else np.asarray(request.mask_input)[None]
    points = None if request.points is None else np.asarray(request.points)
    labels = None if request.labels is None else np.asarray(request.labels)
    box = None if request.box is None else np.asarray(request.box)
    return predictor.predict(points, labels, box, mask, multimask, return_logits=True)


def _mixed_requests(model: SamModel, images):
    random = np.random.default_rng(3)
    embeddings = model.embed(images)
    side = 4 * model.grid_size
    mask = random.normal(size=(side, side)).astype(np.float32) * 5
    points = [(3, 4), (20.5, 11), (8, 30)]
    return [
        (0, DecodeRequest(embeddings[0], points[:1], [1])),
        (0, DecodeRequest(embeddings[0], points, [1, 0, 1])),
        (1, DecodeRequest(embeddings[1], points[:2], [1, 0], box=(2, 3, 20, 40))),
        (2, DecodeRequest(embeddings[2], points[:2], [0, 1], mask_input=mask)),
        (0, DecodeRequest(embeddings[0], box=(1, 2, 50, 30))),
        (1, DecodeRequest(embeddings[1], mask_input=mask * 2)),
        (2, DecodeRequest(embeddings[2], points * 4, [1, 0, 0] * 4, box=(5, 5, 9, 60), mask_input=mask)),
        (2, DecodeRequest(embeddings[2])),
    ]


@pytest.mark.parametrize("multimask", [False, True])
def test_many_prompts_in_one_pass_give_what_the_predictor_gives_one_by_one(model, images, multimask):
    cases = _mixed_requests(model, images)
    decoded = model.decode([request for _, request in cases], multimask)
    for (index, request), result in zip(cases, decoded, strict=True):
        full, iou, low = _predict(model, images[index], request, multimask)
        scale = np.abs(low).max()
        assert result.logits.shape == low.shape
        assert np.abs(result.logits.numpy() - low).max() < 1e-4 * scale
        assert np.allclose(result.iou.numpy(), iou, rtol=1e-4, atol=1e-5)
        upscaled = model.upscale(result.logits, request.embedding)
        assert upscaled.shape == full.shape
        assert np.abs(upscaled.numpy() - full).max() < 1e-4 * scale
