"""Dice on synthetic patients that no model was trained on: parts, retrieval and protocol, side by side.

    python Testing/tools/experiments/phantom_cohort.py --patients 50 --output cohort.jsonl

One line of JSON a patient; patients that are in the file already are not computed again. Two processes may share the
work with --first.

    python Testing/tools/experiments/phantom_cohort.py --patients 4 --papers --shifted --output trained.jsonl \\
           --checkpoint trained/best.safetensors

is a line of the counterpart of P²SAM's Table 1: a fine-tuned model, on the scanner that it was tuned to
(training_folders.py), without a prompt ("direct transfer") and with P²SAM.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from training_folders import SHIFTED

from adaptsam.image import Volume, select_structures
from adaptsam.image.windowing import choose_window
from adaptsam.metrics.volume_metrics import compare, slice_dice
from adaptsam.p2sam import P2SamSettings
from adaptsam.propagation.baselines import carry_rigidly
from adaptsam.propagation.volume_propagation import Propagation, PropagationSettings, papers_protocol, propagate
from adaptsam.sam import DecodeRequest, EmbeddingStore, SamModel, load_sam
from adaptsam.synthetic.thorax_phantom import CONTRASTS, PhantomSettings, PhantomVisit, phantom_patient

METHODS = {
    "P2SAM, n = 4, retrieval": P2SamSettings(),
    "n = 4, no retrieval": P2SamSettings(positives=(4, 4), retrieval=False),
    "n = 1 (PerSAM)": P2SamSettings(positives=(1, 1)),
}
FIRST_SEED = 100_000


def patient(seed: int, settings: PhantomSettings | None = None) -> tuple[PhantomVisit, PhantomVisit]:
    """Two visits of a patient whose seed no training used."""
    settings = settings or PhantomSettings()
    first, second = phantom_patient(seed, 2, shape=(64, 224, 224), spacing=(1.95, 1.95, 4.5), settings=settings)
    return first, second


def papers_figures(seed: int, model: SamModel, settings: PhantomSettings, structure: str = "GTV-1") -> dict[str, float]:
    """Mean Dice over the slices that hold the structure, each method of the papers' table."""
    first, second = patient(seed, settings)
    prior = select_structures(first.structures, [structure])
    truth = select_structures(second.structures, [structure]).structures[0].mask
    slices = np.flatnonzero(truth.any(axis=(1, 2))).tolist()
    store = EmbeddingStore(model)
    found = {"direct transfer": slice_dice(_unprompted(model, second.volume, slices), truth)}
    for name, p2sam in METHODS.items():
        chosen = replace(papers_protocol(slices), p2sam=p2sam)
        [result] = propagate(first.volume, prior, [second.volume], settings=chosen, store=store)
        found[name] = slice_dice(result.structures.structures[0].mask, truth)
    return found


def _unprompted(model: SamModel, volume: Volume, slices: list[int]) -> np.ndarray:
    """What the model draws on whole slices without a prompt."""
    mask, window = np.zeros(volume.array.shape, bool), choose_window(volume)
    for k in slices:
        [embedding] = model.embed([window.rgb(volume.array[k])])
        [decoded] = model.decode([DecodeRequest(embedding)])
        mask[k] = (model.upscale(decoded.logits[:1], embedding)[0] > 0).numpy()
    return mask


def figures(seed: int, model: SamModel, structure: str = "GTV-1") -> dict[str, float]:
    """Mean Dice over the slices that hold the structure (papers' protocol) and over the volume (ours).

    The methods without fusion, so that parts and retrieval are seen; then the default, which has it.
    """
    first, second = patient(seed)
    prior = select_structures(first.structures, [structure])
    truth = select_structures(second.structures, [structure]).structures[0].mask
    store = EmbeddingStore(model)
    slices = np.flatnonzero(truth.any(axis=(1, 2))).tolist()
    found: dict[str, float] = {}
    for name, p2sam in METHODS.items():
        for protocol, settings in _protocols(slices, p2sam):
            [result] = propagate(first.volume, prior, [second.volume], settings=settings, store=store)
            found[f"{name} | {protocol}"] = _score(result, truth, protocol, second.volume)
    [result] = propagate(first.volume, prior, [second.volume], store=store)
    found["default | ours"] = _score(result, truth, "ours", second.volume)
    moved = carry_rigidly(first.volume, prior, second.volume).structures[0].mask
    found["rigid registration | ours"] = compare(moved, truth, second.volume.geometry).dice
    found["rigid registration | papers'"] = slice_dice(moved, truth)
    return found


def _protocols(slices: list[int], p2sam: P2SamSettings) -> Iterator[tuple[str, PropagationSettings]]:
    yield "papers'", replace(papers_protocol(slices), p2sam=p2sam)
    yield "ours", PropagationSettings(p2sam=p2sam, register="rigid", fusion="off")


def _score(result: Propagation, truth: np.ndarray, protocol: str, target: Volume) -> float:
    mask = result.structures.structures[0].mask
    if protocol == "papers'":
        return slice_dice(mask, truth)
    return compare(mask, truth, target.geometry).dice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="how many patients to leave to another process")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--papers", action="store_true", help="the papers' protocol alone, and direct transfer")
    parser.add_argument("--shifted", action="store_true", help="the scanner of training_folders.py")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    lines = args.output.read_text().splitlines() if args.output.exists() else []
    done = {json.loads(line)["seed"]: json.loads(line)["dice"] for line in lines}
    model = load_sam(args.checkpoint, "cpu")
    settings = PhantomSettings(scanner=SHIFTED, contrast=CONTRASTS["arterial"]) if args.shifted else PhantomSettings()
    for seed in range(FIRST_SEED + args.first, FIRST_SEED + args.first + args.patients):
        if seed not in done:
            done[seed] = papers_figures(seed, model, settings) if args.papers else figures(seed, model)
            with args.output.open("a") as file:
                file.write(json.dumps({"seed": seed, "dice": done[seed]}) + "\n")
    for name in next(iter(done.values())):
        values = np.array([dice[name] for dice in done.values()])
        error = values.std(ddof=1) / len(values) ** 0.5
        print(f"{name:42s} {values.mean():.3f} ± {error:.3f}  median {np.median(values):.3f}")


if __name__ == "__main__":
    main()
