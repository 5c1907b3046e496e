"""Multi-frame and compressed images, made from plain series that we read elsewhere."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    EnhancedCTImageStorage,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    XRay3DAngiographicImageStorage,
)

from adaptsam.errors import GeometryError, InputError
from adaptsam.image import Structure, StructureSet, Volume
from adaptsam.io import list_series, read_structures, read_volume, write_structures

MakeSeries = Callable[..., Path]
Edit = Callable[[FileDataset], None]
TURN = 0.4
AXES = np.array([[np.cos(TURN), 0, np.sin(TURN)], [0, 1, 0], [-np.sin(TURN), 0, np.cos(TURN)]])


@pytest.fixture
def plain(make_series: MakeSeries) -> Path:
    """A folder of plain slices, whose names are not in the order of their positions."""
    return make_series(axes=AXES)


@pytest.fixture
def make_frames(plain: Path) -> Callable[..., Path]:
    """One multi-frame file of the plain slices, in the order of their names."""

    def make(sop_class: str = EnhancedCTImageStorage, edit: Edit = lambda dataset: None) -> Path:
        slices = [dcmread(path) for path in sorted(plain.iterdir())]
        dataset = multi_frame(slices, sop_class)
        edit(dataset)
        folder = plain.parent / "enhanced"
        folder.mkdir(exist_ok=True)
        dataset.save_as(folder / "frames.dcm", enforce_file_format=True)
        return folder / "frames.dcm"

    return make


def multi_frame(slices: list[FileDataset], sop_class: str) -> FileDataset:
    dataset = FileDataset("", slices[0], file_meta=slices[0].file_meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = slices[0].ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = slices[0].PixelSpacing, slices[0].SliceThickness
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [frame_groups(one) for one in slices]
    dataset.PixelData = b"".join(one.PixelData for one in slices)
    dataset.NumberOfFrames = len(slices)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, keyword)
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        delattr(dataset, keyword)
    return dataset


def frame_groups(one: FileDataset) -> Dataset:
    groups, position, values = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = one.ImagePositionPatient
    values.RescaleSlope, values.RescaleIntercept = one.RescaleSlope, one.RescaleIntercept
    groups.PlanePositionSequence, groups.PixelValueTransformationSequence = [position], [values]
    return groups


def assert_equal(one: Volume, other: Volume) -> None:
    assert one.geometry == other.geometry
    assert (one.array == other.array).all()


@pytest.mark.parametrize("sop_class", [EnhancedCTImageStorage, XRay3DAngiographicImageStorage])
def test_a_multi_frame_image_is_the_same_volume_as_its_slices(
    make_frames: Callable[..., Path], plain: Path, sop_class: str
) -> None:
    path = make_frames(sop_class)
    assert_equal(read_volume(path), read_volume(plain))
    assert_equal(read_volume(path.parent), read_volume(plain))
    assert [info.slices for info in list_series(path.parent)] == [6]


def test_highdicom_finds_the_voxels_where_we_do(make_frames: Callable[..., Path]) -> None:
    path = make_frames()
    ours, theirs = read_volume(path), hd.imread(path).get_volume()
    i, j, k = 9, 4, 2
    index = np.rint(np.linalg.inv(theirs.affine) @ [*ours.geometry.world([i, j, k]), 1])[:3].astype(int)
    assert theirs.array[tuple(index)] == ours.array[k, j, i]


def test_a_series_that_highdicom_converted_is_the_same_volume(plain: Path, tmp_path: Path) -> None:
    slices = [dcmread(path) for path in plain.iterdir()]
    for one in slices:
        one.PatientSex = one.StudyID = one.StudyTime = ""
        one.ImageType, one.Manufacturer = ["ORIGINAL", "PRIMARY", "AXIAL"], "maker"
        one.ReferringPhysicianName = one.SeriesDate = one.SeriesTime = one.ContentDate = one.ContentTime = ""
        one.AcquisitionDate = one.AcquisitionTime = ""
    made = hd.legacy.LegacyConvertedEnhancedCTImage(slices, hd.UID(), 5, hd.UID(), 1)
    made.save_as(tmp_path / "legacy.dcm")
    assert_equal(read_volume(tmp_path / "legacy.dcm"), read_volume(plain))


def test_every_frame_has_its_own_rescaling(make_frames: Callable[..., Path], plain: Path) -> None:
    def edit(dataset: FileDataset) -> None:
        for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence, 1):
            groups.PixelValueTransformationSequence[0].RescaleSlope = number

    image, before = read_volume(make_frames(edit=edit)), read_volume(plain).array.astype(int)
    assert image.dicom is not None
    for k, number in enumerate(image.dicom.frame_numbers):
        assert (image.array[k] == (before[k] + 1024) * number - 1024).all()


def test_frames_of_another_unit_are_no_ct(make_frames: Callable[..., Path]) -> None:
    def edit(dataset: FileDataset) -> None:
        for groups in dataset.PerFrameFunctionalGroupsSequence:
            groups.PixelValueTransformationSequence[0].RescaleType = "MGML"

    with pytest.raises(InputError, match="are concentrations"):
        read_volume(make_frames(edit=edit))


@pytest.mark.parametrize("used", [12, 16])
def test_while_frames_are_read_one_of_them_is_in_memory_beside_the_array(
    make_series: Callable[..., Path], tmp_path: Path, used: int
) -> None:
    folder = make_series(shape=(40, 200, 200))
    dataset = multi_frame([dcmread(path) for path in sorted(folder.iterdir())], EnhancedCTImageStorage)
    dataset.BitsStored, dataset.HighBit = used, used - 1
    dataset.save_as(tmp_path / "frames.dcm", enforce_file_format=True)
    expected = read_volume(tmp_path / "frames.dcm").array  # libraries are imported, and what they keep is there
    tracemalloc.start()
    array = read_volume(tmp_path / "frames.dcm").array
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (array == expected).all()
    assert peak < 1.5 * array.nbytes


def structures_on(image: Volume) -> StructureSet:
    mask = np.zeros(image.geometry.shape, bool)
    mask[2:5, 3:8, 4:9] = True
    return StructureSet((Structure("GTV", mask),), image.geometry)


def test_an_rtstruct_and_a_seg_of_a_multi_frame_image_refer_to_its_frames(
    make_frames: Callable[..., Path], tmp_path: Path
) -> None:
    image = read_volume(make_frames())
    assert image.dicom is not None
    structures = structures_on(image)
    mask = structures.structures[0].mask
    numbers = [image.dicom.frame_numbers[k] for k in (2, 3, 4)]
    assert sorted(image.dicom.frame_numbers) == [1, 2, 3, 4, 5, 6]
    for name in ("rs.dcm", "a.seg.dcm"):
        write_structures(tmp_path / name, structures, image)
        assert (read_structures(tmp_path / name, image).structures[0].mask == mask).all()
    rtstruct = dcmread(tmp_path / "rs.dcm")
    contours = rtstruct.ROIContourSequence[0].ContourSequence
    assert [contour.ContourImageSequence[0].ReferencedFrameNumber for contour in contours] == numbers
    study = rtstruct.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    assert len(study.RTReferencedSeriesSequence[0].ContourImageSequence) == 1
    seg = hd.seg.segread(tmp_path / "a.seg.dcm")
    (uid,) = set(image.dicom.sop_instance_uids)
    assert {str(source) for _, _, source in seg.get_source_image_uids()} == {uid}
    assert seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPClassUID == EnhancedCTImageStorage
    found = seg.get_pixels_by_source_frame(uid, numbers)[..., 0]
    assert (found == mask[2:5]).all()


def gdcm_frames(frames: np.ndarray, compressor: str, folder: Path) -> list[bytes]:
    """Each frame as GDCM compresses it."""
    packed = []
    for frame in frames:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.SetFileName(str(folder / "packed.dcm"))
        writer.Execute(sitk.GetImageFromArray(frame[None]))
        packed += list(generate_frames(dcmread(folder / "packed.dcm").PixelData, number_of_frames=1))
    return packed


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_compressed_frames_are_decoded_without_further_packages(
    make_frames: Callable[..., Path], plain: Path, tmp_path: Path, syntax: str, signed: bool
) -> None:
    before = read_volume(plain).array

    def edit(dataset: FileDataset) -> None:
        frames = np.frombuffer(dataset.PixelData, "<u2").reshape(-1, 12, 14)
        if signed:
            frames = frames.astype("<i2") - 1024
            dataset.PixelRepresentation, dataset.PixelData = 1, frames.tobytes()
            for groups in dataset.PerFrameFunctionalGroupsSequence:
                groups.PixelValueTransformationSequence[0].RescaleIntercept = 0
        if syntax in (JPEGLosslessSV1, JPEG2000Lossless):
            name = "JPEG" if syntax == JPEGLosslessSV1 else "JPEG2000"
            dataset.PixelData = encapsulate(gdcm_frames(frames, name, tmp_path))
            dataset["PixelData"].VR = "OB"
            dataset.file_meta.TransferSyntaxUID = syntax
        else:
            dataset.compress(syntax, generate_instance_uid=False)

    path = make_frames(edit=edit)
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert (read_volume(path).array == before).all()


def two_at_one_place(dataset: FileDataset) -> None:
    first, second, *_ = dataset.PerFrameFunctionalGroupsSequence
    second.PlanePositionSequence = first.PlanePositionSequence


@pytest.mark.parametrize(
    ("edit", "kind", "words"),
    [
        (two_at_one_place, GeometryError, "more than one slice at"),
        (lambda dataset: dataset.PerFrameFunctionalGroupsSequence.pop(), InputError, "places for 5 of its frames"),
        (
            lambda dataset: delattr(dataset, "PerFrameFunctionalGroupsSequence"),
            InputError,
            "the places of its frames cannot be read",
        ),
        (lambda dataset: setattr(dataset, "PixelData", dataset.PixelData[:-8]), InputError, "frames.dcm is truncated"),
        (
            lambda dataset: delattr(dataset.SharedFunctionalGroupsSequence[0], "PlaneOrientationSequence"),
            InputError,
            "lacks its position, orientation or pixel spacing",
        ),
    ],
)
def test_a_damaged_multi_frame_image_is_refused(
    make_frames: Callable[..., Path], edit: Edit, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        read_volume(make_frames(edit=edit))
