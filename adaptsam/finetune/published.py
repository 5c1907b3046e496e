"""Training points in which P²SAM's released code differs from SAM's paper, its own paper or ours; one switch for all.

``published=true`` in a recipe trains as github.com/Zch0414/p2sam does, point by point; each point is also a setting of
its own, and docs/training.md gives the reasons for what stands without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from torch import nn

from adaptsam.datasets import kvasir_seg
from adaptsam.errors import InputError
from adaptsam.finetune.interactive_training import Owner, Quiet

_CHOICES: dict[str, tuple[str, ...]] = {
    "quiet_rounds": get_args(Quiet),
    "prompt_per": get_args(Owner),
    "rate_changes": ("batch", "epoch"),
    "best_by": ("mean", "none"),
}
#: The released code scales a rate that is meant for batches of so many.
_RATE_BATCH = 256


@dataclass(frozen=True)
class TrainingPoints:
    """The points that ``published`` decides.

    Attributes:
        quiet_rounds: "one" later round beside the last gets no new point (SAM's App. A); "each" round draws it anew.
        prompt_per: whether prompts' kinds and counts are drawn for each "image" or once for a "batch".
        pad_points: fill up with "not a point" tokens where there are fewer wrong pixels than points were drawn.
        detach_no_mask: leave ``no_mask_embed`` untrained.
        scale_rate: the rate times batch / 256 instead of the rate.
        rate_changes: with each "batch" or each "epoch".
        best_by: the Dice that chooses the best model: "mean" of three prompts, or with "none".
        drop_last: leave out the last samples of an epoch that do not fill a batch.
        truncate_window: cut CT's windowed intensities to whole numbers instead of rounding them.
        stop_early: after ``patience`` validations without a better Dice.
    """

    quiet_rounds: Quiet = "one"
    prompt_per: Owner = "image"
    pad_points: bool = False
    detach_no_mask: bool = False
    scale_rate: bool = False
    rate_changes: str = "batch"
    best_by: str = "mean"
    drop_last: bool = False
    truncate_window: bool = False
    stop_early: bool = True

    def rate(self, given: float, batch: int) -> float:
        """The highest learning rate for batches of all processes together."""
        return given * batch / _RATE_BATCH if self.scale_rate else given

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


RELEASED = TrainingPoints(
    quiet_rounds="each",
    prompt_per="batch",
    pad_points=True,
    detach_no_mask=True,
    scale_rate=True,
    best_by="none",
    drop_last=True,
    truncate_window=True,
    stop_early=False,
)


def training_points(published: bool = False, kind: str | None = None, **given: Any) -> TrainingPoints:
    """The points of a training.

    Args:
        published: as released, or ours.
        kind: of the data set: the released commands for Kvasir-SEG change the rate with each epoch.
        given: points by name, to have otherwise; None is as ``published`` says.

    Raises:
        InputError: a value that a point cannot have.
    """
    points = TrainingPoints()
    if published:
        points = replace(RELEASED, rate_changes="epoch" if kind == kvasir_seg.KIND else "batch")
    for name, value in given.items():
        if value is None:
            continue
        choices = _CHOICES.get(name)
        if choices is None and not isinstance(value, bool):
            raise InputError(f"{name} is true, false, or null for what published says, not {value!r}.")
        if choices is not None and value not in choices:
            raise InputError(f"{name} is {' or '.join(choices)}, or null for what published says, not {value!r}.")
        points = replace(points, **{name: value})
    return points


def key_metric(metrics: Mapping[str, Any], best_by: str) -> Any:
    """Metric that chooses the best model, of MONAI's metrics by prompt."""
    if best_by == "none":
        return metrics["none"] * 1.0
    return (metrics["none"] + metrics["point"] + metrics["box"]) / 3


def decayed(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of AdamW: biases and norms are not decayed, as timm's optimisers have it."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
