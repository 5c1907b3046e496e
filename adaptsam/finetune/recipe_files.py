"""Where the recipes of ``training/`` lie; nothing is imported that takes long."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import adaptsam
from adaptsam.errors import InputError

COMMON = "common"


def recipes_folder() -> Path:
    """``training/`` of a checkout, or of the installed package.

    Raises:
        InputError: neither is there.
    """
    package = Path(adaptsam.__file__).parent
    for folder in (package.parent / "training", package / "_resources" / "training"):
        if (folder / COMMON / "train.json").is_file():
            return folder
    raise InputError("The recipes are not part of this installation; install AdaptSAM again.")


def recipe_names() -> list[str]:
    return sorted(path.parent.parent.name for path in recipes_folder().glob("*/configs/train.json"))


def recipe_files(name: str) -> list[Path]:
    """The configuration files of a recipe, the common one first, as ``monai.bundle run --config_file`` takes them.

    Args:
        name: of a recipe, or the folder of one's own bundle.

    Raises:
        InputError: there is no such recipe.
    """
    known = recipe_names()
    own = recipes_folder() / name if name in known else Path(name)
    if not (own / "configs" / "train.json").is_file():
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InputError(f"There is no recipe {name!r}; known are {', '.join(known)}.{hint}")
    return [recipes_folder() / COMMON / "train.json", own / "configs" / "train.json"]
