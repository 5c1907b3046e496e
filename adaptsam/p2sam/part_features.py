"""The prior: what one outlined image knows, as features of the structure, of its surroundings, and of their parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from adaptsam.errors import InputError
from adaptsam.p2sam.kmeans_seeds import KMeansSeeds
from adaptsam.sam import Embedding, SamModel
from adaptsam.sam.cpu_threads import one_thread

_RESTARTS = 10

Patches = Callable[[SamModel, np.ndarray], Tensor]
"""From a model and a mask bool (H, W) to the patches of its grid, bool (h, w), that the mask covers."""


@dataclass(frozen=True, eq=False)
class Prior:
    """An embedded reference image and its mask on the model's grid (Eq. 1).

    ``features`` (C, h, w) is the reference's embedding, shared with it and not copied; ``grid_mask`` (h, w) bool on the
    CPU is True on foreground patches. Part features are computed when first requested and kept, so that one prior
    serves many targets.
    """

    features: Tensor = field(repr=False)
    grid_mask: Tensor = field(repr=False)
    _parts: dict[tuple[bool, int], Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def from_mask(
        cls, model: SamModel, embedding: Embedding, mask: np.ndarray, patches: Patches | None = None
    ) -> Prior:
        """The prior of an embedded image and its mask, bool (H, W) in that image's original pixels.

        ``patches`` says which patches a mask covers, :func:`foreground_patches` by default.
        Raises :class:`InputError` if the mask has not the size of the image.
        """
        mask = np.asarray(mask, dtype=bool)
        if mask.shape != tuple(embedding.original_size):
            raise InputError(
                f"The prior's mask has the shape {mask.shape}, its image {tuple(embedding.original_size)}; "
                "give the mask on the image's own pixels."
            )
        return cls(embedding.features, (patches or foreground_patches)(model, mask))

    @property
    def usable(self) -> bool:
        """Whether at least one patch is foreground; a prior without one cannot prompt."""
        return bool(self.grid_mask.any())

    @cached_property
    def foreground(self) -> Tensor:
        """F_R^f of Eq. 1: the raw features (n_f, C) of the foreground patches, float32 on the CPU."""
        return self._select(self.grid_mask)

    @property
    def background(self) -> Tensor:
        """F_R^b: the raw features (n_b, C) of all other patches, padding included, float32 on the CPU."""
        return self._select(~self.grid_mask)

    @property
    def patches(self) -> tuple[int, int]:
        """Numbers of foreground and of background patches."""
        foreground = int(self.grid_mask.sum())
        return foreground, self.grid_mask.numel() - foreground

    def foreground_parts(self, n: int) -> Tensor:
        """The structure's n part features (n, C), of unit length; see :func:`part_features`."""
        return self._cached_parts(True, n)

    def background_parts(self, n: int) -> Tensor:
        """The surroundings' n part features (n, C), of unit length; see :func:`part_features`."""
        return self._cached_parts(False, n)

    def _select(self, mask: Tensor) -> Tensor:
        return self.features.permute(1, 2, 0)[mask.to(self.features.device)].float().cpu()

    def _cached_parts(self, foreground: bool, n: int) -> Tensor:
        key = (foreground, n)
        if key not in self._parts:
            self._parts[key] = part_features(self.foreground if foreground else self.background, n)
        return self._parts[key]


def foreground_patches(model: SamModel, mask: np.ndarray) -> Tensor:
    """The patches (h, w), bool on the CPU, of the model's grid that a mask bool (H, W) of an image covers.

    As in the reference, the mask goes to the model's padded frame, centred at zero, and bilinearly to the grid, and a
    patch is foreground where that is above zero: if more than half of the four pixels around its centre are.
    """
    framed = model.resize_mask(mask).cpu()
    if mask.all() and not framed.any():
        # A mask that fills a square image has no background to be centred against: all of it is foreground.
        framed = torch.ones_like(framed)
    grid = F.interpolate(framed, size=(model.grid_size, model.grid_size), mode="bilinear", align_corners=False)
    return grid[0, 0] > 0


def part_features(features: Tensor, n: int) -> Tensor:
    """{P_R^c} of Section 3.2: features (m, C) clustered into n parts, each part's mean, of unit length: (n, C).

    k-means on the raw features, see :func:`part_labels`; the mean is normalised after averaging. Features with fewer
    than n distinct values give fewer parts.
    Raises :class:`InputError` if there are fewer features than parts.
    """
    if not 1 <= n <= len(features):
        raise InputError(f"{len(features)} patches cannot be clustered into {n} parts; ask for fewer parts.")
    if n == 1:
        means = features.mean(0, keepdim=True)
    else:
        labels = part_labels(features.numpy(), n)
        means = torch.stack([features[torch.from_numpy(labels == part)].mean(0) for part in np.unique(labels)])
    return means / means.norm(dim=-1, keepdim=True)


def part_labels(features: np.ndarray, n: int) -> np.ndarray:
    """The part, 0 to n − 1, of each of the features (m, C), n at least 2: k-means as scikit-learn 1.0.2 does it.

    Ten restarts from that version's seeds (:mod:`.kmeans_seeds`). It assigned by Elkan's algorithm. Lloyd's gives the
    same partitions (all of 488 of 62 real pairs, and of those made by the old version) in two fifths of the time.
    """
    seeds = KMeansSeeds(restarts=_RESTARTS)
    kmeans = KMeans(n, init=seeds, n_init=_RESTARTS, random_state=0, algorithm="lloyd")
    with one_thread():  # a thread waits longer than a part of these few features takes
        labels: np.ndarray = kmeans.fit_predict(features)
    return labels
