"""A visit of a synthetic patient on disk, as a hospital sends one: CT series with an RTSTRUCT each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydicom.uid import generate_uid

from adaptsam.errors import InputError
from adaptsam.image.volume import DicomSource, StructureSet
from adaptsam.io.dicom.rtstruct_writer import write_rtstruct
from adaptsam.io.dicom.series_writer import write_dicom_series
from adaptsam.synthetic.thorax_phantom.breathing import Motion
from adaptsam.synthetic.thorax_phantom.synthetic_patient import PhantomVisit

LAYOUTS = ("folders", "together")
"""A 4D scan as one folder a phase, or with all phases in one folder, told apart by their series."""


def write_visit(folder: Path, visit: PhantomVisit, *, description: str = "phantom", layout: str = "folders") -> None:
    """Write ``ct/CT.0001.dcm``, … and ``rtstruct.dcm``; of a 4D scan every phase.

    The phases share study and frame of reference and are a series each, described and numbered as in the 4D-Lung
    collection of The Cancer Imaging Archive ("4DCT, Gated, 0.0%A"). They lie in ``phase-00/``, ``phase-10/``, … or
    together in ``ct/``, and their contours in ``rtstruct-00.dcm``, ….

    Args:
        folder: of the visit.
        visit: what to write.
        description: of the series; of phases it becomes the study's.
        layout: of phases, one of :data:`LAYOUTS`.

    Raises:
        InputError: an unknown layout.
        OutputError: a file is there already or the folder cannot be written.
    """
    if layout not in LAYOUTS:
        raise InputError(f"There is no layout {layout!r}; choose one of {', '.join(LAYOUTS)}.")
    source = visit.volume.dicom or DicomSource()
    source = replace(
        source,
        study_uid=generate_uid(),
        frame_of_reference_uid=generate_uid(),
        header=source.header | {"PatientPosition": "HFS", "StudyDescription": description},
    )
    attributes: dict[str, str | int | float] = {"ConvolutionKernel": visit.scanner.kernel}
    if not visit.phases:
        volume = replace(visit.volume, dicom=source)
        image = write_dicom_series(folder / "ct", volume, description=description, attributes=attributes)
        write_rtstruct(folder / "rtstruct.dcm", visit.structures, image)
        return
    for number, phase in enumerate(visit.phases, start=1):
        timed = attributes | {
            "AcquisitionNumber": number,
            "TemporalPositionIdentifier": number,
            "TemporalPositionIndex": number,
            "NumberOfTemporalPositions": len(visit.phases),
        }
        image = write_dicom_series(
            folder / ("ct" if layout == "together" else f"phase-{percent_name(phase.motion)}"),
            replace(phase.volume, dicom=source),
            description=f"4D{visit.scanner.label}, Gated, {phase.motion.percent:.1f}%A",
            series_number=number,
            prefix=f"CT.{percent_name(phase.motion)}" if layout == "together" else "CT",
            attributes=timed,
        )
        write_rtstruct(folder / f"rtstruct-{percent_name(phase.motion)}.dcm", phase.structures, image)


def percent_name(motion: Motion) -> str:
    """A phase's percentage as file names have it: "00", "10", "12.5"."""
    return f"{motion.percent:02.0f}" if motion.percent == round(motion.percent) else f"{motion.percent:04.1f}"


def truth(visit: PhantomVisit) -> dict[str, object]:
    """Truth of a visit besides its contours, as plain numbers: volumes in cm³, displacements in mm."""
    known: dict[str, object] = {
        "description": visit.description,
        "scanner": visit.scanner.label,
        "study_date": "" if visit.volume.dicom is None else visit.volume.dicom.study_date,
        "volumes_cm3": _volumes(visit.structures),
    }
    if visit.phases:
        known["phases"] = [
            {
                "percent": phase.motion.percent,
                "diaphragm_down_mm": phase.motion.diaphragm,
                "chest_forward_mm": phase.motion.chest,
                "heart_shift_lps_mm": phase.motion.heart.tolist(),
                "tumour_shift_lps_mm": phase.motion.tumour.tolist(),
                "volumes_cm3": _volumes(phase.structures),
            }
            for phase in visit.phases
        ]
    return known


def _volumes(structures: StructureSet) -> dict[str, float]:
    voxel = structures.geometry.voxel_volume / 1000
    return {structure.name: round(float(structure.mask.sum()) * voxel, 3) for structure in structures.structures}
