"""ANTs' symmetric normalisation (Avants et al. 2008) as rival, through antspyx: contours carried by it alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from adaptsam.errors import InputError, NotInstalledError
from adaptsam.evaluation.methods.evaluated_method import Found, Method, VolumePair, Workbench, found_structures
from adaptsam.image import Volume
from adaptsam.image.intensity import is_ct
from adaptsam.image.signed_distance import signed_distance
from adaptsam.registration.rigid import PREPARED_HU

#: Millimetres from a contour that stand for all that lies outside of the prior.
_FAR_MM = 1000.0


class Syn(Method):
    """ANTs' defaults: affine, then symmetric normalisation, both by mutual information."""

    name, title = "syn", "ANTs SyN"

    def prepare(self, bench: Workbench) -> None:
        try:
            import ants  # noqa: F401
        except ImportError:
            raise NotInstalledError('SyN needs the extra "ants": pip install "adaptsam[ants]".') from None

    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        return found_structures(pair, register_with_syn(pair))


def register_with_syn(pair: VolumePair) -> dict[str, np.ndarray]:
    """The structures' masks on the target, bool (K, J, I), carried as signed distances.

    CT is compared within the range that AdaptSAM's own registration compares.

    Raises:
        InputError: a picture is in colour, or ANTs gives up.
    """
    import ants

    if pair.prior.array.ndim != 3:
        raise InputError("SyN registers gray volumes only.")
    moving, fixed = (_image(_compared(volume), volume) for volume in (pair.prior, pair.target))
    masks = {}
    with tempfile.TemporaryDirectory(prefix="adaptsam-") as folder:
        try:
            found = ants.registration(fixed, moving, "SyN", outprefix=str(Path(folder) / "syn"), random_seed=1)
        except RuntimeError as error:
            raise InputError(f"SyN gave up on this pair ({str(error).strip().splitlines()[-1]}).") from None
        for one in pair.structures.structures:
            distance = _image(signed_distance(one.mask, pair.prior.geometry.spacing[::-1]), pair.prior)
            moved = ants.apply_transforms(fixed, distance, found["fwdtransforms"], "linear", defaultvalue=_FAR_MM)
            masks[one.name] = moved.numpy().transpose() < 0
    return masks


def _compared(volume: Volume) -> np.ndarray:
    return np.clip(volume.array, *PREPARED_HU) if is_ct(volume) else volume.array


def _image(array: np.ndarray, volume: Volume) -> Any:
    import ants

    grid = volume.geometry
    spacing, origin = ([float(value) for value in given] for given in (grid.spacing, grid.origin))
    direction = np.reshape(grid.direction, (3, 3)).astype(float)
    return ants.from_numpy(np.ascontiguousarray(array.T, np.float32), origin, spacing, direction)
