"""One DICOM file.

pydicom quotes the values that it complains about, and a value can be the patient's name. So its warnings are silenced
here, and its errors become sentences of ours.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ImplicitVRLittleEndian

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
