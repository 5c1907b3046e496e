from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless
from scipy.spatial.transform import Rotation

from adaptsam.io import list_series, read_volume

MakeSeries = Callable[..., Path]


def test_slices_are_sorted_by_position_and_not_by_name_or_number(make_series: MakeSeries) -> None:
    volume = read_volume(make_series())
    assert volume.geometry.origin == (-10.5, 20.25, -100.0)
    assert volume.geometry.spacing == (1.5, 1.25, 3.0)
    assert (volume.array.ravel() == np.arange(6 * 12 * 14) % 3000 - 1024).all()
    assert volume.modality == "CT"


def test_one_slice_stands_for_its_series(make_series: MakeSeries) -> None:
    folder = make_series()
    assert (read_volume(folder / "slice07.dcm").array == read_volume(folder).array).all()


@pytest.mark.parametrize("seed", range(4))
def test_an_oblique_series_lies_where_simpleitk_sees_it(make_series: MakeSeries, seed: int) -> None:
    axes = Rotation.random(random_state=seed).as_matrix()
    folder = make_series(axes=axes)
    volume = read_volume(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    assert volume.geometry.direction == pytest.approx(image.GetDirection(), abs=1e-9)
    assert volume.geometry.world([13, 11, 5]) == pytest.approx(
        image.TransformIndexToPhysicalPoint((13, 11, 5)), abs=1e-6
    )
    assert (volume.array == sitk.GetArrayFromImage(image)).all()


def test_every_slice_has_its_own_rescaling(make_series: MakeSeries) -> None:
    def edit(dataset: FileDataset, k: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = k + 1, -1000 * k

    array = read_volume(make_series(edit=edit)).array
    stored = np.arange(6 * 12 * 14).reshape(6, 12, 14)
    assert (array == stored * np.arange(1, 7)[:, None, None] - 1000 * np.arange(6)[:, None, None]).all()


def test_a_fractional_slope_gives_fractions(make_series: MakeSeries) -> None:
    array = read_volume(make_series(edit=lambda dataset, k: setattr(dataset, "RescaleSlope", "0.5"))).array
    assert array.dtype == np.float32
    assert array[0, 0, 1] == -1023.5


def test_signed_pixels_stay_signed_and_foreign_bits_are_dropped(make_series: MakeSeries) -> None:
    values = np.random.default_rng(0).integers(-2048, 2048, (6, 12, 14))
    overlay_in_high_bits = (values & 0x0FFF) | 0x5000

    def edit(dataset: FileDataset, k: int) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
        dataset.RescaleIntercept = 0

    assert (read_volume(make_series(edit=edit, stored=overlay_in_high_bits)).array == values).all()


def test_values_beyond_16_bits_are_kept(make_series: MakeSeries) -> None:
    stored = np.full((6, 12, 14), 65535)
    stored[0] = 0
    assert read_volume(make_series(stored=stored)).array.max() == 65535 - 1024


def test_a_series_among_several_is_chosen_by_uid_or_number(make_series: MakeSeries) -> None:
    make_series("both/a")
    folder = make_series("both/b", shape=(3, 12, 14), series_uid="1.2.3.4", series_number=9).parent
    assert [(info.uid, info.number, info.slices) for info in list_series(folder)] == [
        ("1.2.826.0.1.3680043.8.498.2", 4, 6),
        ("1.2.3.4", 9, 3),
    ]
    assert read_volume(folder, "1.2.3.4").array.shape[0] == 3
    assert read_volume(folder, 4).array.shape[0] == 6
    assert read_volume(folder, "9").array.shape[0] == 3


def test_an_rtstruct_and_other_files_among_the_slices_do_not_disturb(
    make_series: MakeSeries, make_rtstruct: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_series()
    make_rtstruct({"GTV": [np.zeros((3, 3))]}).rename(folder / "rs.dcm")
    (folder / "notes.txt").write_text("hello")
    (folder / "._slice00.dcm").write_bytes(b"what a Mac leaves behind")
    assert len(list_series(folder)) == 1
    assert read_volume(folder).array.shape == (6, 12, 14)


def test_a_single_slice_is_as_thick_as_it_says(make_series: MakeSeries) -> None:
    assert read_volume(make_series(shape=(1, 12, 14))).geometry.spacing[2] == 3.0


def test_positions_rounded_by_the_scanner_are_even(make_series: MakeSeries) -> None:
    def edit(dataset: FileDataset, k: int) -> None:
        dataset.ImagePositionPatient = [0, 0, round(k * 1.24, 1)]

    assert read_volume(make_series(edit=edit)).geometry.spacing[2] == pytest.approx(1.24)


def test_an_old_file_without_preamble_is_read(make_series: MakeSeries, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()

    def edit(dataset: FileDataset, k: int) -> bool:
        del dataset.file_meta
        del dataset.preamble
        dataset.save_as(old / f"{k}.dcm", implicit_vr=ImplicitVRLittleEndian.is_implicit_VR, little_endian=True)
        return False

    make_series(edit=edit)
    assert read_volume(old).array[0, 0, 1] == -1023


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_lossless_compression_is_decoded_without_further_packages(
    make_series: MakeSeries, tmp_path: Path, compressor: str
) -> None:
    def edit(dataset: FileDataset, k: int) -> None:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.SetFileName(str(tmp_path / "packed.dcm"))
        writer.Execute(sitk.GetImageFromArray(dataset.pixel_array[None]))
        packed = dcmread(tmp_path / "packed.dcm")
        assert packed.file_meta.TransferSyntaxUID.is_compressed
        dataset.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
        dataset.PixelData = packed.PixelData
        dataset["PixelData"].VR = "OB"

    assert (read_volume(make_series("packed", edit=edit)).array == read_volume(make_series()).array).all()


def test_run_length_coding_is_decoded(make_series: MakeSeries) -> None:
    packed = make_series("packed", edit=lambda dataset, k: dataset.compress(RLELossless, generate_instance_uid=False))
    assert (read_volume(packed).array == read_volume(make_series()).array).all()


@pytest.mark.parametrize(
    ("attributes", "modality"),
    [
        ({}, "CT"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CONEBEAM"]}, "CBCT"),
        ({"SeriesDescription": "kV CBCT_2 a"}, "CBCT"),
        ({"ManufacturerModelName": "On-Board Imager"}, "CBCT"),
        ({"ManufacturerModelName": "XVI"}, "CBCT"),
        ({"ManufacturerModelName": "Brilliance Big Bore", "SeriesDescription": "Thorax 3.0"}, "CT"),
        ({"ManufacturerModelName": "On-Board Imager", "Modality": "MR"}, "MR"),
    ],
)
def test_a_cone_beam_is_known_by_its_header(
    make_series: MakeSeries, attributes: dict[str, object], modality: str
) -> None:
    def edit(dataset: FileDataset, k: int) -> None:
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)

    assert read_volume(make_series(edit=edit)).modality == modality
