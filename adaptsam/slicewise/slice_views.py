"""The views of a target's slices: each shows what the prior's slice shows, at the same scale and in the same window."""

from __future__ import annotations

import numpy as np

from adaptsam.image.body import coarsen, in_plane_box
from adaptsam.image.cropping import View, full_view, square_view
from adaptsam.image.windowing import Window, choose_window
from adaptsam.slicewise.prior_visit import StructurePlan
from adaptsam.slicewise.registered_target import RegisteredTarget


class SliceViews:
    """Windows, views and pictures of the slices of one target."""

    def __init__(self, target: RegisteredTarget) -> None:
        self.target = target
        self._windows: dict[str, Window] = {}
        self._body_path: np.ndarray | None = None

    def window(self, plan: StructurePlan) -> Window:
        """The intensity window for a structure: the prior's rule on this volume."""
        name = plan.structure.name
        if name not in self._windows:
            modality = self.target.prior.images.volume.modality
            self._windows[name] = choose_window(self.target.images.volume, self.target.settings.window, name, modality)
        return self._windows[name]

    def view(self, plan: StructurePlan, k: int, prior_k: int) -> View:
        """The view of target slice ``k`` that shows what that of prior slice ``prior_k`` shows, at the same scale."""
        if plan.view == "full":
            return full_view(self.target.images.in_plane, self.target.images.pixel, self.target.prior.method.image_size)
        if plan.view == "magnified":
            x, y = self.target.prior.view(plan, prior_k).centre
            world = self.target.prior.images.geometry.world(np.array([x, y, prior_k], float))
            index = self.target.images.geometry.index(self.target.registration.to_target(world))
            centre = (float(index[0]), float(index[1]))
        else:
            centre = self._body_centre(plan, k)
        return square_view(centre, plan.side_mm, self.target.images.pixel, self.target.prior.method.image_size)

    def image(self, plan: StructurePlan, k: int, view: View) -> np.ndarray:
        """Target slice ``k`` as the model sees it, uint8 (h, w, 3)."""
        return self.target.images.image(k, view, self.window(plan))

    def _body_centre(self, plan: StructurePlan, k: int) -> tuple[float, float]:
        """Centre of the view on slice ``k``: the axis of the prior's body, or of the target's if not registered."""
        if self._body_path is None:
            self._body_path = self._find_body_path(*self.target.prior.view(plan, 0).centre)
        first, last = self._body_path
        rise = last[2] - first[2]
        share = (k - first[2]) / rise if abs(rise) > 1e-6 else 0.5
        x, y = (first + share * (last - first))[:2]
        return float(np.round(x, 3)), float(np.round(y, 3))

    def _find_body_path(self, x: float, y: float) -> np.ndarray:
        """Two points (2, 3), i, j, k, on the axis through (x, y) of the prior's slices."""
        geometry = self.target.images.geometry
        # The axis is straight: only the rigid part can move it.
        rigid = self.target.rigid
        if rigid.warning:
            centre = geometry.index(in_plane_box(coarsen(self.target.images.volume))[0])
            return np.array([[centre[0], centre[1], 0.0], [centre[0], centre[1], max(1.0, geometry.shape[0] - 1)]])
        prior = self.target.prior.images.geometry
        ends = np.array([[x, y, 0.0], [x, y, max(1.0, prior.shape[0] - 1)]])
        return geometry.index(rigid.to_target(prior.world(ends)))
