"""``adaptsam phantom``: a synthetic patient on disk, as a hospital would send one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adaptsam.commands.console import ProgressBars, add_output_options, print_json
from adaptsam.progress import Progress

if TYPE_CHECKING:
    from adaptsam.data.phantom import PhantomVisit

DESCRIPTION = """\
Write a synthetic thorax patient as DICOM CT with RTSTRUCT, one folder a visit. Every contour is exact.

  adaptsam phantom --output patient --visits 3 --seed 7
  adaptsam propagate --prior-image patient/visit-1/ct --prior-mask patient/visit-1/rtstruct.dcm \\
                     --target patient/visit-2/ct --target patient/visit-3/ct --output result
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "phantom",
        help="write a synthetic patient as DICOM",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0, help="the patient; default: 0")
    parser.add_argument("--visits", type=int, default=2, help="how many visits; default: 2")
    add_output_options(parser, "the patient")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from adaptsam.data import staged_output
    from adaptsam.data.phantom import phantom_patient

    first = "visit-1/rtstruct.dcm"
    with staged_output(args.output, [first], overwrite=args.overwrite) as stage, ProgressBars(args.quiet) as progress:
        progress("drawing the patient", 0, 1)
        visits = phantom_patient(args.seed, visits=args.visits)
        progress("drawing the patient", 1, 1)
        folders = write_patient(stage, visits, progress)
    described = [
        {"visit": folder.name, "description": visit.description, "structures": visit.structures.names}
        for folder, visit in zip(folders, visits, strict=True)
    ]
    if args.json:
        print_json({"seed": args.seed, "visits": described})
        return
    for folder, visit in zip(folders, visits, strict=True):
        print(f"{args.output / folder.name}: {visit.description}")


def write_patient(folder: Path, visits: Sequence[PhantomVisit], progress: Progress) -> list[Path]:
    """Write ``visit-1/ct/*.dcm`` and ``visit-1/rtstruct.dcm`` and so on; returns the folders of the visits."""
    from adaptsam.data import write_dicom_series, write_structures

    folders = []
    for number, visit in enumerate(visits, start=1):
        progress("writing DICOM", number - 1, len(visits))
        folders.append(folder / f"visit-{number}")
        description = f"AdaptSAM phantom, visit {number}"
        image = write_dicom_series(folders[-1] / "ct", visit.volume, description=description)
        write_structures(folders[-1] / "rtstruct.dcm", visit.structures, image)
    progress("writing DICOM", len(visits), len(visits))
    return folders
