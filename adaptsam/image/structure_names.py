"""Finding structures by name."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from adaptsam.errors import InputError
from adaptsam.image.remarks import Remark
from adaptsam.image.volume import Structure, StructureSet


def select_structures(structures: StructureSet, names: Sequence[str] | str | None = None) -> StructureSet:
    """The structures of these names, in this order.

    Args:
        structures: the set to choose from.
        names: one, or several; capitals do not matter where one structure alone is meant; ``None`` means all that are
            not empty. Of structures that share a name, "GTV (1)" is the first, "GTV (2)" the second. A name that is no
            structure's may be one's description, and the structure is called so then. One that is repeated counts once.

    Returns:
        A set with the same grid and remarks. None of its masks is empty, and no two names are the same: what shares one
        with an earlier structure ("GTV") is numbered ("GTV (2)").

    Raises:
        InputError: a name is not there (the message lists those that are, and the nearest), stands for several
            structures, or its structure is empty.
    """
    unique = [
        replace(one, name=name)
        for one, name in zip(structures.structures, numbered_names(structures.names), strict=True)
    ]
    if names is None:
        chosen = [structure for structure in unique if structure.mask.any()]
        if not chosen:
            raise InputError("The structure set holds no structure with a contour; choose another file.")
        empty = [structure.name for structure in unique if not structure.mask.any()]
        left = (_left_empty(empty),) if empty else ()
        return replace(structures, structures=tuple(chosen), remarks=structures.remarks + left)
    asked = asked_names(names, structures.names)
    chosen = list({one.name: one for one in (_named(name, structures.structures, unique) for name in asked)}.values())
    for structure in chosen:
        if not structure.mask.any():
            raise InputError(f"The structure {structure.name!r} is empty; choose one that has a contour.")
    return replace(structures, structures=tuple(chosen))


def asked_names(names: Sequence[str] | str, there: Sequence[str] = ()) -> list[str]:
    """Names that are asked for, one or several.

    Raises:
        InputError: they are none, with the names that are ``there``.
    """
    several = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else []
    if not several or not all(isinstance(name, str) for name in several):
        known = f"; there are: {', '.join(there)}" if there else ""
        raise InputError(f'Structures are chosen by their names, as names="GTV"{known}.')
    return several


def _left_empty(names: Sequence[str]) -> Remark:
    return Remark(f"structures {', '.join(map(repr, names))}", len(names), "nothing is drawn of them")


def numbered_names(names: Sequence[str]) -> list[str]:
    """Names that say which structure is meant, also where one is there twice: "GTV", "GTV (2)"."""
    taken = Counter(names)
    seen: set[str] = set()
    numbered = []
    for one in names:
        name, number = one, 1
        while name in seen or (number > 1 and taken[name]):
            number += 1
            name = f"{one} ({number})"
        seen.add(name)
        numbered.append(name)
    return numbered


def name_remarks(names: Sequence[str], places: Sequence[int]) -> list[Remark]:
    """Remarks on structures at these places that share a name with another, with what they are called."""
    counts, numbered = Counter(names), numbered_names(names)
    shared = dict.fromkeys(names[place] for place in places if counts[names[place]] > 1)
    return [
        Remark(
            f"structures called {name!r}",
            counts[name],
            f"their names are {', '.join(repr(numbered[n]) for n, one in enumerate(names) if one == name)} here",
            left_out=False,
        )
        for name in shared
    ]


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


def _named(name: str, structures: Sequence[Structure], unique: Sequence[Structure]) -> Structure:
    names = [structure.name for structure in structures]
    wanted = name.strip().casefold()
    if wanted and not any(one.strip().casefold() == wanted for one in names):
        described = [one for one in structures if one.description.strip().casefold() == wanted]
        if len(described) == 1:
            return replace(described[0], name=described[0].description.strip())
    return unique[find_name(name, names)]


def find_name(name: str, available: Sequence[str]) -> int:
    """Index of the one name that is equal, or where none is, equal but for capitals and outer spaces.

    Names that are there twice are found as :func:`numbered_names` has them, and the first of them as "(1)".

    Raises:
        InputError: there is none, or several are meant.
    """
    counts = Counter(available)
    numbered = numbered_names(available)
    with_first = [
        f"{one} (1)" if counts[one] > 1 and one == number else number
        for one, number in zip(available, numbered, strict=True)
    ]
    places: list[int] = []
    for plain in (str, lambda one: one.strip().casefold()):
        for among in (available, numbered, with_first):
            places = places or [n for n, one in enumerate(among) if plain(one) == plain(name)]
    if not places:
        raise InputError(f"There is no structure {name!r}{_suggestion(name, numbered)}.")
    if len(places) > 1:
        twice = {available[n] for n in places}
        if len(twice) == 1:
            ask = " or ".join(repr(with_first[n]) for n in places)
            raise InputError(f"{_count(len(places))} structures are called {twice.pop()!r}; ask for {ask}.")
        raise InputError(f"{name!r} may be {' or '.join(map(repr, sorted(twice)))}; write it with its capitals.")
    return places[0]


def _count(number: int) -> str:
    return "Two" if number == 2 else str(number)


def _suggestion(name: str, available: Sequence[str]) -> str:
    if not available:
        return " and no other one either"
    by_lower_case = {candidate.lower(): candidate for candidate in available}
    nearest = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1, cutoff=0.4)
    meant = f"; did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ";"
    return f"{meant} There are: {', '.join(available)}" if nearest else f"{meant} there are: {', '.join(available)}"
