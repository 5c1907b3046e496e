"""Eq. 4, on square images and others."""

import numpy as np
import torch

from adaptsam.alignsam.state import Canvas, State, map_to_canvas
from adaptsam.sam import Embedding


def canvas(*sizes: tuple[int, int], image_size: int = 64) -> Canvas:
    embeddings = [Embedding(torch.zeros(1, 8, 8), size, size) for size in sizes]
    return Canvas(embeddings, image_size, torch.device("cpu"))


def test_the_state_is_the_features_times_the_mask() -> None:
    features, mask = torch.randn(2, 5, 8, 8), torch.rand(2, 8, 8)
    state = State(features, mask, torch.ones(2, 4, dtype=torch.bool))
    for channel in range(5):
        assert torch.equal(state.product[:, channel], features[:, channel] * mask)


def test_on_a_square_image_the_mask_is_the_mean_of_the_sigmoid_over_each_cell() -> None:
    logits = torch.randn(2, 32, 32)
    found = canvas((64, 64), (64, 64)).probability(logits)
    expected = logits.sigmoid().unfold(1, 4, 4).unfold(2, 4, 4).mean((-2, -1))
    torch.testing.assert_close(found, expected)


def test_a_square_image_is_not_resampled() -> None:
    maps = torch.randn(1, 3, 8, 8)
    assert canvas((64, 64)).stretch(maps) is maps


def test_of_an_oblong_image_the_padding_is_not_seen() -> None:
    maps = torch.arange(8.0)[None, None, :, None].expand(1, 1, 8, 8).clone()
    maps[..., 4:, :] = 1000.0  # what SAM sees below a wide image
    stretched = canvas((32, 64)).stretch(maps)
    # Rows 0 to 3, linearly over eight; the last half cell touches the padding.
    torch.testing.assert_close(stretched[0, 0, 1:7, 0], torch.tensor([0.25, 0.75, 1.25, 1.75, 2.25, 2.75]))
    mixed = canvas((32, 64), (64, 64)).stretch(maps.expand(2, -1, -1, -1))
    torch.testing.assert_close(mixed[0], stretched[0])
    torch.testing.assert_close(mixed[1, 0], maps[0, 0])


def test_going_on_with_some_images_keeps_their_own_stretching() -> None:
    maps = torch.rand(2, 1, 8, 8)
    both = canvas((32, 64), (64, 40))
    expected = both.stretch(maps)[1:]
    both.keep([1])
    torch.testing.assert_close(both.stretch(maps[1:]), expected)


def test_a_mask_on_the_canvas_is_the_share_that_is_covered() -> None:
    mask = np.zeros((40, 80), bool)
    mask[:10, :20] = True
    grid = map_to_canvas(mask, (8, 8))
    assert grid.shape == (8, 8)
    assert grid[:2, :2].eq(1).all()
    assert grid.sum() == 4
    assert map_to_canvas(np.ones((3, 5), np.float64), (8, 8)).eq(1).all()
