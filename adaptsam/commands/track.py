"""``adaptsam track``: what is outlined on one frame, found on all frames of a video."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import adaptsam
from adaptsam.commands.command_parser import section
from adaptsam.commands.console import (
    ProgressBars,
    add_cache_option,
    add_model_options,
    add_output_options,
    json_text,
    kept_store,
    load_model,
    print_json,
    print_table,
)
from adaptsam.commands.settings_options import add_method_options, settings_from
from adaptsam.errors import InputError
from adaptsam.provenance import NOTICE

if TYPE_CHECKING:
    import numpy as np

    from adaptsam.io import Frames
    from adaptsam.io.mask_images import FrameMasks
    from adaptsam.propagation.video_settings import VideoSettings
    from adaptsam.report.video_report import VideoRecord
    from adaptsam.sam import SamModel
    from adaptsam.slicewise.frame_report import FrameReport, FrameResult

DESCRIPTION = """\
Find on every frame of a video what is outlined on one of them, for example a polyp.

  adaptsam track --video clip.mp4 --prior-frame 3 --prior-mask frame3.png --structure polyp --output result

  a folder of pictures, whose mask is called like its frame, so that no --prior-frame is needed:
  adaptsam track --video frames --prior-mask 03.png --output result

  outlined on another picture of the same thing:
  adaptsam track --video clip.avi --prior-image before.png --prior-mask before_mask.png --output result

  how well it agrees with masks that somebody drew, called like the frames:
  adaptsam track --video frames --prior-mask masks/03.png --reference masks --output result

  things and animals, with a larger model; confident frames help with the next ones:
  adaptsam track … --domain natural --reanchor --checkpoint sam_vit_b_01ec64.pth --device cuda

Videos are MP4, AVI, MOV, MKV, …; pictures PNG, JPEG, BMP, TIFF, WebP, in natural order (2 before 10). Frames are
counted from 0. A mask is black and white, or has a label value for each structure. The result: masks/, one PNG a frame,
overlay.mp4, report.html and summary.json, all or none. Where the structure is not to be seen, the mask is empty.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "track",
        help="find on every frame of a video what is outlined on one",
        description=DESCRIPTION,
    )
    group = parser.add_argument_group("inputs")
    group.add_argument("--video", required=True, type=Path, metavar="PATH", help="a video file or a folder of pictures")
    group.add_argument("--prior-mask", required=True, type=Path, metavar="FILE", help="the outline, as a picture")
    outlined = group.add_mutually_exclusive_group()
    outlined.add_argument(
        "--prior-frame",
        metavar="N",
        help="which frame is outlined: its number from 0, or in a folder its file's name; "
        "default: the one that is called like the mask",
    )
    outlined.add_argument("--prior-image", type=Path, metavar="FILE", help="the outlined picture, if not of this video")
    group.add_argument("--structure", metavar="NAME", help="what a black and white mask shows, or the label to follow")
    group.add_argument("--reference", type=Path, metavar="DIR", help="masks to measure against, called like the frames")
    add_model_options(parser)
    settings = section(parser, "settings")
    add_method_options(settings, "area_share=0.5")
    settings.add_argument("--domain", metavar="KIND", help="medical (default), or natural for things and animals")
    settings.add_argument("--reanchor", action="store_true", help="let confident frames be priors for later ones")
    section(parser, "output").add_argument(
        "--fps", type=float, metavar="N", help="of overlay.mp4; default: the video's, 10 for pictures"
    )
    add_cache_option(parser)
    add_output_options(parser, "the results")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from adaptsam.io import distinct_color, read_frames, write_video
    from adaptsam.propagation.video_propagation import embeddings_held, propagate_video
    from adaptsam.propagation.video_settings import VideoSettings
    from adaptsam.report.video_report import VideoRecord, table_rows, warnings, write_video_report
    from adaptsam.storage import staged_output

    settings: VideoSettings = settings_from(args, VideoSettings())
    with ProgressBars(args.quiet) as progress:
        masks = read_masks(args.prior_mask, args.structure)
        frames = read_frames(args.video, progress)
        outlined = outlined_frame(args, frames)
        references = reference_masks(args.reference, frames) if args.reference else None
        planned = [*(f"masks/{name}.png" for name in frames.names), "overlay.mp4", "report.html", "summary.json"]
        with staged_output(args.output, planned, overwrite=args.overwrite) as stage:
            model = load_model(args)
            store = kept_store(model, args, held=embeddings_held(len(masks), settings), images=len(frames))
            results = propagate_video(
                frames, outlined, masks, model=model, settings=settings, progress=progress, store=store
            )
            # Green before red: the gut is red.
            about = {"frames": frames.remarks, "outline": masks.remarks}
            colors = {name: distinct_color(n) for n, name in enumerate(masks, start=1)}
            record = VideoRecord(frames.names, colors, {what: said for what, said in about.items() if said})
            shown = _written(results, record, stage / "masks", references)
            fps = frames.fps or 10.0 if args.fps is None else args.fps
            write_video(stage / "overlay.mp4", shown, fps)
            write_video_report(stage / "report.html", record, model=model, settings=settings)
            summary = _summary(frames, record, model, settings)
            (stage / "summary.json").write_text(json_text(summary) + "\n", encoding="utf-8")
    if args.json:
        print_json(summary | {"output": args.output.resolve()})
        return
    print_table(table_rows(record), f"{len(frames)} frames ({model.kind} model)")
    print("".join(f"  ! {warning}\n" for warning in warnings(record)), end="")
    print(f"\nLook at {args.output / 'report.html'} before you use anything. For research use only.")


def read_masks(path: Path, structure: str | None) -> FrameMasks:
    """The outlined structures by name: the one label requested, or all; a mask without labels takes the name given."""
    from adaptsam.image.structure_names import find_name
    from adaptsam.io import read_mask_picture
    from adaptsam.io.mask_images import UNNAMED, FrameMasks

    masks = read_mask_picture(path)
    if structure is None:
        return masks
    named = list(masks) == [UNNAMED]
    name = UNNAMED if named else list(masks)[find_name(structure, list(masks))]
    chosen = FrameMasks({structure if named else name: masks[name]})
    chosen.remarks = masks.remarks
    return chosen


def outlined_frame(args: argparse.Namespace, frames: Frames) -> int | np.ndarray:
    """The frame that the mask was drawn on, by index, or the picture given instead, uint8 (H, W, 3).

    Raises:
        InputError: it is not there, not known, or the mask is called like another frame.
    """
    from adaptsam.io import read_picture

    if args.prior_image:
        return read_picture(args.prior_image)
    alike = frames.names.index(args.prior_mask.stem) if args.prior_mask.stem in frames.names else None
    if args.prior_frame is None:
        if alike is None:
            raise InputError(
                f"No frame of {frames.name} is called like {args.prior_mask.name}; tell with --prior-frame which frame "
                "it outlines, counted from 0."
            )
        return alike
    chosen = _frame_number(args.prior_frame, frames, alike)
    if alike is not None and alike != chosen:
        raise InputError(
            f"{args.prior_mask.name} is called like frame {alike}, and --prior-frame is frame {chosen} "
            f"({frames.names[chosen]}), counted from 0; correct one of the two."
        )
    return chosen


def _frame_number(text: str, frames: Frames, alike: int | None) -> int:
    """The frame of a number or name, of which ``alike``, called like the mask, decides where both are possible."""
    named = [frames.names.index(name) for name in (text, Path(text).stem) if name in frames.names][:1]
    numbered = [int(text)] if text.isdecimal() and int(text) < len(frames) else []
    places = list(dict.fromkeys([*named, *numbered]))
    if alike in places:
        return places[places.index(alike)]
    if len(places) > 1:
        raise InputError(
            f"--prior-frame {text} may be the frame that is called {text}, or frame {text} counted from 0, called "
            f"{frames.names[places[1]]}; give the file's name, as {text}.png or {frames.names[places[1]]}.png."
        )
    if not places and not text.isdecimal():
        raise InputError(f"{frames.name} has no frame {text!r}; give its number, from 0 to {len(frames) - 1}.")
    if not places:
        frames.check_index(int(text))
    return places[0]


def reference_masks(folder: Path, frames: Frames) -> list[Path]:
    """The mask of every frame: called like it, or, where there are as many as frames, in the same order."""
    from adaptsam.io.video.frames import pictures_in

    paths = pictures_in(folder)
    by_name = {path.stem: path for path in paths}
    missing = [name for name in frames.names if name not in by_name]
    if not missing:
        return [by_name[name] for name in frames.names]
    if len(paths) == len(frames):
        return paths
    raise InputError(f"{folder.name} has no mask for frame {missing[0]}; give one for every frame, called like it.")


def _written(
    results: Iterator[FrameResult], record: VideoRecord, folder: Path, references: Sequence[Path] | None
) -> Iterator[np.ndarray]:
    """Write every mask as it comes, remember its figures, and hand on the picture of it."""
    from adaptsam.io import mask_picture, read_masks_like, write_pictures
    from adaptsam.report.mask_overlay import draw_overlay

    for result in results:
        write_pictures(folder, [mask_picture(result.masks)], [record.names[result.index]])
        truth = read_masks_like(references[result.index], list(result.masks)) if references else None
        if truth and next(iter(truth.values())).shape != result.image.shape[:2]:
            raise InputError(f"The reference mask of frame {result.index} has not the frame's size; correct it.")
        overlay = draw_overlay(result.image, result.masks, record.colors, _caption(result), truth)
        record.add(result, overlay, truth)
        yield overlay


def _caption(result: FrameResult) -> str:
    """A line for the overlay."""
    reports = [f"{name} {_word(report)}" for name, report in result.reports.items()]
    return " · ".join([str(result.index), *reports])


def _word(report: FrameReport) -> str:
    if report.drawn:
        return "outlined"
    return f"{report.confidence:.2f}" if report.area else "not found"


def _summary(frames: Frames, record: VideoRecord, model: SamModel, settings: VideoSettings) -> dict[str, object]:
    from adaptsam.image.remarks import rows_of
    from adaptsam.report.video_report import video_summary, warnings

    return {
        "notice": NOTICE,
        "version": adaptsam.__version__,
        "model": {"kind": model.kind, "sha256": model.sha256},
        "settings": settings,
        "report": "report.html",
        "overlay": "overlay.mp4",
        "masks": "masks",
        "frames": len(frames),
        "size": {"rows": frames.size[0], "columns": frames.size[1]},
        "fps": frames.fps,
        "structures": video_summary(record),
        "warnings": warnings(record),
        "remarks": rows_of(record.remarks),
    }
