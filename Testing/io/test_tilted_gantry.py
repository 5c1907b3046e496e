"""A tilted gantry: every slice lies a little beside the one before, and results lie on the scanner's own slices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from adaptsam.errors import GeometryError
from adaptsam.image import Geometry, Structure, StructureSet, Volume
from adaptsam.image.resampling import set_upright
from adaptsam.io import read_structures, read_volume, write_dicom_series, write_structures, write_volume

STEP = 3.0
SHIFT = STEP * np.tan(np.radians(17.0))


@pytest.fixture
def make_tilted(make_series: Callable[..., Path]) -> Callable[..., Path]:
    """A series of 12 slices whose positions run along the table, at an angle to their normal."""

    def make(places: Callable[[int], list[float]] = lambda k: [-10.5, 20.25 + k * SHIFT, -100 + k * STEP]) -> Path:
        def edit(dataset: FileDataset, k: int) -> None:
            dataset.ImagePositionPatient = [f"{value:.6f}" for value in places(k)]

        return make_series(shape=(12, 30, 32), edit=edit)

    return make


@pytest.fixture
def image(make_tilted: Callable[..., Path]) -> Volume:
    return read_volume(make_tilted())


@pytest.fixture
def structures(image: Volume) -> StructureSet:
    ball, box = np.zeros(image.geometry.shape, bool), np.zeros(image.geometry.shape, bool)
    k, j, i = np.indices(image.geometry.shape)
    ball[(k - 6) ** 2 * 4 + (j - 14) ** 2 + (i - 15) ** 2 < 90] = True
    box[3:9, 8:21, 5:12] = True
    return StructureSet((Structure("ball", ball), Structure("box", box)), image.geometry)


def test_every_voxel_lies_where_its_slice_says(image: Volume) -> None:
    geometry = image.geometry
    assert geometry.is_sheared
    assert geometry.tilt_deg == pytest.approx(17.0, abs=1e-3)
    assert geometry.world([3, 5, 7]) == pytest.approx(
        [-10.5 + 4.5, 20.25 + 7 * SHIFT + 6.25, -100 + 7 * STEP], abs=1e-4
    )
    assert geometry.voxel_volume == pytest.approx(1.5 * 1.25 * STEP)
    assert (image.array.ravel() == np.arange(12 * 30 * 32) % 3000 - 1024).all()


@pytest.mark.parametrize("name", ["rs.dcm", "a.seg.dcm", "a.seg.nrrd", "a.nii.gz"])
def test_structures_come_back_on_the_scanners_own_slices(
    image: Volume, structures: StructureSet, tmp_path: Path, name: str
) -> None:
    if name.endswith(".nii.gz"):  # holds no overlap
        structures = StructureSet(structures.structures[:1], structures.geometry)
    write_structures(tmp_path / name, structures, image)
    read = read_structures(tmp_path / name, image)
    assert read.geometry == image.geometry
    for before, after in zip(structures.structures, read.structures, strict=True):
        assert (before.mask == after.mask).all()


def test_a_volume_is_set_upright_for_formats_that_cannot_lean(image: Volume, tmp_path: Path) -> None:
    ramp = image.geometry.world(np.stack(np.indices(image.geometry.shape)[::-1], axis=-1)) @ [1.0, 2.0, 3.0]
    write_volume(tmp_path / "a.nrrd", Volume(ramp.astype(np.float32), image.geometry))
    upright = read_volume(tmp_path / "a.nrrd")
    assert not upright.geometry.is_sheared
    expected = upright.geometry.world(np.stack(np.indices(upright.geometry.shape)[::-1], axis=-1)) @ [1.0, 2.0, 3.0]
    inside = upright.array > ramp.min() + 1e-3
    inside &= np.roll(inside, 1, axis=1) & np.roll(inside, -1, axis=1)
    assert inside.any(axis=(1, 2)).all()
    assert upright.array[inside] == pytest.approx(expected[inside], abs=1e-2)


def test_what_stands_upright_already_is_left_alone() -> None:
    geometry = Geometry((2, 3, 4), (1, 1, 1), (0, 0, 0))
    array = np.arange(24).reshape(2, 3, 4)
    assert set_upright(array, geometry) == (array, geometry)


def test_a_tilted_series_is_written_and_read_again(image: Volume, tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "out", image)
    again = read_volume(tmp_path / "out")
    assert again.geometry.matches(image.geometry)
    assert (again.array == image.array).all()


def test_slices_shifted_unevenly_are_refused(make_tilted: Callable[..., Path]) -> None:
    with pytest.raises(GeometryError, match="unevenly shifted sideways"):
        read_volume(make_tilted(lambda k: [0, 0.1 * k**2, STEP * k]))


def test_a_shear_that_no_gantry_makes_is_refused(make_tilted: Callable[..., Path]) -> None:
    with pytest.raises(GeometryError, match="sheared by 60 degrees"):
        read_volume(make_tilted(lambda k: [0, STEP * np.tan(np.radians(60)) * k, STEP * k]))
