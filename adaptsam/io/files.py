"""Reading and writing by what a path is: the only place that chooses a format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from adaptsam.errors import GeometryError, InputError
from adaptsam.image.remarks import Remark
from adaptsam.image.resampling import set_upright
from adaptsam.image.structure_names import asked_names, find_name, name_remarks, numbered_names, select_structures
from adaptsam.image.volume import DicomSource, StructureSet, Volume
from adaptsam.io.dicom.dicom_file import is_dicom, read_dicom
from adaptsam.io.dicom.dicom_volume import read_series_files
from adaptsam.io.dicom.rtstruct_reader import read_rtstruct, roi_names, rtstruct_series
from adaptsam.io.dicom.rtstruct_writer import write_rtstruct
from adaptsam.io.dicom.seg_reader import read_dicom_seg, seg_series
from adaptsam.io.dicom.series_reader import SeriesInfo, dicom_paths, dicom_source, find_series, list_series
from adaptsam.io.itk_images import SUFFIXES, read_itk_image, write_itk_image
from adaptsam.io.labelmaps import read_labelmap, write_labelmap
from adaptsam.io.seg_nrrd import has_segments, read_seg_nrrd, write_seg_nrrd
from adaptsam.io.video.frames import PICTURE_SUFFIXES, VIDEO_SUFFIXES, Frames, PictureFolder, pictures_in
from adaptsam.progress import Progress, silent

_KNOWN = "DICOM, " + ", ".join(SUFFIXES)


def read_volume(path: str | Path, series: str | int | None = None) -> Volume:
    """An image with its geometry.

    Args:
        path: a folder of DICOM slices, one of the slices, or a NIfTI, NRRD or MetaImage file.
        series: UID or number of the DICOM series, where a folder holds several; "4#2" is the second image of series 4.

    Returns:
        CT in HU. Geometry in LPS mm. What was left out or is in doubt stands in its ``remarks``.

    Raises:
        InputError: the path cannot be used, or the image holds NaN or one value only.
        GeometryError: DICOM slices that do not make up an even grid; an evenly sheared one is kept as it is.
    """
    return find_image(path, series).read()


@dataclass(frozen=True)
class ImageSource:
    """An image that was found, and is read when it is requested: of many, one at a time is in memory.

    Attributes:
        path: what was given.
        title: what to call it.
        files: of a DICOM series.
        dicom: what the first of them says of the patient and the series; None for other formats.
        modality: "CT", "MR", …, where it is told better than by the file.
        remarks: what was left out where it was found.
    """

    path: Path
    title: str = ""
    files: tuple[Path, ...] = field(default=(), repr=False)
    dicom: DicomSource | None = field(default=None, repr=False)
    modality: str = ""
    remarks: tuple[Remark, ...] = field(default=(), repr=False)

    def read(self) -> Volume:
        """The image; raises as :func:`read_volume` does."""
        volume = read_series_files(self.files) if self.files else read_itk_image(self.path)
        _check_values(volume.array, self.path)
        return replace(volume, modality=self.modality or volume.modality, remarks=(*self.remarks, *volume.remarks))


def series_source(path: Path, info: SeriesInfo, title: str = "") -> ImageSource:
    """A DICOM series, not yet read."""
    return ImageSource(path, title, info.files, dicom_source([read_dicom(info.files[0])]), remarks=info.remarks)


def find_image(path: str | Path, series: str | int | None = None, title: str = "") -> ImageSource:
    """An image as :func:`read_volume` would read it, checked as far as that is possible without its pixels.

    Raises:
        InputError: the path cannot be used.
    """
    path = as_path(path)
    _check_exists(path)
    if holds_frames(path):
        raise InputError(f"{path.name} holds frames and not a volume; `adaptsam track` follows structures in a video.")
    if path.is_dir() or is_dicom(path) or path.suffix.lower() == ".dcm":
        return series_source(path, find_series(path, series), title)
    if path.name.lower().endswith(".seg.nrrd"):
        raise InputError(f"{path.name} holds structures, not an image; choose the image they were drawn on.")
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"{path.name} is of no known kind; give one of {_KNOWN}.")
    return ImageSource(path, title)


def holds_frames(path: str | Path) -> bool:
    """Whether a path is a video file, or a folder of pictures without DICOM."""
    path = Path(path)
    if path.is_dir():
        return bool(pictures_in(path)) and not dicom_paths(path)
    return path.suffix.lower() in VIDEO_SUFFIXES


def read_frames(path: str | Path, progress: Progress = silent) -> Frames:
    """The frames of a video file or of a folder of pictures, read one at a time when they are requested.

    Args:
        path: the file or folder.
        progress: receives "reading" while every frame is checked once; may cancel.

    Raises:
        InputError: the path cannot be used, a frame cannot be read, or frames differ in size.
    """
    path = as_path(path)
    _check_exists(path)
    if path.is_dir():
        return PictureFolder(path, progress)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        raise InputError(f"{path.name} is one picture; give the folder with all of them, or a video.")
    from adaptsam.io.video.video_files import VideoFile  # PyAV, which folders of frames do not need

    return VideoFile(path, progress)


def read_structures(
    path: str | Path, reference: Volume | str | Path, names: Sequence[str] | str | None = None
) -> StructureSet:
    """Structures on the grid of the image that they were drawn on.

    Args:
        path: an RTSTRUCT or DICOM SEG, a folder with exactly one, a ``.seg.nrrd``, or a labelmap in NRRD, NIfTI or
            MetaImage.
        reference: the image, or its path.
        names: only these, as :func:`select_structures` finds them. The others of an RTSTRUCT may lie anywhere then.

    Returns:
        A set on the grid of ``reference``, to the last bit, in which every name is there once. Structures of a labelmap
        are called ``label-1``, … What was left out or is in doubt stands in its ``remarks``.

    Raises:
        InputError: the path cannot be used, or one of ``names`` is not there or empty.
        GeometryError: the structures do not lie on the image.
    """
    image = reference if isinstance(reference, Volume) else read_volume(reference)
    asked = None if names is None else asked_names(names)
    path = _structures_file(path)
    if is_dicom(path) or path.suffix.lower() == ".dcm":
        if read_dicom(path, tags=["Modality"]).get("Modality") == "SEG":
            return _chosen(read_dicom_seg(path, image), asked)
        return _read_rtstruct(path, image, asked)
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(
            f"{path.name} is of no known kind; give RTSTRUCT, DICOM SEG, .seg.nrrd or one of {', '.join(SUFFIXES)}."
        )
    if path.name.lower().endswith((".nrrd", ".nhdr")) and has_segments(path):
        return _chosen(read_seg_nrrd(path, image), asked)
    return _chosen(read_labelmap(path, image), asked)


def _structures_file(path: str | Path) -> Path:
    path = as_path(path)
    _check_exists(path)
    return _only_structures(path) if path.is_dir() else path


def _read_rtstruct(path: Path, image: Volume, names: Sequence[str] | None) -> StructureSet:
    """Read the ROIs that are requested alone, in that order."""
    if names is None:
        return read_rtstruct(path, image)
    available = roi_names(path)
    places = list(dict.fromkeys(find_name(name, available) for name in names))
    read = read_rtstruct(path, image, places)
    by_place = dict(zip(sorted(places), read.structures, strict=True))
    return select_structures(
        replace(read, structures=tuple(by_place[place] for place in places)), [by_place[place].name for place in places]
    )


def _chosen(whole: StructureSet, names: Sequence[str] | None) -> StructureSet:
    """The structures of these names, or all under names that are there once."""
    if names is not None:
        return select_structures(whole, names)
    unique = numbered_names(whole.names)
    structures = tuple(replace(one, name=name) for one, name in zip(whole.structures, unique, strict=True))
    about = name_remarks(whole.names, range(len(unique)))
    return replace(whole, structures=structures, remarks=(*whole.remarks, *about))


def drawn_on(path: str | Path) -> list[str]:
    """The UIDs of the image series that an RTSTRUCT or DICOM SEG names; none for other files."""
    place = Path(path).absolute()
    _check_exists(place)
    if place.is_dir():
        place = _only_structures(place)
    if not is_dicom(place):
        return []
    dataset = read_dicom(place)
    modality = dataset.get("Modality")
    if modality == "SEG":
        return seg_series(dataset)
    return rtstruct_series(dataset) if modality == "RTSTRUCT" else []


def series_drawn_on(folder: str | Path, structures: str | Path) -> str | None:
    """The UID of the one series, of several in a folder, that an RTSTRUCT or DICOM SEG names; None where not one is."""
    series = list_series(folder)
    if len(series) < 2:
        return None
    named = drawn_on(structures)
    found = [info.uid for info in series if info.uid in named]
    return found[0] if len(found) == 1 else None


def write_volume(path: str | Path, volume: Volume, *, overwrite: bool = False) -> None:
    """Write an image as NRRD, NIfTI or MetaImage, by the suffix; for DICOM see :func:`write_dicom_series`.

    A sheared volume (of a tilted gantry) is set upright, because these formats cannot hold it.

    Raises:
        InputError: the suffix is unknown.
        OutputError: the file is there already or cannot be written.
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES) or path.name.lower().endswith(".seg.nrrd"):
        raise InputError(f"{path.name} has no suffix for an image; use one of {', '.join(SUFFIXES)}.")
    array, geometry = set_upright(volume.array, volume.geometry, fill=float(volume.array.min()))
    write_itk_image(path, array, geometry, overwrite=overwrite)


def write_structures(
    path: str | Path,
    structures: StructureSet | Mapping[str, np.ndarray] | np.ndarray,
    reference: Volume | str | Path,
    *,
    model: str = "",
    overwrite: bool = False,
) -> None:
    """Write structures in the format that the suffix names.

    RTSTRUCT is ``.dcm``, DICOM SEG ``.seg.dcm``, 3D Slicer's file ``.seg.nrrd``; ``.nrrd``, ``.nii.gz``, … hold labels.
    Of a sheared image (of a tilted gantry) the DICOM objects lie on its own slices, the others on an upright grid.

    Args:
        path: the file.
        structures: on the grid of ``reference``; also a dictionary of name and mask (K, J, I), or one mask.
        reference: the image, or its path; for RTSTRUCT and SEG it must be from DICOM.
        model: SHA-256 of the model that made the structures, written where the format has a place for it.
        overwrite: replace an existing file.

    Raises:
        InputError: the suffix is unknown, or the format cannot hold these structures.
        GeometryError: the structures lie on another grid.
        OutputError: the file is there already or cannot be written.
    """
    from adaptsam.io.inputs import as_structures, as_volume  # which read files, with this module

    path = Path(path)
    reference = as_volume(reference)
    structures = as_structures(structures, reference)
    name = path.name.lower()
    shape = reference.geometry.shape
    if not structures.geometry.matches(reference.geometry) or any(s.mask.shape != shape for s in structures.structures):
        raise GeometryError("The structures lie on another grid than the image; write them with the image they are on.")
    if name.endswith(".seg.dcm"):
        from adaptsam.io.dicom.seg_writer import write_dicom_seg  # needs highdicom, which reading does not

        write_dicom_seg(path, structures, reference, model=model, overwrite=overwrite)
    elif name.endswith(".dcm"):
        write_rtstruct(path, structures, reference, model=model, overwrite=overwrite)
    elif name.endswith(".seg.nrrd"):
        write_seg_nrrd(path, structures, reference.geometry, model=model, overwrite=overwrite)
    elif name.endswith(SUFFIXES):
        write_labelmap(path, structures, reference.geometry, overwrite=overwrite)
    else:
        raise InputError(
            f"{path.name} has no suffix for structures; use .dcm, .seg.dcm, .seg.nrrd, {', '.join(SUFFIXES)}."
        )


def as_path(given: Any) -> Path:
    """An absolute path.

    Raises:
        InputError: it is none.
    """
    if not isinstance(given, str | PathLike):
        raise InputError(f"A path is text, as 'planning_ct', and not of type {type(given).__name__}; give one.")
    return Path(given).absolute()


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path.name} does not exist; check the path.")
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{path.name} is not a file; check the path.")


def _check_values(array: np.ndarray, path: Path) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise InputError(f"{path.name} has {count} voxels that are not a number; export it again, or set them to air.")
    if array.min() == array.max():
        raise InputError(f"{path.name} has the same value everywhere; choose an image that shows something.")


def _only_structures(folder: Path) -> Path:
    kinds = {path: read_dicom(path, tags=["Modality"]).get("Modality") for path in dicom_paths(folder)}
    found = [path for path, kind in kinds.items() if kind in ("RTSTRUCT", "SEG")]
    if len(found) != 1:
        names = f" ({', '.join(path.name for path in found)})" if found else ""
        raise InputError(f"{folder.name} holds {len(found)} RTSTRUCT or SEG files{names}; give the path of one.")
    return found[0]
