"""DICOM files made on the spot, and the real cases where they lie beside the repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from adaptsam.image import Geometry, Structure, StructureSet, Volume

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
# What must never leave a file: in no message, no log, no repr.
IDENTITY = {
    "PatientName": "Sekretova^Susi",
    "PatientID": "PID-4711-X",
    "PatientBirthDate": "19500203",
    "AccessionNumber": "ACC-081523",
}


@pytest.fixture
def identity() -> dict[str, str]:
    return IDENTITY


@pytest.fixture
def lung_case() -> Path:
    """NSCLC-Radiomics LUNG1-001: CT in images/, RTSTRUCT in labels/."""
    return _shared("ct-lung1-001")


@pytest.fixture
def sarcoma_case() -> Path:
    """Soft-tissue-Sarcoma STS_001: CT and MR, and RTSTRUCTs that name other series."""
    return _shared("ctmr-sts-001")


@pytest.fixture
def dicom_seg_case() -> Path:
    """dcmqi: three CT slices in images/, DICOM SEG and NRRD labels in labels/."""
    return _shared("ct-dcmqi-dicomseg")


def _shared(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not on this machine")
    return SHARED / name


def new_dataset(sop_class: str, modality: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.Modality = modality
    for keyword, value in IDENTITY.items():
        setattr(dataset, keyword, value)
    dataset.StudyDate, dataset.StudyInstanceUID = "20240102", "1.2.826.0.1.3680043.8.498.1"
    return dataset


@pytest.fixture
def make_series(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CT series whose files are not in the order of their positions; returns its folder."""

    def make(
        folder: str = "ct",
        *,
        shape: tuple[int, int, int] = (6, 12, 14),
        spacing: tuple[float, float, float] = (1.5, 1.25, 3.0),
        origin: tuple[float, float, float] = (-10.5, 20.25, -100.0),
        axes: np.ndarray | None = None,
        series_uid: str = "1.2.826.0.1.3680043.8.498.2",
        series_number: int = 4,
        edit: Callable[[FileDataset, int], bool | None] = lambda dataset, k: None,
        stored: np.ndarray | None = None,
    ) -> Path:
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        axes = np.eye(3) if axes is None else axes
        values = np.arange(np.prod(shape)).reshape(shape) % 3000 if stored is None else stored
        for k in range(shape[0]):
            dataset = new_dataset(CTImageStorage, "CT")
            dataset.SeriesInstanceUID, dataset.SeriesNumber = series_uid, series_number
            dataset.SeriesDescription = "made by a test"
            dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.3"
            dataset.InstanceNumber = shape[0] - k
            dataset.ImagePositionPatient = [f"{v:.10g}" for v in np.array(origin) + k * spacing[2] * axes[:, 2]]
            dataset.ImageOrientationPatient = [f"{v:.12g}" for v in (*axes[:, 0], *axes[:, 1])]
            dataset.PixelSpacing, dataset.SliceThickness = [spacing[1], spacing[0]], spacing[2]
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
            dataset.Rows, dataset.Columns = shape[1:]
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
            dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
            dataset.PixelData = values[k].astype("<u2").tobytes()
            if edit(dataset, k) is not False:
                dataset.save_as(place / f"slice{(k * 7) % 97:02d}.dcm", enforce_file_format=True)
        return place

    return make


@pytest.fixture
def make_rtstruct(tmp_path: Path) -> Callable[..., Path]:
    """Writes an RTSTRUCT from contours in LPS mm, {name: [points (n, 3), …]}."""

    def make(
        contours: dict[str, list[np.ndarray]],
        name: str = "rs.dcm",
        *,
        kind: str = "CLOSED_PLANAR",
        frame: str = "1.2.826.0.1.3680043.8.498.3",
        series: str = "1.2.826.0.1.3680043.8.498.2",
        edit: Callable[[FileDataset], None] = lambda dataset: None,
    ) -> Path:
        dataset = new_dataset(RTStructureSetStorage, "RTSTRUCT")
        dataset.SeriesInstanceUID = generate_uid()
        dataset.ReferencedFrameOfReferenceSequence = [_frame(frame, series)]
        dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
        dataset.RTROIObservationsSequence = []
        for number, (roi_name, drawn) in enumerate(contours.items(), start=11):
            roi, contour, observation = Dataset(), Dataset(), Dataset()
            roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, roi_name, frame
            contour.ReferencedROINumber, contour.ROIDisplayColor = number, [1, 2, 3]
            contour.ContourSequence = [_contour(points, kind) for points in drawn]
            observation.ObservationNumber = observation.ReferencedROINumber = number
            observation.RTROIInterpretedType = "GTV"
            dataset.StructureSetROISequence.append(roi)
            dataset.ROIContourSequence.append(contour)
            dataset.RTROIObservationsSequence.append(observation)
        edit(dataset)
        dataset.save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name

    return make


def _frame(frame: str, series: str) -> Dataset:
    item, study, referenced = Dataset(), Dataset(), Dataset()
    referenced.SeriesInstanceUID = series
    study.RTReferencedSeriesSequence = [referenced]
    item.FrameOfReferenceUID, item.RTReferencedStudySequence = frame, [study]
    return item


def _contour(points: np.ndarray, kind: str) -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
    contour.ContourData = [f"{value:.8g}" for value in np.ravel(points)]
    return contour


@pytest.fixture
def rectangle() -> Callable[..., np.ndarray]:
    """A rectangle (4, 3) in LPS mm from pixels: from and to (x, y) on slice k."""

    def make(geometry: Geometry, k: float, low: tuple[float, float], high: tuple[float, float]) -> np.ndarray:
        (x0, y0), (x1, y1) = low, high
        return geometry.world(np.array([[x0, y0, k], [x1, y0, k], [x1, y1, k], [x0, y1, k]]))

    return make


@pytest.fixture
def volume() -> Volume:
    """An oblique volume without DICOM."""
    turn, tip = 0.3, 0.2
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tip), -np.sin(tip)], [0, np.sin(tip), np.cos(tip)]])
    geometry = Geometry((7, 20, 24), (0.7, 0.9, 2.5), (-31.7, 12.3, 456.789), tuple((about_z @ about_x).ravel()))
    array = np.random.default_rng(0).integers(-1000, 1500, geometry.shape).astype(np.int16)
    return Volume(array, geometry, "CT")


@pytest.fixture
def overlapping(volume: Volume) -> StructureSet:
    """Two structures that overlap, one of them with a hole, and an empty one."""
    tumour, shell = np.zeros(volume.geometry.shape, bool), np.zeros(volume.geometry.shape, bool)
    tumour[2:5, 5:12, 6:15] = True
    shell[1:6, 3:17, 3:20] = True
    shell[3, 8:11, 9:12] = False
    structures = (
        Structure("GTV Rückenmark", tumour, (10, 200, 30), 7, "GTV", tags={"TerminologyEntry": "a~b^c"}),
        Structure("Shell", shell, (1, 2, 255), 3, "ORGAN"),
        Structure("gone", np.zeros_like(tumour)),
    )
    return StructureSet(structures, volume.geometry)
