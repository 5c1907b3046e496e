from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from scipy.spatial.transform import Rotation

from adaptsam.errors import GeometryError, InputError
from adaptsam.image import Structure, StructureSet, Volume
from adaptsam.io import read_structures, read_volume, write_dicom_series, write_structures

MakeFile = Callable[..., Path]
Rectangle = Callable[..., np.ndarray]


def test_contours_become_masks_with_name_number_colour_and_type(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    image = read_volume(make_series())
    grid = image.geometry
    path = make_rtstruct(
        {"GTV": [rectangle(grid, 2, (2.5, 3.5), (7.5, 6.5)), rectangle(grid, 4, (3.5, 3.5), (5.5, 5.5))]}
    )
    structures = read_structures(path, image)
    (tumour,) = structures.structures
    assert structures.geometry == grid
    assert (tumour.name, tumour.number, tumour.color, tumour.interpreted_type) == ("GTV", 11, (1, 2, 3), "GTV")
    assert tumour.mask.sum(axis=(1, 2)).tolist() == [0, 0, 15, 0, 4, 0]
    assert tumour.mask[2, 4:7, 3:8].all()


def test_a_prior_drawn_on_every_second_slice_says_so(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    image = read_volume(make_series())
    path = make_rtstruct({"GTV": [rectangle(image.geometry, k, (1, 1), (5, 5)) for k in (1, 3, 5)]})
    contoured = read_structures(path, image).structures[0].contoured
    assert contoured is not None
    assert contoured.tolist() == [False, True, False, True, False, True]


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_contour_within_another_is_a_hole(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle, kind: str
) -> None:
    image = read_volume(make_series())
    grid = image.geometry
    contours = [rectangle(grid, 2, (0.5, 0.5), (9.5, 9.5)), rectangle(grid, 2, (3.5, 3.5), (5.5, 6.5))]
    assert read_structures(make_rtstruct({"ring": contours}, kind=kind), image).structures[0].mask.sum() == 81 - 6


def test_a_contour_that_is_there_twice_does_not_undo_itself(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    image = read_volume(make_series())
    contour = rectangle(image.geometry, 2, (0.5, 0.5), (9.5, 9.5))
    assert read_structures(make_rtstruct({"GTV": [contour, contour]}), image).structures[0].mask.sum() == 81


def test_a_copy_of_a_contour_that_begins_elsewhere_or_goes_round_the_other_way_is_a_copy(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    image = read_volume(make_series())
    contour = np.asarray(rectangle(image.geometry, 2, (0.5, 0.5), (9.5, 9.5)))
    for copy in (contour[::-1], np.roll(contour, 1, axis=0), np.concatenate([contour, contour[:1]])):
        path = make_rtstruct({"GTV": [contour, copy]})
        assert read_structures(path, image).structures[0].mask.sum() == 81


def test_contours_half_way_between_slices_fall_on_every_slice(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    image = read_volume(make_series())
    planes = (0.5, 1.5001, 2.4999, 3.5)
    path = make_rtstruct({"GTV": [rectangle(image.geometry, k, (1, 1), (5, 5)) for k in planes]})
    assert read_structures(path, image).structures[0].mask.any(axis=(1, 2)).tolist() == [0, 1, 1, 1, 1, 0]


def test_structures_that_nobody_asked_for_may_lie_beside_the_slices(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    image = read_volume(make_series())
    contours = {
        "GTV": [rectangle(image.geometry, 2, (1, 1), (5, 5))],
        "couch": [rectangle(image.geometry, 40, (1, 1), (5, 5))],
        "unused": [],
    }
    path = make_rtstruct(contours)
    with pytest.raises(GeometryError, match=r"'couch' has contours .* or other structures"):
        read_structures(path, image)
    assert read_structures(path, image, ["gtv"]).names == ("GTV",)
    with pytest.raises(InputError, match=r"did you mean 'GTV'\? There are: GTV, couch, unused"):
        read_structures(path, image, ["GTV-1"])
    with pytest.raises(InputError, match="holds no closed contour of 'unused'; choose another structure"):
        read_structures(path, image, ["unused"])


def test_a_contour_between_slices_counts_for_the_nearest(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    image = read_volume(make_series())
    path = make_rtstruct({"GTV": [rectangle(image.geometry, 2.4, (1, 1), (5, 5))]})
    assert read_structures(path, image).structures[0].mask.any(axis=(1, 2)).tolist() == [0, 0, 1, 0, 0, 0]


def test_where_contours_lie_denser_than_slices_each_slice_takes_the_nearest_plane(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    image = read_volume(make_series())
    planes = [(1.75, 6.5), (2.0, 5.5), (2.25, 4.5)]
    path = make_rtstruct({"GTV": [rectangle(image.geometry, k, (0.5, 0.5), (end, end)) for k, end in planes]})
    assert read_structures(path, image).structures[0].mask.sum() == 25


def test_points_are_left_out_and_named_and_an_roi_without_contours_is_empty(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    image = read_volume(make_series())

    def edit(dataset: FileDataset) -> None:
        dataset.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = "POINT"

    contour = rectangle(image.geometry, 2, (1, 1), (5, 5))
    path = make_rtstruct({"GTV": [contour], "isocentre": [contour[:1]], "unused": []}, edit=edit)
    read = read_structures(path, image)
    assert {one.name: bool(one.mask.any()) for one in read.structures} == {"GTV": True, "unused": False}
    assert [(one.what, one.count) for one in read.remarks] == [("POINT contours of 'isocentre'", 1)]


def test_a_folder_with_one_rtstruct_stands_for_it(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    folder = make_series()
    image = read_volume(folder)
    make_rtstruct({"GTV": [rectangle(image.geometry, 2, (1, 1), (5, 5))]}).rename(folder / "rs.dcm")
    assert read_structures(folder, image).names == ("GTV",)


def test_an_rtstruct_of_another_series_is_matched_by_position_and_the_log_says_so(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle, caplog: pytest.LogCaptureFixture
) -> None:
    image = read_volume(make_series())
    contours = {"GTV": [rectangle(image.geometry, 2, (1, 1), (5, 5))]}
    with caplog.at_level(logging.WARNING):
        structures = read_structures(make_rtstruct(contours, series="1.9.9", frame="1.9.8"), image)
    assert structures.structures[0].mask.sum() == 25
    assert "matched by position" in caplog.text


def test_another_frame_of_reference_is_refused_when_a_plane_lies_off_the_slices(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    image = read_volume(make_series())
    path = make_rtstruct({"GTV": [rectangle(image.geometry, 2.4, (1, 1), (5, 5))]}, frame="1.9.8")
    with pytest.raises(GeometryError, match="where the image has no slice"):
        read_structures(path, image)


def test_the_image_need_not_be_dicom(make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle) -> None:
    image = read_volume(make_series())
    path = make_rtstruct({"GTV": [rectangle(image.geometry, 2, (1, 1), (5, 5))]})
    assert read_structures(path, Volume(image.array, image.geometry)).structures[0].mask.sum() == 25


@pytest.mark.parametrize("seed", range(3))
def test_written_and_read_again_oblique_masks_come_back_exactly(
    make_series: MakeFile, tmp_path: Path, seed: int
) -> None:
    image = read_volume(make_series(axes=Rotation.random(random_state=seed).as_matrix()))
    masks = np.random.default_rng(seed).random((2, *image.geometry.shape)) > 0.5
    written = StructureSet((Structure("a", masks[0], number=5), Structure("b", masks[1], number=5)), image.geometry)
    write_structures(tmp_path / "rs.dcm", written, image)
    read = read_structures(tmp_path / "rs.dcm", image)
    assert [structure.number for structure in read.structures] == [5, 6]
    assert (read.structures[0].mask == masks[0]).all()
    assert (read.structures[1].mask == masks[1]).all()


@pytest.fixture
def written(make_series: MakeFile, tmp_path: Path) -> tuple[FileDataset, Volume]:
    image = read_volume(make_series())
    ring = np.zeros(image.geometry.shape, bool)
    ring[1:4, 2:9, 2:9] = True
    ring[1:4, 4:6, 4:6] = False
    codes = {"CodeValue": "T-1", "CodingSchemeDesignator": "99TEST", "CodeMeaning": "Ring"}
    structures = (
        Structure("Ring", ring, (9, 8, 7), 42, "GTV", tags=codes),
        Structure("gone", np.zeros_like(ring), interpreted_type="ORGAN"),
    )
    write_structures(tmp_path / "rs.dcm", StructureSet(structures, image.geometry), image, model="ab" * 32)
    return dcmread(tmp_path / "rs.dcm"), image


def test_an_rtstruct_refers_to_the_slices_of_its_image(written: tuple[FileDataset, Volume]) -> None:
    dataset, image = written
    assert image.dicom is not None
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == image.dicom.frame_of_reference_uid
    assert series.SeriesInstanceUID == image.dicom.series_uid
    assert [item.ReferencedSOPInstanceUID for item in series.ContourImageSequence] == list(
        image.dicom.sop_instance_uids
    )
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        k = image.dicom.sop_instance_uids.index(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
        assert np.reshape(contour.ContourData, (-1, 3))[:, 2] == pytest.approx(-100 + 3 * k)


def test_an_rtstruct_has_its_own_uids_and_the_patient_and_study_of_its_image(
    written: tuple[FileDataset, Volume], identity: dict[str, str]
) -> None:
    dataset, image = written
    assert image.dicom is not None
    assert {keyword: str(dataset[keyword].value) for keyword in identity} == identity
    assert dataset.StudyInstanceUID == image.dicom.study_uid
    assert dataset.SeriesInstanceUID != image.dicom.series_uid
    assert dataset.SOPInstanceUID not in image.dicom.sop_instance_uids
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


def test_an_rtstruct_keeps_the_priors_number_colour_type_and_code(written: tuple[FileDataset, Volume]) -> None:
    dataset, _ = written
    assert [roi.ROINumber for roi in dataset.StructureSetROISequence] == [42, 43]
    assert dataset.ROIContourSequence[0].ROIDisplayColor == [9, 8, 7]
    assert [item.RTROIInterpretedType for item in dataset.RTROIObservationsSequence] == ["GTV", "ORGAN"]
    assert dataset.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence[0].CodeMeaning == "Ring"


def test_an_rtstruct_says_that_it_is_automatic_unapproved_and_for_research(written: tuple[FileDataset, Volume]) -> None:
    dataset, _ = written
    assert dataset.ApprovalStatus == "UNAPPROVED"
    assert {roi.ROIGenerationAlgorithm for roi in dataset.StructureSetROISequence} == {"AUTOMATIC"}
    assert "research use only, not approved by a clinician" in dataset.StructureSetDescription
    assert "ab" * 32 in dataset.StructureSetDescription
    assert dataset.SoftwareVersions[1] == "ab" * 32
    assert len(dataset.StructureSetLabel) <= 16


def test_a_vanished_structure_is_an_roi_without_contours(written: tuple[FileDataset, Volume]) -> None:
    assert "ContourSequence" not in written[0].ROIContourSequence[1]


def test_a_hole_hangs_on_its_outer_contour_by_a_keyhole(written: tuple[FileDataset, Volume]) -> None:
    contours = written[0].ROIContourSequence[0].ContourSequence
    assert len(contours) == 3
    assert {contour.ContourGeometricType for contour in contours} == {"CLOSED_PLANAR"}


@pytest.mark.parametrize("name", ["rt-structure-set", "ct-image"])
def test_no_attribute_that_dicom_requires_is_missing(
    written: tuple[FileDataset, Volume], tmp_path: Path, volume: Volume, name: str
) -> None:
    standard = pytest.importorskip("highdicom._standard_utils")
    dataset = written[0]
    if name == "ct-image":
        write_dicom_series(tmp_path / "out", volume)
        dataset = dcmread(tmp_path / "out" / "CT.0001.dcm")
    for module in standard.get_iod_module_map()[name]:
        if module["usage"] == "M":
            standard.check_required_attributes(dataset, module["key"])


def test_without_a_dicom_image_an_rtstruct_is_refused(
    volume: Volume, overlapping: StructureSet, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="must refer to a DICOM series"):
        write_structures(tmp_path / "rs.dcm", overlapping, volume)
    assert not list(tmp_path.iterdir())


def test_structures_of_another_grid_are_not_written(
    make_series: MakeFile, overlapping: StructureSet, tmp_path: Path
) -> None:
    with pytest.raises(GeometryError, match="another grid"):
        write_structures(tmp_path / "rs.dcm", overlapping, read_volume(make_series()))
