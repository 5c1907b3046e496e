"""Cache of registrations: the result for two images and settings that were met before is kept.

A file holds matrix, displacements, quality and the sentence of a warning. It is named by a hash of pixels, grids,
modalities and settings, which identify no person.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import SimpleITK as sitk

from adaptsam.image.displacement_field import DisplacementField
from adaptsam.image.volume import Geometry, Volume
from adaptsam.progress import Tick, ticked, unasked
from adaptsam.registration.deformable import DeformableSettings, Deformation, register_deformably
from adaptsam.registration.rigid import RegistrationSettings, Rigid, register
from adaptsam.storage.disk_cache import KeptFolder


class RegistrationChoice(Protocol):
    """Settings that choose a registration, such as those of a volume's propagation."""

    @property
    def register(self) -> str:
        """``rigid`` or ``deformable``."""

    @property
    def registration(self) -> RegistrationSettings:
        """Settings of the rigid step."""

    @property
    def deformable(self) -> DeformableSettings:
        """Settings of the deformable step."""


#: Counts up when the same images and settings give another result than before.
METHOD = 6


def registered(
    prior: Volume,
    target: Volume,
    settings: RegistrationChoice,
    kept: KeptFolder | None = None,
    tick: Tick = unasked,
) -> Rigid | Deformation:
    """The registration that the settings ask for, from ``target`` to ``prior``, both gray and canonical.

    Args:
        prior: (K, J, I).
        target: (K, J, I).
        settings: ``register`` says which; ``registration`` and ``deformable`` how.
        kept: where the result is looked up, and left; None to compute it.
        tick: called on every slice that is hashed and every iteration; may raise to stop.
    """
    if kept is None:
        return _computed(prior, target, settings, tick)
    key = registration_key(prior, target, settings, tick)
    found = _unpacked(kept.read(key) or {})
    if found is None:
        found = _computed(prior, target, settings, tick)
        kept.write(key, _packed(found))
    return found


def registration_key(prior: Volume, target: Volume, settings: RegistrationChoice, tick: Tick = unasked) -> str:
    """64 hex digits of everything that decides a registration."""
    how = (METHOD, sitk.Version.VersionString(), settings.register, settings.registration)
    digest = hashlib.sha256(f"{how} {settings.deformable if settings.register == 'deformable' else ''}".encode())
    for volume in (prior, target):
        digest.update(f"{volume.modality} {volume.geometry} {volume.array.dtype}".encode())
        for one in ticked(volume.array, tick):
            digest.update(np.ascontiguousarray(one).tobytes())
    return digest.hexdigest()


def _computed(prior: Volume, target: Volume, settings: RegistrationChoice, tick: Tick) -> Rigid | Deformation:
    rigid = register(prior, target, settings.registration, modality=prior.modality, tick=tick)
    if settings.register == "rigid" or rigid.warning:
        return rigid
    return register_deformably(prior, target, rigid, settings.deformable, modality=prior.modality, tick=tick)


def _packed(made: Rigid | Deformation) -> dict[str, np.ndarray]:
    rigid = made.rigid if isinstance(made, Deformation) else made
    arrays = {"matrix": rigid.matrix, **_told("rigid", rigid)}
    if isinstance(made, Deformation):
        grid = made.displacement.geometry
        arrays |= {"displacement": made.displacement.array, **_told("deformable", made)}
        arrays |= {"grid": np.array([*grid.spacing, *grid.origin, *grid.direction])}
    return arrays


def _told(name: str, one: Rigid | Deformation) -> dict[str, np.ndarray]:
    """Quality, method and warning as numbers."""
    text = json.dumps([one.quality, one.method, one.warning]).encode()
    return {f"{name} told": np.frombuffer(text, np.uint8)}


def _unpacked(arrays: Mapping[str, np.ndarray]) -> Rigid | Deformation | None:
    """Unpack a registration; None where there is none, or something else."""
    try:
        if not all(np.isfinite(array).all() for array in arrays.values()) or arrays["matrix"].shape != (4, 4):
            return None
        rigid = Rigid(arrays["matrix"], *_read(arrays["rigid told"]))
        if "displacement" not in arrays:
            return rigid
        field = arrays["displacement"]
        (k, j, i, three), grid = field.shape, arrays["grid"].tolist()
        if three != 3 or field.dtype != np.float32 or len(grid) != 15 or min(grid[:3]) <= 0:
            return None
        geometry = Geometry((k, j, i), (grid[0], grid[1], grid[2]), (grid[3], grid[4], grid[5]), tuple(grid[6:]))
        return Deformation(rigid, DisplacementField(field, geometry), *_read(arrays["deformable told"]))
    except (KeyError, TypeError, ValueError):
        return None


def _read(told: np.ndarray) -> tuple[float, str, str]:
    quality, method, warning = json.loads(told.tobytes())
    if method not in ("position", "rigid", "deformable") or not isinstance(warning, str):
        raise ValueError
    return float(quality), method, warning
