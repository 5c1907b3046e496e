"""What people have at hand: a NumPy mask, a dictionary, a path, one target instead of a list; or one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptsam.errors import InputError
from adaptsam.image import Structure, StructureSet, Volume, select_structures
from adaptsam.io import read_frames, read_structures, read_volume, write_structures, write_volume
from adaptsam.io.inputs import as_frame_masks, as_frames, as_structures, as_volume, as_volumes
from adaptsam.propagation.volume_propagation import propagate


@pytest.fixture
def mask(volume: Volume) -> np.ndarray:
    there = np.zeros(volume.geometry.shape, bool)
    there[2:5, 5:12, 6:15] = True
    return there


@pytest.mark.parametrize(
    "make", [np.array, np.uint8, lambda m: m * 255, lambda m: m.astype(float), lambda m: m.astype(int)]
)
def test_a_mask_alone_is_one_structure(volume: Volume, mask: np.ndarray, make: Any) -> None:
    [one] = as_structures(make(mask), volume).structures
    assert one.name == "structure"
    assert (one.mask == mask).all()
    assert as_structures(make(mask), volume, "GTV").names == ("GTV",)


def test_masks_come_by_name_with_labels_as_structures_or_from_a_file(
    volume: Volume, mask: np.ndarray, tmp_path: Path
) -> None:
    assert as_structures({"GTV": mask, "Heart": ~mask}, volume).names == ("GTV", "Heart")
    assert as_structures(mask * 3 + (~mask) * 7, volume).names == ("label-3", "label-7")
    assert as_structures(Structure("GTV", mask), volume).names == ("GTV",)
    assert as_structures([Structure("GTV", mask)], volume).names == ("GTV",)
    given = StructureSet((Structure("GTV", mask),), volume.geometry)
    assert as_structures(given, volume) is given
    write_volume(tmp_path / "image.nrrd", volume)
    write_structures(tmp_path / "a.seg.nrrd", {"GTV": mask}, tmp_path / "image.nrrd")
    for path in (tmp_path / "a.seg.nrrd", str(tmp_path / "a.seg.nrrd")):
        assert (as_structures(path, as_volume(str(tmp_path / "image.nrrd"))).structures[0].mask == mask).all()


def test_one_image_is_a_list_of_one(volume: Volume, tmp_path: Path) -> None:
    write_volume(tmp_path / "image.nrrd", volume)
    for given in (volume, [volume], (volume,), tmp_path / "image.nrrd", [str(tmp_path / "image.nrrd")]):
        assert [one.array.shape for one in as_volumes(given)] == [volume.array.shape]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            lambda m: m.transpose(2, 1, 0),
            r"has the shape \(24, 20, 7\), the image \(7, 20, 24\); mask.transpose\(2, 1, 0\)",
        ),
        (lambda m: m[0], r"has the shape \(20, 24\)"),
        (lambda m: {"GTV": "mask.nii"}, "is no array of numbers"),
        (lambda m: {"GTV": None}, "is no array of numbers"),
        (lambda m: np.random.default_rng(0).random(m.shape), "no labels; give true and false"),
        (lambda m: np.where(m, np.nan, 0), "not numbers"),
        (lambda m: 5, "of type int; give a mask, a dictionary"),
        (lambda m: None, "of type NoneType"),
        (lambda m: [m], "of type list"),
        (lambda m: {"GTV": m.astype(int) + 1}, "several values"),
    ],
)
def test_other_things_get_one_sentence(volume: Volume, mask: np.ndarray, given: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_structures(given(mask), volume)


@pytest.mark.parametrize("given", [np.zeros((3, 4, 5)), None, 7, {"a": 1}])
def test_what_is_no_image_gets_one_sentence(given: Any) -> None:
    with pytest.raises(InputError, match=r"give|adaptsam.Volume"):
        as_volume(given)
    with pytest.raises(InputError):
        as_volumes(given)


def test_masks_of_a_frame_come_alone_or_by_name() -> None:
    mask = np.eye(5, dtype=bool)
    for given in (mask, mask * 255, {"structure": mask.astype(float)}):
        assert (as_frame_masks(given)["structure"] == mask).all()
    with pytest.raises(InputError, match="several values"):
        as_frame_masks(np.arange(25).reshape(5, 5))
    with pytest.raises(InputError, match="of type int"):
        as_frame_masks(3)


@pytest.mark.parametrize("read", [read_volume, read_frames, lambda given: read_structures(given, "image.nrrd")])
def test_what_is_no_path_gets_one_sentence(read: Any) -> None:
    for given in (None, 3, np.zeros(3)):
        with pytest.raises(InputError, match=r"path is text|no image|does not exist"):
            read(given)


@pytest.mark.parametrize("names", [0, [], [None], (3,)])
def test_names_that_are_none_get_one_sentence(volume: Volume, mask: np.ndarray, tmp_path: Path, names: Any) -> None:
    write_volume(tmp_path / "image.nrrd", volume)
    write_structures(tmp_path / "a.seg.nrrd", {"GTV": mask}, volume)
    with pytest.raises(InputError, match='by their names, as names="GTV"'):
        read_structures(tmp_path / "a.seg.nrrd", tmp_path / "image.nrrd", names)
    with pytest.raises(InputError, match='by their names, as names="GTV"; there are: GTV'):
        select_structures(as_structures({"GTV": mask}, volume), names)


@pytest.mark.parametrize("kind", [bool, complex, list])
def test_an_image_of_something_else_than_numbers_gets_one_sentence(volume: Volume, kind: Any) -> None:
    array = volume.array.tolist() if kind is list else volume.array.astype(kind)
    with pytest.raises(InputError, match="holds no array of numbers"):
        as_volume(replace(volume, array=array))


def test_settings_frames_and_models_of_another_kind_get_one_sentence(volume: Volume, mask: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"settings are of type dict; give PropagationSettings\("):
        propagate(volume, mask, volume, settings={"register": "off"})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="A model is a SamModel or the path"):
        propagate(volume, mask, volume, model=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="frames are of type NoneType"):
        as_frames(None)
