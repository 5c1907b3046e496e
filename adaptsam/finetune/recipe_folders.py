"""Folders of the recipes of ``training/``; no slow library is imported."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import adaptsam
from adaptsam.errors import InputError

COMMON = "common"
#: A bundle of its own kind, which trains an agent and not a SAM.
AGENT_BUNDLE = "alignsam"
#: What may be set are plain values of the common configuration, and what a recipe adds; not these.
NO_SETTINGS = (
    *("_meta_", "bundle_root", "imports", "settings", "parts", "base", "how"),
    *("processes", "torch_device", "network_def", "points"),
    *("network", "optimizer", "lr_scheduler", "early_stop", "train", "validate", "training"),
    *("initialize", "run", "finalize"),
    *("inferer", "dataset", "dataloader", "metrics", "handlers", "evaluator", "preprocessing"),
)
_FROM_ONE = ("epochs", "batch", "rounds", "val_interval", "accumulate", "patience")
_UP_TO_ONE = ("warm_up", "cache")


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
    """The recipes that train a SAM."""
    names = (path.parent.parent.name for path in recipes_folder().glob("*/configs/train.json"))
    return sorted(name for name in names if name != AGENT_BUNDLE)


def recipe_files(name: str) -> list[Path]:
    """The configuration files of a recipe, as ``monai.bundle run --config_file`` takes them, the common first.

    Args:
        name: of a recipe, or the folder of one's own bundle.

    Raises:
        InputError: there is no such recipe, or its file is damaged.
    """
    known = recipe_names()
    own = recipes_folder() / name if name in known else Path(name)
    if not (own / "configs" / "train.json").is_file():
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InputError(f"There is no recipe {name!r}; known are {', '.join(known)}.{hint}")
    file = own / "configs" / "train.json"
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        described = None
    if not isinstance(described, dict):
        raise InputError(f"The recipe {name!r} cannot be read: its configs/train.json is damaged; copy it again.")
    return [recipes_folder() / COMMON / "train.json", file]


def plain_recipe(files: Sequence[Path]) -> dict[str, Any]:
    """Merge configuration files as MONAI does, without it: a later file's keys replace an earlier one's.

    Raises:
        InputError: a file cannot be read.
    """
    merged: dict[str, Any] = {}
    for file in files:
        try:
            merged |= json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, RecursionError):
            raise InputError(f"The recipe's {file} cannot be read as JSON; correct it, or get it again.") from None
    return merged


def plain_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a recipe that can be changed, with their values."""
    return {key: value for key, value in recipe.items() if key not in NO_SETTINGS}


def change_settings(bundle: Any, known: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Set plain values of a bundle's configuration.

    Args:
        bundle: MONAI's ``ConfigParser``.
        known: what may be set, with its values now.
        changes: by the same keys.

    Raises:
        InputError: there is no such setting, or its value is of another kind.
    """
    for key, value in changes.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"The recipe has no setting {key!r}; it has {', '.join(known)}.{hint}")
        bundle[key] = _of_its_kind(key, known[key], value)


def _of_its_kind(key: str, before: Any, value: Any) -> Any:
    """The value, where it is of the kind that the setting has; 8.0 may stand for 8."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(before, bool) and not isinstance(value, bool):
        raise InputError(f"{key} is true or false, not {value!r}.")
    if isinstance(before, int | float) and not isinstance(before, bool):
        if not number or (isinstance(before, int) and value != int(value)):
            kind = "a whole number" if isinstance(before, int) else "a number"
            raise InputError(f"{key} is {kind}, not {value!r}.")
        if value < 0 or (key in _FROM_ONE and value < 1):
            raise InputError(f"{key} is too small with {value}; the recipe has {before}.")
        if key in _UP_TO_ONE and isinstance(before, float) and value > 1:
            raise InputError(f"{key} is a share, at most 1, and not {value}; the recipe has {before}.")
        return type(before)(value)
    if isinstance(before, str) and not isinstance(value, str | None):
        raise InputError(f"{key} is a word, not {value!r}; the recipe has {before or 'none'}.")
    return value
