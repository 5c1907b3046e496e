"""The layouts of the public benchmarks, with a few drawn pictures each."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from adaptsam.datasets.pascal_voc import CLASSES

SIZE = (24, 32)


def drawn(seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A bright rectangle on noise, uint8 (H, W, 3), and its mask."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 80, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, bool)
    top, left = int(rng.integers(2, size[0] // 2)), int(rng.integers(2, size[1] // 2))
    mask[top : top + size[0] // 3, left : left + size[1] // 3] = True
    image[mask] += 150
    return image, mask


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def gray(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 255, 0).astype(np.uint8)


def write_perseg(folder: Path, objects: Sequence[str]) -> tuple[Path, dict[tuple[str, int], np.ndarray]]:
    truth = {}
    for place, name in enumerate(objects):
        for number in range(3):
            image, mask = drawn(10 * place + number)
            truth[name, number] = mask
            save(folder / "Images" / name / f"{number:02d}.jpg", image)
            save(folder / "Annotations" / name / f"{number:02d}.png", mask[..., None] * np.uint8([128, 0, 0]))
    return folder, truth


def write_fss_1000(folder: Path, classes: Sequence[str], split: Sequence[str]) -> Path:
    root = folder / "FSS-1000"
    for place, name in enumerate(classes):
        for number in range(1, 11):
            image, mask = drawn(100 * place + number)
            save(root / "data" / name / f"{number}.jpg", image)
            save(root / "data" / name / f"{number}.png", gray(mask))
    (root / "splits").mkdir(parents=True)
    (root / "splits" / "test.txt").write_text("".join(f"{name}\n" for name in split))
    return root


def write_coco_20i(folder: Path, fold: int) -> Path:
    root = folder / "COCO2014"
    listing = {}
    for number in range(80):
        names = [f"val2014/COCO_val2014_{number:06d}{copy:06d}.jpg" for copy in range(3)]
        listing[number] = names
        if number % 4 == fold:
            for copy, name in enumerate(names):
                image, mask = drawn(10 * number + copy)
                save(root / name, image)
                save(
                    root / "annotations" / Path(name).with_suffix(".png"),
                    np.where(mask, number + 1, 0).astype(np.uint8),
                )
    path = root / "splits" / "val" / f"fold{fold}.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps({number: listing[number] for number in range(fold, 80, 4)}))
    return root


def write_lvis_92i(folder: Path, classes: int) -> Path:
    from pycocotools import mask as coco

    root = folder / "LVIS"
    box = np.zeros(SIZE, np.uint8)
    box[4:12, 6:20] = 1
    listing: dict[int, dict[str, object]] = {}
    for number in range(1, classes + 1):
        polygon = [[6, 4, 20, 4, 20, 12, 6, 12]]
        runs = coco.encode(np.asfortranarray(box))
        images = {}
        for copy, outline in enumerate((polygon, dict(runs))):
            name = f"val2017/{number:06d}{copy:06d}.jpg"
            save(root / "coco" / name, drawn(10 * number + copy)[0])
            images[name] = {"annotations": [{"segmentation": outline}]}
        listing[number] = images
    (root / "lvis_val.pkl").write_bytes(pickle.dumps(listing))
    return root


BINARY = {
    "cuhk": [("BlurDatasetImage/image", "BlurDatasetGT/gt")] * 2,
    "sbu": [
        ("SBUTrain4KRecoveredSmall/ShadowImages", "SBUTrain4KRecoveredSmall/ShadowMasks"),
        ("SBU-Test/ShadowImages", "SBU-Test/ShadowMasks"),
    ],
    "msd": [("train/image", "train/mask"), ("test/image", "test/mask")],
    "duts": [("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"), ("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask")],
}


def write_binary_task(folder: Path, kind: str, train: int, test: int) -> Path:
    for part, (places, count) in enumerate(zip(BINARY[kind], (train, test), strict=True)):
        for number in range(count):
            image, mask = drawn(100 * part + number)
            name = f"{'out_of_focus' if kind == 'cuhk' else 'picture'}{part}{number:03d}"
            save(folder / places[0] / f"{name}.jpg", image)
            save(folder / places[1] / f"{name}.png", gray(mask))
    return folder


def write_voc(folder: Path) -> Path:
    """Two cars and a cat to validate, three cars to train; one listed picture is missing."""
    root = folder / "VOCdevkit" / "VOC2012"
    lists: dict[str, list[str]] = {"train": [], "val": ["2008_000999"]}
    shown = [("val", "car"), ("val", "car"), ("val", "cat"), ("train", "car"), ("train", "car"), ("train", "cat")]
    for number, (part, name) in enumerate(shown):
        image, mask = drawn(number)
        values = np.where(mask, CLASSES.index(name) + 1, 0).astype(np.uint8)
        rows, columns = np.nonzero(mask)
        values[rows.min() - 1, columns.min() : columns.max()] = 255
        stem = f"2008_{number:06d}"
        save(root / "JPEGImages" / f"{stem}.jpg", image)
        picture = Image.fromarray(values, "P")
        picture.putpalette([c for n in range(256) for c in (n, 255 - n, n // 2)])
        (root / "SegmentationClass").mkdir(exist_ok=True)
        picture.save(root / "SegmentationClass" / f"{stem}.png")
        lists[part].append(stem)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for part, names in lists.items():
        (root / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("\n".join(names) + "\n")
    return root
