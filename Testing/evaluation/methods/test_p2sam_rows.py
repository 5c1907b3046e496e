"""PerSAM and PerSAM-F against the published procedures, written again slowly; and what SAM says without a prompt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_sam import SameFeatures, box_of, guided_logits, reference_features, similarity, top

from adaptsam.evaluation.methods import Outlined, Pair, Workbench, make_methods
from adaptsam.evaluation.methods.persam_f import ScaleSettings, learn_scale
from adaptsam.p2sam import P2SamSettings
from adaptsam.sam import EmbeddingStore

SHAPES = [(48, 64), (70, 50), (64, 64), (33, 90)]


def published_persam(predictor, pair):
    """persam.py of Zhang et al.: one positive and one negative point, guidance, and two refinements."""
    features, grid = reference_features(predictor, pair.prior.image, pair.prior.mask)
    embedding = features[grid > 0].mean(0)
    predictor.set_image(pair.image)
    one_map = similarity(predictor, (embedding / embedding.norm())[None])[0]
    prompt = {
        "point_coords": np.array([top(one_map), top(one_map, largest=False)]),
        "point_labels": np.array([1, 0]),
    }
    standard = (one_map - one_map.mean()) / torch.std(one_map)
    attention = F.interpolate(standard[None, None], size=features.shape[:2], mode="bilinear").sigmoid().flatten()
    logits = guided_logits(predictor, prompt, attention, embedding)
    masks, scores, logits = predictor.predict(**prompt, mask_input=logits, multimask_output=True)
    best = np.argmax(scores)
    masks, scores, logits = predictor.predict(
        **prompt, box=box_of(masks[best]), mask_input=logits[best : best + 1], multimask_output=True
    )
    return masks[np.argmax(scores)]


def published_weights(predictor, pair, steps):
    """persam_f.py: the target feature and the weights of the three masks, the decoder run in every step."""
    features, grid = reference_features(predictor, pair.prior.image, pair.prior.mask)
    foreground = features[grid > 0]
    feature = foreground.max(0)[0] / 2 + foreground.mean(0) / 2
    feature = feature / feature.norm()
    point = np.array([top(similarity(predictor, feature[None])[0])])
    truth = torch.tensor(pair.prior.mask).float().flatten()[None]
    weights = torch.nn.Parameter(torch.ones(2, 1) / 3)
    optimizer = torch.optim.AdamW([weights], lr=1e-3, eps=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        logits, _, _ = predictor.predict(point, np.array([1]), multimask_output=True, return_logits=True)
        three = torch.cat((1 - weights.sum(0).unsqueeze(0), weights), dim=0)
        mixed = (torch.tensor(logits).flatten(1) * three).sum(0)[None]
        share = mixed.sigmoid()
        dice = 1 - (2 * (share * truth).sum(-1) + 1) / (share.sum(-1) + truth.sum(-1) + 1)
        entropy = F.binary_cross_entropy_with_logits(mixed, truth, reduction="none")
        right = share * truth + (1 - share) * (1 - truth)
        alpha = 0.25 * truth + 0.75 * (1 - truth)
        loss = dice.sum() + (alpha * entropy * (1 - right) ** 2).mean(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return feature, torch.cat((1 - weights.sum(0).unsqueeze(0), weights), dim=0).detach()


def published_persam_f(predictor, pair, steps):
    feature, weights = published_weights(predictor, pair, steps)
    predictor.set_image(pair.image)
    prompt = {"point_coords": np.array([top(similarity(predictor, feature[None])[0])]), "point_labels": np.array([1])}
    high, _, low = predictor.predict(**prompt, multimask_output=True, return_logits=True)
    mask = (torch.tensor(high) * weights[:, :, None]).sum(0).numpy() > 0
    logits = (torch.tensor(low) * weights[:, :, None]).sum(0).numpy()[None]
    for _ in range(2):
        masks, scores, three = predictor.predict(**prompt, box=box_of(mask), mask_input=logits, multimask_output=True)
        best = np.argmax(scores)
        mask, logits = masks[best], three[best : best + 1]
    return mask


@pytest.mark.parametrize("seed", range(3))
def test_persam_gives_the_published_mask(make_model, make_pair, seed):
    model, pair = make_model(seed), make_pair(seed, SHAPES[seed % 4])
    [method] = make_methods(["persam"])
    [mask] = method.pictures(Workbench(EmbeddingStore(model)), [pair])
    assert np.mean(mask == published_persam(SameFeatures(model), pair)) >= 0.999


def test_persam_stays_as_published_in_medical_protocols_too(bench, make_pair):
    [method] = make_methods(["persam"])
    natural = Workbench(bench.store, domain="natural")
    np.testing.assert_array_equal(method.pictures(bench, [make_pair()])[0], method.pictures(natural, [make_pair()])[0])


@pytest.mark.parametrize("seed", range(2))
def test_persam_f_learns_the_published_weights_and_gives_the_published_mask(make_model, make_pair, seed):
    model, pair = make_model(seed), make_pair(seed, SHAPES[seed])
    bench = Workbench(EmbeddingStore(model))
    [embedding] = bench.embed([pair.prior.image])
    learned = learn_scale(model, bench.prior(pair.prior), embedding, pair.prior.mask, ScaleSettings(steps=30))
    feature, weights = published_weights(SameFeatures(model), pair, 30)
    torch.testing.assert_close(learned.feature, feature, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(learned.weights, weights.flatten(), rtol=1e-3, atol=1e-4)
    [method] = make_methods(["persam-f"])
    method.scale = ScaleSettings(steps=30)
    [mask] = method.pictures(bench, [pair])
    assert np.mean(mask == published_persam_f(SameFeatures(model), pair, 30)) >= 0.999


def test_persam_f_gives_its_weight_to_the_mask_that_fits_the_outlined_image(bench, make_pair):
    """Where the outline is one of SAM's own three masks, the mixture must move towards that one."""
    pair = make_pair()
    [embedding] = bench.embed([pair.prior.image])
    prior = bench.prior(pair.prior)
    learned = learn_scale(bench.model, prior, embedding, pair.prior.mask, ScaleSettings(steps=0))
    assert learned.weights.tolist() == pytest.approx([1 / 3] * 3)
    from adaptsam.evaluation.methods.persam_f import _decode, _point

    three = bench.model.upscale(
        _decode(bench.model, embedding, _point(bench.model, learned.feature, embedding)).logits, embedding
    )
    wanted = [(three[n] > 0).numpy() for n in range(3)]
    distinct = [n for n in range(3) if 0 < wanted[n].mean() < 1]
    assert distinct
    for n in distinct:
        moved = learn_scale(bench.model, prior, embedding, wanted[n], ScaleSettings(steps=300, learning_rate=0.02))
        assert moved.weights[n] > 1 / 3


def test_a_prior_without_a_patch_gives_an_empty_mask_and_no_failure(bench, make_pair):
    pair = make_pair()
    speck = np.zeros_like(pair.prior.mask)
    speck[3, 3] = True
    small = Pair("speck", Outlined(pair.prior.image, speck), pair.image)
    for name in ("p2sam-slices", "persam", "persam-f"):
        [method] = make_methods([name])
        masks = method.pictures(bench, [pair, small])
        assert masks[0].shape == masks[1].shape == pair.image.shape[:2]
        assert not masks[1].any()


def test_p2sam_takes_the_domain_of_the_protocol_and_every_row_of_its_tables_runs(bench, make_pair):
    natural = Workbench(bench.store, domain="natural")
    for method in make_methods(["p2sam", "table4", "table5"]):
        assert method.pictures(natural, [make_pair()])[0].any() in (True, False)
        assert method._settings(natural).domain == "natural"
        assert method._settings(bench).domain == "medical"
    assert make_methods(["p2sam-t4-n-3-no-retrieval"])[0].p2sam == P2SamSettings(positives=(1, 3), retrieval=False)


def test_direct_transfer_is_the_predictor_without_a_prompt(bench, make_pair):
    pair = make_pair()
    predictor = SameFeatures(bench.model)
    predictor.set_image(pair.image)
    expected, _, _ = predictor.predict(multimask_output=False)
    [method] = make_methods(["direct-transfer"])
    [mask] = method.pictures(bench, [pair])
    assert np.mean(mask == expected[0]) >= 0.999
