"""Folders as NSCLC-Radiomics and Kvasir-SEG are downloaded, made from the phantoms, in a domain of their own.

    python Testing/tools/experiments/training_folders.py --output folders --patients 20 --images 200

The CTs are of a scanner and a kernel that the bundled model's phantoms did not have, with contrast agent; the polyps
are seen by a restless camera with much noise. What a model trained elsewhere loses here, fine-tuning can win back.
4D-Lung and CVC-ClinicDB are made in the same way for the tests.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import generate_uid

from adaptsam.image import DicomSource, StructureSet, Volume
from adaptsam.io import write_dicom_series, write_structures
from adaptsam.synthetic.endoscopy.endoscopy_video import EndoscopySettings, endoscopy_frames
from adaptsam.synthetic.thorax_phantom import (
    CONTRASTS,
    Beam,
    Breathing,
    PhantomSettings,
    PhantomVisit,
    Scanner,
    phantom_patient,
)

FIRST_SEED = 300_000
SHIFTED = Scanner(label="CT sharp", kernel="sharp", noise=1.7, table="curved", beam=Beam(photons=3e4), length=140.0)
RESTLESS = EndoscopySettings(size=(288, 352), fps=4.0, motion=1.5, blur=1.5, noise=6.0)


@dataclass(frozen=True)
class Grid:
    """How a CT is sampled before the scanner shortens it: (K, J, I) and (i, j, k) in mm."""

    shape: tuple[int, int, int] = (72, 192, 192)
    spacing: tuple[float, float, float] = (2.2, 2.2, 4.0)


def write_nsclc_radiomics(
    folder: Path,
    patients: int,
    *,
    seed: int = FIRST_SEED,
    grid: Grid = Grid(),
    settings: PhantomSettings | None = None,
    drawn: tuple[str, ...] = ("SEG", "RTSTRUCT"),
) -> list[Path]:
    """``NSCLC-Radiomics/LUNG1-001/<date>-StudyID-NA-<n>/<series>/1-001.dcm``, …; returns the patients' folders.

    The SEG's segments are labelled by their kind and described by their names, as the published ones are.
    """
    settings = settings or PhantomSettings(scanner=SHIFTED, contrast=CONTRASTS["arterial"])
    places = []
    for number in range(patients):
        [visit] = phantom_patient(seed + number, 1, shape=grid.shape, spacing=grid.spacing, settings=settings)
        name = f"LUNG1-{number + 1:03d}"
        study = folder / "NSCLC-Radiomics" / name / f"01-01-2014-StudyID-NA-{10000 + number}"
        image = _write_series(study / f"0.000000-NA-{20000 + number}", _of_patient(visit.volume, name), visit)
        if "RTSTRUCT" in drawn:
            place = study / f"0.000000-NA-{30000 + number}" / "1-1.dcm"
            write_structures(place, visit.structures, image)
        if "SEG" in drawn:
            place = study / f"300.000000-Segmentation-{40000 + number}" / "1-1.dcm"
            _write_segmentation(place, visit.structures, image)
        places.append(study.parent)
    return places


def write_four_d_lung(
    folder: Path,
    names: tuple[str, ...] = ("100_HM10395",),
    *,
    visits: int = 2,
    phases: int = 2,
    seed: int = FIRST_SEED,
    grid: Grid = Grid(),
) -> list[Path]:
    """``4D-Lung/100_HM10395/<date>-NA-<n>/<series>/1-001.dcm``, an RTSTRUCT a phase; returns the patients' folders."""
    settings = PhantomSettings(breathing=Breathing(phases=phases), scanner=SHIFTED)
    places = []
    for number, name in enumerate(names):
        scans = phantom_patient(seed + number, visits, shape=grid.shape, spacing=grid.spacing, settings=settings)
        for visit in scans:
            date = visit.volume.dicom.study_date
            study = folder / "4D-Lung" / name / f"{date[4:6]}-{date[6:]}-{date[:4]}-NA-p4-{generate_uid()[-5:]}"
            base = _of_patient(visit.volume, name).dicom
            for index, phase in enumerate(visit.phases):
                percent = phase.motion.percent
                text = f"P4P{name[:3]}S300I0000{index} Gated {percent:.1f}A"
                volume = replace(phase.volume, dicom=base)
                place = study / f"{index + 1}.000000-{text}-{50000 + index}"
                description = f"P4^P{name[:3]}^S300^I0000{index}, Gated, {percent:.1f}%A"
                image = _write_series(place, volume, visit, description)
                tumour = [replace(one, name=_lung_name(one.name, index)) for one in phase.structures.structures]
                contours = study / f"1.000000-{text}-{60000 + index}" / "1-1.dcm"
                write_structures(contours, replace(phase.structures, structures=tuple(tumour)), image)
        places.append(folder / "4D-Lung" / name)
    return places


def write_kvasir_seg(
    folder: Path, images: int, *, seed: int = FIRST_SEED, settings: EndoscopySettings = RESTLESS
) -> Path:
    """``Kvasir-SEG/images/<name>.jpg``, ``masks/<name>.jpg`` and the file of boxes; each picture of another polyp."""
    root = folder / "Kvasir-SEG"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    boxes = {}
    for number in range(images):
        radius = np.random.default_rng([seed, number]).uniform(5, 11)
        frame, mask = _clearest(endoscopy_frames(seed + number, 12, replace(settings, radius=radius)))
        name = f"cju{seed + number:06d}phantom"
        Image.fromarray(frame).save(root / "images" / f"{name}.jpg", quality=92)
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(root / "masks" / f"{name}.jpg", quality=92)
        rows, columns = np.nonzero(mask)
        corners = {"xmin": columns.min(), "ymin": rows.min(), "xmax": columns.max(), "ymax": rows.max()}
        box = {"label": "polyp"} | {key: int(value) for key, value in corners.items()}
        boxes[name] = {"height": mask.shape[0], "width": mask.shape[1], "bbox": [box]}
    (root / "kavsir_bboxes.json").write_text(json.dumps(boxes))
    return root


def write_cvc_clinicdb(
    folder: Path, numbers: range, *, seed: int = FIRST_SEED, settings: EndoscopySettings = RESTLESS, kind: str = "tif"
) -> Path:
    """``CVC-ClinicDB/Original/1.tif``, … and ``Ground Truth/1.tif``: frames of these numbers, of one video."""
    root = folder / "CVC-ClinicDB"
    frames = endoscopy_frames(seed, len(numbers), settings)
    for part in ("Original", "Ground Truth"):
        (root / part).mkdir(parents=True)
    for number, (frame, mask) in zip(numbers, frames, strict=True):
        Image.fromarray(frame).save(root / "Original" / f"{number}.{kind}")
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(root / "Ground Truth" / f"{number}.{kind}")
    return root


def _of_patient(volume: Volume, name: str) -> Volume:
    source = volume.dicom or DicomSource()
    fresh = replace(
        source,
        patient_id=name,
        study_uid=generate_uid(),
        frame_of_reference_uid=generate_uid(),
        header={"PatientName": name, "PatientPosition": "HFS"},
    )
    return replace(volume, dicom=fresh)


def _write_series(folder: Path, volume: Volume, visit: PhantomVisit, description: str = "") -> Volume:
    kernel = {"ConvolutionKernel": visit.scanner.kernel}
    image = write_dicom_series(folder, volume, description=description or " ", prefix="1", attributes=kernel)
    for path in folder.iterdir():
        path.rename(folder / f"1-{int(path.name.split('.')[1]):03d}.dcm")
    return image


def _write_segmentation(path: Path, structures: StructureSet, image: Volume) -> None:
    staged = path.with_name("1-1.seg.dcm")
    write_structures(staged, structures, image)
    dataset = pydicom.dcmread(staged)
    for segment in dataset.SegmentSequence:
        segment.SegmentDescription = segment.SegmentLabel
        segment.SegmentLabel = segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning[:64]
    dataset.SeriesDescription = "Segmentation"
    dataset.save_as(path)
    staged.unlink()


def _lung_name(name: str, phase: int) -> str:
    return f"Tumor_c{phase}0" if name == "GTV-1" else f"{name}_c{phase}0"


def _clearest(frames: Iterator[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The frame that shows most of the polyp, as a physician stops to take a picture."""
    return max(frames, key=lambda pair: int(pair[1].sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=20, help="of NSCLC-Radiomics; 0 for none")
    parser.add_argument("--images", type=int, default=200, help="of Kvasir-SEG; 0 for none")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    args = parser.parse_args()
    tasks: list[Callable[[], object]] = []
    if args.patients:
        tasks.append(lambda: write_nsclc_radiomics(args.output, args.patients, seed=args.seed))
    if args.images:
        tasks.append(lambda: write_kvasir_seg(args.output, args.images, seed=args.seed))
    for task in tasks:
        task()


if __name__ == "__main__":
    main()
