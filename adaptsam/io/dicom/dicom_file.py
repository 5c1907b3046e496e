"""One DICOM file.

pydicom quotes the values that it complains about, and a value can be the patient's name. So its warnings are silenced
here, and its errors become sentences of ours.
"""

from __future__ import annotations

import logging
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from adaptsam.errors import InputError

_CONTOUR_DATA = tag_for_keyword("ContourData")
# A slice or a multi-frame scan; what unpacks to more than this must take the hundredth of it at least.
_DEFLATED_BELIEVED, _MOST_FOR_A_BYTE, _BLOCK = 256 * 2**20, 100, 2**20


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
    """Whether the file says that it is DICOM: in its preamble, or, as old files do, by its suffix or first element."""
    named = path.suffix.lower() in (".dcm", ".ima") and not path.name.startswith(".")
    return has_preamble(path) or (named and (path.is_file() or not path.exists())) or _begins_bare(path)


def _begins_bare(path: Path) -> bool:
    """Whether a file without preamble begins with an element of group 2 or 8, of which a DICOM file's first is one."""
    try:
        if path.name.startswith(".") or not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return False
    if len(start) < 8 or start[:2] not in (b"\x02\x00", b"\x08\x00") or start[3] != 0 or start[2] > 0x60:
        return False
    implicit = int.from_bytes(start[4:], "little") <= 0xFFFF
    return start[4:6] in (b"UL", b"CS", b"SH", b"DA", b"TM", b"DT", b"UI", b"LO", b"OB") or implicit


def has_preamble(path: Path) -> bool:
    """Whether the file begins as a DICOM file must; a pipe or a device, which would be waited for, is none."""
    try:
        if not path.is_file():
            return False
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
            if not bare:
                _check_deflated(path)
            if bare and wanted is not None:
                wanted.append("SOPClassUID")
            dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=wanted, force=bare)
            if bare and "SOPClassUID" not in dataset:
                raise InvalidDicomError
            dataset.file_meta.setdefault("TransferSyntaxUID", ImplicitVRLittleEndian)
            _decode(dataset.file_meta)
            _decode(dataset)
            return dataset
    except InputError:
        raise
    except InvalidDicomError:
        raise InputError(f"{path.name} is not a DICOM file, or truncated; copy it again or leave it out.") from None
    except OSError as error:
        reason = f" ({error.strerror})" if error.strerror else ""
        raise InputError(f"{path.name} cannot be read{reason}; check the path.") from None
    except Exception:
        raise InputError(f"{path.name} is damaged or truncated; copy it again.") from None


def modality(dataset: Dataset) -> str:
    """The modality as messages may show it; in a damaged file it could be anything, the patient's name too."""
    told = dataset.get("Modality")
    return told if isinstance(told, str) and re.fullmatch(r"[A-Z0-9]{1,10}", told) else "unknown"


def _decode(dataset: Dataset) -> None:
    """Decode every value now, so that damage shows here; but not contours, of which there are many and read at once."""
    for tag in list(dataset.keys()):
        if tag != _CONTOUR_DATA and (element := dataset[tag]).VR == "SQ":
            for item in element.value:
                _decode(item)


def _check_deflated(path: Path) -> None:
    """pydicom unpacks a deflated file in one go, whatever comes of it."""
    with path.open("rb") as file:
        meta = read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        file.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        most = max(_DEFLATED_BELIEVED, _MOST_FOR_A_BYTE * path.stat().st_size)
        unpacker, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        rest = file.read(_BLOCK)
        while rest and not unpacker.eof:
            size += len(unpacker.decompress(rest, _BLOCK))
            rest = unpacker.unconsumed_tail or file.read(_BLOCK)
            if size > most:
                raise InputError(f"{path.name} is damaged: it unpacks to more than {most / 1e6:.0f} MB; copy it again.")
