"""CLIP Surgery equals a plain, slow, independent implementation of the reference's equations on equal weights.

The plain one goes one image and one head at a time, from nothing but the named weights, in float64. It is written from
the equations of Li et al. (2023) and the facts of the reference method.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from adaptsam.alignsam.clip import ClipModel, SurgerySettings, TextAttention
from adaptsam.alignsam.clip.feature_surgery import feature_surgery
from adaptsam.alignsam.clip.prompt_templates import templates_for

Weights = dict[str, Tensor]
PROMPTS = ["lung", "heart", "a dog", "tumour"]


def layer_norm(x: Tensor, w: Weights, name: str, eps: float) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    scaled = centred / torch.sqrt((centred**2).mean(1, keepdim=True) + eps)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    each = values.shape[1] // heads
    columns = [slice(h * each, (h + 1) * each) for h in range(heads)]
    return torch.cat(
        [torch.softmax(queries[:, c] @ keys[:, c].T / math.sqrt(each), dim=1) @ values[:, c] for c in columns], dim=1
    )


def activation(x: Tensor, quick: bool) -> Tensor:
    return x * torch.sigmoid(1.702 * x) if quick else x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def token_features(w: Weights, names: dict[str, str], pixels: Tensor, *, heads: int, quick: bool, eps: float) -> Tensor:
    """Features (1 + patches, channels) of one normalised picture (3, H, W), whose grid is that of the training."""
    depth = 1 + max(int(key.removeprefix(names["block"]).split(".")[0]) for key in w if key.startswith(names["block"]))
    x = embedded(w, names, pixels)
    if names["before"]:
        x = layer_norm(x, w, names["before"], eps)
    new = x
    for number in range(depth):
        block = f"{names['block']}{number}."
        normed = layer_norm(x, w, block + names["norm1"], eps)
        q, k, v = (normed @ w[block + names["qkv"]].T + w[block + names["qkv_bias"]]).chunk(3, dim=1)
        out_weight, out_bias = w[block + names["out"] + ".weight"], w[block + names["out"] + ".bias"]
        if number >= depth - 6:  # the new path: attention of the values alone, no feed-forward network
            new = new + attention(v, v, v, heads) @ out_weight.T + out_bias
        x = x + attention(q, k, v, heads) @ out_weight.T + out_bias
        inner = layer_norm(x, w, block + names["norm2"], eps)
        inner = activation(inner @ w[block + names["fc1"] + ".weight"].T + w[block + names["fc1"] + ".bias"], quick)
        x = x + inner @ w[block + names["fc2"] + ".weight"].T + w[block + names["fc2"] + ".bias"]
        if number < depth - 6:
            new = x
    mixed = torch.cat([x[:1], new[1:]])
    projected = layer_norm(mixed, w, names["after"], eps) @ w[names["proj"]]
    return projected / projected.norm(dim=1, keepdim=True)


def embedded(w: Weights, names: dict[str, str], pixels: Tensor) -> Tensor:
    kernel = w[names["patch"] + ".weight"]
    side = kernel.shape[-1]
    bias = w.get(names["patch"] + ".bias", torch.zeros(len(kernel), dtype=pixels.dtype))
    rows, columns = pixels.shape[1] // side, pixels.shape[2] // side
    patches = [
        (kernel * pixels[:, r * side : (r + 1) * side, c * side : (c + 1) * side]).sum((1, 2, 3)) + bias
        for r in range(rows)
        for c in range(columns)
    ]
    tokens = torch.stack([w[names["class"]].flatten(), *patches])
    return tokens + w[names["positions"]].reshape(len(tokens), -1)


def many_texts(image: Tensor, texts: Tensor) -> Tensor:
    """Similarity (1 + patches, texts): the element-wise products, weighted, less their mean over the texts, summed."""
    probability = torch.softmax(2 * (image[0] @ texts.T), dim=0)
    weight = probability / probability.mean()
    products = image[:, None, :] * texts[None, :, :] * weight[None, :, None]
    return (products - products.mean(1, keepdim=True)).sum(-1)


def one_text(image: Tensor, text: Tensor, empty: Tensor) -> Tensor:
    return image @ (text - empty).T


OPEN_CLIP_NAMES = {
    "patch": "visual.conv1",
    "class": "visual.class_embedding",
    "positions": "visual.positional_embedding",
    "before": "visual.ln_pre",
    "block": "visual.transformer.resblocks.",
    "norm1": "ln_1",
    "qkv": "attn.in_proj_weight",
    "qkv_bias": "attn.in_proj_bias",
    "out": "attn.out_proj",
    "norm2": "ln_2",
    "fc1": "mlp.c_fc",
    "fc2": "mlp.c_proj",
    "after": "visual.ln_post",
    "proj": "visual.proj",
}
TIMM_NAMES = {
    "patch": "visual.trunk.patch_embed.proj",
    "class": "visual.trunk.cls_token",
    "positions": "visual.trunk.pos_embed",
    "before": "",
    "block": "visual.trunk.blocks.",
    "norm1": "norm1",
    "qkv": "attn.qkv.weight",
    "qkv_bias": "attn.qkv.bias",
    "out": "attn.proj",
    "norm2": "norm2",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "after": "visual.trunk.norm",
    "proj": "projection",
}


def plain_pixels(image: np.ndarray, clip: ClipModel) -> Tensor:
    """As the reference prepares an image: Pillow's bicubic resize to a square, then mean and standard deviation."""
    resized = Image.fromarray(image).resize(clip.image_size[::-1], Image.Resampling.BICUBIC)
    mean, deviation = (torch.tensor(clip.preprocess[key], dtype=torch.float64) for key in ("mean", "std"))
    return ((torch.tensor(np.asarray(resized)).double() / 255 - mean) / deviation).movedim(-1, 0)


def plain_texts(clip: ClipModel, prompts: list[str]) -> Tensor:
    features = []
    for prompt in prompts:
        sentences = [template.format(prompt) for template in templates_for("natural")]
        each = [clip.clip.encode_text(clip.tokenizer([sentence]))[0].detach().double() for sentence in sentences]
        mean = torch.stack([feature / feature.norm() for feature in each]).mean(0)
        features.append(mean / mean.norm())
    return torch.stack(features)


def plain_similarity(clip: ClipModel, image: np.ndarray, prompts: list[str]) -> Tensor:
    """(prompts, rows, columns)"""
    weights = {name: tensor.double() for name, tensor in clip.clip.state_dict().items()}
    timm = any("trunk" in name for name in weights)
    if timm:
        weights["projection"] = weights["visual.head.proj.weight"].T
    heads, eps = (3, 1e-6) if timm else (3, 1e-5)
    names = TIMM_NAMES if timm else OPEN_CLIP_NAMES
    tokens = token_features(weights, names, plain_pixels(image, clip), heads=heads, quick=not timm, eps=eps)
    texts = plain_texts(clip, prompts)
    similarity = one_text(tokens, texts, plain_texts(clip, [""])) if len(prompts) == 1 else many_texts(tokens, texts)
    rows = clip.image_size[0] // clip.patch_size[0]
    return similarity[1:].T.reshape(len(prompts), rows, -1)


@pytest.mark.parametrize("kind", ["clip", "timm_clip"])
@pytest.mark.parametrize("prompts", [["lung"], PROMPTS], ids=["one prompt", "many prompts"])
def test_similarity_and_maps_equal_the_plain_reference(
    request: pytest.FixtureRequest, kind: str, prompts: list[str], images: np.ndarray
) -> None:
    clip: ClipModel = request.getfixturevalue(kind)
    attention = TextAttention(clip)
    found = attention.similarity(images, prompts).double()
    expected = torch.stack([plain_similarity(clip, image, prompts) for image in images])
    spread = (expected.amax((-2, -1)) - expected.amin((-2, -1))).min().item()
    difference = (found - expected).abs().max().item()
    print(f"{kind}, {len(prompts)} prompts: maximal difference {difference:.1e} where a map spreads over {spread:.1e}")
    # float32 against float64: far below what a map spreads over, so a wrong scale, bias or norm cannot hide.
    assert difference < 1e-5
    assert difference < 1e-3 * spread

    low, high = expected.amin((-2, -1), keepdim=True), expected.amax((-2, -1), keepdim=True)
    maps = functional.interpolate((expected - low) / (high - low), images.shape[1:3], mode="bilinear")
    assert (attention.maps(images, prompts) - maps).abs().max() < 1e-3


@pytest.mark.parametrize("kind", ["clip", "timm_clip"])
def test_the_class_token_is_that_of_the_unchanged_model(
    request: pytest.FixtureRequest, kind: str, images: np.ndarray
) -> None:
    clip: ClipModel = request.getfixturevalue(kind)
    before = {name: tensor.clone() for name, tensor in clip.clip.state_dict().items()}
    features = clip.encode_images(images, clip.image_size, 6)
    pixels = torch.stack([plain_pixels(image, clip) for image in images]).float()
    whole = functional.normalize(clip.clip.encode_image(pixels), dim=-1)
    assert (features[:, 0] - whole).abs().max() < 1e-5
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.clip.state_dict().items())


def test_the_number_of_blocks_with_the_new_path_matters(clip: ClipModel, images: np.ndarray) -> None:
    six, five = (TextAttention(clip, SurgerySettings(blocks=n)).similarity(images, PROMPTS) for n in (6, 5))
    assert (six - five).abs().max() > 1e-3


def test_every_image_of_a_batch_is_weighted_by_its_own_class_token() -> None:
    generator = torch.Generator().manual_seed(5)
    images = functional.normalize(torch.randn(3, 10, 16, generator=generator), dim=-1)
    texts = functional.normalize(torch.randn(4, 16, generator=generator), dim=-1)
    together = feature_surgery(images, texts)
    alone = torch.stack([many_texts(image, texts) for image in images])
    assert (together - alone).abs().max() < 1e-6
