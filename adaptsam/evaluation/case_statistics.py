"""Statistics of case records: the protocol's means, bootstrap intervals over cases, paired tests, calibration."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import bootstrap, spearmanr, wilcoxon

from adaptsam.evaluation.evaluation_cases import Measure

DRAWS = 2000
CONFIDENCE = 0.95
#: Fewer pairs than this cannot give a two-sided p below 0.05 in Wilcoxon's test.
FEWEST_PAIRS = 6
#: The share of slices that a person looks at first.
FLAGGED = 0.1


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval (NaN with one case) and how many cases it is of."""

    value: float
    low: float
    high: float
    cases: int


@dataclass(frozen=True)
class Comparison:
    """Two methods on the cases that both have: the mean difference, and Wilcoxon's p, by itself and by Holm."""

    first: str
    second: str
    difference: float
    cases: int
    p: float
    adjusted: float


@dataclass(frozen=True)
class Calibration:
    """Calibration of a method's confidence: how well it sorts the drawn slices by their Dice.

    Attributes:
        slices: how many.
        rank_correlation: Spearman's, of confidence and Dice.
        mean_dice: of all slices.
        kept_dice: without the tenth of least confidence.
        best_dice: without the tenth of least Dice: what a perfect order would give.
        error: the mean difference of confidence and Dice, whichever way.
        points: (n, 2), confidence and Dice of each slice.
    """

    slices: int
    rank_correlation: float
    mean_dice: float
    kept_dice: float
    best_dice: float
    error: float
    points: np.ndarray = field(repr=False, default_factory=lambda: np.zeros((0, 2)))


class Collected:
    """Every method's vectors by case and measure; the records themselves are not kept.

    Args:
        records: of the cases, one at a time.
        measures: the columns.
        methods: the rows.
    """

    def __init__(
        self, records: Iterable[Mapping[str, Any]], measures: Sequence[Measure], methods: Sequence[str]
    ) -> None:
        self.measures, self.methods = tuple(measures), tuple(methods)
        self.vectors: dict[str, dict[str, dict[str, np.ndarray]]] = {
            method: {measure.key: {} for measure in measures} for method in methods
        }
        self.failed: dict[str, dict[str, str]] = {method: {} for method in methods}
        self.not_applicable: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.problems: dict[str, tuple[str, ...]] = {}
        self.seconds: dict[str, float] = dict.fromkeys(methods, 0.0)
        self.evaluated = 0
        self._confidence: dict[str, list[list[float]]] = {}
        for record in records:
            self._take(record)

    def _take(self, record: Mapping[str, Any]) -> None:
        case = str(record["case"])
        if "error" in record:
            self.errors[case] = str(record["error"])
            return
        self.evaluated += 1
        if record.get("problems"):
            self.problems[case] = tuple(record["problems"])
        for method in self.methods:
            row = record["methods"].get(method)
            if row is None:
                continue
            self.seconds[method] += float(row.get("seconds", 0.0))
            for why in ("not_applicable", "not_installed"):
                if why in row:
                    self.not_applicable[method] = row[why]
            if "failed" in row:
                self.failed[method][case] = row["failed"]
                continue
            for measure in self.measures:
                vector = measure.of_case(row["items"])
                if vector is not None:
                    self.vectors[method][measure.key][case] = vector
            for item in row["items"]:
                self._confidence.setdefault(method, []).extend(item.get("confidence", ()))

    @property
    def shown(self) -> tuple[str, ...]:
        """The methods that have results."""
        return tuple(m for m in self.methods if any(self.vectors[m][measure.key] for measure in self.measures))

    def figure(self, method: str, measure: Measure) -> Figure | None:
        """The number of a row and a column."""
        vectors = list(self.vectors[method][measure.key].values())
        return figure_of(np.array(vectors), measure) if vectors else None

    def values(self, method: str, measure: Measure) -> dict[str, float]:
        """The number of each case by itself."""
        return {case: float(measure.of_mean(v)) for case, v in self.vectors[method][measure.key].items()}

    def compare(self, first: str, measure: Measure) -> list[Comparison]:
        """The first method with every other one, p-values adjusted for their number."""
        found = []
        ours = self.values(first, measure)
        for second in self.shown:
            theirs = self.values(second, measure)
            shared = [case for case in ours if case in theirs]
            if second != first and shared:
                difference = np.array([ours[case] - theirs[case] for case in shared])
                found.append((second, difference))
        raw = [wilcoxon_p(difference) for _, difference in found]
        return [
            Comparison(first, second, float(difference.mean()), len(difference), p, adjusted)
            for (second, difference), p, adjusted in zip(found, raw, holm(raw), strict=True)
        ]

    def calibration(self, method: str) -> Calibration | None:
        """None where the method tells no confidence."""
        points = np.array(self._confidence.get(method, []), float).reshape(-1, 2)
        return calibration_of(points) if len(points) >= 3 else None


def figure_of(vectors: np.ndarray, measure: Measure) -> Figure:
    """The number of cases' vectors (n, d), and the percentile interval of 2000 resamplings of the cases."""
    value = float(measure.of_mean(vectors.mean(axis=0)))
    if len(vectors) < 2:
        return Figure(value, float("nan"), float("nan"), len(vectors))

    def statistic(index: np.ndarray, axis: int = -1) -> np.ndarray:
        return measure.of_mean(vectors[index.astype(int)].mean(axis=-2))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all cases alike: the interval is the number itself
        drawn = bootstrap(
            (np.arange(len(vectors)),),
            statistic,
            n_resamples=DRAWS,
            batch=max(1, 2_000_000 // vectors.size),
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(0),
        )
    return Figure(value, float(drawn.confidence_interval.low), float(drawn.confidence_interval.high), len(vectors))


def wilcoxon_p(difference: np.ndarray) -> float:
    """Two-sided p of paired differences (n,); NaN for fewer than six pairs, 1 where none differs."""
    if len(difference) < FEWEST_PAIRS:
        return float("nan")
    return float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """P-values adjusted by Holm's step-down procedure; NaN stays and does not count."""
    known = sorted((p, n) for n, p in enumerate(values) if np.isfinite(p))
    adjusted = [float("nan")] * len(values)
    largest = 0.0
    for rank, (p, n) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[n] = largest
    return adjusted


def calibration_of(points: np.ndarray) -> Calibration:
    """Calibration of pairs (n, 2) of confidence and Dice."""
    confidence, dice = points.T
    left = max(1, round(FLAGGED * len(points)))
    constant = np.ptp(confidence) == 0 or np.ptp(dice) == 0
    return Calibration(
        slices=len(points),
        rank_correlation=float("nan") if constant else float(spearmanr(confidence, dice).statistic),
        mean_dice=float(dice.mean()),
        kept_dice=float(dice[np.argsort(confidence, kind="stable")[left:]].mean()),
        best_dice=float(np.sort(dice)[left:].mean()),
        error=float(np.abs(confidence - dice).mean()),
        points=points,
    )
