"""Drawing a patient: every length, angle and density of a synthetic thorax, from one random generator.

Nothing is rendered here. Positions are millimetres in a patient frame with the axes of LPS (x to the left, y to the
back, z to the head) and the origin in the middle of the thorax, so the right lung has negative x.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Tumour:
    """An ellipsoid with a lobulated surface: waves ``lobes`` (n, 3) in 1/mm, ``amplitudes`` (n,) in radii.

    ``necrosis`` is the depth, in radii, at which the necrotic core begins; 0 is a tumour without one.
    ``core_density`` is the core's in HU; ``None`` is a fifth of the tumour's.
    """

    centre: np.ndarray
    radii: np.ndarray
    lobes: np.ndarray
    amplitudes: np.ndarray
    phases: np.ndarray
    necrosis: float
    density: float
    core_density: float | None = None

    def changed(self, scale: float, shift: np.ndarray) -> Tumour:
        """The same tumour at a later visit: radii times ``scale``, centre moved by ``shift`` (3,) in mm."""
        return replace(self, centre=self.centre + shift, radii=self.radii * scale)

    def with_core(self, share: float) -> Tumour:
        """The same tumour with a necrotic core of ``share`` of its radius, liquid; 0 leaves it as it is."""
        liquid = min(5.0, self.density - 45)
        return replace(self, necrosis=1 - share, core_density=liquid) if share > 0 else self


@dataclass(frozen=True)
class Warp:
    """A smooth displacement: the sum of waves with vectors (n, 3) in 1/mm, amplitudes (n, 3) in mm, phases (n,)."""

    waves: np.ndarray
    amplitudes: np.ndarray
    phases: np.ndarray


@dataclass(frozen=True)
class Anatomy:
    """The parameters of one thorax; lengths in mm. Capsules are rows x0 y0 z0 x1 y1 z1 radius."""

    body_radii: tuple[float, float]
    body_power: float
    fat: float
    wall: float
    apex: float
    dome: tuple[float, float]
    dome_radius: float
    mediastinum: float
    heart_centre: np.ndarray
    heart_radii: np.ndarray
    heart_tilt: float
    spine_y: float
    spine_radius: float
    cord_radius: float
    cord_wander: float
    vertebra_pitch: float
    aorta_radius: float
    aorta_offset: float
    trachea_radius: float
    carina: float
    rib_pitch: float
    rib_slope: float
    rib_phase: float
    rib_fill: float
    liver_split: float
    stomach_centre: np.ndarray
    stomach_radius: float
    couch: float
    vessels: np.ndarray
    warp: Warp
    tumour: Tumour | None
    bronchi: np.ndarray = field(default_factory=lambda: np.empty((0, 7)))
    liver_floor: float | None = None

    @property
    def cavity_radii(self) -> tuple[float, float]:
        """The half axes of the thoracic cavity at its widest."""
        inset = self.fat + self.wall
        return self.body_radii[0] - inset, self.body_radii[1] - inset

    def bronchus_end(self, side: int) -> np.ndarray:
        """End (3,) in mm of the main bronchus of one side (−1 right, 1 left), at its lung."""
        return np.array([side * (self.mediastinum + 14), 14.0, self.carina - 32])

    def with_weight(self, change: float) -> Anatomy:
        """The same patient after a relative change of weight, all of it fat under the skin: −0.05 is 5 % lost.

        The trunk's cross-section grows as the weight; at least 2 mm of fat remain.
        """
        a, b = self.body_radii
        thicker = max(change * a * b / (a + b), 2 - self.fat)
        return replace(self, body_radii=(a + thicker, b + thicker), fat=self.fat + thicker)


def draw_warp(rng: np.random.Generator, amplitude: float, waves: int = 6) -> Warp:
    """A random displacement whose root mean square is about ``amplitude`` mm, with wavelengths of 80 to 300 mm."""
    directions = rng.normal(size=(waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = rng.uniform(80, 300, size=(waves, 1))
    return Warp(
        waves=directions * 2 * np.pi / lengths,
        amplitudes=rng.normal(size=(waves, 3)) * amplitude * np.sqrt(2 / waves),
        phases=rng.uniform(0, 2 * np.pi, size=waves),
    )


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """A random patient with one lung tumour."""
    width, depth = rng.uniform(160, 205), rng.uniform(100, 135)
    fat, wall = rng.uniform(4, 22), rng.uniform(18, 28)
    apex, carina = rng.uniform(110, 140), rng.uniform(20, 50)
    dome = (rng.uniform(-95, -45), rng.uniform(-105, -55))
    spine_radius = rng.uniform(15, 20)
    anatomy = Anatomy(
        body_radii=(width, depth),
        body_power=rng.uniform(2.1, 3.0),
        fat=fat,
        wall=wall,
        apex=apex,
        dome=dome,
        dome_radius=rng.uniform(60, 110),
        mediastinum=rng.uniform(20, 32),
        heart_centre=np.array([rng.uniform(15, 32), rng.uniform(-40, -18), rng.uniform(-55, -30)]),
        heart_radii=np.array([rng.uniform(45, 62), rng.uniform(36, 48), rng.uniform(45, 62)]),
        heart_tilt=rng.uniform(-0.7, -0.2),
        spine_y=depth - fat - rng.uniform(48, 60),
        spine_radius=spine_radius,
        cord_radius=rng.uniform(5.0, 7.5),
        cord_wander=rng.uniform(-8, 8),
        vertebra_pitch=rng.uniform(22, 28),
        aorta_radius=rng.uniform(10, 15),
        aorta_offset=rng.uniform(18, 26),
        trachea_radius=rng.uniform(7, 10),
        carina=carina,
        rib_pitch=rng.uniform(24, 32),
        rib_slope=rng.uniform(25, 60),
        rib_phase=rng.uniform(0, 1),
        rib_fill=rng.uniform(0.3, 0.45),
        liver_split=rng.uniform(-10, 50),
        stomach_centre=np.array([rng.uniform(55, 80), rng.uniform(-40, 0), rng.uniform(-130, -110)]),
        stomach_radius=rng.uniform(25, 45),
        couch=rng.uniform(4, 20),
        vessels=np.empty((0, 7)),
        warp=draw_warp(rng, rng.uniform(1.5, 5.0)),
        tumour=None,
    )
    anatomy = replace(anatomy, vessels=np.concatenate([_draw_vessels(rng, anatomy, side) for side in (-1, 1)]))
    return replace(anatomy, tumour=draw_tumour(rng, anatomy))


def draw_tumour(rng: np.random.Generator, anatomy: Anatomy) -> Tumour:
    """A tumour in one lung: free, at the chest wall, or against the mediastinum."""
    side = rng.choice((-1, 1))
    a, b = anatomy.cavity_radii
    radius = np.exp(rng.uniform(np.log(7), np.log(30)))
    inner, outer = anatomy.mediastinum + 0.5 * radius, 0.92 * a - 0.3 * radius
    x = side * rng.uniform(inner, max(outer, inner + 5))
    reach = b * np.sqrt(max(0.05, 1 - (x / a) ** 2)) - 0.3 * radius
    floor = max(anatomy.dome) + 15
    centre = np.array(
        [x, rng.uniform(-0.8, 0.8) * max(reach, 5), rng.uniform(floor, max(floor + 20, anatomy.apex - 35))]
    )
    lobes = rng.normal(size=(5, 3)) * rng.uniform(0.8, 2.2, size=(5, 1)) / radius
    return Tumour(
        centre=centre,
        radii=radius * rng.uniform(0.75, 1.3, size=3),
        lobes=lobes,
        amplitudes=rng.uniform(0.02, 0.14, size=5),
        phases=rng.uniform(0, 2 * np.pi, size=5),
        necrosis=rng.uniform(0.3, 0.6) if radius > 15 and rng.random() < 0.3 else 0.0,
        density=rng.uniform(0, 70),
    )


def _draw_vessels(rng: np.random.Generator, anatomy: Anatomy, side: int) -> np.ndarray:
    """The vessels of one lung, from its hilum."""
    start = np.array([side * (anatomy.mediastinum + 5), 10.0, anatomy.carina - 20])
    return _draw_tree(rng, anatomy, side, start, rng.uniform(5, 8), (45, 32, 24, 18, 12))


def draw_bronchi(rng: np.random.Generator, anatomy: Anatomy, generations: int) -> np.ndarray:
    """Capsules (n, 7), ends and radius in mm: the lumen of the bronchi beyond the main ones: lobar, segmental, ….

    ``generations`` says how many.
    """
    lengths = (26.0, 22.0, 18.0, 14.0, 11.0)[:generations]
    trees = [
        _draw_tree(rng, anatomy, side, anatomy.bronchus_end(side), 0.72 * anatomy.trachea_radius, lengths)
        for side in (-1, 1)
    ]
    return np.concatenate(trees)


def _draw_tree(
    rng: np.random.Generator,
    anatomy: Anatomy,
    side: int,
    start: np.ndarray,
    radius: float,
    lengths: tuple[float, ...],
) -> np.ndarray:
    """A tree of capsules that branches from ``start`` into one lung, thinner at each generation."""
    a, b = anatomy.cavity_radii
    ends = [(start, np.array([side, 0.0, 0.0]), radius)]
    rows = []
    for length in lengths:
        grown = []
        for origin, heading, thickness in ends:
            for _ in range(3 if length > 30 else 2):
                direction = heading + rng.normal(size=3) * (1.1 if length > 40 else 0.65)
                direction /= np.linalg.norm(direction)
                end = origin + direction * length * rng.uniform(0.7, 1.3)
                end[0] = side * np.clip(side * end[0], anatomy.mediastinum, 0.95 * a)
                end[1] = np.clip(end[1], -0.9 * b, 0.9 * b)
                thinner = thickness * rng.uniform(0.55, 0.8)
                rows.append([*origin, *end, thinner])
                grown.append((end, direction, thinner))
        ends = grown
    return np.array(rows).reshape(-1, 7)
