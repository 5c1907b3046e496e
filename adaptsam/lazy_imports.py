"""Lazy imports of a package's names and modules (PEP 562): no part needs the libraries of another."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any


def names_on_demand(
    package: str, homes: Mapping[str, Sequence[str]], renamed: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """A module's ``__getattr__``, which imports a name, or a module of the package, on first use.

    Args:
        package: its ``__name__``.
        homes: for each of its modules the names that the package has from there.
        renamed: old names → those of today; a DeprecationWarning says the new one.
    """
    renamed = renamed or {}
    module_of = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name in module_of:
            value = getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        elif name in renamed:
            message = f"{package}.{name} was renamed: use {renamed[name]}. The old name goes with the next version."
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            return getattr(sys.modules[package], renamed[name])
        elif not name.startswith("_") and find_spec(f"{package}.{name}") is not None:
            value = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    return get
