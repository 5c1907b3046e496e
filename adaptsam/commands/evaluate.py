"""``adaptsam evaluate``: the papers' tables, the rivals, and an honest report, on published data or one's own."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptsam.commands.command_parser import section
from adaptsam.commands.console import (
    ProgressBars,
    add_model_options,
    add_talk_options,
    print_json,
    print_table,
)
from adaptsam.errors import InputError

if TYPE_CHECKING:
    from adaptsam.evaluation.evaluation_cases import Study
    from adaptsam.evaluation.methods import Extras
    from adaptsam.evaluation.protocols import Options

_CHOICES = (
    *("patients", "visits", "size", "structures", "change", "tumour", "copies", "fold", "seed", "training", "limit"),
    *("epochs", "episodes", "text", "checkpoint_kind", "precision"),
)

DESCRIPTION = """\
Evaluate methods on a protocol, with the published figures beside the new ones.

  adaptsam evaluate phantom --patients 2 --methods p2sam,persam,registration --output result
  adaptsam evaluate 4d-lung --data 4D-Lung --checkpoint nsclc_full_large.pth --output result
  adaptsam evaluate cvc-clinicdb --data CVC-ClinicDB --checkpoint sam_vit_h_4b8939.pth --methods all,table4,table5 \\
                                 --output result
  adaptsam evaluate own --data cases.json --output result      a list of your own scans; followups takes the same

`adaptsam evaluate --list` tells all protocols and methods. A run that was stopped goes on where it was when the same
command is given again; more methods, cases or patients may be asked for then. The folder gets report.html, tables.md,
each table as CSV and LaTeX, cases.csv and summary.json. Cases that are missing or damaged are named in the report.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="the papers' tables, rivals and registration, on published data, phantoms or your own scans",
        description=DESCRIPTION,
    )
    parser.add_argument("protocol", nargs="?", metavar="PROTOCOL", help="which; --list tells all")
    inputs, output, several = (section(parser, title) for title in ("inputs", "output", "on several processes"))
    inputs.add_argument("--list", action="store_true", help="tell all protocols and methods, and stop")
    inputs.add_argument("--data", type=Path, metavar="PATH", help="the data set's folder as it is unpacked, or a list")
    inputs.add_argument(
        "--methods",
        default="p2sam,persam,matcher,panet,direct-transfer,registration",
        metavar="NAMES",
        help="methods and groups of them, separated by commas; default: %(default)s",
    )
    output.add_argument("--output", type=Path, metavar="DIR", help="folder for the results; made if missing")
    several.add_argument("--workers", type=int, metavar="N", help="evaluate with N Ray workers; needs the extra 'ray'")
    several.add_argument("--ray-address", metavar="ADDRESS", help="of a running Ray cluster; default: this machine")
    _add_choices(parser)
    add_model_options(parser)
    add_talk_options(parser)
    parser.set_defaults(run=run)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("choices of protocols and methods")
    group.add_argument("--patients", type=int, metavar="N", help="phantom: how many; default: 50")
    group.add_argument("--visits", type=int, metavar="N", help="phantom: of each, the prior included; default: 3")
    group.add_argument("--size", metavar="SIZE", help="phantom: plain (default), or quick: coarse and short")
    group.add_argument("--structures", metavar="NAMES", help="which, separated by commas; default: the protocol's")
    group.add_argument("--change", metavar="DEGREE", help="followups: small, medium (default) or large")
    group.add_argument("--tumour", metavar="COURSE", help="followups: regress (default), grow, vanish, split, …")
    group.add_argument("--copies", type=int, metavar="N", help="followups: of each scan; default: 3")
    group.add_argument("--fold", type=int, metavar="N", help="coco-20i, lvis-92i: from 0; default: 0")
    group.add_argument("--seed", type=int, metavar="N", help="of splits, episodes, phantoms; default: 0")
    group.add_argument(
        "--training", type=int, metavar="N", help="images that SAMed, AlignSAM, … learn from; default: 50"
    )
    group.add_argument("--limit", type=int, metavar="N", help="evaluate the first N cases only")
    group.add_argument("--epochs", type=int, metavar="N", help="of methods that train SAM; default: their own")
    group.add_argument("--episodes", type=int, metavar="N", help="of AlignSAM's training; default: 50, as published")
    group.add_argument("--seggpt", type=Path, metavar="DIR", help="SegGPT's weights, as BAAI/seggpt-vit-large")
    group.add_argument("--clip", metavar="SOURCE", help="CLIP for AlignSAM's explicit branch: a folder or a file")
    group.add_argument("--text", metavar="WORDS", help="its text prompt; default: the protocol's")


def run(args: argparse.Namespace) -> None:
    if args.list:
        _list()
        return
    if not args.protocol or not args.output:
        raise InputError("Give a protocol and --output; `adaptsam evaluate --list` tells the protocols.")
    from adaptsam.evaluation.case_results import Results, identity_of
    from adaptsam.evaluation.case_worker import ModelSource, Setting
    from adaptsam.evaluation.evaluation_report import write_evaluation
    from adaptsam.evaluation.evaluation_run import Backend, run_here, run_study
    from adaptsam.evaluation.methods import make_methods
    from adaptsam.evaluation.protocols import open_protocol

    names = tuple(name.strip() for name in args.methods.split(",") if name.strip())
    methods = {method.name: method.title for method in make_methods(names)}
    options = _options(args)
    source = ModelSource(args.checkpoint, args.device, args.checkpoint_kind, args.reapply_lora, args.precision)
    study = open_protocol(args.protocol, args.data, options)
    extras = _extras(args, study)
    model = source.load()
    results = Results(args.output, identity_of(args.protocol, _identity(args, options), model))
    setting = Setting(tuple(methods), extras)
    backend: Backend = run_here
    if args.workers is not None:
        from adaptsam.evaluation.ray_cluster import on_cluster

        backend = on_cluster(source, args.workers, args.ray_address)
    with ProgressBars(args.quiet) as progress:
        run_study(study, model, setting, results, backend=backend, progress=progress)
    written = write_evaluation(study, results, methods, model, _command(args))
    _tell(args, written)
    if not written.found.evaluated:
        raise InputError(f"No case could be evaluated; {written.page.name} says why, case by case.")


def _tell(args: argparse.Namespace, written: Any) -> None:
    if args.json:
        table = written.tables["results"]
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        found = written.found
        print_json({"report": str(written.page), "evaluated": found.evaluated, "errors": found.errors, "results": rows})
        return
    for table in written.tables.values():
        print_table([dict(zip(table.columns, row, strict=True)) for row in table.rows], table.title)
        if table.note:
            print(table.note)
    count = written.found.evaluated
    print(f"\n{count} case{'' if count == 1 else 's'} evaluated, {len(written.found.errors)} could not be read.")
    print(f"Report: {written.page}")


def _options(args: argparse.Namespace) -> Options:
    from adaptsam.evaluation.protocols import Options

    given = {
        name: getattr(args, name)
        for name in ("patients", "visits", "size", "change", "tumour", "copies", "fold", "seed", "training", "limit")
        if getattr(args, name) is not None
    }
    structures = tuple(name.strip() for name in args.structures.split(",")) if args.structures else None
    return Options(**given, structures=structures)


def _extras(args: argparse.Namespace, study: Study) -> Extras:
    from adaptsam.alignsam import AlignSamSettings
    from adaptsam.evaluation.methods import Extras

    settings = AlignSamSettings(branch=study.branch)
    if args.episodes is not None:
        settings = replace(settings, training=replace(settings.training, episodes=args.episodes))
    return Extras(seggpt=args.seggpt, epochs=args.epochs, alignsam=settings, text=args.text or "", clip=args.clip)


def _identity(args: argparse.Namespace, options: Options) -> dict[str, Any]:
    """Identity that results must share; the number of cases may grow."""
    chosen = {key: value for key, value in asdict(options).items() if key not in ("patients", "copies", "limit")}
    return {**chosen, "data": args.data.resolve().name if args.data else None}


def _command(args: argparse.Namespace) -> str:
    """All that the figures depend on, as it was given; of paths the last part, which names no folder of a person."""
    words = ["adaptsam", "evaluate", args.protocol, "--methods", args.methods]
    for name in ("data", "checkpoint", "seggpt", "clip"):
        if getattr(args, name) is not None:
            words += [f"--{name}", Path(getattr(args, name)).resolve().name]
    for name in _CHOICES:
        if getattr(args, name) not in (None, "auto"):
            words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return shlex.join([*words, *(["--reapply-lora"] if args.reapply_lora else [])])


def _list() -> None:
    from adaptsam.evaluation.methods import GROUPS, make_methods, method_names
    from adaptsam.evaluation.protocols import PROTOCOLS

    rows: list[dict[str, object]] = [
        {"protocol": name, "what": (open_.__doc__ or "").split("\n")[0]} for name, open_ in PROTOCOLS.items()
    ]
    print_table(rows, "Protocols")
    print_table([{"method": m.name, "what": m.title} for m in make_methods(method_names())], "Methods")
    print_table([{"group": name, "methods": ", ".join(names)} for name, names in GROUPS.items()], "Groups")
