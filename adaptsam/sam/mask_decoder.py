"""SAM's mask decoder for requests with unequal numbers of tokens, with PerSAM's guidance where a request has it.

The image has thousands of positions and a prompt a dozen tokens. So the projections of the cross-attentions are applied
on the side of the tokens, where they cost nothing: q·(W x) = (Wᵀ q)·x, and Σ a (W x) = W Σ a x. It is the same
attention, at half the arithmetic and without projected copies of the image.

In the first layer the image is what it was before any prompt. Where many prompts follow each other on one image, its
projections there are made once and kept (:class:`ImageSide`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch.nn import functional

# Of the upscaled features at a time, on the CPU: more does not stay in the cache, and is memory that the system clears.
_UPSCALED_BYTES = 2 * 2**20


@dataclass(frozen=True, eq=False)
class Guidance:
    """PerSAM's two hints for a batch of requests (Zhang et al., 2023, Sec. 3.2).

    Attributes:
        rows: int64 (G,), the requests with target-guided attention.
        similarity: float32 (G, h*w), added to the weights with which tokens see the image, then a second softmax.
        target: float32 (B, 1, C), added to the tokens; zero for a request without target-semantic prompting.
    """

    rows: torch.Tensor
    similarity: torch.Tensor
    target: torch.Tensor


@dataclass(frozen=True, eq=False)
class ImageSide:
    """Image side of the first layer's cross-attentions for B images, each float32 (B, heads, d, L).

    Attributes:
        key, value: for the tokens that read the image.
        query: for the image that reads the tokens.
    """

    key: torch.Tensor
    value: torch.Tensor
    query: torch.Tensor

    def __getitem__(self, rows: slice | list[int]) -> ImageSide:
        """That of some of the images."""
        return ImageSide(self.key[rows], self.value[rows], self.query[rows])


def first_image_side(decoder: MaskDecoder, image: torch.Tensor, image_position: torch.Tensor) -> ImageSide:
    """The image side of the first layer, which no prompt changes; arguments as in :func:`run_decoder`."""
    layer, placed = decoder.transformer.layers[0], image + image_position
    tokens, back = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
    parts = ((tokens, tokens.k_proj, placed), (tokens, tokens.v_proj, image), (back, back.q_proj, placed))
    return ImageSide(*(_places_last(projection(x), attention.num_heads) for attention, projection, x in parts))


def run_decoder(
    decoder: MaskDecoder,
    image: torch.Tensor,
    image_position: torch.Tensor,
    prompt: torch.Tensor,
    real: torch.Tensor,
    guidance: Guidance | None,
    multimask: bool,
    first: ImageSide | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``MaskDecoder.forward`` for B requests, each with its own image and its own number of tokens.

    Args:
        decoder: SAM's mask decoder.
        image: float32 (B, h*w, C), features plus dense prompt; h = w.
        image_position: float32 (1, h*w, C), the positional encoding of the grid.
        prompt: float32 (B, n, C), sparse prompts, padded.
        real: bool (B, n), False where a token is padding.
        guidance: PerSAM's hints, or None.
        multimask: the three masks of an ambiguous prompt instead of the single one.
        first: of :func:`first_image_side`, where it is there already; then no guidance.

    Returns:
        float32 (B, M, 4h, 4w) logits and (B, M) predicted IoU.
    """
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(image), -1, -1)
    tokens = torch.cat([own, prompt], dim=1)
    real = torch.cat([real.new_ones(own.shape[:2]), real], dim=1)
    tokens, image = _transform(decoder.transformer, tokens, real, image, image_position, guidance, first)
    kept = range(1, decoder.num_mask_tokens) if multimask else range(1)
    hyper = torch.stack([decoder.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in kept], dim=1)
    iou = decoder.iou_prediction_head(tokens[:, 0])
    return _upscaled_product(decoder, image, hyper), iou[:, kept.start : kept.stop]


def _transform(
    transformer: TwoWayTransformer,
    tokens: torch.Tensor,
    real: torch.Tensor,
    image: torch.Tensor,
    image_position: torch.Tensor,
    guidance: Guidance | None,
    first: ImageSide | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two-way transformer, with PerSAM's target embedding t.

    The reference adds t in place to the tokens before the first layer, so that their "position" carries it from then
    on; it adds t again before the second layer, and to the last query.
    """
    target = 0.0 if guidance is None else guidance.target
    position = tokens + target
    queries = position
    for number, layer in enumerate(transformer.layers):
        if number > 0:
            queries = queries + target
        side = first if number == 0 else None
        queries, image = _layer(layer, queries, position, real, image, image_position, guidance, side)
    read = _tokens_read_image(
        transformer.final_attn_token_to_image, queries + position + target, image + image_position, image, None
    )
    return transformer.norm_final_attn(queries + read), image


def _layer(
    layer: TwoWayAttentionBlock,
    queries: torch.Tensor,
    position: torch.Tensor,
    real: torch.Tensor,
    image: torch.Tensor,
    image_position: torch.Tensor,
    guidance: Guidance | None,
    side: ImageSide | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    if layer.skip_first_layer_pe:
        queries = layer.norm1(_self_attention(layer.self_attn, queries, queries, real))
    else:
        queries = layer.norm1(queries + _self_attention(layer.self_attn, queries + position, queries, real))
    tokens, back = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
    if side is None:
        placed = image + image_position
        read = _tokens_read_image(tokens, queries + position, placed, image, guidance)
    else:
        read = _tokens_read_kept(tokens, queries + position, side.key, side.value)
    queries = layer.norm2(queries + read)
    queries = layer.norm3(queries + layer.mlp(queries))
    if side is None:
        read = _image_reads_tokens(back, placed, queries + position, queries, real)
    else:
        read = _kept_reads_tokens(back, side.query, queries + position, queries, real)
    return queries, layer.norm4(read.add_(image))


def _heads(x: torch.Tensor, count: int) -> torch.Tensor:
    """(B, n, count*d) → (B, count, n, d)."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def _places_last(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, L, heads*d) → (B, heads, d, L), contiguous."""
    return x.transpose(1, 2).contiguous().unflatten(1, (heads, -1))


def _self_attention(attention: Attention, q: torch.Tensor, v: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Tokens (B, n, C) attend to each other; padding is seen by none."""
    heads = attention.num_heads
    query, key, value = (_heads(x, heads) for x in (attention.q_proj(q), attention.k_proj(q), attention.v_proj(v)))
    out = functional.scaled_dot_product_attention(query, key, value, attn_mask=real[:, None, None, :])
    return attention.out_proj(out.transpose(1, 2).flatten(2))


def _tokens_read_image(
    attention: Attention, q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, guidance: Guidance | None
) -> torch.Tensor:
    """Tokens (B, n, C) attend to the image (B, L, C). The bias of the keys is left out: softmax does not see it."""
    heads = attention.num_heads
    query = _heads(attention.q_proj(q), heads)
    count, width = query.shape[2:]
    key_weight, value_weight = (x.weight.unflatten(0, (heads, width)) for x in (attention.k_proj, attention.v_proj))
    query = (query @ key_weight).flatten(1, 2) * width**-0.5
    weights = (query @ keys.transpose(1, 2)).softmax(dim=-1)
    if guidance is not None and len(guidance.rows):
        guided = weights[guidance.rows] + guidance.similarity[:, None, :]
        weights[guidance.rows] = guided.softmax(dim=-1)
    read = (weights @ values).unflatten(1, (heads, count)) @ value_weight.transpose(1, 2)
    return attention.out_proj(read.transpose(1, 2).flatten(2) + attention.v_proj.bias)


def _image_reads_tokens(
    attention: Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, real: torch.Tensor
) -> torch.Tensor:
    """The image (B, L, C) attends to tokens (B, n, C), to real ones only."""
    heads = attention.num_heads
    key, value = _heads(attention.k_proj(k), heads), _heads(attention.v_proj(v), heads)
    count, width = key.shape[2:]
    scale = width**-0.5
    query_weight = attention.q_proj.weight.unflatten(0, (heads, width))
    query_bias = attention.q_proj.bias.unflatten(0, (heads, width))
    out_weight = attention.out_proj.weight.unflatten(1, (heads, width)).permute(1, 2, 0)
    offset = (key @ query_bias[:, :, None]).squeeze(-1) * scale
    offset = offset.masked_fill(~real[:, None, :], float("-inf")).flatten(1)
    key = (key @ query_weight).flatten(1, 2) * scale
    # Places last: a softmax over a dozen neighbouring numbers would take a quarter of the decoder's time.
    scores = torch.baddbmm(offset[:, :, None], key, q.transpose(1, 2))
    weights = scores.unflatten(1, (heads, count)).softmax(dim=2).flatten(1, 2)
    return torch.baddbmm(attention.out_proj.bias, weights.transpose(1, 2), (value @ out_weight).flatten(1, 2))


def _tokens_read_kept(attention: Attention, q: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention from tokens to the projections (B, heads, d, L) of an :class:`ImageSide`."""
    query = _heads(attention.q_proj(q), attention.num_heads) * key.shape[2] ** -0.5
    read = (query @ key).softmax(dim=-1) @ value.transpose(2, 3)
    return attention.out_proj(read.transpose(1, 2).flatten(2))


def _kept_reads_tokens(
    attention: Attention, query: torch.Tensor, k: torch.Tensor, v: torch.Tensor, real: torch.Tensor
) -> torch.Tensor:
    """Attention from the query (B, heads, d, L) of an :class:`ImageSide` to tokens."""
    key, value = (_heads(x, attention.num_heads) for x in (attention.k_proj(k), attention.v_proj(v)))
    scores = key * key.shape[-1] ** -0.5 @ query
    weights = scores.masked_fill_(~real[:, None, :, None], float("-inf")).softmax(dim=2)
    read = value.transpose(2, 3) @ weights
    return attention.out_proj(read.flatten(1, 2).transpose(1, 2))


def _upscaled_product(decoder: MaskDecoder, image: torch.Tensor, hyper: torch.Tensor) -> torch.Tensor:
    """Upscale the image features four times and multiply them with each mask's vector.

    The strides of SAM's transposed convolutions equal their kernels, so each is one matrix product per position. The
    new pixels stay behind their position as (…, 2, 2) until only the masks are left to be put in order.

    Args:
        decoder: SAM's mask decoder.
        image: float32 (B, h*w, C), h = w.
        hyper: float32 (B, M, C/8).

    Returns:
        float32 (B, M, 4h, 4w).
    """
    together = max(1, _UPSCALED_BYTES // (8 * image.shape[1] * image.shape[2]))
    if image.device.type == "cpu" and len(image) > together:
        pieces = zip(image.split(together), hyper.split(together), strict=True)
        return torch.cat([_upscaled_product(decoder, *piece) for piece in pieces])
    first, norm, activation, second, last_activation = decoder.output_upscaling
    side = math.isqrt(image.shape[1])
    x = _upscale_twice(first, image)
    x = activation(functional.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps))
    x = last_activation(_upscale_twice(second, x))
    masks = x.flatten(1, -2) @ hyper.transpose(1, 2)
    masks = masks.view(len(image), side, side, 2, 2, 2, 2, -1)
    return masks.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(len(image), -1, 4 * side, 4 * side)


def _upscale_twice(convolution: torch.nn.ConvTranspose2d, x: torch.Tensor) -> torch.Tensor:
    """(…, C) → (…, 2, 2, C'), rows then columns of the four new pixels."""
    weight, bias = convolution.weight.permute(2, 3, 1, 0), convolution.bias
    out = functional.linear(x, weight.flatten(0, 2), None if bias is None else bias.repeat(4))
    return out.unflatten(-1, weight.shape[:3])
