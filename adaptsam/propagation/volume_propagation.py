"""PersonalizedSAM's public function: contours of one visit, carried to others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from adaptsam.errors import GeometryError, InputError
from adaptsam.image import same_patient, select_structures
from adaptsam.image.intensity import unit_remarks
from adaptsam.image.remarks import Remark, warnings_of
from adaptsam.image.volume import StructureSet, Volume
from adaptsam.io.inputs import ImageLike, StructuresLike, as_settings, as_structures, as_volume, as_volumes
from adaptsam.p2sam import P2SamSettings
from adaptsam.progress import Progress, Repeating, silent
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.sam import EmbeddingStore, SamModel, load_sam
from adaptsam.slicewise import (
    Carried,
    PriorVisit,
    SliceReport,
    StructureReport,
    VolumeSettings,
    Watch,
    carry,
    check_image,
    unwatched,
)
from adaptsam.slicewise.target_visit import TargetVisit
from adaptsam.storage.disk_cache import KeptFolder

__all__ = [
    "Propagation",
    "PropagationSettings",
    "Propagator",
    "SliceReport",
    "StructureReport",
    "papers_protocol",
    "propagate",
    "propagate_each",
]


@dataclass(frozen=True)
class PropagationSettings(VolumeSettings):
    """Settings of a propagation: the volume workflow's, and ``p2sam``, the method's on one slice."""

    p2sam: P2SamSettings = field(default_factory=P2SamSettings)


@dataclass(frozen=True, eq=False)
class Propagation:
    """Result of a propagation to one target.

    ``structures`` lie on the target's own grid, in the order requested; those that were not found are empty.
    ``warnings`` are sentences for the user. ``encoded`` is how many images the encoder was run on for this target
    (for the first one, the prior's slices included). ``remarks`` is what the readers left out or had to choose, by what
    it is about ("prior image", "prior contours", "target image"); ``warnings`` say it too.
    """

    structures: StructureSet
    reports: tuple[StructureReport, ...]
    warnings: tuple[str, ...]
    encoded: int
    remarks: Mapping[str, tuple[Remark, ...]] = field(default_factory=dict)


def propagate(
    prior: ImageLike,
    structures: StructuresLike,
    targets: ImageLike | Iterable[ImageLike],
    *,
    model: SamModel | str | Path | None = None,
    names: Sequence[str] | str | None = None,
    settings: PropagationSettings | None = None,
    progress: Progress = silent,
    store: EmbeddingStore | None = None,
    allow_different_patients: bool = False,
) -> list[Propagation]:
    """Carry the structures of a prior visit to target visits with P²SAM.

    Args:
        prior: the image on which the structures were drawn, or its path.
        structures: on the prior's grid: a :class:`~adaptsam.StructureSet`, a mask (K, J, I), a dictionary of name and
            mask, or a path. They may overlap.
        targets: images of the same patient, each on its own grid, or their paths; one alone, or several.
        model: the promptable model, or the path of its checkpoint; the bundled one by default.
        names: which structures, one or several; all that are not empty by default.
        settings: see :class:`PropagationSettings`; :func:`papers_protocol` gives the published evaluation's.
        progress: receives "prior", "register" and "segment"; cancels by raising Cancelled.
        store: embeddings to reuse and add to (its model is used); in its folder registrations are kept too. By default
            one that lasts for this call.
        allow_different_patients: go on although prior and target name different patients.

    Returns:
        One :class:`Propagation` per target, in order.

    Raises:
        GeometryError: the structures lie on another grid than the prior, or a target is of another patient.
        InputError: an unknown or empty structure, no target, an image without content, a mask of another shape.
        Cancelled: the progress callback requested it.

    Example:
        >>> prior = read_volume("planning.nrrd")
        >>> [result] = propagate(prior, read_structures("planning.seg.nrrd", prior), [read_volume("week3.nrrd")])
        >>> result.reports[0].status, result.reports[0].worst_slices[0].index
        >>> [result] = propagate("planning_ct", {"GTV": mask}, "week3_ct")
    """
    image = as_volume(prior, "The prior image")
    drawn = as_structures(structures, image, names)
    later = as_volumes(targets, "The target image")
    if not later:
        raise InputError("There is no target image; give at least one.")
    for number, target in enumerate(later):
        _check_target(image, target, _what(number, len(later)), allow_different_patients)
    results = propagate_each(
        image,
        drawn,
        later,
        total=len(later),
        model=model if model is None or isinstance(model, SamModel) else load_sam(model),
        names=names,
        settings=settings,
        progress=progress,
        store=store,
        allow_different_patients=allow_different_patients,
    )
    return [propagation for _, propagation in results]


def propagate_each(
    prior: Volume,
    structures: StructureSet,
    targets: Iterable[Volume],
    *,
    total: int = 1,
    model: SamModel | None = None,
    names: Sequence[str] | str | None = None,
    settings: PropagationSettings | None = None,
    progress: Progress = silent,
    store: EmbeddingStore | None = None,
    allow_different_patients: bool = False,
) -> Iterator[tuple[Volume, Propagation]]:
    """Propagate to targets that come one at a time: phases of a 4D scan, visits of a patient. See :func:`propagate`.

    A target is requested when the one before was handed out. Neither it nor its embeddings are kept then (unless a
    ``store`` is given), so that beside the prior's there are no more than one visit's, in memory and on disk. The prior
    is understood once.

    Args:
        targets: for example a generator that reads them.
        total: how many there are, for the progress.

    Yields:
        Each target with its :class:`Propagation`, in order.
    """
    chosen = _check_prior(prior, structures, names)  # before a model is loaded
    with ExitStack() as stack:
        lasting = store is not None
        if store is None:
            # On disk as well, so that no slice is encoded twice however little memory is given to embeddings.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="adaptsam-", ignore_cleanup_errors=True))
            store = EmbeddingStore(model or load_sam(), folder=folder)
        understood = Propagator(
            prior,
            chosen,
            store=store,
            settings=settings,
            progress=progress,
            registrations=store.folder if lasting else None,
            allow_different_patients=allow_different_patients,
        )
        # No loop variable and no enumerate: both would hold a target while the next one is read.
        source = iter(targets)
        while (target := next(source, None)) is not None:
            result = understood.carry(target, total=total)[0]
            if not lasting:
                understood.forget_targets()
            yield target, result
            del target, result


class Propagator:
    """A prior visit, understood once and carried to any number of targets.

    Args:
        prior: the image on which the structures were drawn.
        structures: on the prior's grid.
        store: keeps embeddings; its model is used.
        names: which structures; all that are not empty by default.
        settings: see :class:`PropagationSettings`.
        progress: receives "prior", "register" and "segment"; may cancel.
        registrations: where they are looked up, and left for the next run.
        allow_different_patients: go on although prior and target name different patients.

    Raises:
        GeometryError: the structures lie on another grid than the prior.
        InputError: an unknown or empty structure, or one that the given target slices leave out, an image without
            content.
    """

    def __init__(
        self,
        prior: Volume,
        structures: StructureSet,
        *,
        store: EmbeddingStore,
        names: Sequence[str] | str | None = None,
        settings: PropagationSettings | None = None,
        progress: Progress = silent,
        registrations: KeptFolder | None = None,
        allow_different_patients: bool = False,
    ) -> None:
        self.structures = _check_prior(prior, structures, names)
        self._remarks = {
            "prior image": (*prior.remarks, *unit_remarks(prior)),
            "prior contours": self.structures.remarks,
        }
        self._prior, self._store, self._registrations = prior, store, registrations
        self._allow_different_patients = allow_different_patients
        self._number = 0
        self._encoded = store.encoded
        self._steps = Repeating.of(progress)
        options = as_settings(settings, PropagationSettings)
        for name in self.structures.names:
            options.slices_for(name)  # raises before the work
        self.method = P2SamSlices(store, options.p2sam, self._steps.again)
        self._visit = PriorVisit(self.method, prior, self.structures, options, self._steps)
        self.method.keep()

    def carry(self, target: Volume, *, total: int = 1, watch: Watch = unwatched) -> tuple[Propagation, TargetVisit]:
        """The structures in one target.

        Args:
            target: an image of the same patient.
            total: how many targets there will be, for the progress.
            watch: shown the slices as they come.

        Returns:
            The propagation, and the target visit that :mod:`adaptsam.propagation.slice_correction` takes.

        Raises:
            GeometryError: the target is of another patient.
            InputError: an image without content.
            Cancelled: the progress callback requested it.
        """
        number = self._number
        self._steps.prefix = f"target {number + 1} of {total}: " if total > 1 else ""
        _check_target(self._prior, target, _what(number, total), self._allow_different_patients)
        carried = carry(self._visit, target, self._steps, watch=watch, kept=self._registrations)
        remarks = self._remarks | {"target image": (*target.remarks, *unit_remarks(target))}
        result = _result(self.structures, target, carried, self._store.encoded - self._encoded, remarks)
        self._encoded = self._store.encoded
        self._number += 1
        return result, carried.visit

    def forget_targets(self) -> None:
        """Drop what was encoded of targets alone."""
        self.method.forget_targets()


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
        fusion="off",
        acceptance="off",
        cleanup=False,
        target_slices=target_slices,
    )


def _check_prior(prior: Volume, structures: StructureSet, names: Sequence[str] | str | None) -> StructureSet:
    """The structures to carry, after everything that can be checked without computing."""
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
    return chosen


def _check_target(prior: Volume, target: Volume, what: str, allow_different_patients: bool) -> None:
    check_image(target, what)
    if (prior.array.ndim == 4) != (target.array.ndim == 4):
        raise InputError(f"{what} and the prior image must both be in colour or both in gray values.")
    if same_patient(prior, target) is False and not allow_different_patients:
        raise GeometryError(
            f"{what} and the prior image are of different patients; allow different patients if that is meant."
        )


def _what(number: int, total: int) -> str:
    return "The target image" if total == 1 else f"Target image {number + 1}"


def _result(
    chosen: StructureSet, target: Volume, carried: Carried, encoded: int, remarks: Mapping[str, tuple[Remark, ...]]
) -> Propagation:
    made = tuple(
        replace(structure, mask=mask, contoured=None)
        for structure, mask in zip(chosen.structures, carried.masks, strict=True)
    )
    said = {where: about for where, about in remarks.items() if about}
    structures = StructureSet(made, target.geometry, target.dicom)
    return Propagation(structures, carried.reports, (*warnings_of(said), *carried.warnings), encoded, said)
