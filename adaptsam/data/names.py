"""Finding structures by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from adaptsam.data.volume import StructureSet
from adaptsam.errors import InputError


def select_structures(structures: StructureSet, names: Sequence[str] | None = None) -> StructureSet:
    """The structures of these names, in this order.

    Args:
        structures: the set to choose from.
        names: exact names; ``None`` means all that are not empty.

    Returns:
        A set with the same grid. None of its masks is empty.

    Raises:
        InputError: a name is not there (the message lists those that are, and the nearest), stands for two structures,
            or its structure is empty.
    """
    if names is None:
        chosen = [structure for structure in structures.structures if structure.mask.any()]
        if not chosen:
            raise InputError("The structure set holds no structure with a contour; choose another file.")
        return StructureSet(tuple(chosen), structures.geometry, structures.dicom)
    check_names(names, structures.names)
    chosen = [structures.structures[structures.names.index(name)] for name in names]
    for structure in chosen:
        if not structure.mask.any():
            raise InputError(f"The structure {structure.name!r} is empty; choose one that has a contour.")
    return StructureSet(tuple(chosen), structures.geometry, structures.dicom)


def check_names(names: Sequence[str], available: Sequence[str]) -> None:
    """Raise :class:`InputError` unless every name stands for exactly one of those that are available."""
    for name in names:
        if name not in available:
            raise InputError(f"There is no structure {name!r}{_suggestion(name, available)}.")
        if list(available).count(name) > 1:
            raise InputError(f"Two structures are called {name!r}; rename one of them.")


def _suggestion(name: str, available: Sequence[str]) -> str:
    if not available:
        return " and no other one either"
    by_lower_case = {candidate.lower(): candidate for candidate in available}
    nearest = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1, cutoff=0.4)
    meant = f"; did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ";"
    return f"{meant} There are: {', '.join(available)}" if nearest else f"{meant} there are: {', '.join(available)}"
