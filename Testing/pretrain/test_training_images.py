"""What the bundled model is trained on: pairs of visits of phantoms and of random shapes; and the contrast between."""

import math

import numpy as np
import pytest
import torch

from adaptsam.errors import InputError
from adaptsam.pretrain import phantom_slices
from adaptsam.pretrain.contrastive_loss import visit_contrast
from adaptsam.pretrain.phantom_slices import draw_pairs
from adaptsam.synthetic.random_scenes import SHAPES, draw_scenes
from adaptsam.synthetic.random_scenes.image_artefacts import _blurred, _resampled
from adaptsam.synthetic.random_scenes.random_shapes import BLOB, coordinates, draw_shapes, fields
from adaptsam.synthetic.thorax_phantom.rendering import STRUCTURES
from adaptsam.synthetic.visit_pairs import VisitPairs, patch_regions


@pytest.fixture(scope="module")
def scenes() -> VisitPairs:
    return draw_scenes(torch.Generator().manual_seed(1), 6, 96)


def test_scenes_are_reproducible_and_hold_whole_gray_values(scenes: VisitPairs) -> None:
    again = draw_scenes(torch.Generator().manual_seed(1), 6, 96)
    assert torch.equal(scenes.images, again.images)
    assert torch.equal(scenes.masks, again.masks)
    assert scenes.images.shape == (6, 2, 3, 96, 96)
    assert scenes.masks.shape == (6, 2, SHAPES, 96, 96)
    assert scenes.images.min() >= 0
    assert scenes.images.max() <= 255
    assert torch.equal(scenes.images, scenes.images.round())


def test_what_is_visible_of_two_shapes_never_overlaps(scenes: VisitPairs) -> None:
    assert scenes.masks.sum(2).max() == 1


def test_the_second_visit_shows_the_same_structures_moved(scenes: VisitPairs) -> None:
    first, second = scenes.masks[:, 0], scenes.masks[:, 1]
    large = (first.sum((-2, -1)) > 200) & (second.sum((-2, -1)) > 200)
    same = (first & second).sum((-2, -1))[large]
    other = (first & second.roll(1, dims=1)).sum((-2, -1))[large]
    assert large.sum() > 10
    assert other.sum() < 0.3 * same.sum()
    assert not torch.equal(first, second)


def test_a_shape_looks_different_from_what_is_around_it() -> None:
    scenes = draw_scenes(torch.Generator().manual_seed(2), 20, 64)
    steps = []
    for image, masks in zip(scenes.images[:, 0].mean(1), scenes.masks[:, 0], strict=True):
        steps += [(image[m].mean() - image[~m].mean()).abs() for m in masks if 60 < m.sum() < 2000]
    assert torch.stack(steps).median() > 20


def test_phantom_pairs_are_reproducible_and_hold_what_their_masks_say() -> None:
    (gray, bits), (again, _) = (draw_pairs(np.random.default_rng(5), 3, 64) for _ in range(2))
    assert np.array_equal(gray, again)
    assert gray.shape == (3, 2, 64, 64)
    masks = np.unpackbits(bits, axis=-1).astype(bool)
    assert masks.shape == (3, 2, len(STRUCTURES), 64, 64)
    (gray, bits), body = draw_pairs(np.random.default_rng(3), 1, 64), STRUCTURES.index("Body")
    shown = np.unpackbits(bits, axis=-1).astype(bool)[0, 0, body]
    assert gray[0, 0][shown].mean() > gray[0, 0][~shown].mean() + 20


def test_some_scenes_show_a_structure_magnified_and_some_hardly_any_contrast() -> None:
    scenes = draw_scenes(torch.Generator().manual_seed(3), 60, 64)
    largest = scenes.masks[:, 0].float().mean((-2, -1))[:, 2:].amax(1)
    assert (largest > 0.3).sum() > 5
    spread = scenes.images[:, 0].flatten(1).std(1)
    assert (spread < 25).sum() > 5
    assert (spread > 60).sum() > 5


def test_mirrored_structures_are_on_both_sides() -> None:
    shapes = draw_shapes(torch.Generator().manual_seed(0), 40, 12, torch.device("cpu"))
    field = fields(shapes, coordinates(64, torch.device("cpu")).expand(40, -1, -1, -1))
    blobs = shapes.twin & (shapes.kind == BLOB) & (shapes.roughness == 0)
    assert blobs.sum() > 10
    assert torch.allclose(field[blobs], field[blobs].flip(-1), atol=1e-4)


def test_a_blurred_or_coarse_image_keeps_its_place_and_its_gray() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 20:40, 10:30] = 1.0
    for changed in (_resampled(image, torch.tensor([2.7])), _blurred(image, torch.tensor([1.5]))):
        y, x = (changed.mean((0, 1)) / changed.mean()).nonzero().float().T
        weight = changed[0, 0][y.long(), x.long()]
        assert abs((weight * x).sum() / weight.sum() - 19.5) < 0.3
        assert abs((weight * y).sum() / weight.sum() - 29.5) < 0.3
        assert changed.mean().item() == pytest.approx(image.mean().item(), rel=0.02)
        assert changed.max() < 1.3
    assert torch.equal(_resampled(image, torch.ones(1)), image)


def test_a_patch_belongs_to_the_smaller_of_structures_that_overlap() -> None:
    masks = torch.zeros(2, 2, 16, 16, dtype=torch.bool)
    masks[:, 0, :, :8] = True
    masks[:, 1, :8, :8] = True
    region, purity = patch_regions(masks, 2)
    assert region.tolist() == [[[1, 2], [0, 2]]] * 2
    assert purity.min() == 1


def test_features_that_tell_the_structures_apart_cost_nothing_and_equal_ones_what_guessing_costs() -> None:
    masks = torch.zeros(1, 2, 2, 16, 16, dtype=torch.bool)
    masks[:, 0, 0, :8, :8] = True
    masks[:, 1, 0, 8:, 8:] = True
    masks[:, :, 1, :8, 8:] = True
    region, _ = patch_regions(masks, 4)
    apart = torch.nn.functional.one_hot(region, 3).permute(0, 1, 4, 2, 3).float()
    assert visit_contrast(apart, masks) < 1e-4
    assert visit_contrast(torch.ones(1, 2, 8, 4, 4), masks).item() == pytest.approx(math.log(3), rel=1e-3)


def test_a_structure_that_only_one_visit_shows_is_left_out() -> None:
    masks = torch.zeros(1, 2, 1, 16, 16, dtype=torch.bool)
    masks[:, 0, 0, :8] = True
    features = torch.randn(1, 2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    assert visit_contrast(features, masks).isfinite()


def test_a_slice_that_cannot_be_is_refused_and_not_looked_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_slices, "_TRIES", 3)
    with pytest.raises(InputError, match="None of 3 whole slices shows as much of Spine"):
        phantom_slices.draw_without(0, ["Spine"], whole=True, size=32)
