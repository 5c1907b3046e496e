"""RTSTRUCT by request of the window: on the image's own slices, whichever way the window counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from adaptsam.errors import InputError
from adaptsam.image.volume import Geometry, Volume
from adaptsam.io import read_structures, read_volume, write_dicom_series
from adaptsam.worker import wire_format as wire
from adaptsam.worker.structure_sets import write_structures

SHAPE = (6, 24, 20)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series") / "ct"
    array = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    write_dicom_series(folder, Volume(array, Geometry(SHAPE, (2.0, 2.0, 3.0), (-20.0, -30.0, 5.0)), "CT"))
    return folder


def mask() -> np.ndarray:
    drawn = np.zeros(SHAPE, bool)
    drawn[1:4, 5:15, 4:9] = True
    drawn[4, 6:8, 10:16] = True
    return drawn


def asked(series: Path, path: Path, drawn: np.ndarray, geometry: dict[str, Any]) -> dict[str, Any]:
    structure = {"name": "GTV-1", "mask": wire.pack_mask(drawn), "color": [200, 30, 40], "type": "GTV"}
    files = sorted(str(one) for one in series.iterdir())
    return {"files": files[::-1], "path": str(path), "geometry": geometry, "structures": [structure]}


GRID = {
    "shape": list(SHAPE),
    "spacing": [2.0, 2.0, 3.0],
    "origin": [-20.0, -30.0, 5.0],
    "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1],
}


def test_masks_come_back_from_the_file_and_it_refers_to_the_slices(series: Path, tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "RS.dcm"
    write_structures(asked(series, path, mask(), GRID), lambda event, **_: told.append(event), lambda: None)
    assert told == ["written"]
    volume = read_volume(series)
    [found] = read_structures(path, volume).structures
    assert np.array_equal(found.mask, mask())
    assert found.name == "GTV-1"
    assert found.interpreted_type == "GTV"
    dataset = pydicom.dcmread(path)
    assert dataset.ApprovalStatus == "UNAPPROVED"
    [code] = dataset.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence
    assert code.CodeMeaning.startswith("Gross tumor volume")


def test_a_window_that_counts_slices_the_other_way_gives_the_same_file(series: Path, tmp_path: Path) -> None:
    turned = GRID | {"origin": [-20.0, -30.0, 20.0], "direction": [1, 0, 0, 0, 1, 0, 0, 0, -1]}
    path = tmp_path / "RS.dcm"
    write_structures(asked(series, path, mask()[::-1], turned), lambda *_, **__: None, lambda: None)
    [found] = read_structures(path, read_volume(series)).structures
    assert np.array_equal(found.mask, mask())


@pytest.mark.parametrize(
    "changed", [{"origin": [-19.0, -30.0, 5.0]}, {"spacing": [2.0, 2.0, 3.2]}, {"shape": [5, 24, 20]}]
)
def test_an_image_that_was_moved_or_resampled_is_refused_and_nothing_is_written(
    series: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    path = tmp_path / "RS.dcm"
    with pytest.raises(InputError, match="does not lie on the voxels of its DICOM series"):
        write_structures(asked(series, path, mask(), GRID | changed), lambda *_, **__: None, lambda: None)
    assert not path.exists()
