from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from adaptsam.errors import Cancelled, InputError
from adaptsam.image.volume import Geometry, Volume
from adaptsam.propagation.baselines import deform_mask
from adaptsam.registration.deformable import DeformableSettings, register_deformably
from adaptsam.registration.rigid import Rigid

QUICK = DeformableSettings(pitch_mm=4.0, shrink=(2, 1), iterations=(30, 20))


def bulge(world: np.ndarray, amplitude: float = 12.0) -> np.ndarray:
    """A smooth displacement (..., 3) in mm, target to prior, of up to ``amplitude`` about the right lung."""
    weight = np.exp(-(((world - [-75.0, 10.0, 10.0]) / [60.0, 60.0, 45.0]) ** 2).sum(axis=-1))
    return amplitude * weight[..., None] * np.array([0.6, 0.0, 0.8])


def deformed(volume: Volume) -> Volume:
    k, j, i = np.indices(volume.geometry.shape)
    world = volume.geometry.world(np.stack([i, j, k], axis=-1))
    index = np.moveaxis(volume.geometry.index(world + bulge(world))[..., ::-1], -1, 0)
    return replace(volume, array=ndimage.map_coordinates(volume.array, index, order=1, mode="nearest"))


def test_a_known_deformation_is_found_and_smooth(make_thorax: Callable) -> None:
    case = make_thorax()
    target = deformed(case.volume)
    found = register_deformably(case.volume, target, Rigid(quality=0.9), QUICK)
    assert found.method == "deformable"
    assert found.displacement.jacobian().min() > 0.2
    # On the tumour's surface, where there is something to see.
    border = case.mask("tumour") & ~ndimage.binary_erosion(case.mask("tumour"))
    world = case.volume.geometry.world(np.argwhere(border)[:, ::-1])
    there = world - bulge(world)
    error = np.linalg.norm(found.to_prior(there) - (there + bulge(there)), axis=1)
    assert np.linalg.norm(bulge(there), axis=1).mean() > 8
    assert error.mean() < 3.0


def test_points_go_to_the_prior_and_back(make_thorax: Callable) -> None:
    prior = make_thorax().volume
    found = register_deformably(prior, deformed(prior), Rigid(quality=0.9), QUICK)
    points = np.random.default_rng(0).uniform(-50, 50, (20, 3))
    assert np.abs(found.to_target(found.to_prior(points)) - points).max() < 0.1


def test_the_deformation_refines_the_rigid_transform_and_does_not_replace_it(make_thorax: Callable) -> None:
    shift = np.eye(4)
    shift[:3, 3] = (-30.0, 12.0, 5.0)
    prior, target = make_thorax().volume, make_thorax((30, -12, -5), seed=1).volume
    found = register_deformably(prior, target, Rigid(shift, 0.99), QUICK)
    # Where there is an edge: within the noise of a homogeneous tissue nothing tells where a point belongs.
    case = make_thorax((30, -12, -5))
    border = case.mask("tumour") & ~ndimage.binary_erosion(case.mask("tumour"))
    points = case.volume.geometry.world(np.argwhere(border)[:, ::-1])
    assert np.linalg.norm(found.to_prior(points) - (points + shift[:3, 3]), axis=1).mean() < 2.0


def test_what_the_prior_does_not_show_pulls_at_nothing(make_thorax: Callable) -> None:
    prior = make_thorax().volume
    half = replace(prior.geometry, shape=(14, *prior.geometry.shape[1:]))
    found = register_deformably(Volume(prior.array[:14], half, "CT"), make_thorax(seed=2).volume, Rigid(), QUICK)
    beyond = prior.geometry.world(np.array([[48.0, 40.0, k] for k in (18, 20, 22)]))
    assert np.abs(found.displacement.at(beyond)).max() < 1.0


def test_images_without_a_better_fit_keep_the_rigid_transform_and_say_so(make_thorax: Callable) -> None:
    prior = make_thorax().volume
    mr = replace(prior, modality="MR")
    for target, said in ((mr, "different modalities"), (Volume(prior.array[:3], flat(prior), "CT"), "too few slices")):
        found = register_deformably(prior, target, Rigid(quality=0.5), QUICK)
        assert said in found.warning
        assert not found.displacement.array.any()
        assert found.quality == 0.5


def flat(volume: Volume) -> Geometry:
    return replace(volume.geometry, shape=(3, *volume.geometry.shape[1:]))


def test_it_is_deterministic_and_can_be_cancelled(make_thorax: Callable) -> None:
    prior = make_thorax().volume
    target = deformed(prior)
    first, second = (register_deformably(prior, target, Rigid(), QUICK) for _ in range(2))
    assert np.array_equal(first.displacement.array, second.displacement.array)
    calls = []

    def tick() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        register_deformably(prior, target, Rigid(), QUICK, tick=tick)
    assert len(calls) == 3


def with_agent(volume: Volume, heart: np.ndarray) -> Volume:
    """The volume with bright blood in the middle of the heart, and a little more in the muscle around it."""
    chambers = ndimage.distance_transform_edt(heart, sampling=volume.geometry.spacing[::-1]) > 10
    return replace(volume, array=(volume.array + 45.0 * heart + 215.0 * chambers).astype(np.float32))


def test_a_contrast_agent_does_not_lead_the_contour_astray(make_thorax: Callable) -> None:
    case = make_thorax()
    heart = case.mask("heart")
    prior = replace(case.volume, array=(case.volume.array - 80.0 * heart).astype(np.float32))
    target = deformed(with_agent(prior, heart))
    truth = deformed(replace(prior, array=heart.astype(np.float32))).array > 0.5
    dices = {}
    for metric in ("auto", "intensity"):
        how = replace(QUICK, metric=metric, iterations=(60, 30))
        found = register_deformably(prior, target, Rigid(quality=0.9), how)
        moved = deform_mask(heart, prior.geometry, target.geometry, found)
        dices[metric] = 2 * np.count_nonzero(moved & truth) / (np.count_nonzero(moved) + np.count_nonzero(truth))
    assert dices["auto"] > 0.95
    assert dices["auto"] > dices["intensity"] + 0.03


def test_local_correlation_finds_a_deformation_of_an_image_with_other_intensities(make_thorax: Callable) -> None:
    case = make_thorax()
    other = replace(deformed(case.volume), modality="MR")
    darker = replace(other, array=(0.4 * other.array + 900).astype(np.float32))
    prior = replace(case.volume, modality="MR")
    found = register_deformably(prior, darker, Rigid(quality=0.9), replace(QUICK, metric="correlation"))
    border = case.mask("tumour") & ~ndimage.binary_erosion(case.mask("tumour"))
    world = case.volume.geometry.world(np.argwhere(border)[:, ::-1])
    there = world - bulge(world)
    before = np.linalg.norm(bulge(there), axis=1).mean()
    assert np.linalg.norm(found.to_prior(there) - (there + bulge(there)), axis=1).mean() < 0.7 * before


def test_a_metric_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="compares auto, intensity, correlation, not 'ssd'"):
        DeformableSettings(metric="ssd")
