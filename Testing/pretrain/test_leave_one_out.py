"""Pools from which one kind of data is left out: the images that stay are the same, and read as before."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from adaptsam.pretrain.held_out import parted_pools
from adaptsam.pretrain.image_pool import ImagePool, write_pool

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools" / "experiments"))
from leave_one_out import REGIONS, SMALL, pools_without


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (40, 40), np.uint8)
    outlined = np.zeros((1, 40, 40), np.uint8)
    outlined[0, 10:30, 12:25] = 1
    sources = ("kvasir", "msd-lung", "nuclei")
    items = [(image + k, outlined, source, f"g{k}", 0) for k, source in enumerate(sources)]
    write_pool(tmp_path / "data/pool_a", [*items, (image, outlined[:0], "ms-visits", "g9", 0)])
    write_pool(tmp_path / "data/pool_b", [(image, outlined, "nuclei", f"n{k}", 0) for k in range(40)])
    return tmp_path / "data"


def sources(folder: Path) -> set[str]:
    return {entry.source for path in folder.glob("pool_*") for entry in ImagePool(path).entries}


def test_a_kind_is_left_out_whole_and_the_rest_reads_as_before(tmp_path: Path, data: Path) -> None:
    assert sources(pools_without(data, "polyps", tmp_path / "a")) == {"msd-lung", "nuclei", "ms-visits"}
    without_small = pools_without(data, SMALL, tmp_path / "b")
    assert sources(without_small) == {"kvasir", "msd-lung", "ms-visits"}
    assert not (without_small / "pool_b").exists()
    kept, before = ImagePool(without_small / "pool_a"), ImagePool(data / "pool_a")
    assert np.array_equal(kept[1].image, before[1].image)
    assert np.array_equal(kept[1].regions, before[1].regions)


def test_without_regions_only_outlined_structures_are_left(tmp_path: Path, data: Path) -> None:
    pool = ImagePool(pools_without(data, REGIONS, tmp_path / "a") / "pool_a")
    assert {entry.source for entry in pool.entries} == {"kvasir", "msd-lung", "nuclei"}
    assert len(pool[0].regions) == 0
    assert np.array_equal(pool[2].labels, ImagePool(data / "pool_a")[2].labels)


def test_what_is_trained_on_and_what_is_held_out_are_all_images_once(data: Path) -> None:
    training, held = parted_pools(data)
    for path, pool in ((str(path), ImagePool(path)) for path in data.glob("pool_*")):
        numbers = [n for some in (training, held) for name, kept in some if name == path for n in kept]
        assert sorted(numbers) == list(range(len(pool)))
    assert held
