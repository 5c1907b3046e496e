"""Prior visit: all that does not depend on a target, computed once and shared by all targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptsam.image.cropping import View, full_view, square_view
from adaptsam.image.orientation import acquisition_plane
from adaptsam.image.volume import Structure, StructureSet, Volume
from adaptsam.image.windowing import Window, choose_window
from adaptsam.progress import Progress, Repeating, silent
from adaptsam.slicewise.acceptance import Threshold, calibrate
from adaptsam.slicewise.cleanup import Shape, shape_of
from adaptsam.slicewise.confidence import Continuity, usual_continuity
from adaptsam.slicewise.fusion import PriorSlices, Weights, calibrate_fusion
from adaptsam.slicewise.prior_contour import DistanceField, PriorContour, prior_contour
from adaptsam.slicewise.side_by_side import SideBySide
from adaptsam.slicewise.slice_images import SliceImages, body_square
from adaptsam.slicewise.slice_method import SliceMethod
from adaptsam.slicewise.tissue import Tissue, tissue_of
from adaptsam.slicewise.volume_settings import VolumeSettings

#: Millimetres that distances to a contour are known beyond the widest margin.
BEYOND_MARGIN_MM = 12.0


@dataclass(frozen=True, eq=False)
class StructurePlan:
    """Plan for one structure. ``usable`` are the prior slices (canonical k) that the method can learn from."""

    structure: Structure
    contour: PriorContour
    field: DistanceField
    window: Window
    view: str
    side_mm: float
    usable: tuple[int, ...]
    threshold: Threshold
    shape: Shape
    usual: Continuity
    weights: Weights
    tissue: Tissue | None = None


class PriorVisit:
    """A prior image with structures, ready to be carried to any number of targets.

    Args:
        method: learns from the prior's slices.
        prior: the image.
        structures: drawn on its grid; none is empty.
        settings: of the whole workflow.
        progress: receives per structure; may cancel.
    """

    def __init__(
        self,
        method: SliceMethod,
        prior: Volume,
        structures: StructureSet,
        settings: VolumeSettings,
        progress: Progress = silent,
    ) -> None:
        self.method, self.settings, self.original = method, settings, prior
        drawn_along_k = any(structure.contoured is not None for structure in structures.structures)
        self.plane = acquisition_plane(prior.geometry, drawn_along_k)
        self.images = SliceImages(prior, self.plane)
        self.body_centre, self.body_side_mm = body_square(self.images, settings.body_margin)
        steps, total = Repeating.of(progress), len(structures.structures)
        steps("prior", 0, total)
        plans = []
        with SideBySide(method.workers) as side_by_side:
            for _, plan in side_by_side.each(self._plan, structures.structures, steps.again):
                plans.append(plan)
                steps("prior", len(plans), total)
        self.plans: Sequence[StructurePlan] = tuple(plans)

    def view(self, plan: StructurePlan, k: int) -> View:
        """The view of prior slice ``k``."""
        return self._view(plan.view, plan.side_mm, plan.contour, k)

    def image(self, plan: StructurePlan, k: int) -> np.ndarray:
        """The view of prior slice ``k`` as the model sees it, uint8 (h, w, 3)."""
        return self.images.image(k, self.view(plan, k), plan.window)

    def mask(self, plan: StructurePlan, k: int) -> np.ndarray:
        """The structure in the view of prior slice ``k``, bool (h, w)."""
        return self.view(plan, k).mask(plan.contour.mask[k])

    def _plan(self, structure: Structure) -> StructurePlan:
        settings = self.settings
        contour = prior_contour(structure, self.images.orientation, self.images.geometry)
        window = choose_window(self.images.volume, settings.window, structure.name)
        view, side, usable = self._choose_view(contour, window)
        margin = max(settings.margin_mm, settings.deformable_margin_mm)
        reach = margin * (1 + settings.margin_growth) + BEYOND_MARGIN_MM
        field = DistanceField(contour, reach)
        return StructurePlan(
            structure=structure,
            contour=contour,
            field=field,
            window=window,
            view=view,
            side_mm=side,
            usable=usable,
            threshold=self._threshold(contour, window, view, side, usable),
            shape=shape_of(contour.body, settings.cleaning),
            usual=usual_continuity(contour.body),
            weights=self._weights(contour, field, window, view, side, usable),
            tissue=self._tissue(contour, field, window),
        )

    def _tissue(self, contour: PriorContour, field: DistanceField, window: Window) -> Tissue | None:
        fusing = self.settings.fusing
        if self.settings.fusion == "off" or self.images.is_flat or not (fusing.tissue and fusing.appearance):
            return None
        return tissue_of(contour, field, self.images, window)

    def _choose_view(self, contour: PriorContour, window: Window) -> tuple[str, float, tuple[int, ...]]:
        """The view's kind and side, and the slices usable in it: a closer view where none is usable in a wider one."""
        settings = self.settings
        near = max(settings.magnified_extent * contour.extent_mm(), settings.magnified_minimum_mm)
        closest = settings.magnified_extent / 2 * contour.extent_mm()
        magnified = [("magnified", side) for side in (near, closest) if side < self.body_side_mm]
        wide = ("full", 0.0) if settings.view == "full" or self.images.is_flat else ("body", self.body_side_mm)
        tries = magnified if settings.view == "magnified" and magnified else [wide, *magnified]
        patch_mm = self.body_side_mm / self.method.grid_size
        small = contour.diameter_mm() < settings.magnify_below_patches * patch_mm
        if settings.view == "auto" and small and magnified and not self.images.is_flat:
            tries = magnified
        for view, side in tries:
            usable = tuple(k for k in contour.drawn if self._usable(contour, window, view, side, k))
            if usable:
                return view, side, usable
        return tries[-1][0], tries[-1][1], ()

    def _usable(self, contour: PriorContour, window: Window, view: str, side: float, k: int) -> bool:
        cut = self._view(view, side, contour, k)
        return self.method.usable(self.images.image(k, cut, window), cut.mask(contour.mask[k]))

    def _threshold(
        self, contour: PriorContour, window: Window, view: str, side: float, usable: Sequence[int]
    ) -> Threshold:
        if self.settings.acceptance == "off" or not usable:
            return Threshold()
        cuts = {k: self._view(view, side, contour, k) for k in usable}
        geometry = self.images.geometry
        step = cuts[usable[0]].step
        spacing = (geometry.spacing[0] * step[0], geometry.spacing[1] * step[1], geometry.spacing[2])
        return calibrate(
            self.method,
            usable,
            lambda k: (self.images.image(k, cuts[k], window), cuts[k].mask(contour.mask[k])),
            spacing,
            self.settings.calibration,
        )

    def _weights(
        self,
        contour: PriorContour,
        field: DistanceField,
        window: Window,
        view: str,
        side: float,
        usable: tuple[int, ...],
    ) -> Weights:
        settings = self.settings
        if settings.fusion == "off" or self.images.is_flat:
            return Weights()
        cuts = {k: self._view(view, side, contour, k) for k in usable}
        slices = PriorSlices(contour, field, self.images, window, cuts.__getitem__, usable)
        deformable = settings.register == "deformable"
        error = settings.fusing.deformable_error_mm if deformable else settings.fusing.rigid_error_mm
        margin = settings.deformable_margin_mm if deformable else settings.margin_mm
        return calibrate_fusion(self.method, slices, settings.fusing, settings.calibration, error, margin)

    def _view(self, view: str, side: float, contour: PriorContour, k: int) -> View:
        if view == "full":
            return full_view(self.images.in_plane, self.images.pixel, self.method.image_size)
        centre = contour.centre(k) if view == "magnified" else self.body_centre
        return square_view(centre, side, self.images.pixel, self.method.image_size)
