"""An agent's limits, set from a few cases of one's own instead of from those that it was trained on.

An agent that was trained elsewhere has seen other scanners. Its weights stay as they are; what changes is how much
evidence it requires on a slice, and which kind of images it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adaptsam.alignsam import Novelty, Package
from adaptsam.autoprompting.agent_batches import TextMaps, check_agents, prompted
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
from adaptsam.errors import InputError
from adaptsam.image.volume import Volume
from adaptsam.progress import Progress, silent
from adaptsam.sam import Embedding, EmbeddingStore
from adaptsam.slicewise.slice_images import check_image

#: Slices of each kind that are looked at in one volume, evenly spread.
MOST_SLICES = 24
_BATCH = 8


@dataclass(frozen=True, eq=False)
class OwnCase:
    """An image and the target on it, bool on the image's grid; empty where the target is not on the image."""

    name: str
    volume: Volume
    mask: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """Result of a calibration.

    Attributes:
        cases, slices_with, slices_without: how much there was.
        least_before, least_after: the least evidence.
        with_before, with_after: the share of slices with the target that was, and is, accepted.
        without_before, without_after: the same of slices without it; NaN where there were none.
    """

    cases: int
    slices_with: int
    slices_without: int
    least_before: float
    least_after: float
    with_before: float
    with_after: float
    without_before: float
    without_after: float


def calibrate(
    package: Package,
    cases: Sequence[OwnCase],
    *,
    store: EmbeddingStore,
    text_maps: TextMaps | None = None,
    most: int = MOST_SLICES,
    progress: Progress = silent,
) -> tuple[Package, Calibration]:
    """The agent with limits that fit one's own cases.

    Args:
        package: the agent.
        cases: some images, of which one shows the target at least.
        store: of its SAM.
        text_maps: for an agent of the explicit branch.
        most: slices of each kind to look at in one volume.
        progress: receives "calibrate" with slices done and in all; may cancel.

    Raises:
        InputError: no case, none with the target, no slice without it, a mask on another grid, or an image of another
            kind than the agent takes.
        CheckpointError: the agent is for another SAM.
    """
    check_agents([package], store.model, text_maps)
    if not cases:
        raise InputError("There is no case to calibrate with; give an image with its contour.")
    chosen = _chosen(package, cases, store, most)
    options = AutoPromptSettings()
    before: list[bool] = []
    totals: list[float] = []
    embeddings: list[Embedding] = []
    for start in range(0, len(chosen), _BATCH):
        progress("calibrate", start, len(chosen))
        images = [slices.image(k) for slices, k, _ in chosen[start : start + _BATCH]]
        own = store.get(images)
        results = prompted(store.model, package, images, own, options, text_maps)
        embeddings += own
        totals += [result.evidence.total for result in results]
        known = [package.novelty is None or package.novelty.knows(result.novelty or 0.0) for result in results]
        before += [k and total >= package.least_evidence for k, total in zip(known, totals[start:], strict=True)]
    progress("calibrate", len(chosen), len(chosen))
    there, evidence = np.array([one for *_, one in chosen]), np.array(totals)
    least = separating(evidence[there], evidence[~there])
    size = store.model.image_size
    kind = Novelty.of([one for one, flag in zip(embeddings, there, strict=True) if flag], [], size) or package.novelty
    known_now = np.array([kind is None or kind.knows(kind.of_image(one, size)) for one in embeddings])
    after = (evidence >= least) & known_now
    accepted = np.array(before)
    found = Calibration(
        cases=len(cases),
        slices_with=int(there.sum()),
        slices_without=int((~there).sum()),
        least_before=package.least_evidence,
        least_after=least,
        with_before=float(accepted[there].mean()),
        with_after=float(after[there].mean()),
        without_before=float(accepted[~there].mean()),
        without_after=float(after[~there].mean()),
    )
    record = {**package.training, "calibration": asdict(found)}
    return replace(package, least_evidence=least, novelty=kind, training=record), found


def separating(there: NDArray[np.float64], absent: NDArray[np.float64]) -> float:
    """The limit between two kinds of evidence, (n,) and (m,) of 0 to 1, with the smallest shares of errors.

    It lies in the middle between two values that occur; of equally good ones in the widest gap.
    """
    values = np.unique(np.concatenate([[0.0], there, absent, [1.0]]))
    limits, gaps = (values[1:] + values[:-1]) / 2, np.diff(values)
    right = (there[None] >= limits[:, None]).mean(1) + (absent[None] < limits[:, None]).mean(1)
    return float(limits[np.lexsort((gaps, np.round(right, 9)))[-1]])


def _chosen(
    package: Package, cases: Sequence[OwnCase], store: EmbeddingStore, most: int
) -> list[tuple[AgentSlices, int, bool]]:
    """Slices of all cases, some with the target and some without."""
    chosen = [entry for one in cases for entry in _slices(package, one, store, most)]
    if not any(there for *_, there in chosen):
        raise InputError(f"No case shows {package.target.name}; give one where it is outlined.")
    if all(there for *_, there in chosen):
        raise InputError(
            f"Every slice shows {package.target.name}; give an image that reaches beyond it, so that the limit has two "
            "sides."
        )
    return chosen


def _slices(package: Package, case: OwnCase, store: EmbeddingStore, most: int) -> list[tuple[AgentSlices, int, bool]]:
    """Slices of a case that show anything, and whether the target is on them."""
    check_image(case.volume, case.name)
    if case.mask.shape != case.volume.geometry.shape:
        raise InputError(f"The target of {case.name} lies on another grid than the image; outline it there.")
    if package.shown.color != (case.volume.array.ndim == 4):
        kind = "colour pictures" if package.shown.color else "gray values"
        raise InputError(f"The agent for {package.target.name} was trained on {kind}, and {case.name} has others.")
    slices = AgentSlices(case.volume, package.shown, store.model.image_size)
    there = slices.images.orientation.apply(case.mask).any(axis=(1, 2))
    found: list[tuple[AgentSlices, int, bool]] = []
    for flag in (True, False):
        rows = np.flatnonzero(there == flag)
        if len(rows) > most:
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, most).round()).astype(int)]
        images = ((int(k), slices.image(int(k))) for k in rows)
        found += [(slices, k, flag) for k, image in images if image.min() < image.max()]
    return found
