"""3D Slicer's ``.seg.nrrd``: named, coloured structures that may overlap, in as few label layers as they need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from adaptsam.errors import InputError, OutputError
from adaptsam.image.remarks import Remark
from adaptsam.image.resampling import grid_remarks, place_on_grid, set_upright, upright_grid
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.io.header_defaults import place_remarks
from adaptsam.io.itk_headers import check_header
from adaptsam.io.itk_images import itk_geometry, load_itk_image
from adaptsam.io.labelmaps import gap_remarks
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
    told = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys() if key.endswith("Representation")}
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
    remarks = [*place_remarks(path), *grid_remarks(geometry, reference.geometry)]
    fractions = any("Fractional" in value for value in told.values()) or not _are_labels(layers)
    if fractions:
        half = _half(layers)
        on_grid = [layer >= half for layer in on_grid]
        why = f"they are fractions, and what is at least half inside ({half:g} or more) counts as inside"
        remarks.append(Remark("segments", len(numbers), why, left_out=False))
    places = [_place(fields, number, len(on_grid), fractions, path) for number in numbers]
    structures = tuple(
        _structure(fields, number, on_grid[layer] == label, path)
        for number, (layer, label) in zip(numbers, places, strict=True)
    )
    remarks += [*_label_remarks(structures, places, on_grid), *gap_remarks(structures)]
    return StructureSet(structures, reference.geometry, remarks=tuple(remarks))


def _are_labels(layers: np.ndarray) -> bool:
    return layers.dtype.kind in "iu" or bool((layers == np.rint(layers)).all())


def _half(layers: np.ndarray) -> float:
    """Half inside, in the values that Slicer gives fractions: -108 to 108, 0 to 216 or 0 to 1; or 0 to 255."""
    low, high = float(layers.min()), float(layers.max())
    if low < 0:
        return 0.0
    if high <= 1:
        return 0.5 if layers.dtype.kind == "f" else 1.0
    return 108.0 if high <= 216 else 127.5


def _place(fields: Mapping[str, str], number: int, layers: int, fractions: bool, path: Path) -> tuple[int, int]:
    """The layer and label of a segment; before Slicer 4.11, every segment had a layer of its own, and none was told."""
    own = str(number) if layers > 1 else "0"
    try:
        layer = int(fields.get(f"Segment{number}_Layer", own))
        label = int(fields.get(f"Segment{number}_LabelValue", "1"))
        if not 0 <= layer < layers or label < 1:  # 0 is what is outside of all
            raise ValueError
    except ValueError:
        raise InputError(f"{path.name} describes segment {number} wrongly; save it again from 3D Slicer.") from None
    return layer, 1 if fractions else label


def _label_remarks(
    structures: Sequence[Structure], places: Sequence[tuple[int, int]], layers: Sequence[np.ndarray]
) -> list[Remark]:
    """Segments that are one in the file, and labels that belong to none."""
    remarks = []
    for place in dict.fromkeys(place for place in places if places.count(place) > 1):
        names = ", ".join(repr(one.name) for one, other in zip(structures, places, strict=True) if other == place)
        why = "they have one layer and one label, so that they hold the same voxels"
        remarks.append(Remark(f"segments {names}", places.count(place), why, left_out=False))
    for number, layer in enumerate(layers):
        own = {place: one for one, place in zip(structures, places, strict=True) if place[0] == number}
        lost = int(np.count_nonzero(layer)) - sum(int(np.count_nonzero(one.mask)) for one in own.values())
        if lost > 0:
            remarks.append(Remark(f"voxels of layer {number}", lost, "no segment has their label"))
    return remarks


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
    return any(re.fullmatch(r"Segment\d+_ID", key) for key in reader.GetMetaDataKeys())


def _structure(fields: Mapping[str, str], number: int, mask: np.ndarray, path: Path) -> Structure:
    def value(name: str, default: str) -> str:
        return fields.get(f"Segment{number}_{name}", default)

    try:
        red, green, blue = (round(255 * float(part)) for part in value("Color", "0.86 0.16 0.16").split())
    except ValueError:
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
