"""Provenance that every result carries: the software that made it, and that no clinician has approved it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

NOTICE = "For research use only, not approved by a clinician."


def software_version() -> str:
    """The version of this package, or "development" where it is not installed."""
    try:
        return version("adaptsam")
    except PackageNotFoundError:
        return "development"


def software(model: str = "") -> str:
    """The package, its version and the hash of the model that worked, in one line."""
    line = f"AdaptSAM {software_version()}"
    return f"{line}, model SHA-256 {model}" if model else line
