"""Volumes, masks and contours in memory: geometry, intensity, resampling. No file format is known here."""

from typing import TYPE_CHECKING

from adaptsam.lazy_imports import names_on_demand

if TYPE_CHECKING:
    from adaptsam.image.patient_identity import same_patient
    from adaptsam.image.remarks import Remark
    from adaptsam.image.structure_names import select_structures
    from adaptsam.image.volume import (
        DicomSource,
        Geometry,
        Structure,
        StructureSet,
        Volume,
    )
    from adaptsam.image.windowing import WINDOWS, Window, choose_window

__all__ = [
    "WINDOWS",
    "DicomSource",
    "Geometry",
    "Remark",
    "Structure",
    "StructureSet",
    "Volume",
    "Window",
    "choose_window",
    "same_patient",
    "select_structures",
]

# On demand: no part needs the libraries of another.
_HOMES = {
    "patient_identity": ("same_patient",),
    "remarks": ("Remark",),
    "structure_names": ("select_structures",),
    "volume": (
        "DicomSource",
        "Geometry",
        "Structure",
        "StructureSet",
        "Volume",
    ),
    "windowing": (
        "WINDOWS",
        "Window",
        "choose_window",
    ),
}

__getattr__ = names_on_demand(__name__, _HOMES)
