"""A pool of real images with masks on disk, read by any number of processes without a copy in each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adaptsam.errors import InputError
from adaptsam.pretrain.regions import region_maps

INDEX, _DATA = "pool.json", "pool.u8"


@dataclass(frozen=True, eq=False)
class PooledImage:
    """An image and its masks.

    Attributes:
        image: uint8 (H, W) or (H, W, 3).
        labels: uint8 (M, H, W), outlined structures, numbered in each map; 0 for none. M may be 0.
        regions: uint8 (5, H, W), of :func:`~.regions.region_maps`.
        source: the data set.
        group: the patient, sequence or frame that it is from; a split keeps groups together.
        position: its place in the group, such as the number of a slice.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    source: str
    group: str
    position: int = 0


@dataclass(frozen=True)
class _Entry:
    start: int
    height: int
    width: int
    channels: int
    labels: int
    regions: int
    source: str
    group: str
    position: int


class ImagePool:
    """The images of a folder that :func:`write_pool` made."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        if not (folder / INDEX).is_file():
            raise InputError(f"There is no pool of images in {folder}; make one with write_pool.")
        self.entries = [_Entry(**entry) for entry in json.loads((folder / INDEX).read_text(encoding="utf-8"))]
        self._data = np.memmap(folder / _DATA, np.uint8, "r")

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> PooledImage:
        entry = self.entries[number]
        plane, start = entry.height * entry.width, entry.start
        parts = []
        for count in (entry.channels, entry.labels, entry.regions):
            parts.append(self._data[start : start + count * plane].reshape(count, entry.height, entry.width))
            start += count * plane
        image = parts[0][0] if entry.channels == 1 else np.ascontiguousarray(parts[0].transpose(1, 2, 0))
        return PooledImage(image, parts[1], parts[2], entry.source, entry.group, entry.position)


def write_pool(folder: str | Path, images: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8], str, str, int]]) -> int:
    """Write images with their regions to a folder; how many there were.

    Args:
        folder: is made.
        images: for each the picture, the maps of outlined structures (M, H, W), data set, group and position.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    entries, start = [], 0
    with (folder / _DATA).open("wb") as data:
        for image, labels, source, group, position in images:
            regions = region_maps(image)
            planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
            height, width = image.shape[:2]
            counts = len(planes), len(labels), len(regions)
            entries.append(_Entry(start, height, width, *counts, source, group, position))
            for part in (planes, labels, regions):
                data.write(np.ascontiguousarray(part, np.uint8).tobytes())
                start += part.size
    (folder / INDEX).write_text(json.dumps([asdict(entry) for entry in entries]), encoding="utf-8")
    return len(entries)
