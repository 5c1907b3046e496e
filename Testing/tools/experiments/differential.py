"""Random valid files of four kinds, read by AdaptSAM and by independent readers, and compared voxel by voxel.

    python Testing/tools/experiments/differential.py --files 75 --seed 1

RTSTRUCT is filled by matplotlib's point-in-polygon test, contour by contour, and, where plastimatch is installed, by
it; SEG is written and read by highdicom, NIfTI by nibabel, .seg.nrrd by NRRD's own text and raw bytes. Files have many
structures with holes and islands, grids of any orientation, and names of any script.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import nibabel
import numpy as np
import SimpleITK as sitk
from matplotlib.path import Path as Polygon
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid
from scipy import ndimage
from scipy.spatial.transform import Rotation

from adaptsam.image import DicomSource, Geometry, Volume
from adaptsam.io import read_structures, read_volume, write_dicom_series

NAMES = ("GTV", "Lung_L", "PTV 60 Gy", "Überlappung", "心臓", "a" * 60, "GTV", "x=y;z", "Heart (2)", "Cœur")
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def blobs(rng: np.random.Generator, shape: tuple[int, int, int], count: int) -> np.ndarray:
    """Masks bool (count, K, J, I) with holes and islands; each holds something."""
    masks = []
    while len(masks) < count:
        field = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.7, 2.0, 3))
        mask = np.abs(field - rng.normal(0, 0.3 * field.std())) > rng.uniform(0.8, 1.6) * field.std()
        if mask.any():
            masks.append(mask)
    return np.stack(masks)


def some_grid(rng: np.random.Generator, *, kind: str = "any") -> Geometry:
    """A grid: axial, with exchanged and flipped axes, or oblique."""
    shape = tuple(int(n) for n in rng.integers(5, 14, 3) + np.array([0, 6, 6]))
    axes = np.eye(3)
    choice = rng.choice(["axial", "oblique", "turned"]) if kind == "any" else kind
    if choice == "oblique":
        axes = Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix()
    elif choice == "turned":
        axes = np.eye(3)[:, rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
        axes[:, 2] *= np.linalg.det(axes)
    spacing = tuple(float(f"{value:.4f}") for value in rng.uniform(0.6, 4.0, 3))
    origin = tuple(float(f"{value:.3f}") for value in rng.uniform(-300, 300, 3))
    return Geometry(shape, spacing, origin, tuple(map(float, axes.ravel())))  # type: ignore[arg-type]


def scan(rng: np.random.Generator, folder: Path, geometry: Geometry) -> Volume:
    """A DICOM series of noise on a grid, as it is read."""
    array = rng.integers(-1000, 300, geometry.shape).astype(np.int16)
    source = DicomSource(patient_id="1", study_date="20240101", header={"PatientName": "A", "StudyDate": "20240101"})
    write_dicom_series(folder, Volume(array, geometry, "CT", source))
    return read_volume(folder)


def compare_rtstruct(rng: np.random.Generator, folder: Path) -> list[str]:
    """Polygons of random vertices: stars, rings, islands, and pieces beside each other."""
    image = scan(rng, folder / "ct", some_grid(rng))
    grid = image.geometry
    drawn: dict[str, dict[int, list[np.ndarray]]] = {}
    for name in dict.fromkeys(rng.choice(NAMES, int(rng.integers(1, 6)))):
        slices = np.flatnonzero(rng.random(grid.shape[0]) < 0.7)
        drawn[name] = {int(k): _polygons(rng, grid) for k in (slices if len(slices) else [0])}
    path = _write_rtstruct(folder / "rs.dcm", image, drawn)
    read = {one.name: one.mask for one in read_structures(path, image).structures}
    expected = {name: _filled(by_slice, grid) for name, by_slice in drawn.items()}
    # Centres so near to a contour are inside for us, as on it, and a matter of rounding for the others.
    read = {name: np.where(_near(drawn[name], grid), expected[name], mask) for name, mask in read.items()}
    found = _differences(read, expected, "matplotlib")
    if shutil.which("plastimatch") and np.allclose(grid.direction, np.eye(3).ravel()):
        masks = {
            name: np.where(_near(drawn[name], grid), expected[name], mask)
            for name, mask in _plastimatch(folder, path).items()
        }
        found += _differences(read, masks, "plastimatch")
    return found


def _near(by_slice: dict[int, list[np.ndarray]], grid: Geometry) -> np.ndarray:
    """bool (K, J, I): pixel centres within half a thousandth of a pixel of a contour."""
    j, i = np.indices(grid.shape[1:])
    centres = np.column_stack([i.ravel(), j.ravel()]).astype(float)
    near = np.zeros(grid.shape, bool)
    for k, rings in by_slice.items():
        for ring in rings:
            for start, step in zip(ring, np.roll(ring, -1, axis=0) - ring, strict=True):
                along = np.clip((centres - start) @ step / (step @ step), 0, 1)
                apart = np.linalg.norm(centres - start - along[:, None] * step, axis=1)
                near[k] |= (apart < 5e-4).reshape(j.shape)
    return near


def _polygons(rng: np.random.Generator, grid: Geometry) -> list[np.ndarray]:
    """Contours (n, 2) in pixels, disjoint or within each other, never through a pixel's centre."""
    rows, columns = grid.shape[1:]
    centre = rng.uniform(0.35, 0.65, 2) * [columns, rows]
    radius = float(rng.uniform(0.25, 0.45) * min(rows, columns))
    rings = [_star(rng, centre, radius)]
    for inner in (0.5, 0.22):  # a hole, and an island in it
        if rng.random() < 0.5 and len(rings) == (1 if inner == 0.5 else 2):
            rings.append(_star(rng, centre, radius * inner))
    return [ring + rng.uniform(1e-3, 2e-3, ring.shape) for ring in rings]


def _star(rng: np.random.Generator, centre: np.ndarray, radius: float) -> np.ndarray:
    count = int(rng.integers(3, 40))
    angle = np.sort(rng.uniform(0, 2 * np.pi, count)) if count > 8 else np.arange(count) * 2 * np.pi / count
    points = radius * rng.uniform(0.75, 1.0, count)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return centre + points[:: rng.choice([-1, 1])]


def _filled(by_slice: dict[int, list[np.ndarray]], grid: Geometry) -> np.ndarray:
    j, i = np.indices(grid.shape[1:])
    centres = np.column_stack([i.ravel(), j.ravel()])
    mask = np.zeros(grid.shape, bool)
    for k, rings in by_slice.items():
        for ring in rings:
            mask[k] ^= Polygon(np.vstack([ring, ring[:1]]), closed=True).contains_points(centres).reshape(j.shape)
    return mask


def _write_rtstruct(path: Path, image: Volume, drawn: dict[str, dict[int, list[np.ndarray]]]) -> Path:
    """Written by pydicom alone, with nothing of AdaptSAM's writer."""
    assert image.dicom is not None
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTStructureSetStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientID, dataset.SpecificCharacterSet = "RTSTRUCT", "1", "ISO_IR 192"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = image.dicom.study_uid, generate_uid()
    dataset.StructureSetLabel, dataset.StructureSetDate, dataset.StructureSetTime = "x", "20240101", "120000"
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID, series.ContourImageSequence = image.dicom.series_uid, []
    for uid in image.dicom.sop_instance_uids:
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = image.dicom.sop_class_uid, uid
        series.ContourImageSequence.append(one)
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID, study.RTReferencedSeriesSequence = image.dicom.study_uid, [series]
    frame.FrameOfReferenceUID = image.dicom.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, by_slice) in enumerate(drawn.items(), start=3):
        roi, contours = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, ""
        roi.ReferencedFrameOfReferenceUID = image.dicom.frame_of_reference_uid
        contours.ReferencedROINumber, contours.ROIDisplayColor = number, [255, 0, 0]
        contours.ContourSequence = []
        for k, rings in by_slice.items():
            for ring in rings:
                points = image.geometry.world(np.column_stack([ring, np.full(len(ring), k)]))
                contour = Dataset()
                contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
                contour.ContourData = [f"{value:.6f}" for value in points.ravel()]
                contours.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(contours)
    dataset.RTROIObservationsSequence = []
    dataset.save_as(path, enforce_file_format=True)
    return path


def _plastimatch(folder: Path, path: Path) -> dict[str, np.ndarray]:
    command = ["plastimatch", "convert", "--input", path, "--referenced-ct", folder / "ct"]
    command += ["--output-prefix", folder / "masks", "--prefix-format", "nrrd", "--output-ss-list", folder / "list.txt"]
    command += ["--xor-contours"]  # of contours in each other, plastimatch else fills the holes
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    lines = [line.split("|") for line in (folder / "list.txt").read_text(encoding="utf-8").splitlines()]
    masks = sorted((folder / "masks").glob("*.nrrd"))
    found = {}
    for _, _, name in lines:
        plain = "".join(character if character.isascii() and character not in "/\\ " else "_" for character in name)
        for mask in masks:
            if mask.stem in (name, plain):
                found[name] = sitk.GetArrayFromImage(sitk.ReadImage(str(mask))) > 0
    return found


def compare_seg(rng: np.random.Generator, folder: Path) -> list[str]:
    """Written and read by highdicom."""
    image = scan(rng, folder / "ct", some_grid(rng))
    slices = [dcmread(path) for path in sorted((folder / "ct").glob("*.dcm"))]
    names = list(dict.fromkeys(rng.choice(NAMES, int(rng.integers(1, 6)))))
    masks = blobs(rng, image.geometry.shape, len(names))
    segments = [
        hd.seg.SegmentDescription(
            number, name, codes.SCT.Organ, codes.SCT.Heart, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for number, name in enumerate(names, start=1)
    ]
    binary = hd.seg.SegmentationTypeValues.BINARY
    pixels = np.moveaxis(masks, 0, -1).astype(np.uint8)
    empty = bool(rng.random() < 0.7)
    uids = generate_uid(), generate_uid()
    written = hd.seg.Segmentation(
        slices, pixels, binary, segments, uids[0], 1, uids[1], 1, "a", "b", "1", "1", omit_empty_frames=empty
    )
    written.save_as(folder / "labels.dcm")
    seg = hd.seg.segread(folder / "labels.dcm")
    arrays = seg.get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in slices], assert_missing_frames_are_empty=True
    )
    read = {one.name: one.mask for one in read_structures(folder / "labels.dcm", image).structures}
    return _differences(read, {name: arrays[..., n] > 0 for n, name in enumerate(names)}, "highdicom")


def compare_nifti(rng: np.random.Generator, folder: Path) -> list[str]:
    """An image and a labelmap, whose sforms and qforms are drawn apart; read by nibabel."""
    shape = tuple(int(n) for n in rng.integers(4, 14, 3))
    values = rng.integers(-1000, 1000, shape).astype(rng.choice([np.int16, np.float32, np.int32]))
    labels = (rng.integers(0, 4, shape) * int(rng.choice([1, 80, 20000]))).astype(np.int32)
    affine = _affine(rng)
    image = nibabel.Nifti1Image(values, affine)
    forms = rng.choice(["both", "differ", "sform", "qform"])
    image.set_sform(affine, code=0 if forms == "qform" else int(rng.integers(1, 5)))
    image.set_qform(_affine(rng) if forms == "differ" else affine, code=0 if forms == "sform" else 1)
    nibabel.save(image, folder / "image.nii.gz")
    kept = nibabel.load(folder / "image.nii.gz")
    mask = nibabel.Nifti1Image(labels, kept.affine)
    mask.set_sform(kept.affine, code=2 if rng.random() < 0.5 else 0)
    mask.set_qform(kept.affine, code=1)
    nibabel.save(mask, folder / "labels.nii.gz")
    volume = read_volume(folder / "image.nii.gz")
    found = []
    if not np.allclose(volume.geometry.index_to_world, RAS_TO_LPS @ kept.affine, atol=2e-3):
        found.append("another place than nibabel's")
    if not np.array_equal(volume.array, np.asarray(kept.dataobj).T):
        found.append("other values than nibabel's")
    stored = np.asarray(nibabel.load(folder / "labels.nii.gz").dataobj).T
    read = {one.name: one.mask for one in read_structures(folder / "labels.nii.gz", volume).structures}
    return found + _differences(read, {f"label-{n}": stored == n for n in np.unique(stored) if n}, "nibabel")


def _affine(rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(4)
    turn = Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix()
    turn = turn if rng.random() < 0.5 else np.eye(3)[rng.permutation(3)]
    matrix[:3, :3] = turn * rng.choice([-1.0, 1.0], 3) * rng.uniform(0.5, 4.0, 3)
    matrix[:3, 3] = rng.uniform(-400, 400, 3)
    return matrix


def compare_seg_nrrd(rng: np.random.Generator, folder: Path) -> list[str]:
    """Text and raw bytes by NRRD's definition, in the layouts of Slicer 4.10 and later; cropped as Slicer crops."""
    geometry = some_grid(rng)
    image = Volume(rng.integers(-1000, 300, geometry.shape).astype(np.int16), geometry)
    count = int(rng.integers(1, 6))
    masks = blobs(rng, geometry.shape, count)
    names = [str(name) for name in dict.fromkeys(rng.choice(NAMES, count))]
    masks = masks[: len(names)]
    old = bool(rng.random() < 0.4)
    corner = np.array([rng.integers(0, 2) for _ in range(3)])  # i, j, k
    masks[:, : corner[2]] = masks[:, :, : corner[1]] = masks[:, :, :, : corner[0]] = False
    cut = masks[:, corner[2] :, corner[1] :, corner[0] :]
    fields = {}
    if old or rng.random() < 0.5:
        layers = cut.astype(np.uint8)
        places = [(n, 1) for n in range(len(names))]
    else:
        labels = rng.permutation(np.arange(1, 200))[: len(names)]
        layer = np.zeros(cut.shape[1:], np.uint8)
        for mask, label in zip(cut, labels, strict=True):
            layer[mask] = label
        layers, places = layer[None], [(0, int(label)) for label in labels]
        for n, label in enumerate(labels):
            masks[n, corner[2] :, corner[1] :, corner[0] :] = layer == label
    for n, name in enumerate(names):
        fields |= {f"Segment{n}_ID": f"s{n}", f"Segment{n}_Name": name, f"Segment{n}_Color": "1 0.5 0"}
        if not old:
            fields |= {f"Segment{n}_Layer": str(places[n][0]), f"Segment{n}_LabelValue": str(places[n][1])}
    _write_nrrd(folder / "a.seg.nrrd", layers, geometry, geometry.world(corner), fields)
    read = {one.name: one.mask for one in read_structures(folder / "a.seg.nrrd", image).structures}
    return _differences(read, dict(zip(names, masks, strict=True)), "the bytes")


def _write_nrrd(path: Path, layers: np.ndarray, geometry: Geometry, origin: np.ndarray, fields: dict[str, str]) -> None:
    steps = np.reshape(geometry.direction, (3, 3)) * geometry.spacing
    vectors = " ".join("(" + ",".join(f"{value:.17g}" for value in steps[:, n]) + ")" for n in range(3))
    several = len(layers) > 1
    sizes = " ".join(map(str, ([len(layers)] if several else []) + list(layers.shape[:0:-1])))
    header = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: {'none ' if several else ''}{vectors}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        "encoding: gzip",
        "space origin: (" + ",".join(f"{value:.17g}" for value in origin) + ")",
        *(f"{key}:={value}" for key, value in fields.items()),
    ]
    data = np.moveaxis(layers, 0, -1) if several else layers[0]
    path.write_bytes("\n".join(header).encode("utf-8") + b"\n\n" + gzip.compress(np.ascontiguousarray(data).tobytes()))


def _differences(read: dict[str, np.ndarray], expected: dict[str, np.ndarray], reader: str) -> list[str]:
    found = [f"no {name!r}, which {reader} has" for name in expected if name not in read]
    for name, mask in expected.items():
        if name in read and not np.array_equal(read[name], mask):
            found.append(f"{name!r}: {int((read[name] != mask).sum())} voxels differ from {reader}'s")
    return found


KINDS: dict[str, Callable[[np.random.Generator, Path], list[str]]] = {
    "rtstruct": compare_rtstruct,
    "seg": compare_seg,
    "nifti": compare_nifti,
    "seg.nrrd": compare_seg_nrrd,
}


def compare(kind: str, seed: int, number: int) -> list[str]:
    """What differs in one random file of a kind."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
    with tempfile.TemporaryDirectory() as folder:
        return KINDS[kind](rng, Path(folder))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=75, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=list(KINDS), action="append")
    args = parser.parse_args()
    wrong = 0
    for kind in args.kind or KINDS:
        began = time.monotonic()
        bad = 0
        for number in range(args.files):
            found = compare(kind, args.seed, number)
            bad += bool(found)
            for text in found:
                print(f"{kind} {number}: {text}", flush=True)
        print(f"{kind}: {bad} of {args.files} files differ, {time.monotonic() - began:.0f} s", flush=True)
        wrong += bad
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
