from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.sr.codedict import codes

from adaptsam.errors import GeometryError, InputError
from adaptsam.image import Structure, StructureSet, Volume
from adaptsam.image.terminology import term_of
from adaptsam.io import read_structures, read_volume, write_structures

MakeSeries = Callable[..., Path]


@pytest.fixture
def image(make_series: MakeSeries) -> Volume:
    turn = 0.4
    axes = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return read_volume(make_series(axes=axes))


@pytest.fixture
def structures(image: Volume) -> StructureSet:
    """Two that overlap and one that vanished."""
    tumour, lung = np.zeros(image.geometry.shape, bool), np.zeros(image.geometry.shape, bool)
    tumour[2:4, 3:8, 4:9] = True
    lung[1:6, 1:11, 1:13] = True
    made = (
        Structure("GTV Rückenmark", tumour, (10, 200, 30)),
        Structure("Lung_L", lung, (200, 20, 255)),
        Structure("gone", np.zeros_like(tumour)),
    )
    return StructureSet(made, image.geometry)


@pytest.fixture
def written(image: Volume, structures: StructureSet, tmp_path: Path) -> Path:
    write_structures(tmp_path / "a.seg.dcm", structures, image, model="ab" * 32)
    return tmp_path / "a.seg.dcm"


def edited(path: Path, edit: Callable[[FileDataset], None]) -> Path:
    dataset = dcmread(path)
    edit(dataset)
    dataset.save_as(path)
    return path


def test_overlapping_segments_come_back_with_name_and_colour(
    written: Path, image: Volume, structures: StructureSet
) -> None:
    read = read_structures(written, image)
    assert read.names == structures.names
    for before, after in zip(structures.structures, read.structures, strict=True):
        assert (before.mask == after.mask).all()
        assert np.abs(np.array(before.color) - after.color).max() <= 3


def test_highdicom_finds_the_segments_where_they_lie(written: Path, image: Volume, structures: StructureSet) -> None:
    seg = hd.seg.segread(written)
    assert image.dicom is not None
    found = seg.get_pixels_by_source_instance(image.dicom.sop_instance_uids, assert_missing_frames_are_empty=True)
    assert (np.moveaxis(found, -1, 0) == np.stack([one.mask for one in structures.structures])).all()


def test_a_seg_refers_to_its_series_and_keeps_patient_and_study(
    written: Path, image: Volume, identity: dict[str, str]
) -> None:
    dataset = dcmread(written)
    assert image.dicom is not None
    (series,) = dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.dicom.series_uid
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == set(
        image.dicom.sop_instance_uids
    )
    assert dataset.FrameOfReferenceUID == image.dicom.frame_of_reference_uid
    assert dataset.StudyInstanceUID == image.dicom.study_uid
    assert dataset.SeriesInstanceUID != image.dicom.series_uid
    assert {keyword: str(dataset[keyword].value) for keyword in identity} == identity


def test_a_seg_says_what_made_it_and_what_each_segment_is(written: Path) -> None:
    dataset = dcmread(written)
    assert dataset.Manufacturer == "AdaptSAM"
    assert "research use only" in dataset.ContentDescription
    assert {segment.SegmentAlgorithmType for segment in dataset.SegmentSequence} == {"AUTOMATIC"}
    made_by = dataset.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert made_by.AlgorithmName == "AdaptSAM"
    assert made_by.AlgorithmVersion
    assert "ab" * 32 in made_by.AlgorithmParameters
    kinds = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in dataset.SegmentSequence]
    assert [kind.CodeValue for kind in kinds] == ["228791009", "39607008", "85756007"]
    assert kinds[1].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"


def test_no_attribute_that_dicom_requires_of_a_seg_is_missing(written: Path) -> None:
    standard = pytest.importorskip("highdicom._standard_utils")
    dataset = dcmread(written)
    for module in standard.get_iod_module_map()["segmentation"]:
        if module["usage"] == "M" and "functional-groups" not in module["key"]:  # what is shared is not per frame
            standard.check_required_attributes(dataset, module["key"])


@pytest.mark.parametrize(
    ("name", "meaning", "side"),
    [
        ("SpinalCord", "Spinal cord", None),
        ("cord", "Spinal cord", None),
        ("kidney_right", "Kidney", "Right"),
        ("Lungs-GTV", "Lung", None),
        ("gtv-1", "Gross tumor volume (observable entity)", None),
        ("PTV", "Planning target volume (observable entity)", None),
        ("BrainStem", "Brain Stem", None),
        ("PRV_SpinalCord", "Tissue", None),
        ("vocal cord", "Tissue", None),
        ("left thing", "Tissue", None),
    ],
)
def test_a_name_of_the_clinic_has_its_standard_code(name: str, meaning: str, side: str | None) -> None:
    term = term_of(Structure(name, np.zeros((1, 1, 1), bool)))
    assert (term.kind.meaning, term.side and term.side.meaning) == (meaning, side)
    assert term.kind.scheme_designator == "SCT"


def test_the_codes_that_a_structure_brought_along_go_before_its_name() -> None:
    mask = np.zeros((1, 1, 1), bool)
    own = {"CodeValue": "42", "CodingSchemeDesignator": "99LOCAL", "CodeMeaning": "Odd liver"}
    assert term_of(Structure("Lung", mask, tags=own)).kind.meaning == "Odd liver"
    slicer = (
        "Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes~^^~^^"
    )
    term = term_of(Structure("Segment_1", mask, tags={"TerminologyEntry": slicer}))
    assert (term.category.meaning, term.kind.value, term.side) == ("Anatomical Structure", "10200004", None)
    assert term_of(Structure("Segment_1", mask, interpreted_type="GTV")).kind == codes.SCT.GrossTumorVolume


def test_a_seg_of_another_series_is_matched_by_position_where_the_frame_of_reference_agrees(
    written: Path, image: Volume, structures: StructureSet, caplog: pytest.LogCaptureFixture
) -> None:
    assert image.dicom is not None
    other = replace(image, dicom=replace(image.dicom, series_uid="1.2.3"))
    read = read_structures(written, other)
    assert (read.structures[0].mask == structures.structures[0].mask).all()
    assert "names another series" in caplog.text


def test_a_seg_of_another_frame_of_reference_is_refused(written: Path, image: Volume) -> None:
    assert image.dicom is not None
    foreign = replace(image.dicom, series_uid="1.2.3", frame_of_reference_uid="1.2.4")
    with pytest.raises(GeometryError, match="another series with another frame of reference; choose that series"):
        read_structures(written, replace(image, dicom=foreign))
    with pytest.raises(GeometryError, match="belongs to another patient"):
        read_structures(written, replace(image, dicom=replace(foreign, patient_id="somebody else")))


def test_a_seg_that_is_refused_is_told_in_one_sentence(
    written: Path, image: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    def edit(dataset: FileDataset) -> None:
        dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [9, 9]

    assert image.dicom is not None
    other = replace(image, dicom=replace(image.dicom, series_uid="1.2.3"))
    with pytest.raises(GeometryError, match="on another grid"):
        read_structures(edited(written, edit), other)
    assert not caplog.records


def test_a_seg_that_contradicts_the_image_whose_series_it_names_is_named(written: Path, image: Volume) -> None:
    def edit(dataset: FileDataset) -> None:
        dataset.FrameOfReferenceUID, dataset.PatientID = "1.2.4", "somebody else"

    read = read_structures(edited(written, edit), image)
    assert read.structures[0].mask.any()
    assert [one.what for one in read.remarks] == ["files of structures", "segments"]
    assert "another frame of reference" in read.remarks[1].why


def test_a_cropped_and_turned_seg_finds_its_voxels(written: Path, image: Volume, structures: StructureSet) -> None:
    """Frames of 8×9 pixels, numbered from the opposite corner, with rows and columns exchanged."""
    (j0, j1), (i0, i1) = (2, 10), (1, 10)
    tumour = structures.structures[0].mask[:, j0:j1, i0:i1].transpose(0, 2, 1)[:, ::-1]
    matrix = np.reshape(image.geometry.direction, (3, 3))

    def edit(dataset: FileDataset) -> None:
        del dataset.SegmentSequence[1:]
        frames = dataset.PerFrameFunctionalGroupsSequence
        dataset.PerFrameFunctionalGroupsSequence = [
            one for one in frames if one.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1
        ]
        dataset.NumberOfFrames = len(dataset.PerFrameFunctionalGroupsSequence)
        dataset.Rows, dataset.Columns = i1 - i0, j1 - j0
        shared = dataset.SharedFunctionalGroupsSequence[0]
        spacing = shared.PixelMeasuresSequence[0].PixelSpacing
        shared.PixelMeasuresSequence[0].PixelSpacing = [spacing[1], spacing[0]]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = [*matrix[:, 1], *-matrix[:, 0]]
        for groups, k in zip(dataset.PerFrameFunctionalGroupsSequence, (2, 3), strict=True):
            place = image.geometry.world(np.array([i1 - 1, j0, k]))
            groups.PlanePositionSequence[0].ImagePositionPatient = [f"{value:.8g}" for value in place]
        dataset.PixelData = np.packbits(tumour[2:4].ravel(), bitorder="little").tobytes()

    (read,) = read_structures(edited(written, edit), image).structures
    assert (read.mask == structures.structures[0].mask).all()


def test_of_a_fractional_seg_half_a_voxel_counts_as_a_whole_one_and_the_log_says_so(
    image: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shares = np.zeros(image.geometry.shape)
    shares[2, 4, 4:8] = [0.2, 0.49, 0.51, 1.0]
    path = tmp_path / "fractional.dcm"
    highdicom_seg(tmp_path / "ct", shares, "FRACTIONAL", max_fractional_value=200).save_as(path)
    (structure,) = read_structures(path, image).structures
    assert np.argwhere(structure.mask).tolist() == [[2, 4, 6], [2, 4, 7]]
    assert "is fractional" in caplog.text


def test_a_seg_that_stores_labels_is_read(image: Volume, tmp_path: Path) -> None:
    labels = np.zeros(image.geometry.shape, np.uint8)
    labels[1:3, 2:5, 2:6], labels[3:5, 2:5, 2:6] = 1, 2
    highdicom_seg(tmp_path / "ct", labels, "LABELMAP", segments=2).save_as(tmp_path / "labels.dcm")
    read = read_structures(tmp_path / "labels.dcm", image).structures
    assert [(structure.mask == (labels == number)).all() for number, structure in enumerate(read, 1)] == [True, True]


def test_the_padding_of_a_seg_that_stores_labels_is_no_segment(image: Volume, tmp_path: Path) -> None:
    labels = np.zeros(image.geometry.shape, np.uint8)
    labels[1:3, 2:5, 2:6] = 1
    dataset = highdicom_seg(tmp_path / "ct", labels, "LABELMAP")
    stored = dataset.pixel_array
    dataset.PixelData, dataset.PixelPaddingValue = np.where(stored, stored, 255).astype(np.uint8).tobytes(), 255
    dataset.save_as(tmp_path / "labels.dcm")
    read = read_structures(tmp_path / "labels.dcm", image)
    assert (read.structures[0].mask == (labels == 1)).all()
    assert not read.remarks


def test_segments_that_share_a_label_are_called_by_their_descriptions(image: Volume, tmp_path: Path) -> None:
    """As NSCLC-Radiomics has them: "Lung" and "Lung", described as "Lung-Left" and "Lung-Right"."""
    pixels = np.zeros((*image.geometry.shape, 2), np.uint8)
    pixels[1:3, 2:5, 2:6, 0] = pixels[3:5, 2:5, 2:6, 1] = 1
    dataset = highdicom_seg(tmp_path / "ct", pixels, "BINARY", segments=2)
    for segment, side in zip(dataset.SegmentSequence, ("Left", "Right"), strict=True):
        segment.SegmentLabel, segment.SegmentDescription = "Lung", f"Lung-{side}"
    dataset.save_as(tmp_path / "lungs.dcm")
    assert read_structures(tmp_path / "lungs.dcm", image).names == ("Lung-Left", "Lung-Right")


def highdicom_seg(
    folder: Path, pixels: np.ndarray, kind: str, segments: int = 1, **more: object
) -> hd.seg.Segmentation:
    """A SEG as another program writes it."""
    headers = sorted((dcmread(path) for path in folder.iterdir()), key=lambda one: -one.InstanceNumber)
    for header in headers:
        header.PatientSex = header.StudyID = header.StudyTime = ""
    return hd.seg.Segmentation(
        headers,
        pixels,
        kind,
        [
            hd.seg.SegmentDescription(number, f"part {number}", codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
            for number in range(1, segments + 1)
        ],
        hd.UID(),
        1,
        hd.UID(),
        1,
        "maker",
        "model",
        "1",
        "7",
        **more,
    )


def test_a_folder_with_one_seg_stands_for_it(written: Path, image: Volume, structures: StructureSet) -> None:
    assert read_structures(written.parent, image).names == structures.names


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda dataset: setattr(dataset, "SegmentationType", "MESH"), "a DICOM SEG of no known type"),
        (lambda dataset: setattr(dataset, "PixelData", dataset.PixelData[:8]), "is damaged: its segments"),
        (lambda dataset: delattr(dataset, "PerFrameFunctionalGroupsSequence"), "is damaged: its segments"),
    ],
)
def test_a_damaged_seg_is_refused(
    written: Path, image: Volume, edit: Callable[[FileDataset], None], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_structures(edited(written, edit), image)


def test_a_seg_beside_the_slices_or_outside_the_image_is_refused(written: Path, image: Volume) -> None:
    sideways = replace(image.geometry, origin=tuple(np.add(image.geometry.origin, [0.6, 0, 0])))
    with pytest.raises(GeometryError, match="lies on another grid"):
        read_structures(written, replace(image, geometry=sideways))
    lower = replace(image.geometry, shape=(3, 12, 14))
    with pytest.raises(GeometryError, match="has segments outside the image"):
        read_structures(written, replace(image, geometry=lower, array=image.array[:3]))


def test_without_a_dicom_image_a_seg_is_refused(volume: Volume, overlapping: StructureSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must refer to a DICOM series"):
        write_structures(tmp_path / "a.seg.dcm", overlapping, volume)
    assert not list(tmp_path.iterdir())


def test_writing_a_seg_tells_nobody_who_the_patient_is(
    make_series: MakeSeries,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    def edit(dataset: FileDataset, k: int) -> None:
        dataset.PatientName, dataset.PatientBirthDate, dataset.PatientID = "SEKRETOVA", "SEKRETOVA", "SEKRETOVA-" * 8

    image = read_volume(make_series(edit=edit))
    mask = np.ones(image.geometry.shape, bool)
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    recwarn.clear()
    write_structures(tmp_path / "a.seg.dcm", StructureSet((Structure("all", mask),), image.geometry), image)
    assert "SEKRETOVA" not in caplog.text + "".join(str(warning.message) for warning in recwarn)


@pytest.mark.parametrize(("frame", "words"), [("1.2.3", "another frame of reference"), ("", "no frame of reference")])
def test_a_seg_that_names_no_series_and_not_the_image_s_frame_is_named(
    written: Path, image: Volume, structures: StructureSet, frame: str, words: str
) -> None:
    def edit(dataset: FileDataset) -> None:
        del dataset.ReferencedSeriesSequence
        dataset.FrameOfReferenceUID = frame

    read = read_structures(edited(written, edit), image)
    assert (read.structures[0].mask == structures.structures[0].mask).all()
    assert [(one.what, one.left_out) for one in read.remarks] == [("segments", False)]
    assert words in read.remarks[0].why


def test_frames_of_one_segment_on_one_slice_are_named(written: Path, image: Volume) -> None:
    def edit(dataset: FileDataset) -> None:
        first, second = dataset.PerFrameFunctionalGroupsSequence[:2]
        second.PlanePositionSequence = first.PlanePositionSequence

    read = read_structures(edited(written, edit), image)
    assert [(one.what, one.count) for one in read.remarks] == [("slices of segments", 1)]
