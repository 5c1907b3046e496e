"""NIfTI, NRRD and MetaImage; labelmaps and .seg.nrrd."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from adaptsam.errors import GeometryError, InputError
from adaptsam.image import Geometry, Structure, StructureSet, Volume
from adaptsam.image.resampling import place_on_grid
from adaptsam.io import read_structures, read_volume, write_structures
from adaptsam.io import write_volume as write


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.float32])
def test_an_image_comes_back_with_every_value_and_its_grid(
    volume: Volume, tmp_path: Path, suffix: str, dtype: type
) -> None:
    array = volume.array.astype(dtype)
    write(tmp_path / f"a{suffix}", Volume(array, volume.geometry))
    read = read_volume(tmp_path / f"a{suffix}")
    assert read.array.dtype == dtype
    assert (read.array == array).all()
    assert (read.geometry.shape, read.geometry.origin) == (volume.geometry.shape, volume.geometry.origin)
    assert read.geometry.spacing == pytest.approx(volume.geometry.spacing, abs=1e-15)
    assert read.geometry.direction == pytest.approx(volume.geometry.direction, abs=1e-15)


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".seg.nrrd"])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_on_an_oblique_grid_has_the_grid_of_its_image_to_the_last_bit(
    tmp_path: Path, suffix: str, seed: int
) -> None:
    """Seen by SimpleITK, whose own writing would not do it."""
    source = "target.mha" if suffix == ".mha" else "target.nrrd"
    target = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    target.SetDirection(Rotation.random(random_state=seed).as_matrix().ravel().tolist())
    target.SetSpacing((0.977, 0.981, 3.27))
    target.SetOrigin((-249.51, 1 / 3, 1e-3))
    sitk.WriteImage(target, str(tmp_path / source))
    image = read_volume(tmp_path / source)
    halves = StructureSet((Structure("a", image.array > 9), Structure("b", image.array > 5)), image.geometry)
    if suffix == ".seg.nrrd":
        write_structures(tmp_path / f"result{suffix}", halves, image)
    else:
        write(tmp_path / f"result{suffix}", image)
    before, after = sitk.ReadImage(str(tmp_path / source)), sitk.ReadImage(str(tmp_path / f"result{suffix}"))
    assert after.GetOrigin() == before.GetOrigin()
    assert after.GetSpacing() == before.GetSpacing()
    assert after.GetDirection() == before.GetDirection()


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_an_upright_grid_comes_back_to_the_last_bit(volume: Volume, tmp_path: Path, suffix: str) -> None:
    geometry = Geometry(volume.geometry.shape, (0.1 + 0.2, 1 / 3, 3.27), (-1 / 7, np.pi, 1e-9))
    write(tmp_path / f"a{suffix}", Volume(volume.array, geometry))
    assert read_volume(tmp_path / f"a{suffix}").geometry == geometry


def test_nifti_lies_where_nibabel_sees_it(volume: Volume, tmp_path: Path) -> None:
    write(tmp_path / "a.nii.gz", volume)
    read = read_volume(tmp_path / "a.nii.gz")
    assert read.geometry.matches(volume.geometry)
    ras = nibabel.load(tmp_path / "a.nii.gz")
    assert np.allclose(volume.geometry.index_to_world, np.diag([-1, -1, 1, 1]) @ ras.affine, atol=1e-4)
    assert (volume.array == np.asarray(ras.dataobj).T).all()


def test_a_colour_image_keeps_its_three_channels(tmp_path: Path, volume: Volume) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (*volume.geometry.shape, 3)).astype(np.uint8)
    write(tmp_path / "a.nrrd", Volume(colour, volume.geometry))
    assert (read_volume(tmp_path / "a.nrrd").array == colour).all()


def test_structures_that_overlap_survive_a_seg_nrrd_with_all_they_carry(
    volume: Volume, overlapping: StructureSet, tmp_path: Path
) -> None:
    write_structures(tmp_path / "a.seg.nrrd", overlapping, volume)
    read = read_structures(tmp_path / "a.seg.nrrd", volume)
    assert read.geometry is volume.geometry
    for before, after in zip(overlapping.structures, read.structures, strict=True):
        assert (after.mask == before.mask).all()
        assert (after.name, after.color, after.number) == (before.name, before.color, before.number)
        assert after.interpreted_type == before.interpreted_type
        assert before.tags.items() <= after.tags.items()


def test_a_seg_nrrd_is_laid_out_as_slicer_writes_it(volume: Volume, overlapping: StructureSet, tmp_path: Path) -> None:
    write_structures(tmp_path / "a.seg.nrrd", overlapping, volume, model="cd" * 32)
    header = (tmp_path / "a.seg.nrrd").read_bytes().partition(b"\n\n")[0].decode()
    assert "kinds: list domain domain domain" in header
    assert "sizes: 2 24 20 7" in header
    assert "space: left-posterior-superior" in header
    for line in ("Segment0_Name:=GTV Rückenmark", "Segment0_Layer:=0", "Segment1_Layer:=1", "Segment0_LabelValue:=1"):
        assert line in header.splitlines()
    assert "Segment0_Extent:=6 14 5 11 2 4" in header
    assert "Segment0_Tags:=TerminologyEntry:a~b^c|" in header
    assert "Segmentation_ContainedRepresentationNames:=Binary labelmap|" in header
    assert "research use only, not approved by a clinician" in header
    assert "cd" * 32 in header


def test_structures_that_do_not_overlap_share_one_layer(volume: Volume, tmp_path: Path) -> None:
    masks = np.arange(3)[:, None, None, None] == np.random.default_rng(0).integers(0, 4, volume.geometry.shape)
    structures = tuple(Structure(f"s{n}", mask) for n, mask in enumerate(masks))
    write_structures(tmp_path / "a.seg.nrrd", StructureSet(structures, volume.geometry), volume)
    assert sitk.ReadImage(str(tmp_path / "a.seg.nrrd")).GetNumberOfComponentsPerPixel() == 1
    read = read_structures(tmp_path / "a.seg.nrrd", volume)
    assert all((a.mask == b.mask).all() for a, b in zip(structures, read.structures, strict=True))


def test_a_segmentation_that_slicer_cropped_is_put_back_in_its_place(
    volume: Volume, overlapping: StructureSet, tmp_path: Path
) -> None:
    write_structures(tmp_path / "a.seg.nrrd", overlapping, volume)
    image = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    cropped = image[2:21, 2:18, 1:6]
    for key in image.GetMetaDataKeys():
        if key.startswith("Segment"):
            cropped.SetMetaData(key, image.GetMetaData(key))
    sitk.WriteImage(cropped, str(tmp_path / "b.seg.nrrd"))
    read = read_structures(tmp_path / "b.seg.nrrd", volume)
    assert all((a.mask == b.mask).all() for a, b in zip(overlapping.structures, read.structures, strict=True))


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_a_labelmap_gives_structures_named_after_its_values(volume: Volume, tmp_path: Path, suffix: str) -> None:
    labels = np.random.default_rng(0).choice([0, 2, 5], volume.geometry.shape).astype(np.uint8)
    write(tmp_path / f"labels{suffix}", Volume(labels, volume.geometry))
    structures = read_structures(tmp_path / f"labels{suffix}", volume)
    assert structures.names == ("label-2", "label-5")
    assert structures.geometry is volume.geometry
    assert (structures.structures[1].mask == (labels == 5)).all()
    write_structures(tmp_path / f"again{suffix}", structures, volume)
    assert (read_volume(tmp_path / f"again{suffix}").array == labels).all()


def test_named_structures_become_labels_in_their_order(
    volume: Volume, overlapping: StructureSet, tmp_path: Path
) -> None:
    tumour = overlapping.structures[0]
    write_structures(tmp_path / "a.nrrd", StructureSet((tumour,), volume.geometry), volume)
    assert (read_volume(tmp_path / "a.nrrd").array == tumour.mask).all()


@pytest.mark.parametrize("inside", [1, 255, 1.0])
@pytest.mark.parametrize("name", ["a.seg.nrrd", "a.nii.gz"])
def test_masks_of_numbers_are_masks(volume: Volume, tmp_path: Path, name: str, inside: float) -> None:
    mask = np.zeros(volume.geometry.shape, type(inside) if isinstance(inside, float) else np.uint8)
    mask[1, 2:4, 2:5] = inside
    write_structures(tmp_path / name, StructureSet((Structure("GTV", mask),), volume.geometry), volume)
    assert np.array_equal(read_structures(tmp_path / name, volume).structures[0].mask, mask > 0)


def test_a_labelmap_is_no_mask() -> None:
    with pytest.raises(InputError, match="'organs' has several values, 1 to 3; give true and false, as mask == 3"):
        Structure("organs", np.array([[[0, 1, 3]]]))


def test_a_labelmap_cannot_hold_overlapping_structures(
    volume: Volume, overlapping: StructureSet, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"overlaps another structure; write a \.seg\.nrrd"):
        write_structures(tmp_path / "a.nrrd", overlapping, volume)


def test_a_labelmap_with_flipped_and_exchanged_axes_finds_its_place(volume: Volume, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 2, volume.geometry.shape).astype(np.uint8)
    write(tmp_path / "a.nrrd", Volume(labels, volume.geometry))
    turned = sitk.PermuteAxes(sitk.Flip(sitk.ReadImage(str(tmp_path / "a.nrrd")), (True, False, True)), (2, 0, 1))
    sitk.WriteImage(turned, str(tmp_path / "b.nrrd"))
    assert (read_structures(tmp_path / "b.nrrd", volume).structures[0].mask == labels).all()


def test_a_grid_that_is_half_a_voxel_off_is_refused(volume: Volume) -> None:
    grid = volume.geometry
    shifted = Geometry(grid.shape, grid.spacing, tuple(grid.world(np.array([0.5, 0, 0]))), grid.direction)  # type: ignore[arg-type]
    with pytest.raises(GeometryError, match=r"labels\.nrrd lies on another grid"):
        place_on_grid(np.ones(grid.shape), shifted, grid, "labels.nrrd")


LEFT_HANDED = (0.0, -0.8, 0.6, -1.0, 0.0, 0.0, 0.0, 0.6, 0.8)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii.gz"])
def test_a_left_handed_grid_lies_where_simpleitk_sees_it(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7))
    image.SetDirection(LEFT_HANDED)
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-310.7, 122.3, 1456.789))
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    read = read_volume(tmp_path / f"a{suffix}")
    assert np.linalg.det(np.reshape(LEFT_HANDED, (3, 3))) == pytest.approx(-1)
    # NIfTI keeps any handedness, in single precision.
    for index in ([0, 0, 0], [6, 5, 4], [3, 1, 2]):
        i, j, k = index
        place = image.TransformIndexToPhysicalPoint(index)
        there = np.rint(read.geometry.index(np.array(place))).astype(int)
        assert read.geometry.world(there) == pytest.approx(place, abs=1e-3)
        assert read.array[tuple(there[::-1])] == image[i, j, k]


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".seg.nrrd", ".nii.gz"])
def test_structures_on_a_left_handed_image_come_back(tmp_path: Path, suffix: str) -> None:
    geometry = Geometry((5, 6, 7), (0.7, 0.9, 2.5), (-310.7, 122.3, 1456.789), LEFT_HANDED)
    image = Volume(np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7), geometry)
    mask = np.zeros(geometry.shape, bool)
    mask[1:3, 2:5, 3:6] = True
    write_structures(tmp_path / f"a{suffix}", StructureSet((Structure("label-1", mask),), geometry), image)
    read = read_structures(tmp_path / f"a{suffix}", image)
    assert read.geometry == geometry
    assert (read.structures[0].mask == mask).all()


def test_single_precision_does_not_part_a_nifti_from_its_image_a_metre_from_the_origin(tmp_path: Path) -> None:
    turn = 0.3217
    axes = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    geometry = Geometry((60, 512, 512), (0.488281, 0.488281, 0.7), (-1249.51172, 873.2, -1718.123), tuple(axes.ravel()))
    image = Volume(np.zeros(geometry.shape, np.uint8), geometry)
    labels = np.zeros(geometry.shape[::-1], np.uint8)
    labels[500:, 490:, 50:] = 1
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.index_to_world
    nifti = nibabel.Nifti1Image(labels, affine)
    nifti.set_sform(None)  # the grid as quaternion alone, the coarser of the two ways
    nifti.set_qform(affine, code=1)
    nibabel.save(nifti, tmp_path / "a.nii.gz")
    (read,) = read_structures(tmp_path / "a.nii.gz", image).structures
    assert (read.mask == (labels.T > 0)).all()
