"""``adaptsam agents``: the agents on this machine, what is in an agent's file, and bringing one here."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptsam.commands.command_parser import section
from adaptsam.commands.console import (
    Actions,
    ProgressBars,
    add_model_options,
    load_model,
    print_json,
    print_table,
    printable,
)
from adaptsam.errors import Cancelled, CheckpointError, InputError, OutputError

if TYPE_CHECKING:
    from adaptsam.alignsam import Package

DESCRIPTION = """\
Agents find one target each, with nobody clicking: what there is on this machine, and what is in a file.

  adaptsam agents list                    the agents that can be given by name
  adaptsam agents list --folder agents    those in a folder
  adaptsam agents inspect heart           target, SAM, settings, training and scores of one, by name or file
  adaptsam agents fetch https://…/liver.agent.safetensors --sha256 …     from an address (or a file)
  adaptsam agents fetch liver --catalogue https://…/agents.toml          by a catalogue of names and hashes

  the limits of an agent set anew from a few cases of your own, with what was accepted before and after:
  adaptsam agents calibrate liver --image ct1 --contours ct1_rtstruct.dcm --image ct2 --contours ct2_rtstruct.dcm \
                            --without thigh_ct --output liver_here.agent.safetensors

An agent is one file, NAME.agent.safetensors; nothing in it is ever executed. Agents have a name when they lie in
AdaptSAM's data folder of the platform, or where the environment variable ADAPTSAM_AGENTS says. Train your own with
'adaptsam train alignsam'.
ADAPTSAM_AGENT_CATALOGUE names a catalogue for everybody: TOML, a table with url and sha256 for each agent. Each agent
works with the SAM that it was trained with, which 'inspect' names.
"""

FETCH = "adaptsam agents fetch https://…/liver.agent.safetensors --sha256 …"
CALIBRATE = "adaptsam agents calibrate liver --image ct --contours rtstruct.dcm --output liver_here.agent.safetensors"
#: Letters of a value that ``inspect`` shows, so that its table fits a terminal; ``--json`` has all.
_WIDEST = 72


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = Actions(commands, "agents", "list or inspect the agents of autoprompt", DESCRIPTION)
    listing = actions.add("list", run_list, "the agents on this machine", "adaptsam agents list")
    listing.add_argument("--folder", type=Path, metavar="DIR", help="look here instead")
    inspecting = actions.add("inspect", run_inspect, "what is in an agent's file", "adaptsam agents inspect heart")
    inspecting.add_argument("agent", metavar="AGENT", help="a file, or a name from the list")
    calibrating = actions.add("calibrate", run_calibrate, "set an agent's limits from cases of your own", CALIBRATE)
    _add_calibration(calibrating)
    fetching = actions.add("fetch", run_fetch, "bring an agent to this machine", FETCH)
    fetching.add_argument("agent", metavar="AGENT", help="an address, a file, or a name in the catalogue")
    fetching.add_argument("--sha256", metavar="HEX", help="what an address's or file's hash must be")
    fetching.add_argument("--catalogue", metavar="FILE", help="a file or an address; default: ADAPTSAM_AGENT_CATALOGUE")
    fetching.add_argument("--overwrite", action="store_true", help="replace another agent of that name")


def _add_calibration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("agent", metavar="AGENT", help="a file, or a name from the list")
    inputs, output = section(parser, "inputs"), section(parser, "output")
    inputs.add_argument(
        "--image", action="append", required=True, type=Path, metavar="PATH", help="an image; repeat for more"
    )
    inputs.add_argument(
        "--contours", action="append", required=True, type=Path, metavar="FILE", help="of each image, in order"
    )
    inputs.add_argument("--structure", metavar="NAME", help="what the target is called there; default: as the agent's")
    inputs.add_argument(
        "--without",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="an image that does not show the target; repeat for more",
    )
    add_model_options(parser)
    section(parser, "model").add_argument("--clip", metavar="SOURCE", help="CLIP for an agent of the explicit branch")
    output.add_argument("--output", required=True, type=Path, metavar="FILE", help="the agent with its new limits")
    output.add_argument("--overwrite", action="store_true", help="replace an agent of that name")


def run_list(args: argparse.Namespace) -> None:
    from adaptsam.alignsam.agent_folders import agent_files, agent_name, agents_in, own_folder

    if args.folder is not None and not args.folder.is_dir():
        raise CheckpointError(f"{args.folder} is not a folder; check the path.")
    found = agent_files() if args.folder is None else {agent_name(path): path for path in agents_in(args.folder)}
    rows = [describe_row(name, path) for name, path in found.items()]
    if args.json:
        print_json({"folder": args.folder or own_folder(), "agents": rows})
        return
    shown = ("name", "target", "branch", "SAM", "MB", "note")
    if rows:
        print_table([{column: row[column] for column in shown} for row in rows])
    else:
        print("There is no agent here. 'adaptsam train alignsam' makes one from images and masks.")
    print(f"\nFolder: {args.folder or own_folder()}")


def run_inspect(args: argparse.Namespace) -> None:
    from adaptsam.alignsam import load_agent
    from adaptsam.alignsam.agent_folders import find_agent

    path = find_agent(args.agent)
    described = load_agent(path).describe()
    if args.json:
        print_json({"file": path.resolve(), "bytes": path.stat().st_size, **described})
    else:
        print_table([{"": key, "what": value} for key, value in _lines("", described)], path.name)


def run_calibrate(args: argparse.Namespace) -> None:
    import numpy as np

    from adaptsam.alignsam import load_agent, save_agent
    from adaptsam.alignsam.agent_folders import find_agent
    from adaptsam.autoprompting.calibration import OwnCase, calibrate
    from adaptsam.autoprompting.text_maps import text_maps
    from adaptsam.io import find_image, read_structures
    from adaptsam.sam import EmbeddingStore

    if len(args.image) != len(args.contours):
        raise InputError(f"{len(args.contours)} --contours were given for {len(args.image)} --image; give one to each.")
    if args.output.exists() and not args.overwrite:
        raise OutputError(f"{args.output.name} is there already; add --overwrite, or give another name.")
    package = load_agent(find_agent(args.agent))
    name = args.structure or package.target.name
    with ProgressBars(args.quiet) as progress:
        cases = []
        for image, contours in zip(args.image, args.contours, strict=True):
            volume = find_image(image, None, image.name).read()
            [drawn] = read_structures(contours, volume, [name]).structures
            cases.append(OwnCase(image.name, volume, drawn.mask))
        for image in args.without:
            volume = find_image(image, None, image.name).read()
            cases.append(OwnCase(image.name, volume, np.zeros(volume.geometry.shape, bool)))
        model = load_model(args)
        package.check_model(model)
        package.agent.to(model.device)
        maps = text_maps(args.clip, [package], args.device)
        calibrated, found = calibrate(package, cases, store=EmbeddingStore(model), text_maps=maps, progress=progress)
        save_agent(args.output, calibrated)
    if args.json:
        print_json({"output": args.output.resolve(), **asdict(found)})
        return
    rows = [
        ("least evidence", found.least_before, found.least_after),
        (f"accepted of {found.slices_with} slices with {package.target.name}", found.with_before, found.with_after),
        (f"accepted of {found.slices_without} slices without", found.without_before, found.without_after),
    ]
    print_table([{"": what, "before": before, "after": after} for what, before, after in rows])
    print(f"\n{args.output}; the shares after are of the cases that set the limits, so that new ones will be worse.")


def run_fetch(args: argparse.Namespace) -> None:
    from adaptsam.alignsam.agent_download import fetch_agent, is_address, offered, read_catalogue
    from adaptsam.alignsam.agent_folders import agent_name

    if is_address(args.agent) or Path(args.agent).is_file():
        offer = offered(args.agent, args.sha256)
    else:
        if args.sha256:
            raise InputError("--sha256 is for an address or a file; a catalogue has its own.")
        offers = read_catalogue(args.catalogue)
        if args.agent not in offers:
            raise CheckpointError(f"The catalogue has no agent {args.agent!r}, only: {', '.join(offers) or 'none'}.")
        offer = offers[args.agent]
    with ProgressBars(args.quiet) as progress:
        try:
            path = fetch_agent(offer, overwrite=args.overwrite, progress=progress)
        except KeyboardInterrupt:
            raise Cancelled("stopped; what has arrived is kept, and the same command goes on from there.") from None
    checked = "hash" if offer.fingerprint.is_exact else "its contents; no hash was given"
    row = describe_row(agent_name(path), path) | {"checked by": checked}
    if args.json:
        print_json({"fetched": row})
    else:
        print(f"{row['name']}: {path} (finds {row['target']} with SAM {row['SAM']}; checked by {checked})")


def describe_row(name: str, path: Path) -> dict[str, object]:
    """One agent as the list shows it; a file that cannot be used stays in the list, with the reason."""
    from adaptsam.alignsam import load_agent

    package: Package | None
    try:
        package, note = load_agent(path), ""
    except CheckpointError as error:
        package, note = None, str(error)
    return {
        "name": printable(name),
        "target": package.target.name if package else None,
        "branch": package.agent.settings.branch if package else None,
        "SAM": f"{package.sam_kind} {package.sam_sha256[:12]}…" if package else None,
        "MB": round(path.stat().st_size / 1e6, 2),
        "note": note,
        "file": str(path),
    }


def _lines(prefix: str, value: Any) -> list[tuple[str, object]]:
    """Nested values as lines, cut where they are long; escaped where a file could play with the terminal."""
    if isinstance(value, dict) and value:
        return [line for key, one in value.items() for line in _lines(f"{prefix}{printable(str(key))}.", one)]
    if isinstance(value, list | tuple) and any(isinstance(one, dict) for one in value):
        value = f"{len(value)} entries, which --json shows"
    elif isinstance(value, list | tuple):
        value = ", ".join(f"{one:.3f}" if isinstance(one, float) else str(one) for one in value)
    if isinstance(value, int | float | None):
        return [(prefix.rstrip("."), value)]
    text = printable(str(value))
    return [(prefix.rstrip("."), text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…")]
