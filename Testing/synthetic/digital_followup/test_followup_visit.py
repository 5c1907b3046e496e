"""Digital follow-ups: the truth is as asked, the tissue is the patient's own, and everything moved together."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from adaptsam.errors import Cancelled, GeometryError, InputError
from adaptsam.image import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.io import read_structures, read_volume
from adaptsam.synthetic.digital_followup import FollowUp, FollowUpSettings, digital_followup, settings_for

GRID = Geometry((36, 96, 112), (2.5, 2.5, 4.0), (-138.75, -118.75, -70.0))
STILL = {
    "shift_mm": 0.0,
    "rotation_deg": 0.0,
    "breathing_mm": 0.0,
    "weight_mm": 0.0,
    "deformation_mm": 0.0,
    "pixel_ratio": 1.0,
    "kernel": "standard",
    "noise_hu": 0.0,
}


@cache
def patient(centre: tuple[float, float, float] = (-70.0, 5.0, 0.0)) -> tuple[Volume, StructureSet]:
    """A thorax with vessels and noise, and a tumour of 16 mm radius: in the right lung, or where it is put."""
    k, j, i = np.indices(GRID.shape)
    x, y, z = np.moveaxis(GRID.world(np.stack([i, j, k], axis=-1)), -1, 0)
    rng = np.random.default_rng(5)
    body = (x / 130) ** 2 + (y / 95) ** 2 < 1
    image = np.where(body, 20.0, -1000.0)
    lungs = {}
    for side, name in ((-1, "Lung-Right"), (1, "Lung-Left")):
        lungs[name] = ((x - side * 66) / 42) ** 2 + (y / 62) ** 2 + ((z + 5) / 90) ** 2 < 1
        image[lungs[name]] = -820
    twigs = ndimage.gaussian_filter(rng.normal(size=GRID.shape), (2.5, 0.8, 0.8))
    image[(lungs["Lung-Right"] | lungs["Lung-Left"]) & (twigs > 1.8 * twigs.std())] = -450
    spine = (x / 16) ** 2 + ((y - 68) / 16) ** 2 < 1
    image[spine] = 350
    tumour = np.linalg.norm(np.stack([x, y, z], -1) - centre, axis=-1) < 16
    image[tumour] = 60
    grain = ndimage.gaussian_filter(rng.normal(size=GRID.shape), (0, 0.6, 0.6))
    image = ndimage.gaussian_filter(image, (0, 0.5, 0.5)) + grain * (15 / grain.std())
    dicom = DicomSource("4711", "1.2.3", "1.2.4", "1.2.5", study_date="20260131", header={"PatientName": "A^B"})
    structures = (
        Structure("GTV-1", tumour, interpreted_type="GTV"),
        Structure("Lung-Right", lungs["Lung-Right"] & ~tumour),
        Structure("Lung-Left", lungs["Lung-Left"] & ~tumour),
        Structure("Spine", spine),
    )
    return Volume(np.rint(image).astype(np.int16), GRID, "CT", dicom), StructureSet(structures, GRID, dicom)


@cache
def later(change: str = "medium", tumour: str = "regress", seed: int = 1) -> FollowUp:
    return digital_followup(*patient(), seed=seed, settings=settings_for(change, tumour))


def mask(structures: StructureSet, name: str = "GTV-1") -> np.ndarray:
    return structures.structures[structures.names.index(name)].mask


def cm3(found: FollowUp, name: str = "GTV-1") -> float:
    return float(mask(found.structures, name).sum() * found.volume.geometry.voxel_volume / 1000)


def grain_of(image: np.ndarray, where: np.ndarray) -> float:
    """How strong what is finer than two pixels is."""
    fine = image - ndimage.gaussian_filter(image.astype(float), (0, 1.0, 1.0))
    return 1.4826 * float(np.median(np.abs(fine[where])))


@pytest.mark.parametrize(
    ("change", "tumour"),
    [("small", "regress"), ("medium", "regress"), ("large", "regress"), ("medium", "grow"), ("medium", "split")],
)
def test_the_target_has_the_volume_that_was_asked_for_on_any_grid_and_after_any_motion(
    change: str, tumour: str
) -> None:
    prior, structures = patient()
    before = float(mask(structures).sum() * prior.geometry.voxel_volume / 1000)
    found = later(change, tumour)
    asked = before * settings_for(change, tumour).volume_ratio
    assert cm3(found) == pytest.approx(asked, rel=0.08)
    assert found.target_cm3 == pytest.approx((before, asked))


def test_where_the_tumour_was_there_is_lung_as_around_it() -> None:
    prior, structures = patient()
    found = digital_followup(prior, structures, settings=settings_for("medium", "vanish", **STILL))
    assert found.volume.geometry.matches(prior.geometry)
    tumour = mask(structures)
    gone = ndimage.binary_erosion(tumour)
    near = ndimage.distance_transform_edt(~tumour, sampling=(4, 2.5, 2.5))
    lung = (near > 6) & (near < 25) & mask(structures, "Lung-Right")
    lung &= ndimage.binary_erosion(mask(structures, "Lung-Right") | tumour)
    values, around = found.volume.array[gone], prior.array[lung]
    assert np.median(prior.array[gone]) > 0
    assert abs(np.median(values) - np.median(around)) < 20
    assert abs(values.mean() - around.mean()) < 45
    vessels = [np.quantile(one, 0.98) - np.median(one) for one in (around, values)]
    assert 0.4 < vessels[1] / vessels[0] < 2.5
    # Away from vessels: the noise of the scan, not weaker and not stronger.
    plain = ndimage.maximum_filter(found.volume.array, (1, 5, 5)) < -740
    grain = [grain_of(found.volume.array, where & plain) for where in (gone, lung)]
    assert grain[0] == pytest.approx(grain[1], rel=0.25)


def test_a_tumour_leaves_lung_in_a_scan_whose_border_cuts_the_lung_open() -> None:
    whole, structures = patient()
    cut = replace(GRID, shape=(36, 96, 60), origin=tuple(GRID.world([18, 0, 0]).tolist()))
    tumour = np.ascontiguousarray(mask(structures)[:, :, 18:78])
    prior = Volume(np.ascontiguousarray(whole.array[:, :, 18:78]), cut, "CT")
    drawn = StructureSet((Structure("GTV-1", tumour),), cut)
    found = digital_followup(prior, drawn, settings=settings_for("medium", "vanish", **STILL))
    gone = found.volume.array[ndimage.binary_erosion(tumour)]
    assert np.median(gone) == pytest.approx(-820, abs=30)


def test_where_it_grew_there_is_tumour_and_no_trace_of_the_old_border() -> None:
    prior, structures = patient()
    found = digital_followup(prior, structures, settings=settings_for("large", "grow", **STILL, slice_mm=4.0))
    new, old = mask(found.structures), mask(structures)
    inside = ndimage.binary_erosion(new, np.ones((1, 3, 3)), iterations=2)
    grown = inside & ~old
    assert grown.sum() > 60
    assert np.median(prior.array[grown]) < -600
    assert abs(np.median(found.volume.array[grown]) - 60) < 15
    assert (found.volume.array[inside] > -100).mean() > 0.98
    assert grain_of(found.volume.array, grown) == pytest.approx(grain_of(found.volume.array, inside & old), rel=0.3)


def test_far_from_the_target_a_still_patient_looks_as_before() -> None:
    prior, structures = patient()
    found = digital_followup(prior, structures, settings=settings_for("medium", **STILL))
    away = ndimage.distance_transform_edt(~mask(structures), sampling=(4, 2.5, 2.5)) > 12
    difference = (found.volume.array.astype(float) - prior.array)[away]
    assert abs(difference.mean()) < 1
    assert difference.std() < 20  # the kernel's blur
    for name in ("Spine", "Lung-Left"):
        assert (mask(found.structures, name) == mask(structures, name)).all()


def test_the_lung_takes_what_the_tumour_leaves_and_loses_what_it_takes() -> None:
    shrunk, grown = later("large", "regress"), later("medium", "grow")
    _, structures = patient()
    before = float(mask(structures, "Lung-Right").sum() * GRID.voxel_volume / 1000)
    for found, sign in ((shrunk, 1), (grown, -1)):
        assert not (mask(found.structures) & mask(found.structures, "Lung-Right")).any()
        # By the size of the change, breathing aside.
        still = digital_followup(*patient(), settings=replace(found.settings, **{**STILL, "slice_mm": None}))
        change = sign * (found.target_cm3[0] - found.target_cm3[1]) * sign
        assert cm3(still, "Lung-Right") - before == pytest.approx(change, abs=2.0)


def test_contours_and_image_go_the_same_way_and_nothing_is_folded() -> None:
    prior, structures = patient()
    found = later("large", "regress")
    geometry = found.volume.geometry
    assert found.motion.field.jacobian().min() > 0.3
    k, j, i = np.indices(geometry.shape)
    world = geometry.world(np.stack([i, j, k], axis=-1))
    index = np.moveaxis(prior.geometry.index(found.motion.to_prior(world))[..., ::-1], -1, 0)
    inside = np.all([(index[a] > 1) & (index[a] < prior.geometry.shape[a] - 2) for a in range(3)], axis=0)
    expected = ndimage.map_coordinates(prior.array.astype(float), index, order=1)
    spine = ndimage.map_coordinates(mask(structures, "Spine").astype(float), index, order=1) > 0.5
    tumour = ndimage.map_coordinates(ndimage.binary_dilation(mask(structures), iterations=3).astype(float), index) > 0.1
    assert np.corrcoef(expected[inside & ~tumour], found.volume.array[inside & ~tumour])[0, 1] > 0.97
    both = 2 * (spine & mask(found.structures, "Spine")).sum() / (spine.sum() + mask(found.structures, "Spine").sum())
    assert both > 0.97
    points = world[::9, ::20, ::20]
    assert np.abs(found.motion.to_followup(found.motion.to_prior(points)) - points).max() < 0.1
    assert 5 < np.linalg.norm(found.motion.to_prior(points) - points, axis=-1).mean() < 40


def test_each_degree_of_change_changes_more_than_the_one_before() -> None:
    def size(found: FollowUp) -> tuple[float, float]:
        moved = np.linalg.norm(found.motion.shift) + np.abs(found.motion.field.array).max()
        return float(moved), abs(np.log(found.target_cm3[1] / found.target_cm3[0]))

    small, medium, large = (size(later(change)) for change in ("small", "medium", "large"))
    assert small[0] < medium[0] < large[0]
    assert small[1] < medium[1] < large[1]


def test_a_vanished_target_is_empty_a_split_one_has_two_parts_and_a_necrotic_one_a_dark_core() -> None:
    assert not mask(later("medium", "vanish").structures).any()
    parts, count = ndimage.label(mask(later("medium", "split").structures))
    sizes = np.bincount(parts.ravel())[1:]
    assert count == 2
    assert sizes.min() > 0.1 * sizes.max()
    prior, structures = patient()
    found = digital_followup(prior, structures, settings=settings_for("medium", "necrosis", **STILL))
    core = ndimage.binary_erosion(mask(structures), iterations=3)
    rim = ndimage.binary_erosion(mask(structures)) & ~ndimage.binary_erosion(mask(structures), iterations=2)
    assert np.median(found.volume.array[core]) == pytest.approx(8, abs=8)
    assert np.median(found.volume.array[rim]) > 30


def test_a_scan_that_ends_short_of_the_target_shows_the_rest() -> None:
    found = digital_followup(*patient((-70.0, 5.0, -40.0)), settings=settings_for("medium", field_of_view="away"))
    assert not mask(found.structures).any()
    assert mask(found.structures, "Lung-Right").any()
    assert found.volume.geometry.shape[0] < GRID.shape[0]
    k = found.volume.geometry.index(found.motion.to_followup(np.array([-70.0, 5.0, -40.0])))[2]
    assert k < -16 / 4 or k > found.volume.geometry.shape[0] + 16 / 4


@pytest.mark.parametrize("tumour", ["vanish", "grow", "regress"])
def test_in_soft_tissue_soft_tissue_takes_the_place(tumour: str) -> None:
    prior, structures = patient((0.0, -20.0, 0.0))
    found = digital_followup(prior, structures, settings=settings_for("medium", tumour, **STILL))
    changed = mask(structures) ^ mask(found.structures)
    changed &= ndimage.binary_dilation(mask(structures), iterations=8) & (prior.array > -200)
    wanted = 60 if tumour == "grow" else 20
    assert changed.sum() > 100
    assert abs(np.median(found.volume.array[changed]) - wanted) < 15
    assert (found.volume.array[changed] > -150).all()


@pytest.mark.parametrize(
    ("order", "signs"), [((0, 1, 2), (-1, 1, -1)), ((1, 0, 2), (1, 1, 1)), ((2, 0, 1), (1, -1, 1))]
)
def test_any_orientation_gives_a_follow_up(order: tuple[int, int, int], signs: tuple[int, int, int]) -> None:
    prior, structures = patient()
    flips = tuple(slice(None, None, sign) for sign in signs)
    turned = [np.transpose(one, order)[flips] for one in (prior.array, *(s.mask for s in structures.structures))]
    direction = np.eye(3)[:, [2 - a for a in order[::-1]]] * np.array(signs[::-1])
    corner = np.array([(n - 1) if s < 0 else 0 for n, s in zip(turned[0].shape, signs, strict=True)])
    stored = np.empty(3)
    stored[list(order)] = corner
    x, y, z = GRID.world(stored[::-1])
    spacing = tuple(GRID.spacing[2 - a] for a in order[::-1])
    grid = Geometry(turned[0].shape, spacing, (x, y, z), tuple(direction.ravel()))  # type: ignore[arg-type]
    same = tuple(replace(s, mask=m) for s, m in zip(structures.structures, turned[1:], strict=True))
    found = digital_followup(Volume(turned[0], grid, "CT"), StructureSet(same, grid), change="medium", seed=1)
    assert found.volume.geometry.direction == grid.direction
    assert found.volume.dicom is None
    assert cm3(found) == pytest.approx(0.5 * found.target_cm3[0], rel=0.08)


def test_the_same_seed_gives_the_same_voxels_and_another_one_another_visit() -> None:
    first, again, other = later("small"), digital_followup(*patient(), change="small", seed=1), later("small", seed=2)
    assert np.array_equal(first.volume.array, again.volume.array)
    assert np.array_equal(mask(first.structures), mask(again.structures))
    assert not np.allclose(first.motion.shift, other.motion.shift)


def test_noise_is_as_strong_as_asked_and_coarser_with_a_soft_kernel() -> None:
    plain = settings_for("medium", "same", **STILL)
    quiet = digital_followup(*patient(), settings=plain).volume.array.astype(float)
    correlation = {}
    for kernel in ("soft", "sharp"):
        base = digital_followup(*patient(), settings=replace(plain, kernel=kernel)).volume.array
        noisy = digital_followup(*patient(), settings=replace(plain, kernel=kernel, noise_hu=30.0)).volume.array
        noise = (noisy.astype(float) - base)[10:26, 40:56, 48:64]
        assert 18 < noise.std() < 33
        correlation[kernel] = np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]
    assert correlation["soft"] > correlation["sharp"]
    assert quiet.shape == base.shape


def test_it_is_a_later_study_of_the_same_patient_with_uids_of_its_own() -> None:
    prior, _ = patient()
    found = later("large").volume.dicom
    assert prior.dicom is not None
    assert found is not None
    assert found.patient_id == prior.dicom.patient_id
    assert found.study_date == "20260501"
    assert found.study_uid != prior.dicom.study_uid
    assert found.frame_of_reference_uid != prior.dicom.frame_of_reference_uid
    assert found.sop_instance_uids == ()


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"change": "medum"}, "Did you mean 'medium'"),
        ({"tumour": "explode"}, "tumour can be"),
        ({"volume_ratio": 1.5}, "between 0 and 1"),
        ({"tumour": "grow", "volume_ratio": 0.5}, "above 1"),
        ({"shift_mm": -3.0}, "shift_mm must lie"),
        ({"slice_mm": 0.0}, "slice_mm must lie"),
        ({"kernel": "B70"}, "kernel can be"),
        ({"noise_hu": float("nan")}, "noise_hu must lie"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        settings_for(**chosen)  # type: ignore[arg-type]


def test_what_cannot_be_changed_is_refused_in_one_sentence() -> None:
    prior, structures = patient()
    with pytest.raises(InputError, match="did you mean 'GTV-1'"):
        digital_followup(prior, structures, "GTV-2")
    with pytest.raises(InputError, match="needs a CT"):
        digital_followup(replace(prior, modality="MR"), structures)
    elsewhere = replace(GRID, origin=(0.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match="another grid"):
        digital_followup(prior, replace(structures, geometry=elsewhere))
    with pytest.raises(InputError, match="no room to grow"):
        digital_followup(prior, structures, "Lung-Right", settings=FollowUpSettings("grow", 8.0))
    dot = np.zeros(GRID.shape, bool)
    dot[18, 50, 28:31] = True
    with pytest.raises(InputError, match="too little"):
        digital_followup(prior, StructureSet((Structure("dot", dot),), GRID), "dot", "large")
    column = np.zeros(GRID.shape, bool)
    column[3:33, 45:50, 25:30] = True
    long, away = StructureSet((Structure("long", column),), GRID), settings_for(field_of_view="away")
    with pytest.raises(InputError, match="Too few slices"):
        digital_followup(prior, long, "long", settings=away)


def test_it_can_be_cancelled() -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "scanning the follow-up" and done == 2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        digital_followup(*patient(), progress=stop)


@pytest.mark.slow
def test_a_real_tumour_leaves_lung_like_the_lung_around_it(lung_case: Path) -> None:
    """LUNG1-001, cropped around the left lung's upper half; 156 cm³ of tumour are gone."""
    whole = read_volume(lung_case / "images")
    structures = read_structures(lung_case / "labels" / "rtstruct.dcm", whole)
    box = (slice(52, 98), slice(140, 400), slice(250, 430))
    corner = whole.geometry.world(np.array([250, 140, 52]))
    grid = Geometry((46, 260, 180), whole.geometry.spacing, tuple(corner))
    prior = Volume(np.ascontiguousarray(whole.array[box]), grid, "CT")
    cropped = StructureSet(tuple(replace(s, mask=s.mask[box], contoured=None) for s in structures.structures), grid)
    found = digital_followup(prior, cropped, settings=settings_for("medium", "vanish", **STILL))
    assert found.volume.geometry.matches(grid)
    tumour, image = mask(cropped), found.volume.array
    gone = ndimage.binary_erosion(tumour, iterations=2)
    near = ndimage.distance_transform_edt(~tumour, sampling=grid.spacing[::-1])
    lung = (near > 8) & (near < 40) & ndimage.binary_erosion(mask(cropped, "Lung-Left"), iterations=2)
    assert np.median(prior.array[gone]) > 0
    assert abs(np.median(image[gone]) - np.median(image[lung])) < 40
    plain = (image < -700) & (image > -950)
    assert grain_of(image, gone & plain) == pytest.approx(grain_of(image, lung & plain), rel=0.3)
    assert (mask(found.structures, "Lung-Left") & gone).sum() > 0.98 * gone.sum()
