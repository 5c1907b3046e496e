"""RTSTRUCT in: the contours of a DICOM structure set as masks on an image."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

from adaptsam.errors import GeometryError, InputError
from adaptsam.image.patient_identity import identity_remarks, same_person
from adaptsam.image.remarks import Remark
from adaptsam.image.structure_names import name_remarks, numbered_names
from adaptsam.image.volume import DicomSource, Structure, StructureSet, Volume
from adaptsam.io.dicom.contour_planes import draw_roi
from adaptsam.io.dicom.dicom_file import modality, quiet_pydicom, read_dicom
from adaptsam.io.dicom.roi_items import Contour, Roi, item_frames, item_names, orphans, read_rois
from adaptsam.io.labelmaps import distinct_color

_log = logging.getLogger(__name__)


def roi_names(path: Path) -> tuple[str, ...]:
    """The names of the ROIs of an RTSTRUCT in the order of the file, as it has them; contours are not read.

    Raises:
        InputError: the file cannot be read or its ROIs are damaged.
    """
    dataset = read_dicom(path, tags=["StructureSetROISequence"])
    try:
        with quiet_pydicom():
            return tuple(item_names(dataset))
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{path.name} is damaged: its structures cannot be read; export it again.") from None


def read_rois_of(path: Path, places: Collection[int] | None = None) -> tuple[FileDataset, list[Roi]]:
    """The data set of an RTSTRUCT, and its ROIs of these places, all by default, in the order of the file.

    ROIs that share a name are numbered, "GTV" and "GTV (2)", whichever of them are requested.

    Raises:
        InputError: the file is no RTSTRUCT or damaged, or a number stands for several ROIs that are requested.
    """
    dataset = read_dicom(path)
    if dataset.get("Modality") != "RTSTRUCT":
        raise InputError(f"{path.name} is a DICOM {modality(dataset)} object; choose an RTSTRUCT or SEG.")
    try:
        with quiet_pydicom():
            return dataset, read_rois(dataset, numbered_names(item_names(dataset)), places)
    except (AttributeError, TypeError, ValueError, IndexError):
        raise InputError(f"{path.name} is damaged: its contours cannot be read; export it again.") from None


@quiet_pydicom()
def read_rtstruct(path: Path, reference: Volume, places: Collection[int] | None = None) -> StructureSet:
    """The ROIs of an RTSTRUCT on the grid of the image that they were drawn on.

    ``Structure.contoured`` holds the slices with contours; see :func:`.contour_planes.draw_roi` for which these are.
    Contours of one slice combine by exclusive or (see :func:`.contours.fill_contours`). An ROI of another frame of
    reference than the image, and one whose contours are all points or open, is left out; one without contours is empty.

    Args:
        path: the file.
        reference: the image.
        places: of the ROIs wanted, in the order of the file from 0; all by default.

    Raises:
        InputError: the file is no RTSTRUCT, is damaged, or holds no closed contour; an ROI requested is left out.
        GeometryError: the contours do not lie on the slices of ``reference``, or belong to another patient.
    """
    dataset, rois = read_rois_of(path, places)
    try:
        source = _source(dataset)
        remarks = orphans(dataset) if places is None else []
        remarks += name_remarks(item_names(dataset), [roi.place for roi in rois])
        frames = item_frames(dataset)
    except (AttributeError, TypeError, ValueError, IndexError):
        raise InputError(f"{path.name} is damaged: its contours cannot be read; export it again.") from None
    asked = [] if places is None else rois
    _check_drawn(path, rois, asked)
    kept, strict, about_frames = _in_frame(rois, frames, dataset, source, reference, path)
    for roi in asked:
        if roi not in kept:
            raise GeometryError(f"{roi.name!r} of {path.name} cannot be read on this image: {about_frames[0].why}.")
    if about_frames and not any(roi.contours for roi in kept):
        raise GeometryError(f"No structure of {path.name} can be read on this image: {about_frames[0].why}.")
    remarks += [*about_frames, *_series_remarks(dataset, reference), *identity_remarks(source, reference.dicom)]
    structures = []
    for roi in kept:
        remarks += roi.remarks
        if roi.contours or not roi.drawn:
            structure, about = _structure(roi, reference, strict=strict)
            structures.append(structure)
            remarks += about
    return StructureSet(tuple(structures), reference.geometry, source, tuple(remarks))


def _check_drawn(path: Path, rois: Sequence[Roi], asked: Sequence[Roi]) -> None:
    for roi in asked:
        if not roi.contours:
            reasons = " and ".join(f"{one.what} ({one.count}), as {one.why}" for one in roi.remarks if one.left_out)
            raise InputError(
                f"{path.name} holds no closed contour of {roi.name!r}"
                f"{f' (left out: {reasons})' if reasons else ''}; choose another structure."
            )
    if not any(roi.contours for roi in rois):
        raise InputError(f"{path.name} holds no closed contour; choose another structure set.")


def _source(dataset: Dataset) -> DicomSource:
    frames, series = _references(dataset)
    return DicomSource(
        patient_id=str(dataset.get("PatientID", "")),
        study_uid=str(dataset.get("StudyInstanceUID", "")),
        series_uid=series[0] if series else "",
        frame_of_reference_uid=frames[0] if frames else "",
        study_date=str(dataset.get("StudyDate", "")),
    )


@quiet_pydicom()
def rtstruct_series(dataset: Dataset) -> list[str]:
    """The UIDs of the image series that an RTSTRUCT names."""
    return _references(dataset)[1] if "StructureSetROISequence" in dataset else []


def _references(dataset: Dataset) -> tuple[list[str], list[str]]:
    """The frames of reference and the image series that the file names."""
    frames = item_frames(dataset)
    series = []
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        frames.append(str(frame.get("FrameOfReferenceUID", "")))
        for study in frame.get("RTReferencedStudySequence") or ():
            series += [str(item.SeriesInstanceUID) for item in study.get("RTReferencedSeriesSequence") or ()]
    return [frame for frame in dict.fromkeys(frames) if frame], series


def _in_frame(
    rois: Sequence[Roi],
    frames: Sequence[str],
    dataset: Dataset,
    source: DicomSource,
    reference: Volume,
    path: Path,
) -> tuple[list[Roi], bool, list[Remark]]:
    """The ROIs that lie on the image, whether position alone has to tell so, and those that belong to another frame.

    ``frames`` are those of all ROIs of the file, also of those that nobody requested.
    """
    image = reference.dicom
    own = image.frame_of_reference_uid if image is not None else ""
    known, _ = _references(dataset)
    if own and own in known:
        others = [roi for roi in rois if roi.frame not in ("", own)]
        names = ", ".join(repr(roi.name) for roi in others)
        why = "the file places it in another frame of reference, which tells nothing of where it lies on this image"
        about = [Remark(f"ROIs {names}", len(others), why)] if others else []
        untold = [roi for roi in rois if not roi.frame]
        if untold:
            why = f"the file does not tell in which of its {len(known)} frames of reference; the image's was taken"
            about.append(
                Remark(f"ROIs {', '.join(repr(roi.name) for roi in untold)}", len(untold), why, left_out=False)
            )
        return [roi for roi in rois if roi not in others], False, about
    if image is not None and same_person(source, image) is False:
        raise GeometryError(f"{path.name} belongs to another patient than the image; choose the matching pair.")
    if len({roi.frame for roi in rois if roi.contours}) > 1:
        raise GeometryError(
            f"{path.name} has ROIs in {len(set(frames))} frames of reference, and none is known to be the image's; "
            "choose the image that they were drawn on, or those of one frame with --structure."
        )
    if image is None:
        return list(rois), True, []
    why = "the file names another frame of reference than the image's, and their position matches its slices"
    return list(rois), True, [Remark("ROIs", len(rois), why, left_out=False)]


def _series_remarks(dataset: Dataset, reference: Volume) -> list[Remark]:
    """A word where the file names other series than the image's, of the same frame of reference."""
    image, (frames, series) = reference.dicom, _references(dataset)
    if image is not None and image.series_uid not in series:
        _log.warning("The RTSTRUCT names another series than the image; its contours are matched by position.")
    if image is None or not series or image.series_uid in series or image.frame_of_reference_uid not in frames:
        return []
    why = "the file names another series than the image, and their position was trusted"
    return [Remark("ROIs", len(dataset.StructureSetROISequence), why, left_out=False)]


def _structure(roi: Roi, reference: Volume, *, strict: bool) -> tuple[Structure, list[Remark]]:
    mask, contoured, remarks = draw_roi(roi, reference.geometry, strict=strict)
    elsewhere = sum(1 for contour in roi.contours if _is_elsewhere(contour, reference))
    if elsewhere:
        why = "they name another slice than the one where they lie, and their position was trusted"
        remarks.append(Remark(f"contours of {roi.name!r}", elsewhere, why, left_out=False))
    structure = Structure(
        name=roi.name,
        mask=mask,
        color=roi.color or distinct_color(roi.place),
        number=roi.number,
        interpreted_type=roi.interpreted_type,
        contoured=contoured,
        tags=roi.codes,
    )
    return structure, remarks


def _is_elsewhere(contour: Contour, reference: Volume) -> bool:
    """Whether a contour names one slice of the image, and lies a slice or more from it."""
    uids = reference.dicom.sop_instance_uids if reference.dicom is not None else ()
    if uids.count(contour.slice_uid) != 1:
        return False
    height = float(reference.geometry.index(contour.points)[:, 2].mean())
    return abs(height - uids.index(contour.slice_uid)) >= 1
