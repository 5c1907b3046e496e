"""A result as an RTSTRUCT that refers to the DICOM slices which the window's volume was loaded from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.terminology import CODE_KEYS, own_code
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.io.dicom.dicom_volume import read_series_files
from adaptsam.io.dicom.rtstruct_writer import write_rtstruct
from adaptsam.worker import wire_format as wire
from adaptsam.worker.result_messages import Emit


def write_structures(request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
    """Write the "structures" of a request, masks on its "geometry", to the file "path"; tells "written".

    The slices are "files", in any order. An existing file is replaced: the window has asked.

    Raises:
        InputError: the slices are not those of the geometry, or cannot be read.
    """
    reference = read_series_files([Path(one) for one in request["files"]])
    check()
    turned = _turned(request["geometry"], reference)
    structures = tuple(_structure(one, turned) for one in request["structures"])
    path = Path(request["path"])
    whole = StructureSet(structures, reference.geometry)
    write_rtstruct(path, whole, reference, model=request.get("model", ""), overwrite=True)
    emit("written", path=str(path))


def _structure(described: wire.Message, turned: Callable[[np.ndarray], np.ndarray]) -> Structure:
    color = tuple(int(value) for value in described["color"])
    tags = {"TerminologyEntry": described["terminology"]} if described.get("terminology") else {}
    named = Structure(described["name"], turned(wire.unpack_mask(described["mask"])), tags=tags)
    code = own_code(named)
    return replace(
        named,
        color=(color[0], color[1], color[2]),
        interpreted_type=described.get("type", ""),
        tags=tags | (dict(zip(CODE_KEYS, code, strict=True)) if code else {}),
    )


def _turned(described: wire.Message, reference: Volume) -> Callable[[np.ndarray], np.ndarray]:
    """The turn from an array of the described grid to the slices' own, which may run the other way along an axis."""
    own = Geometry(
        (int(described["shape"][0]), int(described["shape"][1]), int(described["shape"][2])),
        tuple(map(float, described["spacing"])),  # type: ignore[arg-type]
        tuple(map(float, described["origin"])),  # type: ignore[arg-type]
        tuple(map(float, described["direction"])),
    )
    across = np.linalg.inv(reference.geometry.index_to_world) @ own.index_to_world
    signs = np.sign(np.diag(across)[:3])
    lengths = np.array(own.shape[::-1])
    start = np.where(signs < 0, lengths - 1, 0)
    wanted = np.eye(4)
    wanted[:3, :3], wanted[:3, 3] = np.diag(signs), start
    if own.shape != reference.geometry.shape or np.abs(across - wanted).max() > 0.02:
        raise InputError(
            "The image does not lie on the voxels of its DICOM series any more (cropped, resampled or moved); export "
            "from the image as it was loaded."
        )
    flipped = tuple(int(axis) for axis in range(3) if signs[2 - axis] < 0)
    return lambda mask: np.flip(mask, flipped)
