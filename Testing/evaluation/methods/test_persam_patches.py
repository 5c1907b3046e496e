"""PerSAM and PerSAM-F beside masks, points and weights that the authors' own code gave (see test_authors_values)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_pair import drawn_features, drawn_job, drawn_model
from peak_ties import exact_maps, near_peaks

from adaptsam.evaluation.methods import Outlined, Pair, Workbench, make_methods
from adaptsam.evaluation.methods.p2sam_rows import PUBLISHED_PERSAM
from adaptsam.evaluation.methods.persam_f import ScaleSettings, learn_scale, segment_with
from adaptsam.evaluation.methods.persam_patches import published_patches
from adaptsam.p2sam import Job, Prior, pair_segmentation, segment
from adaptsam.p2sam.part_features import foreground_patches
from adaptsam.p2sam.prompt_selection import make_prompts
from adaptsam.sam import Embedding, EmbeddingStore

VALUES = np.load(Path(__file__).parents[2] / "p2sam" / "authors_values.npz")


@pytest.fixture(scope="module")
def model():
    return drawn_model()


def published_job(model, seed: int) -> Job:
    job = drawn_job(model, seed)
    return Job(Prior(job.prior.features, published_patches(model, drawn_features(seed)[2])), job.target)


def differing(name: str, mask: np.ndarray) -> int:
    theirs = np.unpackbits(VALUES[f"{name}_mask"])[: mask.size].reshape(mask.shape).astype(bool)
    return int((mask != theirs).sum())


@pytest.mark.parametrize("seed", range(12))
def test_persam_points_and_masks_are_the_authors(model, seed, monkeypatch):
    job, theirs = published_job(model, seed), VALUES[f"persam{seed}_points"]
    [prompt] = make_prompts(model, job.prior, job.target, None, PUBLISHED_PERSAM)
    maps = exact_maps(model, job.target, job.prior.foreground_parts(1))
    for point, other, near in zip(prompt.points, theirs, near_peaks(torch.cat([maps, -maps])), strict=True):
        assert {tuple(point), tuple(other)} <= near
    monkeypatch.setattr(pair_segmentation, "make_prompts", lambda *_: [replace(prompt, points=theirs.astype(float))])
    [result] = segment(model, [job], PUBLISHED_PERSAM)
    assert differing(f"persam{seed}", result.mask) <= 1


@pytest.mark.parametrize("seed", [0, 3, 4, 8])
def test_persam_f_weights_and_masks_are_the_authors(model, seed):
    job, (_, _, mask) = published_job(model, seed), drawn_features(seed)
    outlined = Embedding(job.prior.features, job.target.input_size, mask.shape)
    learned = learn_scale(model, job.prior, outlined, mask, ScaleSettings())
    np.testing.assert_allclose(learned.weights, VALUES[f"persam_f{seed}_weights"], atol=1e-4)
    assert differing(f"persam_f{seed}", segment_with(model, learned, job.target)) <= 2


def test_half_a_patch_is_not_enough_for_persam_as_published_and_is_for_its_named_option(model):
    middle = 4 * model.config.patch_size + model.config.patch_size // 2
    mask = np.zeros((model.image_size, model.image_size), bool)
    mask[: middle + 1, : middle + 1] = True
    mask[middle, middle] = False  # three of the four pixels around the centre of patch 4, 4
    assert foreground_patches(model, mask)[4, 4]
    assert not published_patches(model, mask)[4, 4]
    assert published_patches(model, mask)[:4, :4].all()
    assert published_patches(model, mask, value=255)[4, 4]


def test_a_structure_without_a_whole_patch_is_learnt_from_half_ones(model):
    middle = model.config.patch_size * 3 // 2
    mask = np.zeros((model.image_size, model.image_size), bool)
    mask[middle - 1 : middle + 1, middle - 1 : middle + 1] = True
    mask[middle, middle] = False
    assert published_patches(model, mask).nonzero().tolist() == [[1, 1]]


def test_both_coverages_are_methods_and_stand_apart_in_results(model):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 96, 120, 3), dtype=np.uint8)
    bench = Workbench(EmbeddingStore(model))
    pair = Pair("one", Outlined(images[0], drawn_features(0)[2]), images[1])
    for names in (["persam", "persam-half"], ["persam-f", "persam-f-half"]):
        methods = make_methods(names)
        assert [method.name for method in methods] == names
        assert methods[0].settings != methods[1].settings
        assert methods[0].title != methods[1].title
        assert bench.prior(pair.prior, published_patches).patches[0] < bench.prior(pair.prior).patches[0]
