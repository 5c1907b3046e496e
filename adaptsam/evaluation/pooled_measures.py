"""The columns of the tables: how figures of pictures and volumes add up to one number, as each paper has it.

An item is one picture, or one structure of one target. Its record has "group" and the figures of
:class:`~adaptsam.metrics.image_metrics.Counts` or :class:`~adaptsam.metrics.volume_metrics.Agreement`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from adaptsam.evaluation.evaluation_cases import Measure
from adaptsam.metrics.image_metrics import Counts

Items = Sequence[Mapping[str, Any]]


def _same(mean: np.ndarray) -> np.ndarray:
    return mean[..., 0]


def mean_of(key: str, title: str, *, of: Callable[[Mapping[str, Any]], bool] | None = None, **shown: Any) -> Measure:
    """The mean over items, then groups, then cases; items without a number (a distance to nothing) are left out."""

    def of_case(items: Items) -> np.ndarray | None:
        groups: dict[str, list[float]] = {}
        for item in items:
            value = item.get(key)
            if value is not None and math.isfinite(value) and (of is None or of(item)):
                groups.setdefault(str(item.get("group", "")), []).append(float(value))
        return np.array([np.mean([np.mean(values) for values in groups.values()])]) if groups else None

    return Measure(shown.pop("name", key), title, of_case, _same, **shown)


def counts_of(item: Mapping[str, Any]) -> Counts:
    return Counts(*(float(value) for value in item["counts"]))


def pooled_iou(title: str = "mIoU") -> Measure:
    """Intersections and unions are summed over a case (a class, an object); the mean is over cases."""

    def of_case(items: Items) -> np.ndarray | None:
        return np.array([sum((counts_of(item) for item in items[1:]), counts_of(items[0])).iou]) if items else None

    return Measure("pooled_iou", title, of_case, _same, percent=True)


def ratio_iou(title: str = "IoU") -> Measure:
    """Intersections and unions are summed over all cases."""

    def of_case(items: Items) -> np.ndarray | None:
        if not items:
            return None
        total = sum((counts_of(item) for item in items[1:]), counts_of(items[0]))
        return np.array([total.both, total.both + total.ours + total.theirs])

    def of_mean(mean: np.ndarray) -> np.ndarray:
        return np.where(mean[..., 1] > 0, mean[..., 0] / np.maximum(mean[..., 1], 1e-12), 1.0)

    return Measure("ratio_iou", title, of_case, of_mean, percent=True)


def pooled_ber() -> Measure:
    """The balance error rate of all pixels of the data set together."""

    def of_case(items: Items) -> np.ndarray | None:
        if not items:
            return None
        total = sum((counts_of(item) for item in items[1:]), counts_of(items[0]))
        return np.array([total.both, total.theirs, total.neither, total.ours])

    def of_mean(mean: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            right = [mean[..., 0] / (mean[..., 0] + mean[..., 1]), mean[..., 2] / (mean[..., 2] + mean[..., 3])]
        return 1 - np.nanmean(right, axis=0)

    return Measure("ber", "BER", of_case, of_mean, higher_is_better=False, percent=True)


SLICE_DICE = mean_of("dice", "Dice", percent=True)
IOU = mean_of("iou", "mIoU", percent=True)
F_BETA = mean_of("f_beta", "F-beta", percent=True)
E_MEASURE = mean_of("e_measure", "E-measure", percent=True)
MAE = mean_of("mae", "MAE", higher_is_better=False, digits=3)

VOLUMES = (
    mean_of("dice", "Dice", digits=3),
    mean_of("iou", "IoU", digits=3),
    mean_of("hausdorff_95", "HD95 mm", higher_is_better=False),
    mean_of("mean_surface_distance", "Mean distance mm", higher_is_better=False),
    mean_of("surface_dice", "Surface Dice 2 mm", digits=3),
    mean_of("absolute_volume_error", "Volume error cm³", higher_is_better=False),
    mean_of("centroid_error", "Centroid error mm", higher_is_better=False),
    mean_of("added_path", "Added path mm", higher_is_better=False, digits=0),
)


def by_structure(names: Sequence[str]) -> tuple[Measure, ...]:
    """The Dice of each structure by itself."""
    return tuple(_of_structure(name) for name in names)


def _of_structure(name: str) -> Measure:
    def held(item: Mapping[str, Any]) -> bool:
        return item.get("structure") == name

    return mean_of("dice", f"Dice {name}", of=held, name=f"dice {name}", digits=3)
