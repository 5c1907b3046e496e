"""Images that a propagation is from and to: single targets, the phases of a 4D scan, the visits of a patient.

Everything that can be known without pixels is checked here, before the work: paths, series, patients, formats.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adaptsam.errors import GeometryError, InputError
from adaptsam.image import Volume
from adaptsam.image.patient_identity import same_person
from adaptsam.io import ImageSource, Phase, drawn_on, find_image, find_phases, find_visits, series_drawn_on
from adaptsam.io.dicom.series_reader import SeriesInfo
from adaptsam.io.patient_folder import PatientVisit
from adaptsam.progress import Progress


@dataclass(frozen=True)
class Sources:
    """The prior and its targets, not yet read.

    ``place`` is how many targets come before the prior, and ``moving`` whether all are phases of one scan.
    """

    prior: ImageSource
    targets: tuple[ImageSource, ...]
    place: int = 0
    moving: bool = False


def find_sources(args: argparse.Namespace) -> Sources:
    """Find the images that the options of ``adaptsam propagate`` name.

    Raises:
        InputError: a path or series cannot be used, phases or visits are not to be told, or options contradict.
    """
    _check_options(args)
    found = _found(args)
    prior = replace(found.prior, modality=args.prior_modality or "")
    targets = tuple(replace(target, modality=args.target_modality or "") for target in found.targets)
    return replace(found, prior=prior, targets=targets)


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that nothing would listen to."""
    for unheard, complaint in (
        (args.prior_phase and not args.phases, "--prior-phase is for --phases; leave it out."),
        (args.prior_phase and args.prior_image, "--prior-phase and --prior-image contradict each other; give one."),
        (args.target_series and not args.target, "--target-series is for --target; leave it out."),
        (
            args.prior_series and args.phases and not args.prior_image,
            "--prior-series is for --prior-image; tell the contoured one of the phases with --prior-phase.",
        ),
    ):
        if unheard:
            raise InputError(complaint)


def _found(args: argparse.Namespace) -> Sources:
    if args.phases:
        return _phases(args)
    if args.patient:
        return _visits(args)
    if not args.prior_image:
        raise InputError("--prior-image is missing: the image that the contours were drawn on.")
    series = args.prior_series
    if series is None and args.prior_image.is_dir():
        series = series_drawn_on(args.prior_image, args.prior_mask)
    prior = find_image(args.prior_image, series)
    pairs = target_sources(args.target, args.target_series)
    targets = [find_image(path, series, f"Target {n}") for n, (path, series) in enumerate(pairs, start=1)]
    return Sources(prior, tuple(targets))


def check_sources(sources: Sources, formats: Sequence[str] | None, allow_different_patients: bool) -> None:
    """Refuse other patients, and DICOM objects for images that are not DICOM."""
    check_formats(sources.targets, formats)
    for target in sources.targets:
        if allow_different_patients or target.dicom is None or sources.prior.dicom is None:
            continue
        if same_person(sources.prior.dicom, target.dicom) is False:
            raise GeometryError(
                f"{target.title} and the prior image are of different patients; "
                "allow different patients if that is meant."
            )


def read_each(targets: Sequence[ImageSource], progress: Progress) -> Iterator[Volume]:
    """The targets, each read when it is requested."""
    for number, target in enumerate(targets):
        progress("reading", number, len(targets))
        yield target.read()


def target_sources(paths: Sequence[Path], series: Sequence[str] | None) -> list[tuple[Path, str | None]]:
    """Every target's path and series: one series for all paths, one for each, or several series of one folder."""
    if not series:
        return [(path, None) for path in paths]
    if len(paths) == 1:
        return [(paths[0], one) for one in series]
    if len(series) not in (1, len(paths)):
        raise InputError(
            f"There are {len(paths)} targets and {len(series)} target series; give one series for all, or one for each."
        )
    each = series if len(series) == len(paths) else [series[0]] * len(paths)
    return list(zip(paths, each, strict=True))


def check_formats(targets: Sequence[ImageSource], formats: Sequence[str] | None) -> None:
    """Raise :class:`InputError` before the work where a DICOM object is requested and cannot be written."""
    wanted = [name for name in ("rtstruct", "dicom-seg") if name in (formats or ())]
    for number, target in enumerate(targets, start=1):
        if wanted and target.dicom is None:
            kind = {"rtstruct": "RTSTRUCT", "dicom-seg": "DICOM SEG"}[wanted[0]]
            raise InputError(
                f"Target {number} is not a DICOM series, so that no {kind} can refer to it; choose --format seg.nrrd."
            )


def _phases(args: argparse.Namespace) -> Sources:
    phases = find_phases(args.phases)
    everything = tuple(phase.source for phase in phases)
    if args.prior_image:
        prior = find_image(args.prior_image, args.prior_series, "prior")
        found = [n for n, source in enumerate(everything) if source.files == prior.files]
        if not found:
            return Sources(prior, everything, moving=_one_frame((prior, *everything)))
        place = found[0]
    else:
        place = _contoured_phase(args, phases)
    targets = everything[:place] + everything[place + 1 :]
    return Sources(everything[place], targets, place, _one_frame(everything))


def _contoured_phase(args: argparse.Namespace, phases: Sequence[Phase]) -> int:
    """The contoured phase: the one requested, or the one that the contours name."""
    labels = [phase.label for phase in phases]
    if args.prior_phase is not None:
        wanted = args.prior_phase.replace("%", "").strip()
        alike = [n for n, label in enumerate(labels) if label.removesuffix(" %") == wanted]
        if not alike:
            raise InputError(f"There is no phase {args.prior_phase!r}; there are {', '.join(labels)}.")
        return alike[0]
    named = drawn_on(args.prior_mask)
    found = [n for n, phase in enumerate(phases) if phase.source.dicom and phase.source.dicom.series_uid in named]
    if len(found) != 1:
        raise InputError(
            f"{args.prior_mask.name} does not tell on which of the phases {', '.join(labels)} it was drawn; "
            "give it with --prior-phase."
        )
    return found[0]


def _one_frame(sources: Sequence[ImageSource]) -> bool:
    frames = {source.dicom.frame_of_reference_uid if source.dicom else "" for source in sources}
    return len(frames) == 1 and "" not in frames


def _visits(args: argparse.Namespace) -> Sources:
    visits = find_visits(args.patient)
    place, info = _contoured_visit(args, visits)
    prior = find_image(args.prior_image, args.prior_series) if args.prior_image else _of(visits[place], info)
    targets = [
        visit.source(info, f"Visit {number}") for number, visit in enumerate(visits, start=1) if number != place + 1
    ]
    if not targets:
        raise InputError(f"{args.patient.name} holds one visit only; there is nothing to carry its contours to.")
    others = [visit for number, visit in enumerate(visits) if number != place]
    titled = [
        replace(target, title=f"{target.title}, {_days((visit.day - visits[place].day).days)}")
        for target, visit in zip(targets, others, strict=True)
    ]
    return Sources(replace(prior, title="prior"), tuple(titled), place)


def _contoured_visit(args: argparse.Namespace, visits: Sequence[PatientVisit]) -> tuple[int, SeriesInfo]:
    """The contoured visit, and its contoured series."""
    if args.prior_image:
        prior = find_image(args.prior_image, args.prior_series)
        named = [prior.dicom.series_uid] if prior.dicom else []
    elif args.prior_series:
        named = [args.prior_series]
    else:
        named = drawn_on(args.prior_mask)
    found = [(n, info) for n, visit in enumerate(visits) for info in visit.series if _is_named(info, named)]
    if len(found) != 1:
        raise InputError(
            f"It is not told on which of the {len(visits)} visits {args.prior_mask.name} was drawn; "
            "give that visit's image, which must lie in the patient's folder, with --prior-image."
        )
    return found[0]


def _is_named(info: SeriesInfo, named: Sequence[str]) -> bool:
    """Whether a series is one of these, by UID or, as a user may say, by number."""
    return info.uid in named or (info.number is not None and str(info.number) in named)


def _of(visit: PatientVisit, info: SeriesInfo) -> ImageSource:
    from adaptsam.io.files import series_source

    return series_source(visit.folder, info, "prior")


def _days(days: int) -> str:
    if days == 0:
        return "the same day"
    count = f"{abs(days)} day{'s' if abs(days) > 1 else ''}"
    return f"{count} {'after' if days > 0 else 'before'} the prior"
