"""``adaptsam propagate``: the contours of a prior visit on one or many later images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adaptsam.commands.console import (
    ProgressBars,
    add_model_options,
    add_output_options,
    load_model,
    print_json,
    print_table,
)
from adaptsam.commands.settings import add_settings_options, settings_from
from adaptsam.errors import InputError

if TYPE_CHECKING:
    from adaptsam.data import StructureSet, Volume
    from adaptsam.evaluate.report import Visit
    from adaptsam.progress import Progress

DESCRIPTION = """\
Carry contours to later visits. What it takes: the prior image, its contours, and one or many targets.

  adaptsam propagate --prior-image planning_ct --prior-mask rtstruct.dcm --target weekly_ct --output result

  only some structures, several targets:
  adaptsam propagate --prior-image planning_ct --prior-mask rtstruct.dcm --structure GTV-1 --structure Heart \\
                     --target week_1 --target week_2 --output result

  the ten phases of a 4D CT that lie in one folder, phase 0 contoured:
  adaptsam propagate --prior-image 4dct --prior-series 0 --prior-mask phase_0.dcm \\
                     --target 4dct --target-series 1 --target-series 2 … --output result

  how well it agrees with contours that somebody drew on the target:
  adaptsam propagate … --target weekly_ct --reference weekly_rtstruct.dcm --output result

  a larger model, on a GPU, and the contours as NIfTI too:
  adaptsam propagate … --checkpoint sam_vit_b_01ec64.pth --device cuda --format rtstruct,seg.nrrd,nifti

Images are DICOM folders, NIfTI, NRRD or MetaImage; contours are RTSTRUCT, DICOM SEG, .seg.nrrd or labelmaps. The
result lies on the target's own grid: target-1.rtstruct.dcm, target-1.seg.nrrd, …, report.html and summary.json, all or
none.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "propagate",
        help="carry contours to later visits",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_inputs(parser)
    add_model_options(parser)
    add_settings_options(parser)
    parser.add_argument(
        "--format",
        metavar="LIST",
        help="rtstruct, dicom-seg, seg.nrrd, nrrd, nifti, separated by commas; "
        "default: seg.nrrd, and rtstruct for DICOM targets",
    )
    add_output_options(parser, "the results")
    parser.set_defaults(run=run)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("inputs")
    group.add_argument("--prior-image", required=True, type=Path, metavar="PATH", help="the image that has contours")
    group.add_argument("--prior-mask", required=True, type=Path, metavar="FILE", help="its contours")
    group.add_argument("--prior-series", metavar="ID", help="UID or number, where the folder holds several series")
    group.add_argument(
        "--structure", action="append", metavar="NAME", help="a structure to carry; repeat for more; default: all"
    )
    group.add_argument(
        "--target", action="append", required=True, type=Path, metavar="PATH", help="a later image; repeat for more"
    )
    group.add_argument(
        "--target-series",
        action="append",
        metavar="ID",
        help="UID or number of the target's series; repeat it to take several series of one folder as targets",
    )
    for whose in ("prior", "target"):
        group.add_argument(
            f"--{whose}-modality",
            metavar="KIND",
            type=str.upper,
            choices=("CT", "CBCT", "MR", "US"),
            help=f"what the {whose} is (CT, CBCT, MR, US), where its file does not say or says it wrongly",
        )
    group.add_argument(
        "--reference",
        action="append",
        type=Path,
        metavar="FILE",
        help="contours of the target to measure against, beside registration alone; one for each --target",
    )
    group.add_argument(
        "--allow-different-patients",
        action="store_true",
        help="go on although the DICOM patient IDs of prior and target differ",
    )


def run(args: argparse.Namespace) -> None:
    from adaptsam.commands.outputs import parse_formats, planned_files, write_results
    from adaptsam.data import staged_output
    from adaptsam.evaluate.report import Visit, measured
    from adaptsam.propagate import propagate

    settings = settings_from(args)
    formats = parse_formats(args.format) if args.format else None
    sources = target_sources(args.target, args.target_series)
    if args.reference and len(args.reference) != len(sources):
        raise InputError(f"There are {len(sources)} targets and {len(args.reference)} references; give one for each.")
    planned = planned_files(len(sources), formats or ())
    with staged_output(args.output, planned, overwrite=args.overwrite) as stage, ProgressBars(args.quiet) as progress:
        given = read_inputs(args, sources, progress)
        check_formats(given.targets, formats)
        model = load_model(args)
        results = propagate(
            given.prior,
            given.structures,
            given.targets,
            model=model,
            settings=settings,
            progress=progress,
            allow_different_patients=args.allow_different_patients,
        )
        visits = [
            Visit(f"Target {number}", volume, propagation)
            for number, (volume, propagation) in enumerate(zip(given.targets, results, strict=True), start=1)
        ]
        if given.references:
            pairs = zip(visits, given.references, strict=True)
            visits = [measured(visit, given.prior, given.structures, reference) for visit, reference in pairs]
        summary = write_results(
            stage, given.prior, given.structures, visits, formats=formats, model=model, settings=settings
        )
    if args.json:
        print_json(summary | {"output": args.output.resolve()})
    else:
        _tell(visits, args.output)


@dataclass(frozen=True, eq=False)
class Inputs:
    """What was read; ``references`` are as many as targets, or none."""

    prior: Volume
    structures: StructureSet
    targets: Sequence[Volume]
    references: Sequence[StructureSet]


def read_inputs(args: argparse.Namespace, sources: Sequence[tuple[Path, str | None]], progress: Progress) -> Inputs:
    """Read everything before the work, so that a wrong path is told at once."""
    from adaptsam.data import read_structures, read_volume, select_structures

    total = len(sources) + 1
    progress("reading", 0, total)
    prior = _as_modality(read_volume(args.prior_image, args.prior_series), args.prior_modality)
    structures = select_structures(read_structures(args.prior_mask, prior), args.structure)
    targets = []
    for number, (path, series) in enumerate(sources, start=1):
        progress("reading", number, total)
        targets.append(_as_modality(read_volume(path, series), args.target_modality))
    references = [read_structures(path, on) for path, on in zip(args.reference or (), targets, strict=False)]
    progress("reading", total, total)
    return Inputs(prior, structures, targets, references)


def _as_modality(volume: Volume, modality: str | None) -> Volume:
    return replace(volume, modality=modality) if modality else volume


def _tell(visits: Sequence[Visit], output: Path) -> None:
    from adaptsam.commands.outputs import table_rows

    for visit in visits:
        print_table(table_rows(visit), visit.title)
        print("".join(f"  ! {warning}\n" for warning in visit.propagation.warnings), end="")
    print(f"\nLook at {output / 'report.html'} before you use anything. For research use only.")


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


def check_formats(targets: Sequence[Volume], formats: Sequence[str] | None) -> None:
    """Raise :class:`InputError` before the work where a DICOM object is asked for and cannot be written."""
    wanted = [name for name in ("rtstruct", "dicom-seg") if name in (formats or ())]
    for number, target in enumerate(targets, start=1):
        if wanted and (target.dicom is None or not target.dicom.sop_instance_uids):
            kind = {"rtstruct": "RTSTRUCT", "dicom-seg": "DICOM SEG"}[wanted[0]]
            raise InputError(
                f"Target {number} is not a DICOM series, so that no {kind} can refer to it; choose --format seg.nrrd."
            )
