"""What is installed, from where, and that nothing of Slicer's own is touched. No installer runs here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slicer_bench import bench


@pytest.fixture
def installed(application: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What pip would have been asked for, whether through slicer.packaging, where this Slicer has it, or without."""
    import slicer

    asked: list[Any] = []

    def kept(arguments: list[str]) -> None:
        file = Path(arguments[arguments.index("-c") + 1]) if "-c" in arguments else None
        assert file is None or "SimpleITK==" in file.read_text().replace("simpleitk", "SimpleITK")
        asked.append([one for one in arguments if file is None or one not in ("-c", str(file))])

    monkeypatch.setattr(slicer.util, "pip_install", kept)
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: True)
    if importlib.util.find_spec("slicer.packaging") is not None:
        import slicer.packaging

        def ensure(wanted: Any, constraints: str, requester: str) -> None:
            kept(["-c", constraints, *(str(one) for one in wanted if not slicer.packaging.pip_check(one))])

        monkeypatch.setattr(slicer.packaging, "pip_ensure", ensure)
    return asked


@pytest.fixture
def lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Takes installed packages away, by name; returns the requirements file to install again."""
    from AdaptSAMLib import packages

    def take(*names: str) -> str:
        known, path = importlib.metadata.version, tmp_path / "requirements.txt"
        path.write_text("".join(f"{one}>=0.1\n" for one in names if one not in ("torch", "torchvision")))

        def version(name: str) -> str:
            if name in names:
                raise importlib.metadata.PackageNotFoundError(name)
            return known(name)

        monkeypatch.setattr(importlib.metadata, "version", version)
        assert [packages.named(one) for one in packages.missing(str(path))] == [one.lower() for one in names]
        return str(path)

    return take


@pytest.fixture
def torch_extension(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the PyTorch extension would have been asked for."""
    called: list[dict[str, Any]] = []

    class Logic:
        def installTorch(self, **options: Any) -> Any:
            called.append(options)
            return object()

    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=Logic))
    return called


def test_what_is_here_is_not_missing_and_an_old_version_is(application: Any, tmp_path: Path) -> None:
    from AdaptSAMLib import packages

    path = tmp_path / "requirements.txt"
    path.write_text("# a comment\nnumpy>=1.0\nnumpy>=999.1  # not yet\na-package-that-is-not-there>=1\n")
    assert packages.missing(str(path)) == ["numpy>=999.1", "a-package-that-is-not-there>=1"]


def test_the_requirements_are_the_packages_own_with_their_floors(application: Any) -> None:
    from AdaptSAMLib import packages

    project = tomllib.loads((bench.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    more = project["optional-dependencies"]
    own = {*project["dependencies"], *more["align"], *more["text"]}
    assert {f"torch{packages.TORCH}", f"torchvision{packages.TORCHVISION}"} <= own
    agents = bench.REPOSITORY / "AutoPromptSAM" / "Resources" / "requirements-agents.txt"
    asked = {*packages.requirements(), *packages.requirements(str(agents))}
    assert asked <= own
    assert len({packages.named(one) for one in asked}) == len(asked)


def test_torchs_floor_is_what_the_others_ask_for_so_that_pip_replaces_no_torch(application: Any) -> None:
    from AdaptSAMLib import packages
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    least = packages.TORCH.removeprefix(">=")
    agents = bench.REPOSITORY / "AutoPromptSAM" / "Resources" / "requirements-agents.txt"
    for one in [*packages.requirements(), *packages.requirements(str(agents))]:
        for needed in importlib.metadata.requires(Requirement(one).name) or []:
            asked = Requirement(needed)
            if asked.name == "torch" and asked.marker is None:
                assert SpecifierSet(str(asked.specifier)).contains(least), f"{one} asks for {needed}"


def test_torchrl_is_not_taken_for_torch(
    installed: list[Any], torch_extension: list[Any], lacks: Callable[..., str]
) -> None:
    from AdaptSAMLib import packages

    path = lacks("torchrl")
    for wheels in ("", "/wheels"):
        installed.clear()
        packages.install(wheels, path)
        assert [one[-1] for one in installed] == ["torchrl>=0.1"]
    assert torch_extension == []


def test_torch_comes_through_its_extension_and_the_rest_from_pip(
    installed: list[Any], lacks: Callable[..., str], torch_extension: list[dict[str, Any]], monkeypatch: Any
) -> None:
    from AdaptSAMLib import packages
    from AdaptSAMLib.geometry import InputProblem

    path = lacks("torch", "monai")
    packages.install("", path)
    assert torch_extension[0]["torchVersionRequirement"] == packages.TORCH
    assert installed == [["monai>=0.1"]]
    monkeypatch.delitem(sys.modules, "PyTorchUtils")
    installed.clear()
    with pytest.raises(InputProblem, match="The PyTorch extension is not installed"):
        packages.install("", path)
    assert installed == []


def test_a_package_that_was_replaced_while_it_was_loaded_asks_for_a_restart(
    installed: list[Any], lacks: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from AdaptSAMLib import packages

    path = lacks("monai")
    assert packages.install("", path) == []
    known = importlib.metadata.version

    def version(name: str) -> str:
        return "999.1" if name == "numpy" and len(installed) > 1 else known(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert packages.install("", path) == ["numpy"]  # as pip may do for the sake of another one


def test_a_folder_of_wheels_is_enough_and_is_asked_about(
    installed: list[Any], lacks: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer
    from AdaptSAMLib import packages
    from AdaptSAMLib.geometry import InputProblem

    asked: list[str] = []
    answers = [False, True]
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: asked.append(text) or answers.pop(0))
    path = lacks("torch", "POT")
    with pytest.raises(InputProblem, match="Nothing was installed"):
        packages.install("/wheels", path)
    assert installed == []
    packages.install("/wheels", path)
    assert all(one[:3] == ["--no-index", "--find-links", "/wheels"] for one in installed)
    assert installed[1][3:] == ["POT>=0.1"]
    assert f"torch{packages.TORCH}, POT>=0.1" in asked[0]


def test_what_the_extension_and_slicer_brought_is_held_at_its_version(application: Any) -> None:
    from AdaptSAMLib import packages

    kept = dict(one.split("==") for one in packages.constraints())
    assert set(kept) == {"torch", "torchvision", "simpleitk", "numpy", "scipy", "pydicom"}
    assert all(importlib.metadata.version(name) == version for name, version in kept.items())
