"""The ablations of AlignSAM's Tables 2, 4 and 5, beside clicks, boxes, PerSAM and a fine-tuned SAM, on unseen images.

    python Testing/tools/experiments/alignsam_ablation.py --agent left_lung_0.agent.safetensors --task "left lung" \\
           --whole --data ../shared/data --output ablation.json

The parts are taken away in use, from agents trained once: random actions (w/o RL), all points positive and no first
pair (w/o SRM), a single step (w/o MSI), and T from one run of 20 steps. PerSAM has the first training image as its
reference; the fine-tuned SAM is its decoder after some steps without prompts on the same 50 training images. One point
lies in the middle of the structure, the box around it: both know the truth. IoU, as means over images; on real scans
over slices of the one patient there is. With --data, real scans that hold the task's structure are added.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from alignsam_learning import FIRST_UNSEEN, images
from clicks import click

from adaptsam.alignsam import Package, TrainingImage, UseSettings, load_agent, prompt
from adaptsam.alignsam.agent_scoring import overlap
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.text_maps import attention_of
from adaptsam.finetune.differentiable_decoding import decode_prompts
from adaptsam.finetune.mask_losses import sam_loss
from adaptsam.io import read_structures, read_volume
from adaptsam.io.video.frames import pictures_in, read_picture
from adaptsam.p2sam import PERSAM, Job, Prior, segment
from adaptsam.sam import DecodeRequest, EmbeddingStore, SamModel, load_sam
from adaptsam.sam.prompt_encoder import PromptTokens

#: Not those on which the packages' least evidence was chosen.
FIRST_TESTED = FIRST_UNSEEN + 10_000
STEPS = (1, 5, 10, 15, 20)
NO_PROMPT = PromptTokens(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))

#: For each task, scans of ../shared/data that hold it: image, contours, the structures whose union it is.
REAL: dict[str, list[tuple[str, str, str]]] = {
    "left lung": [
        ("ct-lung1-001/images", "ct-lung1-001/labels/rtstruct.dcm", "Lung-Left"),
        ("abdct-totalseg/images/image.nii.gz", "abdct-totalseg/labels/labels.nii.gz", "lung_*_left"),
    ],
    "right lung": [
        ("ct-lung1-001/images", "ct-lung1-001/labels/rtstruct.dcm", "Lung-Right"),
        ("abdct-totalseg/images/image.nii.gz", "abdct-totalseg/labels/labels.nii.gz", "lung_*_right"),
    ],
    "spine": [("abdct-totalseg/images/image.nii.gz", "abdct-totalseg/labels/labels.nii.gz", "vertebrae_*")],
    "tumour": [("ct-lung1-001/images", "ct-lung1-001/labels/rtstruct.dcm", "GTV-1")],
}
#: Pictures with masks, for "polyp".
FRAMES = ("endo-cvc-seq20", "endo-cvc-seqA")


def real_images(root: Path, task: str, package: Package, model: SamModel, count: int) -> dict[str, list[TrainingImage]]:
    """Slices spread evenly over the structure, as the agent is shown them."""
    found: dict[str, list[TrainingImage]] = {}
    if task == "polyp":
        return {name: real_frames(root / name) for name in FRAMES if (root / name).is_dir()}
    for image, contours, pattern in REAL.get(task, []):
        if not (root / contours).exists():
            continue
        volume = read_volume(root / image)
        structures = read_structures(root / contours, volume)
        names = label_names(root / contours)
        parts = [s.mask for s in structures.structures if Path(names.get(str(s.number), s.name)).match(pattern)]
        slices = AgentSlices(volume, package.shown, model.image_size)
        masks = {k: slices.mask(np.any(parts, axis=0), k) for k in range(slices.images.geometry.shape[0])}
        shown = [k for k, mask in masks.items() if mask.sum() > 40]
        rows = np.unique(np.linspace(0, len(shown) - 1, count).round()).astype(int)
        found[image.split("/")[0]] = [TrainingImage(slices.image(shown[row]), masks[shown[row]]) for row in rows]
    return found


def real_frames(case: Path) -> list[TrainingImage]:
    pictures, masks = (pictures_in(case / part) for part in ("images", "labels"))
    pairs = ((read_picture(a), read_picture(b)) for a, b in zip(pictures, masks, strict=True))
    return [TrainingImage(image, mask.reshape(*mask.shape[:2], -1)[..., 0] > 127) for image, mask in pairs]


def label_names(contours: Path) -> dict[str, str]:
    """The names of a label map's numbers, where they lie beside it."""
    path = contours.with_name("labels.json")
    return json.loads(path.read_text()) if path.is_file() else {}


def agent_rows(
    store: EmbeddingStore, package: Package, tested: list[TrainingImage], attention: Callable | None
) -> dict[str, float]:
    """The paper's rows."""
    agent, own = package.agent, package.agent.settings
    steps = min(max(STEPS), own.environment.side**2)

    def curve(**changes: object) -> list[float]:
        agent.settings = replace(own, steps_in_use=steps, **changes)  # type: ignore[arg-type]
        results = prompt(store, agent, [one.image for one in tested], UseSettings(), attention=attention)
        agent.settings = own
        each = [[overlap(m, one.mask) for m in r.step_masks] for r, one in zip(results, tested, strict=True)]  # type: ignore[union-attr]
        return np.mean(each, axis=0).tolist()

    ours, random, positive = curve(), curve(policy="random"), curve(labels="positive")
    usual = own.environment.steps
    return {
        "ours": ours[usual],
        "w/o RL": random[usual],
        "w/o SRM": positive[usual - 1],  # there is no first pair, and so no mask before the first step
        "w/o MSI": ours[1],
        "first pair alone": ours[0],
        **{f"T={count}": ours[count] for count in STEPS if count <= steps},
    }


def other_rows(
    model: SamModel, store: EmbeddingStore, learnt: list[TrainingImage], tested: list[TrainingImage], tuned: SamModel
) -> dict[str, float]:
    """What else finds the target: with the truth's help, with one reference, or trained on the same images."""
    embeddings = store.get([one.image for one in tested])
    [reference] = store.get([learnt[0].image])
    prior = Prior.from_mask(model, reference, learnt[0].mask)
    requests = {
        "one point": [DecodeRequest(e, [click(one.mask)], [1]) for e, one in zip(embeddings, tested, strict=True)],
        "box": [DecodeRequest(e, box=box(one.mask)) for e, one in zip(embeddings, tested, strict=True)],
        "no prompt": [DecodeRequest(e) for e in embeddings],
    }
    masks = {name: decoded(model, asked) for name, asked in requests.items()}
    masks["fine-tuned SAM, no prompt"] = decoded(tuned, requests["no prompt"])
    masks["PerSAM"] = [result.mask for result in segment(model, [Job(prior, e) for e in embeddings], PERSAM)]
    return {name: mean_overlap(found, tested) for name, found in masks.items()}


def decoded(model: SamModel, requests: Sequence[DecodeRequest]) -> list[np.ndarray]:
    """The mask of each request, bool (H, W)."""
    answers = model.decode(list(requests))
    pairs = zip(answers, requests, strict=True)
    return [(model.upscale(one.logits, request.embedding)[0] > 0).cpu().numpy() for one, request in pairs]


def mean_overlap(found: Sequence[np.ndarray], tested: Sequence[TrainingImage]) -> float:
    return float(np.mean([overlap(mask, one.mask) for mask, one in zip(found, tested, strict=True)]))


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Around a mask, as x, y of two corners."""
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def fine_tuned(model: SamModel, store: EmbeddingStore, learnt: list[TrainingImage], steps: int) -> SamModel:
    """The model with its decoder trained to give the target without any prompt."""
    sam = copy.deepcopy(model.sam)
    parameters = list(sam.mask_decoder.parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, lr=3e-4)
    features = torch.stack([one.features for one in store.get([one.image for one in learnt])])
    side = 4 * model.grid_size
    truth = torch.stack([torch.from_numpy(one.mask).float() for one in learnt])[:, None]
    truth = (torch.nn.functional.interpolate(truth, (side, side), mode="area") > 0.5).float()
    random = np.random.default_rng(0)
    for _ in range(steps):
        rows = torch.from_numpy(random.choice(len(learnt), 10, replace=False))
        logits, iou = decode_prompts(sam, features[rows], [NO_PROMPT] * 10, [None] * 10, multimask=False)
        loss = sam_loss(logits, truth[rows], iou).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return SamModel.from_sam(sam, model.config, kind="fine-tuned", device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", type=Path, action="append", required=True, help="of one task; repeat for branches")
    parser.add_argument("--task", required=True)
    parser.add_argument("--whole", action="store_true", help="as the agents were trained")
    parser.add_argument("--unseen", type=int, default=30)
    parser.add_argument("--slices", type=int, default=10, help="of each real scan")
    parser.add_argument("--steps", type=int, default=150, help="of the fine-tuning")
    parser.add_argument("--data", type=Path, help="real cases")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    model = load_sam(None, "cpu")
    store = EmbeddingStore(model, memory_bytes=2**30)
    packages = [load_agent(path, model) for path in args.agent]
    learnt = images(args.task, 0, 50, args.whole)
    sets = {"phantoms": images(args.task, FIRST_TESTED, args.unseen, args.whole)}
    if args.data:
        sets |= real_images(args.data, args.task, packages[0], model, args.slices)
    tuned = fine_tuned(model, store, learnt, args.steps)
    table: dict[str, dict[str, float]] = {}
    for name, tested in sets.items():
        rows = other_rows(model, store, learnt, tested, tuned)
        for package in packages:
            attention = None
            if package.text:
                from adaptsam.alignsam.clip import load_clip

                attention = attention_of(load_clip("phantom_clip", device="cpu"), package.shown, package.text)
            branch = package.agent.settings.branch
            rows |= {f"{branch}, {k}": v for k, v in agent_rows(store, package, tested, attention).items()}
        table[f"{name}, {len(tested)} images"] = {row: round(value, 3) for row, value in rows.items()}
        print(name, json.dumps(table[f"{name}, {len(tested)} images"]), flush=True)
    args.output.write_text(json.dumps({"task": args.task, **table}, indent=2))


if __name__ == "__main__":
    main()
