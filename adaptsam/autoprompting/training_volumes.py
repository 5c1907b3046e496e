"""Volumes with a target each, as an agent learns from them: shown exactly as they will be in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from adaptsam.alignsam import Shown
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.datasets import Case, DataSet, Sample
from adaptsam.errors import InputError
from adaptsam.image.volume import Volume
from adaptsam.progress import Progress, silent
from adaptsam.slicewise.slice_images import check_image

#: The least share of a target's voxels that counts as one of its parts.
LEAST_PART = 0.05


@dataclass(frozen=True, eq=False)
class TaughtVolume:
    """An image and the target on it.

    Attributes:
        name: for messages; kept nowhere.
        volume: the image.
        mask: bool on the image's grid.
        patient: images of one patient have the same; they are never both trained with and held back.
    """

    name: str
    volume: Volume = field(repr=False)
    mask: np.ndarray = field(repr=False)
    patient: str


@dataclass(frozen=True, eq=False)
class VolumeData:
    """Training images of an agent from volumes in memory; see :class:`adaptsam.autoprompting.agent_training.Teaching`.

    Args:
        volumes: gray ones, or pictures in colour; not both.
        like: how slices are shown, in training and in use.
        image_size: of the SAM.
        images: how many slices to train with at most, drawn at random; 0 for all.
        seed: of that draw, and of the patients that are held back.
    """

    volumes: Sequence[TaughtVolume]
    like: Shown
    image_size: int
    images: int = 50
    seed: int = 0

    def open(self, progress: Progress = silent) -> DataSet:
        """Slices that show the target as samples, the others beside them.

        Raises:
            InputError: there is no volume, or one cannot be used: without content, without the target, or in colour
                among gray ones.
        """
        if not self.volumes:
            raise InputError("There is no volume to learn from; give at least one with the target outlined.")
        cases = []
        for number, one in enumerate(self.volumes):
            progress("looking through volumes", number, len(self.volumes))
            cases.append(self._case(number, one))
        return DataSet("volumes", "the volumes", tuple(cases), unit="volume")

    def shown(self, modality: str, color: bool) -> Shown:
        """The presentation of the slices."""
        return replace(self.like, modality=modality, color=color)

    @property
    def components(self) -> int:
        """The most separate parts that the target has in a volume, such as 2 for lungs."""
        return max((_parts(one.mask) for one in self.volumes), default=1)

    def _case(self, number: int, one: TaughtVolume) -> Case:
        check_image(one.volume, one.name)
        if one.mask.shape != one.volume.geometry.shape:
            raise InputError(f"The target of {one.name} lies on another grid than the image; outline it there.")
        if not one.mask.any():
            raise InputError(f"The target is nowhere on {one.name}; outline it, or leave the volume out.")
        if self.like.color != (one.volume.array.ndim == 4):
            raise InputError(f"{one.name} does not go with the others: some are in colour, and some are not.")
        slices = AgentSlices(one.volume, self.like, self.image_size)
        name = f"volume-{number + 1}"
        samples = [
            Sample(f"{name}/slice-{k:03d}", one.patient, _Slice(slices, one.mask, k))
            for k in range(slices.images.geometry.shape[0])
        ]
        there = set(np.flatnonzero(slices.images.orientation.apply(one.mask).any(axis=(1, 2))).tolist())
        shown = tuple(sample for k, sample in enumerate(samples) if k in there)
        without = tuple(sample for k, sample in enumerate(samples) if k not in there)
        return Case(name, shown, len(samples), without=without)


@dataclass(frozen=True, eq=False)
class _Slice:
    slices: AgentSlices
    mask_of_all: np.ndarray
    k: int

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        return self.slices.image(self.k), self.slices.mask(self.mask_of_all, self.k)


def _parts(mask: np.ndarray) -> int:
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())[1:]
    return max(1, int((sizes >= LEAST_PART * sizes.sum()).sum())) if count else 1
