"""`adaptsam info` on anything: what is there, what would be left out, and why."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adaptsam import cli
from adaptsam.image import Geometry, Volume
from adaptsam.io import write_dicom_series, write_structures, write_video, write_volume

GRID = Geometry((6, 20, 24), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT in ct/, structures in every format, a video, pictures and files that nobody reads."""
    root = tmp_path_factory.mktemp("visit")
    array = np.random.default_rng(0).normal(-1000, 5, GRID.shape)
    array[:, 4:16, 4:20] = 30
    image = write_dicom_series(root / "ct", Volume(np.rint(array), GRID, "CT"))
    masks = {"GTV": np.zeros(GRID.shape, bool), "gone": np.zeros(GRID.shape, bool)}
    masks["GTV"][1:5, 6:10, 6:12] = True
    for name in ("rs.dcm", "labels.seg.dcm", "a.seg.nrrd", "labels.nii.gz"):
        write_structures(root / name, masks, image)
    write_volume(root / "image.mha", image)
    frames = np.random.default_rng(0).integers(0, 255, (3, 32, 48, 3), np.uint8)
    write_video(root / "clip.mp4", frames)
    (root / "pictures").mkdir()
    Image.fromarray(frames[0]).save(root / "pictures" / "0.png")
    Image.fromarray(np.where(np.eye(16, dtype=bool), 255, 0).astype(np.uint8)).save(root / "mask.png")
    with zipfile.ZipFile(root / "packed.zip", "w") as archive:
        archive.writestr("a/1.dcm", "x")
    (root / "notes.csv").write_text("a,b\n")
    return root


def facts(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert cli.main(["info", *map(str, words), "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


@pytest.mark.parametrize(
    ("name", "kind", "part"),
    [
        ("rs.dcm", "RTSTRUCT", {"structure": "GTV", "closed": 4}),
        ("labels.seg.dcm", "DICOM SEG", {"structure": "GTV"}),
        ("a.seg.nrrd", "segmentation of 3D Slicer", {"structure": "GTV", "slices": 4}),
        ("labels.nii.gz", "labelmap", {"structure": "label-1", "slices": 4}),
        ("image.mha", "image", {}),
        ("clip.mp4", "video", {}),
        ("mask.png", "picture, or a mask", {"structure": "structure", "pixels": 16}),
        ("pictures/0.png", "picture", {}),
        ("packed.zip", "archive", {}),
        ("notes.csv", "file .csv", {}),
    ],
)
def test_a_file_of_any_kind_is_told_by_itself(
    visit: Path, capsys, name: str, kind: str, part: dict[str, object]
) -> None:
    told = facts(capsys, visit / name)
    assert told["kind"].startswith(kind)
    rows = told.get("holds", []) + told.get("structures", [])
    assert not part or any(part.items() <= row.items() for row in rows)
    assert cli.main(["info", str(visit / name)]) == 0
    assert "choose" not in capsys.readouterr().out


def test_a_folder_tells_its_series_and_all_that_lies_beside(visit: Path, capsys) -> None:
    told = facts(capsys, visit)
    assert [one["slices"] for one in told["series"]] == [6]
    assert told["image"]["slices, rows, columns"] == [6, 20, 24]
    kinds = {row["what"]: row["use"] for row in told["files"]}
    assert {"RTSTRUCT", "SEG", "video", "pictures .png", "archive", "file .csv", "volume .mha"} <= set(kinds)
    assert "unpack" in kinds["archive"]
    assert facts(capsys, visit / "pictures")["files"][0]["size"] == "48×32"
    (visit / "empty").mkdir(exist_ok=True)
    assert cli.main(["info", str(visit / "empty")]) == 0
    assert "empty" in capsys.readouterr().out


def test_what_is_left_out_is_said_in_words_and_in_json(visit: Path, capsys, tmp_path: Path) -> None:
    import pydicom

    dataset = pydicom.dcmread(visit / "rs.dcm")
    dataset.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"
    dataset.save_as(tmp_path / "rs.dcm")
    told = facts(capsys, visit / "ct", "--structures", tmp_path / "rs.dcm")
    [remark] = told["remarks"]
    assert (remark["of"], remark["what"], remark["count"]) == ("structures", "OPEN_PLANAR contours of 'GTV'", 1)
    assert cli.main(["info", str(tmp_path / "rs.dcm")]) == 0
    assert (
        "! Left out: OPEN_PLANAR contours of 'GTV' (1), as an open contour encloses nothing" in capsys.readouterr().out
    )


@pytest.mark.parametrize("name", ["ct-lung1-001", "endo-cvc-seqE", "mr-acdc-ed-es", "rt-oraw", "ct-deeplesion"])
def test_real_folders_are_told(name: str, capsys) -> None:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    told = facts(capsys, folder)
    assert told["series"] or told["files"]
