"""The pool of real images: regions, crops, pairs and what is held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from adaptsam.errors import InputError
from adaptsam.pretrain.crops import Crop, draw_crop
from adaptsam.pretrain.drawn_pairs import DrawnPairs, drawn_phantoms, drawn_scenes
from adaptsam.pretrain.held_out import held_out
from adaptsam.pretrain.image_pool import ImagePool, write_pool
from adaptsam.pretrain.pooled_pairs import TARGETS, PooledPairs
from adaptsam.pretrain.regions import region_maps


def disc(side: int, x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[:side, :side]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def picture(bright: NDArray[np.bool_], seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, 4, bright.shape)
    return (np.where(bright, 180, 60) + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def pool(tmp_path: Path) -> ImagePool:
    def items():
        for k in range(6):
            mask = disc(96, 40 + k, 50, 14)
            yield picture(mask, k), mask[None].astype(np.uint8), "set", "patient", k

    assert write_pool(tmp_path / "pool", items()) == 6
    return ImagePool(tmp_path / "pool")


def test_a_bright_disc_is_among_the_regions_of_every_kind() -> None:
    truth = disc(96, 40, 50, 20)
    superpixels, components, filled = region_maps(picture(truth))[2:]
    for regions in (superpixels, components, filled):
        value = regions[50, 40]
        assert value > 0
        found = regions == value
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.9


def test_a_picture_of_one_value_has_no_regions() -> None:
    assert not region_maps(np.full((40, 40), 7, np.uint8)).any()


def test_a_pool_gives_back_what_was_written(pool: ImagePool) -> None:
    item = pool[3]
    mask = disc(96, 43, 50, 14)
    assert np.array_equal(item.image, picture(mask, 3))
    assert np.array_equal(item.labels[0] > 0, mask)
    assert (item.source, item.group, item.position, len(item.regions)) == ("set", "patient", 3, 5)


def test_a_folder_without_a_pool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pool of images"):
        ImagePool(tmp_path)


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_shows_its_centre_in_the_middle(angle: float, mirrored: bool) -> None:
    mask = disc(96, 30, 60, 5).astype(np.uint8)
    found = Crop((30.0, 60.0), 48.0, angle, mirrored).of(mask, 96, nearest=True)
    assert ndimage.center_of_mass(found) == pytest.approx((47.5, 47.5), abs=1)
    assert int(found.sum()) == pytest.approx(4 * int(mask.sum()), rel=0.1)


def test_a_mirrored_crop_exchanges_left_and_right() -> None:
    mask = disc(96, 20, 48, 4).astype(np.uint8)
    plain, mirrored = (Crop((47.5, 47.5), 96.0, 0.0, m).of(mask, 96, nearest=True) for m in (False, True))
    assert np.array_equal(plain[:, ::-1], mirrored)


def test_drawn_crops_show_their_target() -> None:
    rng, target = np.random.default_rng(5), disc(96, 70, 20, 6)
    shown = [draw_crop(rng, (96, 96), target).of(target.view(np.uint8), 64, nearest=True).any() for _ in range(200)]
    assert np.mean(shown) > 0.97


def test_masks_of_a_pair_lie_where_the_image_is_bright(pool: ImagePool) -> None:
    pairs = PooledPairs(pool, range(6), {}, 64)
    rng = np.random.default_rng(0)
    told_apart = []
    for _ in range(40):
        images, masks = pairs.draw(rng)
        assert images.shape == (2, 3, 64, 64)
        assert masks.shape == (2, TARGETS, 64, 64)
        gray = images[:, 0].astype(float)
        for visit in range(2):
            inside = masks[visit, 0]
            if 20 < inside.sum() < 3000 and gray[visit].std() > 5:
                told_apart.append(abs(gray[visit][inside].mean() - np.median(gray[visit])) / gray[visit].std())
    assert np.median(told_apart) > 0.5


def test_the_same_numbers_draw_the_same_pair(pool: ImagePool) -> None:
    pairs = PooledPairs(pool, range(6), {}, 64)
    first, again = (pairs.draw(np.random.default_rng([7, 3])) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_groups_are_held_out_whole_and_single_patients_never() -> None:
    kept = {group: held_out("msd-lung", group) for group in (f"Subject_{n:02d}" for n in range(61))}
    assert 2 <= sum(kept.values()) <= 10
    assert not held_out("4d-lung", "window -910")


def test_drawn_pairs_come_back_from_their_files_with_masks_where_they_were(tmp_path: Path) -> None:
    scenes = drawn_scenes(2, seed=3)
    scenes.write(tmp_path, "scene")
    mapped = DrawnPairs.mapped(tmp_path, "scene")
    assert np.array_equal(mapped.images, scenes.images)
    images, masks = mapped.draw(np.random.default_rng(1), 128)
    assert images.shape == (2, 3, 128, 128)
    assert masks.shape == (2, TARGETS, 128, 128)
    assert masks[0].any()


def test_drawn_phantoms_are_gray_with_structures_at_both_visits() -> None:
    images, masks = drawn_phantoms(1, seed=5).draw(np.random.default_rng(2), 256)
    assert images.shape == (2, 3, 256, 256)
    assert np.array_equal(images[:, 0], images[:, 2])
    assert masks[0].any()
    assert masks[1].any()
