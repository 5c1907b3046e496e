"""A second run on the same scans: another structure, then a corrected prior. Nothing is encoded or registered again.

    python Testing/tools/benchmarks/second_run.py --kind vit_b

Two visits of a phantom, 20 slices of 512×512. The first run carries one lung; the second one the heart, the third the
lung with a corrected contour. Each run begins with an empty memory and finds on disk what the runs before it left, as a
new process would. The decoding floor is the arithmetic of all decoder passes at the machine's rate of multiplying
matrices. For "vit_b", weights are random and embeddings stand in for the first run's: only later runs are measured.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch.utils.flop_counter import FlopCounterMode

from adaptsam.image import StructureSet, Volume, select_structures
from adaptsam.propagation.volume_propagation import Propagation, PropagationSettings, propagate
from adaptsam.sam import VIT_B, DecodeRequest, Embedding, EmbeddingStore, SamModel, build_sam, load_sam
from adaptsam.sam.preprocessing import resized_shape
from adaptsam.synthetic.thorax_phantom import phantom_visits

SHAPE, SPACING = (20, 512, 512), (0.98, 0.98, 6.0)
#: Beside twice the floor, a second run may take so many seconds.
BESIDE = 5.0


def run(repeats: int = 3, kind: str = "lite", shape: tuple[int, int, int] = SHAPE) -> dict[str, Any]:
    """Seconds of later runs (medians), what they encoded, and the floor of their decoding."""
    width = tuple(SPACING[axis] * SHAPE[2 - axis] / shape[2 - axis] for axis in range(3))
    first, later = phantom_visits(7, 2, shape=shape, spacing=width)  # type: ignore[arg-type]
    lung, heart = (select_structures(first.structures, [name]) for name in ("Lung-Right", "Heart"))
    model = load_sam(device="cpu") if kind == "lite" else SamModel.from_sam(build_sam(VIT_B), VIT_B, device="cpu")
    if kind != "lite":
        model.embed = lambda images, *rest: [_random_embedding(model, image) for image in images]  # type: ignore
    counted = _CountedDecoding(model)
    rate = _matmul_rate()
    figures: dict[str, Any] = {"kind": kind, "threads": torch.get_num_threads(), "target slices": shape[0]}
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        store, _ = _carried(first.volume, lung, later.volume, model, Path(folder))
        figures |= {"first run, encoded": store.encoded}
        if kind == "lite":
            figures |= {"first run, CPU [s]": time.process_time() - begun}
        for what, structures in (("another structure", heart), ("a corrected prior", _corrected(lung))):
            seconds, busy = [], []
            for _ in range(repeats):
                counted.passes = 0
                clock, begun = time.perf_counter(), time.process_time()
                store, _ = _carried(first.volume, structures, later.volume, model, Path(folder))
                seconds.append(time.perf_counter() - clock)
                busy.append(time.process_time() - begun)
            floor = counted.passes * counted.flops / rate
            figures |= {
                f"{what}, encoded": store.encoded,
                f"{what}, decoder passes": counted.passes,
                f"{what}, decoding floor [s]": floor,
                f"{what} [s]": median(seconds),
                f"{what}, CPU [s]": median(busy),
                f"{what}, allowed [s]": 2 * floor + BESIDE,
            }
    return figures


def _carried(
    prior: Volume, structures: StructureSet, target: Volume, model: SamModel, folder: Path
) -> tuple[EmbeddingStore, Propagation]:
    store = EmbeddingStore(model, folder=folder)
    [found] = propagate(prior, structures, [target], settings=PropagationSettings(), store=store)
    return store, found


def _corrected(structures: StructureSet) -> StructureSet:
    """As if somebody had drawn every contour a pixel further in."""
    disc = ndimage.generate_binary_structure(2, 1)[None]
    inner = (replace(one, mask=ndimage.binary_erosion(one.mask, disc)) for one in structures.structures)
    return replace(structures, structures=tuple(inner))


class _CountedDecoding:
    """Counts the prompts that a model decodes; ``flops`` is the arithmetic of one."""

    def __init__(self, model: SamModel) -> None:
        self.passes = 0
        embedding = _random_embedding(model, np.zeros((64, 64, 3), np.uint8))
        request = DecodeRequest(embedding, np.array([[20.0, 20.0], [40.0, 40.0]]), [1, 0])
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.decode([request])
        self.flops = float(counter.get_total_flops())
        self._decode = model.decode
        model.decode = self._counted  # type: ignore[method-assign]

    def _counted(self, requests: Sequence[DecodeRequest], *rest: Any, **named: Any) -> Any:
        self.passes += len(requests)
        return self._decode(requests, *rest, **named)


def _random_embedding(model: SamModel, image: np.ndarray) -> Embedding:
    rng = np.random.default_rng(int(image.sum()))
    features = rng.normal(size=(model.embed_dim, model.grid_size, model.grid_size)).astype(np.float32)
    size = (image.shape[0], image.shape[1])
    return Embedding(torch.from_numpy(features), resized_shape(size, model.image_size), size)


def _matmul_rate(size: int = 1024, repeats: int = 9) -> float:
    """FLOP/s of all threads together, by processor time, so that a busy machine does not raise the floor."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        _ = a @ b
        seconds.append(time.process_time() - start)
    return 2.0 * size**3 * torch.get_num_threads() / min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kind", choices=("lite", "vit_b"), default="lite")
    print(json.dumps(run(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
