"""NIfTI, NRRD and MetaImage headers that leave something out or say it otherwise than ITK reads it."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from adaptsam.errors import InputError
from adaptsam.io import read_structures, read_volume

SHAPE = (3, 4, 5)
VALUES = np.arange(60, dtype=np.int16).reshape(SHAPE) - 20
PLACE = {"space": "left-posterior-superior", "space directions": "(2,0,0) (0,2,0) (0,0,3)", "space origin": "(5,6,7)"}
GRID = {"ElementSpacing": "2 2 3", "Offset": "5 6 7", "TransformMatrix": "1 0 0 0 1 0 0 0 1"}


def nrrd(path: Path, fields: dict[str, str], array: np.ndarray = VALUES, more: str = "") -> Path:
    kind = {"int16": "short", "uint8": "unsigned char"}[str(array.dtype)]
    head = {"type": kind, "dimension": "3", "sizes": "5 4 3", "encoding": "raw", "endian": "little", **fields}
    text = "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in head.items()) + more + "\n"
    path.write_bytes(text.encode() + array.tobytes())
    return path


def meta(path: Path, fields: dict[str, str | None]) -> Path:
    head = {"ObjectType": "Image", "NDims": "3", "BinaryData": "True", "DimSize": "5 4 3"} | GRID | fields
    head |= {"ElementType": "MET_SHORT", "ElementDataFile": "LOCAL"}
    text = "".join(f"{key} = {value}\n" for key, value in head.items() if value is not None)
    path.write_bytes(text.encode() + VALUES.tobytes())
    return path


def scaled(path: Path, slope: float, intercept: float, kind: type = np.int16) -> Path:
    nibabel.save(nibabel.Nifti1Image(VALUES.T.astype(kind), np.diag([2.0, 2, 3, 1])), path)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[112:120] = struct.pack("<2f", slope, intercept)
    path.write_bytes(gzip.compress(raw))
    return path


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.uint8])
@pytest.mark.parametrize(("slope", "intercept"), [(0, 5), (0, 0.25), (np.nan, 5), (np.inf, 1), (-2, 7), (0.5, -3)])
def test_values_are_scaled_as_nibabel_scales_them(tmp_path: Path, slope: float, intercept: float, kind: type) -> None:
    path = scaled(tmp_path / "a.nii.gz", slope, intercept, kind)
    assert np.allclose(read_volume(path).array, nibabel.load(path).get_fdata().T, atol=1e-4)


def test_an_intercept_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rescaling that is no number"):
        read_volume(scaled(tmp_path / "a.nii.gz", 2, np.nan))


@pytest.mark.parametrize("lost", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_that_are_not_a_number_are_refused_where_itk_makes_them_water(
    tmp_path: Path, lost: float, name: str
) -> None:
    values = VALUES.T.astype(np.float32).copy()
    values[0, :2] = lost
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / name)
    assert np.isfinite(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name)))).all()
    with pytest.raises(InputError, match="6 voxels that are not a number"):
        read_volume(tmp_path / name)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(VALUES.T.astype(np.complex64), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(InputError, match="complex numbers"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({**PLACE, "space units": '"cm" "cm" "cm"'}, "cm"),
        ({"spacings": "0.002 0.002 0.003", "units": '"m" "m" "m"'}, "m"),
    ],
)
def test_other_units_of_length_are_refused_in_nrrd(tmp_path: Path, fields: dict[str, str], unit: str) -> None:
    with pytest.raises(InputError, match=f"lengths in '{unit}'"):
        read_volume(nrrd(tmp_path / "a.nrrd", fields))


@pytest.mark.parametrize("unit", ["cm", "um", "m"])
def test_other_units_of_length_are_refused_in_metaimage(tmp_path: Path, unit: str) -> None:
    with pytest.raises(InputError, match=f"lengths in '{unit}'"):
        read_volume(meta(tmp_path / "a.mha", {"DistanceUnits": unit}))


def test_other_units_of_length_are_refused_in_segmentations(tmp_path: Path) -> None:
    image = read_volume(nrrd(tmp_path / "a.nrrd", {**PLACE, "space units": '"mm" "mm" "mm"'}))
    path = nrrd(
        tmp_path / "b.seg.nrrd",
        {**PLACE, "space units": '"cm" "cm" "cm"'},
        (VALUES > 0).astype(np.uint8),
        "Segment0_ID:=a\nSegment0_Layer:=0\nSegment0_LabelValue:=1\n",
    )
    with pytest.raises(InputError, match="lengths in 'cm'"):
        read_structures(path, image)


def test_bytes_to_skip_within_a_metaimage_are_refused_where_itk_reads_the_header_as_voxels(tmp_path: Path) -> None:
    path = meta(tmp_path / "a.mha", {"HeaderSize": "4"})
    assert (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) != VALUES).all()
    with pytest.raises(InputError, match="HeaderSize"):
        read_volume(path)
    assert np.array_equal(read_volume(meta(tmp_path / "b.mha", {"HeaderSize": "-1"})).array, VALUES)


def test_a_segment_of_label_0_is_refused(tmp_path: Path) -> None:
    image = read_volume(nrrd(tmp_path / "a.nrrd", PLACE))
    path = nrrd(
        tmp_path / "b.seg.nrrd",
        PLACE,
        (VALUES > 0).astype(np.uint8),
        "Segment0_ID:=a\nSegment0_Layer:=0\nSegment0_LabelValue:=0\n",
    )
    with pytest.raises(InputError, match="describes segment 0 wrongly"):
        read_structures(path, image)


@pytest.mark.parametrize(
    ("fields", "lacking"),
    [
        ({}, "no origin and no spacing"),
        ({"spacings": "2 2 3"}, "no origin"),
        ({"space dimension": "3", **{key: PLACE[key] for key in list(PLACE)[1:]}}, "no anatomical directions"),
        (PLACE | {"space": "scanner-xyz"}, "no anatomical directions"),
        (PLACE | {"space": "3D-right-handed"}, "no anatomical directions"),
        (PLACE | {"space": "RAS"}, ""),
        (PLACE | {"space": "left-anterior-superior"}, ""),
        (PLACE, ""),
    ],
)
def test_what_an_nrrd_header_does_not_tell_is_named(tmp_path: Path, fields: dict[str, str], lacking: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", fields)
    volume = read_volume(path)
    image = sitk.ReadImage(str(path))
    assert volume.geometry.spacing == image.GetSpacing()
    assert volume.geometry.origin == image.GetOrigin()
    assert [lacking in one.why for one in volume.remarks] == ([True] if lacking else [])


@pytest.mark.parametrize(
    ("fields", "lacking"),
    [
        ({"Offset": None}, "no origin"),
        ({"Offset": None, "Position": "5 6 7"}, ""),
        ({"ElementSpacing": None, "ElementSize": "2 2 3"}, ""),
        ({"ElementSpacing": None}, "no spacing"),
        ({"ElementToIntensityFunctionSlope": "1", "ElementToIntensityFunctionOffset": "0"}, ""),
    ],
)
def test_what_a_metaimage_header_does_not_tell_is_named(
    tmp_path: Path, fields: dict[str, str | None], lacking: str
) -> None:
    volume = read_volume(meta(tmp_path / "a.mha", fields))
    assert (volume.array == VALUES).all()
    assert [lacking in one.why for one in volume.remarks] == ([True] if lacking else [])


def test_an_nrrd_whose_spacing_is_no_number_says_that_1_mm_stands_in(tmp_path: Path) -> None:
    place = {"space": "left-posterior-superior", "space origin": "(5,6,7)", "spacings": "nan nan nan"}
    volume = read_volume(nrrd(tmp_path / "a.nrrd", place))
    assert volume.geometry.spacing == (1.0, 1.0, 1.0)
    assert any("no spacing" in remark.sentence for remark in volume.remarks)


@pytest.mark.parametrize("spacings", ["2 0 3", "2 -2 3"])
def test_an_nrrd_whose_spacing_is_not_above_0_is_refused(tmp_path: Path, spacings: str) -> None:
    place = {"space": "left-posterior-superior", "space origin": "(5,6,7)", "spacings": spacings}
    with pytest.raises(InputError):
        read_volume(nrrd(tmp_path / "a.nrrd", place))


def test_a_metaimages_axis_of_negative_spacing_runs_the_other_way_without_a_remark(tmp_path: Path) -> None:
    volume = read_volume(meta(tmp_path / "a.mha", {"ElementSpacing": "2 -2 3"}))
    assert volume.geometry.spacing == (2.0, 2.0, 3.0)
    assert tuple(volume.geometry.world([0, 1, 0])) == (5.0, 4.0, 7.0)
    assert volume.remarks == ()
    for spacing in ("nan nan nan", "2 0 3"):
        with pytest.raises(InputError):
            read_volume(meta(tmp_path / "b.mha", {"ElementSpacing": spacing}))


@pytest.mark.parametrize("side", [0.0, float("nan")])
def test_a_nifti_whose_voxels_have_no_size_says_that_1_mm_stands_in(tmp_path: Path, side: float) -> None:
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(VALUES.T, np.diag([2.0, 2, 3, 1])), path)
    data = bytearray(path.read_bytes())
    struct.pack_into("<3f", data, 80, side, 2.0, 3.0)
    struct.pack_into("<2h", data, 252, 0, 0)
    path.write_bytes(data)
    volume = read_volume(path)
    assert volume.geometry.spacing == (1.0, 2.0, 3.0)
    assert any("1 mm stands in" in remark.sentence for remark in volume.remarks)


def test_a_metaimage_whose_values_stand_for_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="intensity function"):
        read_volume(meta(tmp_path / "a.mha", {"ElementToIntensityFunctionSlope": "2"}))


def test_an_nrrd_whose_values_stand_for_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="old min and max"):
        read_volume(nrrd(tmp_path / "a.nrrd", {**PLACE, "old min": "0", "old max": "1"}))


@pytest.mark.parametrize("kind", ["nrrd", "mha"])
def test_sheared_pixels_are_refused_in_every_format(tmp_path: Path, kind: str) -> None:
    if kind == "nrrd":
        path = nrrd(tmp_path / "a.nrrd", {**PLACE, "space directions": "(2,0,0) (0.5,2,0) (0,0,3)"})
    else:
        path = meta(tmp_path / "a.mha", {"TransformMatrix": "1 0 0 0.25 0.97 0 0 0 1"})
    with pytest.raises(InputError, match="sheared grid"):
        read_volume(path)
