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
    was_disabled = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was_disabled


def is_dicom(path: Path) -> bool:
    """Whether the file says that it is DICOM."""
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
            dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=wanted)
            if pixels:
                dataset.walk(lambda *_: None)  # decodes every value now, so that damage shows here
            return dataset
    except InvalidDicomError:
        raise InputError(f"{path.name} is not a DICOM file; choose another one.") from None
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
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise InputError(f"{path.name} is a colour image; choose a CT or MR series.")
    if int(dataset.get("NumberOfFrames", 1) or 1) != 1:
        raise InputError(f"{path.name} holds several frames; convert it to one file per slice, or to NRRD.")
    if _transfer_syntax(dataset).is_compressed and not _pydicom_decodes(_transfer_syntax(dataset)):
        return _decode_with_itk(dataset, path)
    stored = _stored_values(dataset, path)
    slope, intercept = (float(dataset.get(key, default) or default) for key, default in _RESCALE)
    if slope == 1 and intercept == 0:
        return stored
    if slope.is_integer() and intercept.is_integer():
        return stored.astype(np.int32) * int(slope) + int(intercept)
    return (stored * slope + intercept).astype(np.float32)


_RESCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def _transfer_syntax(dataset: FileDataset) -> UID:
    return UID(dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))


def _stored_values(dataset: FileDataset, path: Path) -> np.ndarray:
    if "PixelData" not in dataset:
        raise InputError(f"{path.name} holds no pixels; it is damaged or not an image.")
    expected = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8
    if not _transfer_syntax(dataset).is_compressed and len(dataset.PixelData) < expected:
        raise InputError(
            f"{path.name} is truncated: {len(dataset.PixelData)} of {expected} bytes of pixels; copy it again."
        )
    try:
        with quiet_pydicom():
            stored = dataset.pixel_array
    except Exception:
        raise InputError(f"{path.name} has pixels that cannot be decoded; it is damaged, copy it again.") from None
    return _used_bits(stored, dataset)


def _used_bits(stored: np.ndarray, dataset: FileDataset) -> np.ndarray:
    """The values without the bits that are not theirs, where old files keep overlays; the sign is kept."""
    allocated, used = int(dataset.BitsAllocated), int(dataset.BitsStored)
    above = allocated - 1 - int(dataset.get("HighBit", used - 1))
    if allocated == used or stored.dtype.kind not in "iu":
        return stored
    return np.right_shift(np.left_shift(stored, above), allocated - used)


def _pydicom_decodes(syntax: UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _decode_with_itk(dataset: FileDataset, path: Path) -> np.ndarray:
    """SimpleITK brings decoders of its own, for JPEG lossless for instance, and applies the rescaling."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        values = sitk.GetArrayFromImage(reader.Execute())
        return values.reshape(int(dataset.Rows), int(dataset.Columns))
    except (RuntimeError, ValueError):
        name = _transfer_syntax(dataset).name
        raise InputError(
            f"{path.name} is compressed ({name}) and no decoder for it is installed; run "
            "'pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg', or export the series uncompressed."
        ) from None
