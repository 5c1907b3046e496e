"""Remarks of readers: what they left out, or could have read in another way. They travel with the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Remark:
    """Part of a file that was left out, or read as one of several things that it may mean.

    Attributes:
        what: a noun phrase in the plural, as "contours of 'GTV'".
        count: how many.
        why: the reason, a clause after "because" or a colon, with what to do where something can be done.
        left_out: whether it is missing from what was read; otherwise it is there, read as ``why`` says.

    Example:
        >>> Remark("contours of 'GTV'", 2, "they are open and enclose nothing").sentence
        "Left out: contours of 'GTV' (2), as they are open and enclose nothing."
    """

    what: str
    count: int
    why: str
    left_out: bool = True

    @property
    def sentence(self) -> str:
        """Sentence for a person."""
        if self.left_out:
            return f"Left out: {self.what} ({self.count}), as {self.why}."
        return f"Read with care: {self.what} ({self.count}): {self.why}."


#: Remarks by what they are about: "prior image", "prior contours", "target image".
Remarks = Mapping[str, tuple[Remark, ...]]


def warnings_of(remarks: Remarks) -> tuple[str, ...]:
    """All of them as sentences, each once, with what they are about."""
    return tuple(text for where, about in remarks.items() for text in sentences(about, where[:1].upper() + where[1:]))


def rows_of(remarks: Remarks) -> list[dict[str, object]]:
    """All of them as values for ``summary.json`` and messages; ``of`` says what they are about."""
    return [
        {"of": where, "what": one.what, "count": one.count, "why": one.why, "left_out": one.left_out}
        for where, about in remarks.items()
        for one in dict.fromkeys(about)
    ]


def sentences(remarks: Iterable[Remark], where: str = "") -> tuple[str, ...]:
    """Every remark once, as sentences that begin with ``where`` ("Prior image")."""
    return tuple(f"{where}: {one.sentence}" if where else one.sentence for one in dict.fromkeys(remarks))
