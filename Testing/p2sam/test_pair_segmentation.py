"""From jobs to results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from adaptsam.errors import InputError
from adaptsam.p2sam import EMPTY_DISTANCE, PERSAM, Job, P2SamSettings, Prior, ablation_settings, segment
from adaptsam.p2sam.cascade import bounding_box
from adaptsam.sam import Decoded


def test_a_result_is_on_the_target_s_own_pixels(model, make_pair):
    (result,) = segment(model, [make_pair(0, (48, 64)).job(model)])
    assert result.logits.shape == result.mask.shape == (48, 64)
    assert result.logits.dtype == np.float32
    assert result.mask.dtype == bool
    assert np.array_equal(result.mask, result.logits > 0)
    assert result.points.shape == (result.n_positive + result.n_negative, 2)


def test_the_winner_is_the_candidate_with_the_smallest_distance(model, pair):
    (result,) = segment(model, [pair.job(model)])
    assert result.distance == min(candidate.distance for candidate in result.candidates)
    assert result.points is result.candidates[result.winner].points
    upscaled = model.upscale(torch.from_numpy(result.candidates[result.winner].logits), pair.job(model).target)
    np.testing.assert_allclose(result.logits, upscaled.numpy(), atol=1e-5)


def test_targets_of_different_sizes_go_together(model, make_pair):
    jobs = [make_pair(seed, shape).job(model) for seed, shape in enumerate([(48, 64), (70, 50)])]
    assert [result.mask.shape for result in segment(model, jobs)] == [(48, 64), (70, 50)]


def test_nothing_to_do_gives_nothing(model):
    assert segment(model, []) == []


def test_all_candidates_of_all_jobs_share_three_decoder_passes(model, make_pair, monkeypatch):
    sizes = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda requests, **how: sizes.append(len(requests)) or decode(requests, **how))
    segment(model, [make_pair(seed).job(model) for seed in range(3)])
    assert sizes == [12, 12, 12]


def test_it_can_be_stopped_before_prompts_passes_and_transports(model, make_pair):
    class Stopped(Exception):
        pass

    def stopping_at(last):
        told = []

        def tick():
            told.append(len(told))
            if len(told) == last:
                raise Stopped

        return tick, told

    jobs = [make_pair(seed).job(model) for seed in range(3)]
    tick, told = stopping_at(None)
    segment(model, jobs, tick=tick)
    # Three priors, three passes that fit into memory whole, and for each job a transport at least.
    assert 9 <= len(told) <= 3 + 3 + 12
    for last in (1, 4, len(told)):
        tick, until = stopping_at(last)
        with pytest.raises(Stopped):
            segment(model, jobs, tick=tick)
        assert len(until) == last


def test_a_prior_without_a_foreground_patch_says_what_to_do(model, pair):
    reference, target = model.embed([pair.reference, pair.target])
    prior = Prior.from_mask(model, reference, np.zeros(pair.mask.shape, bool))
    with pytest.raises(InputError, match="neighbouring slice or a magnified view"):
        segment(model, [Job(prior, target)])


def test_a_structure_of_two_patches_is_tried_with_one_and_two_parts(model, pair):
    job = pair.job(model)
    grid_mask = torch.zeros_like(job.prior.grid_mask)
    grid_mask[2, 2:4] = True
    (result,) = segment(model, [replace(job, prior=Prior(job.prior.features, grid_mask))])
    assert [(c.n_positive, c.n_negative) for c in result.candidates] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("domain", ["medical", "natural"])
def test_a_decoder_that_finds_nothing_gives_an_empty_mask_without_a_box(model, pair, monkeypatch, domain):
    boxes = []

    def nothing(requests, multimask=False, **how):
        boxes.extend(request.box for request in requests)
        count = 3 if multimask else 1
        return [Decoded(torch.full((count, 32, 32), -1.0), torch.zeros(count)) for _ in requests]

    monkeypatch.setattr(model, "decode", nothing)
    (result,) = segment(model, [pair.job(model)], P2SamSettings(domain=domain))
    assert not result.mask.any()
    assert result.distance == EMPTY_DISTANCE
    assert result.n_positive == 1
    assert boxes == [None] * 12


def test_the_third_pass_gets_the_box_of_the_second_mask_in_original_pixels(model, pair, monkeypatch):
    boxes = []

    def lower_right(requests, multimask=False, **how):
        boxes.extend(request.box for request in requests)
        logits = torch.full((1, 32, 32), -1.0)
        logits[:, 8:16, 16:32] = 1.0
        return [Decoded(logits, torch.zeros(1)) for _ in requests]

    monkeypatch.setattr(model, "decode", lower_right)
    segment(model, [pair.job(model)], PERSAM)
    assert boxes[:2] == [None, None]
    np.testing.assert_allclose(boxes[2], [32, 16, 63, 31], atol=1)


def test_natural_passes_keep_the_mask_with_the_highest_predicted_iou(model, pair, monkeypatch):
    def three(requests, multimask=False, **how):
        logits = torch.stack([torch.full((32, 32), value) for value in (-1.0, 2.0, 3.0)])
        iou = torch.tensor([0.1, 0.9, 0.5])
        return [Decoded(logits, iou) if multimask else Decoded(logits[:1], iou[:1]) for _ in requests]

    monkeypatch.setattr(model, "decode", three)
    (result,) = segment(model, [pair.job(model)], P2SamSettings(domain="natural"))
    assert result.iou == pytest.approx(0.9)
    assert (result.logits == 2.0).all()


@pytest.mark.parametrize("domain", ["medical", "natural"])
def test_every_row_of_the_ablations_runs(model, pair, domain):
    job = pair.job(model)
    for settings in set(ablation_settings(domain).values()):
        (result,) = segment(model, [job], settings)
        assert result.mask.shape == (48, 64)
        assert np.isfinite(result.distance)


def test_a_box_holds_its_mask_and_an_empty_mask_has_none():
    mask = np.zeros((5, 7), bool)
    assert bounding_box(mask) is None
    mask[1, 2] = mask[3, 6] = True
    np.testing.assert_array_equal(bounding_box(mask), [2, 1, 6, 3])


def test_a_mask_to_begin_with_is_heard_in_the_first_pass_alone(model, pair, monkeypatch):
    asked = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda requests, **how: asked.append(requests) or decode(requests, **how))
    job = pair.job(model)
    hint = model.frame_logits(np.full((48, 64), 3.0, np.float32), job.target)
    segment(model, [replace(job, hint=hint), job])
    first, _, _ = asked
    assert [request.mask_input is hint for request in first] == [True] * (len(first) // 2) + [False] * (len(first) // 2)
    assert all(request.mask_input is not hint for later in asked[1:] for request in later)
