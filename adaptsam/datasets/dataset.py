"""Data sets: images with their masks, one at a time, and the contents patient by patient.

Nothing here knows PyTorch. Pixels are read when a sample is requested and are not kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from adaptsam.errors import InputError

#: The shares of patients to train, to validate and to test with, as published.
SHARES = (0.8, 0.1, 0.1)
PARTS = ("train", "validation", "test")


class Source(Protocol):
    """Location of an image and its mask; small, and the same in every process that it is sent to."""

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """The image uint8 (H, W, 3), windowed, and the mask bool (H, W); InputError where they cannot be used."""


@dataclass(frozen=True)
class Sample:
    """One image with its mask.

    Attributes:
        name: unique in its data set and the same on every machine: folders and slices, no patient's identity.
        patient: the patient or the sequence; what a split keeps together.
        source: reads it.
    """

    name: str
    patient: str
    source: Source = field(repr=False)

    @property
    def number(self) -> int:
        """A whole number from 0 to 2⁶³ − 1 that depends on the name alone, to seed what is drawn for this sample."""
        return _digest(self.name) >> 1

    def read(self, *, may_be_empty: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The image, uint8 (H, W, 3), and the mask, bool (H, W), which shows something unless it may be empty.

        Raises:
            InputError: a file is gone, damaged or does not fit, or the mask is empty; the message begins with the
                sample's name.
        """
        try:
            image, mask = self.source.read()
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None
        except OSError as error:
            raise InputError(f"{self.name}: a file cannot be read ({error.strerror}); copy it again.") from None
        if image.shape[:2] != mask.shape:
            raise InputError(
                f"{self.name}: the image has {image.shape[1]}×{image.shape[0]} pixels and its mask "
                f"{mask.shape[1]}×{mask.shape[0]}; make them equal."
            )
        if not (mask.any() or may_be_empty):
            raise InputError(f"{self.name}: the mask is empty; outline the structure or leave the image out.")
        return image, mask


@dataclass(frozen=True)
class Case:
    """One patient, sequence or picture: its samples, and in sentences what is missing or wrong with it.

    Attributes:
        name: as the folder or file is called.
        samples: that can be used, as far as is known without reading their pixels.
        images: slices or pictures that were found, with or without the structure.
        problems: why samples are missing, or doubtful.
        remarks: what else is worth knowing.
        without: images of the same case that do not show the structure, where that is known without reading them.
    """

    name: str
    samples: tuple[Sample, ...] = ()
    images: int = 0
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    without: tuple[Sample, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class DataSet:
    """Data set in a folder: cases and their samples.

    Attributes:
        kind: one of :data:`~adaptsam.datasets.KINDS`.
        name: of the folder.
        cases: every patient, sequence or picture that was found, in the order of their names.
        unit: what a case is called in words.
        problems: what is missing or wrong with the whole.
        remarks: what else is worth knowing of it.
    """

    kind: str
    name: str
    cases: tuple[Case, ...]
    unit: str = "patient"
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples, in the order of the cases."""
        return tuple(sample for case in self.cases for sample in case.samples)

    def without(self, samples: Sequence[Sample]) -> tuple[Sample, ...]:
        """The images of these samples' patients on which the structure is not, as far as that is known unread."""
        patients = {sample.patient for sample in samples}
        return tuple(sample for case in self.cases for sample in case.without if sample.patient in patients)

    @property
    def usable(self) -> bool:
        """Whether there is anything to train or test with."""
        return any(case.samples for case in self.cases)

    def check_usable(self) -> None:
        """
        Raises:
            InputError: there is no sample; the sentence says why, as far as one reason can.
        """
        if self.usable:
            return
        troubled = [f"{case.name}: {case.problems[0]}" for case in self.cases if case.problems]
        why = " ".join([*self.problems[:1], *troubled[:1]]) or "it holds no image with a mask."
        raise InputError(f"{self.name} cannot be used as {self.kind}: {why}")

    def split(self, seed: int = 0, shares: tuple[float, float, float] = SHARES) -> dict[str, tuple[Sample, ...]]:
        """Samples to train, to validate and to test with; no patient or sequence is in two parts.

        Patients are ordered by a hash of seed and name, so that one who is missing does not reshuffle the others. The
        parts to validate and to test with are rounded, and from three patients on have one at least: 421 patients
        give 337, 42 and 42, 1000 pictures 800, 100 and 100.

        Args:
            seed: another one gives another split.
            shares: of the three parts, whose sum is 1.

        Returns:
            By the names in :data:`PARTS`.

        Raises:
            InputError: the shares are no shares.
        """
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise InputError(f"A split needs three shares whose sum is 1, not {', '.join(f'{s:g}' for s in shares)}.")
        patients = sorted(
            {sample.patient for sample in self.samples}, key=lambda name: (_digest(f"{seed}/{name}"), name)
        )
        counts = [_count(share, len(patients)) for share in shares[1:]]
        train = len(patients) - sum(counts)
        bounds = (0, train, train + counts[0], len(patients))
        part_of = {
            patient: part
            for part, start, end in zip(PARTS, bounds[:-1], bounds[1:], strict=True)
            for patient in patients[start:end]
        }
        return {part: tuple(s for s in self.samples if part_of[s.patient] == part) for part in PARTS}


def _count(share: float, patients: int) -> int:
    return 0 if share == 0 else max(round(share * patients), 1 if patients >= 3 else 0)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


@dataclass(frozen=True)
class MaskPatch:
    """A mask (H, W) as the packed bits of the box around it: the masks of a whole collection fit in memory."""

    shape: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]
    bits: bytes = field(repr=False)

    @classmethod
    def of(cls, mask: np.ndarray) -> MaskPatch:
        """Describe a mask, bool (H, W)."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return cls((mask.shape[0], mask.shape[1]), (0, 0), (0, 0), b"")
        inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        corner, size = (int(rows[0]), int(columns[0])), (inside.shape[0], inside.shape[1])
        return cls((mask.shape[0], mask.shape[1]), corner, size, np.packbits(inside).tobytes())

    def mask(self) -> np.ndarray:
        """Bool (H, W)."""
        (top, left), (height, width) = self.corner, self.size
        mask = np.zeros(self.shape, bool)
        bits = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=height * width)
        mask[top : top + height, left : left + width] = bits.reshape(height, width)
        return mask
