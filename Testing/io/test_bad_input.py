"""What cannot be used is refused in one sentence that says what is wrong, what to do, and nothing of the patient."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGLosslessSV1

from adaptsam.errors import AdaptSAMError, GeometryError, InputError
from adaptsam.image import Geometry, Volume
from adaptsam.io import list_series, read_structures, read_volume, write_structures, write_volume


@dataclass(frozen=True)
class Maker:
    """What a case may use."""

    tmp: Path
    series: Callable[..., Path]
    rtstruct: Callable[..., Path]
    rectangle: Callable[..., np.ndarray]

    def image(self) -> Volume:
        return read_volume(self.series())

    def contours(self, image: Volume, k: float = 2) -> dict[str, list[np.ndarray]]:
        return {"GTV": [self.rectangle(image.geometry, k, (1, 1), (5, 5))]}

    def itk(self, name: str, array: np.ndarray) -> Path:
        write_volume(self.tmp / name, Volume(array, Geometry(array.shape[:3], (1, 1, 2), (0, 0, 0))))
        return self.tmp / name


def without_slices(*missing: int) -> Callable[[Maker], object]:
    return lambda make: read_volume(make.series(shape=(9, 12, 14), edit=lambda dataset, k: k not in missing))


def positions(*z: float) -> Callable[[Maker], object]:
    def edit(dataset: FileDataset, k: int) -> None:
        dataset.ImagePositionPatient = [0, 0, z[k]]

    return lambda make: read_volume(make.series(shape=(len(z), 12, 14), edit=edit))


def with_attribute(keyword: str, value: object, *, slices: tuple[int, ...] = ()) -> Callable[[Maker], object]:
    def edit(dataset: FileDataset, k: int) -> None:
        if slices and k not in slices:
            return
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)

    return lambda make: read_volume(make.series(edit=edit))


def shifted_slices(make: Maker) -> object:
    def edit(dataset: FileDataset, k: int) -> None:
        dataset.ImagePositionPatient = [0, 0.3 * k**2, 3 * k]

    return read_volume(make.series(edit=edit))


def compressed(syntax: str) -> Callable[[Maker], object]:
    def edit(dataset: FileDataset, k: int) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([b"not really"])
        dataset["PixelData"].VR = "OB"

    return lambda make: read_volume(make.series(edit=edit))


def truncated(length: int) -> Callable[[Maker], object]:
    def read(make: Maker) -> object:
        folder = make.series()
        path = folder / "slice07.dcm"
        path.write_bytes(path.read_bytes()[:length])
        return read_volume(folder)

    return read


def two_series(make: Maker) -> object:
    make.series("both/a")
    return read_volume(make.series("both/b", series_uid="1.2.3.4", series_number=9).parent)


def no_such_series(make: Maker) -> object:
    return read_volume(make.series(), series="1.2.3.4")


def rtstruct_as_image(make: Maker) -> object:
    return read_volume(make.rtstruct(make.contours(make.image())))


def image_as_structures(make: Maker) -> object:
    return read_structures(make.series() / "slice00.dcm", make.image())


def contours_beyond_the_series(make: Maker) -> object:
    image = make.image()
    return read_structures(make.rtstruct(make.contours(image, k=8)), image)


def contours_of_another_frame(make: Maker) -> object:
    image = make.image()
    return read_structures(make.rtstruct(make.contours(image, k=2.3), frame="1.9"), image)


def contours_beside_the_image_of_another_frame(make: Maker) -> object:
    image = make.image()
    contours = {"GTV": [make.rectangle(image.geometry, 2, (40, 40), (50, 50))]}
    return read_structures(make.rtstruct(contours, frame="1.9"), image)


def contours_of_another_patient(make: Maker) -> object:
    image = make.image()
    edit = lambda dataset: setattr(dataset, "PatientID", "PID-0815")  # noqa: E731
    return read_structures(make.rtstruct(make.contours(image), frame="1.9", edit=edit), image)


def contours_across_the_slices(make: Maker) -> object:
    image = make.image()
    sagittal = image.geometry.world(np.array([[3, 1, 0], [3, 8, 0], [3, 8, 4], [3, 1, 4]]))
    return read_structures(make.rtstruct({"GTV": [sagittal]}), image)


def rtstruct_without_contours(make: Maker) -> object:
    return read_structures(make.rtstruct({"GTV": []}), make.image())


def rtstruct_with_broken_numbers(make: Maker) -> object:
    image = make.image()

    def edit(dataset: FileDataset) -> None:
        dataset.ROIContourSequence[0].ContourSequence[0].ContourData = ["1", "2", "3", "4"]

    return read_structures(make.rtstruct(make.contours(image), edit=edit), image)


def truncated_rtstruct(make: Maker) -> object:
    image = make.image()
    path = make.rtstruct(make.contours(image))
    path.write_bytes(path.read_bytes()[:-60])
    return read_structures(path, image)


def two_rtstructs(make: Maker) -> object:
    image = make.image()
    make.rtstruct(make.contours(image), "rs1.dcm")
    make.rtstruct(make.contours(image), "rs2.dcm")
    return read_structures(make.tmp, image)


def labels_of_another_grid(make: Maker) -> object:
    return read_structures(make.itk("labels.nrrd", np.ones((6, 12, 14), np.uint8)), make.image())


def labels_of_another_grid_as_segments(make: Maker) -> object:
    image = make.image()
    other = read_volume(make.itk("other.nrrd", np.arange(60, dtype=np.int16).reshape(3, 4, 5)))
    structures = read_structures(make.itk("labels.nrrd", np.ones((3, 4, 5), np.uint8)), other)
    write_structures(make.tmp / "a.seg.nrrd", structures, other)
    return read_structures(make.tmp / "a.seg.nrrd", image)


def image_of(array: np.ndarray) -> Callable[[Maker], object]:
    return lambda make: read_volume(make.itk("image.nrrd", array))


def labels_of(array: np.ndarray) -> Callable[[Maker], object]:
    return lambda make: read_structures(make.itk("labels.nrrd", array), make.image())


def text_file(name: str) -> Callable[[Maker], object]:
    def read(make: Maker) -> object:
        (make.tmp / name).write_text("no image")
        return read_volume(make.tmp / name)

    return read


NOT_A_NUMBER = np.array([[[0, 1], [np.nan, np.inf]]], np.float32)
FOUR_D = np.zeros((2, 2, 2, 3), np.float32)
CASES = [
    ("a mask on another grid", labels_of_another_grid, GeometryError, "labels.nrrd lies on another grid"),
    ("segments on another grid", labels_of_another_grid_as_segments, GeometryError, "a.seg.nrrd lies on another grid"),
    ("contours beyond the series", contours_beyond_the_series, GeometryError, "no slice (at -76 mm)"),
    ("contours of another frame", contours_of_another_frame, GeometryError, "no slice (at -93.1 mm)"),
    ("contours beside the image", contours_beside_the_image_of_another_frame, GeometryError, "beside the image"),
    ("contours of another patient", contours_of_another_patient, GeometryError, "another patient"),
    ("contours across the slices", contours_across_the_slices, GeometryError, "not parallel to the slices"),
    ("a missing slice", without_slices(4), GeometryError, "lacks the slices at -88.00 mm (one every 3 mm)"),
    ("missing slices", without_slices(2, 3, 6), GeometryError, "at -94.00, -91.00, -82.00 mm"),
    ("a slice twice", positions(0, 3, 6, 6, 9), GeometryError, "more than one slice at 6.00 mm"),
    ("uneven slices", positions(0, 3, 6, 10.3, 13), GeometryError, "unevenly spaced, 2.7 to 4.3 mm apart"),
    ("slices beside each other", shifted_slices, GeometryError, "unevenly shifted sideways"),
    ("two matrices", with_attribute("PixelSpacing", [2, 2], slices=(3,)), GeometryError, "differ in matrix or pixel"),
    ("a scout", with_attribute("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], slices=(2, 3)), GeometryError, "scout"),
    ("no orientation", with_attribute("ImageOrientationPatient", None), InputError, "orientation"),
    ("an invalid orientation", with_attribute("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), InputError, "invalid"),
    ("no pixel format", with_attribute("BitsStored", None), InputError, "lacks BitsStored"),
    ("colour slices", with_attribute("SamplesPerPixel", 3), InputError, "colour"),
    ("frames in one file", with_attribute("NumberOfFrames", 5), InputError, "several frames"),
    ("a compression without decoder", compressed(HTJ2KLossless), InputError, "run 'pip install pylibjpeg"),
    ("broken JPEG 2000", compressed(JPEG2000Lossless), InputError, "pixels cannot be decoded; copy it again"),
    ("broken JPEG", compressed(JPEGLosslessSV1), InputError, "pixels cannot be decoded; copy it again"),
    ("truncated pixels", truncated(-100), InputError, "slice07.dcm is truncated"),
    ("a truncated header", truncated(700), InputError, "slice07.dcm is damaged or truncated"),
    ("a file cut to nothing", truncated(50), InputError, "slice07.dcm is not a DICOM file, or truncated"),
    (
        "several series",
        two_series,
        InputError,
        "holds 2 series; choose one by its UID or number: number 4, CT, 6 slices",
    ),
    ("no such series", no_such_series, InputError, "holds 0 series '1.2.3.4'"),
    ("an RTSTRUCT as image", rtstruct_as_image, InputError, "RTSTRUCT object without slices"),
    ("an image as RTSTRUCT", image_as_structures, InputError, "DICOM CT object; choose an RTSTRUCT or SEG"),
    ("an RTSTRUCT without contours", rtstruct_without_contours, InputError, "no closed contour"),
    ("an RTSTRUCT with broken numbers", rtstruct_with_broken_numbers, InputError, "contours cannot be read"),
    ("a truncated RTSTRUCT", truncated_rtstruct, InputError, "damaged"),
    ("two RTSTRUCTs in a folder", two_rtstructs, InputError, "holds 2 RTSTRUCT or SEG files (rs1.dcm, rs2.dcm)"),
    ("a folder without slices", lambda make: read_volume(make.tmp), InputError, "no DICOM image series"),
    ("a folder without RTSTRUCT", lambda make: read_structures(make.series(), make.image()), InputError, "0 RTSTRUCT"),
    ("NaN", image_of(NOT_A_NUMBER), InputError, "2 voxels that are not a number"),
    ("a constant image", image_of(np.full((2, 3, 4), 7, np.int16)), InputError, "same value everywhere"),
    ("a constant series", lambda m: read_volume(m.series(stored=np.zeros((6, 12, 14)))), InputError, "same value"),
    ("an empty mask", labels_of(np.zeros((6, 12, 14), np.uint8)), InputError, "labels.nrrd is empty"),
    ("an image as labelmap", labels_of(np.full((6, 12, 14), 0.5, np.float32)), InputError, "is not a labelmap"),
    ("too many labels", labels_of(np.arange(1008, dtype=np.int16).reshape(6, 12, 14)), InputError, "1007 different"),
    ("several values a voxel", image_of(FOUR_D), InputError, "3 values a voxel"),
    ("an unknown suffix", text_file("image.xyz"), InputError, "image.xyz is of no known kind; give one of DICOM, .nii"),
    ("a damaged NRRD", text_file("image.nrrd"), InputError, "image.nrrd is damaged or not what its suffix says"),
    ("a damaged NIfTI", text_file("image.nii.gz"), InputError, "image.nii.gz is damaged"),
    ("a text called DICOM", text_file("image.dcm"), InputError, "not a DICOM file"),
    ("structures as image", text_file("a.seg.nrrd"), InputError, "holds structures, not an image"),
    ("no file", lambda make: read_volume(make.tmp / "none.nrrd"), InputError, "none.nrrd does not exist"),
    ("a device", lambda make: read_volume("/dev/null"), InputError, "null is not a file"),
    ("no folder", lambda make: list_series(make.tmp / "none"), InputError, "none is not a folder"),
]


@pytest.mark.parametrize(("read", "kind", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_bad_input_is_refused_in_one_clear_sentence_without_the_patient(
    read: Callable[[Maker], object],
    kind: type[AdaptSAMError],
    words: str,
    tmp_path: Path,
    make_series: Callable[..., Path],
    make_rtstruct: Callable[..., Path],
    rectangle: Callable[..., np.ndarray],
    identity: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(kind) as caught:
        read(Maker(tmp_path, make_series, make_rtstruct, rectangle))
    message = str(caught.value)
    assert words in message
    assert message.endswith(".")
    assert "\n" not in message
    said = [message, *traceback.format_exception(caught.value), caplog.text, *capfd.readouterr()]
    said += [str(warning.message) for warning in recwarn]
    assert not [value for value in identity.values() for text in said if value in text]


def test_invalid_values_in_the_patients_attributes_stay_out_of_logs_and_warnings(
    make_series: Callable[..., Path], caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    secret = "SEKRETOVA-19500203-" * 6

    def edit(dataset: FileDataset, k: int) -> None:
        dataset.PatientID, dataset.PatientBirthDate, dataset.PatientAge = secret, "SEKRETOVA", "SEKRETOVA"

    caplog.set_level(logging.DEBUG)
    folder = make_series(edit=edit)
    recwarn.clear()
    caplog.clear()
    image = read_volume(folder)
    assert image.dicom is not None
    assert image.dicom.patient_id == secret
    assert "SEKRETOVA" not in caplog.text + "".join(str(warning.message) for warning in recwarn)


def test_no_repr_tells_who_the_patient_is(make_series: Callable[..., Path], identity: dict[str, str]) -> None:
    folder = make_series()
    image = read_volume(folder)
    shown = repr(image) + repr(image.dicom) + repr(list_series(folder))
    assert not [value for value in identity.values() if value in shown]
