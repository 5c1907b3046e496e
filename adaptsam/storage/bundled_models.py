"""Models that come with AdaptSAM: their folders, in a wheel and in a checkout."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def bundled_folders() -> tuple[Path, Path]:
    """Folders of the models that come with AdaptSAM: in an installed wheel, in a source checkout."""
    package = Path(str(files("adaptsam.storage"))).parent
    return package / "_resources" / "models", package.parent / "Resources" / "models"
