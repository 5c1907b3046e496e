"""Real pairs with truth on both sides, as the list that ``adaptsam evaluate own`` takes.

    python Testing/tools/experiments/real_pairs.py --hearts mr-acdc-ed-es --brain mr-ms-longitudinal-01 \\
                                             --observers interobs5_CT --output pairs
    adaptsam evaluate own --data pairs/cases.json --methods p2sam,copied,rigid,registration,observer --output result

Hearts (ACDC): end-diastole is the prior of end-systole, both contoured; pixels of 1.5 mm and slices of 8 mm are
assumed, since the files do not tell. Brain (Lesjak et al. 2016): one patient at two visits on grids of their own; the
brain mask of the common space is the structure on both, through the published transforms. Observers: five people's
contours of one tumour on one CT. Each one's contour is carried to a turned, shifted and resampled copy of the scan; its
truth there are all five, so that ``observer`` is how far they are apart, and a method may add nothing to that.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from adaptsam.image import Geometry, Structure, StructureSet, Volume
from adaptsam.io import read_structures, read_volume, write_structures, write_volume
from adaptsam.io.dicom.rtstruct_reader import roi_names

sys.path.insert(0, str(Path(__file__).parent))
from moved_copy import moved_copy

HEART = {1: "RV", 2: "Myocardium", 3: "LV"}
SPACING = (1.5, 1.5, 8.0)


def hearts(folder: Path, output: Path) -> list[dict[str, Any]]:
    """One case a patient; the first time is the prior."""
    import h5py

    times: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("patient*_frame*.h5")):
        times.setdefault(path.name.partition("_")[0], []).append(path)
    cases = []
    for name, paths in times.items():
        made = []
        for number, path in enumerate(paths):
            with h5py.File(path) as file:
                image, labels = np.array(file["image"], np.float32), np.array(file["label"])
            grid = Geometry(image.shape, SPACING, (0.0, 0.0, 0.0))
            volume = Volume(1000 * image, grid, "MR")
            there = {title: labels == value for value, title in HEART.items()}
            masks = tuple(Structure(title, mask) for title, mask in there.items() if mask.any())
            made.append(_written(output / f"{name}-{number}", volume, StructureSet(masks, grid)))
        cases.append(_case(name, made[0], made[1][0], [made[1][1]], list(HEART.values())))
    return cases


def brain(folder: Path, output: Path) -> list[dict[str, Any]]:
    """Two visits; the mask is sampled on each visit's grid where the published transform puts it."""
    common = sitk.ReadImage(str(folder / "brainmask.nii.gz"))
    made = []
    for visit in (1, 2):
        path = folder / f"study{visit}_FLAIR.nii.gz"
        volume = replace(read_volume(path), modality="MR")
        transform = sitk.ReadTransform(str(folder / f"study{visit}_FLAIR_to_common_space.txt"))
        # From common to raw points; sampling the mask on the raw grid needs the way back.
        grid = sitk.ReadImage(str(path))
        mask = sitk.GetArrayFromImage(sitk.Resample(common, grid, transform.GetInverse(), sitk.sitkNearestNeighbor)) > 0
        drawn = StructureSet((Structure("Brain", mask),), volume.geometry)
        made.append(_written(output / f"brain-{visit}", volume, drawn))
    return [_case("brain", made[0], made[1][0], [made[1][1]], ["Brain"])]


def observers(folder: Path, output: Path) -> list[dict[str, Any]]:
    """One case an observer, whose contour is carried; all five are truths on the copy."""
    volume = read_volume(folder / "img")
    file = folder / "RTSTRUCT.dcm"
    # Named, so that "Patient", which reaches beyond the slices that are there, is not read.
    chosen = read_structures(file, volume, [name for name in roi_names(file) if name.startswith("GTV-1vis")])
    copy, truth = moved_copy(volume, chosen)
    target = output / "tumour-copy.nrrd"
    write_volume(target, copy, overwrite=True)
    truths = []
    for number, one in enumerate(truth.structures):
        path = output / f"tumour-copy-{number + 1}.seg.nrrd"
        alone = StructureSet((replace(one, name="GTV-1"),), copy.geometry)
        write_structures(path, alone, copy, overwrite=True)
        truths.append(path)
    cases = []
    for number, one in enumerate(chosen.structures):
        alone = StructureSet((replace(one, name="GTV-1"),), volume.geometry)
        prior = _written(output / f"tumour-{number + 1}", volume, alone)
        cases.append(_case(f"observer-{number + 1}", prior, target, [truths[number]], ["GTV-1"]))
    return [*cases, _case("observers-apart", prior, target, truths, ["GTV-1"])]


def _written(stem: Path, volume: Volume, structures: StructureSet) -> tuple[Path, Path]:
    image, mask = stem.with_suffix(".nrrd"), stem.with_suffix(".seg.nrrd")
    write_volume(image, volume, overwrite=True)
    write_structures(mask, structures, volume, overwrite=True)
    return image, mask


def _case(
    name: str, prior: tuple[Path, Path], target: Path, truths: list[Path], structures: list[str]
) -> dict[str, Any]:
    masks = [path.name for path in truths]
    return {
        "name": name,
        "prior_image": prior[0].name,
        "prior_mask": prior[1].name,
        "target_image": target.name,
        "target_mask": masks[0] if len(masks) == 1 else masks,
        "structures": structures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("hearts", "brain", "observers"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    cases = []
    for make, folder in ((hearts, args.hearts), (brain, args.brain), (observers, args.observers)):
        if folder is not None:
            cases += make(folder, args.output)
    (args.output / "cases.json").write_text(json.dumps(cases, indent=1))
    print(f"{len(cases)} cases in {args.output / 'cases.json'}")


if __name__ == "__main__":
    main()
