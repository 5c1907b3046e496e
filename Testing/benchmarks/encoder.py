"""How fast the image encoder and the batched decoder are beside unmodified segment_anything, and beside the machine.

    python Testing/benchmarks/encoder.py --repeats 5 --threads 2

Ours and theirs are timed in turn, with the same weights, threads and inputs, so that a busy machine disturbs both. The
positional parameters are random: they start at zero, which would hide an error in them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from adaptsam.sam import SMALL, VIT_B, VIT_H, VIT_L, DecodeRequest, Embedding, SamConfig, SamModel, build_sam, encode

KINDS = {"vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H, "small": SMALL}


def run(repeats: int = 5, threads: int | None = None, kind: str = "vit_b", requests: int = 16) -> dict[str, Any]:
    """Time encoder and decoder, ours and unmodified.

    Args:
        repeats: how often each is timed; medians are reported.
        threads: of PyTorch; None for as many as it takes by itself.
        kind: "vit_b", "vit_l", "vit_h" or "small".
        requests: prompts of the decoder's comparison.

    Returns:
        Seconds, ratios, relative errors, arithmetic in GFLOP and rates in GFLOP/s by name.
    """
    before = torch.get_num_threads()
    with ExitStack() as restore, torch.no_grad():
        restore.callback(torch.set_num_threads, before)
        torch.set_num_threads(threads or before)
        sam = random_sam(KINDS[kind])
        figures = {"kind": kind, "threads": torch.get_num_threads(), "repeats": repeats}
        return (
            figures
            | _encoder_figures(sam, KINDS[kind], repeats)
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


def matmul_rate(size: int = 2048, repeats: int = 9) -> float:
    """The best rate at which this machine multiplies float32 matrices, in FLOP/s."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2.0 * size**3 / min(_seconds(lambda: a @ b) for _ in range(repeats))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _compare(
    part: str, other: str, repeats: int, theirs: Callable[[], object], ours: Callable[[], object]
) -> dict[str, float]:
    """Both timed in turn: medians, their ratio, and the best times, which a busy machine disturbs least."""
    times = [(_seconds(theirs), _seconds(ours)) for _ in range(repeats)]
    theirs_s, ours_s = zip(*times, strict=True)
    return {
        f"{part} {other} [s]": median(theirs_s),
        f"{part} ours [s]": median(ours_s),
        f"{part} ratio": median(theirs_s) / median(ours_s),
        f"{part} {other}, best [s]": min(theirs_s),
        f"{part} ours, best [s]": min(ours_s),
        f"{part} ratio of the best": min(theirs_s) / min(ours_s),
    }


def _encoder_figures(sam: Sam, config: SamConfig, repeats: int) -> dict[str, Any]:
    image = torch.randn(1, 3, config.image_size, config.image_size)
    reference, ours = sam.image_encoder(image), encode(sam.image_encoder, image)
    times = _compare(
        "encoder", "unmodified", repeats, lambda: sam.image_encoder(image), lambda: encode(sam.image_encoder, image)
    )
    rate = matmul_rate()
    flops, needed = encoder_flops(config)["total"], encoder_flops(config, pad_windows=False)["total"]
    return {
        **times,
        "encoder relative error": _relative_error(ours, reference),
        "encoder unmodified [GFLOP]": flops / 1e9,
        "encoder ours [GFLOP]": needed / 1e9,
        "matmul rate [GFLOP/s]": rate / 1e9,
        "encoder ours, time over arithmetic floor": times["encoder ours, best [s]"] * rate / needed,
    }


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
    return {
        "decoder requests": count,
        **_compare("decoder", "one by one", repeats, one_by_one, together),
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
    print(json.dumps(run(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
