"""Rendering a patient: Hounsfield units and masks at any set of points, on any device.

Every organ is an implicit function that is negative inside, in millimetres near its surface, so edges are smooth over
one voxel (partial volume) and masks are exact. Tissues are painted from the skin inwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from adaptsam.synthetic.thorax_phantom.anatomy import Anatomy, Tumour, Warp
from adaptsam.synthetic.thorax_phantom.breathing import Motion, in_chest, in_lung, shifted

STRUCTURES = (
    "Body",
    "Lung-Right",
    "Lung-Left",
    "Heart",
    "Spine",
    "Spinal-Cord",
    "Aorta",
    "Trachea",
    "Liver",
    "Stomach",
    "Ribs",
    "GTV-1",
)
"""The channels of :func:`render`'s masks, in order."""


@dataclass(frozen=True)
class Densities:
    """Mean Hounsfield units of the tissues."""

    fat: float = -100.0
    muscle: float = 50.0
    bone: float = 450.0
    marrow: float = 200.0
    lung: float = -800.0
    mediastinum: float = -20.0
    blood: float = 45.0
    heart: float = 45.0
    liver: float = 60.0
    stomach: float = 20.0
    cord: float = 30.0
    vessel: float = 30.0
    couch: float = -600.0


@dataclass(frozen=True)
class _Places:
    """Places in the drawn anatomy from which each point's chest wall, lung, heart and tumour come, (3, …) mm."""

    chest: Tensor
    lung: Tensor
    heart: Tensor
    tumour: Tensor


# The chambers of the heart in its own axes, in its radii: centre and size. Left and right ventricle, the two atria.
_CHAMBERS = (
    ((0.40, 0.05, -0.25), (0.36, 0.42, 0.48)),
    ((-0.30, -0.42, -0.25), (0.46, 0.34, 0.48)),
    ((0.02, 0.62, 0.36), (0.50, 0.30, 0.36)),
    ((-0.58, 0.22, 0.28), (0.30, 0.40, 0.40)),
)


def warped(points: Tensor, warp: Warp) -> Tensor:
    """``points`` (3, …) in mm displaced by the sum of the warp's waves."""
    moved = points.clone()
    for wave, amplitude, phase in zip(warp.waves, warp.amplitudes, warp.phases, strict=True):
        angle = torch.tensordot(points.new_tensor(wave), points, 1) + float(phase)
        swing = torch.sin(angle)
        for axis in range(3):
            moved[axis] += float(amplitude[axis]) * swing
    return moved


def _ellipsoid(points: Tensor, centre: np.ndarray, radii: np.ndarray) -> Tensor:
    """Roughly the signed distance to an axis-aligned ellipsoid."""
    scaled = sum(((points[axis] - float(centre[axis])) / float(radii[axis])) ** 2 for axis in range(3))
    return (torch.sqrt(scaled) - 1) * float(np.min(radii))  # type: ignore[arg-type]


def _capsules(points: Tensor, capsules: np.ndarray) -> Tensor:
    """Signed distance to the union of capsules; those far from every point are skipped."""
    distance = torch.full_like(points[0], 1e3)
    low = [float(points[axis].min()) for axis in range(3)]
    high = [float(points[axis].max()) for axis in range(3)]
    for row in capsules:
        start, end, radius = row[:3], row[3:6], row[6]
        if any(
            max(start[a], end[a]) + radius < low[a] - 2 or min(start[a], end[a]) - radius > high[a] + 2
            for a in range(3)
        ):
            continue
        axis = end - start
        along = sum((points[a] - float(start[a])) * float(axis[a]) for a in range(3)) / float(axis @ axis)
        along = along.clamp(0, 1)  # type: ignore[union-attr]
        square = sum((points[a] - float(start[a]) - along * float(axis[a])) ** 2 for a in range(3))
        distance = torch.minimum(distance, torch.sqrt(square) - float(radius))  # type: ignore[arg-type]
    return distance


def _within(region: Tensor, points: Tensor, capsules: np.ndarray) -> Tensor:
    """:func:`_capsules`, computed inside of ``region`` only; far away elsewhere."""
    distance = torch.full_like(points[0], 1e3)
    if region.any():
        distance[region] = _capsules(points[:, region], capsules)
    return distance


def _tumour(points: Tensor, tumour: Tumour) -> Tensor:
    """Signed distance to the lobulated ellipsoid."""
    surface = _ellipsoid(points, tumour.centre, tumour.radii)
    relief = torch.zeros_like(surface)
    for lobe, amplitude, phase in zip(tumour.lobes, tumour.amplitudes, tumour.phases, strict=True):
        angle = sum((points[a] - float(tumour.centre[a])) * float(lobe[a]) for a in range(3)) + float(phase)
        relief += float(amplitude) * torch.sin(angle)  # type: ignore[arg-type]
    return surface - relief * float(np.mean(tumour.radii))


def _cylinder(x: Tensor, y: Tensor, cx: float, cy: float, rx: float, ry: float) -> Tensor:
    """Roughly the signed distance to an elliptic cylinder along z."""
    return (torch.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) - 1) * min(rx, ry)


@dataclass(frozen=True)
class _Fields:
    """Signed distances, in mm, of what the painter needs."""

    body: Tensor
    under_fat: Tensor
    cavity: Tensor
    ribs: Tensor
    lungs: tuple[Tensor, Tensor]
    abdomen: Tensor
    heart: Tensor
    spine: Tensor
    marrow: Tensor
    canal: Tensor
    cord: Tensor
    aorta: Tensor
    trachea: Tensor
    liver: Tensor
    stomach: Tensor
    sternum: Tensor
    vessels: Tensor
    bronchi: Tensor


def _trunk(anatomy: Anatomy, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Body, tissue under the fat, thoracic cavity, and the bone of the ribs."""
    x, y, z = points
    a, b = anatomy.body_radii
    power = anatomy.body_power
    taper = 1 - 0.12 * torch.sigmoid((z - anatomy.apex + 10) / 15) + 0.03 * torch.sin(z / 70)
    level = ((x.abs() / (a * taper)) ** power + (y.abs() / b) ** power) ** (1 / power)
    body = (level - 1) * b
    under_fat = body + anatomy.fat
    inset = anatomy.fat + anatomy.wall
    rise = ((z - 20) / (anatomy.apex - 20)).clamp(0, 1)
    shrink = torch.sqrt((1 - rise**2.5).clamp(min=1e-3))
    ca, cb = (a - inset) * shrink, (b - inset) * (0.35 + 0.65 * shrink)
    ratio = torch.sqrt((x / ca) ** 2 + ((y - 4) / cb) ** 2)
    cavity = (ratio - 1) * torch.minimum(ca, cb)
    angle = torch.atan2(x.abs(), y)
    stripe = torch.cos(
        2 * math.pi * ((z + anatomy.rib_slope * (math.pi - angle)) / anatomy.rib_pitch + anatomy.rib_phase)
    )
    between = (math.cos(math.pi * anatomy.rib_fill) - stripe) * anatomy.rib_pitch / 6
    ribs = torch.maximum(torch.maximum((cavity - 6).abs() - 4, between), z - anatomy.apex - 5)
    return body, under_fat, cavity, ribs


def _lungs(anatomy: Anatomy, points: Tensor, chest: Tensor, cavity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Right lung, left lung, and the part of the cavity below the diaphragm."""
    x, y, z = points
    heights = [
        dome - ((x - side * 70) ** 2 + y**2) / (2 * anatomy.dome_radius)
        for side, dome in zip((-1, 1), anatomy.dome, strict=True)
    ]
    sides = []
    for side, height in zip((-1, 1), heights, strict=True):
        medial = anatomy.mediastinum + 6 * torch.sin(chest[2] / 35) - side * chest[0]
        sides.append(torch.maximum(torch.maximum(cavity + 1, height - z), medial))
    roof = torch.where(x < 0, *heights)
    return sides[0], sides[1], torch.maximum(cavity + 2, z - roof + 3)


def _in_heart(anatomy: Anatomy, points: Tensor) -> Tensor:
    """``points`` in the heart's own axes, mm from its middle."""
    x, y, z = points
    cos, sin = math.cos(anatomy.heart_tilt), math.sin(anatomy.heart_tilt)
    dx, dy = x - float(anatomy.heart_centre[0]), y - float(anatomy.heart_centre[1])
    return torch.stack([cos * dx + sin * dy, -sin * dx + cos * dy, z - float(anatomy.heart_centre[2])])


def _heart(anatomy: Anatomy, points: Tensor) -> Tensor:
    return _ellipsoid(_in_heart(anatomy, points), np.zeros(3), anatomy.heart_radii)


def _chambers(anatomy: Anatomy, points: Tensor, heart: Tensor) -> Tensor:
    """The blood in the four chambers of the heart."""
    own = _in_heart(anatomy, points)
    chambers = torch.full_like(heart, 1e3)
    for centre, size in _CHAMBERS:
        chamber = _ellipsoid(own, np.array(centre) * anatomy.heart_radii, np.array(size) * anatomy.heart_radii)
        chambers = torch.minimum(chambers, chamber)
    return torch.maximum(chambers, heart + 3)


def _spine(anatomy: Anatomy, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Vertebrae (with arch and processes), their marrow, the canal, and the cord."""
    x, y, z = points
    sway = anatomy.cord_wander * torch.sin(z / 90)
    cy, r = anatomy.spine_y, anatomy.spine_radius
    bodies = _cylinder(x, y - 0.3 * sway, 0, cy, r * 1.15, r)
    canal_y = cy + r + anatomy.cord_radius + 2
    canal = _cylinder(x, y - 0.3 * sway, 0, canal_y, anatomy.cord_radius + 4, anatomy.cord_radius + 3)
    beat = torch.cos(2 * math.pi * z / anatomy.vertebra_pitch)
    arch = torch.maximum(canal - 5, -canal)
    process = torch.maximum(x.abs() - 4, torch.maximum((y - canal_y - 20).abs() - 14, 8 * (-0.2 - beat)))
    wings = torch.maximum((y - canal_y + 2).abs() - 5, torch.maximum(x.abs() - 32, 8 * (0.1 - beat)))
    bone = torch.minimum(torch.minimum(bodies, arch), torch.minimum(process, torch.maximum(wings, -canal)))
    disc = 8 * (0.8 + beat)
    marrow = torch.maximum(bodies + 3, -disc + 4)
    cord = _cylinder(x, y - 0.3 * sway, 0, canal_y, anatomy.cord_radius * 1.15, anatomy.cord_radius)
    return torch.maximum(bone, -canal), marrow, canal, cord


def _aorta(anatomy: Anatomy, points: Tensor) -> Tensor:
    """Ascending, arch and descending, as capsules."""
    top, r = anatomy.carina + 28, anatomy.aorta_radius
    back = np.array([anatomy.aorta_offset, anatomy.spine_y - 8])
    arch = [[*back, -400, *back, top, r]]
    knots = [
        np.array([*back, top]),
        np.array([14.0, 5.0, top + 14]),
        np.array([-8.0, -28.0, top]),
        np.array([-10.0, -30.0, -30.0]),
    ]
    arch += [[*start, *end, r] for start, end in pairwise(knots)]
    return _capsules(points, np.array(arch))


def _trachea(anatomy: Anatomy, points: Tensor) -> Tensor:
    """The trachea with its two main bronchi, as capsules."""
    carina, t = np.array([-2.0, 12.0, anatomy.carina]), anatomy.trachea_radius
    airway = [[*carina, -2, 0, 400, t]]
    airway += [[*carina, *anatomy.bronchus_end(side), t * 0.72] for side in (-1, 1)]
    return _capsules(points, np.array(airway))


def _liver(anatomy: Anatomy, points: Tensor, abdomen: Tensor) -> Tensor:
    x, y, z = points
    liver = torch.maximum(abdomen + 2, x - anatomy.liver_split + 0.3 * y)
    if anatomy.liver_floor is None:
        return liver
    # The lower edge rises to the patient's left, and is sharp at the front.
    edge = anatomy.liver_floor + 0.55 * (x + 90) - 0.25 * y - z
    return torch.maximum(liver, 0.84 * edge)


def _fields(anatomy: Anatomy, places: _Places) -> _Fields:
    chest, inner = places.chest, places.lung
    x, y, z = chest
    body, under_fat, cavity, ribs = _trunk(anatomy, chest)
    right, left, abdomen = _lungs(anatomy, inner, chest, cavity)
    heart = _heart(anatomy, places.heart)
    spine, marrow, canal, cord = _spine(anatomy, chest)
    aorta, trachea = _aorta(anatomy, chest), _trachea(anatomy, inner)
    hollow = torch.minimum(torch.minimum(heart, aorta), torch.minimum(spine, canal)) - 2
    stomach = torch.maximum(_ellipsoid(inner, anatomy.stomach_centre, np.full(3, anatomy.stomach_radius)), abdomen)
    front = -(anatomy.body_radii[1] - anatomy.fat - anatomy.wall) - 2
    sternum = torch.maximum(torch.maximum(x.abs() - 18, (y - front).abs() - 6), -z - 60)
    lung = torch.minimum(right, left)
    return _Fields(
        body=body,
        under_fat=under_fat,
        cavity=cavity,
        ribs=ribs,
        lungs=(torch.maximum(right, -hollow), torch.maximum(left, -hollow)),
        abdomen=abdomen,
        heart=heart,
        spine=spine,
        marrow=marrow,
        canal=canal,
        cord=cord,
        aorta=aorta,
        trachea=torch.maximum(trachea, body + 5),
        liver=torch.maximum(_liver(anatomy, inner, abdomen), -hollow),
        stomach=stomach,
        sternum=sternum,
        vessels=_within(lung < 3, inner, anatomy.vessels),
        bronchi=_within(lung < 3, inner, anatomy.bronchi),
    )


def render(
    anatomy: Anatomy,
    points: Tensor,
    densities: Densities,
    softness: float = 1.0,
    extra_warp: Warp | None = None,
    *,
    motion: Motion | None = None,
    table: str = "flat",
    chambers: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The patient at ``points``.

    Args:
        anatomy: the patient.
        points: (3, …) positions in the patient frame, mm.
        densities: mean Hounsfield units of the tissues.
        softness: half width of an edge in mm: the partial volume of a voxel.
        extra_warp: a displacement on top of the anatomy's own: what changes from visit to visit.
        motion: the phase of the breath; ``None`` is the anatomy as drawn.
        table: one of :data:`TABLES`.
        chambers: Hounsfield units of the blood in the heart, where contrast agent tells it from the muscle.

    Returns:
        Hounsfield units (…), without noise, and masks (len(STRUCTURES), …), bool.
    """
    places = _places(anatomy, points, extra_warp, motion)
    f = _fields(anatomy, places)
    tumour = None if anatomy.tumour is None else _tumour(places.tumour, anatomy.tumour)
    table_top = _couch(anatomy, points, table)
    blood = None if chambers is None else (_chambers(anatomy, places.heart, f.heart), chambers)
    return _paint(f, tumour, anatomy, places.lung, table_top, blood, densities, softness), _masks(f, tumour)


def in_lungs(anatomy: Anatomy, points: Tensor, extra_warp: Warp | None = None, motion: Motion | None = None) -> Tensor:
    """Whether ``points`` (3, …) lie in a lung or its tumour: what :func:`render` draws, and faster."""
    places = _places(anatomy, points, extra_warp, motion)
    cavity = _trunk(anatomy, places.chest)[2]
    right, left, _ = _lungs(anatomy, places.lung, places.chest, cavity)
    spine, _, canal, _ = _spine(anatomy, places.chest)
    aorta, trachea = _aorta(anatomy, places.chest), _trachea(anatomy, places.lung)
    hollow = torch.minimum(torch.minimum(_heart(anatomy, places.heart), aorta), torch.minimum(spine, canal)) - 2
    return (torch.minimum(right, left) < 0) & (hollow > 0) & (trachea >= 0)


def _places(anatomy: Anatomy, points: Tensor, extra_warp: Warp | None, motion: Motion | None) -> _Places:
    def drawn(place: Tensor) -> Tensor:
        place = warped(place, anatomy.warp)
        return place if extra_warp is None else warped(place, extra_warp)

    if motion is None:
        place = drawn(points)
        return _Places(place, place, place, place)
    return _Places(
        chest=drawn(in_chest(points, motion, anatomy)),
        lung=drawn(in_lung(points, motion, anatomy)),
        heart=drawn(shifted(points, motion.heart)),
        tumour=drawn(shifted(points, motion.tumour)),
    )


TABLES = ("flat", "curved", "none")
"""What the patient lies on: a therapy couch, a diagnostic scanner's trough, or nothing."""


def _couch(anatomy: Anatomy, points: Tensor, table: str) -> Tensor:
    """Signed distance to the table."""
    x, y, _ = points
    if table == "flat":
        return (y - anatomy.body_radii[1] - anatomy.couch - 10).abs() - 6
    if table == "curved":
        top = anatomy.body_radii[1] + anatomy.couch + 4
        shell = torch.sqrt(x**2 + (y - top + 300) ** 2) - 303
        return torch.maximum(shell.abs() - 3, x.abs() - 210)
    return torch.full_like(x, 1e3)


#: A signed distance (…), negative inside, and the density in HU that lies over what is there already.
_Layer = tuple[Tensor, float | Tensor]


def _paint(
    f: _Fields,
    tumour: Tensor | None,
    anatomy: Anatomy,
    inner: Tensor,
    couch: Tensor,
    blood: tuple[Tensor, float] | None,
    d: Densities,
    softness: float,
) -> Tensor:
    image = torch.full_like(f.body, -1000.0)
    layers = [(couch, d.couch), *_trunk_layers(f, anatomy, inner, d), *_lung_layers(f, anatomy, inner, d)]
    layers += [*_mediastinum_layers(f, blood, d), *_tumour_layers(f, tumour, anatomy)]
    for distance, value in layers:
        over = image.new_tensor(value) if isinstance(value, float) else value
        image = torch.lerp(image, over, torch.sigmoid(-2 * distance / softness))
    return image


def _trunk_layers(f: _Fields, anatomy: Anatomy, inner: Tensor, d: Densities) -> Iterator[_Layer]:
    yield f.body, d.fat
    yield f.under_fat, d.muscle
    yield f.ribs, d.bone
    yield f.cavity, d.mediastinum
    yield f.abdomen, d.fat + 20
    yield f.liver, d.liver
    yield f.stomach, d.stomach
    gas = torch.maximum(f.stomach + 3, inner[1] - float(anatomy.stomach_centre[1]) + 0.4 * anatomy.stomach_radius)
    yield gas, -950.0


def _lung_layers(f: _Fields, anatomy: Anatomy, inner: Tensor, d: Densities) -> Iterator[_Layer]:
    parenchyma = d.lung + 60 * (inner[1] / 100)
    for lung in f.lungs:
        yield lung, parenchyma
    yield torch.maximum(f.vessels, torch.minimum(*f.lungs)), d.vessel
    if len(anatomy.bronchi):
        yield torch.maximum(f.bronchi - 1.2, torch.minimum(*f.lungs)), d.mediastinum
        yield torch.maximum(f.bronchi, torch.minimum(*f.lungs)), -990.0


def _mediastinum_layers(f: _Fields, blood: tuple[Tensor, float] | None, d: Densities) -> Iterator[_Layer]:
    yield f.heart, d.heart
    if blood is not None:
        yield blood
    yield f.aorta, d.blood
    yield f.trachea - 1.5, d.mediastinum + 40
    yield f.trachea, -990.0
    yield f.spine, d.bone
    yield f.marrow, d.marrow
    yield f.canal, d.fat + 90
    yield f.cord, d.cord
    yield torch.maximum(f.sternum, -f.cavity), d.bone * 0.6


def _tumour_layers(f: _Fields, tumour: Tensor | None, anatomy: Anatomy) -> Iterator[_Layer]:
    if tumour is None or anatomy.tumour is None:
        return
    yield _within_chest(tumour, f), float(anatomy.tumour.density)
    if anatomy.tumour.necrosis:
        core = tumour + float(anatomy.tumour.necrosis * np.mean(anatomy.tumour.radii))
        liquid = anatomy.tumour.core_density
        yield core, float(anatomy.tumour.density) * 0.2 if liquid is None else float(liquid)


def _within_chest(tumour: Tensor, f: _Fields) -> Tensor:
    """A tumour does not grow into bone, heart, aorta, airway or through the chest wall."""
    hard = torch.minimum(torch.minimum(f.spine, f.canal), torch.minimum(f.heart, torch.minimum(f.aorta, f.trachea)))
    return torch.maximum(torch.maximum(tumour, f.cavity - 2), -hard)


def _masks(f: _Fields, tumour: Tensor | None) -> Tensor:
    gtv = torch.zeros_like(f.body, dtype=torch.bool) if tumour is None else _within_chest(tumour, f) < 0
    airway = f.trachea < 0
    right, left = ((lung < 0) & ~airway for lung in f.lungs)
    aorta = (f.aorta < 0) & (f.body < 0)
    heart = (f.heart < 0) & ~aorta
    masks = {
        "Body": f.body < 0,
        "Lung-Right": right & ~gtv,
        "Lung-Left": left & ~gtv,
        "Heart": heart,
        "Spine": (f.spine < 0) & (f.body < 0),
        "Spinal-Cord": f.cord < 0,
        "Aorta": aorta,
        "Trachea": airway,
        "Liver": f.liver < 0,
        "Stomach": f.stomach < 0,
        "Ribs": (f.ribs < 0) & (f.under_fat < 0),
        "GTV-1": gtv,
    }
    return torch.stack([masks[name] for name in STRUCTURES])
