"""Files on this machine: whole or not at all, downloaded and checked, kept between runs."""

from typing import TYPE_CHECKING

from adaptsam.lazy_imports import names_on_demand

if TYPE_CHECKING:
    from adaptsam.storage.output_staging import staged_output

__all__ = [
    "staged_output",
]

# On demand: no part needs the libraries of another.
_HOMES = {
    "output_staging": ("staged_output",),
}

__getattr__ = names_on_demand(__name__, _HOMES)
