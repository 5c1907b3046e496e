"""Registration of a later visit to its prior, rigid and deformable, with a cache on disk."""

from typing import TYPE_CHECKING

from adaptsam.lazy_imports import names_on_demand

if TYPE_CHECKING:
    from adaptsam.registration.deformable import DeformableSettings, Deformation, register_deformably
    from adaptsam.registration.rigid import RegistrationSettings, Rigid, register

__all__ = [
    "DeformableSettings",
    "Deformation",
    "RegistrationSettings",
    "Rigid",
    "register",
    "register_deformably",
]

# On demand: no part needs the libraries of another.
_HOMES = {
    "deformable": (
        "DeformableSettings",
        "Deformation",
        "register_deformably",
    ),
    "rigid": (
        "RegistrationSettings",
        "Rigid",
        "register",
    ),
}

__getattr__ = names_on_demand(__name__, _HOMES)
