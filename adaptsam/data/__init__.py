"""Images and structures in and out: the only package that knows a file format."""

from adaptsam.data.dicom_series import SeriesInfo, list_series
from adaptsam.data.dicom_write import write_dicom_series
from adaptsam.data.files import read_structures, read_volume, write_structures, write_volume
from adaptsam.data.names import select_structures
from adaptsam.data.patient import same_patient
from adaptsam.data.staging import staged_output
from adaptsam.data.volume import DicomSource, Geometry, Structure, StructureSet, Volume

__all__ = [
    "DicomSource",
    "Geometry",
    "SeriesInfo",
    "Structure",
    "StructureSet",
    "Volume",
    "list_series",
    "read_structures",
    "read_volume",
    "same_patient",
    "select_structures",
    "staged_output",
    "write_dicom_series",
    "write_structures",
    "write_volume",
]
