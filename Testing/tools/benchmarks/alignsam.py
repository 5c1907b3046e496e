"""How fast AlignSAM's environment, training and use are beside a plain loop through SAM's predictor.

    python Testing/tools/benchmarks/alignsam.py --repeats 3 --threads 1

Both sides play the same actions on the same images, in turn, so that a busy machine disturbs both. The plain loop takes
one image at a time, gives `SamPredictor` all points so far, and makes the state and the reward of what comes back; no
image is encoded again on either side.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from segment_anything import SamPredictor
from torch.nn import functional

from adaptsam.alignsam import (
    Agent,
    AgentImage,
    AlignSamSettings,
    Environment,
    EnvironmentSettings,
    TrainingImage,
    TrainingSettings,
    UseSettings,
    prompt,
    train,
)
from adaptsam.alignsam.actions import Actions
from adaptsam.sam import VIT_B, EmbeddingStore, PromptSession, SamModel, build_sam, load_sam

STEPS = 15


def run(repeats: int = 5, threads: int | None = None, kind: str = "lite") -> dict[str, Any]:
    """Time the environment, a training and the use on one slice.

    Args:
        repeats: how often each is timed; medians are reported.
        threads: of PyTorch; None for as many as it takes by itself.
        kind: "lite", the bundled model, or "vit_b" with random weights.

    Returns:
        Rates, ratios, shares and mebibytes by name.
    """
    before = torch.get_num_threads()
    with ExitStack() as restore:
        restore.callback(torch.set_num_threads, before)
        torch.set_num_threads(threads or before)
        model = load_sam(device="cpu") if kind == "lite" else _random_vit_b()
        figures: dict[str, Any] = {"kind": kind, "threads": torch.get_num_threads(), "repeats": repeats}
        for batch in (1, 8, 32):
            figures |= _step_figures(model, batch, repeats)
        return figures | _training_figures(model) | _use_figures(model, repeats)


def _random_vit_b() -> SamModel:
    torch.manual_seed(0)
    return SamModel.from_sam(build_sam(VIT_B), VIT_B, kind="vit_b", device="cpu")


def _pictures(count: int, size: int = 512) -> list[TrainingImage]:
    """Noise with a bright disc."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size] / size
    pictures = []
    for _ in range(count):
        y, x, radius = random.uniform(0.3, 0.7), random.uniform(0.3, 0.7), random.uniform(0.1, 0.25)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        image = random.integers(0, 90, (size, size)) + 120 * disc
        pictures.append(TrainingImage(image.astype(np.uint8), disc))
    return pictures


def _step_figures(model: SamModel, batch: int, repeats: int) -> dict[str, float]:
    pictures = _pictures(min(batch, 4))
    embeddings = EmbeddingStore(model).get([one.image for one in pictures])
    cases = [AgentImage(embeddings[row % len(pictures)], pictures[row % len(pictures)].mask) for row in range(batch)]
    choices = np.random.default_rng(1).integers(0, 100, (STEPS, batch))
    # A copy of the features for each image: no image must profit from being there twice.
    cases = [AgentImage(type(c.embedding)(c.embedding.features.clone(), *_sizes(c)), c.truth) for c in cases]

    def ours() -> float:
        environment = Environment(model, cases, EnvironmentSettings())
        environment.reset([np.random.default_rng(row) for row in range(batch)])
        total = 0.0
        for actions in choices:
            step = environment.step(actions)
            assert step.rewards is not None
            assert step.state.product.shape[0] == batch  # the state is made, as in the plain loop
            total += float(step.rewards.sum())
        return total

    def plain() -> float:
        return sum(_plain_episode(model, case, choices[:, row], row) for row, case in enumerate(cases))

    assert ours() == plain()
    times = [(_seconds(plain), _seconds(ours)) for _ in range(repeats)]
    theirs, own = (median(side) for side in zip(*times, strict=True))
    return {
        f"batch {batch}, plain [steps/s]": STEPS * batch / theirs,
        f"batch {batch}, ours [steps/s]": STEPS * batch / own,
        f"batch {batch}, ratio": theirs / own,
    }


def _sizes(case: AgentImage) -> tuple[tuple[int, int], tuple[int, int]]:
    return case.embedding.input_size, case.embedding.original_size


def _plain_episode(model: SamModel, case: AgentImage, actions: np.ndarray, seed: int) -> float:
    """What somebody would write first: one image, all points again at every step."""
    assert case.truth is not None
    predictor = SamPredictor(model.sam)
    predictor.features, predictor.is_image_set = case.embedding.features[None], True
    predictor.input_size, predictor.original_size = _sizes(case)
    random = np.random.default_rng(seed)
    pair = [random.choice(np.flatnonzero(mask)) for mask in (case.truth, ~case.truth)]
    rows, columns = np.unravel_index(pair, case.truth.shape)
    points, labels, total = list(np.stack([columns, rows], axis=1).astype(float)), [1, 0], 0.0
    centres = Actions(10, 10).points(case.embedding.original_size)
    _plain_state(predictor, points, labels)
    for action in actions:
        x, y = centres[action]
        points.append(np.array([x, y]))
        labels.append(1)
        _plain_state(predictor, points, labels)
        total += 1.0 if case.truth[int(y + 0.5), int(x + 0.5)] else -1.0
    return total


def _plain_state(predictor: SamPredictor, points: list[np.ndarray], labels: list[int]) -> torch.Tensor:
    _, _, low = predictor.predict(np.array(points), np.array(labels), multimask_output=False)
    probability = functional.avg_pool2d(torch.from_numpy(low).sigmoid(), 4)
    return predictor.features[0] * probability


def _training_figures(model: SamModel) -> dict[str, float]:
    """Which share of a training is neither SAM's decoder nor a network's pass, and whether its memory grows."""
    store = EmbeddingStore(model)
    pictures = _pictures(10)
    store.get([one.image for one in pictures])
    settings = AlignSamSettings(training=TrainingSettings(episodes=6))
    spent: list[float] = []
    memory: list[float] = []
    with ExitStack() as patches:
        for owner, name in (
            (PromptSession, "decode"),
            (Agent, "logits"),
            (Agent, "score"),
            ("adaptsam.alignsam.ppo.PPO", "update"),
            ("adaptsam.alignsam.policy_training._Run", "_recalibrate"),
        ):
            patches.enter_context(_timed(owner, name, spent))
        start = time.perf_counter()
        train(store, pictures, settings, after_episode=lambda number, trained: memory.append(_peak_mib()))
        total = time.perf_counter() - start
    return {
        "training, 10 images [s/episode]": total / 6,
        "training, share of neither decoder nor networks": 1 - sum(spent) / total,
        "training, full schedule of 50 images, extrapolated [min]": total / 6 * 5 * 50 / 60,
        "memory, growth of the peak after the second of 6 episodes [MiB]": memory[-1] - memory[1],
    }


@contextmanager
def _timed(owner: type | str, name: str, spent: list[float]) -> Iterator[None]:
    """Add the time that a method takes to ``spent``; these methods do not call each other."""
    if isinstance(owner, str):
        module, _, kind = owner.rpartition(".")
        __import__(module)
        owner = getattr(sys.modules[module], kind)
    original = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - start)

    with patch.object(owner, name, timed):
        yield


def _use_figures(model: SamModel, repeats: int) -> dict[str, float]:
    """One slice from pixels to mask against its encoding and as many single decodings."""
    agent = Agent(AlignSamSettings(), model.embed_dim)
    [one] = _pictures(1)
    [embedding] = model.embed([one.image])
    session = PromptSession(model.sam, [embedding])
    session.add(np.full((1, 9, 2), 200.0), np.ones((1, 9), np.int64))

    def parts() -> None:
        model.embed([one.image])
        for _ in range(STEPS):
            session.decode()

    def whole() -> None:
        prompt(EmbeddingStore(model), agent, [one.image], UseSettings(), keep_steps=False)

    whole()
    times = [(_seconds(parts), _seconds(whole)) for _ in range(repeats)]
    return {"use on a slice, over encoding and 15 decodes": median(b / a for a, b in times)}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--kind", choices=("lite", "vit_b"), default="lite")
    print(json.dumps(run(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
