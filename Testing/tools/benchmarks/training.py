"""Fine-tuning: time of a step over the encoder's own arithmetic, memory of ViT-B, and whether data is waited for.

    python Testing/tools/benchmarks/training.py --repeats 5 --threads 2
    python Testing/tools/benchmarks/training.py --kind vit_b --batch 1 --repeats 1 --checkpointed

The floor of a step is the encoder's forward pass and its backward pass, which is twice as much, at the rate at which
this machine multiplies matrices; both are seconds of CPU time, which other programs disturb little. Memory is counted,
not measured: the forward pass runs without data (PyTorch's meta device), and what autograd keeps is noted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from segment_anything.modeling import Sam
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from adaptsam.datasets import open_dataset
from adaptsam.finetune import interactive_training as interactive
from adaptsam.finetune.differentiable_decoding import decode_prompts
from adaptsam.finetune.interactive_training import TrainableSam, interactive_rounds
from adaptsam.finetune.mask_losses import sam_loss
from adaptsam.finetune.prompt_simulation import box_around
from adaptsam.finetune.training_transforms import sample_items, sample_transforms
from adaptsam.sam import LITE, VIT_B, SamConfig, build_sam, encode

KINDS = {"lite": LITE, "vit_b": VIT_B}
GIB = 2**30
#: Weights, gradients and the two moments of AdamW, float32.
STATES = 4


def run(
    repeats: int = 5, threads: int | None = None, kind: str = "lite", batch: int = 4, checkpointed: bool = False
) -> dict[str, Any]:
    """The figures of this file's title; medians of ``repeats`` steps of full fine-tuning."""
    before = torch.get_num_threads()
    with ExitStack() as restore:
        restore.callback(torch.set_num_threads, before)
        torch.set_num_threads(threads or before)
        figures = step_figures(KINDS[kind], batch, repeats, checkpointed)
        step = figures["step [CPU s]"] / torch.get_num_threads()
        return {"kind": kind, "batch": batch} | figures | memory_figures() | loading_figures(KINDS[kind], batch, step)


def step_figures(config: SamConfig, batch: int, repeats: int, checkpointed: bool = False) -> dict[str, Any]:
    """CPU seconds of a batch: round 0, the ten that follow, and the floor; and how often a batch is encoded."""
    sam = build_sam(config)
    model = TrainableSam(sam.train(), 0.1, checkpointed)
    optimiser = torch.optim.AdamW(sam.parameters(), 1e-5)
    images, masks = discs(batch, config.image_size)
    encoded: list[int] = []

    def counted(*given: Any) -> Tensor:
        encoded.append(len(given[1]))
        return encode(*given)

    times = []
    with mock.patch.object(interactive, "encode", counted):
        for epoch in range(repeats + 1):
            start, ends = time.process_time(), []
            for one in interactive_rounds(model, images, masks, [(0, epoch, number) for number in range(batch)]):
                optimiser.zero_grad(set_to_none=True)
                one.loss.mean().backward()
                optimiser.step()
                ends.append(time.process_time() - start)
            times.append((ends[0], ends[-1] - ends[0], ends[-1]))
    first, others, whole = (median(column) for column in zip(*times[1:], strict=True))
    floor = 3 * batch * encoder_flops(config) / matmul_rate()
    return {
        "step [CPU s]": whole,
        "round 0 [CPU s]": first,
        "rounds 1 to 10 [CPU s]": others,
        "floor [CPU s]": floor,
        "step over floor": whole / floor,
        "round 0 over floor": first / floor,
        "images encoded in a step": sum(encoded) / (repeats + 1),
        "step if every round encoded, at least [CPU s]": 11 * floor + others,
    }


def encoder_flops(config: SamConfig) -> float:
    """Floating-point operations of one image in the encoder, forward; in a ViT without the rows that fill windows."""
    if config.pyramid is None:
        return float(_encoder_benchmark().encoder_flops(config, pad_windows=False)["total"])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        build_sam(config).image_encoder(torch.zeros(1, 3, config.image_size, config.image_size))
    return float(counter.get_total_flops())


def matmul_rate(size: int = 2048, repeats: int = 9) -> float:
    """The best rate at which float32 matrices are multiplied, in FLOP for a second of CPU time."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    times = []
    for _ in range(repeats):
        start = time.process_time()
        a @ b
        times.append(time.process_time() - start)
    return 2.0 * size**3 / min(times)


def memory_figures(config: SamConfig = VIT_B, batch: int = 4) -> dict[str, float]:
    """GiB of full fine-tuning on a GPU: what lives throughout, what autograd keeps, and the peak.

    In the backward pass of a checkpointed encoder one block is computed again: its own activations live then, and at
    most as much for their gradients. "stored" is the case that no fused attention kernel can be used.
    """
    sam = build_sam(config)
    states = STATES * 4 * sum(parameter.numel() for parameter in sam.parameters()) / GIB
    decoder = kept_by_decoder(sam, config, batch) / GIB
    figures = {f"{_name(config)} states [GiB]": states, "decoder and loss, a round [GiB]": decoder}
    for attention in ("fused", "stored"):
        whole = kept_bytes(config, batch, False, attention) / GIB
        light = kept_bytes(config, batch, True, attention) / GIB
        block = largest_block(config, batch, attention) / GIB
        figures |= {
            f"activations, {attention} attention [GiB]": whole,
            f"checkpointed, {attention} attention [GiB]": light,
            f"peak at batch {batch}, checkpointed, {attention} attention [GiB]": states
            + light
            + max(decoder, 2 * block),
        }
    return figures


def kept_bytes(config: SamConfig, batch: int, checkpointed: bool, attention: str = "fused") -> int:
    """What autograd keeps of the encoder's forward pass, in bytes, without the parameters.

    Args:
        config: the shape of the model.
        batch: images.
        checkpointed: keep what enters each block only.
        attention: "fused" as CUDA's memory-efficient kernel keeps it, "stored" with its matrices.
    """
    with torch.device("meta"):
        encoder = build_sam(config).image_encoder
        images = torch.empty(batch, 3, config.image_size, config.image_size)
    with _attention(attention), _kept(encoder) as kept:
        encode(encoder, images, None, checkpointed)
    return sum(storage.nbytes() for storage in kept.values())


def kept_by_decoder(sam: Sam, config: SamConfig, batch: int) -> int:
    """The same of one round of prompting and its loss; computed, for it is little."""
    features = torch.randn(batch, config.embed_dim, config.grid_size, config.grid_size)
    _, masks = discs(batch, config.image_size)
    boxes = [box_around(mask) for mask in masks.numpy()]
    with _kept(sam) as kept:
        logits, iou = decode_prompts(sam, features, boxes, [None] * batch, multimask=False)
        upscaled = functional.interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=False)
        sam_loss(upscaled, masks[:, None].float(), iou)
    return sum(storage.nbytes() for storage in kept.values())


@contextmanager
def _kept(module: torch.nn.Module) -> Iterator[dict[int, torch.UntypedStorage]]:
    """The memory that autograd keeps in this context, without the module's parameters, each piece once."""
    own = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def largest_block(config: SamConfig, batch: int, attention: str = "fused") -> int:
    """The bytes of one block with global attention: what two such blocks keep more than one."""
    one, two = (_shallow(config, depth) for depth in (1, 2))
    return kept_bytes(two, batch, False, attention) - kept_bytes(one, batch, False, attention)


def loading_figures(config: SamConfig, batch: int, step: float, pictures: int = 24) -> dict[str, float]:
    """How long a batch of pictures of Kvasir-SEG's size takes to read and augment, beside a step."""
    with tempfile.TemporaryDirectory() as folder:
        _write_pictures(Path(folder), pictures)
        samples = open_dataset(folder, "folder").samples
        figures: dict[str, float] = {}
        for workers in (0, 1):
            waited = _waited(samples, config, batch, workers, step)
            figures[f"waiting for data, {workers} workers [ms a batch]"] = 1000 * waited
            figures[f"idle share, {workers} workers [%]"] = 100 * waited / (waited + step)
    return figures


def _waited(samples: Any, config: SamConfig, batch: int, workers: int, step: float) -> float:
    """Mean seconds that a training of that step waits for a batch; the first one, which starts the workers, aside."""
    transforms = sample_transforms(config, "kvasir-seg")
    loader = DataLoader(_Transformed(sample_items(samples), transforms), batch, num_workers=workers, drop_last=True)
    waits, source = [], iter(loader)
    for _ in range(len(loader)):
        start = time.perf_counter()
        next(source)
        waits.append(time.perf_counter() - start)
        if workers:
            time.sleep(min(step, 1.0))
    return float(np.mean(waits[1:]))


class _Transformed(torch.utils.data.Dataset):
    def __init__(self, items: list[Any], transforms: Any) -> None:
        self.items, self.transforms = items, transforms

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.transforms(self.items[index])
        return {key: item[key] for key in ("image", "label", "sample")}


def discs(batch: int, size: int) -> tuple[Tensor, Tensor]:
    """Images float32 (B, 3, S, S) of a disc each, and their masks bool (B, S, S)."""
    y, x = np.mgrid[:size, :size] / size
    rounds = [(y - 0.4 - 0.02 * number) ** 2 + (x - 0.5) ** 2 < 0.15**2 for number in range(batch)]
    masks = torch.from_numpy(np.stack(rounds))
    noise = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    return 60 * noise + 120 * masks[:, None], masks


def _write_pictures(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(count):
        y, x = np.mgrid[:529, :622]
        polyp = (y - rng.uniform(150, 380)) ** 2 + (x - rng.uniform(150, 470)) ** 2 < rng.uniform(40, 140) ** 2
        picture = np.clip(rng.normal(120, 12, (529, 622, 3)) + 40 * polyp[..., None], 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{number:03d}.jpg", quality=90)
        Image.fromarray((255 * polyp).astype(np.uint8)).save(folder / "masks" / f"{number:03d}.jpg", quality=90)


@contextmanager
def _attention(kind: str) -> Iterator[None]:
    if kind == "stored":
        yield
        return

    def fused(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, scale: float | None = None) -> Tensor:
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        return kernel(q, k, v, attn_mask, compute_log_sumexp=True, scale=scale)[0]

    with mock.patch.object(functional, "scaled_dot_product_attention", fused):
        yield


def _shallow(config: SamConfig, depth: int) -> SamConfig:
    return replace(config, encoder_depth=depth, global_attention=tuple(range(depth)))


def _name(config: SamConfig) -> str:
    return next((name for name, known in KINDS.items() if known == config), "model")


def _encoder_benchmark() -> ModuleType:
    """The benchmark beside this one, for its arithmetic; it is no package."""
    spec = importlib.util.spec_from_file_location("encoder_benchmark", Path(__file__).with_name("encoder.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--kind", choices=tuple(KINDS), default="lite")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--checkpointed", action="store_true")
    print(json.dumps(run(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
