"""Comparators that an agent must beat: ways to the same masks that need no more than it does, on the same images.

"random actions"      the agent's recalibration module labels points that are drawn evenly.
"first pair"          the module places its first pair of points, and SAM answers once.
"module's own map"    what the module holds to be the target before any point (y_r with M = 1), as a mask.
"decoder fine-tuned"  SAM's decoder, trained on the agent's own training images to answer without a prompt.

Where there is a rule of thumb, such as a threshold for lungs (:func:`lungs_by_threshold`), it stands beside them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from adaptsam.alignsam import Agent, AgentImage, Environment, TrainingImage, UseSettings, prompt
from adaptsam.alignsam.agent_scoring import overlap
from adaptsam.alignsam.attention_maps import Attention, attention_maps
from adaptsam.finetune.differentiable_decoding import decode_prompts
from adaptsam.finetune.mask_losses import mask_loss
from adaptsam.image.volume import Volume
from adaptsam.sam import DecodeRequest, EmbeddingStore, SamModel
from adaptsam.sam.prompt_encoder import PromptTokens

RANDOM, FIRST_PAIR, MAP, DECODER = "random actions", "first pair", "module's own map", "decoder fine-tuned"

#: Steps of the decoder's fine-tuning.
STEPS = 150
_BATCH, _RATE = 10, 1e-3
_NO_PROMPT = PromptTokens(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))

#: Air and lung are below, in Hounsfield units; parts smaller than this share of the largest are none of the lungs.
LUNG_THRESHOLD, LUNG_SHARE = -320.0, 0.1

Mask = NDArray[np.bool_]


def comparator_masks(
    store: EmbeddingStore,
    agent: Agent,
    learnt: Sequence[TrainingImage],
    images: Sequence[NDArray[np.uint8]],
    attention: Attention | None = None,
    *,
    steps: int = STEPS,
    seed: int = 0,
    tuned: SamModel | None = None,
) -> dict[str, list[Mask]]:
    """The masks of every comparator, bool (H, W), one for each image.

    Args:
        store: of the agent's SAM.
        agent: trained.
        learnt: what it was trained with.
        images: uint8 (H, W) or (H, W, 3).
        attention: a function, for the explicit branch.
        steps: of the decoder's fine-tuning; 0 leaves it out.
        seed: of random actions and of the fine-tuning.
        tuned: the model of :func:`fine_tuned_decoder`, where it was made before.
    """
    found: dict[str, list[Mask]] = {}
    own = agent.settings
    try:
        agent.settings = replace(own, policy="random")
        results = prompt(store, agent, images, UseSettings(seed=seed), attention=attention)
    finally:
        agent.settings = own
    found[RANDOM] = [result.mask for result in results]
    if own.labels == "recalibration":
        found[FIRST_PAIR] = [result.step_masks[0] for result in results if result.step_masks is not None]
        found[MAP] = module_maps(store, agent, images, attention)
    if steps or tuned is not None:
        found[DECODER] = unprompted(tuned or fine_tuned_decoder(store, learnt, steps, seed), store, images)
    return found


def compare(
    store: EmbeddingStore,
    agent: Agent,
    learnt: Sequence[TrainingImage],
    images: Sequence[TrainingImage],
    attention: Attention | None = None,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> dict[str, float]:
    """The mean intersection over union of every comparator, on images whose truth is known; see
    :func:`comparator_masks`."""
    masks = comparator_masks(store, agent, learnt, [one.image for one in images], attention, steps=steps, seed=seed)
    return {
        name: float(np.mean([overlap(mask, one.mask) for mask, one in zip(found, images, strict=True)]))
        for name, found in masks.items()
    }


def module_maps(
    store: EmbeddingStore, agent: Agent, images: Sequence[NDArray[np.uint8]], attention: Attention | None = None
) -> list[Mask]:
    """Masks of y_r with M = 1 above one half, bool (H, W) as the images."""
    maps = attention_maps(attention, images, agent.settings.branch)
    masks = []
    for embedding, own, image in zip(store.get(images), maps, images, strict=True):
        environment = Environment(store.model, [AgentImage(embedding, attention=own)], agent.settings.environment)
        seen = agent.score(environment.features, environment.semantic)
        sized = functional.interpolate(seen[:, None], image.shape[:2], mode="bilinear", align_corners=False)
        masks.append((sized[0, 0] > 0.5).cpu().numpy())
    return masks


def fine_tuned_decoder(
    store: EmbeddingStore, learnt: Sequence[TrainingImage], steps: int, seed: int = 0, rate: float = _RATE
) -> SamModel:
    """The model with its decoder trained to give the target without any prompt; encoder and prompt encoder as before.

    The loss is Dice and cross-entropy, as the recalibration module's.
    """
    model = store.model
    encoder = model.sam.image_encoder
    sam = copy.deepcopy(model.sam, {id(encoder): encoder})
    parameters = list(sam.mask_decoder.parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, lr=rate)
    embeddings = store.get([one.image for one in learnt])
    truths = torch.cat([model.resize_mask(one.mask) for one in learnt])
    side = 4 * model.grid_size
    truths = (functional.interpolate(truths, (side, side), mode="area") > 0.5).float().to(model.device)
    random = np.random.default_rng([seed, 40])
    for _ in range(steps):
        rows = random.permutation(len(learnt))[:_BATCH].tolist()
        features = torch.stack([embeddings[row].features for row in rows]).to(model.device)
        logits, iou = decode_prompts(sam, features, [_NO_PROMPT] * len(rows), [None] * len(rows), multimask=False)
        loss = mask_loss(logits, truths[rows], iou).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return SamModel(sam, model.config, kind="fine-tuned", sha256=model.sha256, device=model.device)


def unprompted(model: SamModel, store: EmbeddingStore, images: Sequence[NDArray[np.uint8]]) -> list[Mask]:
    """Masks, bool (H, W), of a decoder without a prompt, from embeddings of another model with the same encoder."""
    masks = []
    for embedding in store.get(images):
        [answer] = model.decode([DecodeRequest(embedding)])
        masks.append((model.upscale(answer.logits, embedding)[0] > 0).cpu().numpy())
    return masks


def lungs_by_threshold(volume: Volume) -> Mask:
    """Both lungs of a CT without any learning: what is thin and enclosed by the body, and not small; bool (K, J, I).

    Voxels below :data:`LUNG_THRESHOLD` that do not reach the edge of their slice; of their connected parts the largest,
    and the second where it has a tenth of the first's size (two lungs often touch); vessels inside them are filled.
    """
    thin = volume.array < LUNG_THRESHOLD
    for plane in thin:
        regions, _ = ndimage.label(plane)
        edge = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
        plane &= ~np.isin(regions, edge)
    regions, count = ndimage.label(thin)
    if not count:
        return thin
    sizes = np.bincount(regions.ravel())[1:]
    kept = [label + 1 for label in np.argsort(-sizes)[:2] if sizes[label] >= LUNG_SHARE * sizes.max()]
    lungs = np.isin(regions, kept)
    return np.stack([ndimage.binary_fill_holes(ndimage.binary_closing(plane, iterations=2)) for plane in lungs])
