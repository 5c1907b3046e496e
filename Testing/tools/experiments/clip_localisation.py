"""Does the map of a word lie where the word's structure is? Area under the ROC curve on phantom patients never seen.

    python Testing/tools/experiments/clip_localisation.py --output DIR

A pixel's score is its map; 0.5 is chance. Beside the trained model stands the same model with random weights. Writes
figures.json and maps.png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import torch
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from adaptsam.alignsam.clip import ClipModel, SurgerySettings, TextAttention, load_clip
from adaptsam.alignsam.clip.clip_files import find
from adaptsam.image.windowing import WINDOWS
from adaptsam.pretrain.captioned_slices import LUNGS, OTHERS, SIDES
from adaptsam.synthetic.thorax_phantom import phantom_patient

FIRST_SEED = 200_000
TOGETHER = [topic.names[0] for topic in (LUNGS, *OTHERS)]
APART = [topic.names[0] for topic in (*SIDES, *OTHERS)]
STRUCTURES = {
    "lung": (TOGETHER, ("Lung-Left", "Lung-Right")),
    "left lung": (APART, ("Lung-Left",)),
    "right lung": (APART, ("Lung-Right",)),
    "heart": (APART, ("Heart",)),
    "spinal cord": (APART, ("Spinal-Cord",)),
    "tumour": (APART, ("GTV-1",)),
}


def slices(patients: int, each: int) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Images uint8 (each, J, I, 3) and the masks of the contoured structures, for one patient after the other."""
    for seed in range(FIRST_SEED, FIRST_SEED + patients):
        [visit] = phantom_patient(seed, 1, shape=(40, 192, 192), spacing=(2.3, 2.3, 7.0))
        masks = {structure.name: structure.mask for structure in visit.structures.structures}
        middle = masks["GTV-1"].sum((1, 2)).argmax()  # the first slice of all, in a patient without a tumour
        rows = np.unique([*np.linspace(6, 33, each - 1).round(), middle]).astype(int)
        images = np.stack([WINDOWS["papers"].rgb(visit.volume.array[row]) for row in rows])
        yield images, {name: mask[rows] for name, mask in masks.items()}


def areas(clip: ClipModel, settings: SurgerySettings, cases: list[tuple[np.ndarray, dict[str, np.ndarray]]]) -> dict:
    """For each word, the mean and standard error over the patients of the AUC in their slices that show it."""
    attention = TextAttention(clip, settings)
    found: dict[str, list[float]] = {word: [] for word in STRUCTURES}
    for images, masks in cases:
        maps = {id(p): attention.maps(images, p).numpy() for p in (TOGETHER, APART)}
        for word, (prompts, names) in STRUCTURES.items():
            truth = np.any([masks[name] for name in names], axis=0)
            shown = truth.sum((1, 2)) > 20
            scores = maps[id(prompts)][shown, prompts.index(word)]
            each = [roc_auc_score(t.ravel(), s.ravel()) for t, s in zip(truth[shown], scores, strict=True)]
            found[word] += [float(np.mean(each))] if each else []
    return {
        word: {"auc": round(float(np.mean(all_)), 3), "se": round(float(np.std(all_) / np.sqrt(len(all_))), 3)}
        for word, all_ in found.items()
    }


def draw(clip: ClipModel, settings: SurgerySettings, cases: list, path: Path) -> None:
    """Two slices of each of the first patients: the slice with its contours, and a map a word."""
    attention = TextAttention(clip, settings)
    rows = [
        (images[n : n + 1], {k: m[n] for k, m in masks.items()})
        for images, masks in cases[:4]
        for n in (len(images) // 3, 2 * len(images) // 3)
    ]
    figure = Figure(figsize=(2 * (1 + len(STRUCTURES)), 2 * len(rows)), layout="tight")
    axes = figure.subplots(len(rows), 1 + len(STRUCTURES))
    for line, (images, masks) in zip(axes, rows, strict=True):
        line[0].imshow(images[0])
        maps = {id(p): attention.maps(images, p)[0].numpy() for p in (TOGETHER, APART)}
        for axis, (word, (prompts, names)) in zip(line[1:], STRUCTURES.items(), strict=True):
            axis.imshow(maps[id(prompts)][prompts.index(word)], vmin=0, vmax=1, cmap="magma")
            axis.set_title(word, fontsize=8)
            for name in names:
                if masks[name].any():
                    axis.contour(masks[name], [0.5], colors="cyan", linewidths=0.8)
    for axis in axes.flat:
        axis.axis("off")
    figure.savefig(path, dpi=80)


def random_weights(source: str, clip: ClipModel) -> ClipModel:
    """The same model before any training."""
    torch.manual_seed(0)
    config = find(source).config
    return ClipModel(open_clip.CLIP(**config), clip.tokenizer, clip.preprocess, device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="phantom_clip", help="the bundled one, or what clip_pretrain wrote")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--slices", type=int, default=8, help="of each patient")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    clip = load_clip(args.clip, device="cpu")
    settings = SurgerySettings(modality="ct")
    cases = list(slices(args.patients, args.slices))
    models = {"trained": clip, "random weights": random_weights(args.clip, clip)}
    figures = {name: areas(model, settings, cases) for name, model in models.items()}
    (args.output / "figures.json").write_text(json.dumps(figures, indent=2))
    print(json.dumps(figures, indent=2))
    draw(clip, settings, cases, args.output / "maps.png")


if __name__ == "__main__":
    main()
