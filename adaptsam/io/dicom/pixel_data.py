"""The pixels of a DICOM file: unpacked or decoded, and in the unit of the modality."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from adaptsam.errors import InputError
from adaptsam.io.dicom.dicom_file import quiet_pydicom, read_dicom
from adaptsam.io.native_stderr import quiet_libraries

# Bytes of pixels that are believed of a file; a larger one must take a hundredth of its pixels' at least.
_BELIEVED, _MOST_FOR_A_BYTE = 256 * 2**20, 100
_MOST_RESCALED = 1e6
_NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelData")
_RESCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
# Process 14; the name in pydicom is another transfer syntax's before version 3.
_JPEG_LOSSLESS = UID("1.2.840.10008.1.2.4.57")
# For pydicom's decoders.
_AS_STORED: dict[str, Any] = {"correct_unused_bits": False}
# What GDCM decodes, and pydicom with what we install beside it does not in every case.
_GDCM = (JPEGBaseline8Bit, JPEGExtended12Bit, _JPEG_LOSSLESS, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless)
_FORMAT = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")


def some_frames(header: Dataset, path: Path, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """The stored values (J, I) of some frames of a multi-frame file, in this order; one at a time is in memory.

    What pydicom cannot read frame by frame is read whole.

    Args:
        header: of the file, read without its pixels.
        path: the file.
        numbers: of the frames, from 0.

    Raises:
        InputError: as :func:`stored_frames` does.
    """
    from pydicom.pixels import iter_pixels

    done = 0
    try:
        size = [int(header[keyword].value) for keyword in _NEEDED[:3]]
        if _is_gray(header) and _is_believed(int(header.NumberOfFrames) * prod(size) // 8, path.stat().st_size):
            with quiet_pydicom(), quiet_libraries():
                for frame in iter_pixels(path, indices=numbers, raw=True, **_AS_STORED):
                    yield _used_bits(frame, header)
                    done += 1
    except GeneratorExit:
        return
    except Exception:  # pydicom's readers raise whatever the broken bytes lead them to; read whole, damage is told
        pass
    if done < len(numbers):
        frames = stored_frames(read_dicom(path, pixels=True), path)
        yield from (frames[number] for number in numbers[done:])


def stored_frames(dataset: FileDataset, path: Path) -> np.ndarray:
    """The stored values of every frame, (N, J, I); N is 1 for a plain slice.

    Args:
        dataset: read with its pixels.
        path: the file, for messages.

    Raises:
        InputError: colour, truncated pixel data, or a compression that nothing here can decode.
    """
    lacking = [keyword for keyword in _NEEDED if keyword not in dataset]
    if lacking:
        raise InputError(f"{path.name} is damaged or truncated: it lacks {', '.join(lacking)}; copy it again.")
    if not _is_gray(dataset):
        raise InputError(f"{path.name} is a colour image; choose a CT or MR series.")
    try:
        count = int(dataset.get("NumberOfFrames", 1) or 1)
        size = [int(dataset[keyword].value) for keyword in _NEEDED[:4]]
        _check_size(dataset, path, count * size[0] * size[1] * size[2] // 8)
    except (TypeError, ValueError):
        raise InputError(f"{path.name} is damaged: its size cannot be read; copy it again.") from None
    try:
        compressed = dataset.file_meta.TransferSyntaxUID.is_encapsulated
        stored = _decode(dataset) if compressed else _unpack(dataset, path, count)
        if stored is None:
            stored = _decode_with_gdcm(dataset, path, count)
        return _used_bits(stored, dataset).reshape(count, int(dataset.Rows), int(dataset.Columns))
    except (TypeError, ValueError):
        raise InputError(f"{path.name} is damaged: its pixels cannot be read; copy it again.") from None


def _is_gray(dataset: Dataset) -> bool:
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2") or "MONOCHROME2").strip()
    return int(dataset.get("SamplesPerPixel", 1)) == 1 and photometric in ("MONOCHROME1", "MONOCHROME2")


def _is_believed(claimed: int, stored: int) -> bool:
    """Whether so many bytes of pixels may be in so many bytes of a file; memory is set aside for what is claimed."""
    return 0 < claimed <= max(_BELIEVED, _MOST_FOR_A_BYTE * stored)


def _check_size(dataset: FileDataset, path: Path, claimed: int) -> None:
    stored = len(dataset.PixelData)
    if not _is_believed(claimed, stored):
        raise InputError(
            f"{path.name} is damaged: it claims {claimed / 1e6:.0f} MB of pixels and holds {stored / 1e6:.3g}; copy it "
            "again."
        )


def rescaled(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Stored values (J, I) in the unit of their modality, Hounsfield units for CT; integer where the rescaling is.

    Raises:
        InputError: the rescaling is no number, or of no scanner.
    """
    try:
        if "ModalityLUTSequence" in header and "RescaleSlope" not in header:
            from pydicom.pixels import apply_modality_lut  # pydicom 3 alone; the worker in Slicer 5.10 never comes here

            return np.asarray(apply_modality_lut(stored, header))
        slope, intercept = (_number(header, key, default) for key, default in _RESCALE)
        if not (0 < abs(slope) <= _MOST_RESCALED and abs(intercept) <= _MOST_RESCALED):  # NaN is neither
            raise ValueError
    except (AttributeError, IndexError, TypeError, ValueError):
        raise InputError("A slice has a rescaling that is no number or too large; export the series again.") from None
    if slope == 1 and intercept == 0:
        return stored
    largest = float(np.abs(np.array([stored.min(), stored.max()], float)).max()) * abs(slope) + abs(intercept)
    if slope.is_integer() and intercept.is_integer() and largest < 2**31:
        return stored.astype(np.int32) * int(slope) + int(intercept)
    return (stored * slope + intercept).astype(np.float32)


def _number(header: Dataset, keyword: str, default: float) -> float:
    value = header.get(keyword)
    return default if value in (None, "") else float(value)


def padding(stored: np.ndarray, header: Dataset) -> np.ndarray | None:
    """bool (J, I): the pixels that show nothing, by PixelPaddingValue and its range; None where there are none."""
    first = header.get("PixelPaddingValue")
    if first in (None, "") or stored.dtype.kind not in "iu":
        return None
    last = header.get("PixelPaddingRangeLimit")
    ends = sorted(int(_as_stored(int(value), header)) for value in (first, first if last in (None, "") else last))
    there = (stored >= ends[0]) & (stored <= ends[1])
    return there if there.any() else None


def _as_stored(value: int, header: Dataset) -> int:
    """A padding value with the sign of the pixels: files write -2000 as 63536, and the other way round."""
    bits = int(header.get("BitsAllocated", 16))
    value &= (1 << bits) - 1
    return value - (1 << bits) if int(header.get("PixelRepresentation", 0)) and value >> (bits - 1) else value


def _unpack(dataset: FileDataset, path: Path, count: int) -> np.ndarray:
    """The stored values of uncompressed pixel data."""
    expected = count * int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8
    if len(dataset.PixelData) < expected:
        raise InputError(
            f"{path.name} is truncated: {len(dataset.PixelData)} of {expected} bytes of pixels; copy it again."
        )
    stored = _decode(dataset)
    if stored is None:
        raise InputError(f"{path.name} has pixels that cannot be unpacked; it is damaged, copy it again.")
    return stored


def _decode(dataset: FileDataset) -> np.ndarray | None:
    """The stored values, or None where pydicom or its plug-ins cannot give them."""
    from pydicom.pixels import get_decoder

    try:
        with quiet_pydicom(), quiet_libraries():
            # The bits that are not a pixel's are taken off by :func:`_used_bits`: pydicom knows the upper ones alone.
            decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
            return decoder.as_array(dataset, raw=True, **_AS_STORED)[0]
    except Exception:
        return None


def _used_bits(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """The values without the bits that are not theirs, where old files keep overlays; the sign is kept."""
    allocated, used = int(dataset.BitsAllocated), int(dataset.BitsStored)
    above = allocated - 1 - int(dataset.get("HighBit", used - 1))
    if allocated == used or stored.dtype.kind not in "iu":
        return stored
    return np.right_shift(np.left_shift(stored, above), allocated - used)


def _decode_with_gdcm(dataset: FileDataset, path: Path, count: int) -> np.ndarray:
    """SimpleITK brings GDCM's decoders, for JPEG lossless for instance; it gets a frame and nothing of the patient."""
    from pydicom.encaps import generate_frames

    try:
        frames = list(generate_frames(dataset.PixelData, number_of_frames=count))
        with quiet_libraries(), tempfile.TemporaryDirectory(prefix="adaptsam-") as folder:
            values = [_gdcm_values(_bare(dataset, frame), Path(folder) / "frame.dcm") for frame in frames]
        return np.stack(values).reshape(count, int(dataset.Rows), int(dataset.Columns))
    except Exception:
        raise InputError(_undecodable(dataset.file_meta.TransferSyntaxUID, path)) from None


def _bare(dataset: FileDataset, frame: bytes) -> FileDataset:
    """A file with nothing but one compressed frame."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bare.SOPClassUID, bare.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    bare.SamplesPerPixel, bare.PhotometricInterpretation = 1, "MONOCHROME2"
    for keyword in _FORMAT:
        setattr(bare, keyword, int(dataset.get(keyword, int(dataset.BitsStored) - 1)))
    bare.PixelData = encapsulate([frame])
    bare["PixelData"].VR = "OB"
    return bare


def _gdcm_values(bare: FileDataset, path: Path) -> np.ndarray:
    bare.save_as(path, enforce_file_format=True)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return sitk.GetArrayFromImage(reader.Execute())


def _undecodable(syntax: UID, path: Path) -> str:
    if syntax.is_compressed and _has_decoder(syntax):
        return f"{path.name} is damaged or truncated: its {syntax.name} pixels cannot be decoded; copy it again."
    return (
        f"{path.name} is compressed ({syntax.name}) and no decoder for it is installed; run 'pip install pylibjpeg "
        "pylibjpeg-openjpeg', or export the series uncompressed."
    )


def _has_decoder(syntax: UID) -> bool:
    if syntax in _GDCM:
        return True
    from pydicom.pixels import get_decoder

    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False
