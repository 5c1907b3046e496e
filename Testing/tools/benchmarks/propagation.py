"""Whole propagations beside the time of encoding their slices, and beside the published pipeline done step by step.

    python Testing/tools/benchmarks/propagation.py --repeats 3

Twenty slices of a synthetic patient, n = 4 with retrieval. With the bundled model all is measured in full, and the
masks are compared. A large encoder would take hours: of it some passes are timed and multiplied with how often it is
asked, and in the propagation that is timed its features are replaced by others of the same shape. All else (prompts,
decoder, retrieval, fusion) runs as it does, with the model's own decoder. The published pipeline encodes reference and
target anew for every pair and structure, and decodes one prompt at a time; with a large model a pair is timed and
multiplied. Registration is told apart.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor
from torch.nn import functional

from adaptsam.image import Geometry, StructureSet, Volume, select_structures
from adaptsam.image.cropping import full_view
from adaptsam.image.windowing import choose_window
from adaptsam.p2sam import Prior
from adaptsam.p2sam.cascade import bounding_box
from adaptsam.p2sam.p2sam_settings import PAPER
from adaptsam.p2sam.prompt_selection import make_prompts
from adaptsam.p2sam.retrieval import candidate_distances, retrieve
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.propagation.volume_propagation import PropagationSettings, papers_protocol, propagate
from adaptsam.sam import VIT_B, VIT_H, VIT_L, Embedding, EmbeddingStore, SamModel, build_sam, load_sam
from adaptsam.slicewise.slice_images import SliceImages
from adaptsam.synthetic.thorax_phantom import phantom_patient

KINDS = {"vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H}
STRUCTURES = ("Heart", "Lung-Left", "Lung-Right")
Clock = Callable[[], float]


@dataclass(frozen=True, eq=False)
class Scene:
    """A prior with three structures, and follow-ups, all of as many slices."""

    prior: Volume
    structures: StructureSet
    targets: Sequence[Volume]

    def drawn(self, name: str) -> list[int]:
        """The slices that hold a structure."""
        return next(
            [int(k) for k in np.flatnonzero(one.mask.any((1, 2)))]
            for one in self.structures.structures
            if one.name == name
        )


@dataclass(eq=False)
class Spent:
    """Seconds of one propagation, apart for its parts."""

    encoding: float = 0.0
    registering: float = 0.0
    total: float = 0.0
    images: int = 0
    masks: list[np.ndarray] = field(default_factory=list)

    @property
    def rest(self) -> float:
        return self.total - self.encoding - self.registering


def run(
    repeats: int = 5, slices: int = 20, kind: str = "vit_b", side: int = 512, cpu_seconds: bool = False
) -> dict[str, Any]:
    """Time propagations.

    Args:
        repeats: passes of a large encoder, and pairs of the published pipeline with it, whose medians count; whole
            propagations are timed a third as often.
        slices: of each visit.
        kind: "vit_b", "vit_l" or "vit_h": the large model, of random weights.
        side: of the slices, in pixels.
        cpu_seconds: count the seconds of all cores instead of those that pass, for a machine that others use.

    Returns:
        Seconds and ratios by name; what has a floor is a value with its floor.
    """
    clock = time.process_time if cpu_seconds else time.perf_counter
    scene = make_scene(slices, side, followups=3)
    torch.manual_seed(0)
    large = SamModel.from_sam(build_sam(KINDS[kind]), KINDS[kind], kind=kind, device="cpu")
    figures = {"slices": slices, "clock": "CPU seconds" if cpu_seconds else "seconds"}
    bundled = load_sam(device="cpu")
    figures |= _beside_encoding(bundled, scene, repeats, clock, stand_in=False)
    figures |= _beside_encoding(large, scene, repeats, clock)
    figures |= _beside_published(bundled, scene, clock)
    return figures | _beside_published_counted(large, scene, repeats, clock)


def make_scene(slices: int, side: int, followups: int) -> Scene:
    """Visits of a synthetic patient, cut to as many slices through the heart.

    Contours stay where they cover a patch of the bundled model's grid, so that every way can learn from all of them.
    """
    spacing = (400.0 / side, 400.0 / side, 80.0 / slices)
    visits = phantom_patient(100_000, 1 + followups, shape=(2 * slices, side, side), spacing=spacing)
    chosen = select_structures(visits[0].structures, STRUCTURES)
    heart = np.flatnonzero(chosen.structures[0].mask.any((1, 2)))
    first = int(np.clip(np.median(heart) - slices // 2, 0, slices))
    kept = slice(first, first + slices)
    whole = visits[0].volume.geometry
    geometry = Geometry((slices, side, side), spacing, tuple(whole.world(np.array([0.0, 0.0, first]))), whole.direction)
    volumes = [Volume(one.volume.array[kept], geometry, one.volume.modality) for one in visits]
    small = P2SamSlices(EmbeddingStore(load_sam(device="cpu")))
    structures = []
    for structure in chosen.structures:
        mask = structure.mask[kept].copy()
        for k in range(slices):
            if mask[k].any() and not small.usable(_picture(volumes[0], k, small.image_size), mask[k]):
                mask[k] = False
        structures.append(replace(structure, mask=mask, contoured=None))
    return Scene(volumes[0], StructureSet(tuple(structures), geometry), volumes[1:])


def _beside_encoding(
    model: SamModel, scene: Scene, repeats: int, clock: Clock, stand_in: bool = True
) -> dict[str, Any]:
    """The default workflow with one to three structures, against the encoding of the same images and one structure."""
    one = median(
        _seconds(lambda: model.embed([_picture(scene.prior, 0, model.image_size)]), clock) for _ in range(repeats)
    )
    settings = PropagationSettings(target_slices=range(len(scene.prior.array)))
    figures: dict[str, Any] = {f"{model.kind}: encode one image [s]": one}
    alone = 0.0
    for count in (1, 2, 3):
        names = STRUCTURES[:count]
        times = [_propagated(model, scene, names, 1, settings, clock, stand_in) for _ in range(max(1, repeats // 3))]
        rest = median(spent.rest for spent in times)
        images, name = times[0].images, f"{model.kind}, {count} structure{'s' * (count > 1)}"
        figures[f"{name}: images encoded"] = images
        figures[f"{name}: all but encoding and registration [s]"] = rest
        figures[f"{name}: registration [s]"] = median(spent.registering for spent in times)
        figures[f"{name}: propagation by encoding"] = {"value": 1 + rest / (images * one), "floor": 1.0}
        whole = images * one + rest + figures[f"{name}: registration [s]"]
        alone = alone or whole
        figures[f"{name}: by one structure"] = whole / alone
    return figures


def _beside_published(model: SamModel, scene: Scene, clock: Clock) -> dict[str, Any]:
    """A model that is small enough to do all of it, and the masks of both ways."""
    pairs, theirs = 0, []
    start = clock()
    for target in scene.targets:
        for structure in scene.structures.structures:
            for k in scene.drawn(structure.name):
                theirs.append(published_pair(model, scene.prior, structure.mask, target, k))
                pairs += 1
    published = clock() - start
    settings = papers_protocol(_given(scene))
    spent = _propagated(model, scene, STRUCTURES, len(scene.targets), settings, clock, stand_in=False)
    ours = [
        spent.masks[t * len(STRUCTURES) + s][k]
        for t in range(len(scene.targets))
        for s, structure in enumerate(scene.structures.structures)
        for k in scene.drawn(structure.name)
    ]
    dices = [_dice(a, b) for a, b in zip(ours, theirs, strict=True)]
    return {
        f"{model.kind}, three follow-ups: published [s]": published,
        f"{model.kind}, three follow-ups: ours [s]": spent.total,
        f"{model.kind}, three follow-ups: ratio": published / spent.total,
        f"{model.kind}: pairs with equal masks": f"{sum(a == 1 for a in dices)} of {pairs}",
        f"{model.kind}: Dice of their masks and ours, mean": float(np.mean(dices)),
    }


def _beside_published_counted(model: SamModel, scene: Scene, repeats: int, clock: Clock) -> dict[str, Any]:
    """A large model: pairs of the published pipeline timed and multiplied, our encoder's passes likewise."""
    heart = scene.structures.structures[0]
    drawn = scene.drawn(heart.name)
    k, image = drawn[len(drawn) // 2], _picture(scene.prior, 0, model.image_size)
    # In turn, so that a busy machine disturbs both.
    times = [
        (
            _seconds(lambda: published_pair(model, scene.prior, heart.mask, scene.targets[0], k), clock),
            _seconds(lambda: model.embed([image]), clock),
        )
        for _ in range(max(1, repeats // 2))
    ]
    pair, one = (median(column) for column in zip(*times, strict=True))
    pairs = sum(len(scene.drawn(name)) for name in STRUCTURES)
    settings, figures = papers_protocol(_given(scene)), {f"{model.kind}: one published pair [s]": pair}
    for count in (1, len(scene.targets)):
        spent = _propagated(model, scene, STRUCTURES, count, settings, clock)
        ours, published = spent.rest + spent.images * one, count * pairs * pair
        name = f"{model.kind}, {count} follow-up{'s' * (count > 1)}"
        figures |= {
            f"{name}: published, {count * pairs} pairs, counted [s]": published,
            f"{name}: ours, {spent.images} images, counted [s]": {"value": ours, "floor": spent.images * one},
            f"{name}: ratio": {"value": published / ours, "floor": f"at most {published / spent.images / one:.2f}"},
        }
    return figures


def published_pair(model: SamModel, prior: Volume, mask: np.ndarray, target: Volume, k: int) -> np.ndarray:
    """The published pipeline on slice ``k`` of two visits, with segment_anything's own predictor.

    Nothing is kept and nothing goes together. The mask, bool (H, W).
    """
    embeddings, predictor = [], SamPredictor(model.sam)
    for volume in (prior, target):
        predictor.set_image(_picture(volume, k, model.image_size))
        embeddings.append(Embedding(predictor.features[0], predictor.input_size, predictor.original_size))
    prior_of, goal = Prior.from_mask(model, embeddings[0], mask[k]), embeddings[1]
    logits = []
    for prompt in make_prompts(model, prior_of, goal, None, PAPER):
        low = box = None
        for step in range(3):
            found, _, low = predictor.predict(
                prompt.points, prompt.labels, box=box, mask_input=low, multimask_output=False
            )
            box = bounding_box(found[0]) if step == 1 else None
        logits.append(torch.from_numpy(low[0]))
    winner = retrieve(candidate_distances(prior_of, goal, logits, PAPER))
    return (model.upscale(logits[winner], goal) > 0).numpy()


def _propagated(
    model: SamModel,
    scene: Scene,
    names: Sequence[str],
    targets: int,
    settings: PropagationSettings,
    clock: Clock,
    stand_in: bool = True,
) -> Spent:
    """One propagation, its parts timed; with ``stand_in`` features instead of the encoder's."""
    spent, since = Spent(), 0.0
    embed = (lambda images, batch_size=None: stand_in_features(model, images)) if stand_in else model.embed

    def timed(images: Sequence[np.ndarray], batch_size: int | None = None) -> list[Embedding]:
        start = clock()
        found = embed(images, batch_size)
        spent.encoding += clock() - start
        return found

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal since
        if stage.endswith("register"):
            if done == 0 and not since:
                since = clock()
            elif done == total and since:
                spent.registering, since = spent.registering + clock() - since, 0.0

    store = EmbeddingStore(model, memory_bytes=2**31)
    model.embed = timed  # type: ignore[method-assign]
    try:
        start = clock()
        results = propagate(
            scene.prior,
            scene.structures,
            list(scene.targets[:targets]),
            names=list(names),
            settings=settings,
            store=store,
            progress=progress,
        )
        spent.total = clock() - start
    finally:
        del model.embed
    spent.images = store.encoded
    spent.masks = [one.mask for result in results for one in result.structures.structures]
    return spent


def stand_in_features(model: SamModel, images: Sequence[np.ndarray]) -> list[Embedding]:
    """Features of the encoder's shape that tell tissues apart: gray values on the grid, at some scales."""
    grid = model.grid_size
    mix = torch.from_numpy(np.random.default_rng(0).normal(size=(model.embed_dim, 8)).astype(np.float32))
    embeddings = []
    for image in images:
        shape = (image.shape[0], image.shape[1])
        scale = model.image_size / max(shape)
        size = (round(shape[0] * scale), round(shape[1] * scale))
        gray = torch.from_numpy(np.asarray(image, np.float32).reshape(*shape, -1).mean(-1))[None, None] / 255
        coarse = functional.adaptive_avg_pool2d(gray, (grid * size[0] // max(size), grid * size[1] // max(size)))
        coarse = functional.pad(coarse, (0, grid - coarse.shape[3], 0, grid - coarse.shape[2]))
        scales = [functional.avg_pool2d(coarse, 2 * r + 1, 1, r, count_include_pad=False) for r in (0, 1, 2, 4)]
        shown = torch.cat([*scales, *(torch.sin(9 * one) for one in scales)], dim=1)
        embeddings.append(Embedding(torch.einsum("cn,nhw->chw", mix, shown[0]).contiguous(), size, shape))
    return embeddings


def _picture(volume: Volume, k: int, image_size: int) -> np.ndarray:
    """A slice as the papers' protocol shows it, uint8 (H, W, 3)."""
    images = SliceImages(volume, 2)
    view = full_view(images.in_plane, images.pixel, image_size)
    return images.image(k, view, choose_window(volume, "auto"))


def _given(scene: Scene) -> dict[str, list[int]]:
    return {name: scene.drawn(name) for name in STRUCTURES}


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    both = int(a.sum() + b.sum())
    return 2 * int((a & b).sum()) / both if both else 1.0


def _seconds(call: Callable[[], object], clock: Clock) -> float:
    start = clock()
    call()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--kind", choices=tuple(KINDS), default="vit_b")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--cpu-seconds", action="store_true")
    print(json.dumps(run(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
