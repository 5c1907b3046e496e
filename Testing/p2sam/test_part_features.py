"""The prior: which patches are foreground, and what its parts are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptsam.errors import InputError
from adaptsam.p2sam import Prior
from adaptsam.p2sam.part_features import part_features
from adaptsam.sam import Embedding


def embedding(shape=(64, 64), input_size=(64, 64)):
    torch.manual_seed(0)
    return Embedding(torch.randn(32, 8, 8), input_size, shape)


def mask_of(shape, rows, columns):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def test_a_patch_is_foreground_if_the_mask_covers_more_than_half_of_the_pixels_around_its_centre(model):
    prior = Prior.from_mask(model, embedding(), mask_of((64, 64), slice(8, 24), slice(16, 40)))
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[1:3, 2:5] = True
    assert torch.equal(prior.grid_mask, expected)
    half = Prior.from_mask(model, embedding(), mask_of((64, 64), slice(0, 8), slice(0, 4)))
    assert not half.usable
    middle = Prior.from_mask(model, embedding(), mask_of((64, 64), slice(3, 5), slice(3, 5)))
    assert middle.patches == (1, 63)


def test_foreground_and_background_share_out_all_patches_padding_included(model):
    source = embedding((32, 64), (32, 64))
    prior = Prior.from_mask(model, source, mask_of((32, 64), slice(0, 16), slice(0, 16)))
    assert prior.patches == (4, 60)
    assert prior.foreground.shape == (4, 32)
    assert prior.background.shape == (60, 32)
    assert torch.equal(prior.foreground[1], source.features[:, 0, 1])


@pytest.mark.parametrize("mask", [mask_of((64, 64), slice(0), slice(0)), mask_of((64, 64), slice(1, 4), slice(1, 4))])
def test_a_mask_that_covers_no_patch_makes_an_unusable_prior(model, mask):
    assert not Prior.from_mask(model, embedding(), mask).usable


def test_a_mask_that_fills_a_square_image_is_all_foreground(model):
    assert Prior.from_mask(model, embedding(), np.ones((64, 64), bool)).patches == (64, 0)


def test_a_mask_of_another_size_than_its_image_is_refused(model):
    with pytest.raises(InputError, match="pixels"):
        Prior.from_mask(model, embedding(), np.ones((32, 64), bool))


def test_one_part_is_the_mean_of_unit_length():
    features = torch.tensor([[4.0, 0.0], [0.0, 3.0], [2.0, 3.0]])
    assert torch.allclose(part_features(features, 1), torch.tensor([[2**-0.5, 2**-0.5]]))


def test_parts_are_means_of_raw_features_normalised_after_averaging():
    near_x = torch.tensor([[10.0, 0.0], [12.0, 1.0]])
    near_y = torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    parts = part_features(torch.cat([near_x, near_y]), 2)
    expected = torch.nn.functional.normalize(torch.stack([near_x.mean(0), near_y.mean(0)]), dim=1)
    order = parts[:, 0].argsort(descending=True)
    assert torch.allclose(parts[order], expected)


def test_identical_features_give_fewer_parts_and_no_nan():
    with pytest.warns(UserWarning, match="distinct clusters"):
        parts = part_features(torch.ones(5, 3), 2)
    assert parts.shape == (1, 3)
    assert parts.isfinite().all()


def test_more_parts_than_features_are_refused():
    with pytest.raises(InputError, match="fewer parts"):
        part_features(torch.randn(2, 3), 3)


def test_parts_are_clustered_once_for_many_targets(model, monkeypatch):
    prior = Prior.from_mask(model, embedding(), mask_of((64, 64), slice(0, 24), slice(0, 24)))
    first = prior.background_parts(3)
    monkeypatch.setattr("adaptsam.p2sam.part_features.KMeans", None)
    assert prior.background_parts(3) is first
