"""Contents of a file or folder of any kind: what AdaptSAM would read of it, and what not, and why."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.intensity import unit_remarks
from adaptsam.image.remarks import Remark
from adaptsam.image.volume import Structure, StructureSet, Volume
from adaptsam.io.dicom.dicom_file import has_preamble, is_dicom, modality, quiet_pydicom, read_dicom
from adaptsam.io.dicom.rtstruct_reader import read_rois_of, roi_names, rtstruct_series
from adaptsam.io.dicom.series_reader import is_slice
from adaptsam.io.itk_images import SUFFIXES, image_size, itk_geometry, load_itk_image, read_itk_image
from adaptsam.io.labelmaps import distinct_color, gap_remarks
from adaptsam.io.mask_images import read_mask_picture
from adaptsam.io.seg_nrrd import has_segments, read_seg_nrrd
from adaptsam.io.video.frames import VIDEO_SUFFIXES, is_picture, opened_picture
from adaptsam.io.video.video_files import VideoFile
from adaptsam.io.written_files import describe_json, describe_model

#: An image of whole numbers with at most so many of them may be labels.
_FEW = 128
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".gz")
_MODELS = (".safetensors", ".pth", ".pt", ".ckpt")
_DICOM_KINDS = {
    "RTDOSE": "a dose, which AdaptSAM does not read",
    "RTPLAN": "a plan, which AdaptSAM does not read",
    "RTIMAGE": "a projection, which has no place among slices",
    "REG": "a registration, which AdaptSAM does not read; it registers by itself",
    "SR": "a report, which AdaptSAM does not read",
    "PR": "a presentation state, which AdaptSAM does not read",
}


@dataclass(frozen=True, eq=False)
class Contents:
    """Finding in one file.

    Attributes:
        kind: in words, as "RTSTRUCT" or "labelmap".
        facts: figures by their names.
        rows: what it holds, one by one: ROIs, segments, labels.
        image: where it can be an image.
        structures: where it has masks on a grid of its own.
        remarks: what would be left out or is in doubt.
        use: what to do with it, a sentence.
    """

    kind: str
    facts: Mapping[str, object] = field(default_factory=dict)
    rows: Sequence[dict[str, object]] = ()
    image: Volume | None = None
    structures: StructureSet | None = None
    remarks: tuple[Remark, ...] = ()
    use: str = ""


def file_contents(path: Path) -> Contents:
    """Describe a single file, unless it is a slice of a DICOM series.

    Raises:
        InputError: the file is not there or damaged.
    """
    name = path.name.lower()
    if not path.is_file():
        raise InputError(f"{path.name} does not exist; check the path.")
    if is_dicom(path):
        return _dicom(path)
    if name.endswith((".nrrd", ".nhdr")) and has_segments(path):
        return _segments(path)
    if name.endswith(SUFFIXES):
        return _grid_file(path)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _video(path)
    if is_picture(path):
        return _picture(path)
    return _other(path)


def folder_contents(folder: Path) -> list[dict[str, object]]:
    """The files beside DICOM slices in a folder and its subfolders, alike ones together, and what becomes of them."""
    rows: list[dict[str, object]] = []
    alike: Counter[tuple[str, str, str]] = Counter()
    for path in sorted(one for one in folder.rglob("*") if one.is_file() and not one.name.startswith(".")):
        place = str(path.parent.relative_to(folder))
        kind, use = _brief(path)
        if kind:
            alike[place, kind, use] += 1
            if alike[place, kind, use] == 1:
                size = _size(path)
                rows.append({"folder": place, "files": 0, "what": kind, "first": path.name, "size": size, "use": use})
    for row in rows:
        row["files"] = alike[str(row["folder"]), str(row["what"]), str(row["use"])]
    return rows


def _size(path: Path) -> str:
    """Columns, rows and slices of a volume or picture, how many structures a file names, or ""."""
    try:
        if path.name.lower().endswith(SUFFIXES):
            return "×".join(map(str, image_size(path)))
        if is_picture(path):
            with opened_picture(path) as image:
                return f"{image.width}×{image.height}"
        if is_dicom(path) and modality(read_dicom(path, tags=["Modality"])) == "RTSTRUCT":
            return f"{len(roi_names(path))} ROIs"
    except InputError as error:
        return str(error)
    return ""


@quiet_pydicom()
def _brief(path: Path) -> tuple[str, str]:
    """Name a file's kind by name and header, and what AdaptSAM does with it; "" for a slice of a series."""
    name = path.name.lower()
    if is_dicom(path):
        try:
            header = read_dicom(
                path, tags=["Modality", "SOPClassUID", "ImagePositionPatient", "Rows", "SeriesInstanceUID"]
            )
            if is_slice(header, path):
                return "", ""
        except InputError as error:
            return "DICOM", f"not read: {error}"
        kind = modality(header)
        if kind in ("RTSTRUCT", "SEG"):
            return kind, "structures: give it as --structures or --prior-mask"
        return f"DICOM {kind}", f"left out: {_DICOM_KINDS.get(kind, 'it is no slice with a place in the patient')}"
    if name.endswith(".seg.nrrd"):
        return "segmentation of 3D Slicer", "structures"
    if name.endswith(SUFFIXES):
        return "volume " + next(suffix for suffix in SUFFIXES if name.endswith(suffix)), "image or labelmap"
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return "video", "frames for 'adaptsam track'"
    if is_picture(path):
        return f"pictures {path.suffix.lower()}", "frames or masks for 'adaptsam track', or a data set"
    try:
        other = _other(path)
    except InputError as error:
        return f"file {path.suffix.lower()}", f"not read: {error}"
    return other.kind, other.use


@quiet_pydicom()
def _dicom(path: Path) -> Contents:
    header = read_dicom(path)
    kind = modality(header)
    if kind == "RTSTRUCT":
        return _rtstruct(path)
    if kind == "SEG":
        return _seg(path)
    use = _DICOM_KINDS.get(
        kind, "an object without slices that have a place in the patient, which AdaptSAM does not read"
    )
    return Contents(f"DICOM {kind}", {"preamble": has_preamble(path)}, use=f"It is {use}.")


def _rtstruct(path: Path) -> Contents:
    dataset, rois = read_rois_of(path, ())
    remarks: list[Remark] = []
    try:
        dataset, rois = read_rois_of(path)
    except InputError as error:
        if "one ROI number" not in str(error):
            raise
        remarks.append(Remark("ROIs", 1, str(error).rstrip("."), left_out=False))
    frames = list(dict.fromkeys(roi.frame for roi in rois))
    rows: list[dict[str, object]] = [
        {
            "structure": roi.name,
            "number": roi.number,
            "type": roi.interpreted_type,
            "contours": roi.drawn,
            "closed": len(roi.contours),
            "frame of reference": frames.index(roi.frame) + 1,
        }
        for roi in rois
    ]
    remarks += [remark for roi in rois for remark in roi.remarks]
    facts = {"ROIs": len(rois), "frames of reference": len(frames), "series it names": len(rtstruct_series(dataset))}
    return Contents(
        "RTSTRUCT",
        facts,
        rows,
        remarks=tuple(remarks),
        use="Volumes need the image it was drawn on: adaptsam info IMAGE --structures FILE.",
    )


def _seg(path: Path) -> Contents:
    dataset = read_dicom(path)
    try:
        rows: list[dict[str, object]] = [
            {
                "structure": str(segment.get("SegmentLabel", "") or ""),
                "number": int(segment.SegmentNumber),
                "description": str(segment.get("SegmentDescription", "") or ""),
            }
            for segment in dataset.SegmentSequence
        ]
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{path.name} is damaged: its segments cannot be read; export it again.") from None
    facts = {"segments": len(rows), "frames": frames, "type": str(dataset.get("SegmentationType", ""))}
    return Contents(
        "DICOM SEG",
        facts,
        rows,
        use="Volumes need the image it was made on: adaptsam info IMAGE --structures FILE.",
    )


def _segments(path: Path) -> Contents:
    image = load_itk_image(path)
    geometry = itk_geometry(image)
    own = Volume(np.broadcast_to(np.uint8(0), geometry.shape), geometry)
    structures = read_seg_nrrd(path, own)
    return Contents("segmentation of 3D Slicer", {}, structures=structures, remarks=structures.remarks)


def _grid_file(path: Path) -> Contents:
    size = image_size(path)
    try:
        volume = read_itk_image(path)
    except InputError as error:
        if "damaged" in str(error):
            raise
        return Contents("volume that is not read", {"size": size}, use=f"Not read: {error}")
    array, remarks = volume.array, [*volume.remarks, *unit_remarks(volume)]
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        lost = int(array.size - np.isfinite(array).sum())
        why = "an image with such voxels is refused; set them to air"
        return Contents(
            "image", {}, remarks=(Remark("voxels that are not a number", lost, why, left_out=False),), image=volume
        )
    labels = _labels(array)
    structures = None
    if labels:
        masks = tuple(
            Structure(f"label-{label}", array == label, distinct_color(n), number=label)
            for n, label in enumerate(labels)
        )
        structures = StructureSet(masks, volume.geometry)
        remarks += gap_remarks(masks)
    elif array.min() == array.max():
        remarks.append(
            Remark("voxels", array.size, "all have one value, so that there is nothing to see", left_out=False)
        )
    kind = "labelmap, or an image of few values" if labels else "image"
    return Contents(kind, {}, image=volume, structures=structures, remarks=tuple(remarks))


def _labels(array: np.ndarray) -> list[int]:
    """The labels that an image may hold; none where it is an image for sure."""
    if array.ndim != 3:
        return []
    part = np.unique(array[:: max(1, len(array) // 8)])
    if len(part) > _FEW or part[0] < 0 or (part != np.rint(part)).any():
        return []
    values = np.unique(array)
    few = len(values) <= _FEW and values[0] >= 0 and bool((values == np.rint(values)).all())
    return [int(value) for value in values if value > 0] if few else []


def _video(path: Path) -> Contents:
    video = VideoFile(path)
    facts = {"frames": len(video), "rows, columns": video.size, "frames per second": video.fps}
    return Contents("video", facts, remarks=video.remarks, use="Follow a structure in it with 'adaptsam track'.")


def _picture(path: Path) -> Contents:
    with opened_picture(path) as image:
        facts: dict[str, object] = {"rows, columns": (image.height, image.width), "colours": image.mode}
    try:
        masks = read_mask_picture(path)
    except InputError as error:
        return Contents("picture", facts, use=f"It is no mask: {error}")
    rows: list[dict[str, object]] = [{"structure": name, "pixels": int(mask.sum())} for name, mask in masks.items()]
    return Contents("picture, or a mask", facts, rows, remarks=masks.remarks)


def _other(path: Path) -> Contents:
    suffix = path.suffix.lower()
    if suffix in _ARCHIVES:
        return Contents("archive", _packed(path), use="Not read: unpack it first.")
    if suffix in _MODELS:
        kind, facts, use = describe_model(path)
        return Contents(kind, facts, use=use)
    if suffix == ".json":
        (kind, facts, use), rows = describe_json(path)
        return Contents(kind, facts, rows, use=use)
    if suffix == ".html":
        return Contents("page", {}, use="A report is opened in a browser.")
    return Contents(f"file {suffix}" if suffix else "file", {}, use="Not read: AdaptSAM reads no files of this kind.")


def _packed(path: Path) -> dict[str, object]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return {}
    kinds = Counter(Path(name).suffix.lower() for name in names)
    return {"files": len(names), "kinds": ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))}
