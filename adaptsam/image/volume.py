"""Images and structures in memory: an image on a grid in the patient, and masks on that grid.

Arrays are indexed ``[k, j, i]`` (slice, row, column). World coordinates are LPS millimetres, as in DICOM and ITK; only
the Slicer modules know RAS.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.remarks import Remark


@dataclass(frozen=True)
class Geometry:
    """The grid of a volume in the patient.

    ``shape`` is (K, J, I), the array's. ``spacing`` is (i, j, k) in mm and ``origin`` the LPS position of voxel
    (0, 0, 0), both in the order of SimpleITK. ``direction`` is the row-major 3×3 matrix whose columns are the LPS unit
    vectors of the i, j and k axes. They are perpendicular, unless the gantry was tilted: then k leans (a sheared grid).
    Raises InputError for a spacing that is not above 0.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if not all(np.isfinite(side) and side > 0 for side in self.spacing):
            sides = ", ".join(f"{side:g}" for side in self.spacing)
            raise InputError(
                f"The spacing of a grid is ({sides}) mm, and each must be above 0; an axis that runs the other way is "
                "told by its direction."
            )

    @property
    def index_to_world(self) -> np.ndarray:
        """The 4×4 matrix that takes a homogeneous index (i, j, k, 1) to LPS millimetres."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def voxel_volume(self) -> float:
        """The volume of one voxel in mm³."""
        return float(np.prod(self.spacing) * abs(np.linalg.det(np.reshape(self.direction, (3, 3)))))

    @property
    def is_sheared(self) -> bool:
        """Whether two axes are not perpendicular; most image formats cannot hold such a grid."""
        axes = np.reshape(self.direction, (3, 3))
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 5e-3)

    @property
    def tilt_deg(self) -> float:
        """The angle in degrees between the k axis and the normal of the slices."""
        axes = np.reshape(self.direction, (3, 3))
        normal = np.cross(axes[:, 0], axes[:, 1])
        return float(np.degrees(np.arccos(min(1.0, abs(normal @ axes[:, 2]) / np.linalg.norm(normal)))))

    def world(self, index: np.ndarray) -> np.ndarray:
        """LPS millimetres, (..., 3), of indices (..., 3) in the order i, j, k."""
        matrix = self.index_to_world
        return np.asarray(index, float) @ matrix[:3, :3].T + matrix[:3, 3]

    def index(self, world: np.ndarray) -> np.ndarray:
        """Continuous indices (..., 3) in the order i, j, k of LPS millimetres (..., 3)."""
        matrix = np.linalg.inv(self.index_to_world)
        return np.asarray(world, float) @ matrix[:3, :3].T + matrix[:3, 3]

    def matches(self, other: Geometry, tolerance: float = 1e-3) -> bool:
        """Whether every voxel centre of the two grids lies within ``tolerance`` mm."""
        if self.shape != other.shape:
            return False
        corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (
            np.array(self.shape[::-1]) - 1
        )
        return bool(np.abs(self.world(corners) - other.world(corners)).max() <= tolerance)


@dataclass(frozen=True)
class DicomSource:
    """Link of an image to its DICOM series. It stays in memory: never logged, cached or reported.

    ``header`` holds the patient and study attributes that a derived object must repeat, by DICOM keyword.
    ``sop_instance_uids`` has one entry per slice, in the order of k; slices that are frames of a multi-frame object
    repeat its UID, and ``frame_numbers`` has their numbers, from 1.
    """

    patient_id: str = field(default="", repr=False)
    study_uid: str = ""
    series_uid: str = ""
    frame_of_reference_uid: str = ""
    sop_class_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()
    study_date: str = ""
    header: dict[str, str] = field(default_factory=dict, repr=False)
    frame_numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Volume:
    """An image: ``array`` is (K, J, I), or (K, J, I, 3) uint8 for colour; CT is in Hounsfield units.

    ``modality`` is DICOM's ("CT", "MR", …), "CBCT" for a cone-beam CT, or "" where nobody said. ``remarks`` is what the
    reader left out or had to choose.
    """

    array: np.ndarray
    geometry: Geometry
    modality: str = ""
    dicom: DicomSource | None = field(default=None, repr=False)
    remarks: tuple[Remark, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Structure:
    """One named region of interest: ``mask`` is bool (K, J, I) on the grid of its structure set.

    A mask of numbers, 0 and one other as libraries write it, becomes bool. Raises InputError for one of several labels.
    ``contoured`` (K,) tells on which slices a person drew (or explicitly left nothing); ``None`` means every slice.
    ``color`` is RGB, 0 to 255. ``number``, ``interpreted_type`` and ``codes`` are the RTSTRUCT's ROI number, RT ROI
    interpreted type ("GTV", "ORGAN", …), and any further tags a format carries for the segment.
    """

    name: str
    mask: np.ndarray
    color: tuple[int, int, int] = (220, 40, 40)
    number: int | None = None
    interpreted_type: str = ""
    contoured: np.ndarray | None = None
    tags: dict[str, str] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        if self.mask.dtype == bool:
            return
        there = self.mask != 0
        values = self.mask[there]
        if values.size and values.min() != values.max():
            raise InputError(
                f"The mask of {self.name!r} has several values, {values.min():g} to {values.max():g}; give true and "
                f"false, as mask == {values.max():g}."
            )
        object.__setattr__(self, "mask", there)


@dataclass(frozen=True)
class StructureSet:
    """Structures that share one grid; they may overlap. ``remarks`` is what the reader left out or had to choose."""

    structures: tuple[Structure, ...]
    geometry: Geometry
    dicom: DicomSource | None = field(default=None, repr=False)
    remarks: tuple[Remark, ...] = field(default=(), repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(structure.name for structure in self.structures)
