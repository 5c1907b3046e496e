"""open_clip, imported only where text is used."""

from __future__ import annotations

import importlib
from types import ModuleType

from adaptsam.errors import NotInstalledError


def open_clip() -> ModuleType:
    """The library.

    Raises:
        NotInstalledError: it is not installed.
    """
    return _library("open_clip")


def transformers() -> ModuleType:
    """Hugging Face's library, for text towers and tokenizers such as BiomedCLIP's.

    Raises:
        NotInstalledError: it is not installed.
    """
    return _library("transformers")


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotInstalledError(
            f"Text prompts need {name}, which is not installed here; run: pip install 'adaptsam[text]'."
        ) from error
