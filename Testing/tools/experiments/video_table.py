"""Many sequences, the first frame of each outlined: AdaptSAM's default beside copying the mask and optical flow alone.

    python Testing/tools/experiments/video_table.py --sequences endo-cvc-clinicdb natural-davis --output videos.jsonl
    python Testing/tools/experiments/video_table.py … --methods default alone --checkpoint sam_vit_b_01ec64.pth

A sequence is a folder with ``images`` and ``masks`` (or ``labels``) of the same names; a folder of such folders is all
of them. One line of JSON a sequence and method, with the Dice, confidence and acceptance of every frame; what is in the
file already is not computed again. The tables at the end, of everything in the file: mean Dice a sequence, how often
the default wins with Wilcoxon's test over sequences, and how confidence and Dice agree.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr, wilcoxon

from adaptsam.io import read_frames, read_mask_picture
from adaptsam.metrics.volume_metrics import slice_dice
from adaptsam.propagation.carried_masks import resized
from adaptsam.propagation.video_propagation import propagate_video
from adaptsam.propagation.video_settings import VideoSettings
from adaptsam.registration.optical_flow import FlowFrame, picture_flows
from adaptsam.sam import SamModel, load_sam

#: What one method says of one frame: its mask (H, W), confidence and whether it was accepted.
Told = tuple[np.ndarray, float, bool]


@cache
def model(checkpoint: Path | None) -> SamModel:
    return load_sam(checkpoint, "cpu")


def copied(frames: Sequence[np.ndarray], mask: np.ndarray, checkpoint: Path | None) -> Iterator[Told]:
    for _ in frames[1:]:
        yield mask, 1.0, True


def flow_alone(frames: Sequence[np.ndarray], mask: np.ndarray, checkpoint: Path | None) -> Iterator[Told]:
    """DIS from every frame straight to the outlined one, nothing else."""
    first = FlowFrame(frames[0])
    share = resized(mask, first.grid)
    for frame in frames[1:]:
        flow = picture_flows(first, FlowFrame(frame))[0]
        yield resized(flow.moved(share), (mask.shape[0], mask.shape[1])) > 0.5, 1.0, True


def run(settings: VideoSettings) -> Callable[[Sequence[np.ndarray], np.ndarray, Path | None], Iterator[Told]]:
    def followed(frames: Sequence[np.ndarray], mask: np.ndarray, checkpoint: Path | None) -> Iterator[Told]:
        for made in propagate_video(frames, 0, {"it": mask}, model=model(checkpoint), settings=settings):
            report = made.reports["it"]
            if not report.drawn:
                yield made.masks["it"], report.confidence, report.accepted

    return followed


METHODS = {
    "copied": copied,
    "flow": flow_alone,
    "default": run(VideoSettings()),
    "alone": run(VideoSettings(flow="off", cleanup=False)),
}


def sequences(folders: Sequence[Path]) -> dict[str, Path]:
    """By name, every folder that has images, here or one level below."""
    found = {}
    for folder in folders:
        for one in [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]:
            if (one / "images").is_dir():
                found[f"{folder.name}/{one.name}" if one != folder else one.name] = one
    return found


def measure(place: Path, method: str, most: int | None, checkpoint: Path | None) -> dict[str, Any]:
    frames = read_frames(place / "images")
    masks = place / ("masks" if (place / "masks").is_dir() else "labels")
    files = {path.stem: path for path in masks.iterdir()}
    names = frames.names[:most]
    images = [frames[number] for number in range(len(names))]
    truths = [_truth(files[name], images[0].shape[:2]) for name in names]
    started = time.process_time()
    told = list(METHODS[method](images, truths[0], checkpoint))
    seconds = time.process_time() - started
    dice = [slice_dice(mask[None], truth[None]) for (mask, _, _), truth in zip(told, truths[1:], strict=True)]
    return {
        "dice": [None if np.isnan(one) else round(float(one), 4) for one in dice],
        "confidence": [round(float(one), 4) for _, one, _ in told],
        "accepted": [bool(one) for _, _, one in told],
        "seconds a frame": round(seconds / len(told), 2),
    }


def _truth(path: Path, size: tuple[int, ...]) -> np.ndarray:
    try:
        return next(iter(read_mask_picture(path).values()))
    except Exception:  # an empty mask: the structure is not on this frame
        return np.zeros(size, bool)


def table(records: Sequence[dict[str, Any]]) -> None:
    methods = [name for name in METHODS if any(one["method"] == name for one in records)]
    means = {(one["sequence"], one["method"]): _mean(one["dice"]) for one in records}
    names = list(dict.fromkeys(one["sequence"] for one in records))
    print(f"{'sequence':32s}" + "".join(f"{method:>10s}" for method in methods))
    for name in names:
        print(f"{name:32s}" + "".join(f"{means.get((name, method), float('nan')):10.3f}" for method in methods))
    for other in methods:
        pairs = [(means[n, "default"], means[n, other]) for n in names if {(n, "default"), (n, other)} <= set(means)]
        if other == "default" or len(pairs) < 2:
            continue
        a, b = np.array(pairs).T
        p = float(wilcoxon(a, b).pvalue) if np.any(a != b) else 1.0
        print(
            f"default {a.mean():.3f}, {other} {b.mean():.3f}: better on {int((a > b).sum())} of {len(a)}, p = {p:.3f}"
        )
    _confidence([one for one in records if one["method"] == "default"])


def _confidence(records: Sequence[dict[str, Any]]) -> None:
    pairs = [
        pair for one in records for pair in zip(one["dice"], one["confidence"], strict=True) if pair[0] is not None
    ]
    if len(pairs) < 3:
        return
    dice, confidence = np.array(pairs, float).T
    low = dice < 0.7
    area = float("nan")
    if low.any() and not low.all():
        worse, better = confidence[low][:, None], confidence[~low][None]
        area = float((worse < better).mean() + 0.5 * (worse == better).mean())
    print(
        f"confidence of {len(dice)} frames: off by {np.abs(dice - confidence).mean():.3f}, rank correlation "
        f"{spearmanr(dice, confidence).statistic:.2f}, area under the curve for Dice < 0.7 {area:.2f}; accepted "
        f"{sum(sum(one['accepted']) for one in records)} of {sum(len(one['accepted']) for one in records)}"
    )


def _mean(dice: Sequence[float | None]) -> float:
    return float(np.mean([one for one in dice if one is not None]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=Path, nargs="+", required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["copied", "flow", "default"])
    parser.add_argument("--frames", type=int, metavar="N", help="of each sequence, the first N")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    records = [json.loads(line) for line in args.output.read_text().splitlines()] if args.output.exists() else []
    done = {(one["sequence"], one["method"]) for one in records}
    for name, place in sequences(args.sequences).items():
        for method in args.methods:
            if (name, method) in done:
                continue
            record = {"sequence": name, "method": method, **measure(place, method, args.frames, args.checkpoint)}
            records.append(record)
            with args.output.open("a") as file:
                file.write(json.dumps(record) + "\n")
    table(records)


if __name__ == "__main__":
    main()
