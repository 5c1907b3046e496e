"""What is installed, from where, and that nothing of Slicer's own is touched. No installer runs here."""

from __future__ import annotations

import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest
from slicer_bench import bench


@pytest.fixture
def installed(application: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What pip would have been asked for."""
    import slicer

    asked: list[Any] = []
    monkeypatch.setattr(slicer.util, "pip_install", asked.append)
    return asked


def test_what_is_here_is_not_missing_and_an_old_version_is(application: Any, tmp_path: Path) -> None:
    from AdaptSAMLib import packages

    path = tmp_path / "requirements.txt"
    path.write_text("# a comment\nnumpy>=1.0\nnumpy>=999.1  # not yet\na-package-that-is-not-there>=1\n")
    assert packages.missing(str(path)) == ["numpy>=999.1", "a-package-that-is-not-there>=1"]


def test_the_panels_requirements_are_the_packages_own_without_slicers(application: Any) -> None:
    from AdaptSAMLib import packages

    project = tomllib.loads((bench.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = set(project["dependencies"])
    brought = {"numpy", "pillow", "pydicom", "scipy", "SimpleITK", "highdicom"}
    torch = {f"torch{packages.TORCH}", f"torchvision{packages.TORCHVISION}"}
    assert set(packages.requirements()) == {one for one in own - torch if one.partition(">=")[0] not in brought}
    assert torch <= own


def test_torch_comes_through_its_extension_and_the_rest_from_pip(
    installed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from AdaptSAMLib import packages
    from AdaptSAMLib.geometry import InputProblem

    monkeypatch.setattr(packages, "missing", lambda *_: ["torch>=2.6", "monai>=1.5.1"])
    with pytest.raises(InputProblem, match="The PyTorch extension is not installed"):
        packages.install()
    assert installed == []
    called: list[dict[str, Any]] = []

    class Logic:
        def installTorch(self, **options: Any) -> Any:
            called.append(options)
            return object()

    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=Logic))
    packages.install()
    assert called[0]["torchVersionRequirement"] == packages.TORCH
    assert installed == [["monai>=1.5.1"]]  # this bench has no slicer.packaging, as Slicer 5.10


def test_a_package_that_was_replaced_while_it_was_loaded_asks_for_a_restart(
    installed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    from AdaptSAMLib import packages

    monkeypatch.setattr(packages, "missing", lambda *_: ["monai>=1.5.1"])
    assert packages.install() == []
    known = importlib.metadata.version

    def version(name: str) -> str:
        return "999.1" if name == "numpy" and len(installed) > 1 else known(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert packages.install() == ["numpy"]  # as pip may do for the sake of another one


def test_a_folder_of_wheels_is_enough(installed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from AdaptSAMLib import packages

    monkeypatch.setattr(packages, "missing", lambda *_: ["torch>=2.6", "POT>=0.9.5"])
    packages.install("/wheels")
    assert all(one[:3] == ["--no-index", "--find-links", "/wheels"] for one in installed)
    assert installed[1][3:] == ["POT>=0.9.5"]
    assert not any("SimpleITK" in name for one in installed for name in one)
