"""The pictures that AlignSAM was published on, laid out as they are unpacked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptsam.datasets import open_dataset, recognise
from adaptsam.errors import InputError

FOLDERS = {
    "cuhk-blur": [("BlurDatasetImage/image", "BlurDatasetGT/gt", "train")],
    "sbu-shadow": [
        ("SBUTrain4KRecoveredSmall/ShadowImages", "SBUTrain4KRecoveredSmall/ShadowMasks", "train"),
        ("SBU-Test/ShadowImages", "SBU-Test/ShadowMasks", "test"),
    ],
    "msd-glass": [("MSD/train/image", "MSD/train/mask", "train"), ("MSD/test/image", "MSD/test/mask", "test")],
    "duts": [
        ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask", "train"),
        ("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask", "test"),
    ],
}


def write_picture(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write_pairs(images: Path, masks: Path, names: list[str]) -> None:
    mask = np.zeros((12, 16), np.uint8)
    mask[3:8, 4:9] = 255
    for name in names:
        write_picture(images / f"{name}.jpg", np.full((12, 16, 3), 90, np.uint8))
        write_picture(masks / f"{name}.png", mask)


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_benchmark_is_known_by_its_folders_and_gives_its_published_parts(kind: str, tmp_path: Path) -> None:
    for images, masks, part in FOLDERS[kind]:
        write_pairs(tmp_path / images, tmp_path / masks, [f"{part}-{n}" for n in range(3)])
    assert recognise(tmp_path) == kind
    for *_, part in FOLDERS[kind]:
        dataset = open_dataset(tmp_path, part=part)
        assert [sample.name for sample in dataset.samples] == [f"{part}-{n}" for n in range(3)]
        image, mask = dataset.samples[0].read()
        assert image.shape == (12, 16, 3)
        assert mask.sum() == 25


def test_what_a_benchmark_lacks_is_told(tmp_path: Path) -> None:
    write_pairs(tmp_path / "DUTS-TR/DUTS-TR-Image", tmp_path / "DUTS-TR/DUTS-TR-Mask", ["a"])
    with pytest.raises(InputError, match="no folders DUTS-TE/DUTS-TE-Image"):
        open_dataset(tmp_path, "duts", part="test")
    with pytest.raises(InputError, match="train and test, not 'val'"):
        open_dataset(tmp_path, "duts", part="val")
    write_pairs(tmp_path / "blur/BlurDatasetImage/image", tmp_path / "blur/BlurDatasetGT/gt", ["a"])
    with pytest.raises(InputError, match="no published test part"):
        open_dataset(tmp_path / "blur", part="test")


def write_voc(root: Path, masks: dict[str, np.ndarray], lists: dict[str, list[str]]) -> None:
    for name, values in masks.items():
        write_picture(root / "JPEGImages" / f"{name}.jpg", np.zeros((*values.shape, 3), np.uint8))
        palette = Image.fromarray(values, "P")
        palette.putpalette([value for shade in range(256) for value in (shade, 0, 255 - shade)])
        (root / "SegmentationClass").mkdir(exist_ok=True)
        palette.save(root / "SegmentationClass" / f"{name}.png")
    folder = root / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    for name, entries in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(entries) + "\n")


def test_a_class_of_pascal_voc_is_told_from_the_others_and_from_the_undecided_border(tmp_path: Path) -> None:
    both, cat = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    both[2:5, 2:5], both[6:8, 6:8], both[5, 2:5], cat[1:3, 1:3] = 12, 8, 255, 8
    root = tmp_path / "VOCdevkit" / "VOC2012"
    write_voc(root, {"a": both, "b": cat, "c": both}, {"train": ["a", "b", "gone"], "val": ["c"]})
    assert recognise(tmp_path) == "pascal-voc"
    dogs = open_dataset(tmp_path, structure="Dog")
    assert [sample.name for sample in dogs.samples] == ["a"]
    assert dogs.samples[0].read()[1].sum() == 9
    [case] = [case for case in dogs.cases if case.problems]
    assert case.problems == ("gone.jpg is missing; unpack it again.",)
    assert [sample.name for sample in open_dataset(tmp_path, structure="cat").samples] == ["a", "b"]
    assert [sample.name for sample in open_dataset(tmp_path, structure="dog", part="test").samples] == ["c"]
    with pytest.raises(InputError, match="no class 'lung'"):
        open_dataset(tmp_path, structure="lung")
