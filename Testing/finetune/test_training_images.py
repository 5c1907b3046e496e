"""What the bundled model is trained on: pairs of visits of phantoms and of random shapes; and the contrast between."""

import math

import pytest
import torch

from adaptsam.data.phantom.render import STRUCTURES
from adaptsam.finetune.contrast import visit_contrast
from adaptsam.finetune.mixture import TrainingPairs
from adaptsam.finetune.pairs import VisitPairs, patch_regions
from adaptsam.finetune.synthetic import SHAPES, draw_scenes


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
    first, again = (next(iter(TrainingPairs(3, 64, seed=5, phantoms=1.0))) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert first.images.shape == (3, 2, 3, 64, 64)
    assert first.masks.shape == (3, 2, len(STRUCTURES), 64, 64)
    assert first.masks[:, :, STRUCTURES.index("Body")].any()


def test_phantoms_and_scenes_come_mixed_in_the_share_asked_for() -> None:
    # Only phantoms have masks inside of one another.
    batches = [next(iter(TrainingPairs(4, 32, seed=seed, phantoms=0.5))) for seed in range(6)]
    nested = [bool(masks.sum(1).max() > 1) for batch in batches for masks in batch.masks]
    assert 5 < sum(nested) < 19


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
