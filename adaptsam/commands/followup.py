"""``adaptsam followup``: a later visit of a real patient, made so that its contours are known."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adaptsam.commands.command_parser import section
from adaptsam.commands.console import ProgressBars, add_output_options, print_json, printable

if TYPE_CHECKING:
    from adaptsam.synthetic.digital_followup import FollowUp

DESCRIPTION = """\
Make a later visit from a real CT with contours, so that its true contours are known: another set-up, breath and
scanner, and a target that shrinks or grows by replacing tissue. Written as DICOM CT with RTSTRUCT,
as a hospital would send it.

  adaptsam followup --image planning_ct --mask rtstruct.dcm --target GTV-1 --change medium --output week-4
  adaptsam followup --image planning_ct --mask rtstruct.dcm --tumour vanish --seed 3 --output month-3
  adaptsam propagate --prior-image planning_ct --prior-mask rtstruct.dcm --target week-4/ct \\
                     --reference week-4/rtstruct.dcm --output result
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "followup",
        help="make a later visit with known contours from a real CT",
        description=DESCRIPTION,
    )
    inputs, change = section(parser, "inputs"), section(parser, "what changes")
    inputs.add_argument("--image", required=True, type=Path, metavar="PATH", help="the CT: a DICOM folder or a file")
    inputs.add_argument("--mask", required=True, type=Path, metavar="PATH", help="its structures")
    inputs.add_argument("--series", help="UID or number, where a folder holds several series")
    inputs.add_argument("--target", default="GTV-1", metavar="NAME", help="the structure that changes; default: GTV-1")
    change.add_argument("--change", default="medium", help="how much changes: small, medium, large; default: medium")
    change.add_argument(
        "--tumour",
        default="regress",
        metavar="FATE",
        help="regress, grow, vanish, split, necrosis or same; default: regress",
    )
    change.add_argument("--seed", type=int, default=0, help="directions and shapes are drawn from it; default: 0")
    detail = parser.add_argument_group("in place of what --change says")
    detail.add_argument("--volume-ratio", type=float, metavar="R", help="new volume of the target by the old one")
    detail.add_argument("--shift-mm", type=float, metavar="MM", help="set-up shift")
    detail.add_argument("--rotation-deg", type=float, metavar="DEG", help="set-up rotation")
    detail.add_argument("--breathing-mm", type=float, metavar="MM", help="displacement of the diaphragm")
    detail.add_argument("--weight-mm", type=float, metavar="MM", help="displacement of the skin, outwards")
    detail.add_argument("--noise-hu", type=float, metavar="HU", help="noise that is added")
    detail.add_argument("--slice-mm", type=float, metavar="MM", help="distance of the slices")
    detail.add_argument("--kernel", help="soft, standard or sharp")
    detail.add_argument("--days", type=int, metavar="N", help="days between the visits")
    detail.add_argument("--field-of-view", metavar="FOV", help="whole, or away: the scan ends short of the target")
    add_output_options(parser, "the later visit")
    parser.set_defaults(run=run)


_CHOSEN = (
    "volume_ratio",
    "shift_mm",
    "rotation_deg",
    "breathing_mm",
    "weight_mm",
    "noise_hu",
    "slice_mm",
    "kernel",
    "days",
    "field_of_view",
)


def run(args: argparse.Namespace) -> None:
    from adaptsam.image.remarks import rows_of, warnings_of
    from adaptsam.io import read_structures, read_volume
    from adaptsam.storage import staged_output
    from adaptsam.synthetic.digital_followup import digital_followup, settings_for

    settings = settings_for(args.change, args.tumour, **{name: getattr(args, name) for name in _CHOSEN})
    with (
        staged_output(args.output, ["rtstruct.dcm"], overwrite=args.overwrite) as stage,
        ProgressBars(args.quiet) as progress,
    ):
        prior = read_volume(args.image, args.series)
        structures = read_structures(args.mask, prior)
        remarks = {"image": prior.remarks, "contours": structures.remarks}
        later = digital_followup(prior, structures, args.target, seed=args.seed, settings=settings, progress=progress)
        write_followup(stage, later)
    if args.json:
        cm3 = later.volume.geometry.voxel_volume / 1000
        volumes = {one.name: float(one.mask.sum() * cm3) for one in later.structures.structures}
        print_json(
            {
                "description": later.description,
                "settings": settings,
                "volumes_cm3": volumes,
                "remarks": rows_of(remarks),
            }
        )
        return
    print(f"{args.output}: {later.description}.")
    print("".join(f"  ! {printable(warning)}\n" for warning in warnings_of(remarks)), end="")


def write_followup(folder: Path, later: FollowUp) -> None:
    """Write ``ct/*.dcm`` and ``rtstruct.dcm`` into a folder."""
    from adaptsam.io import write_dicom_series, write_structures

    image = write_dicom_series(folder / "ct", later.volume, description="AdaptSAM digital follow-up")
    write_structures(folder / "rtstruct.dcm", later.structures, image)
