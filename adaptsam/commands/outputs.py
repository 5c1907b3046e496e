"""What a run leaves in its folder: structures in the formats asked for, the report, and a summary for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import adaptsam
from adaptsam.commands.console import json_text
from adaptsam.data import StructureSet, Volume, write_structures
from adaptsam.data.provenance import NOTICE
from adaptsam.errors import InputError
from adaptsam.evaluate.course import Course
from adaptsam.evaluate.report import Visit, write_report

if TYPE_CHECKING:
    from adaptsam.sam import SamModel
    from adaptsam.volumes.report import StructureReport

#: The formats of --format and the ends of their files' names.
SUFFIXES = {
    "rtstruct": ".rtstruct.dcm",
    "dicom-seg": ".seg.dcm",
    "seg.nrrd": ".seg.nrrd",
    "nrrd": ".nrrd",
    "nifti": ".nii.gz",
}
ALIASES = {"seg": "dicom-seg"}


def parse_formats(text: str) -> tuple[str, ...]:
    """The formats of a comma-separated list."""
    given = (part.strip() for part in text.split(",") if part.strip())
    formats = tuple(dict.fromkeys(ALIASES.get(name, name) for name in given))
    for name in formats:
        if name not in SUFFIXES:
            raise InputError(f"There is no format {name!r}; there are: {', '.join(SUFFIXES)}.")
    if not formats:
        raise InputError(f"No format was given; there are: {', '.join(SUFFIXES)}.")
    return formats


def default_formats(target: Volume) -> tuple[str, ...]:
    """RTSTRUCT only where there is a DICOM series that it can refer to."""
    return ("rtstruct", "seg.nrrd") if target.dicom and target.dicom.sop_instance_uids else ("seg.nrrd",)


def planned_files(targets: int, formats: Sequence[str]) -> list[str]:
    """The files that a run is going to write, so that one that is there already is refused before the work."""
    structures = [f"target-{number}{SUFFIXES[name]}" for number in range(1, targets + 1) for name in formats]
    return [*structures, "report.html", "summary.json"]


def write_results(
    folder: Path,
    prior: Volume | None,
    structures: StructureSet | None,
    visits: Iterable[Visit],
    *,
    formats: Sequence[str] | None,
    model: SamModel,
    settings: object,
    note: str = "",
    course: Course | None = None,
) -> dict[str, object]:
    """Write everything into ``folder``; returns the summary, which ``summary.json`` holds too.

    Args:
        prior, structures: None where contours were found without a prior.
        visits: taken one at a time; each is written and reported before the next is asked for, and not kept.
        formats: for every target; ``None`` for :func:`default_formats`.
        note: a sentence for the head of the report.
        course: collects what changes from visit to visit, where it is to be told.
    """
    targets: list[dict[str, object]] = []

    def written() -> Iterator[Visit]:
        for visit in visits:
            targets.append(_write_visit(folder, len(targets) + 1, visit, formats, model))
            if course is not None:
                course.add(visit.title, visit.propagation.structures)
            yield visit
            del visit  # or it would be in memory beside the next one

    report = write_report(
        folder, prior, structures, written(), model=model, settings=settings, note=note, course=course
    )
    summary: dict[str, object] = {
        "notice": NOTICE,
        "version": adaptsam.__version__,
        "model": {"kind": model.kind, "sha256": model.sha256},
        "settings": settings,
        "report": report.name,
        "targets": targets,
    }
    if course is not None:
        summary["motion" if course.moving else "course"] = course.summary()
    (folder / "summary.json").write_text(json_text(summary) + "\n", encoding="utf-8")
    return summary


def _write_visit(
    folder: Path, number: int, visit: Visit, formats: Sequence[str] | None, model: SamModel
) -> dict[str, object]:
    """Write one target's structures; returns its part of the summary."""
    files = {}
    for name in formats or default_formats(visit.volume):
        files[name] = f"target-{number}{SUFFIXES[name]}"
        write_structures(folder / files[name], visit.propagation.structures, visit.volume, model=model.sha256)
    return {
        "target": number,
        "title": visit.title,
        "files": files,
        "structures": [summarise(report) for report in visit.propagation.reports],
        "agreement": dict(visit.agreements),
        "agreement_of_registration_alone": dict(visit.baseline),
        "warnings": visit.propagation.warnings,
        "encoded_images": visit.propagation.encoded,
    }


def summarise(report: StructureReport) -> dict[str, object]:
    """What a program needs of one structure; slices by their index in the target's array."""
    return {
        "name": report.name,
        "status": report.status,
        "volume_cm3": report.volume_cm3,
        "prior_volume_cm3": report.prior_volume_cm3,
        "centroid_shift_mm": report.centroid_shift_mm,
        "slices": [
            {
                "index": slice_.index,
                "prior_index": slice_.prior_index if slice_.prior_index >= 0 else None,
                "accepted": slice_.accepted,
                "interpolated": slice_.interpolated,
                "confidence": slice_.confidence,
                "distance": slice_.distance,
                "threshold": slice_.threshold,
            }
            for slice_ in report.slices
        ],
        "lowest_confidence": min((slice_.confidence for slice_ in report.worst_slices), default=None),
    }


def table_rows(visit: Visit) -> list[dict[str, object]]:
    """One row a structure, for the terminal."""
    rows = []
    for report in visit.propagation.reports:
        row: dict[str, object] = {"structure": report.name, "status": report.status}
        if math.isfinite(report.prior_volume_cm3):
            row |= {
                "prior cm³": float(report.prior_volume_cm3),
                "now cm³": float(report.volume_cm3),
                "shift mm": float(report.centroid_shift_mm),
            }
        else:
            row["cm³"] = float(report.volume_cm3)
        row["slices"] = len(report.worst_slices)
        row["lowest conf."] = min((slice_.confidence for slice_ in report.worst_slices), default=None)
        if report.name in visit.agreements:
            agreement = visit.agreements[report.name]
            row |= {"Dice": agreement.dice, "HD95 mm": agreement.hausdorff_95, "surf. Dice": agreement.surface_dice}
        if report.name in visit.baseline:
            row["Dice, rigid"] = visit.baseline[report.name].dice
        rows.append(row)
    return rows
