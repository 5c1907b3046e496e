"""Finding structures by name."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from adaptsam.errors import InputError
from adaptsam.image.volume import Structure, StructureSet


def select_structures(structures: StructureSet, names: Sequence[str] | None = None) -> StructureSet:
    """The structures of these names, in this order.

    Args:
        structures: the set to choose from.
        names: capitals do not matter where one structure alone is meant; ``None`` means all that are not empty. A name
            that is no structure's may be one's description, and the structure is called so then. One that is repeated
            counts once.

    Returns:
        A set with the same grid. None of its masks is empty, and no two names are the same: what shares one with an
        earlier structure ("GTV") is numbered ("GTV (2)").

    Raises:
        InputError: a name is not there (the message lists those that are, and the nearest), stands for several
            structures, or its structure is empty.
    """
    if names is None:
        chosen = [structure for structure in structures.structures if structure.mask.any()]
        if not chosen:
            raise InputError("The structure set holds no structure with a contour; choose another file.")
        return StructureSet(_numbered(chosen), structures.geometry, structures.dicom)
    chosen = list({one.name: one for one in (_named(name, structures.structures) for name in names)}.values())
    for structure in chosen:
        if not structure.mask.any():
            raise InputError(f"The structure {structure.name!r} is empty; choose one that has a contour.")
    return StructureSet(tuple(chosen), structures.geometry, structures.dicom)


def _numbered(structures: Sequence[Structure]) -> tuple[Structure, ...]:
    """Structures whose names say which one is meant, also where a file has one name twice."""
    taken = Counter(structure.name for structure in structures)
    seen: set[str] = set()
    numbered = []
    for structure in structures:
        name, number = structure.name, 1
        while name in seen or (number > 1 and taken[name]):
            number += 1
            name = f"{structure.name} ({number})"
        seen.add(name)
        numbered.append(structure if number == 1 else replace(structure, name=name))
    return tuple(numbered)


def told_apart(structures: tuple[Structure, ...]) -> tuple[Structure, ...]:
    """Structures that share a name ("Lung" and "Lung") under their descriptions, if these differ."""
    names = Counter(structure.name for structure in structures)
    descriptions = Counter(structure.description for structure in structures)
    taken = {*names, ""}
    return tuple(
        replace(one, name=one.description)
        if names[one.name] > 1 and descriptions[one.description] == 1 and one.description not in taken
        else one
        for one in structures
    )


def _named(name: str, structures: Sequence[Structure]) -> Structure:
    names = [structure.name for structure in structures]
    wanted = name.strip().casefold()
    if wanted and not any(one.strip().casefold() == wanted for one in names):
        described = [one for one in structures if one.description.strip().casefold() == wanted]
        if len(described) == 1:
            return replace(described[0], name=described[0].description.strip())
    return structures[find_name(name, names)]


def find_name(name: str, available: Sequence[str]) -> int:
    """Index of the one name that is equal, or where none is, equal but for capitals and outer spaces.

    Raises:
        InputError: there is none, or several are meant.
    """
    alike = [one.strip().casefold() for one in available]
    places = [n for n, one in enumerate(available) if one == name]
    places = places or [n for n, one in enumerate(alike) if one == name.strip().casefold()]
    if not places:
        raise InputError(f"There is no structure {name!r}{_suggestion(name, available)}.")
    if len(places) > 1:
        twice = {available[n] for n in places}
        if len(twice) == 1:
            raise InputError(f"Two structures are called {twice.pop()!r}; rename one of them.")
        raise InputError(f"{name!r} may be {' or '.join(map(repr, sorted(twice)))}; write it with its capitals.")
    return places[0]


def _suggestion(name: str, available: Sequence[str]) -> str:
    if not available:
        return " and no other one either"
    by_lower_case = {candidate.lower(): candidate for candidate in available}
    nearest = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1, cutoff=0.4)
    meant = f"; did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ";"
    return f"{meant} There are: {', '.join(available)}" if nearest else f"{meant} there are: {', '.join(available)}"
