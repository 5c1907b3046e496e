"""Where the prompt points lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from adaptsam.errors import InputError
from adaptsam.p2sam import Job, P2SamSettings, Prior, segment
from adaptsam.p2sam.prompt_selection import make_prompts, peaks, similarity_maps, target_guided_attention
from adaptsam.sam import Embedding


def planted(shape=(64, 64), seed=0, blob=None, colour=0):
    """An embedding of noise with one strong direction planted on some patches."""
    generator = torch.Generator().manual_seed(seed)
    features = 0.1 * torch.randn(32, 8, 8, generator=generator)
    features[31] += 1
    if blob is not None:
        rows, columns = blob
        features[:, rows, columns] *= 0.1
        features[colour, rows, columns] += 3
    return Embedding(features, shape, shape)


@pytest.fixture
def prior(model):
    mask = np.zeros((64, 64), bool)
    mask[16:32, 16:32] = True
    return Prior.from_mask(model, planted(blob=(slice(2, 4), slice(2, 4))), mask)


@pytest.fixture
def target():
    return planted(seed=1, blob=(slice(5, 7), slice(4, 6)))


def test_positive_points_find_the_structure_where_it_moved_to(model, prior, target):
    prompts = make_prompts(model, prior, target, None, P2SamSettings())
    assert [(p.n_positive, p.n_negative) for p in prompts] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    for prompt in prompts:
        x, y = prompt.points[prompt.labels == 1].T
        assert ((x >= 30) & (x < 50) & (y >= 38) & (y < 58)).all()


def test_three_maps_are_upsampled_as_the_three_channels_of_one_image_to_the_last_bit(model, prior, target, monkeypatch):
    """On many processors PyTorch rounds three channels otherwise than one; the last bit tells where a flat peak is."""
    target = Embedding(target.features, (48, 64), (90, 120))
    parts = prior.foreground_parts(3)
    features = (target.features / target.features.norm(dim=0, keepdim=True)).flatten(1)
    coarse = functional.interpolate((parts @ features).reshape(1, 3, 8, 8), scale_factor=4, mode="bilinear")
    upsample, shapes = model.sam.postprocess_masks, []
    together = upsample(coarse, target.input_size, target.original_size)[0]

    def noted(masks, *sizes):
        shapes.append(tuple(masks.shape[:2]))
        return upsample(masks, *sizes)

    monkeypatch.setattr(model.sam, "postprocess_masks", noted)
    assert torch.equal(similarity_maps(model, target, [parts])[0], together)
    assert shapes == [(1, 3)]


def test_negative_points_come_last_and_lie_off_the_structure(model, prior, target):
    for prompt in make_prompts(model, prior, target, None, P2SamSettings()):
        assert prompt.labels.tolist() == [1] * prompt.n_positive + [0] * prompt.n_negative
        x, y = prompt.points[prompt.labels == 0].T
        assert not ((x >= 32) & (x < 48) & (y >= 40) & (y < 56)).any()


@pytest.mark.parametrize("domain", ["medical", "natural"])
def test_a_region_holds_every_positive_point_and_no_other(model, prior, target, domain):
    region = np.zeros((64, 64), bool)
    region[:20, 5:30] = True
    free = make_prompts(model, prior, target, None, P2SamSettings(domain=domain))
    held = make_prompts(model, prior, target, region, P2SamSettings(domain=domain))
    for without, prompt in zip(free, held, strict=True):
        x, y = prompt.points[prompt.labels == 1].astype(int).T
        assert region[y, x].all()
        np.testing.assert_array_equal(prompt.points[prompt.labels == 0], without.points[without.labels == 0])


@pytest.mark.parametrize(
    ("region", "message"), [(np.zeros((64, 64), bool), "empty"), (np.ones((32, 64), bool), "own pixels")]
)
def test_a_region_without_room_or_of_another_size_is_refused(model, prior, target, region, message):
    with pytest.raises(InputError, match=message):
        segment(model, [Job(prior, target, region)])


def test_the_peak_is_the_first_of_equals_in_x_y_order():
    maps = torch.zeros(2, 3, 4)
    maps[0, 1, 2] = maps[0, 2, 0] = 1
    assert peaks(maps).tolist() == [[2, 1], [0, 0]]
    allowed = torch.zeros(3, 4, dtype=torch.bool)
    allowed[1, 3] = allowed[2, 0] = True
    assert peaks(maps, allowed).tolist() == [[0, 2], [3, 1]]


def test_points_are_in_original_pixels_of_an_image_that_is_not_square(model, prior):
    wide = planted((32, 64), seed=1, blob=(slice(1, 3), slice(6, 8)))
    target = Embedding(wide.features, (32, 64), (96, 192))
    (prompt,) = make_prompts(model, prior, target, None, P2SamSettings(positives=(1, 1)))
    x, y = prompt.points[0]
    assert 144 <= x < 192
    assert 24 <= y < 72


def test_natural_images_get_one_negative_point_and_the_guidance_of_persam(model, prior, target):
    for prompt in make_prompts(model, prior, target, None, P2SamSettings(domain="natural")):
        assert prompt.n_negative == 1
        assert prompt.attention.shape == (64,)
        assert torch.equal(prompt.semantic, prior.foreground.mean(0))


def test_guided_attention_is_a_half_where_the_similarity_is_average():
    ramp = torch.linspace(-1, 1, 64)[None].expand(64, 64)
    attention = target_guided_attention(ramp, (8, 8)).reshape(8, 8)
    assert torch.allclose(attention + attention.flip(1), torch.ones(8, 8), atol=1e-5)
    assert (attention[0].diff() > 0).all()
