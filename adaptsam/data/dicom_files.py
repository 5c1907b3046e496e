"""One DICOM file: its header and its pixel values.

pydicom quotes the values that it complains about, and a value can be the patient's name. So its warnings are silenced
here, and its errors become sentences of ours.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ImplicitVRLittleEndian

from adaptsam.errors import InputError


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keeps what pydicom says about invalid values out of logs and warnings."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # its children inherit it
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def is_dicom(path: Path) -> bool:
    """Whether the file says that it is DICOM, in its preamble or, as old files do, by its suffix alone."""
    return has_preamble(path) or (path.suffix.lower() in (".dcm", ".ima") and not path.name.startswith("."))


def has_preamble(path: Path) -> bool:
    """Whether the file begins as a DICOM file must."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_dicom(path: Path, *, pixels: bool = False, tags: Sequence[str] | None = None) -> FileDataset:
    """The data set of one file.

    Args:
        path: the file.
        pixels: read the pixel data too.
        tags: keywords of the only attributes to read; ``None`` reads all.

    Raises:
        InputError: the file is not there, is not DICOM, or ends in the middle.
    """
    wanted = None if tags is None else list(tags)
    try:
        with quiet_pydicom():
            bare = not has_preamble(path)
            dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=wanted, force=bare)
            if bare and "SOPClassUID" not in dataset:
                raise InvalidDicomError
            dataset.file_meta.setdefault("TransferSyntaxUID", ImplicitVRLittleEndian)
            if pixels:
                dataset.walk(lambda *_: None)  # decodes every value now, so that damage shows here
            return dataset
    except InvalidDicomError:
        raise InputError(f"{path.name} is not a DICOM file, or truncated; copy it again or leave it out.") from None
    except OSError as error:
        reason = f" ({error.strerror})" if error.strerror else ""
        raise InputError(f"{path.name} cannot be read{reason}; check the path.") from None
    except Exception:
        raise InputError(f"{path.name} is damaged or truncated; copy it again.") from None


def rescaled_values(dataset: FileDataset, path: Path) -> np.ndarray:
    """The values of one slice in the unit of its modality, Hounsfield units for CT.

    Args:
        dataset: read with its pixels.
        path: the file, for a compression that only SimpleITK can decode.

    Returns:
        (J, I), integer where the rescaling is.

    Raises:
        InputError: colour, several frames, truncated pixel data, or a compression that nothing here can decode.
    """
    lacking = [keyword for keyword in _NEEDED if keyword not in dataset]
    if lacking:
        raise InputError(f"{path.name} is damaged or truncated: it lacks {', '.join(lacking)}; copy it again.")
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise InputError(f"{path.name} is a colour image; choose a CT or MR series.")
    if int(dataset.get("NumberOfFrames", 1) or 1) != 1:
        raise InputError(f"{path.name} holds several frames; convert it to one file per slice, or to NRRD.")
    stored = _decode(dataset) if dataset.file_meta.TransferSyntaxUID.is_compressed else _unpack(dataset, path)
    if stored is None:
        return _decode_with_itk(dataset, path)
    stored = _used_bits(stored, dataset)
    slope, intercept = (float(dataset.get(key, default) or default) for key, default in _RESCALE)
    if slope == 1 and intercept == 0:
        return stored
    if slope.is_integer() and intercept.is_integer():
        return stored.astype(np.int32) * int(slope) + int(intercept)
    return (stored * slope + intercept).astype(np.float32)


_NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelData")
_RESCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def _unpack(dataset: FileDataset, path: Path) -> np.ndarray:
    """The stored values of uncompressed pixel data."""
    expected = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8
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
    try:
        with quiet_pydicom():
            return dataset.pixel_array
    except Exception:
        return None


def _used_bits(stored: np.ndarray, dataset: FileDataset) -> np.ndarray:
    """The values without the bits that are not theirs, where old files keep overlays; the sign is kept."""
    allocated, used = int(dataset.BitsAllocated), int(dataset.BitsStored)
    above = allocated - 1 - int(dataset.get("HighBit", used - 1))
    if allocated == used or stored.dtype.kind not in "iu":
        return stored
    return np.right_shift(np.left_shift(stored, above), allocated - used)


def _decode_with_itk(dataset: FileDataset, path: Path) -> np.ndarray:
    """SimpleITK brings decoders of its own, for JPEG lossless for instance, and applies the rescaling."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        values = sitk.GetArrayFromImage(reader.Execute())
        return values.reshape(int(dataset.Rows), int(dataset.Columns))
    except (RuntimeError, ValueError):
        raise InputError(_undecodable(dataset.file_meta.TransferSyntaxUID, path)) from None


def _undecodable(syntax: UID, path: Path) -> str:
    if syntax.is_compressed and _has_decoder(syntax):
        return f"{path.name} is damaged or truncated: its {syntax.name} pixels cannot be decoded; copy it again."
    return (
        f"{path.name} is compressed ({syntax.name}) and no decoder for it is installed; run 'pip install pylibjpeg "
        "pylibjpeg-libjpeg pylibjpeg-openjpeg', or export the series uncompressed."
    )


def _has_decoder(syntax: UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False
