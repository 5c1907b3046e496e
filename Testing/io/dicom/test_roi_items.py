"""ROIs as files have them: repeated numbers and names, missing observations, every geometric type, odd contours."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from adaptsam.errors import GeometryError, InputError
from adaptsam.image import StructureSet, Volume
from adaptsam.io import read_structures, read_volume, write_structures

MakeFile = Callable[..., Path]
Rectangle = Callable[..., np.ndarray]
OTHER_FRAME = "1.2.826.0.1.3680043.8.498.33"


def said(structures: StructureSet) -> list[tuple[str, int]]:
    return [(one.what, one.count) for one in structures.remarks]


@pytest.fixture
def image(make_series: MakeFile) -> Volume:
    return read_volume(make_series())


@pytest.fixture
def contours(image: Volume, rectangle: Rectangle) -> dict[str, list[np.ndarray]]:
    """GTV of 25 voxels on slice 2, heart of 16 on slice 3."""
    return {
        "GTV": [rectangle(image.geometry, 2, (0.5, 0.5), (5.5, 5.5))],
        "Heart": [rectangle(image.geometry, 3, (0.5, 0.5), (4.5, 4.5))],
    }


def test_two_rois_of_one_number_are_refused_by_their_names(image: Volume, contours, make_rtstruct: MakeFile) -> None:
    def edit(dataset: FileDataset) -> None:
        for sequence, keyword in (
            (dataset.StructureSetROISequence, "ROINumber"),
            (dataset.ROIContourSequence, "ReferencedROINumber"),
        ):
            setattr(sequence[1], keyword, 11)

    contours["Lung"] = contours["GTV"]
    path = make_rtstruct(contours, edit=edit)
    with pytest.raises(InputError, match="'GTV' and 'Heart' have one ROI number, 11"):
        read_structures(path, image)
    with pytest.raises(InputError, match="one ROI number"):
        read_structures(path, image, "heart")
    assert read_structures(path, image, "Lung").structures[0].mask.sum() == 25


def test_several_items_of_one_roi_are_taken_together(
    image: Volume, contours, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    def edit(dataset: FileDataset) -> None:
        dataset.ROIContourSequence[1].ReferencedROINumber = 11

    read = read_structures(make_rtstruct(contours, edit=edit), image)
    assert {one.name: int(one.mask.sum()) for one in read.structures} == {"GTV": 41, "Heart": 0}
    assert said(read) == [("items with contours of 'GTV'", 2)]


def test_contours_of_no_roi_are_named(image: Volume, contours, make_rtstruct: MakeFile) -> None:
    def edit(dataset: FileDataset) -> None:
        del dataset.StructureSetROISequence[1]

    read = read_structures(make_rtstruct(contours, edit=edit), image)
    assert read.names == ("GTV",)
    assert said(read) == [("contours of ROI number 12", 1)]


def test_names_that_repeat_are_numbered_and_can_be_asked_for(image: Volume, contours, make_rtstruct: MakeFile) -> None:
    def edit(dataset: FileDataset) -> None:
        dataset.StructureSetROISequence[1].ROIName = "GTV"

    path = make_rtstruct(contours, edit=edit)
    read = read_structures(path, image)
    assert read.names == ("GTV", "GTV (2)")
    assert said(read) == [("structures called 'GTV'", 2)]
    for name, voxels, called in (("GTV (2)", 16, "GTV (2)"), ("gtv (2)", 16, "GTV (2)"), ("GTV (1)", 25, "GTV")):
        [one] = read_structures(path, image, name).structures
        assert (one.name, int(one.mask.sum())) == (called, voxels)
    with pytest.raises(InputError, match=r"Two structures are called 'GTV'; ask for 'GTV \(1\)' or 'GTV \(2\)'"):
        read_structures(path, image, ["GTV"])


def test_names_that_differ_in_capitals_are_two(image: Volume, contours, make_rtstruct: MakeFile) -> None:
    path = make_rtstruct({"GTV": contours["GTV"], "gtv": contours["Heart"]})
    assert read_structures(path, image, "gtv").structures[0].mask.sum() == 16
    with pytest.raises(InputError, match="write it with its capitals"):
        read_structures(path, image, "Gtv")


def test_missing_observations_and_names_are_no_fault(image: Volume, contours, make_rtstruct: MakeFile) -> None:
    def edit(dataset: FileDataset) -> None:
        del dataset.RTROIObservationsSequence
        dataset.StructureSetROISequence[0].ROIName = ""

    read = read_structures(make_rtstruct(contours, edit=edit), image)
    assert [(one.name, one.interpreted_type) for one in read.structures] == [("ROI-11", ""), ("Heart", "")]
    assert not read.remarks


def test_observations_that_contradict_each_other_are_named(image: Volume, contours, make_rtstruct: MakeFile) -> None:
    def edit(dataset: FileDataset) -> None:
        again = deepcopy(dataset.RTROIObservationsSequence[0])
        again.RTROIInterpretedType = "ORGAN"
        dataset.RTROIObservationsSequence.append(again)

    read = read_structures(make_rtstruct(contours, edit=edit), image)
    assert read.structures[0].interpreted_type == "GTV"
    assert said(read) == [("observations of 'GTV'", 2)]


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", ""])
def test_what_encloses_nothing_is_left_out_and_named(
    image: Volume, contours, make_rtstruct: MakeFile, kind: str
) -> None:
    def edit(dataset: FileDataset) -> None:
        dataset.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = kind

    path = make_rtstruct(contours, edit=edit)
    read = read_structures(path, image)
    assert read.names == ("GTV",)  # an empty heart would be a heart that is not there
    assert said(read) == [(f"{kind} contours of 'Heart'".lstrip(), 1)]
    with pytest.raises(InputError, match=r"no closed contour of 'Heart' \(left out: .*contours of 'Heart' \(1\)"):
        read_structures(path, image, "Heart")


def test_a_type_that_is_none_is_not_repeated_because_it_may_be_any_text(
    image: Volume, contours, make_rtstruct: MakeFile
) -> None:
    def edit(dataset: FileDataset) -> None:
        dataset.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = "MISTER DOE"

    read = read_structures(make_rtstruct(contours, edit=edit), image)
    assert said(read) == [("contours of 'Heart'", 1)]
    assert "does not know their geometric type" in read.remarks[0].why
    assert "DOE" not in read.remarks[0].sentence


def test_structures_of_another_patient_id_on_their_own_series_are_named(
    image: Volume, contours, make_rtstruct: MakeFile
) -> None:
    read = read_structures(make_rtstruct(contours, edit=lambda dataset: setattr(dataset, "PatientID", "other")), image)
    assert read.structures[0].mask.sum() == 25
    assert said(read) == [("files of structures", 1)]
    assert "another patient ID" in read.remarks[0].why


def test_an_roi_of_another_frame_of_reference_is_not_drawn_on_this_image(
    image: Volume, contours, make_rtstruct: MakeFile
) -> None:
    def edit(dataset: FileDataset) -> None:
        dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = OTHER_FRAME

    path = make_rtstruct(contours, edit=edit)
    read = read_structures(path, image)
    assert read.names == ("GTV",)
    assert said(read) == [("ROIs 'Heart'", 1)]
    assert "another frame of reference" in read.remarks[0].sentence
    with pytest.raises(GeometryError, match=r"'Heart' of rs.dcm cannot be read on this image: .* frame of reference"):
        read_structures(path, image, "Heart")
    # An image that is not DICOM knows no frame: which ROI is its own?
    with pytest.raises(GeometryError, match="ROIs in 2 frames of reference"):
        read_structures(path, Volume(image.array, image.geometry))
    assert read_structures(path, Volume(image.array, image.geometry), "Heart").structures[0].mask.sum() == 16


@pytest.mark.parametrize("points", [0, 1, 2])
def test_contours_of_too_few_points_are_left_out_and_the_rest_is_read(
    image: Volume, contours, make_rtstruct: MakeFile, points: int
) -> None:
    def edit(dataset: FileDataset) -> None:
        extra = deepcopy(dataset.ROIContourSequence[0].ContourSequence[0])
        extra.ContourData = extra.ContourData[: 3 * points] if points else None
        dataset.ROIContourSequence[0].ContourSequence.append(extra)

    read = read_structures(make_rtstruct(contours, edit=edit), image)
    assert [int(one.mask.sum()) for one in read.structures] == [25, 16]
    assert said(read) == [("contours of 'GTV'", 1)]
    assert "fewer than three points" in read.remarks[0].why


def test_a_number_of_points_that_is_not_the_files_is_named(image: Volume, contours, make_rtstruct: MakeFile) -> None:
    def edit(dataset: FileDataset) -> None:
        dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 60

    assert said(read_structures(make_rtstruct(contours, edit=edit), image)) == [("contours of 'GTV'", 1)]


def test_contours_that_overlap_without_lying_in_each_other_are_named_with_their_slice(
    image: Volume, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    grid = image.geometry
    crossing = [rectangle(grid, 2, (0.5, 0.5), (5.5, 5.5)), rectangle(grid, 2, (3.5, 3.5), (8.5, 8.5))]
    nested = [rectangle(grid, 4, (0.5, 0.5), (8.5, 8.5)), rectangle(grid, 4, (2.5, 2.5), (5.5, 5.5))]
    read = read_structures(make_rtstruct({"GTV": crossing, "ring": nested}), image)
    assert [int(one.mask.sum()) for one in read.structures] == [25 + 25 - 2 * 4, 64 - 9]
    assert said(read) == [("slices of 'GTV'", 1)]
    assert "on slice 2 " in read.remarks[0].why
    exclusive = read_structures(make_rtstruct({"GTV": crossing}, kind="CLOSEDPLANAR_XOR"), image)
    assert not exclusive.remarks  # the standard says what is meant


def test_copies_that_are_a_little_off_do_not_undo_the_contour(
    image: Volume, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    """By exclusive or, nothing would be left of it."""
    grid = image.geometry
    first = rectangle(grid, 2, (0.5, 0.5), (5.5, 5.5))
    for other in (first + 1e-5, rectangle(grid, 2, (0.6, 0.4), (5.4, 5.6))):
        read = read_structures(make_rtstruct({"GTV": [first, other]}), image)
        assert read.structures[0].mask.sum() == 25
        assert said(read) == [("contours of 'GTV'", 1)]
        assert "copies" in read.remarks[0].why


@pytest.mark.parametrize(
    ("points", "voxels", "words"),
    [
        ([[0.5, 0.5], [5.5, 0.5], [5.5, 5.5], [0.5, 5.5]] * 2, 0, ["contours overlap", "enclose no voxel's centre"]),
        ([[2.2, 2.2], [2.8, 2.2], [2.8, 2.8], [2.2, 2.8]], 0, ["enclose no voxel's centre"]),
        ([[11, 6], [3, 8.9], [8, 2], [8, 10], [3, 3.1]], None, ["contours overlap"]),
    ],
)
def test_contours_that_wind_twice_or_enclose_no_voxel_are_named(
    image: Volume, make_rtstruct: MakeFile, points: list[list[float]], voxels: int | None, words: list[str]
) -> None:
    ring = image.geometry.world(np.column_stack([points, np.full(len(points), 2)]))
    read = read_structures(make_rtstruct({"GTV": [ring]}), image)
    assert voxels is None or read.structures[0].mask.sum() == voxels
    for remark, word in zip(read.remarks, words, strict=True):
        assert word in remark.sentence


def test_a_ring_of_less_than_a_pixel_is_named(image: Volume, make_rtstruct: MakeFile, rectangle: Rectangle) -> None:
    grid = image.geometry
    rings = [rectangle(grid, 2, (0.5, 0.5), (9.5, 9.5)), rectangle(grid, 2, (1.4, 1.4), (8.6, 8.6))]
    read = read_structures(make_rtstruct({"GTV": rings}), image)
    assert read.structures[0].mask.sum() == 81 - 49
    assert said(read) == [("slices of 'GTV'", 1)]
    assert "only the rim is inside" in read.remarks[0].why


@pytest.mark.parametrize(("factor", "unit"), [(0.1, "centimetres"), (0.001, "metres")])
def test_contours_in_centimetres_or_metres_are_refused(
    make_series: MakeFile, make_rtstruct: MakeFile, rectangle: Rectangle, factor: float, unit: str
) -> None:
    for origin in ((0, 0, 0), (-10, -7, -7.5), (-10.5, 20.25, -100.0)):
        image = read_volume(make_series(f"{origin[2]} {unit}", origin=origin))
        drawn = [rectangle(image.geometry, k, (0.5, 0.5), (9.5, 9.5)) for k in range(1, 5)]
        assert read_structures(make_rtstruct({"GTV": drawn}), image).structures[0].mask.sum() == 4 * 81
        with pytest.raises(GeometryError, match=f"'GTV' are in {unit}, it seems, and not in millimetres"):
            read_structures(make_rtstruct({"GTV": [factor * points for points in drawn]}), image)


def test_what_the_file_says_of_frames_series_and_slices_is_weighed(
    image: Volume, contours, make_rtstruct: MakeFile
) -> None:
    def untold(dataset: FileDataset) -> None:
        other = deepcopy(dataset.ReferencedFrameOfReferenceSequence[0])
        other.FrameOfReferenceUID = OTHER_FRAME
        dataset.ReferencedFrameOfReferenceSequence.append(other)
        for item in dataset.StructureSetROISequence:
            del item.ReferencedFrameOfReferenceUID

    def all_elsewhere(dataset: FileDataset) -> None:
        for item in dataset.StructureSetROISequence:
            item.ReferencedFrameOfReferenceUID = OTHER_FRAME

    def wrong_slice(dataset: FileDataset) -> None:
        named = Dataset()
        named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", slices[4]
        dataset.ROIContourSequence[0].ContourSequence[0].ContourImageSequence = [named]

    assert image.dicom is not None
    slices = image.dicom.sop_instance_uids
    read = read_structures(make_rtstruct(contours, edit=untold), image)
    assert said(read) == [("ROIs 'GTV', 'Heart'", 2)]
    assert "in which of its 2 frames of reference" in read.remarks[0].why
    with pytest.raises(GeometryError, match=r"No structure of rs.dcm can be read on this image: .* another frame"):
        read_structures(make_rtstruct(contours, edit=all_elsewhere), image)
    read = read_structures(make_rtstruct(contours, series="1.2.3"), image)
    assert said(read) == [("ROIs", 2)]
    assert "names another series" in read.remarks[0].why
    read = read_structures(make_rtstruct(contours, edit=wrong_slice), image)
    assert said(read) == [("contours of 'GTV'", 1)]
    assert "another slice" in read.remarks[0].why


def test_a_structure_set_without_preamble_and_suffix_is_read(image: Volume, contours, make_rtstruct: MakeFile) -> None:
    path = make_rtstruct(contours)
    dataset = dcmread(path)
    del dataset.file_meta
    dataset.preamble = None
    bare = path.with_name("RS")
    dataset.save_as(bare, implicit_vr=True, little_endian=True)
    for names in (None, "GTV"):
        assert read_structures(bare, image, names).structures[0].mask.sum() == 25


def test_other_outlines_through_the_same_points_are_no_copies(image: Volume, make_rtstruct: MakeFile) -> None:
    square = image.geometry.world(np.array([[1, 1, 2], [9, 1, 2], [9, 9, 2], [1, 9, 2]], float))
    bow = square[[0, 2, 1, 3]]
    read = read_structures(make_rtstruct({"GTV": [square, bow]}), image)
    assert not any("copies" in one.why for one in read.remarks)
    again = read_structures(make_rtstruct({"GTV": [square, np.roll(square[::-1], 2, axis=0)]}), image)
    assert said(again) == [("contours of 'GTV'", 1)]
    assert again.structures[0].mask.sum() == 81


def in_slab(thickness: float, offset: float = 0.0) -> Callable[[FileDataset], None]:
    def edit(dataset: FileDataset) -> None:
        contour: Dataset = dataset.ROIContourSequence[0].ContourSequence[0]
        contour.ContourSlabThickness = thickness
        contour.ContourOffsetVector = [0, 0, offset]

    return edit


@pytest.mark.parametrize(
    ("thickness", "offset", "slices"),
    [(3, 0, [2]), (6, 0, [2]), (9, 0, [1, 2, 3]), (3, 3, [3]), (6, 1.5, [2, 3]), (0, -6, [0])],
)
def test_a_contour_fills_its_slab(
    image: Volume, contours, make_rtstruct: MakeFile, thickness: float, offset: float, slices: list[int]
) -> None:
    """Slices are 3 mm apart; a slab holds those whose centres lie within it (PS3.3, C.8.8.6.2)."""
    path = make_rtstruct({"GTV": contours["GTV"]}, edit=in_slab(thickness, offset))
    mask = read_structures(path, image).structures[0].mask
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == slices


def test_what_lies_between_slices_beside_or_beyond_the_image_is_named(
    image: Volume, make_rtstruct: MakeFile, rectangle: Rectangle
) -> None:
    grid = image.geometry
    contours = {
        "between": [rectangle(grid, 2.4, (1, 1), (5, 5))],
        "dense": [rectangle(grid, k, (1, 1), (5, 5)) for k in (2, 2.25)],
        "beside": [rectangle(grid, 2, (40, 40), (50, 50))],
        "beyond": [rectangle(grid, 2, (-4, 1), (5, 5))],
    }
    read = read_structures(make_rtstruct(contours), image)
    about = {one.what: (one.count, one.left_out, one.why) for one in read.remarks}
    assert about["contours of 'between'"][:2] == (1, False)
    assert "up to 1.2 mm away" in about["contours of 'between'"][2]
    assert about["contours of 'dense'"][:2] == (1, True)
    assert about["contours of 'beside'"][:2] == (1, True)
    assert about["contours of 'beyond'"][:2] == (1, False)


def test_a_long_contour_is_written_so_that_others_read_it(make_series: MakeFile, tmp_path: Path) -> None:
    image = read_volume(make_series(shape=(2, 70, 70)))
    sieve = np.zeros(image.geometry.shape, bool)
    sieve[0, 2:68, 2:68] = True
    sieve[0, 3:67:2, 3:67:2] = False
    write_structures(tmp_path / "rs.dcm", {"sieve": sieve}, image)
    dataset = dcmread(tmp_path / "rs.dcm")
    [contour] = dataset.ROIContourSequence[0].ContourSequence
    assert len("\\".join(map(str, contour.ContourData))) > 65534
    assert contour["ContourData"].VR == "DS"
    assert dataset.file_meta.TransferSyntaxUID.is_implicit_VR
    assert (read_structures(tmp_path / "rs.dcm", image).structures[0].mask == sieve).all()
