"""Images and structures in and out: the only package that knows a file format."""

from typing import TYPE_CHECKING

from adaptsam.lazy import names_on_demand

if TYPE_CHECKING:
    from adaptsam.data.dicom_series import SeriesInfo, list_series
    from adaptsam.data.dicom_write import write_dicom_series
    from adaptsam.data.files import (
        ImageSource,
        drawn_on,
        find_image,
        holds_frames,
        read_frames,
        read_structures,
        read_volume,
        series_drawn_on,
        write_structures,
        write_volume,
    )
    from adaptsam.data.frames import Frames, read_picture, write_pictures
    from adaptsam.data.labelmaps import distinct_color
    from adaptsam.data.mask_pictures import mask_picture, read_mask_picture, read_masks_like
    from adaptsam.data.names import select_structures
    from adaptsam.data.patient import same_patient
    from adaptsam.data.patient_folder import PatientVisit, Phase, find_phases, find_visits
    from adaptsam.data.remarks import Remark
    from adaptsam.data.staging import staged_output
    from adaptsam.data.video import write_video
    from adaptsam.data.volume import DicomSource, Geometry, Structure, StructureSet, Volume

__all__ = [
    "DicomSource",
    "Frames",
    "Geometry",
    "ImageSource",
    "PatientVisit",
    "Phase",
    "Remark",
    "SeriesInfo",
    "Structure",
    "StructureSet",
    "Volume",
    "distinct_color",
    "drawn_on",
    "find_image",
    "find_phases",
    "find_visits",
    "holds_frames",
    "list_series",
    "mask_picture",
    "read_frames",
    "read_mask_picture",
    "read_masks_like",
    "read_picture",
    "read_structures",
    "read_volume",
    "same_patient",
    "select_structures",
    "series_drawn_on",
    "staged_output",
    "write_dicom_series",
    "write_pictures",
    "write_structures",
    "write_video",
    "write_volume",
]

# On demand: what draws a phantom needs none of the libraries that read and write files.
_HOMES = {
    "dicom_series": ("SeriesInfo", "list_series"),
    "dicom_write": ("write_dicom_series",),
    "files": (
        "ImageSource",
        "drawn_on",
        "find_image",
        "holds_frames",
        "read_frames",
        "read_structures",
        "read_volume",
        "series_drawn_on",
        "write_structures",
        "write_volume",
    ),
    "frames": ("Frames", "read_picture", "write_pictures"),
    "labelmaps": ("distinct_color",),
    "mask_pictures": ("mask_picture", "read_mask_picture", "read_masks_like"),
    "names": ("select_structures",),
    "patient": ("same_patient",),
    "patient_folder": ("PatientVisit", "Phase", "find_phases", "find_visits"),
    "remarks": ("Remark",),
    "staging": ("staged_output",),
    "video": ("write_video",),
    "volume": ("DicomSource", "Geometry", "Structure", "StructureSet", "Volume"),
}

__getattr__ = names_on_demand(__name__, _HOMES)
