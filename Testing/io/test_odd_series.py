"""Series as scanners and archives leave them: localizers, copies, phases, padding, inverted or missing units."""

from __future__ import annotations

import gzip
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from adaptsam.errors import GeometryError, InputError
from adaptsam.image import Geometry, Volume
from adaptsam.image.intensity import is_ct, unit_doubt
from adaptsam.io import find_phases, list_series, read_volume

MakeSeries = Callable[..., Path]
Edit = Callable[[FileDataset, int], None]


def said(volume: Volume) -> list[tuple[str, int, bool]]:
    return [(one.what, one.count, one.left_out) for one in volume.remarks]


def attribute(keyword: str, value: object, *slices: int) -> Edit:
    def edit(dataset: FileDataset, k: int) -> None:
        if not slices or k in slices:
            setattr(dataset, keyword, value)

    return edit


@pytest.mark.parametrize(
    ("keyword", "value", "why"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], "another orientation"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], "localizers"),
        ("PixelSpacing", [3, 3], "another matrix or pixel size"),
    ],
)
def test_an_odd_slice_is_left_out_and_named(make_series: MakeSeries, keyword: str, value: object, why: str) -> None:
    volume = read_volume(make_series(edit=attribute(keyword, value, 0)))
    assert volume.array.shape == (5, 12, 14)
    assert said(volume) == [("slices of the series", 1, True)]
    assert why in volume.remarks[0].why


def test_where_many_slices_differ_nobody_can_say_which_are_meant(make_series: MakeSeries) -> None:
    folder = make_series(edit=attribute("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], 0, 1, 2))
    with pytest.raises(GeometryError, match="differ in orientation"):
        read_volume(folder)


@pytest.mark.parametrize(("jitter", "read"), [(2e-4, True), (9e-4, True), (1e-3, True), (4e-3, False)])
def test_orientations_may_jitter_by_a_thousandth(make_series: MakeSeries, jitter: float, read: bool) -> None:
    def edit(dataset: FileDataset, k: int) -> None:
        turn = jitter * (-1) ** (k // 2)  # four slices one way, two the other
        dataset.ImageOrientationPatient = [np.cos(turn), np.sin(turn), 0, -np.sin(turn), np.cos(turn), 0]

    folder = make_series(edit=edit)
    if read:
        volume = read_volume(folder)
        assert volume.geometry.direction == pytest.approx(np.eye(3).ravel(), abs=2 * jitter)
        assert not volume.remarks
    else:
        with pytest.raises(GeometryError, match="differ in orientation"):
            read_volume(folder)


def test_copies_of_files_are_left_out_and_counted(make_series: MakeSeries) -> None:
    folder = make_series()
    for path in sorted(folder.iterdir())[:2]:
        shutil.copy(path, folder / f"copy of {path.name}")
    volume = read_volume(folder)
    assert volume.array.shape == (6, 12, 14)
    assert said(volume) == [("files", 2, True)]


def test_files_without_preamble_and_suffix_are_read_among_the_others(make_series: MakeSeries) -> None:
    folder = make_series()
    for number, path in enumerate(sorted(folder.iterdir())):
        if number % 2:
            dataset = dcmread(path)
            path.unlink()
            del dataset.file_meta, dataset.preamble
            dataset.save_as(folder / f"IM{number:04d}", implicit_vr=True, little_endian=True)
        elif number % 4:
            path.rename(folder / f"IM{number:04d}")
    (folder / "notes").write_text("hello")
    (folder / "numbers").write_bytes(b"\x08\x00\xff\xff\xff\xff\xff\xff")
    assert (read_volume(folder).array.ravel() == np.arange(6 * 12 * 14) % 3000 - 1024).all()


@pytest.mark.parametrize("damage", ["packed", "empty", "short", "without its first 128 bytes"])
def test_files_that_may_have_been_slices_are_counted(make_series: MakeSeries, damage: str) -> None:
    """Without the last slice, nothing else tells that the series is not whole."""
    folder = make_series()
    last = max(folder.iterdir(), key=lambda path: dcmread(path).ImagePositionPatient[2])
    data = last.read_bytes()
    last.unlink()
    damaged = {
        "packed": gzip.compress(data),
        "empty": b"",
        "short": data[:100],
        "without its first 128 bytes": data[128:],
    }
    (folder / ("0001.dcm.gz" if damage == "packed" else "IM0001")).write_bytes(damaged[damage])
    (folder / "notes.txt").write_text("no slice")
    for path in (folder, next(folder.glob("*.dcm"))):
        volume = read_volume(path)
        assert volume.array.shape == (5, 12, 14)
        assert said(volume) == [("files beside the slices", 1, True)]


def test_every_second_slice_alone_is_named(make_series: MakeSeries) -> None:
    folder = make_series(edit=lambda dataset, k: k % 2 == 0)
    volume = read_volume(folder)
    assert volume.geometry.spacing[2] == 6
    assert said(volume) == [("slices", 3, False)]
    assert "steps of 2" in volume.remarks[0].why


def two_images(keyword: str, values: tuple[object, object]) -> Edit:
    """Twelve slices: two images of six at the same positions."""

    def edit(dataset: FileDataset, k: int) -> None:
        dataset.ImagePositionPatient = [0, 0, 3 * (k % 6)]
        if keyword:
            setattr(dataset, keyword, values[k // 6])

    return edit


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("AcquisitionNumber", (1, 2)),
        ("TriggerTime", (0, 100)),
        ("EchoTime", (4.6, 9.2)),
        ("DiffusionBValue", (0.0, 800.0)),
        ("TemporalPositionIdentifier", (1, 2)),
        ("ImageType", (["ORIGINAL", "PRIMARY", "IN_PHASE"], ["ORIGINAL", "PRIMARY", "WATER"])),
    ],
)
def test_a_series_of_two_images_is_told_apart_and_one_can_be_chosen(
    make_series: MakeSeries, keyword: str, values: tuple[object, object]
) -> None:
    folder = make_series(shape=(12, 12, 14), edit=two_images(keyword, values))
    with pytest.raises(
        InputError, match=rf"holds 2 images .* told apart by {keyword} .* choose one as series 4#1 or 4#2"
    ):
        read_volume(folder)
    stored = (np.arange(12 * 12 * 14) % 3000 - 1024).reshape(2, 6, 12, 14)
    assert (read_volume(folder, "4#1").array == stored[0]).all()
    assert (read_volume(folder, "4#2").array == stored[1]).all()
    phases = find_phases(folder)
    assert [len(phase.source.files) for phase in phases] == [6, 6]
    assert (phases[1].source.read().array == stored[1]).all()
    assert [info.told_by for info in list_series(folder)] == [keyword]


def in_two(
    keyword: str, count: int = 6, shift: float = 0.0, values: tuple[object, object] = (1, 2)
) -> Callable[[FileDataset, int], None]:
    """Two images, the first of ``count`` slices, the second one from ``shift`` mm on."""

    def edit(dataset: FileDataset, k: int) -> None:
        second = k >= count
        dataset.ImagePositionPatient = [0, 0, 3 * (k - count * second) + shift * second]
        setattr(dataset, keyword, values[second])

    return edit


@pytest.mark.parametrize(
    ("keyword", "slices", "shift"),
    [
        ("AcquisitionNumber", 11, 0),
        ("TemporalPositionIdentifier", 10, 0),
        ("FlipAngle", 11, 0),
        ("AcquisitionNumber", 12, 9),
        ("AcquisitionNumber", 12, 0.3),
        ("TemporalPositionIdentifier", 12, 1.5),
        ("EchoTime", 12, 1.5),
    ],
)
def test_images_of_unequal_length_or_between_each_other_s_slices_are_told_apart(
    make_series: MakeSeries, keyword: str, slices: int, shift: float
) -> None:
    folder = make_series(shape=(slices, 12, 14), edit=in_two(keyword, shift=shift))
    with pytest.raises(InputError, match=f"holds 2 images of the same place, told apart by {keyword}"):
        read_volume(folder)
    stored = np.arange(slices * 12 * 14).reshape(slices, 12, 14) % 3000 - 1024
    assert (read_volume(folder, "4#1").array == stored[:6]).all()
    assert (read_volume(folder, "4#2").array == stored[6:]).all()
    assert [len(phase.source.files) for phase in find_phases(folder)] == [6, slices - 6]


def test_acquisitions_whose_slices_lie_between_each_other_may_be_one_image_and_are_named(
    make_series: MakeSeries,
) -> None:
    volume = read_volume(make_series(shape=(12, 12, 14), edit=in_two("AcquisitionNumber", shift=1.5)))
    assert volume.geometry.spacing[2] == 1.5
    assert said(volume) == [("slices", 12, False)]
    assert "2 values of AcquisitionNumber" in volume.remarks[0].why
    after = read_volume(make_series("after", shape=(12, 12, 14), edit=in_two("AcquisitionNumber", shift=18)))
    assert not after.remarks


@pytest.mark.parametrize("attributes", [{"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, {}])
def test_what_belongs_to_none_of_several_images_is_named(make_series: MakeSeries, attributes: dict) -> None:
    def edit(dataset: FileDataset, k: int) -> None:
        if k < 12:
            two_images("AcquisitionNumber", (1, 2))(dataset, k)
            return
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)

    volume = read_volume(make_series(shape=(13, 12, 14), edit=edit), "4#2")
    assert said(volume) == [("slices of the series", 1, True)]


def test_two_images_that_nothing_tells_apart_are_refused(make_series: MakeSeries) -> None:
    with pytest.raises(GeometryError, match="nothing in the files tells them apart"):
        read_volume(make_series(shape=(12, 12, 14), edit=two_images("", (0, 0))))


def without_rescale(*slices: int) -> Edit:
    def edit(dataset: FileDataset, k: int) -> None:
        if not slices or k in slices:
            del dataset.RescaleIntercept, dataset.RescaleSlope

    return edit


def body(low: float) -> np.ndarray:
    """A body of water and fat in air, which is ``low``."""
    values = np.full((6, 12, 14), low)
    values[:, 3:9, 3:11] = low + 1030
    values[:, 3, 3:11] = low + 930
    return values


def test_a_ct_without_rescaling_says_so_and_is_not_taken_as_hounsfield_units(make_series: MakeSeries) -> None:
    bare = read_volume(make_series(stored=body(24), edit=without_rescale()))
    assert [one[:2] for one in said(bare)] == [("slices", 6)]
    assert "RescaleIntercept and RescaleSlope" in bare.remarks[0].why
    assert "nothing in it is below 0" in unit_doubt(bare)
    assert not is_ct(bare)
    whole = read_volume(make_series("whole", stored=body(24)))
    assert not whole.remarks
    assert not unit_doubt(whole)
    assert is_ct(whole)
    with pytest.raises(InputError, match="2 of 6 slices lack their RescaleIntercept"):
        read_volume(make_series("some", edit=without_rescale(1, 4)))


@pytest.mark.parametrize(
    ("low", "scale", "doubt"),
    [
        (-1000, 1, ""),
        (-1024, 1, ""),
        (0, 1, "nothing in it is below 0"),
        (-8192, 1, "dark voxels lie near -8192"),
        (-512, 1, "dark voxels lie near -512"),
        (-500, 2, "tissue lies near 1060"),
    ],
)
def test_a_ct_whose_air_or_tissue_lies_elsewhere_is_doubted(low: float, scale: float, doubt: str) -> None:
    array = (body(low) * scale).astype(np.int16)
    volume = Volume(array, Geometry(array.shape, (1, 1, 1), (0, 0, 0)), "CT")
    assert doubt in unit_doubt(volume) if doubt else not unit_doubt(volume)
    assert is_ct(volume) is not bool(doubt)


def test_a_ct_that_was_cropped_to_tissue_is_not_doubted() -> None:
    array = np.random.default_rng(0).normal(20, 60, (6, 20, 20)).astype(np.int16)
    assert not unit_doubt(Volume(array, Geometry(array.shape, (1, 1, 1), (0, 0, 0)), "CT"))


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("RescaleSlope", "-1", "turns dark into bright"),
        ("PhotometricInterpretation", "MONOCHROME1", "shown bright"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], "all say that they are localizers"),
    ],
)
def test_what_is_odd_of_a_whole_ct_is_named_and_read(
    make_series: MakeSeries, keyword: str, value: object, words: str
) -> None:
    volume = read_volume(make_series(edit=attribute(keyword, value)))
    assert volume.array.shape == (6, 12, 14)
    assert said(volume) == [("slices", 6, False)]
    assert words in volume.remarks[0].why


def test_rescalings_that_differ_between_slices_of_a_ct_are_named(make_series: MakeSeries) -> None:
    volume = read_volume(make_series(edit=attribute("RescaleIntercept", -1000, 2, 3)))
    assert volume.array[2, 0, 0] - volume.array[1, 0, 0] == 12 * 14 + 24
    assert said(volume) == [("slices", 6, False)]
    assert "2 rescalings" in volume.remarks[0].why


def test_a_slope_of_zero_is_refused(make_series: MakeSeries) -> None:
    with pytest.raises(InputError, match="rescaling that is no number"):
        read_volume(make_series(edit=attribute("RescaleSlope", 0)))


def test_a_table_of_values_is_looked_up(make_series: MakeSeries) -> None:
    def edit(dataset: FileDataset, k: int) -> None:
        del dataset.RescaleIntercept, dataset.RescaleSlope
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [3000, 0, 16], "US"
        table.add_new("LUTData", "OW", np.arange(7, 3007, dtype="<u2").tobytes())
        dataset.ModalityLUTSequence = [table]

    volume = read_volume(make_series(edit=edit))
    assert (volume.array.ravel() == np.arange(6 * 12 * 14) + 7).all()
    assert not volume.remarks


def test_padding_brighter_than_the_image_becomes_dark_and_is_counted(make_series: MakeSeries) -> None:
    stored = np.tile(np.arange(12 * 14).reshape(12, 14), (6, 1, 1))
    stored[:, 0, :5] = 60000

    def edit(dataset: FileDataset, k: int) -> None:
        dataset.add_new("PixelPaddingValue", "US", 60000)

    volume = read_volume(make_series(stored=stored, edit=edit))
    assert volume.array.max() == 12 * 14 - 1 - 1024
    assert (volume.array[:, 0, :5] == 5 - 1024).all()
    assert said(volume) == [("pixels", 30, False)]


def test_padding_darker_than_the_image_is_left_as_simpleitk_has_it(make_series: MakeSeries) -> None:
    stored = np.tile(np.arange(12 * 14).reshape(12, 14) + 100, (6, 1, 1))
    stored[:, 0, :5] = 0
    folder = make_series(stored=stored, edit=lambda dataset, k: dataset.add_new("PixelPaddingValue", "US", 0) and None)
    volume = read_volume(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    assert (volume.array == sitk.GetArrayFromImage(reader.Execute())).all()
    assert not volume.remarks


def test_monochrome_1_is_inverted_where_values_mean_brightness_alone(make_series: MakeSeries) -> None:
    def edit(dataset: FileDataset, k: int) -> None:
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.Modality = "MR"
        del dataset.RescaleIntercept, dataset.RescaleSlope

    values = np.arange(6 * 12 * 14).reshape(6, 12, 14)
    volume = read_volume(make_series(stored=4095 - values - 40, edit=edit))
    assert (volume.array == values + 40).all()
    assert said(volume) == [("slices", 6, False)]
    ct = read_volume(make_series("ct", edit=attribute("PhotometricInterpretation", "MONOCHROME1")))
    assert ct.array[0, 0, 1] == -1023  # Hounsfield units, however they are shown
    with pytest.raises(InputError, match="Some slices of the series are bright"):
        read_volume(make_series("mixed", edit=attribute("PhotometricInterpretation", "MONOCHROME1", 2)))


@pytest.mark.parametrize("kind", ["PALETTE COLOR", "RGB", "YBR_FULL"])
def test_colours_are_no_intensities(make_series: MakeSeries, kind: str) -> None:
    with pytest.raises(InputError, match="is a colour image"):
        read_volume(make_series(edit=attribute("PhotometricInterpretation", kind)))


@pytest.mark.parametrize("spacing", [[0, 0], [-4, 4], [4, -4]])
def test_pixels_without_a_size_or_of_a_negative_one_are_refused(make_series: MakeSeries, spacing: list[int]) -> None:
    with pytest.raises(InputError, match="pixel spacing that is not above 0"):
        read_volume(make_series(edit=attribute("PixelSpacing", spacing)))


def test_slices_of_two_modalities_are_no_image(make_series: MakeSeries) -> None:
    with pytest.raises(InputError, match="several modalities"):
        read_volume(make_series(edit=attribute("Modality", "MR", 1, 2)))


@pytest.mark.parametrize("count", [1, 4])
def test_mosaics_are_no_slices(make_series: MakeSeries, count: int) -> None:
    folder = make_series(edit=attribute("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]))
    for path in sorted(folder.iterdir())[count:]:
        path.unlink()
    with pytest.raises(InputError, match="holds mosaics"):
        read_volume(folder)


def test_a_file_of_the_series_without_a_place_is_counted(make_series: MakeSeries) -> None:
    folder = make_series()
    shot = dcmread(sorted(folder.iterdir())[0])
    shot.SOPClassUID = shot.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    del shot.ImagePositionPatient
    shot.save_as(folder / "shot.dcm")
    assert said(read_volume(folder)) == [("files of the series", 1, True)]


def test_reading_takes_little_more_memory_than_the_array(make_series: MakeSeries) -> None:
    import tracemalloc

    folder = make_series(shape=(60, 256, 256))
    read_volume(folder)
    tracemalloc.start()
    try:
        volume = read_volume(folder)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 1.5 * volume.array.nbytes


@pytest.mark.parametrize(
    ("keyword", "what"), [("PatientID", "patients"), ("FrameOfReferenceUID", "frames of reference")]
)
def test_slices_of_two_patients_or_two_frames_of_reference_are_no_image(
    make_series: MakeSeries, keyword: str, what: str
) -> None:
    with pytest.raises(InputError, match=f"several {what}"):
        read_volume(make_series(edit=attribute(keyword, "1.2.3", 4, 5)))


def test_a_frame_of_reference_of_its_own_for_each_slice_is_named(make_series: MakeSeries) -> None:
    def edit(dataset: FileDataset, k: int) -> None:
        dataset.FrameOfReferenceUID = f"1.2.{k + 1}"

    volume = read_volume(make_series(edit=edit))
    assert volume.array.shape == (6, 12, 14)
    assert said(volume) == [("slices", 6, False)]


def test_one_uid_on_two_different_slices_of_one_place_is_refused(make_series: MakeSeries) -> None:
    folder = make_series()
    path = sorted(folder.iterdir())[2]
    dataset = dcmread(path)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(folder / "a.dcm")
    with pytest.raises(
        InputError, match=rf"(a\.dcm and {path.name}|{path.name} and a\.dcm) are one slice by their SOP"
    ):
        read_volume(folder)


@pytest.mark.parametrize("unit", ["ED", "EDW", "Z_EFF", "MGML", "PCT", "OD"])
def test_a_ct_of_other_units_than_hounsfield_s_is_refused(make_series: MakeSeries, unit: str) -> None:
    with pytest.raises(InputError, match=rf"\(RescaleType {unit}\) and no Hounsfield units"):
        read_volume(make_series(edit=attribute("RescaleType", unit)))


@pytest.mark.parametrize(("unit", "named"), [("HU", 0), ("US", 0), ("HU_MOD", 1)])
def test_hounsfield_units_and_unspecified_ones_are_read(make_series: MakeSeries, unit: str, named: int) -> None:
    volume = read_volume(make_series(edit=attribute("RescaleType", unit)))
    assert len(volume.remarks) == named


def test_a_position_of_a_hundred_thousand_numbers_is_refused_at_once(make_series: MakeSeries) -> None:
    folder = make_series(edit=attribute("ImagePositionPatient", [0] * 100_000))
    began = time.process_time()
    with pytest.raises(InputError, match="lacks its position, orientation or pixel spacing"):
        read_volume(folder)
    assert time.process_time() - began < 5


def test_a_damaged_file_head_gets_one_sentence(make_series: MakeSeries) -> None:
    folder = make_series()
    path = sorted(folder.iterdir())[1]
    dataset = dcmread(path)
    del dataset.SOPClassUID
    dataset.save_as(path)
    path.write_bytes(path.read_bytes().replace(b"\x02\x00\x02\x00UI", b"\x02\x00\x02\x00QI"))
    with pytest.raises(InputError, match="is damaged or truncated; copy it again"):
        read_volume(folder)
