"""One agent on its way through a volume: which slices it looks at, what is kept of them, and one object in the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adaptsam.alignsam import Package, Prompted
from adaptsam.alignsam.agent_target import structure_of
from adaptsam.autoprompting.agent_batches import accepted as is_accepted
from adaptsam.autoprompting.agent_batches import is_known, unlike
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
from adaptsam.autoprompting.hysteresis import outward
from adaptsam.autoprompting.prompt_steps import Watch, played
from adaptsam.errors import InputError
from adaptsam.image.volume import Volume
from adaptsam.sam import SamModel
from adaptsam.slicewise import slice_report as status
from adaptsam.slicewise.cleanup import Shape, bounding_box
from adaptsam.slicewise.confidence import Continuity, usual_continuity
from adaptsam.slicewise.finishing import Finisher, Outcome, slice_confidence
from adaptsam.slicewise.slice_report import StructureReport

#: Modalities that count as another one.
_ALIKE = {"CBCT": "CT"}


@dataclass(frozen=True, eq=False, kw_only=True)
class _AgentOutcome(Outcome):
    """Outcome of one slice; ``packed`` uint8 (n,) is the mask in bits, and ``evidence`` what speaks for it, 0 to 1."""

    evidence: float
    known: bool
    packed: np.ndarray


class AgentTrack(Finisher):
    """One agent on its way through a volume.

    Args:
        package: the agent.
        target: the image.
        number: of the agent among those of the run, for its colour.
        model: the SAM.
        options: what was chosen.
        within: bool (K, J, I), where the target may be; None for everywhere.

    Attributes:
        slices: the image as the agent is shown it.
        structure: the target; its mask grows.
    """

    def __init__(
        self,
        package: Package,
        target: Volume,
        number: int,
        model: SamModel,
        options: AutoPromptSettings,
        within: np.ndarray | None,
    ) -> None:
        self.package, self._options = package, options
        self.slices = AgentSlices(target, package.shown, model.image_size, options.window, options.body_margin)
        self.threshold = options.threshold(package)
        whole = np.zeros(target.geometry.shape, bool)
        self.structure = structure_of(package.target, whole, number)
        images, rules, kind = self.slices.images, options.cleaning, package.target
        super().__init__(
            kind.name,
            images,
            images.orientation.apply(whole),
            limit=self.threshold.limit,
            shape=Shape(kind.components, rules.minimum_share, float(kind.holes)),
            cleaning=rules if options.cleanup and not images.is_flat else None,
            confidence=options.confidence,
        )
        self._within = None if within is None else images.orientation.apply(within)
        trained, here = (_ALIKE.get(one.upper(), one.upper()) for one in (package.shown.modality, target.modality))
        self._foreign = bool(trained and here and trained != here)
        self._refused = self._foreign and options.novelty and options.acceptance != "off"

    def doubts(self, target: Volume) -> list[str]:
        """Warnings against using this agent on this image."""
        name, said = self.package.target.name, []
        if self._foreign:
            then = ": nothing is accepted on it." if self._refused else "."
            trained, here = self.package.shown.modality, target.modality
            said.append(f"The agent for {name} was trained on {trained}, and this image is {here}{then}")
        better = self.package.outdone_by
        if better:
            (other, value), own = next(iter(better.items())), float(self.package.scores["iou"])
            said.append(
                f"Where its scores were taken, the agent for {name} did no better (IoU {own:.2f}) than a simpler way "
                f"to the same mask ({other}, {value:.2f})."
            )
        return said

    @property
    def wanted(self) -> list[int]:
        """The canonical slices to look at, ascending."""
        images, given = self.slices.images, self._options.slices
        depth = images.geometry.shape[0]
        for k in given or ():
            if not 0 <= int(k) < depth:
                raise InputError(f"Slice {k} was asked for, but slices are numbered 0 to {depth - 1}.")
        chosen = range(depth) if given is None else given
        canonical = {images.orientation.stored_slice(int(k), images.stored.shape) for k in chosen}
        return sorted(k for k in canonical if self._within is None or self._within[k].any())

    def take(self, k: int, result: Prompted, watch: Watch | None) -> None:
        """Judge what the agent made of slice ``k``."""
        mask = self.slices.restore(result.logits) > 0
        allowed = None if self._within is None else self._within[k]
        if allowed is not None:
            mask &= allowed
        known = not self._refused and is_known(self.package, result)
        accepted = not self._refused and is_accepted(self.package, self._options, result) and bool(mask.any())
        if accepted:
            self.mask[k] = mask
        outcome = _AgentOutcome(
            accepted,
            1.0 - result.evidence.total,
            result.evidence.predicted_iou,
            self.slices.view.to_slice(result.points),
            result.labels,
            evidence=result.evidence.total,
            known=known,
            packed=np.packbits(mask),
        )
        self.outcomes[k] = outcome
        if watch is not None:
            shown = mask if accepted else np.zeros_like(mask)
            trust = slice_confidence(outcome, shown, [], self.limit, Continuity(), self._options.confidence)
            watch(played(self.name, self.slices, k, result, allowed, accepted, trust))

    def settle(self) -> list[int]:
        """Follow the target outward from its surest slice, where that was chosen."""
        if self._options.search == "outward" and self._is_judged:
            self._follow()
        return []

    def cleaned(self, removed: np.ndarray) -> list[str]:
        """Keep within the region what bridging and filling have put beyond it, whatever was ``removed``, int (K,)."""
        if self._within is not None:
            self.mask &= self._within
        return []

    def is_misplaced(self) -> bool:
        """Whether the target is thinner than it can be."""
        held = sum(bool(one.any()) for one in self.mask)
        return self._is_judged and held * self.images.geometry.spacing[2] < self._options.least_mm

    def usual(self) -> Continuity:
        """Usual likeness of the target's own neighbouring slices."""
        box = bounding_box(self.mask)
        return usual_continuity(self.mask[box[0]]) if box is not None else Continuity()

    def described(self, carried: bool) -> dict[str, Any]:
        """Status and view; there is no prior."""
        unknown = float("nan")
        found = status.FOUND if self.mask.any() else status.NOT_FOUND
        return {
            "status": found,
            "prior_volume_cm3": unknown,
            "centroid_shift_mm": unknown,
            "view": self.package.shown.view,
        }

    def warnings(self, report: StructureReport) -> list[str]:
        """Warnings that nothing was found, and that slices are of another kind."""
        found = report.status == status.FOUND
        said = [] if found else [f"{self.name} was not found in this image; its contour is empty."]
        return said + self._unknown(found)

    def _unknown(self, found: bool) -> list[str]:
        """Warnings that slices are empty because they look unlike all that the agent learnt from."""
        novel = [one for one in self.outcomes.values() if not one.known]
        if not novel or self._refused or not self._options.novelty:
            return []
        if not found:
            return [unlike(self.package, len(novel), len(self.outcomes))]
        lost = sum(bool(one.packed.any()) and self.threshold.accepts(one.distance) for one in novel)
        if not lost or self._options.acceptance == "off":
            return []
        name = self.package.target.name
        said = (
            f"{lost} slices with enough evidence for {name} are empty, because they look unlike all that its agent "
            "learnt from; if it is only another scanner, set its limits with adaptsam agents calibrate."
        )
        return [said]

    @property
    def _is_judged(self) -> bool:
        """Whether the target as a whole is: where all slices were looked at, and there is more than one."""
        options = self._options
        whole = options.slices is None and self._within is None
        return options.acceptance != "off" and whole and not self.slices.images.is_flat

    def _follow(self) -> None:
        """Accept the slices that the search finds, in place of those that each had enough evidence by itself."""
        images, judged = self.slices.images, self._options.novelty
        usable = {
            k: outcome.evidence
            for k, outcome in self.outcomes.items()
            if outcome.packed.any() and not self._refused and (outcome.known or not judged)
        }
        shape = self.mask.shape[1:]

        def mask(k: int) -> np.ndarray:
            bits = np.unpackbits(self.outcomes[k].packed, count=shape[0] * shape[1])
            return bits.reshape(shape).astype(bool)

        least = 1.0 - self.limit
        found = outward(usable, mask, least, images.geometry.spacing[2], self._options.hysteresis)
        self.mask[:] = False
        for k in found:
            self.mask[k] = mask(k)
        self.outcomes = {k: replace(one, accepted=k in found) for k, one in self.outcomes.items()}
