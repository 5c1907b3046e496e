"""The volume that the files of a DICOM series make up, read slice by slice into one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from adaptsam.errors import GeometryError, InputError
from adaptsam.image.remarks import Remark
from adaptsam.image.volume import Geometry, Volume
from adaptsam.io.dicom.cone_beam import is_cone_beam_header
from adaptsam.io.dicom.dicom_file import quiet_pydicom, read_dicom
from adaptsam.io.dicom.multiframe import frame_headers, holds_frames
from adaptsam.io.dicom.odd_slices import check_one_image, different, image_slices, rescale_remarks
from adaptsam.io.dicom.pixel_data import padding, rescaled, some_frames, stored_frames
from adaptsam.io.dicom.series_parts import find_parts, mixed_by
from adaptsam.io.dicom.series_reader import dicom_source, series_geometry

# Of these, values mean something whatever is shown white: Hounsfield units, activity.
_PHYSICAL = ("CT", "PT", "NM")


@dataclass(frozen=True, eq=False)
class _Slice:
    """Slice of the volume: its header, its file, and its frame there, from 0."""

    header: Dataset
    path: Path
    frame: int
    of_many: bool


@quiet_pydicom()
def read_series_files(files: Sequence[Path]) -> Volume:
    """The volume that the files of one series make up, CT in Hounsfield units, with what was left out of it.

    Memory while reading is that of the array and, where its type proves too small for a later slice, half as much.

    Raises:
        InputError: files that cannot be used.
        GeometryError: slices that do not make up an even grid.
    """
    found = [one for path in files for one in _slices(path)]
    kept, remarks = image_slices([one.header for one in found])
    _check_copies(found, kept)
    slices = [found[n] for n in kept]
    headers = [one.header for one in slices]
    _check_parts(headers, slices[0].of_many)
    geometry, order = _grid(headers, different(remarks))
    ordered = [slices[n] for n in order]
    remarks += [*check_one_image(headers), *rescale_remarks(headers), *_mixed(headers)]
    remarks += _shown_inverted(headers)
    inverted = _is_inverted(headers)
    array, about = _pixels(ordered, geometry, inverted)
    first = ordered[0].header
    numbers = [one.frame + 1 if one.of_many else None for one in ordered]
    source = dicom_source([one.header for one in ordered], numbers)
    modality = "CBCT" if is_cone_beam_header(first) else str(first.get("Modality", ""))
    return Volume(array, geometry, modality, source, (*remarks, *about))


def _slices(path: Path) -> list[_Slice]:
    """The slices of one file, without their pixels: itself, or each of its frames."""
    dataset = read_dicom(path)
    if holds_frames(dataset):
        return [_Slice(header, path, n, True) for n, header in enumerate(frame_headers(dataset, path))]
    if int(dataset.get("NumberOfFrames", 1) or 1) != 1:
        raise InputError(f"{path.name} holds several frames without their places; export it as slices, or to NRRD.")
    return [_Slice(_plain(dataset), path, 0, False)]


def _check_copies(found: Sequence[_Slice], kept: Sequence[int]) -> None:
    """Raise :class:`InputError` if a slice that repeats the UID and place of another one shows something else."""
    by_object = {_object(found[n]): found[n] for n in kept}
    for n in sorted(set(range(len(found))) - set(kept)):
        one, other = found[n], by_object.get(_object(found[n]))
        if other is None or one.of_many:
            continue
        first, second = (stored_frames(read_dicom(which.path, pixels=True), which.path) for which in (one, other))
        if not np.array_equal(first, second):
            raise InputError(
                f"{other.path.name} and {one.path.name} are one slice by their SOP Instance UID and show different "
                "pixels; leave the right one in the folder."
            )


def _object(one: _Slice) -> tuple[object, str]:
    return one.header.get("SOPInstanceUID") or one.path, str(one.header.get("ImagePositionPatient"))


def _plain(dataset: Dataset) -> Dataset:
    """A header without what nothing here needs: sequences and private elements take most of it."""
    header = Dataset()
    header.set_original_encoding(*dataset.original_encoding)
    for element in dataset:
        if not element.tag.is_private and (element.VR != "SQ" or element.keyword == "ModalityLUTSequence"):
            header[element.tag] = element
    return header


def _check_parts(headers: Sequence[Dataset], in_one_file: bool) -> None:
    parts = find_parts(headers)
    if parts is not None and parts.labels and in_one_file:
        raise GeometryError(
            f"The file holds {len(parts.labels)} images of the same place, told apart by {parts.told_by} "
            f"({', '.join(parts.labels)}); export each of them by itself."
        )
    if parts is not None and parts.labels:
        raise GeometryError(
            f"The series holds {len(parts.labels)} images of the same place, told apart by {parts.told_by} "
            f"({', '.join(parts.labels)}); choose one as 'SERIES#1' or 'SERIES#2' by the series' number, or carry "
            "contours to all with --phases."
        )


def _grid(headers: Sequence[Dataset], refusal: str | None) -> tuple[Geometry, np.ndarray]:
    try:
        return series_geometry(headers)
    except GeometryError:
        if refusal is None:
            raise
        raise GeometryError(refusal) from None


def _is_inverted(headers: Sequence[Dataset]) -> bool:
    """Whether low values are bright (MONOCHROME1), in images whose values mean nothing else."""
    kinds = {str(header.get("PhotometricInterpretation", "") or "MONOCHROME2").strip() for header in headers}
    if len(kinds) > 1:
        raise InputError("Some slices of the series are bright where others are dark; choose a series of one kind.")
    return kinds == {"MONOCHROME1"} and headers[0].get("Modality") not in _PHYSICAL


def _shown_inverted(headers: Sequence[Dataset]) -> list[Remark]:
    """A word where low values are to be shown bright (MONOCHROME1), and mean what they mean all the same."""
    if str(headers[0].get("PhotometricInterpretation")) != "MONOCHROME1" or _is_inverted(headers):
        return []
    why = "low values are to be shown bright (MONOCHROME1); they were kept, for they have a unit"
    return [Remark("slices", len(headers), why, left_out=False)]


def _mixed(headers: Sequence[Dataset]) -> list[Remark]:
    """A word where slices of several acquisitions lie between each other."""
    mixed = mixed_by(headers)
    if mixed is None:
        return []
    why = f"they have {mixed[1]} values of {mixed[0]} and lie between each other; they were taken as one image"
    return [Remark("slices", len(headers), why, left_out=False)]


class _Growing:
    """An array that is filled slice by slice, of the smallest type that holds what has come.

    Memory is set aside with the first slice: what a header claims is checked where its pixels are read.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._shape, self.array = shape, np.empty((0, 1, 1), np.int16)

    def put(self, k: int, values: np.ndarray) -> None:
        kind = self._type(values)
        if k == 0 or kind != self.array.dtype:
            larger = np.empty(self._shape, kind)
            if k:
                larger[:k] = self.array[:k]
            self.array = larger
        self.array[k] = values

    def _type(self, values: np.ndarray) -> np.dtype:
        if values.dtype.kind == "f" or self.array.dtype.kind == "f":
            return np.dtype(np.float32)
        limits = np.iinfo(self.array.dtype)
        fits = limits.min <= values.min() and values.max() <= limits.max
        return self.array.dtype if fits else np.dtype(np.int32)


def _pixels(slices: Sequence[_Slice], geometry: Geometry, inverted: bool) -> tuple[np.ndarray, list[Remark]]:
    """The values (K, J, I) in their unit, padding and bright zeros put right."""
    growing = _Growing(geometry.shape)
    padded: dict[int, tuple[np.ndarray, float]] = {}
    low, high = np.inf, -np.inf
    for k, (one, stored) in enumerate(_stored(slices)):
        values = rescaled(stored, one.header)
        if values.shape != geometry.shape[1:]:
            raise InputError(f"{one.path.name} has another matrix than its header says; copy it again.")
        growing.put(k, values)
        there = padding(stored, one.header)
        if there is not None:
            padded[k] = (np.packbits(there), float(values[there].max()))
        real = values if there is None else values[~there]
        if real.size:
            low, high = min(low, float(real.min())), max(high, float(real.max()))
    array, remarks = growing.array, []
    # What pads with less than any value, as most scanners do, is air to everything that follows.
    bright = {k: bits for k, (bits, value) in padded.items() if value > low or inverted}
    if bright and high >= low:
        count = 0
        for k, bits in bright.items():
            there = np.unpackbits(bits, count=array[k].size).reshape(array[k].shape).astype(bool)
            array[k][there] = high if inverted else low
            count += int(there.sum())
        why = "they are padding (PixelPaddingValue), and were set to the darkest value"
        remarks.append(Remark("pixels", count, why, left_out=False))
    if inverted:
        # A range of whole bits, as the scanner has turned it: 4095 minus the value.
        ends = 2 ** int(high).bit_length() - 1 if low >= 0 and array.dtype.kind == "i" else low + high
        if ends > np.iinfo(np.int16).max and array.dtype == np.int16:
            ends = low + high
        np.subtract(array.dtype.type(ends), array, out=array)
        remarks.append(Remark("slices", len(array), "low values are bright in them (MONOCHROME1): inverted", False))
    return array, remarks


def _stored(slices: Sequence[_Slice]) -> Iterator[tuple[_Slice, np.ndarray]]:
    """Each slice with its stored values; of the files and their frames, one at a time is in memory."""
    for path, run in groupby(slices, key=lambda one: one.path):
        ones = list(run)
        if ones[0].of_many:
            yield from zip(ones, some_frames(ones[0].header, path, [one.frame for one in ones]), strict=True)
        else:
            yield ones[0], stored_frames(read_dicom(path, pixels=True), path)[0]
