"""The table of clicks and boxes on real scans that no bundled model was trained on.

    python Testing/tools/experiments/real_scan_scores.py --checkpoint old.safetensors --checkpoint new.safetensors
    python Testing/tools/experiments/real_scan_scores.py --goals --json scores.json

Reads the sets of ``../shared/data`` that are for evaluation alone. Each structure of each case is asked for on up to
``--slices`` of its slices: with the box of the truth, and with one to five clicks where the mask is wrong.
Beside every model stand the ellipse that fills the box, and region growing from the first click with the best of six
tolerances. Prints a table in Markdown; ``--json FILE`` keeps every slice. With ``--goals`` the model sees both whole
slices and squares of three times the structure's longer side, and the goals of :mod:`scan_goals` stand beside.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from scan_goals import MAGNIFIED, WHOLE, goal_table

from adaptsam.image import StructureSet, Volume
from adaptsam.image.cropping import square_view
from adaptsam.image.orientation import canonical_orientation
from adaptsam.image.windowing import choose_window
from adaptsam.io import read_structures, read_volume
from adaptsam.metrics.simulated_clicks import box_around, boxed, clicked, ellipse, grown
from adaptsam.sam import SamModel, load_sam

_FEWEST_PIXELS = 20
_ABDOMEN = (
    "liver",
    "spleen",
    "kidney_left",
    "kidney_right",
    "stomach",
    "aorta",
    "gallbladder",
    "pancreas",
    "spinal_cord",
)
_SEGTHOR = {1: "oesophagus", 2: "heart", 3: "trachea", 4: "aorta"}
_ACDC = {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}

#: A case, a structure, a slice as the model sees it, uint8 (H, W) or (H, W, 3), the truth (H, W), and gray to grow in.
Slice = tuple[str, str, NDArray[np.uint8], NDArray[np.bool_], NDArray[np.generic]]


def all_slices(data: Path, count: int, only: str) -> Iterator[Slice]:
    """The slices of every case whose name begins with ``only``."""
    lung1, sarcoma = data / "ct-lung1-001", data / "ctmr-sts-001"
    sources: dict[str, Callable[[], Iterator[Slice]]] = {
        "LUNG1-001": lambda: volume_slices(lung1 / "images", _only(lung1 / "labels"), "LUNG1-001", count),
        "LUNG1-003": lambda: zipped_slices(data / "ct-lung1-003/LUNG1-003.zip", "LUNG1-003", count),
        "abdomen": lambda: abdomen(data / "abdct-totalseg", count),
        "SegTHOR": lambda: segthor(data / "ct-segthor", count),
        "pat": lambda: small_tumours(data / "ct-nsclc-phantom-pat2-4", count),
        "STS-001": lambda: sarcomas(sarcoma, count),
        "ACDC": lambda: acdc(data / "mr-acdc-ed-es", count),
        "CVC": lambda: colonoscopy(data / "endo-cvc-clinicdb", max(1, count // 2)),
    }
    for name, source in sources.items():
        if name.startswith(only):
            yield from source()


def small_tumours(folder: Path, count: int) -> Iterator[Slice]:
    for patient in ("pat_2", "pat_3", "pat_4"):
        yield from mixed_slices(folder / patient, patient, count)


def sarcomas(folder: Path, count: int) -> Iterator[Slice]:
    for kind in ("CT", "MR_T1"):
        labels = next(p for p in (folder / "labels").rglob("*.dcm") if kind in str(p))
        yield from volume_slices(folder / "images" / kind, labels, f"STS-001 {kind}", count)


def _only(folder: Path) -> Path:
    return next(path for path in sorted(folder.rglob("*.dcm")))


def volume_slices(images: Path, labels: Path, case: str, count: int) -> Iterator[Slice]:
    volume = read_volume(images)
    yield from structure_slices(volume, read_structures(labels, volume), case, count)


def zipped_slices(archive: Path, case: str, count: int) -> Iterator[Slice]:
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(archive).extractall(folder)
        yield from mixed_slices(next(p.parent for p in Path(folder).rglob("*.dcm")), case, count)


def mixed_slices(folder: Path, case: str, count: int) -> Iterator[Slice]:
    """A folder with a CT and its RTSTRUCT side by side."""
    kinds = {path: pydicom.dcmread(path, stop_before_pixels=True).Modality for path in folder.rglob("*.dcm")}
    contours = next(path for path, kind in kinds.items() if kind == "RTSTRUCT")
    with tempfile.TemporaryDirectory() as images:
        for path, kind in kinds.items():
            if kind == "CT":
                (Path(images) / path.name).symlink_to(path.resolve())
        yield from volume_slices(Path(images), contours, case, count)


def structure_slices(volume: Volume, structures: StructureSet, case: str, count: int) -> Iterator[Slice]:
    orientation = canonical_orientation(volume.geometry, plane=2)
    image = orientation.apply(volume.array)
    for structure in structures.structures:
        window = choose_window(volume, "auto", structure.name)
        mask = orientation.apply(structure.mask)
        for k in spread(mask, count):
            yield case, structure.name, window.rgb(image[k]), np.ascontiguousarray(mask[k]), image[k]


def spread(mask: NDArray[np.bool_], count: int) -> list[int]:
    usable = np.flatnonzero(mask.sum((1, 2)) >= _FEWEST_PIXELS)
    if not len(usable):
        return []
    return np.unique(usable[np.linspace(0, len(usable) - 1, count).round().astype(int)]).tolist()


def abdomen(folder: Path, count: int) -> Iterator[Slice]:
    volume = read_volume(folder / "images/image.nii.gz")
    names = {f"label-{value}": name for value, name in json.loads((folder / "labels/labels.json").read_text()).items()}
    found = read_structures(folder / "labels/labels.nii.gz", volume)
    named = [replace(s, name=names.get(s.name, s.name)) for s in found.structures]
    chosen = StructureSet(tuple(s for s in named if s.name in _ABDOMEN), found.geometry)
    yield from structure_slices(volume, chosen, "abdomen", count)


def segthor(folder: Path, count: int) -> Iterator[Slice]:
    for patient in sorted(folder.glob("Patient_*")):
        files = sorted((patient / "images").glob("*.png"))
        labels = next(p for p in patient.iterdir() if p.is_dir() and p.name != "images")
        image = np.stack([np.array(Image.open(path).convert("L")).T for path in files])
        marked = np.stack([np.array(Image.open(labels / path.name)).T for path in files])
        for value, name in _SEGTHOR.items():
            for k in spread(marked == value, count):
                yield f"SegTHOR {patient.name}", name, np.ascontiguousarray(image[k]), marked[k] == value, image[k]


def acdc(folder: Path, count: int) -> Iterator[Slice]:
    import h5py

    for path in sorted(folder.glob("*_frame01.h5")):
        with h5py.File(path) as file:
            image, marked = np.array(file["image"]), np.array(file["label"])
        gray = (255 * (image / max(np.percentile(image, 99.5), 1e-6)).clip(0, 1)).astype(np.uint8)
        for value, name in _ACDC.items():
            for k in spread(marked == value, count):
                yield f"ACDC {path.name[:10]}", name, gray[k], marked[k] == value, gray[k]


def colonoscopy(folder: Path, count: int) -> Iterator[Slice]:
    for sequence in sorted(folder.glob("seq*")):
        files = sorted((sequence / "images").iterdir())
        for place in np.unique(np.linspace(0, len(files) - 1, count + 2).round().astype(int))[1:-1]:
            picture = np.array(Image.open(files[place]).convert("RGB"))
            labels = next(p for p in sequence.iterdir() if p.is_dir() and p.name != "images")
            truth = np.array(Image.open(next(labels.glob(f"{files[place].stem}.*"))).convert("L")) > 0
            if truth.sum() >= _FEWEST_PIXELS:
                yield f"CVC {sequence.name}", "polyp", picture, truth, picture.mean(2)


def scores(
    model: SamModel, image: NDArray[np.uint8], truth: NDArray[np.bool_], times: float | None
) -> dict[str, float]:
    """Box and clicks on a slice, or on a square of it ``times`` the structure's longer side."""
    if times is not None:
        left, top, right, bottom = box_around(truth)
        side = times * (max(right - left, bottom - top) + 1)
        view = square_view(((left + right) / 2, (top + bottom) / 2), side, (1.0, 1.0), model.image_size)
        image, truth = view.image(image), view.mask(truth)
    [embedding] = model.embed([np.ascontiguousarray(image)])
    clicks = clicked(model, embedding, truth)
    return {"box": boxed(model, embedding, truth), **{f"{n} clicks": value for n, value in clicks.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--checkpoint", type=Path, action="append", help="repeat it; default: the bundled model")
    parser.add_argument("--slices", type=int, default=6)
    parser.add_argument("--view", type=float, metavar="TIMES", help="side of what the model sees; default: all")
    parser.add_argument("--only", default="", metavar="CASE", help="cases whose names begin so, such as CVC or LUNG1")
    parser.add_argument("--goals", action="store_true", help="both views, beside the goals")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    models = {path.stem if path else "bundled": load_sam(path, "cpu") for path in args.checkpoint or [None]}
    views = {f", {WHOLE}:": None, f", {MAGNIFIED}:": 3.0} if args.goals else {"": args.view}
    rows: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for case, structure, image, truth, gray in all_slices(args.data, args.slices, args.only):
        row = {"ellipse": ellipse(truth), "growing": grown(gray, truth)}
        for (name, model), (view, times) in product(models.items(), views.items()):
            row |= {f"{name}{view} {key}": value for key, value in scores(model, image, truth, times).items()}
        rows[case.split(" ")[0] if case.startswith(("SegTHOR", "ACDC", "CVC")) else case, structure].append(row)
    if args.goals:
        for name in models:
            print(*goal_table(rows, name), sep="\n", end="\n\n")
    else:
        print_table(rows)
    if args.json:
        args.json.write_text(json.dumps([[*key, some] for key, some in rows.items()]), encoding="utf-8")


def print_table(rows: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    columns = list(next(iter(rows.values()))[0])
    print("| case | structure | slices | " + " | ".join(columns) + " |\n|" + "---|" * (3 + len(columns)))
    for (case, structure), some in rows.items():
        means = " | ".join(f"{np.mean([row[column] for row in some]):.2f}" for column in columns)
        print(f"| {case} | {structure} | {len(some)} | {means} |")


if __name__ == "__main__":
    main()
