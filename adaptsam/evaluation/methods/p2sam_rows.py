"""P²SAM with every setting of its tables, PerSAM as it was published, and no prompt at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from adaptsam.evaluation.methods.evaluated_method import BATCH, Found, Pair, VolumePair, Workbench, in_batches
from adaptsam.evaluation.methods.persam_patches import PATCHES, Coverage, row
from adaptsam.evaluation.methods.slice_by_slice import PictureMethod
from adaptsam.p2sam import Job, P2SamSettings, segment
from adaptsam.p2sam.part_features import Patches, foreground_patches
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.propagation.volume_propagation import PropagationSettings
from adaptsam.registration import Deformation, Rigid
from adaptsam.sam import DecodeRequest
from adaptsam.slicewise import PriorVisit, carry

#: PerSAM (Zhang et al., 2023) is P²SAM's natural domain with one part: the mean feature, the highest and the lowest
#: point of its similarity map, target-guided attention, target-semantic prompting, and the same two refinements.
PUBLISHED_PERSAM = P2SamSettings(domain="natural", positives=(1, 1), retrieval=False)


class P2Sam(PictureMethod):
    """P²SAM on pictures, and on slices whose partner is known.

    Args:
        name: of the row.
        title: in tables.
        p2sam: the settings; the protocol's domain replaces theirs unless ``fixed``.
    """

    patches: Patches = staticmethod(foreground_patches)

    def __init__(self, name: str, title: str, p2sam: P2SamSettings | None = None, *, fixed: bool = False) -> None:
        self.name, self.title = name, title
        self.p2sam, self._fixed = p2sam or P2SamSettings(), fixed

    @property
    def settings(self) -> object:
        return {"p2sam": asdict(self.p2sam), "fixed": self._fixed}

    def pictures(self, bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
        """The masks, bool (H, W) each; empty where the outlined structure has no patch of the model's grid."""
        settings = self._settings(bench)
        masks: list[np.ndarray] = []
        for batch in in_batches(pairs):
            priors = [bench.prior(pair.prior, self.patches) for pair in batch]
            able = [n for n, prior in enumerate(priors) if prior.usable]
            targets = bench.embed([batch[n].image for n in able]) if able else []
            jobs = [Job(priors[n], target) for n, target in zip(able, targets, strict=True)]
            done = dict(zip(able, segment(bench.model, jobs, settings), strict=True))
            masks += [done[n].mask if n in done else np.zeros(p.image.shape[:2], bool) for n, p in enumerate(batch)]
        return masks

    def _settings(self, bench: Workbench) -> P2SamSettings:
        if self._fixed or bench.domain == self.p2sam.domain:
            return self.p2sam
        negatives = None if bench.domain == "natural" else self.p2sam.negatives
        return replace(self.p2sam, domain=bench.domain, negatives=negatives)


class PerSam(P2Sam):
    """PerSAM.

    Args:
        coverage: when the mask covers a patch: "published", or from "half" of it on.
    """

    def __init__(self, coverage: Coverage = "published") -> None:
        super().__init__(*row("persam", "PerSAM", coverage), PUBLISHED_PERSAM, fixed=True)
        self.coverage, self.patches = coverage, PATCHES[coverage]

    @property
    def settings(self) -> object:
        return {"p2sam": asdict(self.p2sam), "fixed": True, "coverage": self.coverage}


class PropagatedP2Sam(P2Sam):
    """P²SAM; in volumes whose slices nobody knows, with the volume workflow that `adaptsam propagate` uses.

    Args:
        name: of the row.
        title: in tables.
        propagation: the workflow's settings.
    """

    def __init__(self, name: str, title: str, propagation: PropagationSettings | None = None) -> None:
        self.propagation = propagation or PropagationSettings()
        super().__init__(name, title, self.propagation.p2sam)

    @property
    def settings(self) -> object:
        return asdict(self.propagation)

    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        if pair.known_slices is not None:
            return super().volume(bench, pair)
        settings = replace(self.propagation, window=pair.window)
        method = P2SamSlices(bench.store, settings.p2sam)
        visit = PriorVisit(method, pair.prior, pair.structures, settings)
        carried = carry(visit, pair.target, registration=_registration(pair, settings.register))
        return {
            report.name: Found(mask, {one.index: one.confidence for one in report.slices})
            for mask, report in zip(carried.masks, carried.reports, strict=True)
        }


def _registration(pair: VolumePair, kind: str) -> Rigid | Deformation | None:
    if kind == "off":
        return None
    return pair.rigid if kind == "rigid" else pair.deformation


class DirectTransfer(PictureMethod):
    """The model without any prompt: what a SAM that was fine-tuned for one structure makes of an image by itself."""

    name, title = "direct-transfer", "direct-transfer"

    def pictures(self, bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
        return unprompted(bench, pairs)


def unprompted(bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
    """Masks of a workbench's model without a prompt, bool (H, W) each."""
    masks: list[np.ndarray] = []
    for start in range(0, len(pairs), BATCH):
        embeddings = bench.embed([pair.image for pair in pairs[start : start + BATCH]])
        decoded = bench.model.decode([DecodeRequest(one) for one in embeddings])
        for one, embedding in zip(decoded, embeddings, strict=True):
            masks.append((bench.model.upscale(one.logits[0], embedding) > 0).cpu().numpy())
    return masks
