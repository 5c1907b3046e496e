"""The open data that may train a released model, as images with masks; every one by its folder of `../shared/data`.

Only sets whose licence allows it: CC0, CC BY, CC BY-SA, BSD and Apache. What each is, and what it requires, stands in
the model's card.
"""

from __future__ import annotations

import csv
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image

from adaptsam.image.orientation import canonical_orientation
from adaptsam.io import read_structures, read_volume
from adaptsam.pretrain.lung_labels import lung_labels
from adaptsam.pretrain.regions import kept_regions

Item = tuple[NDArray[np.uint8], NDArray[np.uint8], str, str, int]
#: Longest side of a picture in the pool, in pixels.
LONGEST = 384
#: Windows in HU that a CT is kept under: the papers', soft tissue, and a wide one.
CT_WINDOWS = ((-910.0, 590.0), (-160.0, 240.0))
_FREE = ("CC BY", "CC BY-SA")


def all_sources(data: Path) -> Iterator[Item]:
    """All sources in a folder laid out like ``../shared/data``."""
    for source in (kvasir, lung_tumours, four_d_lung, hippocampus, small_volumes, organ_slices, ultrasound, nuclei):
        yield from source(data)
    for source in (natural_videos, chest_radiographs, brain_visits):
        yield from source(data)


def kvasir(data: Path) -> Iterator[Item]:
    """Colonoscopy frames with polyps: the segmented images of HyperKvasir, CC BY 4.0 (Borgli et al., 2020)."""
    for path in sorted((data / "endo-kvasir-seg/images").glob("*.jpg")):
        mask = next((data / "endo-kvasir-seg/masks").glob(f"{path.stem}.*"))
        yield picture(path, [mask], "kvasir", path.stem)


def lung_tumours(data: Path) -> Iterator[Item]:
    """CT slices with lung tumours of the Medical Segmentation Decathlon, CC BY-SA 4.0 (Antonelli et al., 2022)."""
    for subject in sorted((data / "ct-lungtumour-msd").glob("Subject_*")):
        for path in sorted((subject / "images").glob("*.png")):
            # The files have the spine at the left: transposed alone, it would lie above.
            gray = np.array(Image.open(path).convert("L")).T[::-1]
            mask = np.array(Image.open(subject / "masks" / path.name).convert("L")).T[::-1] > 0
            labels = _with_lungs([mask.astype(np.uint8)] if mask.any() else [], gray)
            yield gray, labels, "msd-lung", subject.name, int(path.stem)


def four_d_lung(data: Path) -> Iterator[Item]:
    """A phase of a 4D CT with tumour and lymph nodes: 4D-Lung, CC BY 3.0 (Hugo et al., 2016)."""
    [archive] = (data / "ct-4dlung-113").glob("*.zip")
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(archive).extractall(folder)
        files = sorted(Path(folder).rglob("*.dcm"))
        [contours] = [f for f in files if pydicom.dcmread(f, stop_before_pixels=True).Modality == "RTSTRUCT"]
        volume = read_volume(next(f for f in files if f != contours).parent)
        structures = read_structures(contours, volume)
    orientation = canonical_orientation(volume.geometry, plane=2)
    array = orientation.apply(volume.array)
    masks = np.stack([orientation.apply(structure.mask) for structure in structures.structures])
    for low, high in CT_WINDOWS:
        gray = (255 * ((array - low) / (high - low)).clip(0, 1)).round().astype(np.uint8)
        for k, plane in enumerate(gray):
            labels = [mask[k].astype(np.uint8) for mask in masks if mask[k].any()]
            yield plane, _with_lungs(labels, plane), "4d-lung", f"window {low:.0f}", k


def hippocampus(data: Path) -> Iterator[Item]:
    """Brain MR with both parts of the hippocampus: Medical Segmentation Decathlon, CC BY-SA 4.0."""
    for path in sorted((data / "mr-hippocampus-msd/images").glob("*.nii.gz")):
        labels = data / "mr-hippocampus-msd/labels" / path.name
        yield from slices(path, labels, "msd-hippocampus", every=3)


def small_volumes(data: Path) -> Iterator[Item]:
    """MR of two brain tumours and a breast lesion: test cases of pyradiomics, BSD 3-clause (van Griethuysen, 2017)."""
    for path in sorted((data / "mix-pyradiomics").glob("*_image.nrrd")):
        labels = path.with_name(path.name.replace("_image", "_label"))
        yield from slices(path, labels, "pyradiomics", every=2)


def organ_slices(data: Path) -> Iterator[Item]:
    """Slices of AMOS and TotalSegmentator with organs, CC BY 4.0, from the demonstration of SAM-Med2D (Apache-2.0)."""
    folder = data / "mix-sammed2d-demo"
    for path in sorted((folder / "images").glob("*.png")):
        yield picture(path, sorted((folder / "masks").glob(f"{path.stem}_*.png")), "sam-med2d", path.stem)


def ultrasound(data: Path) -> Iterator[Item]:
    """Breast ultrasound with lesions: BUSI, CC0 (Al-Dhabyani et al., 2020)."""
    for path in sorted((data / "us-busi/images").glob("*.png")):
        yield picture(path, [data / "us-busi/masks" / path.name], "busi", path.stem)


def nuclei(data: Path) -> Iterator[Item]:
    """Microscopy with nuclei, each outlined: BBBC038v1, CC0 (Caicedo et al., 2019)."""
    for path in sorted((data / "micro-nuclei-dsb2018/images").glob("*.png")):
        instances = np.array(Image.open(data / "micro-nuclei-dsb2018/labels" / path.name)).astype(np.int32)
        image = _fitting(Image.open(path).convert("RGB"))
        resized = np.array(
            Image.fromarray(instances).resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST)
        )
        yield image, kept_regions(resized)[None], "nuclei", path.stem, 0


def natural_videos(data: Path) -> Iterator[Item]:
    """Frames of videos with one object: DAVIS 2016, BSD (Perazzi et al., 2016)."""
    for path in sorted((data / "natural-davis").rglob("*.jpg")):
        sequence = path.relative_to(data / "natural-davis").parts[0]
        masks = [p for p in (data / "natural-davis" / sequence).rglob(f"{path.stem}.png") if "images" not in p.parts]
        yield picture(path, masks[:1], "davis", sequence)


def chest_radiographs(data: Path) -> Iterator[Item]:
    """Chest radiographs with lungs and mediastinum, those under CC BY or CC BY-SA alone."""
    folder = data / "cxr-lungs-heart"
    with (folder / "index.csv").open(encoding="utf-8") as table:
        free = {row["file"] for row in csv.DictReader(table) if row["licence"] in _FREE}
    for path in sorted(p for p in (folder / "images").iterdir() if p.stem in free):
        image = _fitting(Image.open(path).convert("L"))
        labels = Image.open(next((folder / "labels").glob(f"{path.stem}.*"))).convert("L")
        resized = np.array(labels.resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST))
        yield image, resized[None], "radiograph", path.stem, 0


def brain_visits(data: Path) -> Iterator[Item]:
    """Brain FLAIR of a patient at two visits, CC BY (Lesjak et al., 2016); nothing is outlined on single visits."""
    for path in sorted((data / "mr-ms-longitudinal-01").glob("study*_FLAIR.nii.gz")):
        yield from slices(path, None, "ms-visits")


def slices(path: Path, labels: Path | None, source: str, every: int = 1) -> Iterator[Item]:
    """Axial slices of a volume, all that are labelled and every other one of the rest."""
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32)
    low, high = np.percentile(array, (0.5, 99.5))
    gray = (255 * ((array - low) / max(high - low, 1e-6)).clip(0, 1)).astype(np.uint8)
    marked = np.zeros(gray.shape, np.uint8)
    if labels is not None:
        marked = sitk.GetArrayFromImage(sitk.ReadImage(str(labels))).astype(np.uint8)
    for k in range(0, len(gray), every):
        found = [marked[k]] if marked[k].any() else []
        if gray[k].std() > 1:
            yield gray[k], _stacked(found, gray[k]), source, path.name.split(".")[0], k


def picture(path: Path, masks: list[Path], source: str, group: str) -> Item:
    """A picture and a mask from each file, brought to the pool's size."""
    image = _fitting(Image.open(path))
    size = (image.shape[1], image.shape[0])
    maps = [np.array(Image.open(mask).convert("L").resize(size, Image.Resampling.NEAREST)) > 127 for mask in masks]
    return image, _stacked([m.astype(np.uint8) for m in maps if m.any()], image), source, group, _number(path.stem)


def _fitting(image: Image.Image) -> NDArray[np.uint8]:
    """Gray or RGB pixels, the longest side at most :data:`LONGEST`."""
    image = image.convert("L" if image.mode in ("L", "1", "I;16") else "RGB")
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.BICUBIC)
    pixels = np.array(image)
    same = pixels.ndim == 3 and (pixels == pixels[..., :1]).all()
    return np.ascontiguousarray(pixels[..., 0] if same else pixels)


def _stacked(labels: list[NDArray[np.uint8]], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack(labels) if labels else np.zeros((0, *image.shape[:2]), np.uint8)


def _with_lungs(labels: list[NDArray[np.uint8]], gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    lungs = lung_labels(gray)
    return _stacked([*labels, lungs] if lungs.any() else labels, gray)


def _number(stem: str) -> int:
    return int(stem) if stem.isdigit() else 0
