"""Slices that do not belong to the image of their series: localizers, copies, another matrix or orientation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from adaptsam.errors import GeometryError, InputError
from adaptsam.image.remarks import Remark

#: Orientations of one series may lie so far from their middle in each direction cosine: they are rounded, or jitter.
JITTER = 1e-3
_DIFFERENT = {
    "size": "The slices of the series differ in matrix or pixel size; choose a series of one kind.",
    "axes": "The slices of the series differ in orientation (a scout?); choose a series of one kind.",
}
# What all slices of one image share.
_SHARED = {"PatientID": "patients", "FrameOfReferenceUID": "frames of reference", "Modality": "modalities"}
# What else the values of a CT may be (PS3.3, C.11.1.1.2), dual-energy maps above all.
_NO_HOUNSFIELD = {
    "OD": "optical densities",
    "PCT": "percentages",
    "ED": "electron densities",
    "EDW": "electron densities",
    "Z_EFF": "effective atomic numbers",
    "MGML": "concentrations",
}
#: So many slices of the image must be there for each that is left out.
_MANY = 3


def slice_frame(dataset: Dataset) -> tuple[tuple[int, int], np.ndarray, np.ndarray, np.ndarray]:
    """Shape (J, I), spacing (j, i), the axes i and j (2, 3), and the position of one slice.

    Raises:
        InputError: a pixel has no size, or a negative one, which would mirror the image.
    """
    spacing = np.array([float(value) for value in dataset.PixelSpacing]).reshape(2)
    if not (np.isfinite(spacing) & (spacing > 0)).all():
        raise InputError("A slice has a pixel spacing that is not above 0; export the series again.")
    return (
        (int(dataset.Rows), int(dataset.Columns)),
        spacing,
        np.array([float(value) for value in dataset.ImageOrientationPatient]).reshape(2, 3),
        np.array([float(value) for value in dataset.ImagePositionPatient]).reshape(3),
    )


def image_slices(headers: Sequence[Dataset]) -> tuple[list[int], list[Remark]]:
    """The places of the slices that make up the image of a series, and what was left out.

    Raises:
        InputError: a header is damaged.
        GeometryError: so many slices differ that nobody can say which are the image's.
    """
    try:
        frames = [slice_frame(header) for header in headers]
        kept, remarks = _without_copies(headers)
        kept, about = _without_localizers(headers, kept)
    except (AttributeError, TypeError, ValueError):
        raise InputError("A slice lacks its position, orientation or pixel spacing; export the series again.") from None
    remarks += about
    groups: list[list[int]] = []
    for n in kept:
        for group in groups:
            if _difference(frames[n], frames[group[0]]) is None:
                group.append(n)
                break
        else:
            groups.append([n])
    groups.sort(key=len, reverse=True)
    main = groups[0]
    for other in groups[1:]:
        difference = _difference(frames[other[0]], frames[main[0]]) or "size"
        if _MANY * (len(kept) - len(main)) > len(main):
            raise GeometryError(_DIFFERENT[difference])
        why = "matrix or pixel size than the others" if difference == "size" else "orientation than the others"
        remarks.append(Remark("slices of the series", len(other), f"they have another {why} (a localizer?)"))
    return sorted(main), remarks


def different(remarks: Sequence[Remark]) -> str | None:
    """The refusal of a series of which slices were left out, and the rest makes up no grid; None where none were."""
    left = [remark for remark in remarks if remark.left_out]
    if not left:
        return None
    return _DIFFERENT["size" if any("matrix" in remark.why for remark in left) else "axes"]


def _without_copies(headers: Sequence[Dataset]) -> tuple[list[int], list[Remark]]:
    """Every object once: two files of one SOP Instance UID are the same image by the standard."""
    seen: dict[tuple[str, object, tuple], int] = {}
    for n, header in enumerate(headers):
        uid = str(header.get("SOPInstanceUID", ""))
        position = tuple(float(value) for value in header.ImagePositionPatient)
        seen.setdefault((uid or str(n), _frame(header, n), position), n)
    kept = sorted(seen.values())
    count = len(headers) - len(kept)
    return kept, [Remark("files", count, "they are copies of slices that are there already")] if count else []


def _frame(header: Dataset, n: int) -> object:
    """Frames of one object share its UID, and are no copies."""
    return n if int(header.get("NumberOfFrames") or 1) > 1 else 0


def _without_localizers(headers: Sequence[Dataset], kept: list[int]) -> tuple[list[int], list[Remark]]:
    scouts = [n for n in kept if _is_localizer(headers[n])]
    if not scouts:
        return kept, []
    if len(scouts) == len(kept):
        why = "all say that they are localizers"
        return kept, [Remark("slices", len(scouts), why, left_out=False)]
    rest = [n for n in kept if n not in set(scouts)]
    return rest, [Remark("slices of the series", len(scouts), "they are localizers")]


def _is_localizer(header: Dataset) -> bool:
    """Whether a slice says of itself that it is a localizer (a scout)."""
    return _is_called(header, "LOCALIZER")


def _is_called(header: Dataset, word: str) -> bool:
    return word in [str(one).upper() for one in _words(header.get("ImageType"))]


def _words(value: object) -> Sequence[object]:
    return [value] if isinstance(value, str) else list(value or ())  # type: ignore[call-overload]


def _difference(one: tuple, other: tuple) -> str | None:
    if one[0] != other[0] or not np.allclose(one[1], other[1], atol=1e-4):
        return "size"
    return None if np.allclose(one[2], other[2], rtol=0, atol=2 * JITTER) else "axes"


def check_one_image(headers: Sequence[Dataset]) -> list[Remark]:
    """A word where every slice has a frame of reference of its own, or a CT Hounsfield units of a kind of their own.

    Raises:
        InputError: the slices are of several patients, modalities or frames of reference, mosaics of many slices in one
            picture, or values of a CT that are no Hounsfield units.
    """
    if any(_is_called(header, "MOSAIC") for header in headers):
        raise InputError(
            "The series holds mosaics, many slices side by side in one picture; convert it with dcm2niix and give the "
            "NIfTI file."
        )
    remarks = []
    for keyword, what in _SHARED.items():
        told = {str(header.get(keyword)) for header in headers if header.get(keyword) not in (None, "")}
        if 1 < len(told) == len(headers) and keyword == "FrameOfReferenceUID":
            why = "each has a frame of reference of its own, as a poor anonymiser leaves it; they were taken as one"
            remarks.append(Remark("slices", len(headers), why, left_out=False))
        elif len(told) > 1:
            raise InputError(f"The slices of the series are of several {what}; keep those of one in a folder.")
    return remarks + _units(headers)


def _units(headers: Sequence[Dataset]) -> list[Remark]:
    if headers[0].get("Modality") != "CT":
        return []
    units = {str(header.get("RescaleType") or "").strip().upper() for header in headers} & {*_NO_HOUNSFIELD, "HU_MOD"}
    for unit in sorted(units & _NO_HOUNSFIELD.keys()):
        raise InputError(
            f"The values of the CT are {_NO_HOUNSFIELD[unit]} (RescaleType {unit}) and no Hounsfield units; choose the "
            "series that has them."
        )
    why = "they are modified Hounsfield units (RescaleType HU_MOD), and were taken as Hounsfield units"
    return [Remark("slices", len(headers), why, left_out=False)] if units else []


def rescale_remarks(headers: Sequence[Dataset]) -> list[Remark]:
    """A word where a CT or PET, which must tell how stored values become its units, does not, or a CT does so oddly.

    Raises:
        InputError: some slices tell it and others do not, so that they would not fit together.
    """
    lacking = Counter(
        keyword
        for header in headers
        for keyword in ("RescaleIntercept", "RescaleSlope")
        if header.get(keyword) in (None, "") and "ModalityLUTSequence" not in header
    )
    for keyword, count in lacking.items():
        if count < len(headers):
            raise InputError(f"{count} of {len(headers)} slices lack their {keyword}; export the series again.")
    kind = headers[0].get("Modality")
    if lacking and kind in ("CT", "PT"):
        why = f"they lack {' and '.join(lacking)}, so that stored values were taken as they are"
        return [Remark("slices", len(headers), why, left_out=False)]
    return [] if lacking or kind != "CT" else _odd_rescale(headers)


def _odd_rescale(headers: Sequence[Dataset]) -> list[Remark]:
    """Remarks on the rescaling of a CT that differs between slices, or turns dark into bright."""
    told = {(str(header.get("RescaleSlope")), str(header.get("RescaleIntercept"))) for header in headers}
    if any(slope.startswith("-") for slope, _ in told):
        why = "their RescaleSlope is negative, which turns dark into bright; it was applied"
        return [Remark("slices", len(headers), why, left_out=False)]
    if len(told) > 1:
        why = f"they have {len(told)} rescalings, and each was read by its own"
        return [Remark("slices", len(headers), why, left_out=False)]
    return []
