"""Data sets of the bundled model's training: what may be used, at its size, with masks where their structures are."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scan_fixtures import SHARED

from adaptsam.pretrain import pool_sources
from adaptsam.pretrain.lung_labels import lung_labels
from adaptsam.pretrain.pool_sources import LONGEST

needs_data = pytest.mark.skipif(not (SHARED / "README.md").is_file(), reason=f"{SHARED} is not on this machine")


@needs_data
@pytest.mark.parametrize(
    ("name", "source", "few"),
    [
        ("kvasir", "kvasir", 3),
        ("lung_tumours", "msd-lung", 40),
        ("hippocampus", "msd-hippocampus", 6),
        ("small_volumes", "pyradiomics", 40),
        ("organ_slices", "sam-med2d", 3),
        ("ultrasound", "busi", 3),
        ("nuclei", "nuclei", 3),
        ("natural_videos", "davis", 3),
        ("brain_visits", "ms-visits", 3),
    ],
)
def test_real_images_come_with_maps_of_labels_on_their_own_grid(name: str, source: str, few: int) -> None:
    outlined = 0
    for image, labels, told, group, number in islice(getattr(pool_sources, name)(SHARED), few):
        assert image.dtype == labels.dtype == np.uint8
        assert max(image.shape[:2]) <= max(LONGEST, 512)
        assert labels.shape[1:] == image.shape[:2]
        assert told == source
        assert group
        assert number >= 0
        outlined += int(labels.any())
    assert outlined or name == "brain_visits"


@needs_data
def test_outlined_lung_tumours_are_denser_than_the_air_around_them() -> None:
    told_apart = []
    for gray, labels, *_ in islice(pool_sources.lung_tumours(SHARED), 60):
        tumours = [mask for mask in labels if not np.array_equal(mask, lung_labels(gray))]
        if tumours and tumours[0].sum() > 50:
            told_apart.append(gray[tumours[0] > 0].mean() - np.percentile(gray, 5))
    assert len(told_apart) > 10
    assert np.mean(np.array(told_apart) > 20) > 0.9  # a picture that is turned apart from its mask hits air


@needs_data
@pytest.mark.slow
def test_the_phase_of_4d_lung_comes_in_both_windows_with_what_is_outlined() -> None:
    slices = list(pool_sources.four_d_lung(SHARED))
    assert len(slices) == 198
    assert {group for *_, group, _ in slices} == {"window -910", "window -160"}
    assert sum(len(labels) > 0 for _, labels, *_ in slices) >= 2 * 28  # the tumour alone is on 28 of its 99 slices


@needs_data
def test_radiographs_that_may_not_be_released_are_left_out() -> None:
    assert sum(1 for _ in pool_sources.chest_radiographs(SHARED)) == 3


def test_only_rows_under_a_free_licence_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "cxr-lungs-heart"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
        for name in ("a", "b"):
            Image.new("L", (500, 400), 1).save(folder / part / f"{name}.png")
    (folder / "index.csv").write_text("file,licence\na,CC BY\nb,CC BY-NC-SA\n", encoding="utf-8")
    [(image, labels, _, group, _)] = pool_sources.chest_radiographs(tmp_path)
    assert group == "a"
    assert image.shape == labels.shape[1:] == (307, LONGEST)


def test_a_picture_is_brought_to_the_pools_size_with_the_masks_that_show_something(tmp_path: Path) -> None:
    pixels = np.zeros((768, 600, 3), np.uint8)
    pixels[100:300, 200:400, 0] = 250
    Image.fromarray(pixels).save(tmp_path / "7.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "mask.png")
    Image.new("L", (600, 768)).save(tmp_path / "empty.png")
    image, labels, source, group, number = pool_sources.picture(
        tmp_path / "7.png", [tmp_path / "mask.png", tmp_path / "empty.png"], "set", "g"
    )
    assert image.shape == (384, 300, 3)
    assert labels.shape == (1, 384, 300)
    assert np.array_equal(labels[0, 50:150, 100:200], np.ones((100, 100)))
    assert int(labels.sum()) == 100 * 100
    assert (source, group, number) == ("set", "g", 7)


def test_a_gray_picture_that_is_stored_as_colour_is_gray_again(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (9, 9, 9)).save(tmp_path / "g.png")
    assert pool_sources.picture(tmp_path / "g.png", [], "set", "g")[0].shape == (40, 50)


def test_slices_of_a_volume_have_their_labels_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    volume, labels = np.zeros((5, 20, 30), np.float32), np.zeros((5, 20, 30), np.uint8)
    volume[1:4, 5:15, 5:25], labels[2, 5:15, 5:12], labels[2, 5:15, 12:20] = 300, 1, 2
    for array, name in ((volume, "v.nii.gz"), (labels, "l.nii.gz")):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / name))
    found = list(pool_sources.slices(tmp_path / "v.nii.gz", tmp_path / "l.nii.gz", "set"))
    assert [number for *_, number in found] == [1, 2, 3]
    assert [len(maps) for _, maps, *_ in found] == [0, 1, 0]
    assert np.unique(found[1][1]).tolist() == [0, 1, 2]


@needs_data
def test_the_decathlons_slices_lie_as_other_scans_do() -> None:
    """Bone lies below the middle of a supine patient's chest: the spine and the backs of the ribs."""
    slices = [gray for gray, *_ in islice(pool_sources.lung_tumours(SHARED), 40)]
    below = [np.nonzero(gray > np.quantile(gray, 0.995))[0].mean() > gray.shape[0] / 2 for gray in slices]
    assert np.mean(below) > 0.9
