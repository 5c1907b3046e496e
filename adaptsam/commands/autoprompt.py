"""``adaptsam autoprompt``: trained agents find their targets in images, without clicks."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from adaptsam.commands.command_parser import section
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
from adaptsam.errors import InputError

if TYPE_CHECKING:
    from adaptsam.alignsam import Package
    from adaptsam.autoprompting.volume_autoprompting import AutoPromptSettings, TextMaps
    from adaptsam.io import ImageSource
    from adaptsam.report.volume_report import Visit
    from adaptsam.sam import EmbeddingStore, SamModel

DESCRIPTION = """\
Contours without a first contour: each agent finds the one target that it was trained for, slice by slice.

  adaptsam autoprompt --agent heart --agent lungs.agent.safetensors --target planning_ct --output result

  what an agent is for, and which SAM it needs:
  adaptsam agents inspect heart

  an agent that was trained with a larger SAM:
  adaptsam autoprompt --agent liver.agent.safetensors --checkpoint vit_b --target planning_ct --output result

  an agent of the explicit branch looks for a text with CLIP's help:
  adaptsam autoprompt --agent tumour.agent.safetensors --clip biomedclip_folder --target ct --output result

  then carry what was found, and corrected by you, to the later visits:
  adaptsam propagate --prior-image planning_ct --prior-mask result/target-1.seg.nrrd --target weekly_ct --output later

A slice on which the agent is not sure enough stays empty; a target that is nowhere to be found comes out empty, with a
warning. The result lies on the image's own grid: target-1.rtstruct.dcm (for DICOM), target-1.seg.nrrd, report.html and
summary.json, all or none.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "autoprompt",
        help="find targets with trained agents",
        description=DESCRIPTION,
    )
    group = parser.add_argument_group("inputs")
    group.add_argument(
        "--agent", action="append", required=True, metavar="AGENT", help="a file, or a name from 'adaptsam agents list'"
    )
    group.add_argument(
        "--target", action="append", required=True, type=Path, metavar="PATH", help="an image; repeat for more"
    )
    group.add_argument("--target-series", action="append", metavar="ID", help="UID or number, in a folder of several")
    group.add_argument(
        "--target-modality",
        metavar="KIND",
        type=str.upper,
        choices=("CT", "CBCT", "MR", "US"),
        help="what the target is (CT, CBCT, MR, US), where its file does not say or says it wrongly",
    )
    group.add_argument(
        "--reference",
        action="append",
        type=Path,
        metavar="FILE",
        help="contours to measure against, one for each target",
    )
    add_model_options(parser)
    section(parser, "model").add_argument(
        "--clip", metavar="SOURCE", help="CLIP for agents of the explicit branch: a folder or a file"
    )
    _add_settings(parser)
    add_format_option(parser)
    add_cache_option(parser)
    add_output_options(parser, "the results")
    parser.set_defaults(run=run)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    settings = parser.add_argument_group("settings")
    settings.add_argument(
        "--least-evidence",
        type=float,
        metavar="X",
        help="accept slices from this evidence, 0 to 1; default: what each agent's file says",
    )
    settings.add_argument("--keep-all-slices", action="store_true", help="accept every slice, whatever its evidence")
    settings.add_argument(
        "--search",
        choices=("slices", "outward"),
        default="slices",
        help="judge each slice by itself (default), or start at the best one and follow its neighbours",
    )
    settings.add_argument(
        "--any-kind", action="store_true", help="also accept slices unlike all images that the agent learnt from"
    )
    settings.add_argument("--no-cleanup", action="store_true", help="leave the slices as they are")
    settings.add_argument("--stop-early", action="store_true", help="no further points where the mask stays the same")


def run(args: argparse.Namespace) -> None:
    from adaptsam.alignsam import load_agent
    from adaptsam.alignsam.agent_folders import find_agent
    from adaptsam.autoprompting.text_maps import text_maps
    from adaptsam.commands.image_sources import check_formats, target_sources
    from adaptsam.commands.propagate import check_references
    from adaptsam.commands.result_files import default_formats, parse_formats, planned_files, tell, write_results
    from adaptsam.io import find_image
    from adaptsam.storage import staged_output

    settings = settings_from(args)
    formats = parse_formats(args.format) if args.format else None
    with ProgressBars(args.quiet) as progress:
        pairs = target_sources(args.target, args.target_series)
        targets = [find_image(path, series, f"Target {n}") for n, (path, series) in enumerate(pairs, start=1)]
        targets = [replace(target, modality=args.target_modality or "") for target in targets]
        check_formats(targets, formats)
        check_references(args.reference, targets)
        agents = [load_agent(find_agent(agent)) for agent in args.agent]
        planned = planned_files([formats or default_formats(target) for target in targets])
        with staged_output(args.output, planned, overwrite=args.overwrite) as stage:
            model = load_model(args)
            for package in agents:
                package.check_model(model)
                package.agent.to(model.device)
            maps = text_maps(args.clip, agents, args.device)
            store = kept_store(model, args, held=settings.batch_slices * len(agents))
            visits = _visits(agents, targets, args.reference or (), model, store, settings, maps, progress)
            results = write_results(
                stage, None, None, visits, formats=formats, model=model, settings=settings, expected=len(pairs)
            )
    if args.json:
        print_json(
            results.summary | {"agents": [package.describe() for package in agents], "output": args.output.resolve()}
        )
    else:
        tell(results.told, args.output, planned)


def settings_from(args: argparse.Namespace) -> AutoPromptSettings:
    """The settings that the options ask for."""
    from adaptsam.alignsam import UseSettings
    from adaptsam.autoprompting.volume_autoprompting import AutoPromptSettings

    if args.keep_all_slices and args.least_evidence is not None:
        raise InputError("--keep-all-slices and --least-evidence contradict each other; give one.")
    return AutoPromptSettings(
        use=UseSettings(stop_early=args.stop_early),
        acceptance="off" if args.keep_all_slices else "agent",
        least_evidence=args.least_evidence,
        cleanup=not args.no_cleanup,
        search=args.search,
        novelty=not args.any_kind,
    )


def _visits(
    agents: Sequence[Package],
    targets: Sequence[ImageSource],
    references: Sequence[Path],
    model: SamModel,
    store: EmbeddingStore | None,
    settings: AutoPromptSettings,
    maps: TextMaps | None,
    progress: ProgressBars,
) -> Iterator[Visit]:
    """Each target as the report wants it, one in memory at a time."""
    from adaptsam.autoprompting.volume_autoprompting import autoprompt
    from adaptsam.io import read_structures
    from adaptsam.report.volume_report import Visit, compared

    for number, source in enumerate(targets):
        progress("reading", number, len(targets))
        volume = source.read()
        found = autoprompt(
            agents, volume, model=model, settings=settings, text_maps=maps, progress=progress, store=store
        )
        visit = Visit(source.title, volume, found)
        if references:
            visit = compared(visit, read_structures(references[number], volume))
        yield visit
        del visit, volume, found  # or they would be in memory beside the next ones
