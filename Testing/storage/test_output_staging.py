from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adaptsam.errors import OutputError
from adaptsam.image import Geometry, Volume
from adaptsam.io import write_dicom_series, write_volume
from adaptsam.storage import staged_output


def test_outputs_appear_only_when_all_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "results"
    with staged_output(folder) as staging:
        (staging / "a.txt").write_text("a")
        (staging / "sub").mkdir()
        (staging / "sub" / "b.txt").write_text("b")
        assert not (folder / "a.txt").exists()
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        "a.txt",
        "sub",
        os.path.join("sub", "b.txt"),
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_ctrl_c_half_way_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def work() -> None:
        with staged_output(tmp_path / "new" / "results") as staging:
            (staging / "a.txt").write_text("a")
            raise error

    with pytest.raises(error):
        work()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OutputError, match=r"a\.txt exists already"), staged_output(tmp_path, ["a.txt"]):
        pytest.fail("the work began")
    assert (tmp_path / "a.txt").read_text() == "old"


def test_an_output_that_appeared_during_the_work_is_not_lost(tmp_path: Path) -> None:
    def work() -> None:
        with staged_output(tmp_path) as staging:
            (staging / "a.txt").write_text("new")
            (tmp_path / "a.txt").write_text("somebody else's")

    with pytest.raises(OutputError, match="exists already"):
        work()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["somebody else's"]


def test_overwriting_replaces_the_same_names_and_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "b.txt").write_text("kept")
    with staged_output(tmp_path, ["a.txt"], overwrite=True) as staging:
        (staging / "a.txt").write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "new", "b.txt": "kept"}


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_failure_while_replacing_puts_every_old_file_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("old")
    calls, replace = [], os.replace

    def interrupted(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == failing:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)

    def work() -> None:
        with staged_output(tmp_path, overwrite=True) as staging:
            for name in ("a", "b", "c"):
                (staging / name).write_text("new")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "b": "old"}


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="choose another place"), staged_output(folder):
            pytest.fail("the work began")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_output_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"), staged_output(tmp_path):
        pytest.fail("the work began")
    tmp_path.chmod(0o700)


def test_a_read_only_disk_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match="Permission denied"), staged_output(tmp_path):
        pytest.fail("the work began")


def test_an_input_that_is_missing_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staged_output(tmp_path):
        (tmp_path / "no such input").read_text()


def test_every_writer_refuses_to_overwrite_unless_asked(tmp_path: Path) -> None:
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), Geometry((2, 3, 4), (1, 1, 2), (0, 0, 0)))
    write_volume(tmp_path / "a.nrrd", volume)
    write_dicom_series(tmp_path / "ct", volume)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(OutputError):
        write_volume(tmp_path / "a.nrrd", volume)
    with pytest.raises(OutputError):
        write_dicom_series(tmp_path / "ct", volume)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
    write_volume(tmp_path / "a.nrrd", volume, overwrite=True)
    write_dicom_series(tmp_path / "ct", volume, overwrite=True)


def killed_while(code: str, folder: Path) -> None:
    """Run code in a process of its own that ends as by kill -9."""
    begun = (
        "import os\nfrom pathlib import Path\nfrom adaptsam.storage import output_staging as staging\n"
        f"folder = Path({str(folder)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", begun + code], check=False)
    assert done.returncode == -signal.SIGKILL


KILL = "os.kill(os.getpid(), 9)"


@pytest.mark.skipif(os.name == "nt", reason="no locks on folders")
def test_what_a_killed_process_was_writing_is_removed_by_the_next_one(tmp_path: Path) -> None:
    killed_while(f"with staging.staged_output(folder) as place: (place / 'half').write_text('h'); {KILL}", tmp_path)
    assert [path.name[:10] for path in tmp_path.iterdir()] == [".adaptsam-"]
    with staged_output(tmp_path) as place:
        (place / "whole").write_text("w")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


@pytest.mark.skipif(os.name == "nt", reason="no locks on folders")
def test_a_move_that_was_killed_in_its_middle_is_ended_by_the_next_process(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text("old")
    killed_while(
        f"""
replace, moved = os.replace, []
def replacing(source, target):
    moved.append(source)
    if len(moved) == 2:
        {KILL}
    replace(source, target)
os.replace = replacing
with staging.staged_output(folder, overwrite=True) as place:
    for name in "abc":
        (place / name).write_text("new")
""",
        tmp_path,
    )
    assert sorted(path.read_text() for path in tmp_path.iterdir() if path.is_file()) == ["new", "old", "old"]
    with staged_output(tmp_path) as place:
        (place / "d").write_text("more")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"a": "new", "b": "new", "c": "new", "d": "more"}


def test_an_output_may_be_staged_inside_another(tmp_path: Path) -> None:
    with staged_output(tmp_path) as outer, staged_output(outer) as inner:
        (inner / "a").write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_process_that_is_still_writing_is_left_alone(tmp_path: Path) -> None:
    with staged_output(tmp_path) as first:
        (first / "a").write_text("a")
        with staged_output(tmp_path) as second:
            (second / "b").write_text("b")
        assert (first / "a").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_disk_that_fills_up_while_pydicom_writes_gives_a_sentence(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
import numpy as np
from adaptsam.image import Geometry, Volume; from adaptsam.io import write_dicom_series
from adaptsam.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
volume = Volume(np.zeros((2, 64, 64), np.int16), Geometry((2, 64, 64), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), np.eye(3)))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_dicom_series(sys.argv[1], volume)
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "scan")], capture_output=True, text=True)
    assert "The output folder scan cannot be written (File too large)" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
