"""``adaptsam phantom``: a synthetic patient on disk, as a hospital would send one."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from adaptsam.commands.command_parser import section
from adaptsam.commands.console import ProgressBars, add_output_options, json_text, print_json
from adaptsam.errors import InputError

if TYPE_CHECKING:
    from adaptsam.synthetic.thorax_phantom import Breathing, PhantomSettings, PhantomVisit, Scanner

T = TypeVar("T")

DESCRIPTION = """\
Write a synthetic thorax patient as DICOM CT with RTSTRUCT, one folder a visit. Every contour is exact; truth.json
has what is known besides: volumes, and how far each organ moved.

  adaptsam phantom --output patient --visits 3 --seed 7
  adaptsam propagate --prior-image patient/visit-1/ct --prior-mask patient/visit-1/rtstruct.dcm \\
                     --target patient/visit-2/ct --target patient/visit-3/ct --output result

  adaptsam phantom --output 4d --visits 1 --phases 10 --diaphragm 20
  adaptsam phantom --output weekly --visits 6 --course shrink --weight -2 --modality cbct

An endoscopy video of a polyp on the wall of a colon, as video.mp4 or .avi, with the exact mask of each frame as PNG:

  adaptsam phantom endoscopy --output polyp --frames 200 --seed 3
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "phantom",
        help="write a synthetic patient as DICOM",
        description=DESCRIPTION,
    )
    parser.add_argument(
        "kind", nargs="?", choices=("thorax", "endoscopy"), default="thorax", help="what is drawn; default: thorax"
    )
    section(parser, "thorax and endoscopy").add_argument("--seed", type=int, default=0, help="the patient; default: 0")
    _add_course_options(parser.add_argument_group("thorax: from visit to visit"))
    _add_breathing_options(parser.add_argument_group("thorax: breathing"))
    _add_scan_options(parser.add_argument_group("thorax: body and scanner"))
    _add_video_options(parser.add_argument_group("endoscopy"))
    add_output_options(parser, "the patient")
    # What was given for the other kind is refused rather than ignored.
    parser.set_defaults(run=lambda args: run(args, {name: parser.get_default(name) for name in vars(args)}))


def _add_course_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--visits", type=int, default=2, help="how many visits, a week apart; default: 2")
    group.add_argument(
        "--course",
        default="random",
        metavar="NAME",
        help="the tumour's: stable, grow, shrink, necrosis, vanish (gone at the last visit), or random, the default",
    )
    group.add_argument(
        "--weight", type=float, default=0.0, metavar="PERCENT", help="change of weight from visit to visit, as -2"
    )


def _add_breathing_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--phases", type=int, default=0, help="a 4D scan of so many phases; default: held breath")
    group.add_argument("--diaphragm", type=float, metavar="MM", help="how far the diaphragm moves; default: 15")
    group.add_argument(
        "--tumour-motion", type=float, metavar="MM", help="how far the tumour goes down; default: as the lung around it"
    )
    group.add_argument("--hysteresis", type=float, metavar="MM", help="half the width of the loop; default: 1.5")
    group.add_argument(
        "--layout",
        default="folders",
        metavar="NAME",
        help="of the phases: folders (one each, the default) or together (one for all)",
    )


def _add_scan_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--modality",
        choices=("ct", "cbct"),
        default="ct",
        help="of the visits after the first; cbct has cupping, streaks, rings, wrong HU, a small field; default: ct",
    )
    group.add_argument(
        "--scanner", default="therapy", metavar="NAME", help="therapy (the default), diagnostic, low-dose or cbct"
    )
    group.add_argument("--kernel", metavar="NAME", help="of the reconstruction: soft, standard or sharp")
    group.add_argument("--contrast", default="none", metavar="NAME", help="agent: none (the default), arterial, venous")
    group.add_argument(
        "--bronchi", type=int, default=0, metavar="N", help="generations beyond the main bronchi, 0 to 5"
    )
    group.add_argument("--liver-edge", action="store_true", help="a liver with a lower edge")
    group.add_argument(
        "--structures", metavar="NAMES", help="what is contoured, with commas between, or 'all'; default: five organs"
    )
    group.add_argument("--shape", type=_whole, metavar="K,J,I", help="slices, rows, columns; default: 72,256,256")
    group.add_argument("--spacing", type=_numbers, metavar="I,J,K", help="in mm; default: 1.7,1.7,4")


def _add_video_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--frames", type=int, default=100, help="how many; default: 100")
    group.add_argument("--fps", type=float, default=25.0, help="frames per second; default: 25")
    group.add_argument("--size", type=_size, default=(256, 256), metavar="H,W", help="in pixels; default: 256,256")
    group.add_argument("--polyp-radius", type=float, metavar="MM", help="1 to 12; default: drawn, 2.5 to 8")
    group.add_argument("--polyp-height", type=float, metavar="SHARE", help="0.15 (flat) to 1; default: drawn")
    group.add_argument(
        "--video", default="mp4", metavar="KIND", help="mp4 (the default), avi, mov, mkv, or png: frames without loss"
    )


_OF_ENDOSCOPY = ("frames", "fps", "size", "polyp_radius", "polyp_height", "video")
_OF_BOTH = ("kind", "seed", "output", "overwrite", "json", "quiet", "run")


def _size(text: str) -> tuple[int, int]:
    height, width = (int(part) for part in text.split(","))
    return height, width


def _whole(text: str) -> tuple[int, int, int]:
    slices, rows, columns = (int(part) for part in text.split(","))
    return slices, rows, columns


def _numbers(text: str) -> tuple[float, float, float]:
    i, j, k = (float(part) for part in text.split(","))
    return i, j, k


def run(args: argparse.Namespace, defaults: Mapping[str, object]) -> None:
    """Write the kind that was requested."""
    for name in vars(args):
        foreign = name not in _OF_BOTH and (name in _OF_ENDOSCOPY) == (args.kind == "thorax")
        if foreign and getattr(args, name) != defaults[name]:
            raise InputError(f"--{name.replace('_', '-')} means nothing to the {args.kind} phantom; leave it out.")
    if args.kind == "endoscopy":
        _write_endoscopy(args)
    else:
        _write_thorax(args)


def _write_endoscopy(args: argparse.Namespace) -> None:
    from adaptsam.storage import staged_output
    from adaptsam.synthetic.endoscopy.endoscopy_video import EndoscopySettings, write_endoscopy

    settings = EndoscopySettings(size=args.size, fps=args.fps, radius=args.polyp_radius, height=args.polyp_height)
    planned = ["masks/frame-000000.png"]
    with staged_output(args.output, planned, overwrite=args.overwrite) as stage, ProgressBars(args.quiet) as progress:
        told = write_endoscopy(stage, args.seed, args.frames, settings, kind=args.video, progress=progress)
        (stage / "truth.json").write_text(json_text({"seed": args.seed} | told) + "\n", encoding="utf-8")
    if args.json:
        print_json({"seed": args.seed} | told)
        return
    print(f"{args.output}: {told['description']}, to be seen in {told['visible_frames']} of {args.frames} frames")


def _write_thorax(args: argparse.Namespace) -> None:
    from adaptsam.storage import staged_output
    from adaptsam.synthetic.thorax_phantom import phantom_visits, truth

    settings = _settings(args)
    grid = {name: value for name in ("shape", "spacing") if (value := getattr(args, name)) is not None}
    first = "visit-1/rtstruct-00.dcm" if args.phases else "visit-1/rtstruct.dcm"
    with staged_output(args.output, [first], overwrite=args.overwrite) as stage, ProgressBars(args.quiet) as progress:
        visits = phantom_visits(args.seed, args.visits, settings=settings, progress=progress, **grid)
        described, known = [], []
        for name, visit in _written(stage, visits, args.layout):
            described.append({"visit": name, "description": visit.description, "structures": visit.structures.names})
            known.append({"visit": name} | truth(visit))
        whole = {"seed": args.seed, "settings": asdict(settings), "visits": known}
        (stage / "truth.json").write_text(json_text(whole) + "\n", encoding="utf-8")
    if args.json:
        print_json({"seed": args.seed, "visits": described})
        return
    for told in described:
        print(f"{args.output / str(told['visit'])}: {told['description']}")


def write_patient(folder: Path, visits: Iterable[PhantomVisit], layout: str = "folders") -> list[Path]:
    """Write ``visit-1/ct/*.dcm`` and ``visit-1/rtstruct.dcm`` and so on; returns the folders of the visits."""
    return [folder / name for name, _ in _written(folder, visits, layout)]


def _written(folder: Path, visits: Iterable[PhantomVisit], layout: str) -> Iterator[tuple[str, PhantomVisit]]:
    """The visits, each with its folder's name, once they are on disk."""
    from adaptsam.synthetic.thorax_phantom import write_visit

    for number, visit in enumerate(visits, start=1):
        name = f"visit-{number}"
        write_visit(folder / name, visit, description=f"AdaptSAM phantom, visit {number}", layout=layout)
        yield name, visit


def _settings(args: argparse.Namespace) -> PhantomSettings:
    from adaptsam.synthetic.thorax_phantom import (
        CONE_BEAM,
        CONE_BEAM_4D,
        CONTOURABLE,
        CONTOURED,
        CONTRASTS,
        COURSES,
        PhantomSettings,
    )

    if args.modality == "cbct" and args.visits == 1:
        raise InputError("Cone-beam scans are follow-ups; ask for more visits, or give --scanner cbct for all of them.")
    cone_beam = CONE_BEAM_4D if args.phases else CONE_BEAM
    names = tuple(CONTOURED)
    if args.structures:
        every = args.structures.strip().lower() == "all"
        names = tuple(CONTOURABLE) if every else tuple(name.strip() for name in args.structures.split(","))
    return PhantomSettings(
        course=_named(COURSES, args.course, "course"),
        weight=args.weight / 100,
        breathing=_breathing(args),
        contrast=_named(CONTRASTS, args.contrast, "contrast"),
        bronchi=args.bronchi,
        liver_edge=args.liver_edge,
        scanner=_scanner(args),
        follow_up=cone_beam if args.modality == "cbct" else None,
        contours=names,
    )


def _breathing(args: argparse.Namespace) -> Breathing:
    from adaptsam.synthetic.thorax_phantom import Breathing

    asked = {"diaphragm": args.diaphragm, "tumour": args.tumour_motion, "hysteresis": args.hysteresis}
    asked = {name: value for name, value in asked.items() if value is not None}
    if asked and not args.phases:
        raise InputError("With a held breath nothing moves; ask for breathing phases too, as --phases 10.")
    return Breathing(phases=args.phases, **asked)


def _scanner(args: argparse.Namespace) -> Scanner:
    from adaptsam.synthetic.thorax_phantom import SCANNERS

    scanner = _named(SCANNERS, args.scanner, "scanner")
    return scanner if args.kernel is None else replace(scanner, kernel=args.kernel)


def _named(known: Mapping[str, T], name: str, what: str) -> T:
    if name not in known:
        raise InputError(f"There is no {what} {name!r}; choose one of {', '.join(known)}.")
    return known[name]
