"""Interface of an evaluated method, and the workbench that all share: one SAM, one store of embeddings.

A method finds on new images what is outlined on others. It is asked in one of two ways: for pictures (or slices whose
partner is given), and for whole volumes, where it has to find the slices by itself. A method for pictures answers for
volumes too, slice by slice (:mod:`adaptsam.evaluation.methods.slice_by_slice`).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from adaptsam.alignsam.attention_maps import Attention
from adaptsam.datasets import Sample
from adaptsam.errors import AdaptSAMError
from adaptsam.image import StructureSet, Volume
from adaptsam.image.orientation import acquisition_plane
from adaptsam.image.windowing import WindowChoice
from adaptsam.p2sam import Prior
from adaptsam.p2sam.part_features import Patches, foreground_patches
from adaptsam.registration import Deformation, Rigid, register, register_deformably
from adaptsam.sam import Embedding, EmbeddingStore, SamModel
from adaptsam.slicewise.slice_images import SliceImages

Domain = Literal["medical", "natural"]

#: Images that are encoded, decoded and held together.
BATCH = 8
#: Outlined images of which is kept what was learned from them.
KEPT_PRIORS = 96
PriorKey = tuple[str, bytes]


class NotApplicable(AdaptSAMError):
    """A method cannot be asked this: registration has no part in single pictures. It is said, and no failure."""


@dataclass(frozen=True, eq=False)
class Outlined:
    """An image uint8 (H, W, 3) and what is outlined on it, bool (H, W)."""

    image: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class Pair:
    """An image uint8 (H, W, 3) to segment, and the outlined one to learn from; ``name`` also seeds what is drawn."""

    name: str
    prior: Outlined
    image: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class VolumePair:
    """A prior visit with structures, and a target to find them in. Registrations are shared by all methods.

    Attributes:
        name: seeds what is drawn.
        prior: the image on which the structures were drawn.
        structures: on its grid; none is empty.
        target: the image to segment.
        window: of the slices.
        known_slices: the target's slices, along its stored slice axis, that hold each structure: the papers' oracle.
            None where a method has to find them.
        another_observer: contours of the target by someone else than who drew the truth; None where nobody did.
    """

    name: str
    prior: Volume
    structures: StructureSet
    target: Volume
    window: WindowChoice = "auto"
    known_slices: Mapping[str, Sequence[int]] | None = None
    another_observer: StructureSet | None = None

    @cached_property
    def plane(self) -> int:
        drawn = any(structure.contoured is not None for structure in self.structures.structures)
        return acquisition_plane(self.prior.geometry, drawn)

    @cached_property
    def prior_slices(self) -> SliceImages:
        return SliceImages(self.prior, self.plane)

    @cached_property
    def target_slices(self) -> SliceImages:
        return SliceImages(self.target, self.plane)

    @cached_property
    def rigid(self) -> Rigid:
        """Rigid registration from target to prior points."""
        return register(self.prior_slices.volume, self.target_slices.volume)

    @cached_property
    def deformation(self) -> Deformation:
        """Deformable registration from target to prior points, beginning with :attr:`rigid`."""
        return register_deformably(self.prior_slices.volume, self.target_slices.volume, self.rigid)


@dataclass(frozen=True, eq=False)
class Found:
    """One structure in a target: bool on the target's stored array, and by stored slice how sure the method is."""

    mask: np.ndarray = field(repr=False)
    confidence: Mapping[int, float] = field(default_factory=dict)


class Workbench:
    """Workbench of one evaluation: model, store and registrations shared by its methods.

    Args:
        store: encodes every image once, whichever method requests it, and what later cases share as long as it is kept.
        domain: of P²SAM's prompts, where a method does not choose itself.
        training: images with masks that methods with training may learn from; none of them is tested.
        folder: where trained models are kept between runs; None where none is trained.
        text: the text prompt of the target for AlignSAM's explicit branch.
        attention: its maps of images, made by the CLIP of the name ``clip_name``.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        *,
        domain: Domain = "medical",
        training: Sequence[Sample] = (),
        folder: Path | None = None,
        text: str = "",
        attention: Attention | None = None,
        clip_name: str = "",
    ) -> None:
        self.store, self.domain, self.training, self.folder = store, domain, training, folder
        self.text, self.attention, self.clip_name = text, attention, clip_name
        self._priors: OrderedDict[tuple[str, bytes, str], Prior] = OrderedDict()

    @property
    def model(self) -> SamModel:
        return self.store.model

    def embed(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        return self.store.get(images)

    def prior(self, outlined: Outlined, patches: Patches = foreground_patches) -> Prior:
        """P²SAM's prior of an outlined image; the last ones are kept with their part features.

        Args:
            outlined: the image and its mask.
            patches: which of the grid's patches the mask covers; by default those that it covers by more than half.
        """
        key = (*self.key(outlined), patches.__name__)
        if key not in self._priors:
            [embedding] = self.embed([outlined.image])
            self._priors[key] = Prior.from_mask(self.model, embedding, outlined.mask, patches)
            if len(self._priors) > KEPT_PRIORS:
                self._priors.popitem(last=False)
        self._priors.move_to_end(key)
        return self._priors[key]

    def key(self, outlined: Outlined) -> PriorKey:
        """By what it is known that two outlined images are the same: the model, the pixels, the mask."""
        return self.store.key(outlined.image), hashlib.sha256(np.packbits(outlined.mask).tobytes()).digest()

    def usable(self, mask: np.ndarray) -> bool:
        """Whether a patch of the model's grid lies mostly inside a mask (H, W); nothing is encoded for it."""
        if not mask.any():
            return False
        blank = torch.zeros(1, self.model.grid_size, self.model.grid_size)
        return Prior.from_mask(self.model, Embedding(blank, (0, 0), (mask.shape[0], mask.shape[1])), mask).usable


class Method(ABC):
    """One row of the tables.

    Attributes:
        name: on the command line and in the results.
        title: in tables.
        trained: learns from the protocol's training images first (:meth:`prepare`).
    """

    name: str
    title: str
    trained: bool = False

    @property
    def settings(self) -> object:
        """All that the results depend on beside model and data, as JSON; results of others are not mixed with them."""
        return {}

    def prepare(self, bench: Workbench) -> None:  # noqa: B027 (most have nothing to prepare)
        """Get ready for all cases: load or train what is needed, once.

        Raises:
            NotApplicable: the protocol has nothing to learn from.
            NotInstalledError: a library is missing; the row stays empty until a run finds it.
            AdaptSAMError: something else is missing; the sentence says what.
        """

    def pictures(self, bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
        """A mask bool (H, W) for the image of each pair.

        Raises:
            NotApplicable: the method needs volumes.
        """
        raise NotApplicable(f"{self.title} needs volumes.")

    @abstractmethod
    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        """Each of the pair's structures, by name, found in the whole target."""


class Unavailable(Method):
    """A row for a method that cannot be run here, with what would be needed."""

    def __init__(self, name: str, title: str, needed: str) -> None:
        self.name, self.title, self.needed = name, title, needed

    def prepare(self, bench: Workbench) -> None:
        raise NotApplicable(self.needed)

    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        raise NotApplicable(self.needed)


def fingerprint(method: Method) -> str:
    """A short hash of a method's settings, so that results of others are not taken for its own."""
    text = json.dumps(method.settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def found_structures(pair: VolumePair, masks: Mapping[str, np.ndarray]) -> dict[str, Found]:
    """Masks, bool (K, J, I), by name as answers without a confidence."""
    return {structure.name: Found(masks[structure.name]) for structure in pair.structures.structures}


def in_batches(pairs: Sequence[Pair], size: int = BATCH) -> list[Sequence[Pair]]:
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]
