import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from adaptsam.errors import Cancelled, InputError
from adaptsam.image.body import coarsen
from adaptsam.image.orientation import canonical_orientation
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.slicewise import Carried, PriorVisit, SliceMethod, VolumeSettings, carry

SETTINGS = VolumeSettings(fusion="off", register="rigid")


def _carry(method: SliceMethod, prior, target: Volume, settings: VolumeSettings = SETTINGS) -> Carried:
    return carry(PriorVisit(method, prior.volume, prior.structures, settings), target)


def test_structures_are_found_where_they_moved(make_thorax: Callable, by_gray, dice: Callable) -> None:
    prior, later = make_thorax(), make_thorax((12, -8, 10), seed=1)
    carried = _carry(by_gray, prior, later.volume)
    assert [report.status for report in carried.reports] == ["found", "found"]
    assert carried.warnings == ()
    for mask, name in zip(carried.masks, later.structures.names, strict=True):
        assert dice(mask, later.mask(name)) > 0.9
    tumour = carried.reports[0]
    assert tumour.volume_cm3 == pytest.approx(tumour.prior_volume_cm3, rel=0.15)
    assert tumour.centroid_shift_mm < 3


def test_a_vanished_tumour_gives_an_empty_contour_and_a_warning(make_thorax: Callable, by_gray) -> None:
    carried = _carry(by_gray, make_thorax(), make_thorax(seed=1, tumour=False).volume)
    assert carried.reports[0].status == "gone"
    assert not carried.masks[0].any()
    assert carried.reports[0].volume_cm3 == 0
    assert any("tumour was not found" in warning for warning in carried.warnings)
    assert carried.reports[1].status == "found"


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, register="off")], ids=["rigid", "not registered"])
def test_another_modality_is_no_witness_that_a_structure_is_gone(
    make_thorax: Callable, by_gray, dice: Callable, settings: VolumeSettings
) -> None:
    later = replace(make_thorax(seed=1, tumour=False).volume, modality="MR")
    carried = _carry(by_gray, make_thorax(), later, settings)
    report = carried.reports[0]
    assert report.status == "carried"
    assert any("could not be looked for" in warning for warning in carried.warnings)
    assert max(one.confidence for one in report.held_slices) <= 0.3
    assert dice(carried.masks[0], make_thorax().mask("tumour")) > 0.9  # where it was, because nobody knows better


def test_a_ct_of_eight_bits_was_windowed_and_is_no_witness_that_a_structure_is_gone(
    make_thorax: Callable, by_gray
) -> None:
    later = make_thorax((8, 4, 0), seed=1, tumour=False).volume
    shades = np.clip((later.array + 1000) / 8, 0, 255).astype(np.uint8)
    carried = _carry(by_gray, make_thorax(), replace(later, array=shades))
    assert carried.visit.target.registration.method == "rigid"
    assert coarsen(carried.visit.target.images.volume).body.mean() < 0.8
    assert carried.reports[0].status == "carried"


def test_a_registration_that_failed_is_no_witness_that_a_structure_is_gone(make_thorax: Callable, by_gray) -> None:
    noise = make_thorax(seed=1, tumour=False).volume
    noise.array[:] = np.random.default_rng(3).permutation(noise.array.ravel()).reshape(noise.array.shape)
    carried = _carry(by_gray, make_thorax(), noise)
    assert "could not be registered" in carried.warnings[0]
    assert carried.reports[0].status == "carried"


def test_a_structure_outside_the_field_of_view_is_told_from_one_that_is_gone(make_thorax: Callable, by_gray) -> None:
    prior = make_thorax()
    low = Geometry((10, 80, 96), (4.0, 4.0, 5.0), (-190.0, -158.0, -85.0))  # ends at z = -40; the tumour begins at -15
    carried = _carry(by_gray, prior, make_thorax(seed=1, geometry=low).volume)
    assert [report.status for report in carried.reports] == ["outside", "partly outside"]
    assert not carried.masks[0].any()
    assert carried.masks[1].any()
    assert any("outside the field of view" in warning for warning in carried.warnings)


def test_padding_is_not_field_of_view(make_thorax: Callable, by_gray) -> None:
    later = make_thorax(seed=1).volume
    later.array[10:] = later.array.min() - 100
    assert _carry(by_gray, make_thorax(), later).reports[0].status == "outside"


def test_a_prior_of_a_single_slice_is_looked_for_on_every_slice(by_gray) -> None:
    image = np.full((4, 64, 64), -1000.0, np.float32)
    image[:, 8:56, 8:56] = np.random.default_rng(0).normal(0, 5, (4, 48, 48))
    image[:3, 20:30, 20:30] = 400
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 20:30, 20:30] = True
    one = Geometry((1, 64, 64), (1.0, 1.0, 1.0), (0, 0, 0))
    visit = PriorVisit(by_gray, Volume(image[:1], one, "CT"), StructureSet((Structure("x", mask),), one), SETTINGS)
    later = Geometry((4, 64, 64), (1.0, 1.0, 5.0), (300.0, 0.0, 999.0))  # a place that says nothing
    carried = carry(visit, Volume(image, later, "CT"))
    assert carried.masks[0].sum(axis=(1, 2)).tolist() == [100, 100, 100, 0]


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_results_lie_on_the_targets_own_array_in_any_orientation(
    make_thorax: Callable, by_gray, dice: Callable, axes: tuple[int, int, int]
) -> None:
    later = make_thorax((8, 8, -5), seed=2)
    direction = np.zeros((3, 3))
    for column, axis in enumerate(axes):
        direction[axis, column] = -1 if column == 1 else 1
    stored = Geometry((1, 1, 1), (1.0, 1.0, 1.0), (0, 0, 0), tuple(direction.ravel()))
    back = canonical_orientation(stored, 2)
    geometry = Geometry(
        back.undo(later.volume.array).shape,
        tuple(np.array(later.volume.geometry.spacing)[list(axes)]),
        (0.0, 0.0, 0.0),
        stored.direction,
    )
    corner = later.volume.geometry.world([0, 0, 0]) - back.geometry(geometry).world([0, 0, 0])
    geometry = Geometry(geometry.shape, geometry.spacing, tuple(corner), geometry.direction)
    target = Volume(np.ascontiguousarray(back.undo(later.volume.array)), geometry, "CT")
    carried = _carry(by_gray, make_thorax(), target)
    for mask, name in zip(carried.masks, later.structures.names, strict=True):
        assert mask.shape == target.array.shape
        assert dice(mask, back.undo(later.mask(name))) > 0.9
    report = carried.reports[0]
    assert report.slice_axis == back.undo(np.empty((1, 2, 3))).shape.index(1)
    middle = report.held_slices[-1]
    in_slice = np.take(target.array, middle.index, axis=report.slice_axis)
    i, j = middle.points[0].astype(int)
    assert in_slice[j, i] > 200  # the prompt lies on the tumour, which is brighter than all but bone


def test_a_prior_contoured_on_every_second_slice_fills_every_slice_of_the_target(
    make_thorax: Callable, by_gray, dice: Callable
) -> None:
    prior, later = make_thorax(), make_thorax((4, 4, 5), seed=1)
    drawn = np.zeros(24, bool)
    drawn[::2] = True
    sparse = tuple(
        Structure(one.name, one.mask & drawn[:, None, None], contoured=drawn) for one in prior.structures.structures
    )
    prior.structures = StructureSet(sparse, prior.volume.geometry)
    carried = _carry(by_gray, prior, later.volume)
    for mask, name in zip(carried.masks, later.structures.names, strict=True):
        assert dice(mask, later.mask(name)) > 0.85
    assert {one.prior_index % 2 for report in carried.reports for one in report.slices} == {0}


def test_structures_with_one_view_share_every_image(make_thorax: Callable, by_gray) -> None:
    prior, target = make_thorax(), make_thorax((4, 0, 0), seed=1).volume
    shared = replace(SETTINGS, view="body")
    _carry(by_gray, prior, target, shared)
    both = by_gray.encoded
    images = {}
    for job in by_gray.jobs:
        images.setdefault(job.structure, set()).update([job.prior_image.tobytes(), job.target_image.tobytes()])
    assert len(images["tumour"] & images["heart"]) > 10
    assert both == len(images["tumour"] | images["heart"])


def test_an_unmoved_target_is_shown_in_the_very_same_bytes(make_thorax: Callable, by_gray) -> None:
    prior = make_thorax()
    carried = _carry(by_gray, prior, prior.volume)
    assert all(report.status == "found" for report in carried.reports)
    same = [job for job in by_gray.jobs if np.array_equal(job.prior_image, job.target_image)]
    assert len(same) >= len(by_gray.jobs) * 0.5


def test_points_stay_in_the_region_and_the_mask_near_it(make_thorax: Callable, by_gray) -> None:
    prior, later = make_thorax(), make_thorax(seed=1)
    later.volume.array[:, 38:44, 60:66] = 280  # a bright thing 150 mm from the tumour
    near = _carry(by_gray, prior, later.volume).masks[0]
    assert not near[:, 38:44, 60:66].any()
    free = _carry(by_gray, prior, later.volume, replace(SETTINGS, location_prior=False, cleanup=False, view="full"))
    assert free.masks[0][:, 38:44, 60:66].any()
    assert all(job.region is None for job in by_gray.jobs[-5:])


def test_a_mask_that_runs_into_the_limit_is_reported(make_thorax: Callable, by_gray) -> None:
    prior = make_thorax()
    later = make_thorax(seed=1)
    k, j, i = np.indices(later.volume.array.shape)
    x, y, z = np.moveaxis(later.volume.geometry.world(np.stack([i, j, k], axis=-1)), -1, 0)
    grown = ((x + 75) / 40) ** 2 + ((y - 10) / 45) ** 2 + ((z - 10) / 30) ** 2 <= 1
    later.volume.array[grown] = 280
    carried = _carry(by_gray, prior, later.volume, replace(SETTINGS, margin_mm=5.0))
    assert any("runs into the limit" in warning for warning in carried.warnings)
    assert any(one.touches_limit for one in carried.reports[0].slices)


def test_the_papers_slices_are_used_as_given(make_thorax: Callable, by_gray) -> None:
    prior, later = make_thorax(), make_thorax((0, 0, 15), seed=1)
    tumour = StructureSet(prior.structures.structures[:1], prior.structures.geometry)
    true = [int(k) for k in np.flatnonzero(later.mask("tumour").any(axis=(1, 2)))]
    settings = replace(
        SETTINGS,
        pairing="middle",
        target_slices=true,
        acceptance="off",
        register="off",
        location_prior=False,
        cleanup=False,
    )
    prior.structures = tumour
    (report,) = _carry(by_gray, prior, later.volume, settings).reports
    assert [one.index for one in report.slices] == true
    assert [one.prior_index for one in report.slices] == [k - 3 for k in true]
    with pytest.raises(InputError, match="slices are numbered 0 to 23"):
        _carry(by_gray, prior, later.volume, replace(SETTINGS, pairing="middle", target_slices=[99]))


def test_cancelling_stops_between_two_batches(make_thorax: Callable, by_gray) -> None:
    def cancel(stage: str, done: int, total: int) -> None:
        if stage == "segment" and done > 0:
            raise Cancelled("stop")

    prior = make_thorax()
    visit = PriorVisit(by_gray, prior.volume, prior.structures, SETTINGS)
    with pytest.raises(Cancelled):
        carry(visit, make_thorax(seed=1).volume, cancel)
    assert len({job.target_image.tobytes() for job in by_gray.jobs}) <= 2 * SETTINGS.batch_slices


def test_only_a_batch_of_slices_is_asked_for_at_a_time(make_thorax: Callable, by_gray) -> None:
    asked = []
    plain = by_gray.segment
    by_gray.segment = lambda jobs: (asked.append(len(jobs)), plain(jobs))[1]
    _carry(by_gray, make_thorax(), make_thorax(seed=1).volume, replace(SETTINGS, batch_slices=2))
    assert max(asked) <= 2 * 2  # two slices of two structures


def test_memory_grows_by_the_masks_alone_with_the_number_of_slices(make_thorax: Callable, by_gray) -> None:
    def peak(slices: int) -> int:
        geometry = Geometry((slices, 80, 96), (4.0, 4.0, 120.0 / slices), (-190.0, -158.0, -57.5))
        target = make_thorax(seed=1, geometry=geometry).volume
        by_gray.seen.clear()
        by_gray.jobs.clear()
        tracemalloc.start()
        carry(visit, target)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    by_gray.segment = lambda jobs: [None] * len(jobs)  # keeps nothing: only the loop's own memory is measured
    prior = make_thorax()
    visit = PriorVisit(by_gray, prior.volume, prior.structures, replace(SETTINGS, register="off"))
    peak(24)
    few, many = peak(24), peak(96)
    masks = 2 * (96 - 24) * 80 * 96
    assert many - few < 1.2 * masks


def test_progress_ends_where_it_said_it_would(make_thorax: Callable, by_gray) -> None:
    told = []
    prior = make_thorax()
    visit = PriorVisit(by_gray, prior.volume, prior.structures, SETTINGS, lambda *step: told.append(step))
    carry(visit, make_thorax(seed=1).volume, lambda *step: told.append(step))
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["prior", "register", "segment"]
    assert all(0 <= done <= total for _, done, total in told)
    assert told[-1][1] == told[-1][2]


def test_every_frame_of_a_video_is_looked_at_without_a_place_prior(by_gray) -> None:
    frames = np.random.default_rng(0).integers(30, 60, (5, 64, 64, 3)).astype(np.uint8)
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 10:20, 10:20] = True
    for k in range(5):
        frames[k, 10 + 8 * k : 20 + 8 * k, 10:20] = 220
    frames[4] = 40
    still = Geometry((1, 64, 64), (1.0, 1.0, 1.0), (0, 0, 0))
    visit = PriorVisit(by_gray, Volume(frames[:1], still), StructureSet((Structure("polyp", mask),), still), SETTINGS)
    carried = carry(visit, Volume(frames, Geometry((5, 64, 64), (1.0, 1.0, 1.0), (0, 0, 0))))
    assert carried.masks[0].sum(axis=(1, 2)).tolist() == [100, 100, 100, 100, 0]
    assert carried.reports[0].status == "found"


def test_a_structure_without_a_patch_is_magnified_and_one_without_any_is_told(make_thorax: Callable, by_gray) -> None:
    prior, target = make_thorax(), make_thorax(seed=1).volume
    by_gray.usable = lambda image, mask: bool(mask.mean() > 0.05)
    carried = _carry(by_gray, prior, target, replace(SETTINGS, view="body"))
    assert carried.reports[0].view == "magnified"
    assert carried.reports[0].status == "found"
    by_gray.usable = lambda image, mask: False
    carried = _carry(by_gray, prior, target)
    assert [report.status for report in carried.reports] == ["too small", "too small"]
    assert all("too small for this model" in warning for warning in carried.warnings)


@pytest.mark.parametrize("name", ["view", "pairing", "acceptance", "register"])
def test_an_unknown_choice_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} can be"):
        VolumeSettings(**{name: "rigdi"})


def test_pairing_by_the_middle_needs_slices() -> None:
    with pytest.raises(InputError, match="needs target_slices"):
        VolumeSettings(pairing="middle")


def test_several_prior_slices_speak_together(make_thorax: Callable, by_gray, dice: Callable) -> None:
    prior, later = make_thorax(), make_thorax((4, 0, 0), seed=1)
    carried = _carry(by_gray, prior, later.volume, replace(SETTINGS, prior_slices=3))
    targets = [job.target_image.tobytes() for job in by_gray.jobs if job.structure == "heart"]
    assert max(targets.count(one) for one in set(targets)) >= 3
    assert dice(carried.masks[1], later.mask("heart")) > 0.9


def test_the_method_can_begin_with_the_registered_contour_or_with_the_neighbours_mask(
    make_thorax: Callable, by_gray
) -> None:
    prior, later = make_thorax(), make_thorax(seed=1)
    _carry(by_gray, prior, later.volume, replace(SETTINGS, hint="contour", view="body"))
    expected = [job for job in by_gray.jobs if job.structure == "heart" and (job.hint > 0).any()]
    assert len(expected) >= 10
    for job in expected:
        assert (job.target_image[..., 0][job.hint > 2] > 100).mean() > 0.9  # the heart and what is as bright
    by_gray.jobs.clear()
    _carry(by_gray, prior, later.volume, replace(SETTINGS, hint="neighbour", view="body"))
    hints = [job.hint is not None for job in by_gray.jobs if job.structure == "heart"]
    assert not hints[0]
    assert sum(hints) >= 10


@pytest.mark.parametrize("name", ["batch_slices", "prior_slices"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        VolumeSettings(**{name: 0})


def test_a_lost_lobe_an_empty_slice_and_a_jump_are_looked_at_first(make_thorax: Callable, by_gray) -> None:
    prior = make_thorax()
    tumour = prior.structures.structures[0].mask
    lobe = np.zeros_like(tumour)
    lobe[8:11, 20:24, 60:64] = True  # 4 x 4 pixels of the other lung, as bright as the tumour, on three slices
    before, later = prior.volume.array.copy(), make_thorax(seed=1).volume
    before[lobe] = 280
    tumour |= lobe
    held = np.flatnonzero(make_thorax().mask("tumour").any(axis=(1, 2)))
    empty, jump = int(held[2]), int(held[-3])
    later.array[empty] = make_thorax(seed=1, tumour=False).volume.array[empty]
    small = np.zeros_like(tumour[jump])
    rows, columns = np.nonzero(make_thorax().mask("tumour")[jump])
    small[rows.min() : rows.max() - 4, columns.min() : columns.max() + 1] = True
    later.array[jump][tumour[jump] & ~small] = -800
    carried = _carry(by_gray, replace(prior, volume=replace(prior.volume, array=before)), later, SETTINGS)
    report = carried.reports[0]
    first = {one.index for one in report.worst_slices[:5]}
    assert first & {8, 9, 10}
    assert {empty, jump} <= first
    assert any("nothing was found" in warning and "slices 8 to 10" in warning for warning in carried.warnings)
