"""Agents on real images, each with everything that it must beat, in one command a task.

    python Testing/tools/experiments/real_agents.py polyp --data ../shared/data --output results
    python Testing/tools/experiments/real_agents.py lung-tumour --data ../shared/data --checkpoint FILE --output results
    python Testing/tools/experiments/real_agents.py lungs --small --data ../shared/data --output results

tasks, trained on → tested on:

  polyp        Kvasir-SEG → CVC-ClinicDB, by sequence
  lung-tumour  tumours of the Decathlon → LUNG1-001 and -003, three more NSCLC cases, 4D-Lung
  lungs        the Decathlon's slices, outlined by the threshold below → LUNG1-001 and -003
  heart        SegTHOR → LUNG1-003 (may train no released agent)
  liver        one abdomen → two slices of AMOS (may train no released agent)
  glass        half of GDD → the other half (may train no released agent)

OUTPUT/TASK.json has every figure; OUTPUT/TASK-BRANCH-SEED.agent.safetensors is the agent, and the .png beside it shows
what it did on test images of five cases. An agent is
worth bundling only where "outdone by" is empty, on open data. On volumes the Dice is that of `adaptsam.autoprompt`,
slice by slice and searched outwards; "elsewhere" counts accepted slices of bodies and organs that no agent of these
may know.
With --clip the explicit branch is trained and tested, too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from real_cases import CHEST_WINDOW, LUNG1, TUMOURS, Scan, msd_slice, opened, spread, two_points, windowed

from adaptsam.alignsam import (
    Agent,
    AlignSamSettings,
    EnvironmentSettings,
    Package,
    Shown,
    Target,
    TrainingImage,
    TrainingSettings,
    prompt,
    save_agent,
    train,
)
from adaptsam.alignsam.agent_scoring import overlap
from adaptsam.alignsam.attention_maps import Attention
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.agent_thumbnail import agent_picture
from adaptsam.autoprompting.agent_training import judge, novelty_of
from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
from adaptsam.autoprompting.comparators import comparator_masks, fine_tuned_decoder, lungs_by_threshold
from adaptsam.autoprompting.prompt_drawing import draw_prompts
from adaptsam.autoprompting.text_maps import attention_of, clip_record
from adaptsam.autoprompting.volume_autoprompting import autoprompt
from adaptsam.image.volume import Geometry, Volume
from adaptsam.io import read_structures, read_volume
from adaptsam.sam import DecodeRequest, EmbeddingStore, load_sam

Mask = NDArray[np.bool_]
Pictures = list[TrainingImage]

CHEST = Shown(window=CHEST_WINDOW, view="full", modality="CT")
ABDOMEN = Shown(window=(-160.0, 240.0), view="full", modality="CT")
#: Bodies and organs where an agent for the chest, or for frames, must accept nothing.
ELSEWHERE = {"thigh, CT": "ctmr-sts-001/images/CT", "thigh, MR": "ctmr-sts-001/images/MR_T1"}
HIPPOCAMPI, ULTRASOUND = "mr-hippocampus-msd/images", "us-busi/images"


@dataclass(frozen=True, eq=False)
class Task:
    """What is learnt and tested.

    Attributes:
        target, shown: of the agent's file.
        learn: gives training images and as many held-back ones of other patients, from the data folder and a count.
        pictures: test images by case, from the data folder and a count a case; None where the tests are volumes.
        scans: test volumes.
        patch: side of a patch on the canvas of 800.
        text: what CLIP is asked for.
        free: whether the licences let the agent be released.
        rule: the rule of thumb on a volume.
    """

    target: Target
    shown: Shown
    learn: Callable[[Path, int], tuple[Pictures, Pictures, list[NDArray[np.uint8]]]]
    pictures: Callable[[Path, int], dict[str, Pictures]] | None = None
    scans: tuple[Scan, ...] = ()
    patch: int = 80
    text: str = ""
    free: bool = True
    rule: Callable[[Volume], Mask] | None = field(default=None, repr=False)


# -- training images


def kvasir(data: Path, count: int) -> tuple[Pictures, Pictures, list[NDArray[np.uint8]]]:
    """Frames that are unrelated; CC BY 4.0 as part of HyperKvasir."""
    files = spread(sorted((data / "endo-kvasir-seg" / "images").iterdir()), 2 * count)
    pairs = [frame(path, beside(path, data / "endo-kvasir-seg" / "masks")) for path in files]
    return pairs[::2], pairs[1::2], []


def msd_tumours(data: Path, count: int) -> tuple[Pictures, Pictures, list[NDArray[np.uint8]]]:
    """Every fourth patient is held back; slices without a tumour of those patients set the limit."""
    learnt, held, without = [], [], []
    for number, subject in enumerate(sorted((data / "ct-lungtumour-msd").glob("Subject_*"))):
        pairs = [TrainingImage(*msd_slice(path)) for path in sorted((subject / "images").glob("*.png"))]
        shown = [pair for pair in pairs if pair.mask.sum() >= 30]
        (held if number % 4 == 3 else learnt).append(shown)
        if number % 4 == 3:
            without += [pair.image for pair in pairs if not pair.mask.any()]
    return evenly(learnt, count), evenly(held, count), spread(without, count)


def msd_lungs(data: Path, count: int) -> tuple[Pictures, Pictures, list[NDArray[np.uint8]]]:
    """The same slices, with the lungs as the threshold outlines them: no agent is expected to beat its teacher.

    What is less than a twentieth of a slice may be gas in the bowel, and is left out.
    """
    learnt, held = [], []
    for number, subject in enumerate(sorted((data / "ct-lungtumour-msd").glob("Subject_*"))):
        pairs = [TrainingImage(*msd_slice(path)) for path in spread(sorted((subject / "images").glob("*.png")), 8)]
        lungs = [TrainingImage(one.image, thresholded(one.image)) for one in pairs]
        (held if number % 4 == 3 else learnt).append([one for one in lungs if one.mask.mean() > 0.05])
    return evenly(learnt, count), evenly(held, count), []


def segthor_hearts(data: Path, count: int) -> tuple[Pictures, Pictures, list[NDArray[np.uint8]]]:
    """Three patients to learn from, the fourth held back."""
    groups, without = [], []
    for patient in sorted((data / "ct-segthor").glob("Patient_*")):
        shown, empty = [], []
        for path in sorted((patient / "images").glob("*.png")):
            gray = np.array(Image.open(path).convert("L")).T.astype(np.float32)
            heart = np.array(Image.open(patient / "labels" / path.name)).T == 2
            pixels = windowed(two_points(gray), CHEST_WINDOW)
            (shown if heart.any() else empty).append(TrainingImage(pixels, heart))
        groups.append(shown)
        without = [one.image for one in empty]
    return evenly(groups[:-1], count), evenly(groups[-1:], count), spread(without, count)


def abdomen_livers(data: Path, count: int) -> tuple[Pictures, Pictures, list[NDArray[np.uint8]]]:
    """One patient: nothing can be held back, so every third slice stands in and says little."""
    folder = data / "abdct-totalseg"
    volume = read_volume(folder / "images" / "image.nii.gz")
    structures = read_structures(folder / "labels" / "labels.nii.gz", volume).structures
    [liver] = [one.mask for one in structures if one.number == 5]
    slices = AgentSlices(volume, ABDOMEN, 256)
    there = slices.images.orientation.apply(liver).any(axis=(1, 2))
    pairs = [TrainingImage(slices.image(int(k)), slices.mask(liver, int(k))) for k in np.flatnonzero(there)]
    empty = [slices.image(int(k)) for k in np.flatnonzero(~there)]
    held = pairs[::3]
    return spread([one for n, one in enumerate(pairs) if n % 3], count), spread(held, count), spread(empty, count)


def glass(data: Path, count: int) -> tuple[Pictures, Pictures, list[NDArray[np.uint8]]]:
    pairs = gdd(data)
    return spread(pairs[0::4] + pairs[2::4], count), spread(pairs[1::4], count), []


# -- test images


def cvc_sequences(data: Path, count: int) -> dict[str, Pictures]:
    """Frames of each sequence, evenly spread; 0 for all."""
    found = {}
    for folder in sorted((data / "endo-cvc-clinicdb").glob("seq*")):
        files = sorted((folder / "images").iterdir())
        found[folder.name] = [
            frame(path, beside(path, folder / "masks")) for path in spread(files, count or len(files))
        ]
    return found


def other_glass(data: Path, count: int) -> dict[str, Pictures]:
    tested = gdd(data)[3::4]
    return {"GDD": spread(tested, count or len(tested))}


def amos_livers(data: Path, count: int) -> dict[str, Pictures]:
    folder = data / "mix-sammed2d-demo"
    masks = sorted((folder / "masks").glob("amos_*_liver_*.png"))
    return {
        mask.name.split("_liver")[0]: [frame(folder / "images" / f"{mask.name.split('_liver')[0]}.png", mask)]
        for mask in masks
    }


def gdd(data: Path) -> Pictures:
    folder = data / "natural-glass-gdd"
    return [frame(path, beside(path, folder / "masks")) for path in sorted((folder / "images").iterdir())]


LUNGS = (
    Scan("LUNG1-001", *LUNG1["LUNG1-001"], ("Lung-Left", "Lung-Right")),
    Scan("LUNG1-003", *LUNG1["LUNG1-003"], ("Lung L", "Lung R")),
)
TASKS = {
    "polyp": Task(
        Target("Polyp", ("68496003", "SCT", "Polyp of colon"), 3),
        Shown(color=True),
        kvasir,
        cvc_sequences,
        text="polyp",
    ),
    "lung-tumour": Task(
        Target("GTV-1", ("126713003", "SCT", "Neoplasm of lung")),
        CHEST,
        msd_tumours,
        scans=TUMOURS,
        patch=40,
        text="tumour",
    ),
    "lungs": Task(
        Target("Lungs", ("39607008", "SCT", "Lung"), 2),
        CHEST,
        msd_lungs,
        scans=LUNGS,
        text="lung",
        rule=lungs_by_threshold,
    ),
    "heart": Task(
        Target("Heart", ("80891009", "SCT", "Heart")),
        CHEST,
        segthor_hearts,
        scans=(Scan("LUNG1-003", *LUNG1["LUNG1-003"], ("Heart",)),),
        text="heart",
        free=False,
    ),
    "liver": Task(
        Target("Liver", ("10200004", "SCT", "Liver")), ABDOMEN, abdomen_livers, amos_livers, text="liver", free=False
    ),
    "glass": Task(Target("Glass"), Shown(color=True), glass, other_glass, text="glass", free=False),
}


# -- reading


def frame(path: Path, mask: Path) -> TrainingImage:
    image = Image.open(path).convert("RGB")
    labels = Image.open(mask).convert("L")
    image.thumbnail((512, 512), Image.Resampling.BICUBIC)
    return TrainingImage(np.array(image), np.array(labels.resize(image.size, Image.Resampling.NEAREST)) > 127)


def beside(path: Path, folder: Path) -> Path:
    """The mask of an image, alike by name."""
    return next(folder.glob(f"{path.stem}.*"))


def thresholded(pixels: NDArray[np.uint8]) -> Mask:
    """The lungs of a slice in the window of the chest."""
    low, high = CHEST_WINDOW
    hounsfield = low + pixels.astype(np.float32) / 255 * (high - low)
    lungs: Mask = lungs_by_threshold(_plane(hounsfield))[0]
    return lungs


def _plane(values: NDArray[np.float32]) -> Volume:
    return Volume(values[None], Geometry((1, *values.shape), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))


def evenly(groups: Sequence[Sequence], count: int) -> list:
    """So many of all, as many as may be of each group."""
    groups = [group for group in groups if group]
    share = -(-count // max(1, len(groups)))
    return spread([one for group in groups for one in spread(group, share)], count)


# -- the comparison


def dice(found: Mask, truth: Mask) -> float:
    total = np.count_nonzero(found) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(found & truth) / total if total else 1.0


def with_truth(store: EmbeddingStore, tested: Pictures) -> dict[str, list[Mask]]:
    """What SAM answers to the box and to a point of the truth."""
    embeddings = store.get([one.image for one in tested])
    boxes = [DecodeRequest(e, box=box_of(one.mask)) for e, one in zip(embeddings, tested, strict=True)]
    points = [DecodeRequest(e, [middle(one.mask)], [1]) for e, one in zip(embeddings, tested, strict=True)]
    answers = {}
    for name, requests in (("box of the truth", boxes), ("point of the truth", points)):
        decoded = zip(store.model.decode(requests), requests, strict=True)
        answers[name] = [(store.model.upscale(a.logits, r.embedding)[0] > 0).cpu().numpy() for a, r in decoded]
    return answers


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def middle(mask: Mask) -> tuple[int, int]:
    """The pixel of a mask that is nearest to its centre, x then y."""
    places = np.argwhere(mask)
    y, x = places[np.argmin(((places - places.mean(0)) ** 2).sum(1))]
    return int(x), int(y)


def scan_slices(scan: Scan, volume: Volume, truth: Mask, shown: Shown, size: int, count: int) -> Pictures:
    slices = AgentSlices(volume, shown, size)
    there = np.flatnonzero(slices.images.orientation.apply(truth).any(axis=(1, 2)))
    pairs = [
        TrainingImage(slices.image(int(k)), slices.mask(truth, int(k))) for k in spread(there, count or len(there))
    ]
    return [one for one in pairs if one.mask.any()]


def scored(masks: dict[str, list[Mask]], tested: Pictures) -> dict[str, dict[str, float]]:
    figures = {}
    for name, found in masks.items():
        pairs = list(zip(found, (one.mask for one in tested), strict=True))
        figures[name] = {
            "iou": round(float(np.mean([overlap(*pair) for pair in pairs])), 4),
            "dice": round(float(np.mean([dice(*pair) for pair in pairs])), 4),
        }
    return figures


def mean_of(cases: Sequence[dict[str, float]], name: str) -> float:
    return round(float(np.mean([one[name] for one in cases])), 4)


def on_volume(
    package: Package, volume: Volume, truth: Mask, store: EmbeddingStore, maps, rule, every: int
) -> dict[str, object]:
    """Dice over every so many-th slice of the volume, and slices kept, each way of searching."""
    told: dict[str, object] = {}
    if rule is not None:
        told["rule of thumb"] = {"dice": round(dice(rule(volume), truth), 4)}
    volume, truth = part_of(volume, every), truth[::every]
    there = truth.any(axis=(1, 2))
    for search in ("slices", "outward"):
        options = AutoPromptSettings(search=search)
        found = autoprompt([package], volume, model=store.model, settings=options, text_maps=maps, store=store)
        mask = found.structures.structures[0].mask
        kept = mask.any(axis=(1, 2))
        told[search] = {
            "dice": round(dice(mask, truth), 4),
            "kept with": f"{int((kept & there).sum())} of {int(there.sum())}",
            "kept without": f"{int((kept & ~there).sum())} of {int((~there).sum())}",
        }
    return told


def elsewhere(package: Package, data: Path, store: EmbeddingStore, maps, count: int) -> dict[str, str]:
    """How many slices are accepted where the target cannot be, with nothing said of the modality."""
    if package.shown.color:
        return {}
    found: dict[str, tuple[int, int]] = {}
    options = AutoPromptSettings(cleanup=False, least_mm=0.0)
    for name, volume in elsewhere_volumes(data, count):
        result = autoprompt([package], volume, model=store.model, settings=options, text_maps=maps, store=store)
        slices = result.reports[0].slices
        accepted, seen = found.get(name, (0, 0))
        found[name] = (accepted + sum(one.accepted for one in slices), seen + len(slices))
    return {name: f"{accepted} of {seen}" for name, (accepted, seen) in found.items()}


def elsewhere_volumes(data: Path, count: int) -> Iterator[tuple[str, Volume]]:
    """A thigh by CT and MR, brains' hippocampi, and breasts by ultrasound, without their modality."""
    for name, path in ELSEWHERE.items():
        if (data / path).exists():
            volume = read_volume(data / path)
            yield name, part_of(volume, max(1, volume.geometry.shape[0] // count) if count else 1)
    for path in spread(sorted((data / HIPPOCAMPI).glob("*.nii.gz")), 3):
        yield "hippocampi, MR", part_of(read_volume(path), 4 if count else 1)
    for path in spread(sorted((data / ULTRASOUND).glob("*.png")), count or 24):
        yield "breasts, ultrasound", _plane(np.array(Image.open(path).convert("L")).astype(np.float32))


def part_of(volume: Volume, step: int) -> Volume:
    """Every so many-th slice, of no modality."""
    geometry = volume.geometry
    array = np.ascontiguousarray(volume.array[::step])
    spacing = (geometry.spacing[0], geometry.spacing[1], step * geometry.spacing[2])
    shape = (array.shape[0], array.shape[1], array.shape[2])
    return Volume(array, replace(geometry, shape=shape, spacing=spacing))


def learn(args: argparse.Namespace, task: Task, store: EmbeddingStore, branch: str, seed: int) -> dict[str, object]:
    """One agent: trained, kept, compared."""
    from adaptsam.alignsam.clip import load_clip

    size = 4 if args.small else args.images
    learnt, held, without = task.learn(args.data, size)
    clip = load_clip(args.clip, device=args.device) if branch == "explicit" else None
    attention: Attention | None = attention_of(clip, task.shown, task.text) if clip is not None else None
    plan = (
        TrainingSettings(1, 1) if args.small else TrainingSettings(args.episodes, args.epochs, learning_rate=args.rate)
    )
    game = EnvironmentSettings(patch=task.patch, steps=2 if args.small else args.steps, reward=args.reward)
    settings = AlignSamSettings(game, replace(plan, seed=seed), branch=branch)  # type: ignore[arg-type]
    agent = train(store, learnt, settings, attention=attention).agent
    scores, least = judge(store, agent, held, without, attention)
    pictures = [one.image for one in learnt]
    package = Package(
        agent,
        task.target,
        store.model.kind,
        store.model.sha256,
        task.shown,
        task.text if clip is not None else "",
        clip_record(clip) if clip is not None else "",
        least,
        {"data": f"real_agents.py {args.task}", "images": len(learnt), "held_back": len(held), "history": []},
        scores,
        agent_picture(pictures, [one.mask for one in learnt]),
        novelty_of(store, learnt, held),
    )
    tuned = fine_tuned_decoder(store, learnt, 2 if args.small else args.decoder_steps, seed)
    told: dict[str, object] = {"branch": branch, "seed": seed, "least evidence": round(least, 4), "cases": {}}
    maps = (lambda text, images: attention(images)) if callable(attention) else None
    count = 2 if args.small else args.each
    pooled: dict[str, list[dict[str, float]]] = {}
    pictured: Pictures = []
    for name, tested, volume, truth in test_cases(args.data, task, store.model.image_size, count):
        shown = [one.image for one in tested]
        masks = {"agent": [one.mask for one in prompt(store, agent, shown, attention=attention, keep_steps=False)]}
        masks |= comparator_masks(store, agent, learnt, shown, attention, seed=seed, tuned=tuned)
        figures: dict[str, object] = dict(scored(masks | with_truth(store, tested), tested))
        for row, values in figures.items():
            pooled.setdefault(row, []).append(values)  # type: ignore[arg-type]
        if volume is not None and not args.small and not args.slices_only:
            figures["volume"] = on_volume(package, volume, truth, store, maps, task.rule, args.every)
        told["cases"][name] = {"images": len(tested), **figures}  # type: ignore[index]
        pictured += tested[:1]
        print(args.task, branch, seed, name, json.dumps(figures), flush=True)
    means, dices = ({row: mean_of(values, of) for row, values in pooled.items()} for of in ("iou", "dice"))
    rivals = {row: v for row, v in means.items() if row != "agent" and "truth" not in row}
    scores["comparators"] = rivals
    scores["iou"] = means["agent"]
    scores["scored_on"] = "the test cases"
    told |= {"mean IoU of cases": means, "mean Dice of cases": dices}
    told |= {"outdone by": {k: v for k, v in rivals.items() if v >= means["agent"]}}
    told["elsewhere"] = {} if args.small else elsewhere(package, args.data, store, maps, args.each)
    told["may be released"] = task.free
    (args.output / f"{args.task}-{branch}-{seed}.png").write_bytes(drawn(store, agent, spread(pictured, 5), attention))
    save_agent(args.output / f"{args.task}-{branch}-{seed}.agent.safetensors", package)
    return told


def drawn(store: EmbeddingStore, agent: Agent, tested: Pictures, attention: Attention | None) -> bytes:
    """A PNG of what the agent does on test images."""
    shown = [one.image for one in tested]
    return draw_prompts(shown, [one.mask for one in tested], prompt(store, agent, shown, attention=attention))


def test_cases(data: Path, task: Task, size: int, count: int) -> Iterator[tuple[str, Pictures, Volume | None, Mask]]:
    """Every test case as pictures, and as a volume where it is one."""
    if task.pictures is not None:
        for name, tested in task.pictures(data, count).items():
            yield name, tested, None, np.zeros(0, bool)
    for scan in task.scans:
        with opened(data, scan) as (volume, truth):
            yield scan.name, scan_slices(scan, volume, truth, task.shown, size, count), volume, truth


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=tuple(TASKS))
    parser.add_argument("--data", type=Path, required=True, help="the folder of real cases")
    parser.add_argument("--checkpoint", help="the SAM; default: the bundled one")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--clip", help="a CLIP: the explicit branch as well")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=50, help="to learn from, and at most as many held back")
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument(
        "--decoder-steps", type=int, default=150, help="of the decoder fine-tuned beside it; default: 150"
    )
    parser.add_argument("--reward", choices=("point", "overlap", "coverage"), default="point")
    parser.add_argument("--each", type=int, default=0, help="test images of each case; 0 for all")
    parser.add_argument("--every", type=int, default=1, help="every so many-th slice of a volume is searched through")
    parser.add_argument("--slices-only", action="store_true", help="volumes are not searched through")
    parser.add_argument("--small", action="store_true", help="a few images and one episode, to see that it runs")
    parser.add_argument("--cache", type=Path, help="folder of embeddings")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(arguments)
    task = TASKS[args.task]
    args.output.mkdir(parents=True, exist_ok=True)
    store = EmbeddingStore(load_sam(args.checkpoint, args.device), memory_bytes=2**30, folder=args.cache)
    rows = []
    for seed in range(1 if args.small else args.seeds):
        for branch in ("implicit", "explicit") if args.clip else ("implicit",):
            rows.append(learn(args, task, store, branch, seed))
            (args.output / f"{args.task}.json").write_text(json.dumps({"task": args.task, "agents": rows}, indent=2))
    for row in rows:
        print(row["branch"], row["seed"], row["mean IoU of cases"], row["mean Dice of cases"])
        print("outdone by", row["outdone by"], row["elsewhere"])


if __name__ == "__main__":
    main()
