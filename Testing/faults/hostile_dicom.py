"""DICOM that is damaged or means harm: image series, RTSTRUCT and SEG."""

from __future__ import annotations

import os
import shutil
import struct
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
import pydicom
from faults.mutations import damaged, packed_zeros
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from adaptsam.image import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.io import write_dicom_series, write_structures

_SHAPE = (6, 24, 20)
_HEADER = {
    "PatientName": "Sekretova^Susi",
    "PatientID": "PID-4711",
    "PatientBirthDate": "19500203",
    "AccessionNumber": "ACC-081523",
}
# What a value may be that no scanner writes.
_VALUES = ("", "0", "-1", "1e308", "-1e308", "nan", "inf", "1e-308", "65535", "4294967295", "99999999999", "x", "\\\\")
_GEOMETRY = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "ContourData",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "NumberOfFrames",
    "MaximumFractionalValue",
    "ReferencedSegmentNumber",
    "SegmentNumber",
    "ROINumber",
    "ReferencedROINumber",
)


def write_dicom_seeds(folder: Path) -> None:
    """A CT series of six small slices, an RTSTRUCT and a SEG of it."""
    k, j, i = np.indices(_SHAPE)
    ball = (k - 3) ** 2 * 4 + (j - 12) ** 2 + (i - 10) ** 2 < 36
    array = np.where(ball, 60, -900).astype(np.int16)
    geometry = Geometry(_SHAPE, (2.0, 2.0, 3.0), (-20.0, -24.0, 5.0))
    source = DicomSource(patient_id="PID-4711", header=_HEADER)
    image = write_dicom_series(folder / "ct", Volume(array, geometry, "CT", source))
    structures = StructureSet((Structure("GTV", ball), Structure("Core", ball & (k == 3), (0, 255, 0))), geometry)
    write_structures(folder / "rtstruct.dcm", structures, image)
    write_structures(folder / "labels.seg.dcm", structures, image)


def make_series_case(seeds: Path, rng: Random, case: Path) -> str:
    """A folder ``ct`` where one slice, or more, are not what they were."""
    shutil.copytree(seeds / "ct", case / "ct")
    paths = sorted((case / "ct").iterdir())
    if rng.random() < 0.06:
        return _odd_entry(case / "ct", rng)
    chosen = paths if rng.random() < 0.3 else [rng.choice(paths)]
    way = rng.random()
    state = rng.getstate()
    told = ""
    for path in chosen:
        rng.setstate(state)  # the same harm in every slice, so that it is not merely odd among the others
        told = _harm(path, rng, way)
    return told


def make_structures_case(name: str, seeds: Path, rng: Random, case: Path) -> str:
    """A file ``name`` that is not what it was; the images stay good."""
    shutil.copy(seeds / name, case / name)
    return _harm(case / name, rng, rng.random())


def _harm(path: Path, rng: Random, way: float) -> str:
    good = path.read_bytes()
    if way < 0.5:
        bad, told = damaged(good, rng, header=1200)
        path.write_bytes(bad)
        return told
    if way < 0.85:
        return _changed_values(path, rng)
    return rng.choice((_bomb, _nested, _compressed, _many_items, _long_element))(path, rng)


def _changed_values(path: Path, rng: Random) -> str:
    """Some values of the file, at any depth, that are of the wrong kind, size or sense."""
    dataset = pydicom.dcmread(path)
    places = [(owner, element) for owner, element in _elements(dataset)]
    told = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        wanted = [place for place in places if place[1].keyword in _GEOMETRY] if rng.random() < 0.6 else places
        owner, element = rng.choice(wanted or places)
        told.append(element.keyword or str(element.tag))
        if rng.random() < 0.2:
            if element.tag in owner:
                del owner[element.tag]
            continue
        owner[element.tag] = _odd_element(element, rng)
    buffer = BytesIO()
    try:
        dataset.save_as(buffer, enforce_file_format=False)
    except Exception:  # what pydicom does not write, it does not write
        return "unchanged"
    path.write_bytes(buffer.getvalue())
    return f"odd {', '.join(told)}"


def _odd_element(element: DataElement, rng: Random) -> DataElement:
    if element.VR == "SQ":
        items = list(element.value)
        value = rng.choice(([], items * 50, [Dataset()], items[::-1]))
        return DataElement(element.tag, "SQ", value)
    if element.VR in ("US", "SS", "UL", "SL"):
        most = 2**16 if element.VR in ("US", "SS") else 2**32
        return DataElement(
            element.tag, "US" if most == 2**16 else "UL", rng.choice((0, 1, 7, 255, most - 1, most // 2))
        )
    count = len(element.value) if isinstance(element.value, list | pydicom.multival.MultiValue) else 1
    parts = [rng.choice(_VALUES) for _ in range(rng.choice((1, count, count, count + 1)))]
    text = "\\".join(parts)
    if rng.random() < 0.2:
        text = rng.choice(("\x1b[2J\x1b]0;x\x07", "a\nb", "ä" * 3000, "../../canary/secret.raw", "{0.__class__}%s%n"))
    return DataElement(element.tag, "LT", text)


def _elements(dataset: Dataset) -> list[tuple[Dataset, DataElement]]:
    found = []
    for element in list(dataset):
        found.append((dataset, element))
        if element.VR == "SQ":
            for item in element.value:
                found += _elements(item)
    return found


def _bomb(path: Path, rng: Random) -> str:
    """A deflated file of some kB that holds gigabytes."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = BytesIO()
    dataset.save_as(buffer)
    whole = buffer.getvalue()
    tag = struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"OB", 0, 0xFFFFFFF0)
    packed = packed_zeros(rng.choice((64, 3000)), tag)
    head = 132 + 12 + int(dataset.file_meta.FileMetaInformationGroupLength)
    path.write_bytes(whole[:head] + packed)
    return "deflated bomb"


def _nested(path: Path, rng: Random) -> str:
    """Sequences in sequences, deeper than anybody can want."""
    depth = rng.choice((50, 900, 20_000, 200_000))
    opening = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 2**32 - 1
    )
    good = path.read_bytes()
    at = rng.choice((len(good), max(0, good.find(b"\xe0\x7f\x10\x00"))))
    path.write_bytes(good[:at] + opening * depth + good[at:])
    return f"{depth} sequences in each other"


def _compressed(path: Path, rng: Random) -> str:
    """Says that its pixels are compressed, and how many they are, which is not so."""
    dataset = pydicom.dcmread(path)
    if "PixelData" not in dataset:
        return _changed_values(path, rng)
    dataset.file_meta.TransferSyntaxUID = rng.choice((RLELossless, JPEG2000Lossless, JPEGBaseline8Bit))
    dataset.Rows = dataset.Columns = rng.choice((16, 4096, 65535))
    frames = rng.choice((1, 1, 3, 2**31 - 1))
    if frames > 1:
        dataset.NumberOfFrames = frames
    rle = struct.pack("<16I", 2, 64, 64 + 4096, *[0] * 13) + b"\x81\x00" * 4096
    piece = rng.choice((rle, rng.randbytes(800), b"\xff\xd8\xff" + rng.randbytes(500), b"\0\0"))
    dataset.PixelData = pydicom.encaps.encapsulate([piece])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return f"{dataset.file_meta.TransferSyntaxUID.name} of {dataset.Rows} rows, {frames} frames"


def _many_items(path: Path, rng: Random) -> str:
    """A sequence, a list of numbers or a text with very many parts."""
    dataset = pydicom.dcmread(path)
    count = rng.choice((1000, 100_000))
    way = rng.choice(("numbers", "items", "text"))
    if way == "numbers":
        for owner, element in _elements(dataset):
            if element.keyword in ("ContourData", "PixelSpacing", "ImagePositionPatient"):
                owner[element.tag] = DataElement(element.tag, "LT", "\\".join(["1.5"] * count))
                break
    elif way == "items":
        items = [Dataset() for _ in range(count // 100)]
        dataset.RequestAttributesSequence = items
    else:
        dataset.SeriesDescription = "x" * min(count, 60_000)
    try:
        dataset.save_as(path)
    except Exception:
        return "unchanged"
    return f"{count} parts: {way}"


def _long_element(path: Path, rng: Random) -> str:
    """An element that says that it goes on for gigabytes."""
    good = path.read_bytes()
    vr = rng.choice((b"OB", b"OW", b"UN", b"UT", b"SQ"))
    element = struct.pack("<HH2sHI", 0x0009, 0x1001, vr, 0, rng.choice((0x7FFFFFFF, 0xFFFFFFF0, 0xFFFFFFFE)))
    at = good.find(b"\x10\x00\x10\x00") if rng.random() < 0.5 else len(good)
    path.write_bytes(good[: max(at, 0)] + element + good[max(at, 0) :])
    return f"an endless {vr.decode()}"


def _odd_entry(folder: Path, rng: Random) -> str:
    """Something in the folder that is no ordinary file."""
    way = rng.choice(("pipe", "device", "loop", "name", "outside", "folder"))
    if way == "pipe":
        os.mkfifo(folder / "slice.dcm")
    elif way == "device":
        (folder / "slice.dcm").symlink_to("/dev/zero")
    elif way == "loop":
        (folder / "slice.dcm").symlink_to("slice.dcm")
        (folder / "again").symlink_to(folder)
    elif way == "name":
        (folder / "a\x1b[2J\nb\u202e.dcm").write_bytes(rng.randbytes(400))
    elif way == "outside":
        (folder / "slice.dcm").symlink_to(folder / "nowhere")
    else:
        (folder / "slice.dcm").mkdir()
    return f"an odd entry: {way}"
