"""How well a model follows clicks and boxes on real images that it never saw, structure by structure.

    python Testing/tools/experiments/clicks.py --image ct/images --mask ct/rtstruct.dcm --structure GTV-1
    python Testing/tools/experiments/clicks.py --image abdomen.nii.gz --mask labels.nii.gz \\
           --names labels.json --slices 12
    python Testing/tools/experiments/clicks.py --image frames --mask masks --pictures
    python Testing/tools/experiments/clicks.py --image ct/images --mask ct/rtstruct.dcm --view 3

Slices are spread evenly over each structure. Beside the model stand the ellipse that fills the box and region growing;
see :mod:`adaptsam.metrics.simulated_clicks`. With ``--view`` the model sees a square of that many times the longer
side of the structure, as propagation shows it a small one.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from adaptsam.image import StructureSet, Volume, select_structures
from adaptsam.image.cropping import square_view
from adaptsam.image.orientation import canonical_orientation
from adaptsam.image.windowing import choose_window
from adaptsam.io import read_structures, read_volume
from adaptsam.metrics.simulated_clicks import box_around, boxed, clicked, ellipse, grown
from adaptsam.sam import SamModel, load_sam

_FEWEST_PIXELS = 20


def prompted(model: SamModel, image: np.ndarray, truth: np.ndarray, times: float | None) -> dict[str, float]:
    """Clicks and box on a picture, or on a square of it ``times`` the structure's longer side."""
    if times is not None:
        left, top, right, bottom = box_around(truth)
        side = times * (max(right - left, bottom - top) + 1)
        view = square_view(((left + right) / 2, (top + bottom) / 2), side, (1.0, 1.0), model.image_size)
        image, truth = view.image(image), view.mask(truth)
    [embedding] = model.embed([image])
    clicks = {f"{number} clicks": dice for number, dice in clicked(model, embedding, truth).items()}
    return clicks | {"box": boxed(model, embedding, truth), "ellipse in the box": ellipse(truth)}


def figures(model: SamModel, volume: Volume, structures: StructureSet, slices: int, times: float | None = None) -> None:
    """Print the mean Dice of every structure over up to ``slices`` of its slices, a line of JSON each."""
    orientation = canonical_orientation(volume.geometry, plane=2)
    image = orientation.apply(volume.array)
    for structure in structures.structures:
        window = choose_window(volume, "auto", structure.name)
        mask = orientation.apply(structure.mask)
        usable = np.flatnonzero(mask.sum((1, 2)) >= _FEWEST_PIXELS)
        if not len(usable):
            continue
        rows = []
        for k in np.unique(usable[np.linspace(0, len(usable) - 1, slices).round().astype(int)]):
            truth = np.ascontiguousarray(mask[k])
            rows.append(prompted(model, window.rgb(image[k]), truth, times))
            if image.ndim == 3:
                rows[-1]["region growing"] = grown(image[k], truth)
        report(structure.name, rows)


def picture_figures(model: SamModel, images: Path, masks: Path, times: float | None = None) -> None:
    """The same over pictures and their masks, files of one name in two folders."""
    rows = []
    for path in sorted(images.iterdir()):
        [labelled] = masks.glob(f"{path.stem}.*")
        picture, truth = np.array(Image.open(path).convert("RGB")), np.array(Image.open(labelled).convert("L")) > 0
        if truth.any():
            rows.append(prompted(model, picture, truth, times))
            rows[-1]["region growing"] = grown(picture.mean(2), truth)
    report(images.parent.name, rows)


def report(name: str, rows: list[dict[str, float]]) -> None:
    means = {key: round(float(np.mean([row[key] for row in rows])), 3) for key in rows[0]}
    print(json.dumps({"structure": name, "slices": len(rows), **means}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--mask", type=Path, required=True)
    parser.add_argument("--structure", action="append")
    parser.add_argument("--names", type=Path, help="JSON with the names of a labelmap's values")
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--view", type=float, metavar="TIMES", help="side of what the model sees; default: all")
    parser.add_argument("--pictures", action="store_true", help="image and mask are folders of pictures")
    args = parser.parse_args()
    if args.pictures:
        picture_figures(load_sam(args.checkpoint, "cpu"), args.image, args.mask, args.view)
        return
    volume = read_volume(args.image)
    structures = read_structures(args.mask, volume)
    if args.names:
        names = {f"label-{value}": name for value, name in json.loads(args.names.read_text()).items()}
        renamed = [replace(s, name=names.get(s.name, s.name)) for s in structures.structures]
        structures = StructureSet(tuple(renamed), structures.geometry)
    chosen = select_structures(structures, args.structure)
    figures(load_sam(args.checkpoint, "cpu"), volume, chosen, args.slices, args.view)


if __name__ == "__main__":
    main()
