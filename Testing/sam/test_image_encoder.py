"""The fast image encoder against segment_anything's own, with random positional parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from adaptsam.sam import SamConfig, encode
from adaptsam.sam import image_encoder as fast_encoder

VIT_B_GRID = SamConfig(encoder_dim=128, encoder_depth=2, encoder_heads=2, global_attention=(1,), embed_dim=32)


def _error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="windows that need filling"),
        pytest.param({"window_size": 4}, id="windows that fit"),
        pytest.param({"window_size": 20}, id="a window larger than the image"),
        pytest.param({"global_attention": (0, 1, 2)}, id="global attention only"),
        pytest.param({"global_attention": ()}, id="windows only"),
        pytest.param({"image_size": 96, "patch_size": 16}, id="another size"),
    ],
)
def test_the_fast_encoder_equals_segment_anything(config, random_sam, changes):
    encoder = random_sam(replace(config, **changes)).image_encoder
    images = torch.randn(3, 3, encoder.img_size, encoder.img_size)
    with torch.no_grad():
        assert _error(encode(encoder, images), encoder(images)) < 1e-4


def test_the_fast_encoder_equals_segment_anything_on_the_grid_of_vit_b(random_sam):
    encoder = random_sam(VIT_B_GRID).image_encoder
    images = torch.randn(1, 3, 1024, 1024)
    with torch.no_grad():
        assert _error(encode(encoder, images), encoder(images)) < 1e-4


@pytest.mark.parametrize("bytes_per_thread", [1, 3000, 20000])
def test_the_size_of_the_pieces_does_not_change_the_result(config, random_sam, monkeypatch, bytes_per_thread):
    encoder = random_sam(config).image_encoder
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = encode(encoder, images)
        monkeypatch.setattr(fast_encoder, "_SCORE_BYTES_PER_THREAD", bytes_per_thread)
        assert _error(encode(encoder, images), expected) < 1e-5


def test_windows_that_fit_are_the_same_without_being_lined_up_one_by_one(config, random_sam):
    attention = random_sam(config).image_encoder.blocks[0].attn
    x = torch.randn(2, 12, 8, attention.qkv.in_features)
    attention.rel_pos_h.data, attention.rel_pos_w.data = torch.randn(2, 7, attention.rel_pos_h.shape[1]).unbind()
    expected = fast_encoder._windowed_attention(attention, x, 4)
    assert torch.allclose(fast_encoder._fitting_windows(attention, x, 4), expected, atol=1e-5)


def test_the_attention_of_gpus_equals_that_of_the_cpu():
    q, k, v = torch.randn(3, 2, 3, 5 * 7, 8).unbind()
    rows, columns = torch.randn(5, 5, 8), torch.randn(7, 7, 8)
    biased = fast_encoder._biased_attention(q, k, v, rows, columns)
    assert torch.allclose(fast_encoder._widened_attention(q, k, v, rows, columns), biased, atol=1e-5)


def test_random_positions_matter_to_the_result_so_that_the_tests_above_see_them(config, random_sam):
    sam = random_sam(config)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = encode(sam.image_encoder, images)
        for name, parameter in sam.named_parameters():
            if "rel_pos_w" in name:
                parameter.zero_()
        assert _error(encode(sam.image_encoder, images), before) > 1e-2


class _LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation has returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.untyped_storage().nbytes() // result.element_size())
        return result


def test_no_matrix_of_all_positions_by_all_positions_is_stored(random_sam):
    config = replace(
        VIT_B_GRID, image_size=2048, encoder_depth=1, global_attention=(0,), encoder_dim=8, encoder_heads=1
    )
    encoder = random_sam(config).image_encoder
    with torch.no_grad(), _LargestTensor() as largest:
        encode(encoder, torch.randn(1, 3, 2048, 2048))
    assert largest.elements < (config.grid_size**4) / 8


def test_gradients_flow_through_the_fast_encoder_as_through_the_original(config, random_sam):
    encoder = random_sam(config).image_encoder
    images, weights = torch.randn(2, 3, 64, 64), torch.randn(2, config.embed_dim, 8, 8)
    gradients = []
    for forward in (lambda x: encode(encoder, x), encoder):
        encoder.zero_grad()
        (forward(images) * weights).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in encoder.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_mixed_precision_as_on_a_gpu_stays_near_and_returns_float32(config, random_sam, monkeypatch):
    encoder = random_sam(config).image_encoder
    images = torch.randn(2, 3, 64, 64)
    monkeypatch.setattr(fast_encoder, "_biased_attention", fast_encoder._widened_attention)
    with torch.no_grad():
        exact = encoder(images)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = encode(encoder, images)
    assert mixed.dtype == torch.float32
    assert float((mixed - exact).norm() / exact.norm()) < 0.03
