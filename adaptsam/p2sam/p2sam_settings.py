"""Settings of P²SAM's prompts and retrieval; every row of the paper's Tables 4, 5 and 6 is a setting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from adaptsam.errors import InputError

Domain = Literal["medical", "natural"]
DistanceName = Literal["wasserstein", "jensen-shannon", "hungarian"]


@dataclass(frozen=True)
class P2SamSettings:
    """Settings of P²SAM on one image pair; the default is the paper's (Section 4.4: n = 4, Wasserstein).

    ``domain`` "medical" takes negative points from parts of the background and cascades with one mask a pass; "natural"
    takes one negative point where the mean similarity is lowest, and cascades as PerSAM does.
    ``positives`` is the first and the last number of foreground parts to try, both included.
    ``negatives`` is the same for background parts, and every combination is tried, as in the released commands;
    ``None`` pairs n foreground with n background parts, as the paper writes. In the natural domain it stays ``None``.
    ``retrieval`` chooses among the candidates by ``distance``; without it, only the candidate with most parts is made.
    ``weighted`` weighs the target's patches by the sigmoid of their logits (Wasserstein only).

    Raises :class:`InputError` for a value or a combination that means nothing.
    """

    domain: Domain = "medical"
    positives: tuple[int, int] = (1, 4)
    negatives: tuple[int, int] | None = None
    retrieval: bool = True
    distance: DistanceName = "wasserstein"
    weighted: bool = False

    def __post_init__(self) -> None:
        _check_choice("domain", self.domain, get_args(Domain))
        _check_choice("distance", self.distance, get_args(DistanceName))
        _check_range("positives", self.positives, least=1)
        if self.negatives is not None:
            _check_range("negatives", self.negatives, least=0)
            if self.domain == "natural":
                raise InputError("The natural domain has exactly one negative point: leave 'negatives' at None.")
        if self.weighted and self.distance != "wasserstein":
            raise InputError(f"Only the Wasserstein distance can be weighted, not {self.distance!r}.")

    def counts(self, foreground: int, background: int) -> list[tuple[int, int]]:
        """The (positive, negative) counts to try, in the reference's order, for a prior with so many patches of each.

        A count that needs more patches than there are is skipped, as in the reference. Where that leaves nothing (the
        reference fails there), the counts are the most that the patches afford, so that a usable prior always gives an
        answer.
        """
        positives = _affordable(self.positives, foreground)
        if self.domain == "natural":
            counts = [(n, 1) for n in positives]
        elif self.negatives is not None:
            counts = [(p, n) for p in positives for n in _affordable(self.negatives, background)]
        else:
            counts = [(n, n) for n in positives if n <= background] or [(positives[0], min(positives[0], background))]
        return counts if self.retrieval else counts[-1:]


def _affordable(span: tuple[int, int], patches: int) -> list[int]:
    """The numbers of parts in a span that so many patches can be clustered into; never an empty list."""
    return [n for n in range(span[0], span[1] + 1) if n <= patches] or [patches]


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"The P²SAM setting '{name}' is {value!r}; choose one of {', '.join(choices)}.")


def _check_range(name: str, span: tuple[int, int], least: int) -> None:
    whole = isinstance(span, tuple) and len(span) == 2 and all(type(n) is int for n in span)
    if not whole or not least <= span[0] <= span[1]:
        raise InputError(
            f"The P²SAM setting '{name}' is {span!r}; give the first and last number of parts, from {least} upwards."
        )


PAPER = P2SamSettings()
PERSAM = P2SamSettings(positives=(1, 1))
NATURAL = P2SamSettings(domain="natural")
RELEASED_LUNG = P2SamSettings(positives=(1, 3), negatives=(1, 1))
RELEASED_POLYP = P2SamSettings(positives=(1, 5), negatives=(1, 1))
RELEASED_PERSEG = P2SamSettings(domain="natural", positives=(1, 5))


def ablation_settings(domain: Domain = "medical") -> dict[tuple[int, str], P2SamSettings]:
    """Every row of the paper's ablations, by table and row: ``ablation_settings()[5, "Hungarian"]``.

    The columns are the domains: CVC-ClinicDB is "medical", PerSeg is "natural". The rows of Table 6 differ by the model
    alone, which the caller loads: its first row is PerSAM's, the others are the default.
    """
    base = P2SamSettings(domain=domain)
    rows: dict[tuple[int, str], P2SamSettings] = {}
    for n in range(1, 6):
        rows[4, f"n={n} w/o retrieval"] = replace(base, positives=(1, n), retrieval=False)
        rows[4, f"n={n} w/ retrieval"] = replace(base, positives=(1, n))
    rows[5, "w/o retrieval"] = replace(base, retrieval=False)
    rows[5, "Hungarian"] = replace(base, distance="hungarian")
    rows[5, "Jensen-Shannon"] = replace(base, distance="jensen-shannon")
    rows[5, "Wasserstein"] = base
    rows[6, "PerSAM-huge"] = replace(base, positives=(1, 1))
    for size in ("base", "large", "huge"):
        rows[6, f"SAM-{size}"] = base
    return rows
