"""The real cases of ../shared/data, and what independent readers make of the RTSTRUCTs that we write."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from adaptsam.errors import GeometryError
from adaptsam.image import same_patient
from adaptsam.io import read_structures, read_volume, write_dicom_series, write_structures


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def read_with_plastimatch(images: Path, rtstruct: Path, out: Path) -> dict[str, np.ndarray]:
    plastimatch = pytest.importorskip("plastimatch")
    program = Path(plastimatch.__file__).parent / "bin" / "plastimatch"
    command = [program, "convert", "--input", rtstruct, "--referenced-ct", images, "--output-prefix", out]
    subprocess.run([*command, "--prefix-format", "nrrd"], check=True, capture_output=True)
    return {path.stem: sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0 for path in out.glob("*.nrrd")}


def read_with_rt_utils(images: Path, rtstruct: Path, out: Path) -> dict[str, np.ndarray]:
    rt_utils = pytest.importorskip("rt_utils")
    built = rt_utils.RTStructBuilder.create_from(dicom_series_path=str(images), rt_struct_path=str(rtstruct))
    return {name: np.moveaxis(built.get_roi_mask_by_name(name), 2, 0) for name in built.get_roi_names()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("read", "least"),
    [
        (read_with_plastimatch, {"GTV-1": 0.999, "Spinal-Cord": 0.999, "Lung-Left": 0.999, "Lung-Right": 0.999}),
        # rt-utils rounds contours to whole pixels and draws their outline: half a pixel wider, so thin things suffer.
        (read_with_rt_utils, {"GTV-1": 0.98, "Spinal-Cord": 0.93, "Lung-Left": 0.98, "Lung-Right": 0.98}),
    ],
    ids=["plastimatch", "rt-utils"],
)
def test_an_independent_reader_finds_the_masks_in_our_rtstruct(
    lung_case: Path, tmp_path: Path, read: Callable[..., dict[str, np.ndarray]], least: dict[str, float]
) -> None:
    image = read_volume(lung_case / "images")
    prior = read_structures(lung_case / "labels" / "rtstruct.dcm", image)
    write_structures(tmp_path / "rs.dcm", prior, image)
    found = read(lung_case / "images", tmp_path / "rs.dcm", tmp_path / "masks")
    for structure in prior.structures:
        assert dice(structure.mask, found[structure.name]) >= least[structure.name], structure.name


@pytest.mark.slow
def test_we_and_plastimatch_see_the_same_in_the_clinics_rtstruct(lung_case: Path, tmp_path: Path) -> None:
    rtstruct = lung_case / "labels" / "rtstruct.dcm"
    found = read_with_plastimatch(lung_case / "images", rtstruct, tmp_path / "masks")
    for structure in read_structures(rtstruct, read_volume(lung_case / "images")).structures:
        assert dice(structure.mask, found[structure.name]) > 0.9995, structure.name


def test_the_tumour_is_as_large_as_its_contours(lung_case: Path) -> None:
    image = read_volume(lung_case / "images")
    rtstruct = lung_case / "labels" / "rtstruct.dcm"
    area = 0.0
    for contour in dcmread(rtstruct).ROIContourSequence[0].ContourSequence:
        x, y, _ = np.reshape(contour.ContourData, (-1, 3)).astype(float).T
        area += abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    tumour = read_structures(rtstruct, image).structures[0]
    assert tumour.name == "GTV-1"
    assert tumour.contoured is not None
    assert tumour.contoured.sum() == 21
    assert tumour.mask.sum() * image.geometry.voxel_volume == pytest.approx(area * 3, rel=1e-3)


def test_the_series_lies_where_simpleitk_sees_it(lung_case: Path) -> None:
    image = read_volume(lung_case / "images")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(lung_case / "images")))
    seen = reader.Execute()
    assert (image.geometry.origin, image.geometry.spacing) == (seen.GetOrigin(), seen.GetSpacing())
    assert image.geometry.direction == seen.GetDirection()
    assert (image.array == sitk.GetArrayFromImage(seen)).all()


@pytest.mark.parametrize("modality", ["CT", "MR_T1"])
def test_an_rtstruct_that_names_another_series_is_matched_by_geometry(sarcoma_case: Path, modality: str) -> None:
    image = read_volume(sarcoma_case / "images" / modality)
    (tumour,) = read_structures(sarcoma_case / "labels" / f"{modality}_rtstruct.dcm", image).structures
    assert tumour.contoured is not None
    assert tumour.contoured.sum() == 31
    assert (tumour.mask.any(axis=(1, 2)) == tumour.contoured).all()


def test_ct_and_mr_of_one_patient_are_known_as_such(sarcoma_case: Path, lung_case: Path) -> None:
    ct, mr = (read_volume(sarcoma_case / "images" / modality) for modality in ("CT", "MR_T1"))
    assert same_patient(ct, mr) is True
    assert same_patient(ct, read_volume(lung_case / "images")) is False


def test_a_ct_written_as_dicom_is_the_same_ct_and_its_rtstruct_fits(sarcoma_case: Path, tmp_path: Path) -> None:
    image = read_volume(sarcoma_case / "images" / "CT")
    structures = read_structures(sarcoma_case / "labels" / "CT_rtstruct.dcm", image)
    written = write_dicom_series(tmp_path / "ct", image)
    read = read_volume(tmp_path / "ct")
    assert read.geometry == image.geometry
    assert (read.array == image.array).all()
    assert read.dicom == written.dicom
    write_structures(tmp_path / "rs.dcm", structures, written)
    assert (read_structures(tmp_path / "rs.dcm", read).structures[0].mask == structures.structures[0].mask).all()


def test_a_dicom_seg_and_the_nrrd_of_the_same_liver_agree(dicom_seg_case: Path) -> None:
    image = read_volume(dicom_seg_case / "images")
    seg = read_structures(dicom_seg_case / "labels" / "liver.dcm", image)
    nrrd = read_structures(dicom_seg_case / "labels" / "liver_spine_seg.nrrd", image)
    assert seg.names == ("Liver",)
    assert (seg.structures[0].mask == nrrd.structures[0].mask).all()


def test_the_segments_of_a_dicom_seg_may_overlap(dicom_seg_case: Path, tmp_path: Path) -> None:
    image = read_volume(dicom_seg_case / "images")
    seg = read_structures(dicom_seg_case / "labels" / "partial_overlaps.dcm", image)
    assert len(seg.structures) == 5
    assert sum(structure.mask.astype(int) for structure in seg.structures).max() > 1
    write_structures(tmp_path / "a.seg.nrrd", seg, image)
    again = read_structures(tmp_path / "a.seg.nrrd", image)
    assert all((a.mask == b.mask).all() for a, b in zip(seg.structures, again.structures, strict=True))


@pytest.mark.parametrize("name", ["liver.dcm", "partial_overlaps.dcm"])
def test_a_dicom_seg_written_again_is_the_same_to_us_and_to_highdicom(
    dicom_seg_case: Path, tmp_path: Path, name: str
) -> None:
    image = read_volume(dicom_seg_case / "images")
    seg = read_structures(dicom_seg_case / "labels" / name, image)
    write_structures(tmp_path / "a.seg.dcm", seg, image)
    again = read_structures(tmp_path / "a.seg.dcm", image)
    assert [(one.name, one.tags) for one in again.structures] == [(one.name, one.tags) for one in seg.structures]
    assert all((a.mask == b.mask).all() for a, b in zip(seg.structures, again.structures, strict=True))
    assert image.dicom is not None
    theirs = highdicom.seg.segread(tmp_path / "a.seg.dcm").get_pixels_by_source_instance(
        image.dicom.sop_instance_uids, assert_missing_frames_are_empty=True
    )
    assert (np.moveaxis(theirs, -1, 0) == np.stack([one.mask for one in seg.structures])).all()


def test_a_dicom_seg_of_another_patient_is_refused(dicom_seg_case: Path, sarcoma_case: Path) -> None:
    with pytest.raises(GeometryError, match="belongs to another patient"):
        read_structures(dicom_seg_case / "labels" / "liver.dcm", read_volume(sarcoma_case / "images" / "CT"))
