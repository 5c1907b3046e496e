"""One agent on its way through a volume: which slices it looks at, what is kept of them, and one object in the end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from adaptsam.alignsam import Evidence, Package, Prompted
from adaptsam.alignsam.agent_target import structure_of
from adaptsam.autoprompting.agent_batches import accepted as is_accepted
from adaptsam.autoprompting.agent_batches import is_known, unlike
from adaptsam.autoprompting.agent_confidence import slice_confidence
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
from adaptsam.autoprompting.hysteresis import outward
from adaptsam.autoprompting.prompt_steps import Watch, played
from adaptsam.errors import InputError
from adaptsam.image.volume import Volume
from adaptsam.sam import SamModel
from adaptsam.slicewise import slice_report as status
from adaptsam.slicewise.cleanup import Shape, bounding_box, bridge, clean
from adaptsam.slicewise.confidence import Continuity, continuity, usual_continuity
from adaptsam.slicewise.slice_report import SliceReport, StructureReport

#: Modalities that count as another one.
_ALIKE = {"CBCT": "CT"}


@dataclass(frozen=True, eq=False)
class _Outcome:
    """Outcome of one slice; ``points`` (n, 2) are x, y in canonical slice pixels, ``packed`` is the mask in bits."""

    accepted: bool
    known: bool
    evidence: Evidence
    points: np.ndarray
    labels: np.ndarray
    packed: np.ndarray


class AgentTrack:
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
        self.limit = options.threshold(package)
        mask = np.zeros(target.geometry.shape, bool)
        self.structure = structure_of(package.target, mask, number)
        self._mask = self.slices.images.orientation.apply(mask)
        self._within = None if within is None else self.slices.images.orientation.apply(within)
        self._results: dict[int, _Outcome] = {}
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
            self._mask[k] = mask
        points = self.slices.view.to_slice(result.points)
        self._results[k] = _Outcome(accepted, known, result.evidence, points, result.labels, np.packbits(mask))
        if watch is not None:
            shown = mask if accepted else np.zeros_like(mask)
            trust = slice_confidence(result.evidence, shown, self.limit, None, Continuity(), self._options.confidence)
            watch(played(self.package.target.name, self.slices, k, result, allowed, accepted, trust))

    def finish(self) -> tuple[StructureReport, list[str]]:
        """Make the slices one object, and report."""
        if self._options.search == "outward" and self._is_judged:
            self._follow()
        bridged = self._clean() if self._options.cleanup and not self.slices.images.is_flat else []
        geometry = self.slices.images.geometry
        held = [k for k in range(len(self._mask)) if self._mask[k].any()]
        if self._is_judged and len(held) * geometry.spacing[2] < self._options.least_mm:
            self._mask[:] = False
            held, bridged = [], []
        box = bounding_box(self._mask)
        usual = usual_continuity(self._mask[box[0]]) if box is not None else Continuity()
        reports = [self._report(k, usual, k in bridged) for k in sorted(self._results)]
        name = self.package.target.name
        report = StructureReport(
            name=name,
            status=status.FOUND if held else status.NOT_FOUND,
            volume_cm3=int(np.count_nonzero(self._mask)) * geometry.voxel_volume / 1000,
            prior_volume_cm3=float("nan"),
            centroid_shift_mm=float("nan"),
            slices=tuple(sorted(reports, key=lambda one: one.index)),
            view=self.package.shown.view,
            slice_axis=self.slices.images.orientation.order[0],
        )
        warnings = [] if held else [f"{name} was not found in this image; its contour is empty."]
        warnings += self._unknown(bool(held))
        if bridged:
            warnings.append(
                f"{name} has slices that were interpolated between accepted ones ({len(bridged)}); check them."
            )
        return report, warnings

    def _unknown(self, found: bool) -> list[str]:
        """Warnings that slices are empty because they look unlike all that the agent learnt from."""
        novel = [one for one in self._results.values() if not one.known]
        if not novel or self._refused or not self._options.novelty:
            return []
        if not found:
            return [unlike(self.package, len(novel), len(self._results))]
        lost = sum(bool(one.packed.any()) and self.limit.accepts(1.0 - one.evidence.total) for one in novel)
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
            k: outcome.evidence.total
            for k, outcome in self._results.items()
            if outcome.packed.any() and not self._refused and (outcome.known or not judged)
        }
        shape = self._mask.shape[1:]

        def mask(k: int) -> np.ndarray:
            bits = np.unpackbits(self._results[k].packed, count=shape[0] * shape[1])
            return bits.reshape(shape).astype(bool)

        least = 1.0 - self.limit.limit
        found = outward(usable, mask, least, images.geometry.spacing[2], self._options.hysteresis)
        self._mask[:] = False
        for k in found:
            self._mask[k] = mask(k)
        self._results = {k: replace(one, accepted=k in found) for k, one in self._results.items()}

    def _clean(self) -> list[int]:
        rules, target = self._options.cleaning, self.package.target
        bridged: list[int] = []
        if rules.bridge:
            rejected = [k for k, outcome in self._results.items() if not outcome.accepted]
            bridged = bridge(self._mask, sorted(rejected), self.slices.images.geometry.spacing[1::-1])
        clean(self._mask, Shape(target.components, rules.minimum_share, float(target.holes)), rules)
        if self._within is not None:
            self._mask &= self._within
        return bridged

    def _report(self, k: int, usual: Continuity, bridged: bool) -> SliceReport:
        outcome, mask, rules = self._results[k], self._mask, self._options.confidence
        there = bool(mask[k].any())
        neighbours = [mask[n] for n in (k - 1, k + 1) if 0 <= n < len(mask) and mask[n].any()]
        alike = continuity(mask[k], neighbours) if neighbours else None
        trust = slice_confidence(outcome.evidence, mask[k], self.limit, alike, usual, rules)
        orientation, shape = self.slices.images.orientation, self.slices.images.stored.shape
        return SliceReport(
            index=orientation.stored_slice(k, shape),
            prior_index=-1,
            accepted=outcome.accepted and there,
            distance=1.0 - outcome.evidence.total,
            threshold=self.limit.limit,
            confidence=min(trust, rules.bridged_limit) if bridged and there else trust,
            points=orientation.stored_points(outcome.points, shape),
            labels=outcome.labels,
            predicted_iou=outcome.evidence.predicted_iou,
            interpolated=bridged and there,
        )
