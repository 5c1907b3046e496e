"""Output folder of a run: structures in the formats requested, the report, and a summary for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import adaptsam
from adaptsam.commands.console import json_text, print_table, printable
from adaptsam.errors import InputError
from adaptsam.image import StructureSet, Volume
from adaptsam.image.remarks import rows_of
from adaptsam.io import ImageSource, write_structures
from adaptsam.io.labelmaps import without_overlaps
from adaptsam.provenance import NOTICE
from adaptsam.report.course_report import Course
from adaptsam.report.volume_report import Visit, write_report

if TYPE_CHECKING:
    from adaptsam.sam import SamModel
    from adaptsam.slicewise.slice_report import StructureReport

#: The formats of --format and the ends of their files' names.
SUFFIXES = {
    "rtstruct": ".rtstruct.dcm",
    "dicom-seg": ".seg.dcm",
    "seg.nrrd": ".seg.nrrd",
    "nrrd": ".nrrd",
    "nifti": ".nii.gz",
}
ALIASES = {"seg": "dicom-seg"}
#: Formats with one label a voxel.
LABELMAPS = ("nrrd", "nifti")


@dataclass(frozen=True)
class Told:
    """Rows and sentences for the terminal about one target."""

    title: str
    rows: Sequence[dict[str, object]]
    warnings: Sequence[str]


@dataclass(frozen=True)
class Results:
    """Written results: ``summary`` is that of ``summary.json``, ``told`` is shown on the terminal for each target."""

    summary: dict[str, object]
    told: tuple[Told, ...]


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


def default_formats(target: Volume | ImageSource) -> tuple[str, ...]:
    """RTSTRUCT only where there is a DICOM series that it can refer to."""
    return ("rtstruct", "seg.nrrd") if target.dicom and target.dicom.sop_instance_uids else ("seg.nrrd",)


def planned_files(formats: Sequence[Sequence[str]]) -> list[str]:
    """The files that a run is going to write, so that one that is there already is refused before the work.

    ``formats`` has those of each target.
    """
    structures = [f"target-{number}{SUFFIXES[name]}" for number, names in enumerate(formats, start=1) for name in names]
    return [*structures, "report.html", "summary.json"]


def left_over(folder: Path, planned: Sequence[str]) -> list[str]:
    """Contours in the output that are not this run's: an earlier one had more targets, or other formats."""
    there = {path.name for suffix in SUFFIXES.values() for path in folder.glob(f"target-*{suffix}")}
    return sorted(there - set(planned))


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
    expected: int = 1,
) -> Results:
    """Write everything into ``folder``.

    Args:
        prior, structures: None where contours were found without a prior.
        visits: taken one at a time; each is written and reported before the next is requested, and not kept.
        formats: for every target; ``None`` for :func:`default_formats`.
        note: a sentence for the head of the report.
        course: collects what changes from visit to visit, where that is wanted.
        expected: how many visits there will be.
    """
    targets: list[dict[str, object]] = []
    told: list[Told] = []

    def written() -> Iterator[Visit]:
        for visit in visits:
            files = _write_structures(folder, len(told) + 1, visit, formats, model)
            visit = _with_losses(visit, files)
            targets.append(_visit_summary(len(told) + 1, visit, files))
            told.append(Told(visit.title, table_rows(visit), visit.propagation.warnings))
            if course is not None:
                course.add(visit.title, visit.propagation.structures)
            yield visit
            del visit  # or it would be in memory beside the next one

    report = write_report(
        folder,
        prior,
        structures,
        written(),
        model=model,
        settings=settings,
        note=note,
        course=course,
        targets=expected,
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
    return Results(summary, tuple(told))


def _write_structures(
    folder: Path, number: int, visit: Visit, formats: Sequence[str] | None, model: SamModel
) -> dict[str, str]:
    """Write one target's structures; the files' names by their formats."""
    files = {}
    for name in formats or default_formats(visit.volume):
        files[name] = f"target-{number}{SUFFIXES[name]}"
        structures = visit.propagation.structures
        if name in LABELMAPS:
            structures = without_overlaps(structures)[0]
        write_structures(folder / files[name], structures, visit.volume, model=model.sha256)
    return files


def _with_losses(visit: Visit, files: Mapping[str, str]) -> Visit:
    """The visit with a warning where labelmaps could not hold all of it."""
    labelmaps = [file for name, file in files.items() if name in LABELMAPS]
    lost = without_overlaps(visit.propagation.structures)[1] if labelmaps else ()
    if not lost:
        return visit
    text = (
        f"A labelmap holds one structure a voxel: in {' and '.join(labelmaps)}, what {' and '.join(lost)} "
        f"share{'s' if len(lost) == 1 else ''} with a smaller structure belongs to that one; seg.nrrd holds all."
    )
    propagation = replace(visit.propagation, warnings=(*visit.propagation.warnings, text))
    return replace(visit, propagation=propagation)


def _visit_summary(number: int, visit: Visit, files: Mapping[str, str]) -> dict[str, object]:
    """One target's part of the summary."""
    return {
        "target": number,
        "title": visit.title,
        "files": files,
        "structures": [summarise(report) for report in visit.propagation.reports],
        "agreement": dict(visit.agreements),
        "agreement_of_registration_alone": dict(visit.baseline),
        "warnings": visit.propagation.warnings,
        "remarks": rows_of(visit.propagation.remarks),
        "encoded_images": visit.propagation.encoded,
    }


def summarise(report: StructureReport) -> dict[str, object]:
    """Summarise one structure for programs; slices by their index in the target's array."""
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
                "carried": slice_.carried,
                "confidence": slice_.confidence,
                "distance": slice_.distance,
                "threshold": slice_.threshold,
            }
            for slice_ in report.slices
        ],
        "lowest_confidence": min((slice_.confidence for slice_ in report.held_slices), default=None),
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
        row["slices"] = len(report.held_slices)
        row["lowest conf."] = min((slice_.confidence for slice_ in report.held_slices), default=None)
        if report.name in visit.agreements:
            agreement = visit.agreements[report.name]
            row |= {"Dice": agreement.dice, "HD95 mm": agreement.hausdorff_95, "surf. Dice": agreement.surface_dice}
        if report.name in visit.baseline:
            row["Dice, rigid"] = visit.baseline[report.name].dice
        rows.append(row)
    return rows


def tell(told: Sequence[Told], output: Path, planned: Sequence[str], course: Course | None = None) -> None:
    """The tables and warnings of a run on the terminal; ``planned`` are the files that it wrote."""
    said: set[str] = set()
    for one in told:
        print_table(one.rows, one.title)
        # What is true of the prior is true for every target, and said with the first.
        new = [warning for warning in one.warnings if not (warning.startswith("Prior ") and warning in said)]
        print("".join(f"  ! {printable(warning)}\n" for warning in new), end="")
        said.update(one.warnings)
    if course is not None and course.moving:
        print_table(course.rows(), "Motion, relative to the contoured phase")
    left = left_over(output, planned)
    if left:
        print(f"\n  ! {', '.join(left)} in {output} {'is' if len(left) == 1 else 'are'} of an earlier run.")
    print(f"\nLook at {output / 'report.html'} before you use anything. For research use only.")
