"""The Python packages that the worker needs: which are missing, and their installation, only when somebody asks."""

import importlib.metadata
import importlib.util
import os
import sys

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from AdaptSAMLib.engine import elsewhere
from AdaptSAMLib.geometry import InputProblem

#: From here on, whatever is chosen of PyTorch.
TORCH, TORCHVISION = ">=2.6", ">=0.21"

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
    """What is missing for a run: nothing where the worker runs on another machine, which has packages of its own."""
    return [] if elsewhere() else missing(path)


def _met(requirement: str) -> bool:
    name, _sign, least = requirement.partition(">=")
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return _numbers(version) >= _numbers(least)


def _numbers(version: str) -> tuple:
    numbers = []
    for part in version.split("+")[0].split("."):
        digits = "".join(one for one in part if one.isdigit())
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def wheelFolder() -> str:
    """The folder of wheels that the user named for a machine without internet, or ""."""
    return str(qt.QSettings().value("AdaptSAM/WheelFolder", "") or "")


def install(wheels: str = "", path: str = _REQUIREMENTS) -> list:
    """Install what is missing: PyTorch through its extension, the rest with pip. SimpleITK is never touched.

    Args:
        wheels: a folder of wheels for a machine without internet; "" for the package index.
        path: the requirements.

    Returns:
        The packages that were replaced while this Slicer had them loaded: it has to be restarted.
    """
    before = _loaded()
    _installMissing(wheels, path)
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
    return {name: importlib.metadata.version(name) for name in names}


def _installMissing(wheels: str, path: str) -> None:
    wanted = missing(path)
    if any(one.startswith("torch") for one in wanted):
        _installTorch(wheels)
    rest = [one for one in wanted if not one.startswith("torch")]
    if not rest:
        return
    if wheels:
        slicer.util.pip_install(["--no-index", "--find-links", wheels, *rest])
    elif importlib.util.find_spec("slicer.packaging") is not None:
        from slicer import packaging

        packaging.pip_ensure(packaging.load_requirements(path), requester="AdaptSAM")
    else:  # Slicer 5.10
        slicer.util.pip_install(rest)


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
