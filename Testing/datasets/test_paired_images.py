"""Kvasir-SEG, CVC-ClinicDB and folders of images and masks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptsam.datasets import check_samples, open_dataset, open_folder, recognise
from adaptsam.datasets.cvc_clinicdb import STARTS
from adaptsam.errors import InputError
from adaptsam.image import Geometry, Structure, StructureSet, Volume
from adaptsam.io import write_structures, write_volume


def problems(dataset) -> str:
    return " ".join(text for case in dataset.cases for text in case.problems)


def disc(height: int = 30, width: int = 40, radius: float = 8.0) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    return (rows - height // 2) ** 2 + (columns - width // 2) ** 2 < radius**2


def save_pair(image: Path, mask: Path, drawn: np.ndarray, value: int = 255) -> None:
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(drawn[..., None], (200, 90, 80), (120, 60, 50)).astype(np.uint8)).save(image)
    Image.fromarray((drawn * value).astype(np.uint8)).save(mask)


def test_kvasir_is_recognised_and_its_jpeg_masks_are_cut_at_the_middle(kvasir_folder):
    dataset = open_dataset(kvasir_folder)
    assert dataset.kind == "kvasir-seg"
    assert len(dataset.samples) == 4
    for sample in dataset.samples:
        image, mask = sample.read()
        gray = np.array(Image.open(kvasir_folder / "masks" / f"{sample.name}.jpg"))
        assert len(np.unique(gray)) > 2, "the compression has smeared it"
        assert image.shape == (48, 64, 3)
        assert (mask == (gray > 127)).all()


def test_pictures_without_a_partner_and_of_another_size_and_empty_and_damaged_are_told(kvasir_folder, copy_of):
    root = copy_of(kvasir_folder)
    first, second, third, fourth = sorted((root / "masks").iterdir())
    first.unlink()
    Image.new("L", (64, 50)).save(second)
    Image.new("L", (64, 48)).save(third)
    broken = root / "images" / fourth.name
    broken.write_bytes(broken.read_bytes()[:900])
    (root / "masks" / "lonely.jpg").write_bytes(fourth.read_bytes())
    told = problems(check_samples(open_dataset(root)))
    assert f"The image {first.name} has no mask." in told
    assert f"{second.stem}: the image has 64×48 pixels and its mask 64×50" in told
    assert f"{third.stem}: the mask is empty" in told
    assert f"{fourth.stem}: {fourth.name} cannot be read as a picture" in told
    assert "The mask lonely.jpg has no image." in told
    with pytest.raises(InputError, match="cannot be used as kvasir-seg"):
        check_samples(open_dataset(root)).check_usable()


def test_cvc_frames_are_told_apart_by_the_29_sequences(cvc_folder):
    dataset = open_dataset(cvc_folder)
    assert dataset.kind == "cvc-clinicdb"
    assert [case.name for case in dataset.cases] == ["sequence-01", "sequence-02"]
    assert [sample.name for sample in dataset.cases[1].samples] == [f"sequence-02/frame-{n:03d}" for n in (26, 27, 28)]
    assert dataset.samples[0].read()[1].any()
    assert len(STARTS) == 29
    assert "lacks the frames 1, 2" in dataset.cases[0].remarks[0]


def test_cvc_is_found_in_the_folders_of_both_formats_the_tiff_first(cvc_folder, tmp_path):
    for kind in ("PNG", "TIF"):
        shutil.copytree(cvc_folder, tmp_path / kind)
    for path in (tmp_path / "PNG").rglob("*.tif"):
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    assert recognise(tmp_path) == "cvc-clinicdb"
    assert open_dataset(tmp_path).name == "TIF"
    assert len(open_dataset(tmp_path / "PNG").samples) == 6


def test_a_stray_file_among_the_cvc_frames_is_told(cvc_folder, copy_of):
    root = copy_of(cvc_folder)
    shutil.copy(root / "Original" / "26.tif", root / "Original" / "26 copy.tif")
    assert "26 copy.tif" in open_dataset(root).problems[0]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a.png", "masks/a.png"),
        ("image/video_1/image_0001.png", "label/video_1/label_0001.png"),
        ("Imgs/B7.jpg", "GT/B7.png"),
        ("a.png", "a_mask.png"),
        ("patient-1/scan-2.jpg", "patient-1/scan-2_seg.png"),
    ],
)
def test_images_and_masks_are_matched_by_their_names(tmp_path, image, mask):
    drawn = disc()
    save_pair(tmp_path / image, tmp_path / mask, drawn)
    [sample] = open_dataset(tmp_path).samples
    found = sample.read()
    assert (found[1] == drawn).all()
    assert int(found[0][15, 20, 0]) > int(found[0][2, 2, 0]) + 50


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/img_{}.png", "masks/img_{}.png"),
        ("images/image_{}.png", "masks/image_{}_mask.png"),
        ("images/label-{}.png", "masks/label-{}.png"),
        ("images/frame_000{}.png", "masks/frame_000{}.png"),
        ("images/case_{}_0000.png", "labels/case_{}.png"),
        ("image_{}.png", "image_{}_mask.png"),
        ("patient-{}/image.png", "patient-{}/mask.png"),
    ],
)
def test_of_many_files_each_image_finds_its_own_mask(tmp_path, image, mask):
    drawn = [np.roll(disc(), 4 * number, axis=1) for number in range(3)]
    for number, one in enumerate(drawn):
        save_pair(tmp_path / image.format(number), tmp_path / mask.format(number), one)
    dataset = open_dataset(tmp_path)
    assert len(dataset.samples) == len(dataset.cases) == 3
    for sample, one in zip(dataset.samples, drawn, strict=True):
        assert (sample.read()[1] == one).all()


def test_one_label_of_several_can_be_asked_for(tmp_path):
    drawn = disc()
    labels = np.where(drawn, 2, 0)
    labels[:4] = 1
    save_pair(tmp_path / "images/a.png", tmp_path / "masks/a.png", drawn)
    Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "masks/a.png")
    assert (open_folder(tmp_path, label=2).samples[0].read()[1] == drawn).all()
    assert open_folder(tmp_path).samples[0].read()[1][0].all()


def test_volumes_give_their_axial_slices_however_they_are_stored(tmp_path):
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 900, (6, 20, 24)).astype(np.int16)
    mask = np.zeros(array.shape, bool)
    mask[2:4, 5:9, 6:14] = True
    upright = Geometry(array.shape, (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))
    # The same voxels with the slices along i, from head to feet, and rows from back to front.
    turned = Geometry((24, 20, 6), (3.0, 1.0, 1.0), (0.0, 19.0, 15.0), (0.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 0.0))
    for name, geometry, order in (
        ("upright", upright, lambda one: one),
        ("turned", turned, lambda one: one[::-1, ::-1].transpose(2, 1, 0)),
    ):
        volume = Volume(np.ascontiguousarray(order(array)), geometry, "CT")
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "labels").mkdir()
        write_volume(tmp_path / name / "images" / "p1.nii.gz", volume)
        structures = StructureSet((Structure("label-1", np.ascontiguousarray(order(mask))),), geometry)
        write_structures(tmp_path / name / "labels" / "p1.nrrd", structures, volume)
        dataset = open_dataset(tmp_path / name)
        assert dataset.unit == "volume"
        assert [sample.name for sample in dataset.samples] == ["p1/slice-002", "p1/slice-003"]
        image, found = dataset.samples[1].read()
        assert (found == mask[3]).all()
        assert np.abs(image[..., 1] - np.clip((array[3] + 910) / 1500, 0, 1) * 255).max() <= 0.51


def test_a_mask_on_another_grid_than_its_volume_is_told(tmp_path):
    array = np.random.default_rng(0).integers(-1000, 900, (6, 20, 24)).astype(np.int16)
    volume = Volume(array, Geometry(array.shape, (1.0, 1.0, 3.0), (0.0, 0.0, 0.0)), "CT")
    other = Geometry(array.shape, (1.0, 1.0, 2.0), (0.3, 0.0, 0.0))
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    write_volume(tmp_path / "images" / "p1.nii.gz", volume)
    mask = StructureSet((Structure("label-1", array > 0),), other)
    write_structures(tmp_path / "labels" / "p1.nii.gz", mask, Volume(array, other, "CT"))
    dataset = open_dataset(tmp_path)
    assert not dataset.usable
    assert "p1.nii.gz" in problems(dataset)


def test_folders_that_are_no_data_set_are_refused_in_a_sentence(tmp_path, nsclc_folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    (tmp_path / "kvasir.zip").write_bytes(b"PK")
    shutil.copytree(nsclc_folder / "LUNG1-001", tmp_path / "hospital" / "patient-a")
    for name, said in (
        ("gone", "is not a folder"),
        ("empty", "is empty"),
        ("notes", "no data set that is known"),
        ("kvasir.zip", "unpack"),
        ("hospital", "--kind nsclc-radiomics"),
    ):
        with pytest.raises(InputError, match=said):
            open_dataset(tmp_path / name)
    with pytest.raises(InputError, match="There is no data set 'mnist'"):
        open_dataset(tmp_path, "mnist")
    assert [case.name for case in open_dataset(tmp_path / "hospital", "nsclc-radiomics").cases] == ["patient-a"]
