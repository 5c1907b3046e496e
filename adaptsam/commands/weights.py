"""``adaptsam weights``: the weights that are known, fetched, checked and removed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from adaptsam.commands.console import Actions, ProgressBars, print_json, print_table
from adaptsam.errors import Cancelled, CheckpointError, InputError

if TYPE_CHECKING:
    from adaptsam.sam.weights_catalogue import KnownWeights

DESCRIPTION = """\
Weights of SAM and its relatives: what there is, and bringing them to this machine.

  adaptsam weights list                          what there is, what it is for, what is here
  adaptsam weights fetch vit_b                   from its official address; goes on where it broke off
  adaptsam weights fetch vit_b --from sam.pth    from a file that you have, or another address
  adaptsam weights verify                        are the files here still what they should be
  adaptsam weights clear vit_b                   free the disk
  adaptsam weights export best.safetensors --output sam.pth   for programs that read segment_anything's files

What is here has a name: adaptsam propagate … --checkpoint vit_b. Files lie in the platform's cache folder, or where the
environment variable ADAPTSAM_WEIGHTS says.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = Actions(commands, "weights", "list, fetch, verify or clear weights of SAM", DESCRIPTION)
    actions.add("list", run_list, "the weights that are known, and which are here", "adaptsam weights list")
    fetching = actions.add("fetch", run_fetch, "bring weights to this machine", "adaptsam weights fetch vit_b")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="from 'adaptsam weights list'")
    fetching.add_argument("--from", dest="source", metavar="FILE", help="take this file or address instead")
    fetching.add_argument(
        "--stall", type=_seconds, default=30.0, metavar="S", help="give a silent server S seconds; default: 30"
    )
    verifying = actions.add("verify", run_verify, "check files against their hashes", "adaptsam weights verify")
    verifying.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
    exporting = actions.add(
        "export",
        run_export,
        "write a model as segment_anything reads it",
        "adaptsam weights export best.safetensors --output sam.pth",
    )
    exporting.add_argument("model", metavar="MODEL", help="a file, or a name of 'adaptsam weights list'")
    exporting.add_argument("--output", required=True, metavar="FILE", help="NAME.pth; an existing one is replaced")
    clearing = actions.add("clear", run_clear, "remove files from this machine", "adaptsam weights clear vit_b")
    clearing.add_argument("names", nargs="*", metavar="NAME", help="which")
    clearing.add_argument("--all", action="store_true", help="all of them")


def run_list(args: argparse.Namespace) -> None:
    from adaptsam.sam.weights_catalogue import catalogue, weights_folder

    rows = [describe(known) for known in catalogue().values()]
    if args.json:
        print_json({"folder": weights_folder(), "weights": rows})
        return
    shown = ("name", "here", "MB", "purpose", "licence")
    print_table([{column: row[column] for column in shown} for row in rows])
    print(f"\nFolder: {weights_folder()}")
    print("By hand: 'adaptsam weights fetch NAME' says where to download the file, and takes it with --from FILE.")
    print("The bundled model needs no fetching: it is used where no checkpoint is given.")


def run_fetch(args: argparse.Namespace) -> None:
    from adaptsam.sam.fetched_weights import fetch, is_checked
    from adaptsam.sam.weights_catalogue import entry

    if args.source and len(args.names) > 1:
        raise InputError(f"--from gives one file, and {len(args.names)} names are asked for; fetch them one by one.")
    entries = [entry(name) for name in args.names]
    rows = []
    for known in entries:
        try:
            with ProgressBars(args.quiet) as progress:
                path = fetch(known.name, args.source, progress=progress, stall_seconds=args.stall)
        except KeyboardInterrupt:
            raise Cancelled("stopped; what has arrived is kept, and the same command goes on from there.") from None
        rows.append({"name": known.name, "file": str(path), "checked by": is_checked(known)})
        if not args.json:
            print(f"{known.name}: {path} (checked by {is_checked(known)}; licence: {known.licence})")
    if args.json:
        print_json({"fetched": rows})


def run_verify(args: argparse.Namespace) -> None:
    from adaptsam.sam.fetched_weights import difference, is_checked
    from adaptsam.sam.weights_catalogue import catalogue, fetched

    names = args.names or [name for name, known in catalogue().items() if known.path.is_file()]
    rows, damaged = [], []
    for name in names:
        fetched(name)
        known = catalogue()[name]
        with ProgressBars(args.quiet) as progress:
            wrong = difference(known, progress)
        damaged += [name] if wrong else []
        rows.append({"name": name, "good": wrong is None, "checked by": is_checked(known), "difference": wrong})
    if args.json:
        print_json({"verified": rows})
    else:
        words = {True: "good", False: "DAMAGED"}
        print_table([{**row, "good": words[bool(row["good"])]} for row in rows])
    if damaged:
        raise CheckpointError(f"Damaged: {', '.join(damaged)}; run 'adaptsam weights fetch NAME' for a new copy.")


def run_clear(args: argparse.Namespace) -> None:
    from adaptsam.sam.fetched_weights import clear
    from adaptsam.sam.weights_catalogue import catalogue

    if bool(args.names) == args.all:
        raise InputError("Say which weights to remove by name, or --all.")
    freed = {name: clear(name) for name in (args.names or catalogue())}
    if args.json:
        print_json({"freed": freed})
        return
    for name, size in freed.items():
        if size or args.names:
            print(f"{name}: {size / 1e6:.0f} MB freed" if size else f"{name}: nothing was here")


def describe(known: KnownWeights) -> dict[str, object]:
    """One entry as the list shows it."""
    from adaptsam.sam.fetched_weights import partial_bytes

    size = known.fingerprint.size
    partial = partial_bytes(known)
    missing = "no" if known.url else "no, by hand"
    return {
        "name": known.name,
        "here": "yes" if known.path.is_file() else f"{partial / 1e6:.0f} MB of it" if partial else missing,
        "MB": None if size is None else round(size / 1e6),
        "purpose": known.purpose,
        "licence": known.licence,
        "kind": known.kind,
        "file": str(known.path),
        "page": known.page,
        "url": known.url,
        "bytes": size,
        "sha256": known.fingerprint.sha256,
        "md5": known.fingerprint.md5,
    }


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 3600:
        raise argparse.ArgumentTypeError(f"give more than 0 and less than 3600 seconds, not {text}")
    return seconds


def run_export(args: argparse.Namespace) -> None:
    from adaptsam.sam import load_sam
    from adaptsam.sam.pth_export import save_pth

    model = load_sam(args.model, "cpu")
    save_pth(args.output, model)
    told = {"output": args.output, "kind": model.kind}
    print_json(told) if args.json else print(f"{args.output}: a {model.kind}, as segment_anything reads it.")
