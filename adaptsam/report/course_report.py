"""Course of structures from phase to phase or from visit to visit: volumes, and paths where they mean motion.

Positions are compared only within one frame of reference: between visits they would tell how the patient was laid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from adaptsam.image.volume import StructureSet
from adaptsam.metrics.motion import Motion, motion
from adaptsam.metrics.volume_metrics import centroid
from adaptsam.report import html_page as page
from adaptsam.report.line_charts import Panel, draw_curves
from adaptsam.report.slice_pictures import Color

#: What the axes of LPS are called in radiotherapy.
AXES = ("LR", "AP", "SI")


class Course:
    """The centroids and volumes of structures over the prior and its targets.

    Args:
        structures: the prior's.
        label: what the prior is called.
        place: how many of the targets come before it.
        moving: whether all lie in one frame of reference, so that a path is motion.
    """

    def __init__(self, structures: StructureSet, *, label: str = "prior", place: int = 0, moving: bool = False) -> None:
        self.colors: dict[str, Color] = {one.name: one.color for one in structures.structures}
        self.moving = moving
        self._place = place
        self._prior = (label, _figures(structures))
        self._targets: list[tuple[str, dict[str, tuple[np.ndarray, float]]]] = []

    def add(self, label: str, structures: StructureSet) -> None:
        """The next target's structures; they are not kept."""
        self._targets.append((label, _figures(structures)))

    @property
    def labels(self) -> list[str]:
        return [label for label, _ in self._all()]

    def motion(self, name: str) -> Motion:
        """The path of one structure, LPS mm, relative to the prior; its volumes in cm³."""
        rows = [figures.get(name, (np.full(3, np.nan), float("nan"))) for _, figures in self._all()]
        path = np.array([centre for centre, _ in rows]) if self.moving else np.full((len(rows), 3), np.nan)
        return motion(path, np.array([volume for _, volume in rows]), self._place)

    def summary(self) -> list[dict[str, object]]:
        """The figures of every structure, for programs."""
        return [self._summary(name) for name in self.colors]

    def _summary(self, name: str) -> dict[str, object]:
        course = self.motion(name)
        found: dict[str, object] = {"name": name, "places": self.labels, "prior": self._place}
        found["volume_cm3"] = course.sizes.tolist()
        if self.moving:
            found["centroid_lps_mm"] = course.path.tolist()
            found["relative_to_prior_lps_mm"] = course.relative.tolist()
            found["amplitude_mm"] = dict(zip(AXES, course.amplitude.tolist(), strict=True))
            found["amplitude_3d_mm"] = course.extent
        return found

    def rows(self) -> list[dict[str, str]]:
        """One row a structure, in words."""
        return [self._row(name) for name in self.colors]

    def section(self) -> Markup:
        """A section of the report: a table, and curves for each structure."""
        blocks = [
            page.structure(name, color, [page.picture(self._curves(name), f"{name} over {len(self.labels)} images")])
            for name, color in self.colors.items()
        ]
        title = "Motion and volume" if self.moving else "Volume over time"
        return page.section(title, [page.text_table(self.rows()), *blocks])

    def _row(self, name: str) -> dict[str, str]:
        course = self.motion(name)
        found = course.sizes[course.sizes > 0]
        row = {
            "Structure": name,
            "Found in": f"{len(found)} of {len(course.sizes)}",
            "Smallest cm³": page.number(float(found.min()), 1) if len(found) else "–",
            "Largest cm³": page.number(float(found.max()), 1) if len(found) else "–",
        }
        if self.moving:
            amplitudes = zip(AXES, course.amplitude, strict=True)
            row |= {f"{axis} mm": page.number(float(value), 1) for axis, value in amplitudes}
            row["3-D mm"] = page.number(course.extent, 1)
        return row

    def _curves(self, name: str) -> bytes:
        course = self.motion(name)
        panels = [Panel("Volume in cm³", [("volume", course.sizes)])]
        if self.moving:
            curves = [
                (f"{axis}, to {end}", course.relative[:, n])
                for n, (axis, end) in enumerate(zip(AXES, ("the left", "the back", "the head"), strict=True))
            ]
            panels.insert(0, Panel("Position in mm, relative to the prior", curves))
        return draw_curves(panels, self.labels, "")

    def _all(self) -> Sequence[tuple[str, dict[str, tuple[np.ndarray, float]]]]:
        return [*self._targets[: self._place], self._prior, *self._targets[self._place :]]


def _figures(structures: StructureSet) -> dict[str, tuple[np.ndarray, float]]:
    """By structure, the centroid in LPS mm and the volume in cm³."""
    voxel = structures.geometry.voxel_volume / 1000
    return {
        one.name: (centroid(one.mask, structures.geometry), int(np.count_nonzero(one.mask)) * voxel)
        for one in structures.structures
    }
