"""PANet against its plain definition, and on colours whose nearer prototype is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adaptsam.evaluation.methods import Workbench, make_methods
from adaptsam.evaluation.methods.panet import prototypes
from adaptsam.sam import EmbeddingStore


def plain_means(features, mask):
    """Masked average pooling on features (C, h, w) brought to a square image's size."""
    size = mask.shape
    large = F.interpolate(features[None], size=size, mode="bilinear", align_corners=False)[0]
    return torch.stack([large[:, torch.tensor(part)].mean(1) for part in (~mask, mask)])


@pytest.mark.parametrize("seed", range(2))
def test_prototypes_and_masks_are_those_of_the_published_inference(make_model, make_pair, seed):
    model, pair = make_model(seed), make_pair(seed, (64, 64))
    bench = Workbench(EmbeddingStore(model))
    reference, target = bench.embed([pair.prior.image, pair.image])
    two = plain_means(reference.features, pair.prior.mask)
    torch.testing.assert_close(prototypes(model, reference, pair.prior), two, rtol=1e-3, atol=1e-4)
    similar = torch.stack([F.cosine_similarity(target.features, one[:, None, None], dim=0) * 20 for one in two])
    expected = F.interpolate(similar[None], size=(64, 64), mode="bilinear", align_corners=False)[0].argmax(0) == 1
    [method] = make_methods(["panet"])
    [mask] = method.pictures(bench, [pair])
    assert np.mean(mask == expected.numpy()) >= 0.999


def test_every_pixel_goes_to_the_colour_that_it_is_nearer_to(painted, colours):
    pair, truth = colours
    [mask] = make_methods(["panet"])[0].pictures(painted, [pair])
    disagreement = mask ^ truth
    # Interpolation between patches of 8 pixels moves the border by less than half a patch.
    assert disagreement.mean() < 0.1
    assert mask[28:44, 36:52].all()
    assert not mask[:18].any()
