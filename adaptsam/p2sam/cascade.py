"""Three decoder passes turn prompts into masks; all candidates of all pairs go through each pass together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from adaptsam.p2sam.p2sam_settings import Domain
from adaptsam.p2sam.prompt_selection import Prompt
from adaptsam.progress import Tick, unasked
from adaptsam.sam import DecodeRequest, Embedding, SamModel


@dataclass(frozen=True, eq=False)
class Refined:
    """One candidate's mask: low-resolution ``logits`` (4h, 4w) and the decoder's predicted ``iou``."""

    logits: Tensor
    iou: float


def cascade(
    model: SamModel,
    targets: Sequence[Embedding],
    prompts: Sequence[Prompt],
    domain: Domain,
    hints: Sequence[Tensor | None] | None = None,
    tick: Tick = unasked,
) -> list[Refined]:
    """The masks of candidates, each a prompt on its target.

    1: points, in the natural domain with PerSAM's guidance. 2: points and the logits of pass 1. 3: points, the logits
    of pass 2, and the box around the mask of pass 2; no box if that mask is empty (where the reference's natural mode
    fails). In the natural domain, passes 2 and 3 give three masks each; the one with the highest predicted IoU stays.
    ``hints``, an option of ours, are masks' logits (4h, 4w) for pass 1. ``tick`` is called before every few prompts.
    """
    multimask = domain == "natural"
    pairs = list(zip(targets, prompts, strict=True))
    known = hints or [None] * len(pairs)
    masks = _decode(
        model,
        [_request(target, prompt, mask=hint, guided=True) for (target, prompt), hint in zip(pairs, known, strict=True)],
        False,
        tick,
    )
    masks = _decode(
        model,
        [_request(target, prompt, mask=mask.logits) for (target, prompt), mask in zip(pairs, masks, strict=True)],
        multimask,
        tick,
    )
    return _decode(
        model,
        [
            _request(target, prompt, mask=mask.logits, box=_box(model, target, mask))
            for (target, prompt), mask in zip(pairs, masks, strict=True)
        ],
        multimask,
        tick,
    )


def bounding_box(mask: np.ndarray) -> np.ndarray | None:
    """(x first, y first, x last, y last) of the True pixels of a mask (H, W); ``None`` if there is none."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return None
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=float)


def _box(model: SamModel, target: Embedding, refined: Refined) -> np.ndarray | None:
    # One candidate at a time: its mask at the original resolution is needed for the box only.
    return bounding_box((model.upscale(refined.logits, target) > 0).cpu().numpy())


def _request(
    target: Embedding,
    prompt: Prompt,
    *,
    mask: Tensor | None = None,
    box: np.ndarray | None = None,
    guided: bool = False,
) -> DecodeRequest:
    return DecodeRequest(
        embedding=target,
        points=prompt.points,
        labels=prompt.labels,
        box=box,
        mask_input=mask,
        attention_similarity=prompt.attention if guided else None,
        target_embedding=prompt.semantic if guided else None,
    )


def _decode(model: SamModel, requests: Sequence[DecodeRequest], multimask: bool, tick: Tick) -> list[Refined]:
    """One pass: of each request's masks the one with the highest predicted IoU, the first on ties."""
    kept = []
    for decoded in model.decode(requests, multimask=multimask, tick=tick):
        best = int(decoded.iou.argmax())
        # A copy, so that the masks of the whole batch do not live as long as one of them.
        kept.append(Refined(decoded.logits[best].clone(), float(decoded.iou[best])))
    return kept
