"""A real scan carried to a rotated, shifted and resampled copy of itself, beside rigid registration alone.

    python Testing/tools/experiments/moved_copy.py --image CT_FOLDER --mask RTSTRUCT --output result

Registration undoes such a copy by construction; it is the bound to know, not a rival to beat here.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from adaptsam.image import Geometry, StructureSet, Volume, select_structures
from adaptsam.io import read_structures, read_volume, write_structures
from adaptsam.metrics.volume_metrics import compare_structures
from adaptsam.propagation.baselines import carry_rigidly, move_mask
from adaptsam.propagation.volume_propagation import propagate
from adaptsam.sam import load_sam

ANGLES = np.radians((3.0, -2.0, 5.0))
SHIFT = (12.0, -8.0, 10.0)
SPACING = (1.2, 1.2, 2.5)


def moved_copy(volume: Volume, structures: StructureSet) -> tuple[Volume, StructureSet]:
    """The scan and its contours after ANGLES about the middle and SHIFT, on a grid of SPACING."""
    geometry = volume.geometry
    middle = geometry.world((np.array(geometry.shape[::-1]) - 1) / 2)
    transform = sitk.Euler3DTransform(middle.tolist(), *ANGLES.tolist(), SHIFT)
    extent = np.array(geometry.shape[::-1]) * geometry.spacing
    size = np.round(extent / SPACING).astype(int)
    shape = (int(size[2]), int(size[1]), int(size[0]))
    target = Geometry(shape, SPACING, geometry.origin, geometry.direction)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    image = sitk.GetImageFromArray(volume.array.astype(np.float32))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    grid = sitk.Image(size.tolist(), sitk.sitkFloat32)
    grid.SetSpacing(SPACING)
    grid.SetOrigin(geometry.origin)
    grid.SetDirection(geometry.direction)
    array = sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, sitk.sitkLinear, float(volume.array.min())))
    moved = tuple(
        replace(s, mask=move_mask(s.mask, geometry, target, matrix), contoured=None) for s in structures.structures
    )
    return Volume(np.rint(array).astype(np.int16), target, volume.modality), StructureSet(moved, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--mask", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    prior = read_volume(args.image)
    structures = select_structures(read_structures(args.mask, prior))
    target, truth = moved_copy(prior, structures)
    [result] = propagate(prior, structures, [target], model=load_sam(args.checkpoint, "cpu"))
    rigid = carry_rigidly(prior, structures, target)
    for title, found in (("P2SAM", result.structures), ("rigid registration", rigid)):
        for name, agreement in compare_structures(found, truth).items():
            print(
                f"{title:20s} {name:14s} Dice {agreement.dice:.3f}  HD95 {agreement.hausdorff_95:6.1f} mm  "
                f"surface Dice at 2 mm {agreement.surface_dice:.3f}"
            )
    for warning in result.warnings:
        print("!", warning)
    if args.output:
        write_structures(args.output / "copy.seg.nrrd", result.structures, target)


if __name__ == "__main__":
    main()
