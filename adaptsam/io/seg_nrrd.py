"""3D Slicer's ``.seg.nrrd``: named, coloured structures that may overlap, in as few label layers as they need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from adaptsam.errors import InputError, OutputError
from adaptsam.image.resampling import place_on_grid, set_upright, upright_grid
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.io.itk_headers import check_header
from adaptsam.io.itk_images import itk_geometry, load_itk_image
from adaptsam.io.native_stderr import quiet_libraries
from adaptsam.io.nrrd_header import keep_grid
from adaptsam.provenance import NOTICE, software
from adaptsam.storage.output_staging import staged_file

# What a structure has and the format has no field for travels in tags of our own.
_NUMBER, _TYPE, _ID = "AdaptSAM.RoiNumber", "AdaptSAM.InterpretedType", "AdaptSAM.SegmentID"


def read_seg_nrrd(path: Path, reference: Volume) -> StructureSet:
    """The segments of a file that has segment names.

    Raises:
        InputError: the file cannot be read or holds no segment.
        GeometryError: it lies on another grid than ``reference``.
    """
    image = load_itk_image(path)
    fields = {
        key: image.GetMetaData(key) for key in image.GetMetaDataKeys() if key.startswith("Segment") and key.isascii()
    }
    layers = sitk.GetArrayFromImage(image)
    layers = layers if layers.ndim == 4 else layers[..., None]
    geometry = itk_geometry(image)
    on_grid = [
        place_on_grid(layers[..., number], geometry, reference.geometry, path.name) for number in range(layers.shape[3])
    ]
    numbers = sorted(int(match[1]) for key in fields if (match := re.fullmatch(r"Segment(\d+)_ID", key)))
    if not numbers:
        raise InputError(f"{path.name} holds no segment; choose another file.")
    return StructureSet(tuple(_structure(fields, number, on_grid, path) for number in numbers), reference.geometry)


def has_segments(path: Path) -> bool:
    """Whether an NRRD file names segments, whatever its suffix.

    Raises:
        InputError: its header is damaged.
    """
    check_header(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO")
    reader.SetFileName(str(path))
    try:
        with quiet_libraries():
            reader.ReadImageInformation()
    except RuntimeError:
        return False
    return "Segment0_ID" in reader.GetMetaDataKeys()


def _structure(fields: Mapping[str, str], number: int, layers: Sequence[np.ndarray], path: Path) -> Structure:
    def value(name: str, default: str) -> str:
        return fields.get(f"Segment{number}_{name}", default)

    try:
        mask = layers[int(value("Layer", "0"))] == int(value("LabelValue", "1"))
        red, green, blue = (round(255 * float(part)) for part in value("Color", "0.86 0.16 0.16").split())
    except (ValueError, IndexError):
        raise InputError(f"{path.name} describes segment {number} wrongly; save it again from 3D Slicer.") from None
    tags = dict(part.split(":", 1) for part in value("Tags", "").split("|") if ":" in part)
    roi_number, interpreted_type = tags.pop(_NUMBER, ""), tags.pop(_TYPE, "")
    tags[_ID] = value("ID", "")
    return Structure(
        name=value("Name", value("ID", f"segment-{number}")),
        mask=mask,
        color=(red, green, blue),
        number=int(roi_number) if roi_number.isdigit() else None,
        interpreted_type=interpreted_type,
        tags=tags,
    )


def write_seg_nrrd(
    path: Path, structures: StructureSet, geometry: Geometry, *, model: str = "", overwrite: bool = False
) -> None:
    """Write every structure, the empty ones too.

    Args:
        path: the file.
        structures: on the grid ``geometry``.
        geometry: of the image, to its last bit; a sheared one is set upright.
        model: hash of the model that made the structures.
        overwrite: replace an existing file.
    """
    if geometry.is_sheared:
        upright = [replace(one, mask=set_upright(one.mask, geometry, nearest=True)[0]) for one in structures.structures]
        grid = upright_grid(geometry)
        write_seg_nrrd(path, StructureSet(tuple(upright), grid), grid, model=model, overwrite=overwrite)
        return
    layers, places = _pack(structures.structures, geometry.shape)
    image = sitk.GetImageFromArray(layers if layers.shape[3] > 1 else layers[..., 0], isVector=layers.shape[3] > 1)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    image.SetMetaData("Segmentation_SourceRepresentation", "Binary labelmap")
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    image.SetMetaData("Segmentation_ContainedRepresentationNames", "Binary labelmap|")
    image.SetMetaData("Segmentation_ReferenceImageExtentOffset", "0 0 0")
    image.SetMetaData("AdaptSAM_Notice", NOTICE)
    image.SetMetaData("AdaptSAM_Software", software(model))
    for number, (structure, (layer, label)) in enumerate(zip(structures.structures, places, strict=True)):
        for name, value in _fields(structure, number, layer, label).items():
            image.SetMetaData(f"Segment{number}_{name}", value)
    with staged_file(path, overwrite=overwrite) as staged:
        try:
            sitk.WriteImage(image, str(staged), useCompression=True)
        except RuntimeError:
            raise OutputError(f"{path.name} cannot be written; check the space left on the disk.") from None
        keep_grid(staged, geometry, layers=layers.shape[3] > 1)


def _pack(structures: Sequence[Structure], shape: tuple[int, int, int]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Label layers (K, J, I, L), and each structure's layer and label: the first layer where it overlaps nothing."""
    dtype = np.uint8 if len(structures) < 256 else np.uint16
    layers: list[np.ndarray] = [np.zeros(shape, dtype)]
    counts = [0]
    places = []
    for structure in structures:
        free = (number for number, layer in enumerate(layers) if not layer[structure.mask].any())
        layer = next(free, len(layers))
        if layer == len(layers):
            layers.append(np.zeros(shape, dtype))
            counts.append(0)
        counts[layer] += 1
        layers[layer][structure.mask] = counts[layer]
        places.append((layer, counts[layer]))
    return np.stack(layers, axis=-1), places


def _fields(structure: Structure, number: int, layer: int, label: int) -> dict[str, str]:
    tags = {key: value for key, value in structure.tags.items() if key != _ID}
    if structure.number is not None:
        tags[_NUMBER] = str(structure.number)
    if structure.interpreted_type:
        tags[_TYPE] = structure.interpreted_type
    return {
        "ID": structure.tags.get(_ID) or f"Segment_{number + 1}",
        "Name": " ".join(structure.name.split()),
        "NameAutoGenerated": "0",
        "Color": " ".join(f"{value / 255:.6g}" for value in structure.color),
        "ColorAutoGenerated": "0",
        "Extent": _extent(structure.mask),
        "Layer": str(layer),
        "LabelValue": str(label),
        "Tags": "".join(f"{key}:{value}|" for key, value in tags.items()),
    }


def _extent(mask: np.ndarray) -> str:
    """First and last i, j and k; Slicer's way to say empty is 0 to -1."""
    ends = []
    for axis in (2, 1, 0):
        used = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        ends += [int(used[0]), int(used[-1])] if len(used) else [0, -1]
    return " ".join(map(str, ends))
