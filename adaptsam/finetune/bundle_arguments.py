"""Arguments of ``python -m monai.bundle run``, checked before anything is built: MONAI takes any name and value."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from adaptsam.errors import InputError
from adaptsam.finetune.recipe_folders import change_settings, plain_recipe, plain_settings

#: MONAI's own.
_OWN = (
    *("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"),
    *("bundle_root", "workflow_name", "config_ignored", "name", "version"),
)


def check_bundle_arguments(argv: Sequence[str] | None = None) -> None:
    """End the program with one sentence where an argument names no setting, or is of another kind.

    Another program than ``monai.bundle`` is left alone.

    Args:
        argv: of the program.
    """
    argv = sys.argv if argv is None else argv
    if Path(argv[0]).parts[-2:] != ("bundle", "__main__.py") or "run" not in argv[1:2]:
        return
    try:
        check_arguments(arguments(argv[2:]))
    except InputError as error:
        print(f"adaptsam: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def arguments(words: Sequence[str]) -> dict[str, Any]:
    """Arguments --key value and --key=value by name, with values as ``fire`` reads them."""
    from fire.parser import DefaultParseValue

    given: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            continue
        key, equals, value = word[2:].partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "True"
        given[key] = DefaultParseValue(value)
    return given


def check_arguments(given: Mapping[str, Any]) -> None:
    """Check names and kinds of a bundle's arguments.

    Raises:
        InputError: a name that is no setting of the recipe, or a value of another kind.
    """
    files = given.get("config_file", [])
    recipe = plain_recipe([Path(file) for file in ([files] if isinstance(files, str) else files)])
    known = plain_settings(recipe)
    changed: dict[str, Any] = {}
    for key, value in given.items():
        root = key.replace("::", "#").split("#")[0]
        if key in _OWN:
            continue
        if root != key:  # deep inside of the recipe, where MONAI's users may change what they want
            if root not in recipe and root != "_meta_":
                near = get_close_matches(root, recipe, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise InputError(f"The recipe has no part {root!r}.{hint}")
            continue
        if key in recipe and key not in known:
            continue
        changed[key] = value
    change_settings(dict(known), known, changed)
