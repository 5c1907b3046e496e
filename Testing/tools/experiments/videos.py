"""A structure of a video's first frame on all others, beside what would come out if no frame were rejected.

    python Testing/tools/experiments/videos.py --frames polyp/images --masks polyp/labels \\
           --output polyp.jsonl --picture p.png

Frames and masks are pictures of the same names. One line of JSON a frame; what is printed is of the frames that were
not outlined: how many were accepted, the mean Dice of those that show the structure, and the rank correlation of Dice
and confidence, which is told with and without the part of it that compares areas.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from adaptsam.io import read_frames, read_mask_picture, read_masks_like
from adaptsam.io.video.frames import Frames
from adaptsam.metrics.volume_metrics import slice_dice
from adaptsam.p2sam import P2SamSettings
from adaptsam.propagation.video_propagation import propagate_video
from adaptsam.propagation.video_settings import VideoSettings
from adaptsam.sam import load_sam
from adaptsam.slicewise.frame_report import FrameResult

RUNS = {
    "default": VideoSettings(),
    "nothing rejected": VideoSettings(acceptance="off"),
    "areas not compared": replace(VideoSettings(), area_share=0.0),
}


def follow(
    video: Frames, truths: Sequence[np.ndarray], p2sam: P2SamSettings, checkpoint: Path | None
) -> tuple[list[FrameResult], list[dict[str, object]]]:
    """The default's results and a record for every frame but the outlined first one."""
    model = load_sam(checkpoint, "cpu")
    records: list[dict[str, object]] = [{"frame": name} for name in video.names[1:]]
    results: dict[str, list[FrameResult]] = {}
    for run, settings in RUNS.items():
        chosen = replace(settings, p2sam=p2sam)
        results[run] = list(propagate_video(video, 0, {"it": truths[0]}, model=model, settings=chosen))[1:]
        for record, truth, result in zip(records, truths[1:], results[run], strict=True):
            report = result.reports["it"]
            record[f"{run}: accepted"] = report.accepted
            record[f"{run}: confidence"] = report.confidence
            record[f"{run}: Dice"] = slice_dice(result.masks["it"][None], truth[None])
    return results["default"], records


def summary(records: Sequence[dict[str, object]]) -> dict[str, object]:
    """Of all frames but the outlined one."""
    told: dict[str, object] = {"accepted": f"{sum(bool(r['default: accepted']) for r in records)} of {len(records)}"}
    for run in RUNS:
        dice, confidence = (np.array([r[f"{run}: {what}"] for r in records], float) for what in ("Dice", "confidence"))
        seen = np.isfinite(dice)
        told[f"{run}: mean Dice"] = round(float(dice[seen].mean()), 3)
        told[f"{run}: rank correlation"] = round(float(spearmanr(confidence[seen], dice[seen]).statistic), 2)
    return told


def draw(results: Sequence[FrameResult], truths: Sequence[np.ndarray], path: Path) -> None:
    """Every frame with its true contour in white and the one that was found in red."""
    columns = 5
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.3 * rows), layout="constrained")
    panes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for pane in panes:
        pane.axis("off")
    for pane, result, truth in zip(panes, results, truths, strict=False):
        pane.imshow(result.image)
        for mask, colour in ((truth, "white"), (result.masks["it"], "red")):
            if mask.any():
                pane.contour(mask, [0.5], colors=colour, linewidths=1)
        pane.set_title(f"{result.index}: {result.reports['it'].confidence:.2f}", fontsize=8)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--natural", action="store_true", help="things and animals: P²SAM's settings for them")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    video = read_frames(args.frames)
    files = {path.stem: path for path in sorted(args.masks.iterdir())}
    [name] = list(read_mask_picture(files[video.names[0]]))[:1]
    truths = [read_masks_like(files[frame], [name])[name] for frame in video.names]
    p2sam = P2SamSettings(domain="natural", negatives=None) if args.natural else P2SamSettings()
    results, records = follow(video, truths, p2sam, args.checkpoint)
    args.output.write_text("".join(json.dumps(record) + "\n" for record in records))
    if args.picture:
        draw(results, truths[1:], args.picture)
    print(json.dumps(summary(records), indent=2))


if __name__ == "__main__":
    main()
