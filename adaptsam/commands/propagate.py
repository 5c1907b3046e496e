"""``adaptsam propagate``: the contours of a prior visit on one or many later images."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adaptsam.commands.console import (
    ProgressBars,
    add_cache_option,
    add_format_option,
    add_model_options,
    add_output_options,
    kept_store,
    load_model,
    print_json,
)
from adaptsam.commands.settings_options import add_settings_options, settings_from
from adaptsam.errors import InputError

if TYPE_CHECKING:
    from adaptsam.commands.image_sources import Sources
    from adaptsam.image import StructureSet, Volume
    from adaptsam.io import ImageSource
    from adaptsam.propagation.volume_propagation import Propagation
    from adaptsam.report.course_report import Course
    from adaptsam.report.volume_report import Visit

DESCRIPTION = """\
Carry contours to later visits. What it takes: the prior image, its contours, and one or many targets.

  adaptsam propagate --prior-image planning_ct --prior-mask rtstruct.dcm --target weekly_ct --output result

  only some structures, several targets:
  adaptsam propagate --prior-image planning_ct --prior-mask rtstruct.dcm --structure GTV-1 --structure Heart \\
                     --target week_1 --target week_2 --output result

  all phases of a 4D CT that lie in one folder, with their motion; all visits of a patient, by date:
  adaptsam propagate --phases 4dct --prior-mask phase_0.dcm --output result
  adaptsam propagate --patient patient --prior-mask rtstruct.dcm --output result

  how well it agrees with contours that somebody drew on the target:
  adaptsam propagate … --target weekly_ct --reference weekly_rtstruct.dcm --output result

  a larger model, on a GPU, and the contours as NIfTI too:
  adaptsam propagate … --checkpoint sam_vit_b_01ec64.pth --device cuda --format rtstruct,seg.nrrd,nifti

Phases are told by the series' descriptions (30 %), temporal positions or numbers. One image at a time is in memory.
Images are DICOM folders, NIfTI, NRRD or MetaImage; contours are RTSTRUCT, DICOM SEG, .seg.nrrd or labelmaps. The
result lies on the target's own grid: target-1.rtstruct.dcm, target-1.seg.nrrd, …, report.html, its pictures as files
too, and summary.json, all or none. nrrd and nifti hold one structure a voxel: where several lie, the smallest one.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "propagate",
        help="carry contours to later visits",
        description=DESCRIPTION,
    )
    _add_inputs(parser)
    add_model_options(parser)
    add_settings_options(parser)
    add_format_option(parser)
    add_cache_option(parser)
    add_output_options(parser, "the results")
    parser.set_defaults(run=run)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("inputs")
    group.add_argument(
        "--prior-image", type=Path, metavar="PATH", help="the image that has contours; found by them in 4D and patients"
    )
    group.add_argument("--prior-mask", required=True, type=Path, metavar="FILE", help="its contours")
    group.add_argument("--prior-series", metavar="ID", help="UID or number, where the contours do not tell")
    group.add_argument("--prior-phase", metavar="N", help="which of the --phases is contoured, as 0 or 50")
    group.add_argument(
        "--structure", action="append", metavar="NAME", help="a structure to carry; repeat for more; default: all"
    )
    to = group.add_mutually_exclusive_group(required=True)
    to.add_argument("--target", action="append", type=Path, metavar="PATH", help="a later image; repeat for more")
    to.add_argument("--phases", type=Path, metavar="DIR", help="a 4D scan: to all its phases, with their motion")
    to.add_argument("--patient", type=Path, metavar="DIR", help="a patient's folder: to all visits, by study date")
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
        help="contours of the target to measure against, beside registration alone; one for each target, in order",
    )
    group.add_argument(
        "--allow-different-patients",
        action="store_true",
        help="go on although the DICOM patient IDs of prior and target differ",
    )


def run(args: argparse.Namespace) -> None:
    from adaptsam.commands.image_sources import check_sources, find_sources, read_each
    from adaptsam.commands.result_files import default_formats, parse_formats, planned_files, tell, write_results
    from adaptsam.image import select_structures
    from adaptsam.io import read_structures
    from adaptsam.propagation.volume_propagation import propagate_each
    from adaptsam.storage import staged_output

    settings = settings_from(args)
    formats = parse_formats(args.format) if args.format else None
    with ProgressBars(args.quiet) as progress:
        progress("looking", 0, 1)
        sources = find_sources(args)
        check_sources(sources, formats, args.allow_different_patients)
        check_references(args.reference, sources.targets)
        planned = planned_files([formats or default_formats(target) for target in sources.targets])
        with staged_output(args.output, planned, overwrite=args.overwrite) as stage:
            prior = sources.prior.read()
            structures = select_structures(read_structures(args.prior_mask, prior, args.structure))
            model = load_model(args)
            carried = propagate_each(
                prior,
                structures,
                read_each(sources.targets, progress),
                total=len(sources.targets),
                model=model,
                settings=settings,
                progress=progress,
                store=kept_store(model, args),
                allow_different_patients=args.allow_different_patients,
            )
            titles = [target.title for target in sources.targets]
            course = _course(sources, structures)
            visits = _visits(carried, titles, prior, structures, args.reference or ())
            results = write_results(
                stage,
                prior,
                structures,
                visits,
                formats=formats,
                model=model,
                settings=settings,
                course=course,
                expected=len(titles),
            )
    if args.json:
        print_json(results.summary | {"output": args.output.resolve()})
    else:
        tell(results.told, args.output, planned, course)


def _course(sources: Sources, structures: StructureSet) -> Course | None:
    """Pages on the course over several targets."""
    from adaptsam.report.course_report import Course

    if len(sources.targets) < 2:
        return None
    return Course(structures, label=sources.prior.title or "prior", place=sources.place, moving=sources.moving)


def check_references(references: Sequence[Path] | None, targets: Sequence[ImageSource]) -> None:
    """Before the work: one for each target, and there."""
    if references and len(references) != len(targets):
        raise InputError(f"There are {len(targets)} targets and {len(references)} references; give one for each.")
    for path in references or ():
        if not path.exists():
            raise InputError(f"{path.name} does not exist; check the path.")


def _visits(
    carried: Iterator[tuple[Volume, Propagation]],
    titles: Sequence[str],
    prior: Volume,
    structures: StructureSet,
    references: Sequence[Path],
) -> Iterator[Visit]:
    """Each target as the report wants it."""
    from adaptsam.io import read_structures
    from adaptsam.report.volume_report import Visit, measured

    # No enumerate and no zip: they would hold a target while the next one is read.
    left, drawn = iter(titles), iter(references)
    for volume, propagation in carried:
        visit = Visit(next(left), volume, propagation)
        if references:
            visit = measured(visit, prior, structures, read_structures(next(drawn), volume))
        yield visit
        del visit, volume, propagation  # or they would be in memory beside the next ones
