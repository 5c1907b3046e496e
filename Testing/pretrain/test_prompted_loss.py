"""The loss of prompted masks: it can be learnt from, and counts what is there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptsam.finetune.mask_losses import mask_loss
from adaptsam.pretrain.drawn_pairs import DRAWN_SIZE, drawn_phantoms
from adaptsam.pretrain.lite_training import new_lite_sam
from adaptsam.pretrain.optimiser import Optimiser
from adaptsam.pretrain.prompt_targets import draw_targets
from adaptsam.pretrain.prompted_loss import Rounds, prompt_loss
from adaptsam.sam import encode, load_sam
from adaptsam.sam.mask_decoder import run_decoder
from adaptsam.synthetic.device_random import generator


@pytest.mark.slow
def test_a_few_steps_on_a_few_slices_teach_the_decoder_to_follow_prompts() -> None:
    torch.manual_seed(0)
    sam = new_lite_sam()
    pairs, rng = drawn_phantoms(2, 1), np.random.default_rng(0)
    images, masks = (
        np.concatenate(part) for part in zip(*(pairs.draw(rng, DRAWN_SIZE) for _ in range(2)), strict=True)
    )
    with torch.no_grad():
        features = encode(sam.image_encoder, (torch.from_numpy(images).float() - sam.pixel_mean) / sam.pixel_std)
    optimiser = Optimiser("decoder", [*sam.prompt_encoder.parameters(), *sam.mask_decoder.parameters()], 25, 6e-4, 2, 0)
    for step in range(25):
        drawn = generator("cpu", 0, step)
        targets, there = draw_targets(drawn, torch.from_numpy(masks), 2, 128)
        each = features.repeat_interleave(2, 0)
        optimiser.step(prompt_loss(drawn, sam, each[there], targets[there], there[there], Rounds(), step % 5 == 4))
    assert np.mean(optimiser.history[-5:]) < 0.9 * np.mean(optimiser.history[:5])


def test_images_without_a_target_do_not_count() -> None:
    torch.manual_seed(0)
    sam = new_lite_sam()
    features, masks = torch.randn(2, 128, 32, 32), torch.zeros(2, 256, 256, dtype=torch.bool)
    masks[0, 50:90, 50:120] = True
    losses = []
    for second in (1.0, 50.0):
        given = torch.stack([features[0], second * features[1]])
        there = torch.tensor([True, False])
        with torch.no_grad():
            loss = prompt_loss(generator("cpu", 1), sam, given, masks, there, Rounds(rounds=1), False)
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1])
    assert np.isfinite(losses).all()


def test_the_decoder_gives_the_same_masks_and_finite_gradients_in_bfloat16() -> None:
    sam = load_sam(device="cpu").sam
    rng = torch.Generator().manual_seed(0)
    sparse, real = torch.randn(2, 5, 128, generator=rng), torch.ones(2, 5, dtype=torch.bool)
    image = torch.randn(2, 1024, 128, generator=rng)
    position = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2).detach()
    exact, _ = run_decoder(sam.mask_decoder, image, position, sparse, real, None, False)
    with torch.autocast("cpu", torch.bfloat16):
        rough, iou = run_decoder(sam.mask_decoder, image, position, sparse, real, None, False)
    mask_loss(rough.float(), (exact > 0).float(), iou.float()).mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in sam.mask_decoder.parameters())
    assert ((rough > 0) == (exact > 0)).float().mean() > 0.97
