"""PersonalizedSAM's public function: contours of one visit, carried to others."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from adaptsam.data import same_patient, select_structures
from adaptsam.data.volume import StructureSet, Volume
from adaptsam.errors import GeometryError, InputError
from adaptsam.p2sam import Settings
from adaptsam.p2sam_slices import P2SamSlices
from adaptsam.progress import Progress, silent
from adaptsam.sam import EmbeddingStore, SamModel, load_sam
from adaptsam.volumes import Carried, PriorVisit, SliceReport, StructureReport, VolumeSettings, carry, check_image

__all__ = [
    "Propagation",
    "PropagationSettings",
    "SliceReport",
    "StructureReport",
    "papers_protocol",
    "propagate",
]


@dataclass(frozen=True)
class PropagationSettings(VolumeSettings):
    """Everything that can be chosen: the volume workflow's settings, and ``p2sam``, the method's on one slice."""

    p2sam: Settings = field(default_factory=Settings)


@dataclass(frozen=True, eq=False)
class Propagation:
    """What came of one target.

    ``structures`` lie on the target's own grid, in the order asked for; those that were not found are empty.
    ``warnings`` are sentences for the user. ``encoded`` is how many images the encoder was run on for this target
    (for the first one, the prior's slices included).
    """

    structures: StructureSet
    reports: tuple[StructureReport, ...]
    warnings: tuple[str, ...]
    encoded: int


def propagate(
    prior: Volume,
    structures: StructureSet,
    targets: Sequence[Volume],
    *,
    model: SamModel | None = None,
    names: Sequence[str] | None = None,
    settings: PropagationSettings | None = None,
    progress: Progress = silent,
    store: EmbeddingStore | None = None,
    allow_different_patients: bool = False,
) -> list[Propagation]:
    """Carry the structures of a prior visit to target visits with P²SAM.

    Args:
        prior: the image on which the structures were drawn.
        structures: on the prior's grid; they may overlap.
        targets: images of the same patient, each on its own grid.
        model: the promptable model; the bundled one by default.
        names: which structures; all that are not empty by default.
        settings: see :class:`PropagationSettings`; :func:`papers_protocol` gives the published evaluation's.
        progress: told "prior", "register" and "segment"; cancels by raising Cancelled.
        store: embeddings to reuse and add to (its model is used). By default one that lasts for this call.
        allow_different_patients: go on although prior and target name different patients.

    Returns:
        One :class:`Propagation` per target, in order.

    Raises:
        GeometryError: the structures lie on another grid than the prior, or a target is of another patient.
        InputError: an unknown or empty structure, no target, an image without content.
        Cancelled: the progress callback asked for it.

    Example:
        >>> prior = read_volume("planning.nrrd")
        >>> [result] = propagate(prior, read_structures("planning.seg.nrrd", prior), [read_volume("week3.nrrd")])
        >>> result.reports[0].status, result.reports[0].worst_slices[0].index
    """
    chosen = _check(prior, structures, targets, names, allow_different_patients)
    options = settings or PropagationSettings()
    steps = _Steps(progress)
    with ExitStack() as stack:
        if store is None:
            # On disk as well, so that no slice is encoded twice however little memory is given to embeddings.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="adaptsam-", ignore_cleanup_errors=True))
            store = EmbeddingStore(model or load_sam(), folder=folder)
        before = store.encoded
        visit = PriorVisit(P2SamSlices(store, options.p2sam, steps.again), prior, chosen, options, steps)
        results = []
        for number, target in enumerate(targets):
            steps.prefix = f"target {number + 1} of {len(targets)}: " if len(targets) > 1 else ""
            carried = carry(visit, target, steps)
            results.append(_result(chosen, target, carried, store.encoded - before))
            before = store.encoded
    return results


def papers_protocol(
    target_slices: Sequence[int] | Mapping[str, Sequence[int]], settings: PropagationSettings | None = None
) -> PropagationSettings:
    """The evaluation that the P²SAM paper publishes: the whole slice, no location prior, no rejection, no clean-up.

    ``target_slices`` are the target slices that hold the structure, which this protocol knows beforehand and a clinic
    does not. What else ``settings`` choose (window, P²SAM's own settings) stays.
    """
    return replace(
        settings or PropagationSettings(),
        pairing="middle",
        register="off",
        view="full",
        location_prior=False,
        acceptance="off",
        cleanup=False,
        target_slices=target_slices,
    )


def _check(
    prior: Volume,
    structures: StructureSet,
    targets: Sequence[Volume],
    names: Sequence[str] | None,
    allow_different_patients: bool,
) -> StructureSet:
    """The structures to carry, after everything that can be checked without computing."""
    if not targets:
        raise InputError("There is no target image; give at least one.")
    if not structures.geometry.matches(prior.geometry):
        raise GeometryError("The structures lie on another grid than the prior image; read them with it as reference.")
    chosen = select_structures(structures, names)
    for structure in chosen.structures:
        if structure.mask.shape != prior.geometry.shape:
            raise GeometryError(
                f"The mask of {structure.name!r} has the shape {structure.mask.shape}, the prior image "
                f"{prior.geometry.shape}; both must share one grid."
            )
    check_image(prior, "The prior image")
    for number, target in enumerate(targets):
        what = "The target image" if len(targets) == 1 else f"Target image {number + 1}"
        check_image(target, what)
        if (prior.array.ndim == 4) != (target.array.ndim == 4):
            raise InputError(f"{what} and the prior image must both be in colour or both in gray values.")
        if same_patient(prior, target) is False and not allow_different_patients:
            raise GeometryError(
                f"{what} and the prior image are of different patients; allow different patients if that is meant."
            )
    return chosen


def _result(chosen: StructureSet, target: Volume, carried: Carried, encoded: int) -> Propagation:
    made = tuple(
        replace(structure, mask=mask, contoured=None)
        for structure, mask in zip(chosen.structures, carried.masks, strict=True)
    )
    return Propagation(StructureSet(made, target.geometry, target.dicom), carried.reports, carried.warnings, encoded)


class _Steps:
    """Hands progress on, and can repeat the last word where a long step has nothing new to tell but may be stopped."""

    def __init__(self, progress: Progress) -> None:
        self.prefix = ""
        self._progress = progress
        self._last = ("prior", 0, 1)

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._last = (self.prefix + stage, done, total)
        self._progress(*self._last)

    def again(self) -> None:
        self._progress(*self._last)
