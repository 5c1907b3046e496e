"""Settings of trained agents in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from adaptsam.alignsam import Package, UseSettings
from adaptsam.autoprompting.hysteresis import HysteresisSettings
from adaptsam.errors import InputError
from adaptsam.image.windowing import WindowChoice
from adaptsam.slicewise.acceptance import Threshold
from adaptsam.slicewise.volume_settings import CleanupSettings, ConfidenceSettings


@dataclass(frozen=True)
class AutoPromptSettings:
    """Settings of trained agents in use.

    Args:
        use: how an agent acts on one image.
        acceptance: "agent", or "off" to keep the mask of every slice.
        least_evidence: a slice with less is empty; None for what each agent's package says.
        least_mm: what a target must measure along the slices to count as found. Single images, pictures and chosen
            ``slices`` are not held to it.
        window: of intensities; None for the one that each agent was trained with.
        novelty: whether images of another kind (modality, part of the body) than those that the agent learnt from come
            out empty.
        search: "slices" judges each slice of a volume by itself; "outward" starts at the slice with the most evidence
            and follows its neighbours, see :mod:`adaptsam.autoprompting.hysteresis`.
        hysteresis: how they are followed.
        slices: the stored slices (k, as a rule) to look at; None for all.
        cleanup: whether slices are made into one object in three dimensions.
        cleaning: how.
        confidence: how it is put together; see :mod:`adaptsam.slicewise.confidence`.
        body_margin: side of the body view as a multiple of the body.
        batch_slices: slices that are prompted together and in memory at a time.
    """

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {"cleanup": ("cleanup", "cleaning")}

    use: UseSettings = field(default_factory=UseSettings)
    acceptance: str = "agent"
    least_evidence: float | None = None
    least_mm: float = 4.0
    window: WindowChoice | None = None
    novelty: bool = True
    search: str = "slices"
    hysteresis: HysteresisSettings = field(default_factory=HysteresisSettings)
    slices: Sequence[int] | None = None
    cleanup: bool = True
    cleaning: CleanupSettings = field(default_factory=CleanupSettings)
    confidence: ConfidenceSettings = field(default_factory=ConfidenceSettings)
    body_margin: float = 1.04
    batch_slices: int = 8

    def __post_init__(self) -> None:
        if self.acceptance not in ("agent", "off"):
            raise InputError(f"acceptance can be 'agent' or 'off', not {self.acceptance!r}.")
        if self.search not in ("slices", "outward"):
            raise InputError(f"search can be 'slices' or 'outward', not {self.search!r}.")
        if self.batch_slices < 1 or not self.least_mm >= 0:
            raise InputError("batch_slices must be at least 1, and least_mm must not be negative.")
        if self.least_evidence is not None and not 0 <= self.least_evidence <= 1:
            raise InputError(f"least_evidence lies between 0 and 1, not at {self.least_evidence:g}.")

    def threshold(self, package: Package) -> Threshold:
        """The largest accepted distance: 1 - evidence."""
        if self.acceptance == "off":
            return Threshold()
        least = package.least_evidence if self.least_evidence is None else self.least_evidence
        return Threshold(1.0 - least)
