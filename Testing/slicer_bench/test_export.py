"""A result as an RTSTRUCT: what the worker is given for it, and what the panel says of its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slicer_bench.test_results import made, one, report, volume

__all__ = ["made", "volume"]  # fixtures


class Database:
    """Slicer's DICOM database, which knows the files of a folder by their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fileForInstance(self, uid: str) -> str:
        path = self._folder / f"{uid}.dcm"
        return str(path) if path.is_file() else ""


@pytest.fixture
def loaded(volume: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The volume as one that was loaded from three files of the database."""
    import slicer

    files = [tmp_path / f"{number}.dcm" for number in range(3)]
    for file in files:
        file.write_bytes(b"")
    monkeypatch.setattr(slicer, "dicomDatabase", Database(tmp_path), raising=False)
    volume.SetAttribute("DICOM.instanceUIDs", "0 1 2")
    return [str(file) for file in files]


@pytest.fixture
def asked(engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Requests for the worker, which is not there."""
    found: list[Any] = []
    monkeypatch.setattr(engine, "request", lambda do, handler, **content: found.append((do, handler, content)))
    return found


@pytest.fixture
def view(opened: Callable[..., Any], made: Any) -> Any:
    """A panel that shows a result of two structures."""
    from PersonalizedSAM import PersonalizedSAMWidget

    panel = opened(PersonalizedSAMWidget, 480, 1400)
    run = made(report([one(5), one(6)]), report([one(7)]))
    run.names.update(s0="Heart", s1="GTV")
    panel.finished = run
    panel.showResults(run)
    return panel


def test_the_chosen_result_goes_to_the_worker_with_the_images_own_files(
    view: Any, loaded: list[str], asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    offered: list[str] = []
    path = str(tmp_path / "out.dcm")
    dialog = type("Dialog", (), {"getSaveFileName": lambda *values: (offered.append(values[2]) or path, "")})
    monkeypatch.setattr(qt, "QFileDialog", dialog)
    view.ui.exportButton.click()
    assert offered == ["RS_Week_3_AdaptSAM.dcm"]
    [(do, handler, content)] = asked
    assert (do, content["files"], content["path"]) == ("write_structures", loaded, path)
    assert content["geometry"]["shape"] == [20, 40, 40]
    heart, tumour = content["structures"]
    assert (heart["name"], heart["type"]) == ("Heart", "ORGAN")
    assert (tumour["name"], tumour["type"]) == ("GTV", "GTV")
    expected = np.zeros((20, 40, 40), bool)
    expected[5:15, 5:15, 5:15] = True
    assert np.array_equal(heart["mask"], expected)
    handler({"event": "error", "message": "The disk is full."})
    assert view.ui.statusLabel.text == "The disk is full."
    handler({"event": "done"})
    assert view.ui.statusLabel.text == f"Written, unapproved: {path}"


def test_nothing_is_written_where_the_dialog_is_closed(
    view: Any, loaded: list[str], asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    monkeypatch.setattr(qt, "QFileDialog", type("Dialog", (), {"getSaveFileName": lambda *values: ("", "")}))
    view.ui.exportButton.click()
    assert not asked


@pytest.mark.parametrize("lost", ["attribute", "file", "database"])
def test_an_image_without_its_dicom_files_is_refused_before_anybody_chooses_a_name(
    view: Any, loaded: list[str], volume: Any, asked: list[Any], lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    if lost == "attribute":
        volume.RemoveAttribute("DICOM.instanceUIDs")
    elif lost == "file":
        Path(loaded[1]).unlink()
    else:
        monkeypatch.delattr(slicer, "dicomDatabase")
    view.ui.exportButton.click()
    assert view.ui.statusLabel.text.startswith("Week 3 was not loaded from Slicer's DICOM database")
    assert not asked


def test_a_worker_elsewhere_writes_no_file_here(
    view: Any, loaded: list[str], asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt
    from AdaptSAMLib import export

    monkeypatch.setattr(qt, "QFileDialog", type("Dialog", (), {"getSaveFileName": lambda *values: ("out.dcm", "")}))
    monkeypatch.setattr(export, "elsewhere", lambda: ["ssh", "gpu"])
    view.ui.exportButton.click()
    assert view.ui.statusLabel.text.startswith("The worker is on another machine")
    assert not asked
