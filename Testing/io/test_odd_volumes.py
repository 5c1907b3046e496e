"""NIfTI, NRRD and labelmaps where readers differ: two placements, many labels, fractions, segments without layers."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy.spatial.transform import Rotation

from adaptsam.errors import InputError
from adaptsam.image import Structure, StructureSet, Volume
from adaptsam.io import read_structures, read_volume, write_structures
from adaptsam.io.mask_images import read_mask_picture
from adaptsam.io.video.frames import PictureFolder

SHAPE = (5, 7, 6)  # i, j, k
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def affine(seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    flips = rng.choice([-1.0, 1.0], 3)
    turn = Rotation.random(random_state=seed).as_matrix() if seed % 2 else np.eye(3)[rng.permutation(3)]
    matrix[:3, :3] = turn * flips * [1.25, 0.75, 3.0]
    matrix[:3, 3] = rng.uniform(-300, 300, 3) + shift
    return matrix


def save(path: Path, sform: tuple[np.ndarray | None, int], qform: tuple[np.ndarray | None, int]) -> np.ndarray:
    values = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header["pixdim"][1:4] = [1.25, 0.75, 3.0]
    image.set_qform(*qform, strip_shears=True)
    image.set_sform(*sform)
    if sform[0] is None:
        image.header["sform_code"] = 0
    if qform[0] is None:
        image.header["qform_code"] = 0
    nibabel.save(image, path)
    return values


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("forms", ["both", "differ", "sform", "qform", "none"])
def test_a_nifti_lies_where_nibabel_puts_it_whatever_its_codes(tmp_path: Path, seed: int, forms: str) -> None:
    own, other = affine(seed), affine(seed + 20)
    sform = (None, 0) if forms in ("qform", "none") else (own, 2)
    qform = (None, 0) if forms in ("sform", "none") else (other if forms == "differ" else own, 1)
    values = save(tmp_path / "a.nii.gz", sform, qform)
    volume = read_volume(tmp_path / "a.nii.gz")
    expected = RAS_TO_LPS @ nibabel.load(tmp_path / "a.nii.gz").affine
    assert np.allclose(volume.geometry.index_to_world, expected, atol=1e-3)
    assert (volume.array == values.T).all()
    assert [one.what for one in volume.remarks] == {
        "differ": ["places in the header, sform and qform"],
        "none": ["headers"],
    }.get(forms, [])


def test_an_image_with_two_placements_and_a_mask_with_one_agree(tmp_path: Path) -> None:
    right, wrong = affine(0), affine(0) @ np.diag([-1.0, 1, 1, 1])
    save(tmp_path / "image.nii.gz", (right, 1), (wrong, 1))
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 1, 2] = 1
    nibabel.save(nibabel.Nifti1Image(labels, right), tmp_path / "mask.nii.gz")
    image = read_volume(tmp_path / "image.nii.gz")
    [mask] = read_structures(tmp_path / "mask.nii.gz", image).structures
    assert (mask.mask == (labels.T > 0)).all()


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0)])
def test_lengths_in_other_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    image = nibabel.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), np.diag([1.0, 2, 3, 1]))
    image.header.set_xyzt_units(xyz=unit)
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.geometry.spacing == pytest.approx([factor, 2 * factor, 3 * factor])
    assert bool(volume.remarks) == (unit != "mm")


def test_the_second_version_of_nifti_is_refused_and_not_called_damaged(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="second version, which is not read; save it as NIfTI-1"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_time_series_is_refused_and_one_image_in_four_dimensions_is_read(tmp_path: Path) -> None:
    for count in (1, 3):
        nibabel.save(
            nibabel.Nifti1Image(np.random.default_rng(0).random((4, 5, 6, count)), np.eye(4)), tmp_path / "a.nii"
        )
        if count == 1:
            assert read_volume(tmp_path / "a.nii").array.shape == (6, 5, 4)
        else:
            with pytest.raises(InputError, match="4-dimensional"):
                read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
@pytest.mark.parametrize("labels", [(1, 255), (2, 256, 1000), (7, 65535), (11, 70000), (3, 4_000_000_000)])
def test_labels_are_kept_up_to_what_the_type_holds(
    volume: Volume, tmp_path: Path, suffix: str, labels: tuple[int, ...]
) -> None:
    values = np.zeros(volume.geometry.shape, np.uint32)
    for n, label in enumerate(labels):
        values[n, 2:5, 3:6] = label
    path = tmp_path / f"labels{suffix}"
    structures = {f"label-{label}": values == label for label in labels}
    write_structures(path, structures, volume)
    assert (np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))) == [0, *labels]).all()
    read = read_structures(path, volume)
    assert [(one.name, one.number) for one in read.structures] == [(f"label-{label}", label) for label in labels]
    assert all((one.mask == structures[one.name]).all() for one in read.structures)


def test_whole_numbers_in_floats_are_labels_and_fractions_are_not(volume: Volume, tmp_path: Path) -> None:
    values = np.zeros(volume.geometry.shape, np.float32)
    values[2, 3:6, 3:6] = 300
    for factor in (1.0, 0.5 / 300):
        image = sitk.GetImageFromArray(values * factor)
        image.SetSpacing(volume.geometry.spacing)
        image.SetOrigin(volume.geometry.origin)
        image.SetDirection(volume.geometry.direction)
        sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
        if factor == 1.0:
            assert read_structures(tmp_path / "a.nrrd", volume).names == ("label-300",)
        else:
            with pytest.raises(InputError, match="not a labelmap"):
                read_structures(tmp_path / "a.nrrd", volume)


def seg_nrrd(path: Path, volume: Volume, layers: np.ndarray, **fields: str) -> Path:
    """Layers (K, J, I) or (K, J, I, L) with Slicer's fields."""
    image = sitk.GetImageFromArray(layers, isVector=layers.ndim == 4)
    image.SetSpacing(volume.geometry.spacing)
    image.SetOrigin(volume.geometry.origin)
    image.SetDirection(volume.geometry.direction)
    for key, value in fields.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def layers(volume: Volume) -> np.ndarray:
    """Two layers that overlap, (K, J, I, 2)."""
    both = np.zeros((*volume.geometry.shape, 2), np.uint8)
    both[2:5, 3:9, 3:9, 0] = 1
    both[3:6, 5:14, 5:14, 1] = 1
    return both


def test_before_slicer_4_11_every_segment_had_a_layer_of_its_own(
    volume: Volume, tmp_path: Path, layers: np.ndarray
) -> None:
    named = {"Segment0_ID": "a", "Segment0_Name": "GTV", "Segment1_ID": "b", "Segment1_Name": "Heart"}
    read = read_structures(seg_nrrd(tmp_path / "old.seg.nrrd", volume, layers, **named), volume)
    assert read.names == ("GTV", "Heart")
    for n, one in enumerate(read.structures):
        assert (one.mask == (layers[..., n] > 0)).all()
    assert not read.remarks


@pytest.mark.parametrize(
    ("dtype", "outside", "inside"), [(np.uint8, 0, 216), (np.int8, -108, 108), (np.float32, 0, 1), (np.uint8, 0, 255)]
)
def test_fractional_segments_are_cut_at_half_and_it_is_said(
    volume: Volume, tmp_path: Path, layers: np.ndarray, dtype: type, outside: float, inside: float
) -> None:
    share = layers.astype(float)
    share[4, 3:9, 3, 0], share[4, 3:9, 4, 0] = 0.3, 0.7
    values = (outside + share * (inside - outside)).astype(dtype)
    fields = {"Segment0_ID": "a", "Segment1_ID": "b", "Segmentation_MasterRepresentation": "Fractional labelmap"}
    read = read_structures(seg_nrrd(tmp_path / "f.seg.nrrd", volume, values, **fields), volume)
    for n, one in enumerate(read.structures):
        assert (one.mask == (share[..., n] >= 0.5)).all()
    assert [(one.what, one.count, one.left_out) for one in read.remarks] == [("segments", 2, False)]


def test_segments_of_one_label_and_labels_of_no_segment_are_named(volume: Volume, tmp_path: Path) -> None:
    labels = np.zeros(volume.geometry.shape, np.uint8)
    labels[2, 3:6, 3:6], labels[3, 3:6, 3:6] = 1, 5
    fields = {
        f"Segment{n}_{key}": value
        for n in (0, 1)
        for key, value in (("ID", f"s{n}"), ("Layer", "0"), ("LabelValue", "1"))
    }
    read = read_structures(seg_nrrd(tmp_path / "s.seg.nrrd", volume, labels, **fields), volume)
    assert [(one.what, one.count, one.left_out) for one in read.remarks] == [
        ("segments 's0', 's1'", 2, False),
        ("voxels of layer 0", 9, True),
    ]


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nrrd", ".nii.gz"])
def test_masks_on_every_second_slice_count_as_not_drawn_between(volume: Volume, tmp_path: Path, suffix: str) -> None:
    mask = np.zeros(volume.geometry.shape, bool)
    mask[1:6:2, 3:9, 3:9] = True
    write_structures(tmp_path / f"a{suffix}", {"GTV": mask}, volume)
    read = read_structures(tmp_path / f"a{suffix}", volume)
    assert (read.structures[0].mask == mask).all()
    assert [(one.count, one.left_out) for one in read.remarks] == [(2, False)]
    assert "every second slice" in read.remarks[0].why


def test_structures_of_one_name_in_any_file_are_numbered(volume: Volume, tmp_path: Path) -> None:
    masks = np.zeros((2, *volume.geometry.shape), bool)
    masks[0, 1:4, 2:5, 2:5] = masks[1, 3:6, 8:12, 8:12] = True
    both = StructureSet(tuple(Structure("GTV", mask) for mask in masks), volume.geometry)
    write_structures(tmp_path / "a.seg.nrrd", both, volume)
    read = read_structures(tmp_path / "a.seg.nrrd", volume)
    assert read.names == ("GTV", "GTV (2)")
    assert [one.what for one in read.remarks] == ["structures called 'GTV'"]
    assert (read_structures(tmp_path / "a.seg.nrrd", volume, "GTV (2)").structures[0].mask == masks[1]).all()


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png"])
def test_a_picture_of_several_pages_is_refused(tmp_path: Path, suffix: str) -> None:
    pages = [Image.fromarray(np.full((8, 9), value, np.uint8)) for value in (10, 90, 200)]
    pages[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=pages[1:])
    for read in (PictureFolder, lambda folder: read_mask_picture(folder / f"a{suffix}")):
        with pytest.raises(InputError, match=r"holds 3 pages; save each as a picture"):
            read(tmp_path)


def test_what_a_folder_of_frames_holds_beside_them_is_counted(tmp_path: Path) -> None:
    for n, alpha in itertools.product(range(2), (255,)):
        Image.fromarray(np.dstack([np.full((8, 9, 3), 50 * n, np.uint8), np.full((8, 9), alpha, np.uint8)])).save(
            tmp_path / f"{n}.png"
        )
    assert not PictureFolder(tmp_path).remarks
    (tmp_path / "notes.txt").write_text("hello")
    Image.fromarray(np.zeros((8, 9, 4), np.uint8)).save(tmp_path / "2.png")
    assert [(one.count, one.left_out) for one in PictureFolder(tmp_path).remarks] == [(1, False), (1, True)]


def test_many_labels_of_a_mask_picture_are_labels_and_soft_edges_are_told(tmp_path: Path) -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[:20, :20] = np.arange(1, 21)
    Image.fromarray(labels).save(tmp_path / "many.png")
    masks = read_mask_picture(tmp_path / "many.png")
    assert list(masks) == [f"label-{n}" for n in range(1, 21)]
    soft = np.zeros((100, 100), np.uint8)
    soft[20:80, 20:80] = 255
    soft[19, 20:80] = np.arange(60) * 4 + 8
    Image.fromarray(soft).save(tmp_path / "soft.png")
    masks = read_mask_picture(tmp_path / "soft.png")
    assert [(one.count, one.left_out) for one in masks.remarks] == [(60, False)]
    assert masks["structure"].sum() == (soft > 127).sum()
