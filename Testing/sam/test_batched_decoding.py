"""Batched decoding against SAM's own predictor, one prompt at a time, and PerSAM's hints against a plain one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from adaptsam.errors import InputError
from adaptsam.sam import Decoded, DecodeRequest, Embedding, SamModel, batched_decoding, decode
from adaptsam.sam.prompt_encoder import embed_logits

POINTS = [(3, 4), (20.5, 11), (8, 30)]


def _optional(value):
    return None if value is None else np.asarray(value)


def _predict(model: SamModel, request: DecodeRequest, multimask: bool):
    """Full-size logits, predicted IoU and low-resolution logits of segment_anything for one request."""
    predictor = SamPredictor(model.sam)
    embedding = request.embedding
    predictor.features, predictor.is_image_set = embedding.features[None], True
    predictor.input_size, predictor.original_size = embedding.input_size, embedding.original_size
    prompts = _optional(request.points), _optional(request.labels), _optional(request.box)
    mask = None if request.mask_input is None else np.asarray(request.mask_input)[None]
    return predictor.predict(*prompts, mask, multimask, return_logits=True)


def _agrees(ours: torch.Tensor, theirs) -> bool:
    theirs = torch.as_tensor(theirs)
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


@pytest.fixture
def embeddings(model, images) -> list[Embedding]:
    return model.embed(images)


@pytest.fixture
def mask_input(model) -> np.ndarray:
    side = 4 * model.grid_size
    return np.random.default_rng(3).normal(size=(side, side)).astype(np.float32) * 5


@pytest.fixture
def mixed_requests(embeddings, mask_input) -> list[DecodeRequest]:
    return [
        DecodeRequest(embeddings[0], POINTS[:1], [1]),
        DecodeRequest(embeddings[0], POINTS, [1, 0, 1]),
        DecodeRequest(embeddings[1], POINTS[:2], [1, 0], box=(2, 3, 20, 40)),
        DecodeRequest(embeddings[2], POINTS[:2], [0, 1], mask_input=mask_input),
        DecodeRequest(embeddings[0], box=(1, 2, 50, 30)),
        DecodeRequest(embeddings[1], mask_input=torch.from_numpy(mask_input * 2)),
        DecodeRequest(embeddings[2], POINTS * 4, [1, 0, 0] * 4, box=(5, 5, 9, 60), mask_input=mask_input),
        DecodeRequest(embeddings[2]),
        DecodeRequest(embeddings[1], np.zeros((0, 2)), []),
    ]


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("memory_bytes", [None, 1], ids=["in one pass", "one at a time"])
def test_mixed_prompts_together_give_what_the_predictor_gives_alone(model, mixed_requests, multimask, memory_bytes):
    decoded = decode(model.sam, mixed_requests, multimask, memory_bytes)
    for request, ours in zip(mixed_requests, decoded, strict=True):
        full, iou, low = _predict(model, request, multimask)
        assert _agrees(ours.logits, low)
        assert _agrees(ours.iou, iou)
        upscaled = model.upscale(ours.logits, request.embedding)
        assert _agrees(upscaled, full)
        sure = np.abs(full) > 1e-4 * np.abs(full).max()
        assert np.array_equal((upscaled > 0).numpy()[sure], (full > 0)[sure])


def test_a_second_pass_takes_the_logits_of_the_first_as_they_are(model, embeddings):
    first = model.decode([DecodeRequest(embeddings[0], POINTS, [1, 0, 1])])[0]
    second = DecodeRequest(embeddings[0], POINTS, [1, 0, 1], mask_input=first.logits[0])
    assert _agrees(model.decode([second])[0].logits, _predict(model, second, False)[2])


def test_a_neighbour_with_more_tokens_does_not_change_a_result(model, embeddings):
    request = DecodeRequest(embeddings[0], POINTS[:1], [1])
    crowd = DecodeRequest(embeddings[1], POINTS * 10, [1, 0, 1] * 10, box=(0, 0, 9, 9))
    alone, together = model.decode([request])[0], model.decode([crowd, request])[1]
    assert _agrees(together.logits, alone.logits)


def test_nothing_to_decode_gives_nothing(model):
    assert model.decode([]) == []


def _guided_slowly(model: SamModel, request: DecodeRequest) -> Decoded:
    """PerSAM's two hints written out for one request, after the published mask decoder of P²SAM.

    Both layers: the tokens' attention to the image is softmax(softmax(scores) + similarity). The target embedding is
    added to the tokens before either layer; before the first one it is added to their position too.
    """
    decoder, prompts = model.sam.mask_decoder, model.sam.prompt_encoder
    points = torch.from_numpy(SamPredictor(model.sam).transform.apply_coords(np.array(request.points), (40, 90)))
    sparse, dense = prompts((points[None].float(), torch.as_tensor(request.labels)[None]), None, None)
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, sparse[0]])[None]
    keys = (request.embedding.features[None] + dense).flatten(2).transpose(1, 2)
    key_position = prompts.get_dense_pe().flatten(2).transpose(1, 2)
    target = torch.zeros(model.embed_dim) if request.target_embedding is None else request.target_embedding

    def attend(module, q, k, v, similarity=None):
        q, k, v = module.q_proj(q), module.k_proj(k), module.v_proj(v)
        out = []
        for one_q, one_k, one_v in zip(*(x.chunk(module.num_heads, dim=-1) for x in (q, k, v)), strict=True):
            weights = (one_q @ one_k.transpose(1, 2) / one_q.shape[-1] ** 0.5).softmax(-1)
            if similarity is not None:
                weights = (weights + similarity).softmax(-1)
            out.append(weights @ one_v)
        return module.out_proj(torch.cat(out, dim=-1))

    position = tokens + target
    queries = position
    for number, layer in enumerate(decoder.transformer.layers):
        if number == 0:
            queries = layer.norm1(attend(layer.self_attn, queries, queries, queries))
        else:
            queries = queries + target
            placed = queries + position
            queries = layer.norm1(queries + attend(layer.self_attn, placed, placed, queries))
        read = attend(
            layer.cross_attn_token_to_image, queries + position, keys + key_position, keys, request.attention_similarity
        )
        queries = layer.norm2(queries + read)
        queries = layer.norm3(queries + layer.mlp(queries))
        read = attend(layer.cross_attn_image_to_token, keys + key_position, queries + position, queries)
        keys = layer.norm4(keys + read)
    last = decoder.transformer.final_attn_token_to_image
    read = attend(last, queries + position + target, keys + key_position, keys)
    queries = decoder.transformer.norm_final_attn(queries + read)
    side = model.grid_size
    upscaled = decoder.output_upscaling(keys.transpose(1, 2).unflatten(2, (side, side)))
    vectors = torch.stack([mlp(queries[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1)
    return Decoded(
        (vectors @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])[0],
        decoder.iou_prediction_head(queries[:, 0])[0],
    )


@pytest.mark.parametrize("hints", [(True, True), (True, False), (False, True), (False, False)])
@torch.no_grad()
def test_the_hints_of_persam_change_what_the_reference_says_they_change(model, embeddings, mixed_requests, hints):
    torch.manual_seed(0)
    guided = DecodeRequest(
        embeddings[0],
        POINTS,
        [1, 0, 1],
        attention_similarity=torch.rand(model.grid_size**2) * 5 if hints[0] else None,
        target_embedding=torch.randn(model.embed_dim) if hints[1] else None,
    )
    plain = replace(guided, attention_similarity=None, target_embedding=None)
    expected = _guided_slowly(model, guided)
    ours, *others, unguided = model.decode([guided, *mixed_requests, plain], multimask=True)
    assert _agrees(ours.logits, expected.logits[1:])
    assert _agrees(ours.iou, expected.iou[1:])
    assert _agrees(unguided.logits, _predict(model, plain, True)[2])
    for request, other in zip(mixed_requests, others, strict=True):
        assert _agrees(other.logits, _predict(model, request, True)[2])
    assert _agrees(ours.logits, unguided.logits) == (hints == (False, False))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"points": POINTS}, "without labels"),
        ({"labels": [1]}, "without points"),
        ({"points": POINTS, "labels": [1, 0]}, "3 points were given with 2 labels"),
        ({"points": [(1, float("nan"))], "labels": [1]}, "not finite"),
        ({"points": [(1, 2, 3)], "labels": [1]}, "shape"),
        ({"points": POINTS[:1], "labels": [2]}, "must be 0 or 1"),
        ({"box": (1, 2, 3)}, "four finite numbers"),
        ({"mask_input": np.zeros((8, 8))}, r"mask_input must have the shape \(32, 32\)"),
        ({"target_embedding": np.zeros(3)}, "target_embedding"),
        ({"attention_similarity": np.zeros(3)}, "attention_similarity"),
        ({"embedding": Embedding(torch.zeros(4, 8, 8), (64, 64), (64, 64))}, "encode the image with the model"),
    ],
)
def test_a_malformed_prompt_is_refused_in_words(model, embeddings, changes, words):
    with pytest.raises(InputError, match=words):
        model.decode([DecodeRequest(**({"embedding": embeddings[0]} | changes))])


def test_a_tick_comes_before_every_pass_that_fits_into_memory(model, mixed_requests):
    told = []
    decode(model.sam, mixed_requests, memory_bytes=1, tick=lambda: told.append(None))
    assert len(told) == len(mixed_requests)


def test_requests_that_all_have_masks_read_each_image_plus_its_mask_to_the_last_bit(
    model: SamModel, embeddings: list[Embedding], mask_input: np.ndarray
) -> None:
    before = [one.features.clone() for one in embeddings]
    masks = [mask_input, mask_input * 2, mask_input - 1]
    requests = [
        DecodeRequest(embeddings[n], POINTS[:1], [1], mask_input=mask) for n, mask in zip((0, 0, 1), masks, strict=True)
    ]
    with torch.no_grad():
        read = batched_decoding._with_dense_prompts(model.sam, requests)
        dense = embed_logits(model.sam.prompt_encoder, torch.from_numpy(np.stack(masks)))
    plain = torch.stack([embeddings[n].features.flatten(1).T for n in (0, 0, 1)])
    assert read.is_contiguous()
    assert torch.equal(read, plain + dense)
    assert all(torch.equal(one.features, kept) for one, kept in zip(embeddings, before, strict=True))
