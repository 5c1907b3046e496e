from __future__ import annotations

import numpy as np
import pytest

from adaptsam.errors import InputError
from adaptsam.image import DicomSource, Geometry, Structure, StructureSet, Volume, same_patient, select_structures
from adaptsam.image.structure_names import told_apart

GRID = Geometry((1, 2, 2), (1, 1, 1), (0, 0, 0))


def structure_set(*names: str, empty: str = "") -> StructureSet:
    return StructureSet(tuple(Structure(name, np.full(GRID.shape, name != empty)) for name in names), GRID)


def test_structures_come_in_the_order_asked_for() -> None:
    assert select_structures(structure_set("a", "b", "c"), ["c", "a"]).names == ("c", "a")


def test_capitals_do_not_matter_where_one_structure_is_meant() -> None:
    assert select_structures(structure_set("Lung", "GTV-1"), ["gtv-1", "LUNG "]).names == ("GTV-1", "Lung")
    assert select_structures(structure_set("lung", "Lung"), ["Lung"]).names == ("Lung",)


def described(*names: tuple[str, str]) -> StructureSet:
    mask = np.ones(GRID.shape, bool)
    return StructureSet(tuple(Structure(name, mask, description=told) for name, told in names), GRID)


def test_a_segment_is_found_by_its_description_and_called_so() -> None:
    segments = described(("Neoplasm, Primary", "GTV-1"), ("Lung", "Lung-Left"), ("GTV-2", "Neoplasm, Primary"))
    assert select_structures(segments, ["gtv-1", "Lung"]).names == ("GTV-1", "Lung")
    assert select_structures(segments, ["Neoplasm, Primary"]).names == ("Neoplasm, Primary",)
    with pytest.raises(InputError, match="no structure 'GTV'"):
        select_structures(described(("a", "GTV"), ("b", "GTV")), ["GTV"])


def test_segments_of_one_name_go_by_their_descriptions_if_these_differ() -> None:
    several = described(("Lung", "Lung-Left"), ("Lung", "Lung-Right"), ("Cord", "Spinal-Cord"))
    names = [one.name for one in told_apart(several.structures)]
    assert names == ["Lung-Left", "Lung-Right", "Cord"]
    alike = described(("Lung", "organ"), ("Lung", "organ"), ("Lung", ""))
    assert told_apart(alike.structures) == alike.structures


def test_without_names_all_come_that_are_not_empty() -> None:
    assert select_structures(structure_set("a", "gone", empty="gone")).names == ("a",)


def test_structures_that_share_a_name_are_numbered_where_all_are_taken() -> None:
    chosen = select_structures(structure_set("GTV", "Lung", "GTV", "GTV (2)", "GTV", "", "gone", empty="gone"))
    assert chosen.names == ("GTV", "Lung", "GTV (3)", "GTV (2)", "GTV (4)", "")


def test_a_name_that_is_repeated_counts_once() -> None:
    assert select_structures(structure_set("GTV", "Lung"), ["GTV", "Lung", "gtv"]).names == ("GTV", "Lung")


@pytest.mark.parametrize("asked", ["gtv1", "GTV1", "GTV"])
def test_a_wrong_name_lists_those_there_are_and_suggests_the_nearest(asked: str) -> None:
    with pytest.raises(InputError, match=r"did you mean 'GTV-1'\? There are: Lung-Left, GTV-1, Cord"):
        select_structures(structure_set("Lung-Left", "GTV-1", "Cord"), [asked])


def test_a_name_like_no_other_gets_the_list_alone() -> None:
    with pytest.raises(InputError, match="no structure 'xyz'; there are: Lung, Cord"):
        select_structures(structure_set("Lung", "Cord"), ["xyz"])


@pytest.mark.parametrize(
    ("structures", "names", "words"),
    [
        (structure_set("a", "b", empty="b"), ["b"], "'b' is empty"),
        (structure_set("a", empty="a"), None, "no structure with a contour"),
        (structure_set("a", "a"), ["a"], "Two structures are called 'a'"),
        (structure_set("a", "a"), ["A"], "Two structures are called 'a'"),
        (structure_set("aB", "Ab"), ["ab"], "'ab' may be 'Ab' or 'aB'; write it with its capitals"),
    ],
)
def test_what_cannot_be_chosen_is_refused(structures: StructureSet, names: list[str] | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        select_structures(structures, names)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (DicomSource("P1"), DicomSource(" p1 "), True),
        (DicomSource("P1"), DicomSource("P2"), False),
        (DicomSource("P1"), DicomSource(""), None),
        (DicomSource("P1"), None, None),
        (DicomSource("P", header={"PatientBirthDate": "1"}), DicomSource("P", header={"PatientBirthDate": "2"}), False),
        (DicomSource("P", header={"PatientBirthDate": "1"}), DicomSource("P"), True),
    ],
)
def test_two_images_are_of_one_patient_when_their_ids_and_birth_dates_agree(
    a: DicomSource | None, b: DicomSource | None, same: bool | None
) -> None:
    array = np.zeros(GRID.shape)
    assert same_patient(Volume(array, GRID, dicom=a), Volume(array, GRID, dicom=b)) is same
