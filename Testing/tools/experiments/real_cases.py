"""Real cases of ``../shared/data`` as experiments read them: scans with tumours, slices of the Decathlon, archives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adaptsam.image.volume import Volume
from adaptsam.io import read_structures, read_volume

Mask = NDArray[np.bool_]
#: The papers' window for chests, in HU.
CHEST_WINDOW = (-910.0, 590.0)


@dataclass(frozen=True)
class Scan:
    """A volume: image and contours below the data folder (a zip file may hold both), structures' names; all if none."""

    name: str
    image: str
    contours: str
    structures: tuple[str, ...]


LUNG1 = {
    "LUNG1-001": ("ct-lung1-001/images", "ct-lung1-001/labels/rtstruct.dcm"),
    "LUNG1-003": ("ct-lung1-003/LUNG1-003.zip", "ct-lung1-003/LUNG1-003.zip"),
}
TUMOURS = (
    Scan("LUNG1-001", *LUNG1["LUNG1-001"], ("GTV-1",)),
    Scan("LUNG1-003", *LUNG1["LUNG1-003"], ("GTV-1", "GTV-2", "GTV-3")),
    *(
        Scan(f"NSCLC {number}", f"ct-nsclc-phantom-pat2-4/pat_{number}", f"ct-nsclc-phantom-pat2-4/pat_{number}", ())
        for number in (2, 3, 4)
    ),
    Scan("4D-Lung 113", *2 * ("ct-4dlung-113/4D-Lung_113_HM10395_p4_40pct.zip",), ("Tumor_c40",)),
)


@contextmanager
def opened(data: Path, scan: Scan) -> Iterator[tuple[Volume, Mask]]:
    """The volume and the union of its structures (of all that are there, if none is named)."""
    with unpacked(data / scan.image) as image, unpacked(data / scan.contours) as contours:
        volume = read_volume(image)
        structures = read_structures(contours, volume).structures
        masks = [one.mask for one in structures if one.name in scan.structures or not scan.structures]
        if not masks:
            raise SystemExit(f"{scan.name} has none of {scan.structures}, only {[one.name for one in structures]}.")
        yield volume, np.any(masks, axis=0)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder of a case, unpacked for a while where it lies in a zip file."""
    if path.suffix != ".zip":
        yield path
        return
    with TemporaryDirectory() as folder:
        unpack(path, Path(folder))
        yield Path(folder)


def unpack(archive: Path, folder: Path) -> None:
    """All files of an archive, in a folder."""
    with ZipFile(archive) as packed:
        packed.extractall(folder)


def spread(items: Sequence, count: int) -> list:
    """At most so many of them, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[int(row)] for row in np.linspace(0, len(items) - 1, count).round()]


def msd_slice(path: Path) -> tuple[NDArray[np.uint8], Mask]:
    """A slice of the Decathlon's lungs as it lies in other scans, spine below, in the window of the chest; its tumour.

    The files have the spine at the left: transposed alone, it would lie above.
    """
    gray = np.array(Image.open(path).convert("L")).T[::-1].astype(np.float32)
    mask = np.array(Image.open(path.parents[1] / "masks" / path.name).convert("L")).T[::-1] > 0
    return windowed(two_points(gray), CHEST_WINDOW), mask


def two_points(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Hounsfield units of 8-bit gray values of an unknown scale: the darkest are air, and the peak above is tissue."""
    counts = np.bincount(gray.astype(np.uint8).ravel(), minlength=256).astype(float)
    air, tissue = float(np.percentile(gray, 1)), float(40 + np.argmax(np.convolve(counts, np.ones(5), "same")[40:]))
    return (gray - air) / max(tissue - air, 1.0) * 1040 - 1000


def windowed(hounsfield: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Gray values of a window in HU."""
    low, high = window
    return np.rint(255 * np.clip((hounsfield - low) / (high - low), 0, 1)).astype(np.uint8)
