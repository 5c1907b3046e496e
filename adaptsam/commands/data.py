"""``adaptsam data``: what a folder of training data holds, what is missing and what looks wrong."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adaptsam.commands.command_parser import section
from adaptsam.commands.console import Actions, ProgressBars, print_json, print_table

if TYPE_CHECKING:
    from adaptsam.datasets import DataSet

DESCRIPTION = """\
Data sets to train and test with, as they are downloaded: NSCLC-Radiomics, 4D-Lung, Kvasir-SEG, CVC-ClinicDB, five
benchmarks of natural images, or a folder of images and masks.

  adaptsam data check NSCLC-Radiomics          every patient: what was found, what is missing, what looks wrong
  adaptsam data check pictures --kind folder   when the folder's names do not tell what it is
  adaptsam data check Kvasir-SEG --quick       without reading the images
  adaptsam data check Kvasir-SEG --json        for programs; every case, and the parts of the split

What is looked for, whatever the names of the folders in between:

  nsclc-radiomics   LUNG1-001/…/*.dcm      a CT with SEG or RTSTRUCT; the structure "GTV-1"
  4d-lung           100_HM10395/…/*.dcm    phases of each visit with RTSTRUCT; the first structure with "Tumor" in it
  kvasir-seg        images, masks          JPEG with the same names
  cvc-clinicdb      Original, Ground Truth 1.tif to 612.tif, or PNG
  cuhk-blur         BlurDatasetImage, …    the benchmarks of AlignSAM as they are unpacked: blur,
  sbu-shadow        SBUTrain4K…, SBU-Test  shadows,
  msd-glass         train/image, …         mirrors and glass,
  duts              DUTS-TR, DUTS-TE       salient objects; --part test for what is published to test with
  pascal-voc        JPEGImages, …          one class of VOC2012, "person" or --structure NAME
  folder            images and masks       PNG, JPEG, NIfTI or NRRD, matched by their names

The exit code is 0 when there is something to train with, and 2 when there is not; with --strict also when anything is
missing or wrong.
"""

#: Up to so many cases are all shown; of more, those with something to say.
_SHOWN = 40


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = Actions(commands, "data", "check a folder of training data", DESCRIPTION)
    summary = "what was found, what is missing, what looks wrong"
    check = actions.add("check", run_check, summary, "adaptsam data check Kvasir-SEG", DESCRIPTION)
    check.add_argument("path", type=Path, help="the folder of the data set")
    what, how = section(check, "what is in it"), section(check, "how it is checked")
    what.add_argument("--kind", metavar="KIND", help="what it is; default: as its folders' names tell")
    what.add_argument("--structure", metavar="NAME", help="another structure than the published one (DICOM)")
    what.add_argument("--gate", type=int, metavar="N", help="of 4D-Lung: breathing phase, 0 is 0 %%, 1 is 10 %%")
    what.add_argument("--label", type=int, metavar="N", help="of a folder: the masks' value that counts")
    what.add_argument("--part", metavar="PART", help="of natural images: train (default) or test, as published")
    how.add_argument("--quick", action="store_true", help="do not read every image and mask")
    how.add_argument("--strict", action="store_true", help="exit with 2 when anything is missing or wrong")
    how.add_argument("--seed", type=int, default=0, help="of the split; default: 0")


def run_check(args: argparse.Namespace) -> None:
    from adaptsam.datasets import check_samples, open_dataset
    from adaptsam.errors import InputError

    with ProgressBars(args.quiet) as progress:
        asked = {name: getattr(args, name) for name in ("structure", "gate", "label", "part")}
        choices = {name: value for name, value in asked.items() if value is not None}
        dataset = open_dataset(args.path, args.kind, progress, **choices)
        if not args.quick:
            dataset = check_samples(dataset, progress)
    facts = describe(dataset, args.seed)
    if args.json:
        print_json(facts)
    else:
        _print(dataset, facts)
    dataset.check_usable()
    troubled = sum(bool(case.problems) for case in dataset.cases)
    if args.strict and (troubled or dataset.problems):
        raise InputError(
            f"{dataset.name} has something missing or wrong with {troubled} of {len(dataset.cases)} {dataset.unit}s, "
            "as listed; repair it or leave out --strict."
        )


def describe(dataset: DataSet, seed: int) -> dict[str, object]:
    """Describe a data set for programs."""
    split = dataset.split(seed)
    return {
        "kind": dataset.kind,
        "folder": dataset.name,
        "usable": dataset.usable,
        "unit": dataset.unit,
        "samples": len(dataset.samples),
        "problems": dataset.problems,
        "remarks": dataset.remarks,
        "split": {
            part: {"patients": len({sample.patient for sample in samples}), "samples": len(samples)}
            for part, samples in split.items()
        },
        "cases": [
            {
                "name": case.name,
                "images": case.images,
                "samples": len(case.samples),
                "problems": case.problems,
                "remarks": case.remarks,
            }
            for case in dataset.cases
        ],
    }


def _print(dataset: DataSet, facts: dict[str, object]) -> None:
    used = sum(bool(case.samples) for case in dataset.cases)
    print(
        f"{dataset.name} is read as {dataset.kind}: {_count(len(dataset.cases), dataset.unit)}, of which {used} can be "
        f"used, with {_count(len(dataset.samples), 'image')} of the structure."
    )
    shown = [case for case in dataset.cases if len(dataset.cases) <= _SHOWN or case.problems or case.remarks]
    rows = [
        {
            dataset.unit: case.name,
            "images": case.images,
            "with structure": len(case.samples),
            "": "" if case.samples and not case.problems else "look" if case.samples else "left out",
        }
        for case in shown
    ]
    if rows:
        print_table(rows, "All" if len(shown) == len(dataset.cases) else "Those with something to say")
    _print_sentences("Missing or wrong", dataset.problems, [(case.name, case.problems) for case in dataset.cases])
    _print_sentences("Worth knowing", dataset.remarks, [(case.name, case.remarks) for case in dataset.cases])
    if dataset.usable:
        parts = ", ".join(
            f"{values['patients']} to {'train' if part == 'train' else 'validate' if part == 'validation' else 'test'}"
            for part, values in facts["split"].items()  # type: ignore[attr-defined]
        )
        print(f"\nSplit by {'sequence' if dataset.unit == 'sequence' else 'patient'}: {parts}.")


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _print_sentences(title: str, whole: tuple[str, ...], each: list[tuple[str, tuple[str, ...]]]) -> None:
    lines = [*whole, *(f"{name}: {text}" for name, sentences in each for text in _without(name, sentences))]
    if lines:
        print(f"\n{title}")
        for line in lines:
            print(f"  {line}")


def _without(name: str, sentences: tuple[str, ...]) -> list[str]:
    """Sentences without the name that they begin with, if they do."""
    return [text.removeprefix(f"{name}: ").removeprefix(f"{name}/") for text in sentences]
