"""Pickled lists as benchmarks publish them, read without letting the file run anything."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from adaptsam.errors import InputError


class _PlainUnpickler(pickle.Unpickler):
    """Knows dictionaries, lists, texts and numbers; a file that names any class or function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of plain values.

    Raises:
        InputError: the file is missing, damaged, or holds more than plain values.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except FileNotFoundError:
        raise InputError(f"{path.name} is missing from {path.parent.name}; download it with the data set.") from None
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError, OSError) as error:
        raise InputError(f"{path.name} is damaged or no list of plain values ({error}); download it again.") from None
