"""Pairs of visits whose truth is known, of the real scans of ``../shared/data``: tumours that change, organs that move.

Tumours are digital follow-ups (``adaptsam.synthetic.digital_followup``). Organs go through a warp of this file's own,
which knows nothing of how AdaptSAM makes follow-ups: set-up, smooth random displacement, another grid, bias and noise.
Whole scans are made coarser to about 2 mm and cut to the slices around what is carried, so that many fit into an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from real_cases import TUMOURS, Scan, unpacked
from scipy import ndimage

from adaptsam.evaluation.methods.evaluated_method import VolumePair
from adaptsam.image import Geometry, StructureSet, Volume, select_structures
from adaptsam.image.downsampling import block_means, coarse_blocks, coarse_geometry
from adaptsam.io import read_structures, read_volume
from adaptsam.synthetic.digital_followup import digital_followup, settings_for
from adaptsam.synthetic.thorax_phantom import phantom_visits

#: Pixels of whole scans are averaged to about this; those of scans that were cropped before stay.
PITCH_MM, WHOLE_PIXELS = 2.0, 300
#: Slices that are kept beyond a tumour.
AROUND_MM = 60.0
#: A follow-up of these draws from other seeds than any that AdaptSAM was made with.
SEED = 1900
#: Below this, most of what surrounds a tumour is lung.
IN_LUNG_HU = -300.0
CHANGES = ("small", "medium", "large")
SARCOMA = Scan("sarcoma", "ctmr-sts-001/images/CT", "ctmr-sts-001/labels/CT_rtstruct.dcm", ("GTV_Mass_CT",))
NODE = replace(TUMOURS[-1], structures=("LN_c40",))
ABDOMEN = Scan("abdomen", "abdct-totalseg/images/image.nii.gz", "abdct-totalseg/labels/labels.nii.gz", ())
ORGANS = {
    "label-1": "spleen",
    "label-2": "right kidney",
    "label-3": "left kidney",
    "label-4": "gallbladder",
    "label-5": "liver",
    "label-6": "stomach",
    "label-7": "pancreas",
    "label-19": "duodenum",
    "label-20": "colon",
    "label-21": "bladder",
    "label-29": "vertebra L3",
    "label-52": "aorta",
    "label-63": "vena cava",
    "label-79": "spinal cord",
    "label-88": "left iliopsoas",
    "label-89": "right iliopsoas",
}


@dataclass(frozen=True, eq=False)
class Known:
    """A pair of visits with its truth, on the target's grid; ``kind`` names what a table puts together."""

    kind: str
    name: str
    pair: VolumePair
    truth: StructureSet


def tumours(data: Path, changes: Sequence[str] = CHANGES) -> Iterator[Known]:
    """Every tumour alone, small lesions first, with every degree of change."""
    scans = [(scan, names) for scan in (*TUMOURS, NODE, SARCOMA) for names in (scan.structures or ("GTV-1",))]
    for number, (scan, name) in enumerate(sorted(scans, key=lambda one: not one[0].name.startswith("NSCLC"))):
        prior, drawn = _around(*_read(data, scan, [name]))
        for change in changes:
            settings = settings_for(change)
            later = digital_followup(prior, drawn, name, seed=SEED + number, settings=settings)
            pair = VolumePair(f"{scan.name} {name}", prior, drawn, later.volume)
            kind = f"tumour in {_host(later.volume, later.structures.structures[0].mask)}, {change}"
            yield Known(kind, f"{scan.name} {name}, {change}", pair, later.structures)


def _host(later: Volume, mask: np.ndarray) -> str:
    """What took the tumour's place: where it is soft tissue like the tumour itself, no image shows that it shrank."""
    distance = ndimage.distance_transform_edt(~mask, sampling=later.geometry.spacing[::-1])
    return "lung" if later.array[(distance > 2) & (distance < 8)].mean() < IN_LUNG_HU else "soft tissue"


def organs(data: Path, copies: int = 2) -> Iterator[Known]:
    """Sixteen organs of an abdomen together, each copy with a warp of its own."""
    prior, drawn = _read(data, ABDOMEN, list(ORGANS))
    drawn = replace(drawn, structures=tuple(replace(one, name=ORGANS[one.name]) for one in drawn.structures))
    for seed in range(SEED, SEED + copies):
        target, truth = warped(prior, drawn, seed)
        pair = VolumePair(f"abdomen {seed}", prior, drawn, target)
        yield Known("organ", f"abdomen, warp {seed}", pair, truth)


def hippocampi(data: Path, every: int = 6) -> Iterator[Known]:
    """Small MR volumes of the Decathlon, with both parts of the hippocampus, warped as organs are."""
    folder = data / "mr-hippocampus-msd"
    for number, path in enumerate(sorted((folder / "images").glob("*.nii.gz"))[::every]):
        volume = replace(read_volume(path), modality="MR")
        # To the range of CT, so that the warp's noise is what it is there.
        array = volume.array.astype(np.float32)
        volume = replace(volume, array=800 * array / np.percentile(array, 99))
        drawn = select_structures(read_structures(folder / "labels" / path.name, volume))
        target, truth = warped(volume, drawn, SEED + number, shift_mm=3.0, deviation_mm=1.5)
        yield Known("hippocampus", f"hippocampus {number}", VolumePair(path.name, volume, drawn, target), truth)


def phantoms(count: int = 6) -> Iterator[Known]:
    """Synthetic thorax patients at two visits, coarse; no training saw their seeds."""
    for seed in range(100_000 + SEED, 100_000 + SEED + count):
        first, second = phantom_visits(seed, 2, shape=(40, 112, 112), spacing=(3.9, 3.9, 7.2))
        drawn = select_structures(first.structures, ["GTV-1", "Heart", "Spinal-Cord"])
        yield Known(
            "phantom", f"phantom {seed}", VolumePair(f"{seed}", first.volume, drawn, second.volume), second.structures
        )


def warped(
    volume: Volume, structures: StructureSet, seed: int, shift_mm: float = 8.0, deviation_mm: float = 5.0
) -> tuple[Volume, StructureSet]:
    """An image and its contours after a shift, a turn of 2°, and a smooth random displacement."""
    draw = np.random.default_rng(seed)
    old = volume.geometry
    slices, rows, columns = (int(size / 1.1) for size in old.shape)
    grid = replace(old, shape=(slices, rows, columns), spacing=tuple(1.1 * side for side in old.spacing))
    place = np.indices(grid.shape).reshape(3, -1) * 1.1
    middle = (np.array(old.shape)[:, None] - 1) / 2
    turn = np.radians(2.0) * draw.choice([-1, 1])
    plane = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    shift = draw.normal(size=(3, 1))
    shift *= shift_mm / np.linalg.norm(shift) / np.array(old.spacing[::-1])[:, None]
    smooth = [_smooth(draw, grid, 40.0, deviation_mm) / side for side in old.spacing[::-1]]
    place = plane @ (place - middle) + middle + shift + np.reshape(smooth, (3, -1))

    def sampled(array: np.ndarray, outside: float) -> np.ndarray:
        values = ndimage.map_coordinates(array.astype(np.float32), place, order=1, cval=outside)
        return values.reshape(grid.shape)

    image = sampled(volume.array, float(volume.array.min()))
    image += _smooth(draw, grid, 60.0, 15.0) + draw.normal(0.0, 15.0, grid.shape)
    masks = tuple(replace(one, mask=sampled(one.mask, 0.0) > 0.5, contoured=None) for one in structures.structures)
    return Volume(image.astype(np.float32), grid, volume.modality), StructureSet(masks, grid)


def _smooth(draw: np.random.Generator, grid: Geometry, width_mm: float, deviation: float) -> np.ndarray:
    """A random field (K, J, I) that changes over ``width_mm``."""
    knots = [int(size * side / width_mm) + 4 for size, side in zip(grid.shape, grid.spacing[::-1], strict=True)]
    coarse = draw.normal(size=knots)
    k, j, i = (1 + np.arange(n) * side / width_mm for n, side in zip(grid.shape, grid.spacing[::-1], strict=True))
    field = ndimage.map_coordinates(coarse, np.meshgrid(k, j, i, indexing="ij"), order=3, mode="nearest")
    return deviation * field / field.std()


def _read(data: Path, scan: Scan, names: Sequence[str]) -> tuple[Volume, StructureSet]:
    with unpacked(data / scan.image) as image, unpacked(data / scan.contours) as contours:
        volume = replace(read_volume(image), modality="CT", dicom=None)
        return volume, select_structures(read_structures(contours, volume), names)


def _around(volume: Volume, structures: StructureSet) -> tuple[Volume, StructureSet]:
    """Both on a grid of :data:`PITCH_MM`, cut to the slices within :data:`AROUND_MM`."""
    grid = volume.geometry
    held = np.flatnonzero(np.any([one.mask.any(axis=(1, 2)) for one in structures.structures], axis=0))
    margin = int(AROUND_MM / grid.spacing[2])
    low, high = max(0, int(held[0]) - margin), min(grid.shape[0], int(held[-1]) + 1 + margin)
    cut = replace(grid, shape=(high - low, *grid.shape[1:]), origin=tuple(grid.world([0, 0, low]).tolist()))
    whole = min(grid.shape[1:]) > WHOLE_PIXELS
    blocks = (1, *coarse_blocks(grid, PITCH_MM)[1:]) if whole else (1, 1, 1)
    array = block_means(volume.array[low:high], blocks)
    coarse = coarse_geometry(cut, blocks, array.shape)
    masks = tuple(
        replace(one, mask=block_means(one.mask[low:high], blocks) >= 0.5, contoured=None)
        for one in structures.structures
    )
    return Volume(array, coarse, "CT"), StructureSet(masks, coarse)
