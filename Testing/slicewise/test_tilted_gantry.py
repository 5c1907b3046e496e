"""Volumes whose slices lean: everything is measured in the patient, and results lie on the target's own slices."""

from collections.abc import Callable

import numpy as np
import pytest

from adaptsam.image.body import coarsen
from adaptsam.image.orientation import Orientation
from adaptsam.image.volume import Geometry, Structure
from adaptsam.metrics.volume_metrics import compare
from adaptsam.registration.rigid import register
from adaptsam.slicewise import PriorVisit, VolumeSettings, carry
from adaptsam.slicewise.prior_contour import DistanceField, prior_contour

TILT = np.radians(20.0)


def tilted(shape: tuple[int, int, int], origin: tuple[float, float, float], tilt: float = TILT) -> Geometry:
    """Slices turned by the tilt about the patient's left-right axis, one every 5 mm along the table."""
    axes = np.array([[1, 0, 0], [0, np.cos(tilt), 0], [0, -np.sin(tilt), 1]])
    return Geometry(shape, (4.0, 4.0, 5.0), origin, tuple(axes.ravel()))


WHOLE = tilted((32, 96, 96), (-190.0, -180.0, -30.0))


@pytest.mark.parametrize("leaning", ["prior", "target", "both"])
def test_a_leaning_visit_is_registered_in_millimetres(make_thorax: Callable, leaning: str) -> None:
    prior = make_thorax(geometry=WHOLE if leaning != "target" else None).volume
    target = make_thorax((12, -8, 10), seed=1, geometry=WHOLE if leaning != "prior" else None).volume
    found = register(prior, target)
    assert not found.warning
    points = np.random.default_rng(0).uniform(-60, 60, (50, 3))
    assert np.linalg.norm(found.to_prior(points) - (points - [12, -8, 10]), axis=1).mean() < 3.0


def test_the_coarse_volume_stands_upright_and_shows_the_same_body(make_thorax: Callable) -> None:
    coarse = coarsen(make_thorax(geometry=WHOLE).volume)
    assert not coarse.geometry.is_sheared
    body = coarse.body.sum() * coarse.geometry.voxel_volume
    thickness = WHOLE.shape[0] * 5.0 * np.cos(TILT)
    assert body == pytest.approx(np.pi * 165 * 120 / np.cos(TILT) * thickness, rel=0.05)


@pytest.mark.parametrize("leaning", ["prior", "target"])
def test_structures_are_found_on_the_leaning_slices_themselves(
    make_thorax: Callable, by_gray, dice: Callable, leaning: str
) -> None:
    prior = make_thorax(geometry=WHOLE if leaning == "prior" else None)
    later = make_thorax((12, -8, 10), seed=1, geometry=WHOLE if leaning == "target" else None)
    carried = carry(PriorVisit(by_gray, prior.volume, prior.structures, VolumeSettings()), later.volume)
    assert [report.status for report in carried.reports] == ["found", "found"]
    for mask, name in zip(carried.masks, later.structures.names, strict=True):
        assert dice(mask, later.mask(name)) > 0.9


def test_distances_are_true_where_slices_lean() -> None:
    grid = tilted((30, 60, 60), (-120.0, -120.0, -30.0), np.radians(30.0))
    world = grid.world(np.stack(np.indices(grid.shape)[::-1], axis=-1))
    centre = grid.world(np.array([30, 30, 15]))
    mask = np.linalg.norm(world - centre, axis=-1) < 25
    field = DistanceField(prior_contour(Structure("ball", mask), Orientation(), grid), 40.0)
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(400, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    index = grid.index(centre + directions * rng.uniform(26, 50, (400, 1)))
    index = index[(index[:, 2] > field.slices[0]) & (index[:, 2] < field.slices[1])]
    error = np.abs(field.sample(index)[0] - (np.linalg.norm(grid.world(index) - centre, axis=1) - 25))
    assert error.max() < 3.5
    assert error.mean() < 1.0


def test_surface_distances_are_true_where_slices_lean() -> None:
    upright = Geometry((30, 90, 60), (4.0, 4.0, 5.0), (-120.0, -180.0, -75.0))
    leaning = tilted((30, 90, 60), (-120.0, -160.0, -30.0))
    found = []
    for grid in (upright, leaning):
        world = grid.world(np.stack(np.indices(grid.shape)[::-1], axis=-1))
        centre = world[15, 45, 30]
        ball, grown = (np.linalg.norm(world - centre, axis=-1) < radius for radius in (30, 42))
        found.append(compare(ball, grown, grid))
    assert found[1].mean_surface_distance == pytest.approx(found[0].mean_surface_distance, rel=0.1)
    assert found[1].mean_surface_distance == pytest.approx(12, abs=1)
    assert found[1].reference_volume == pytest.approx(found[0].reference_volume, rel=0.05)
