"""``adaptsam info``: what is in a file or a folder, without the patient's identity."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptsam.commands.command_parser import section
from adaptsam.commands.console import add_talk_options, print_json, print_table, printable
from adaptsam.errors import InputError
from adaptsam.image.remarks import Remark, rows_of, sentences

if TYPE_CHECKING:
    from adaptsam.image import StructureSet, Volume
    from adaptsam.io import SeriesInfo

DESCRIPTION = """\
Show what is in a file or a folder of any kind, what of it would be left out, and why. No patient identity is printed.

  adaptsam info planning_ct                              the series, and the grid where there is one series
  adaptsam info planning_ct --series 3                   one of several, by number or UID
  adaptsam info planning_ct --structures rtstruct.dcm    the structures too: names, volumes, slices
  adaptsam info rtstruct.dcm                             ROIs, their contours and frames of reference
  adaptsam info image.nii.gz --json                      for programs
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "info",
        help="what is in a file or a folder",
        description=DESCRIPTION,
    )
    parser.add_argument(
        "path", type=Path, help="a folder, or a file of any kind: DICOM, NIfTI, NRRD, video, picture, …"
    )
    inputs = section(parser, "inputs")
    inputs.add_argument("--series", metavar="ID", help="UID or number, where a folder holds several series")
    inputs.add_argument("--structures", type=Path, metavar="FILE", help="RTSTRUCT, SEG, .seg.nrrd or labelmap on it")
    add_talk_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    facts = _folder(args) if args.path.is_dir() else _file(args)
    if args.json:
        print_json(facts)
    else:
        _print(facts)
    if "refused" in facts:
        raise InputError(str(facts["refused"]))


def _folder(args: argparse.Namespace) -> dict[str, object]:
    """The series of a folder, the image where one is meant, and what else lies there."""
    from adaptsam.io import list_series, series_drawn_on
    from adaptsam.io.contents import folder_contents

    series = list_series(args.path)
    facts: dict[str, object] = {"series": [describe_series(info) for info in series]}
    chosen = args.series
    if chosen is None and args.structures and len(series) > 1:
        chosen = series_drawn_on(args.path, args.structures)
    parts = [row for info in series for row in describe_parts(info)]
    if parts:
        facts["images of one series"] = parts
    whole = len(series) == 1 and not parts
    if chosen or args.structures:
        facts |= _image(args, chosen)
    elif whole:
        try:
            facts |= _image(args, None)
        except InputError as error:  # what else is there is told all the same
            facts["refused"] = str(error)
    elif series:
        about = {f"series {info.handle}": info.remarks for info in series}
        facts["remarks"] = rows_of(about)
    facts["files"] = folder_contents(args.path)
    return facts


def _image(args: argparse.Namespace, series: str | None) -> dict[str, object]:
    """An image, and the structures on it that were requested."""
    from adaptsam.image.intensity import unit_remarks
    from adaptsam.io import read_structures, read_volume

    volume = read_volume(args.path, series)
    facts: dict[str, object] = {"image": describe_volume(volume)}
    about = {"image": (*volume.remarks, *unit_remarks(volume))}
    if args.structures:
        structures = read_structures(args.structures, volume)
        facts["structures"] = describe_structures(structures)
        about["structures"] = structures.remarks
    return facts | {"remarks": rows_of(about)}


def _file(args: argparse.Namespace) -> dict[str, object]:
    """Facts of one file; a slice stands for its series."""
    from adaptsam.io.contents import file_contents
    from adaptsam.io.dicom.dicom_file import is_dicom, read_dicom
    from adaptsam.io.dicom.series_reader import find_series, is_slice

    path = args.path.absolute()
    if args.structures or args.series:
        return {"series": []} | _image(args, args.series)
    if path.is_file() and is_dicom(path) and is_slice(read_dicom(path), path):
        return {"series": [describe_series(find_series(path))]} | _image(args, None)
    found = file_contents(path)
    facts: dict[str, object] = {"series": [], "kind": found.kind, **({"facts": found.facts} if found.facts else {})}
    if found.image is not None:
        facts["image"] = describe_volume(found.image)
    if found.rows:
        facts["holds"] = list(found.rows)
    if found.structures is not None:
        facts["structures"] = describe_structures(found.structures)
    facts["remarks"] = rows_of({"file": found.remarks})
    return facts | ({"use": found.use} if found.use else {})


def describe_series(info: SeriesInfo) -> dict[str, object]:
    return {
        "number": info.number,
        "modality": info.modality,
        "slices": info.slices,
        "description": info.description,
        "uid": info.uid,
    }


def describe_parts(info: SeriesInfo) -> list[dict[str, object]]:
    """The images of a series that holds several, and what to call each with --series."""
    return [
        {"series": f"{info.handle}#{number}", "slices": len(part.files), "told by": info.told_by, "value": part.label}
        for number, part in enumerate(info.parts, start=1)
    ]


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


def _print(facts: dict[str, Any]) -> None:
    if "kind" in facts:
        print(f"{facts['kind'][:1].upper()}{facts['kind'][1:]}")
        _print_values(facts.get("facts", {}))
    for key, title in (("series", "Series"), ("images of one series", "Images of one series: choose one by --series")):
        if facts.get(key):
            print_table(facts[key], title)
    if "image" in facts:
        print("\nImage")
        _print_values(facts["image"])
    if facts.get("holds"):
        print_table(facts["holds"], "Contents")
    if "structures" in facts:
        print_table(facts["structures"], "Structures")
    if facts.get("files"):
        print_table(facts["files"], "Other files")
    remarks = [Remark(one["what"], one["count"], one["why"], one["left_out"]) for one in facts.get("remarks", ())]
    print("".join(f"  ! {printable(text)}\n" for text in sentences(remarks)), end="")
    if "use" in facts:
        print(printable(facts["use"]))
    if not any(facts.values()):
        print("The folder is empty.")


def _print_values(values: dict[str, object]) -> None:
    for name, value in values.items():
        print(f"  {name}: {_words(value)}")


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(_words(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else printable(str(value))
