"""``adaptsam info``: what is in a file or a folder, without the patient's identity."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adaptsam.commands.console import add_talk_options, print_json, print_table, printable

if TYPE_CHECKING:
    from adaptsam.image import StructureSet, Volume
    from adaptsam.io import SeriesInfo

DESCRIPTION = """\
Show the geometry of an image, the series of a folder, the structures of a file. No patient identity is printed.

  adaptsam info planning_ct                              the series, and the grid where there is one series
  adaptsam info planning_ct --series 3                   one of several, by number or UID
  adaptsam info planning_ct --structures rtstruct.dcm    the structures too: names, volumes, slices
  adaptsam info image.nii.gz --json                      for programs
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "info",
        help="what is in a file or a folder",
        description=DESCRIPTION,
    )
    parser.add_argument("path", type=Path, help="a DICOM folder or file, NIfTI, NRRD or MetaImage")
    parser.add_argument("--series", metavar="ID", help="UID or number, where a folder holds several series")
    parser.add_argument("--structures", type=Path, metavar="FILE", help="RTSTRUCT, SEG, .seg.nrrd or labelmap on it")
    add_talk_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from adaptsam.io import list_series, read_structures, read_volume, series_drawn_on

    series = list_series(args.path) if args.path.is_dir() else ()
    facts: dict[str, object] = {"series": [describe_series(info) for info in series]}
    chosen = args.series
    if chosen is None and args.structures and len(series) > 1:
        chosen = series_drawn_on(args.path, args.structures)
    if len(series) < 2 or chosen or args.structures:
        volume = read_volume(args.path, chosen)
        facts["image"] = describe_volume(volume)
        if args.structures:
            facts["structures"] = describe_structures(read_structures(args.structures, volume))
    if args.json:
        print_json(facts)
    else:
        _print(facts)


def describe_series(info: SeriesInfo) -> dict[str, object]:
    return {
        "number": info.number,
        "modality": info.modality,
        "slices": info.slices,
        "description": info.description,
        "uid": info.uid,
    }


def describe_volume(volume: Volume) -> dict[str, object]:
    geometry = volume.geometry
    facts: dict[str, object] = {
        "modality": volume.modality or "unknown",
        "slices, rows, columns": geometry.shape,
        "spacing i, j, k (mm)": geometry.spacing,
        "origin LPS (mm)": geometry.origin,
        "direction": geometry.direction,
        "intensities": (float(volume.array.min()), float(volume.array.max())),
        "from DICOM": volume.dicom is not None,
    }
    if geometry.is_sheared:
        facts["tilt of the gantry (degrees)"] = round(geometry.tilt_deg, 2)
    return facts


def describe_structures(structures: StructureSet) -> list[dict[str, object]]:
    cm3 = structures.geometry.voxel_volume / 1000
    return [
        {
            "structure": structure.name,
            "type": structure.interpreted_type,
            "volume cm³": float(structure.mask.sum() * cm3),
            "slices": int(structure.mask.any(axis=(1, 2)).sum()),
        }
        for structure in structures.structures
    ]


def _print(facts: dict[str, object]) -> None:
    if facts["series"]:
        print_table(facts["series"], "Series")  # type: ignore[arg-type]
    if "image" in facts:
        print("\nImage")
        for name, value in facts["image"].items():  # type: ignore[attr-defined]
            print(f"  {name}: {_words(value)}")
    if "structures" in facts:
        print_table(facts["structures"], "Structures")  # type: ignore[arg-type]


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(_words(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else printable(str(value))
