"""Images, contours and videos in and out: beside ``datasets`` the only room that knows a file format."""

from typing import TYPE_CHECKING

from adaptsam.lazy_imports import names_on_demand

if TYPE_CHECKING:
    from adaptsam.io.dicom.series_reader import SeriesInfo, list_series
    from adaptsam.io.dicom.series_writer import write_dicom_series
    from adaptsam.io.files import (
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
    from adaptsam.io.labelmaps import distinct_color
    from adaptsam.io.mask_images import mask_picture, read_mask_picture, read_masks_like
    from adaptsam.io.patient_folder import (
        PatientVisit,
        Phase,
        find_phases,
        find_visits,
    )
    from adaptsam.io.video.frames import Frames, read_picture, write_pictures
    from adaptsam.io.video.video_files import write_video

__all__ = [
    "Frames",
    "ImageSource",
    "PatientVisit",
    "Phase",
    "SeriesInfo",
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
    "series_drawn_on",
    "write_dicom_series",
    "write_pictures",
    "write_structures",
    "write_video",
    "write_volume",
]

# On demand: no part needs the libraries of another.
_HOMES = {
    "dicom.series_reader": (
        "SeriesInfo",
        "list_series",
    ),
    "dicom.series_writer": ("write_dicom_series",),
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
    "labelmaps": ("distinct_color",),
    "mask_images": (
        "mask_picture",
        "read_mask_picture",
        "read_masks_like",
    ),
    "patient_folder": (
        "PatientVisit",
        "Phase",
        "find_phases",
        "find_visits",
    ),
    "video.frames": (
        "Frames",
        "read_picture",
        "write_pictures",
    ),
    "video.video_files": ("write_video",),
}

__getattr__ = names_on_demand(__name__, _HOMES)
