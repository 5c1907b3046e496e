"""Pieces of P²SAM and PerSAM as they were published, on segment_anything's own predictor: slow and plain, for tests."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything import SamPredictor
from segment_anything.utils.transforms import ResizeLongestSide


class SameFeatures(SamPredictor):
    """segment_anything's predictor, except that it encodes as the package's model does."""

    def __init__(self, model):
        super().__init__(model.sam)
        self.encode = model.embed

    def set_image(self, image, image_format="RGB"):
        super().set_image(image, image_format)
        self.features = self.encode([image])[0].features[None]


def reference_features(predictor, image, mask):
    """Features (h, w, C) of the reference and its centred mask (h, w) on the grid."""
    size = predictor.model.image_encoder.img_size
    predictor.set_image(image)
    features = predictor.features.squeeze().permute(1, 2, 0)
    resized = torch.as_tensor(ResizeLongestSide(size).apply_image(mask.astype(np.uint8) * 255)).float()
    padded = F.pad(resized, (0, size - resized.shape[1], 0, size - resized.shape[0]))
    padded = padded - (padded.max() + padded.min()) / 2
    return features, F.interpolate(padded[None, None], size=features.shape[:2], mode="bilinear").squeeze()


def similarity(predictor, parts):
    """(n, H, W) in original pixels."""
    channels, height, width = predictor.features.squeeze().shape
    target = predictor.features.squeeze()
    target = (target / target.norm(dim=0, keepdim=True)).reshape(channels, height * width)
    maps = (parts @ target).reshape(1, len(parts), height, width)
    maps = F.interpolate(maps, scale_factor=4, mode="bilinear")
    return predictor.model.postprocess_masks(maps, predictor.input_size, predictor.original_size)[0]


def top(one_map, largest=True):
    index = int(one_map.flatten().topk(1, largest=largest)[1])
    return [index % one_map.shape[1], index // one_map.shape[1]]


def box_of(mask):
    y, x = np.nonzero(mask)
    return np.array([[x.min(), y.min(), x.max(), y.max()]]) if len(x) else None


@torch.no_grad()
def guided_logits(predictor, prompt, attention, target):
    """The single mask's logits (1, 4h, 4w) with PerSAM's target-guided attention and target-semantic prompting."""
    sam, decoder = predictor.model, predictor.model.mask_decoder
    coordinates = predictor.transform.apply_coords(prompt["point_coords"], predictor.original_size)
    coordinates = torch.as_tensor(coordinates, dtype=torch.float)[None]
    labels = torch.as_tensor(prompt["point_labels"], dtype=torch.int)[None]
    sparse, dense = sam.prompt_encoder(points=(coordinates, labels), boxes=None, masks=None)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])[None]
    keys = (predictor.features + dense).flatten(2).permute(0, 2, 1)
    key_pe = sam.prompt_encoder.get_dense_pe().flatten(2).permute(0, 2, 1)
    # The published code adds the target to the tokens in place, so their position encoding has it from then on.
    query_pe = torch.cat([own, sparse], dim=1) + target
    queries = query_pe
    for number, layer in enumerate(decoder.transformer.layers):
        if number == 0:
            queries = layer.norm1(layer.self_attn(q=queries, k=queries, v=queries))
        else:
            queries = queries + target
            placed = queries + query_pe
            queries = layer.norm1(queries + layer.self_attn(q=placed, k=placed, v=queries))
        read = guided_attention(layer.cross_attn_token_to_image, queries + query_pe, keys + key_pe, keys, attention)
        queries = layer.norm2(queries + read)
        queries = layer.norm3(queries + layer.mlp(queries))
        keys = layer.norm4(keys + layer.cross_attn_image_to_token(q=keys + key_pe, k=queries + query_pe, v=queries))
    last = decoder.transformer.final_attn_token_to_image
    queries = queries + last(q=queries + query_pe + target, k=keys + key_pe, v=keys)
    queries = decoder.transformer.norm_final_attn(queries)
    upscaled = decoder.output_upscaling(keys.transpose(1, 2).view(predictor.features.shape))
    return torch.einsum("c,cyx->yx", decoder.output_hypernetworks_mlps[0](queries[0, 1]), upscaled[0]).numpy()[None]


def guided_attention(layer, q, k, v, attention):
    split = layer._separate_heads
    q, k, v = (
        split(project(x), layer.num_heads) for project, x in ((layer.q_proj, q), (layer.k_proj, k), (layer.v_proj, v))
    )
    weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), dim=-1)
    weights = torch.softmax(weights + attention, dim=-1)
    return layer.out_proj(layer._recombine_heads(weights @ v))
