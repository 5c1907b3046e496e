"""How fast the image encoder and the batched decoder are beside unmodified segment_anything, and beside the machine.

    python Testing/tools/benchmarks/encoder.py --repeats 5 --threads 2

The floor of a time is its arithmetic at the rate at which this machine multiplies matrices: float32 ones, and in 8-bit
integers those of the linear layers. A busy machine falsifies seconds; ``--cpu-seconds`` counts those of all cores.

Ours and theirs are timed in turn, with the same weights, threads and inputs, so that a busy machine disturbs both. The
positional parameters are random: they start at zero, which would hide an error in them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from torch.utils.flop_counter import FlopCounterMode

from adaptsam.sam import (
    VIT_B,
    VIT_H,
    VIT_L,
    DecodeRequest,
    Embedding,
    SamConfig,
    SamModel,
    build_sam,
    encode,
    load_sam,
)
from adaptsam.sam.int8_quantisation import in_int8, int8_possible
from adaptsam.synthetic.thorax_phantom import phantom_patient

#: A ViT that is encoded in a fraction of a second.
SMALL = replace(
    VIT_B,
    image_size=256,
    patch_size=8,
    encoder_dim=192,
    encoder_depth=6,
    encoder_heads=6,
    global_attention=(2, 5),
    window_size=8,
    embed_dim=128,
    decoder_heads=4,
    decoder_mlp_dim=512,
)
KINDS = {"vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H, "small": SMALL}
CLOCK: list[Callable[[], float]] = [time.perf_counter]


def run(
    repeats: int = 5,
    threads: int | None = None,
    kind: str = "vit_b",
    requests: int = 16,
    cpu_seconds: bool = False,
    patients: int = 3,
) -> dict[str, Any]:
    """Time encoder and decoder, ours and unmodified.

    Args:
        repeats: how often each is timed; medians are reported.
        threads: of PyTorch; None for as many as it takes by itself.
        kind: "vit_b", "vit_l", "vit_h" or "small".
        requests: prompts of the decoder's comparison.
        cpu_seconds: count the seconds of all cores instead of those that pass, for a machine that others use.
        patients: phantoms on which the bundled model in 8 bits is held to itself in float32; 0 leaves that out.

    Returns:
        Seconds, ratios, relative errors, arithmetic in GFLOP and rates in GFLOP/s by name; what has a floor is a value
        with its floor.
    """
    before = torch.get_num_threads()
    CLOCK[0] = time.process_time if cpu_seconds else time.perf_counter
    with ExitStack() as restore, torch.no_grad():
        restore.callback(torch.set_num_threads, before)
        torch.set_num_threads(threads or before)
        sam = random_sam(KINDS[kind]).requires_grad_(False)
        clock = "CPU seconds" if cpu_seconds else "seconds"
        figures = {"kind": kind, "threads": torch.get_num_threads(), "repeats": repeats, "clock": clock}
        return (
            figures
            | _encoder_figures(sam, KINDS[kind], repeats)
            | (int8_agreement(patients) if patients and int8_possible() else {})
            | _decoder_figures(sam, KINDS[kind], repeats, requests)
        )


def encoder_flops(config: SamConfig, pad_windows: bool = True) -> dict[str, float]:
    """Floating-point operations of one image, two for each multiplication with addition.

    Args:
        config: the shape of the model.
        pad_windows: count the projections of the rows that fill up border windows, as unmodified SAM computes them.

    Returns:
        By part: "linear", "window attention", "global attention", "stem and neck" and "total".
    """
    grid, width, depth = config.grid_size, config.encoder_dim, config.encoder_depth
    positions = grid**2
    windows = -(-grid // config.window_size) if config.window_size else 0
    padded = (windows * config.window_size) ** 2 if pad_windows else positions
    layers = len(config.global_attention), depth - len(config.global_attention)
    projections = 8.0 * width**2 * (layers[0] * positions + layers[1] * padded)
    flops = {
        "linear": projections + 16.0 * width**2 * positions * depth,
        "window attention": layers[1] * _attention_flops(windows**2, config.window_size, width),
        "global attention": layers[0] * _attention_flops(1, grid, width),
        "stem and neck": 2.0
        * positions
        * (3 * config.patch_size**2 * width + config.embed_dim * (width + 9 * config.embed_dim)),
    }
    return flops | {"total": sum(flops.values())}


def _attention_flops(count: int, side: int, width: int) -> float:
    """Scores, weighted sum and decomposed relative positions of ``count`` squares of ``side`` by ``side`` positions."""
    return count * (4.0 * side**4 * width + 4.0 * side**3 * width)


def random_sam(config: SamConfig, seed: int = 0) -> Sam:
    """A model with random weights, the positional parameters too."""
    torch.manual_seed(seed)
    sam = build_sam(config)
    for name, parameter in sam.named_parameters():
        if "pos_embed" in name or "rel_pos" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return sam


def matmul_rate(size: int = 2048, repeats: int = 9, dtype: torch.dtype = torch.float32) -> float:
    """The best rate at which this machine multiplies matrices, in FLOP/s."""
    a, b = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    return 2.0 * size**3 / min(_seconds(lambda: a @ b) for _ in range(repeats))


def int8_rate(size: int = 2048, repeats: int = 9) -> float:
    """The best rate at which this machine multiplies matrices of 8-bit integers, in operations a second."""
    a, b = (torch.randint(-127, 127, (size, size), dtype=torch.int8) for _ in range(2))
    return 2.0 * size**3 / min(_seconds(lambda: torch._int_mm(a, b.t())) for _ in range(repeats))


def _seconds(call: Callable[[], object]) -> float:
    start = CLOCK[0]()
    call()
    return CLOCK[0]() - start


def _compare(
    part: str, other: str, repeats: int, theirs: Callable[[], object], ways: dict[str, Callable[[], object]]
) -> tuple[dict[str, Any], dict[str, float]]:
    """All timed in turn: medians, and ratios of the other's to ours; then the best times, for the floors."""
    times = [[_seconds(call) for call in (theirs, *ways.values())] for _ in range(repeats)]
    columns = list(zip(*times, strict=True))
    figures: dict[str, Any] = {f"{part} {other} [s]": median(columns[0])}
    for name, column in zip(ways, columns[1:], strict=True):
        figures[f"{part} {name} [s]"] = median(column)
        figures[f"{part} {name}: ratio"] = median(columns[0]) / median(column)
    best = dict(zip(("theirs", *ways), map(min, columns), strict=True))
    return figures, best


def _bounded(figures: dict[str, Any], part: str, other: str, name: str, floor: float) -> None:
    """Put the floor of a time, and the ratio that it allows, beside them."""
    seconds, ratio = f"{part} {name} [s]", f"{part} {name}: ratio"
    most = figures[f"{part} {other} [s]"] / floor
    figures[seconds] = {"value": figures[seconds], "floor": floor}
    figures[ratio] = {"value": figures[ratio], "floor": f"at most {most:.2f}"}


def _encoder_figures(sam: Sam, config: SamConfig, repeats: int) -> dict[str, Any]:
    image = torch.randn(1, 3, config.image_size, config.image_size)
    reference = sam.image_encoder(image)
    encoders = {"float32": sam.image_encoder}
    if int8_possible():
        encoders["int8"] = in_int8(sam).image_encoder
    ways = {name: lambda encoder=encoder: encode(encoder, image) for name, encoder in encoders.items()}
    ways["bfloat16"] = lambda: _in_bfloat16(sam, image)
    figures, best = _compare("encoder", "unmodified", repeats, lambda: sam.image_encoder(image), ways)
    rate = matmul_rate()
    flops, needed = encoder_flops(config), encoder_flops(config, pad_windows=False)
    _bounded(figures, "encoder", "unmodified", "float32", needed["total"] / rate)
    figures |= {
        "encoder float32: relative error": _relative_error(ways["float32"](), reference),
        "encoder float32: best time over its floor": best["float32"] * rate / needed["total"],
        "encoder unmodified [GFLOP]": flops["total"] / 1e9,
        "encoder ours [GFLOP]": needed["total"] / 1e9,
        "encoder ours, in linear layers [GFLOP]": needed["linear"] / 1e9,
        "matrix products, float32 [GFLOP/s]": rate / 1e9,
    }
    halves = matmul_rate(dtype=torch.bfloat16)
    _bounded(figures, "encoder", "unmodified", "bfloat16", needed["total"] / halves)
    figures["matrix products, bfloat16 [GFLOP/s]"] = halves / 1e9
    apart = 1 - torch.cosine_similarity(ways["bfloat16"](), reference, 1)
    figures["encoder bfloat16: 1 - cosine with float32, worst place, random weights"] = float(apart.max())
    if "int8" in ways:
        whole = int8_rate()
        floor = needed["linear"] / whole + (needed["total"] - needed["linear"]) / rate
        _bounded(figures, "encoder", "unmodified", "int8", floor)
        figures["matrix products, int8 [GOP/s]"] = whole / 1e9
        figures["encoder int8: 1 - cosine with float32, random weights"] = 1 - _cosine(ways["int8"](), reference)
    return figures


def _in_bfloat16(sam: Sam, image: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return encode(sam.image_encoder, image)


def int8_agreement(patients: int) -> dict[str, Any]:
    """Of the bundled, trained model in float32 and in 8 bits, on slices of phantoms that it was not trained on."""
    exact, fast = load_sam(device="cpu"), load_sam(device="cpu", precision="int8")
    cosines, dices = [], []
    for seed in range(100_000, 100_000 + patients):
        [visit] = phantom_patient(seed, 1, shape=(40, 192, 192), spacing=(2.2, 2.2, 5.0))
        gray = np.clip((visit.volume.array + 910) / 1500 * 255, 0, 255).astype(np.uint8)
        for structure in visit.structures.structures:
            shown = [k for k in range(40) if structure.mask[k].sum() > 30][::4]
            ours = [_prompted(model, gray, structure.mask, shown) for model in (exact, fast)]
            cosines += [_cosine(a, b) for a, b in zip(ours[0][0], ours[1][0], strict=True)]
            dices += [_dice(a, b) for a, b in zip(ours[0][1], ours[1][1], strict=True)]
    return {
        "encoder int8, bundled model: images": len(cosines),
        "encoder int8, bundled model: 1 - cosine with float32, mean": 1 - float(np.mean(cosines)),
        "encoder int8, bundled model: 1 - cosine with float32, worst": 1 - min(cosines),
        "encoder int8, bundled model: masks (a point, a box)": len(dices),
        "encoder int8, bundled model: Dice with float32, mean": float(np.mean(dices)),
        "encoder int8, bundled model: Dice with float32, worst": min(dices),
        "encoder int8, bundled model: masks below 0.99": sum(one < 0.99 for one in dices),
    }


def _prompted(
    model: SamModel, gray: np.ndarray, mask: np.ndarray, slices: list[int]
) -> tuple[list[torch.Tensor], list[np.ndarray]]:
    """Features of slices, and masks for a structure's innermost point and for its box on each."""
    embeddings = model.embed([gray[k] for k in slices])
    requests = []
    for k, embedding in zip(slices, embeddings, strict=True):
        inside = ndimage.distance_transform_edt(mask[k])
        y, x = np.unravel_index(int(inside.argmax()), inside.shape)
        rows, columns = np.flatnonzero(mask[k].any(1)), np.flatnonzero(mask[k].any(0))
        requests.append(DecodeRequest(embedding, [[x, y]], [1]))
        requests.append(DecodeRequest(embedding, box=[columns[0], rows[0], columns[-1], rows[-1]]))
    found = model.decode(requests)
    masks = [model.upscale(one.logits[0], r.embedding).numpy() > 0 for one, r in zip(found, requests, strict=True)]
    return [one.features for one in embeddings], masks


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.cosine_similarity(a.flatten(), b.flatten(), 0))


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    both = int(a.sum() + b.sum())
    return 2 * int((a & b).sum()) / both if both else 1.0


def _decoder_figures(sam: Sam, config: SamConfig, repeats: int, count: int) -> dict[str, Any]:
    """The usual case of P²SAM: several candidates, each with its own number of points, on a few slices."""
    model = SamModel.from_sam(sam, config, device="cpu")
    requests = candidate_requests(model, count)
    predictors = [_predictor(sam, request.embedding) for request in requests]

    def one_by_one() -> list[np.ndarray]:
        pairs = zip(predictors, requests, strict=True)
        return [p.predict(np.asarray(r.points), np.asarray(r.labels), multimask_output=False)[2] for p, r in pairs]

    def together() -> list[torch.Tensor]:
        # The predictor brings every mask to the size of its image; so do we here.
        return [model.upscale(d.logits, r.embedding) for d, r in zip(model.decode(requests), requests, strict=True)]

    reference = torch.from_numpy(np.stack(one_by_one()))
    ours = torch.stack([decoded.logits for decoded in model.decode(requests)])
    figures, _ = _compare("decoder", "one by one", repeats, one_by_one, {"together": together})
    flops = {}
    for name, call in (("one by one", one_by_one), ("together", together)):
        with FlopCounterMode(display=False) as counter:
            call()
        flops[name] = counter.get_total_flops()
    _bounded(figures, "decoder", "one by one", "together", flops["together"] / matmul_rate())
    return {
        "decoder requests": count,
        **figures,
        "decoder one by one, each [GFLOP]": flops["one by one"] / count / 1e9,
        "decoder together, each [GFLOP]": flops["together"] / count / 1e9,
        "decoder relative error": _relative_error(ours, reference),
    }


def candidate_requests(model: SamModel, count: int, slices: int = 4) -> list[DecodeRequest]:
    """Prompts of one to four positive and as many negative points on a few random embeddings."""
    random = np.random.default_rng(0)
    shape, size = (model.embed_dim, model.grid_size, model.grid_size), model.image_size
    features = [torch.from_numpy(random.normal(size=shape).astype(np.float32)) for _ in range(slices)]
    embeddings = [Embedding(one, (size, size), (512, 512)) for one in features]
    return [
        DecodeRequest(embeddings[i % slices], random.uniform(0, 512, (2 * n, 2)), [1] * n + [0] * n)
        for i in range(count)
        for n in [1 + i // slices % 4]
    ]


def _predictor(sam: Sam, embedding: Embedding) -> SamPredictor:
    """A predictor of segment_anything with an image that is encoded already."""
    predictor = SamPredictor(sam)
    predictor.features, predictor.is_image_set = embedding.features[None], True
    predictor.input_size, predictor.original_size = embedding.input_size, embedding.original_size
    return predictor


def _relative_error(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return float((ours - reference).abs().max() / reference.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--kind", choices=tuple(KINDS), default="vit_b")
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--cpu-seconds", action="store_true")
    print(json.dumps(run(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
