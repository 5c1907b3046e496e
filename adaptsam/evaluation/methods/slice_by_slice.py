"""A method for pictures on a volume: slice by slice, each with the prior's slice that speaks for it.

Where the slices that hold the structure are known (the papers' protocol), they are paired by their offset from the
middle of the stack. Otherwise they are the slices that the rigidly registered contour reaches, each paired with the
prior's slice at that place. In both, a prior slice without a patch of the model's grid gives way to the nearest one
that has some.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptsam.evaluation.methods.evaluated_method import BATCH, Found, Method, Outlined, Pair, VolumePair, Workbench
from adaptsam.image.cropping import full_view
from adaptsam.image.volume import Structure
from adaptsam.image.windowing import choose_window
from adaptsam.propagation.baselines import move_mask
from adaptsam.slicewise.slice_pairing import middle_pairs, nearest_slice


class PictureMethod(Method):
    """A method that segments one picture from another outlined one."""

    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        return {structure.name: self._structure(bench, pair, structure) for structure in pair.structures.structures}

    def _structure(self, bench: Workbench, pair: VolumePair, structure: Structure) -> Found:
        work = SliceWork(bench, pair, structure)
        mask = np.zeros(pair.target.geometry.shape, bool)
        turned = pair.target_slices.orientation.apply(mask)  # the same memory
        slices = work.paired()
        for start in range(0, len(slices), BATCH):
            part = slices[start : start + BATCH]
            answers = self.pictures(bench, [work.pair(k, prior_k) for k, prior_k in part])
            for (k, _), answer in zip(part, answers, strict=True):
                turned[k] = work.restored(answer)
        return Found(mask)


class SliceWork:
    """The slices of one structure in one target, and the pictures that they are shown as."""

    def __init__(self, bench: Workbench, pair: VolumePair, structure: Structure) -> None:
        self._pair, self._structure = pair, structure
        self._prior, self._target = pair.prior_slices, pair.target_slices
        self._mask = self._prior.orientation.apply(structure.mask)
        size = bench.model.image_size
        self._views = [full_view(images.in_plane, images.pixel, size) for images in (self._prior, self._target)]
        self._windows = [
            choose_window(images.volume, pair.window, structure.name) for images in (self._prior, self._target)
        ]
        drawn = [int(k) for k in np.flatnonzero(self._mask.any(axis=(1, 2)))]
        self._usable = [k for k in drawn if bench.usable(self._views[0].mask(self._mask[k]))]
        self._drawn = drawn
        self._outlined: dict[int, Outlined] = {}

    def paired(self) -> list[tuple[int, int]]:
        """The target's and the prior's slices, canonical, that belong together.

        None where no slice of the structure has a patch of the model's grid: such a structure is not found.
        """
        if not self._usable:
            return []
        known = self._pair.known_slices
        wanted = self._expected() if known is None else self._given(known.get(self._structure.name, ()))
        return [(k, nearest_slice(prior_k, self._usable)) for k, prior_k in wanted]

    def pair(self, k: int, prior_k: int) -> Pair:
        view, window = self._views[1], self._windows[1]
        image = self._target.image(k, view, window)
        return Pair(f"{self._pair.name}/{self._structure.name}/{k}", self.outlined(prior_k), image)

    def outlined(self, prior_k: int) -> Outlined:
        if prior_k not in self._outlined:
            image = self._prior.image(prior_k, self._views[0], self._windows[0])
            mask = np.ascontiguousarray(self._views[0].mask(self._mask[prior_k]))  # PyTorch takes no backward rows
            self._outlined[prior_k] = Outlined(image, mask)
        return self._outlined[prior_k]

    def restored(self, answer: np.ndarray) -> np.ndarray:
        """A mask of the view on the target's slice, bool (H, W)."""
        return self._views[1].restore(np.where(answer, 1.0, -1.0).astype(np.float32), self._target.in_plane) > 0

    @property
    def priors(self) -> list[Outlined]:
        """All slices of the prior that can be learned from."""
        return [self.outlined(k) for k in self._usable]

    def _given(self, stored: Sequence[int]) -> list[tuple[int, float]]:
        turned = self._target.orientation
        slices = sorted(turned.stored_slice(int(k), self._target.stored.shape) for k in stored)
        return [(k, float(prior_k)) for k, prior_k in middle_pairs(slices, self._drawn).items()]

    def _expected(self) -> list[tuple[int, float]]:
        """Rigidly registered contour, and the fractional prior slice there."""
        rigid, (prior, target) = self._pair.rigid, (self._prior.geometry, self._target.geometry)
        moved = move_mask(self._mask, prior, target, rigid.matrix)
        wanted = []
        for k in np.flatnonzero(moved.any(axis=(1, 2))):
            rows, columns = np.nonzero(moved[k])
            centre = np.array([columns.mean(), rows.mean(), float(k)])
            wanted.append((int(k), float(prior.index(rigid.to_prior(target.world(centre)))[2])))
        return wanted
