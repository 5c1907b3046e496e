"""The Python packages that the worker needs: which are missing, and their installation, after the user said yes."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
import tempfile

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from AdaptSAMLib.engine import elsewhere
from AdaptSAMLib.geometry import InputProblem

#: The least version of PyTorch; today's MONAI, which training agents needs, requires it.
TORCH, TORCHVISION = ">=2.8", ">=0.23"

#: What comes through the PyTorch extension, and what with Slicer: pip must not replace either.
_OF_TORCH, _OF_SLICER = ("torch", "torchvision"), ("simpleitk", "numpy", "scipy", "pydicom")

_REQUIREMENTS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Resources", "requirements.txt"
)


def requirements(path: str = _REQUIREMENTS) -> list:
    """The lines of the file that name a package."""
    with open(path, encoding="utf-8") as file:
        lines = [line.partition("#")[0].strip() for line in file]
    return [line for line in lines if line]


def missing(path: str = _REQUIREMENTS) -> list:
    """The requirements that are not met here; looked up by name, nothing is imported."""
    wanted = [f"torch{TORCH}", f"torchvision{TORCHVISION}", *requirements(path)]
    return [one for one in wanted if not _met(one)]


def lacking(path: str = _REQUIREMENTS) -> list:
    """Packages that are missing for a run: none where the worker runs on another machine, which has its own."""
    return [] if elsewhere() else missing(path)


def named(requirement: str) -> str:
    """The name of a required package as the package index compares names: "torchrl>=0.14" is no "torch"."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    return canonicalize_name(Requirement(requirement).name)


def _met(requirement: str) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    version = _version(wanted.name)
    return version is not None and wanted.specifier.contains(version, prereleases=True)


def _version(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def wheelFolder() -> str:
    """The folder of wheels that the user named for a machine without internet, or ""."""
    return str(qt.QSettings().value("AdaptSAM/WheelFolder", "") or "")


def install(wheels: str = "", path: str = _REQUIREMENTS) -> list:
    """Install what is missing, once the user agreed: PyTorch through its extension, the rest with pip.

    Args:
        wheels: a folder of wheels for a machine without internet; "" for the package index.
        path: the requirements.

    Returns:
        The packages that were replaced while this Slicer had them loaded: it has to be restarted.

    Raises:
        InputProblem: the user declined, or the PyTorch extension is not there.
    """
    before = _loaded()
    try:
        _installMissing(wheels, path)
    finally:
        importlib.invalidate_caches()
    return sorted(name for name, version in _loaded().items() if before.get(name, version) != version)


def reinstall(wheels: str = "", path: str = _REQUIREMENTS) -> None:
    """Install all packages but PyTorch anew, each alone, so that nothing else is replaced for it."""
    source = ["--no-index", "--find-links", wheels] if wheels else []
    slicer.util.pip_install(["--force-reinstall", "--no-deps", *source, *requirements(path)])


def _loaded() -> dict:
    """The packages that this Slicer has imported something of, and the versions that are installed."""
    owners = importlib.metadata.packages_distributions()
    names = {name for module, ones in owners.items() if module in sys.modules for name in ones}
    return {name: version for name in names if (version := _version(name)) is not None}


def _installMissing(wheels: str, path: str) -> None:
    wanted = missing(path)
    torch = [one for one in wanted if named(one) in _OF_TORCH]
    rest = [one for one in wanted if named(one) not in _OF_TORCH]
    managed = not wheels and importlib.util.find_spec("slicer.packaging") is not None
    # PyTorch's extension and slicer.packaging ask about what they install themselves.
    ours = (torch if wheels else []) + ([] if managed else rest)
    if ours and not slicer.util.confirmYesNoDisplay(
        _("Install these Python packages into Slicer: {names}?").format(names=", ".join(ours))
    ):
        raise InputProblem(_("Nothing was installed; without these packages no model runs."))
    if torch:
        _installTorch(wheels)
    if not rest:
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = os.path.join(folder, "constraints.txt")
        with open(kept, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in constraints())
        if managed:
            from slicer import packaging

            try:
                packaging.pip_ensure(packaging.load_requirements(path), constraints=kept, requester="AdaptSAM")
            except RuntimeError as error:  # the user declined
                raise InputProblem(str(error)) from error
        else:  # wheels, or Slicer 5.10
            where = ["--no-index", "--find-links", wheels] if wheels else []
            slicer.util.pip_install([*where, "-c", kept, *rest])


def constraints() -> list:
    """The versions that are here of what pip must leave alone: pip refuses a package that requires others."""
    here = {name: _version(name) for name in (*_OF_TORCH, *_OF_SLICER)}
    return [f"{name}=={version}" for name, version in here.items() if version is not None]


def _installTorch(wheels: str) -> None:
    if wheels:
        slicer.util.pip_install(["--no-index", "--find-links", wheels, f"torch{TORCH}", f"torchvision{TORCHVISION}"])
        return
    try:
        import PyTorchUtils
    except ModuleNotFoundError as error:
        raise InputProblem(
            _(
                "The PyTorch extension is not installed; install it in the Extensions Manager, restart Slicer, and come back here."
            )
        ) from error
    logic = PyTorchUtils.PyTorchUtilsLogic()
    made = logic.installTorch(
        askConfirmation=True, torchVersionRequirement=TORCH, torchvisionVersionRequirement=TORCHVISION
    )
    if made is None:
        raise InputProblem(_("PyTorch was not installed; without it no model runs."))
