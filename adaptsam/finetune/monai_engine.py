"""Interactive training inside MONAI's engines: what one iteration of a SupervisedTrainer or SupervisedEvaluator does.

Everything else (loading, schedules, checkpoints, curves, early stopping) is MONAI's and ignite's own, put together in
the bundles of ``training/``. A batch is a dictionary of "image" float (B, 3, S, S), 0 to 255 and padded as SAM's input;
"label" (B, 1, S, S), above 0 is the structure; and "sample" (B,), a whole number that names each sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from torch import Tensor, distributed
from torch.nn import functional

from adaptsam.errors import InputError, TrainingError
from adaptsam.finetune.interactive_training import PROMPTS, Interaction, evaluation_prompt, interactive_rounds


class InteractiveUpdate:
    """The ``iteration_update`` of a SupervisedTrainer whose network is a :class:`~.interactive.TrainableSam`.

    The engine's output has "loss", the mean over the rounds (and the processes); "losses", that of each round; "image",
    "label", and "pred", the last round's mask (B, 1, S, S).

    Args:
        how: the interaction; the published one by default.
        seed: of everything that is drawn.
        accumulate: parts in which a batch is computed, one after the other: less memory, the same gradients.
        clip: the largest norm of the gradients; None for no limit, as published.

    Raises:
        InputError: the limit is no number above 0.

    Example:
        >>> SupervisedTrainer(…, network=TrainableSam(sam), iteration_update=InteractiveUpdate(seed=1))
    """

    def __init__(
        self, how: Interaction | None = None, seed: int = 0, accumulate: int = 1, clip: float | None = None
    ) -> None:
        if clip is not None and (not isinstance(clip, int | float) or clip <= 0):
            raise InputError(f"clip is the largest norm of the gradients, above 0, or null for no limit, not {clip!r}.")
        self.how, self.seed, self.accumulate, self.clip = how or Interaction(), seed, accumulate, clip

    def __call__(self, engine: SupervisedTrainer, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        images, truth, samples = _batch(engine, batchdata)
        seeds = [(self.seed, engine.state.epoch, sample) for sample in samples]
        parts = [slice(start, start + self._size(images)) for start in range(0, len(images), self._size(images))]
        streams = [
            interactive_rounds(engine.network, images[part], truth[part], seeds[part], self.how) for part in parts
        ]
        engine.network.train()
        losses = []
        for _ in range(self.how.rounds):
            engine.optimizer.zero_grad(set_to_none=True)
            rounds = []
            for stream in streams:
                with torch.autocast(images.device.type, torch.bfloat16, enabled=engine.amp):
                    one = next(stream)
                loss = one.loss.sum() / len(images)
                self._check(loss, engine)
                loss.backward()
                rounds.append(one)
            if self.clip is not None:
                torch.nn.utils.clip_grad_norm_(engine.network.parameters(), self.clip)
            engine.optimizer.step()
            losses.append(torch.cat([one.loss.detach() for one in rounds]).mean())
        pred = torch.cat([_upscaled(one.logits, images.shape[-1]) for one in rounds])
        each = _mean_of_processes(torch.stack(losses))
        return {"loss": each.mean().item(), "losses": each.tolist(), "image": images, "label": truth, "pred": pred}

    def _size(self, images: Tensor) -> int:
        return -(-len(images) // max(1, self.accumulate))

    def _check(self, loss: Tensor, engine: SupervisedTrainer) -> None:
        if not torch.isfinite(loss):
            raise not_finite("The loss is", engine)


class PromptedEvaluation:
    """The ``iteration_update`` of a SupervisedEvaluator: every image without a prompt, with a point, and with its box.

    The engine's output has "label" and "none", "point" and "box", masks (B, 1, S, S), 0 or 1.

    Args:
        seed: of the points, which are the same in every evaluation.
        prompts: which of the three to ask with.
    """

    def __init__(self, seed: int = 0, prompts: Sequence[str] = PROMPTS) -> None:
        self.seed, self.prompts = seed, tuple(prompts)

    def __call__(self, engine: SupervisedEvaluator, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        images, truth, samples = _batch(engine, batchdata)
        engine.network.eval()
        output: dict[str, Any] = {"image": images, "label": truth[:, None].float()}
        given = images
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=engine.amp):
            for kind in self.prompts:
                pairs = zip(truth.cpu().numpy(), samples, strict=True)
                tokens = [evaluation_prompt(mask, kind, (self.seed, 0, sample)) for mask, sample in pairs]
                logits, _, given = engine.network(given, tokens)
                output[kind] = _upscaled(logits, images.shape[-1])
        return output


def _mean_of_processes(values: Tensor) -> Tensor:
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    return values


def not_finite(what: str, engine: Engine) -> TrainingError:
    """The error of a training whose numbers ran away."""
    return TrainingError(
        f"{what} not finite in epoch {engine.state.epoch}, iteration {engine.state.iteration}; the best model so far "
        "is kept: begin from it with a lower rate, or with clip=1, in another output_dir."
    )


def _batch(engine: Any, batchdata: Mapping[str, Any]) -> tuple[Tensor, Tensor, list[int]]:
    device = engine.state.device
    images = torch.as_tensor(batchdata["image"]).to(device, torch.float32, non_blocking=engine.non_blocking)
    labels = torch.as_tensor(batchdata["label"]).to(device, non_blocking=engine.non_blocking)
    return _plain(images), _plain(labels)[:, 0] > 0, [int(sample) for sample in batchdata["sample"]]


def _plain(tensor: Tensor) -> Tensor:
    """Without MONAI's metadata, which has no part in the arithmetic."""
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor


def _upscaled(logits: Tensor, side: int) -> Tensor:
    return (functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False) > 0).float()
