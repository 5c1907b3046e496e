"""PersonalizedSAM's public function with a tiny SAM of random weights: not what it draws, but how it works."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from thorax import thorax
from tiny_sam import tiny_model

from adaptsam.errors import Cancelled, GeometryError, InputError
from adaptsam.image.volume import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.image.windowing import WINDOWS
from adaptsam.p2sam import Job, P2SamSettings, Prior, segment
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.propagation.volume_propagation import Propagation, PropagationSettings, papers_protocol, propagate
from adaptsam.registration import registration_cache as kept_registration
from adaptsam.sam import EmbeddingStore, SamModel
from adaptsam.slicewise import SliceJob, VolumeSettings

GRID = Geometry((12, 64, 64), (4.0, 4.0, 6.0), (10.0, -20.0, 300.0))
EVERYTHING = PropagationSettings(acceptance="off", view="body", register="off", fusion="off")


@pytest.fixture(scope="module")
def model() -> SamModel:
    return tiny_model()


def _scene(seed: int = 0, patient: str = "one") -> tuple[Volume, StructureSet]:
    k, j, i = np.indices(GRID.shape)
    array = np.full(GRID.shape, -1000.0)
    array[((i - 32) / 26) ** 2 + ((j - 32) / 22) ** 2 <= 1] = 20
    left = ((i - 22) / 8) ** 2 + ((j - 32) / 8) ** 2 + ((k - 6) / 4) ** 2 <= 1
    right = ((i - 42) / 9) ** 2 + ((j - 30) / 10) ** 2 + ((k - 6) / 5) ** 2 <= 1
    array[left], array[right] = -700, 250
    noise = np.random.default_rng(seed).normal(0, 10, GRID.shape)
    volume = Volume((array + noise).astype(np.int16), GRID, "CT", DicomSource(patient_id=patient))
    return volume, StructureSet((Structure("left", left, (1, 2, 3), 7, "ORGAN"), Structure("right", right)), GRID)


def _propagate(model: SamModel, target: Volume, settings: PropagationSettings = EVERYTHING, **more) -> Propagation:
    prior, structures = _scene()
    (result,) = propagate(prior, structures, [target], model=model, settings=settings, **more)
    return result


def test_results_lie_on_the_targets_grid_to_the_last_bit(model: SamModel) -> None:
    angle = np.radians(3)
    direction = (np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1)
    oblique = Geometry((12, 64, 64), (4.1, 3.9, 6.1), (1 / 3, -20.7, 301.1), tuple(map(float, direction)))
    target = replace(_scene(1)[0], geometry=oblique)
    result = _propagate(model, target)
    assert result.structures.geometry is oblique
    assert all(one.mask.shape == oblique.shape and one.mask.dtype == bool for one in result.structures.structures)


def test_names_colours_and_types_come_from_the_prior(model: SamModel) -> None:
    left, right = _propagate(model, _scene(1)[0]).structures.structures
    assert (left.name, left.color, left.number, left.interpreted_type) == ("left", (1, 2, 3), 7, "ORGAN")
    assert left.contoured is None
    assert right.name == "right"


def test_two_structures_of_one_name_are_each_found_at_their_own_place(model: SamModel) -> None:
    prior, target = thorax(), thorax((8, 4, 0), seed=1).volume
    alike = replace(prior.structures, structures=tuple(replace(one, name="GTV") for one in prior.structures.structures))
    settings = PropagationSettings(register="rigid")
    named, unnamed = (
        propagate(prior.volume, one, [target], model=model, settings=settings)[0] for one in (prior.structures, alike)
    )
    assert [report.name for report in unnamed.reports] == ["GTV", "GTV (2)"]
    for one, other in zip(named.structures.structures, unnamed.structures.structures, strict=True):
        assert np.array_equal(one.mask, other.mask)


def test_two_structures_need_no_more_encoder_passes_than_the_slices_there_are(model: SamModel) -> None:
    prior, structures = _scene()
    store = EmbeddingStore(model)
    (result,) = propagate(prior, structures, [_scene(1)[0]], settings=EVERYTHING, store=store)
    target_slices = {one.index for report in result.reports for one in report.slices}
    prior_slices = {one.prior_index for report in result.reports for one in report.slices}
    assert result.encoded == store.encoded == len(target_slices) + len(prior_slices)
    (again,) = propagate(prior, structures, [_scene(1)[0]], settings=EVERYTHING, store=store)
    assert again.encoded == 0
    for first, second in zip(result.structures.structures, again.structures.structures, strict=True):
        assert np.array_equal(first.mask, second.mask)


def test_a_store_with_a_folder_keeps_the_registration_for_the_next_structure(
    model: SamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PropagationSettings(register="rigid", acceptance="off", fusion="off")
    prior, target = thorax(), thorax((8, 4, 0), seed=1).volume
    whole = propagate(prior.volume, prior.structures, [target], model=model, settings=settings)[0]

    def carried(name: str) -> Propagation:
        store = EmbeddingStore(model, folder=tmp_path)
        return propagate(prior.volume, prior.structures, [target], names=[name], settings=settings, store=store)[0]

    carried("tumour")
    monkeypatch.setattr(kept_registration, "register", lambda *given, **named: pytest.fail("it was registered again"))
    second = carried("heart")
    assert np.array_equal(second.structures.structures[0].mask, whole.structures.structures[1].mask)


def test_little_memory_for_embeddings_costs_no_second_encoder_pass(
    model: SamModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = _scene(1)[0]
    plenty = _propagate(model, target).encoded
    original = EmbeddingStore.__init__
    monkeypatch.setattr(EmbeddingStore, "__init__", lambda self, m, folder=None: original(self, m, 10_000, folder))
    assert _propagate(model, target).encoded == plenty


def test_further_targets_reuse_the_prior(model: SamModel) -> None:
    prior, structures = _scene()
    results = propagate(prior, structures, [_scene(1)[0], _scene(2)[0]], model=model, settings=EVERYTHING)
    assert results[1].encoded < results[0].encoded
    alone = _propagate(model, _scene(2)[0])
    for first, second in zip(results[1].structures.structures, alone.structures.structures, strict=True):
        assert np.array_equal(first.mask, second.mask)


def test_the_papers_protocol_is_p2sam_slice_by_slice(model: SamModel) -> None:
    prior, structures = _scene()
    target = _scene(3)[0]
    slices = [4, 5, 6, 7, 8]
    settings = papers_protocol(slices, PropagationSettings(p2sam=P2SamSettings(positives=(1, 2))))
    (result,) = propagate(prior, structures, [target], model=model, names=["right"], settings=settings)
    drawn = [int(k) for k in np.flatnonzero(structures.structures[1].mask.any(axis=(1, 2)))]
    for place, k in enumerate(slices):
        p = drawn[len(drawn) // 2 + place - len(slices) // 2]
        before, after = (WINDOWS["papers"].rgb(one.array[n]) for one, n in ((prior, p), (target, k)))
        first, second = model.embed([before, after])
        learned = Prior.from_mask(model, first, structures.structures[1].mask[p])
        (expected,) = segment(model, [Job(learned, second)], settings.p2sam)
        assert np.array_equal(result.structures.structures[0].mask[k], expected.mask)
        assert result.reports[0].slices[place].prior_index == p
        assert np.allclose(result.reports[0].slices[place].points, expected.points)
    assert not np.delete(result.structures.structures[0].mask, slices, axis=0).any()


def test_the_papers_slices_can_differ_between_structures(model: SamModel) -> None:
    result = _propagate(model, _scene(1)[0], papers_protocol({"left": [5], "right": [4, 6]}))
    assert [[one.index for one in report.slices] for report in result.reports] == [[5], [4, 6]]


def test_the_same_call_gives_the_same_masks(model: SamModel) -> None:
    settings = PropagationSettings(acceptance="off")
    first, second = (_propagate(model, _scene(1)[0], settings) for _ in range(2))
    for a, b in zip(first.structures.structures, second.structures.structures, strict=True):
        assert np.array_equal(a.mask, b.mask)


def test_a_structure_that_is_not_there_is_refused_with_the_nearest_name(model: SamModel) -> None:
    with pytest.raises(InputError, match="right"):
        _propagate(model, _scene(1)[0], names=["rigth"])


def test_structures_on_another_grid_are_refused(model: SamModel) -> None:
    prior, structures = _scene()
    moved = replace(structures, geometry=replace(GRID, origin=(0.0, 0.0, 0.0)))
    with pytest.raises(GeometryError, match="another grid"):
        propagate(prior, moved, [prior], model=model)


def test_an_empty_structure_is_refused(model: SamModel) -> None:
    prior, _ = _scene()
    empty = StructureSet((Structure("nothing", np.zeros(GRID.shape, bool)),), GRID)
    with pytest.raises(InputError):
        propagate(prior, empty, [prior], model=model, names=["nothing"])


def test_another_patient_is_refused_unless_that_is_meant(model: SamModel) -> None:
    stranger = _scene(1, patient="two")[0]
    with pytest.raises(GeometryError, match="different patients") as refusal:
        _propagate(model, stranger)
    assert "two" not in str(refusal.value)
    assert _propagate(model, stranger, allow_different_patients=True).reports


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_with_values_that_are_no_numbers_is_refused(model: SamModel, value: float) -> None:
    target = _scene(1)[0]
    array = target.array.astype(np.float32)
    array[3, 4, 5] = value
    with pytest.raises(InputError, match="not numbers"):
        _propagate(model, replace(target, array=array))


def test_a_constant_image_is_refused(model: SamModel) -> None:
    target = _scene(1)[0]
    with pytest.raises(InputError, match="same value"):
        _propagate(model, replace(target, array=np.zeros_like(target.array)))


def test_no_target_is_refused(model: SamModel) -> None:
    with pytest.raises(InputError, match="no target"):
        propagate(*_scene(), [], model=model)


def test_cancelling_is_heard_while_the_prior_is_read(model: SamModel) -> None:
    told = []

    def cancel(stage: str, done: int, total: int) -> None:
        told.append(stage)
        if len(told) == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        _propagate(model, _scene(1)[0], PropagationSettings(), progress=cancel)
    assert told == ["prior"] * 3


def test_progress_names_the_target_when_there_are_several(model: SamModel) -> None:
    told = []
    prior, structures = _scene()
    propagate(
        prior, structures, [prior, prior], model=model, settings=EVERYTHING, progress=lambda *step: told.append(step[0])
    )
    assert "target 2 of 2: segment" in told


def test_the_method_measures_the_priors_own_distances_as_those_of_its_results(model: SamModel) -> None:
    method = P2SamSlices(EmbeddingStore(model))
    prior, structures = _scene()
    mask = structures.structures[1].mask
    images = [WINDOWS["papers"].rgb(prior.array[k]) for k in (5, 6)]
    distances = method.prior_distances([images[0], images[0], images[1]], [mask[5], mask[5], mask[6]])
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances[1] > 0
    assert np.isnan(method.prior_distances(images, [mask[5], np.zeros_like(mask[6])])[0])
    assert not method.usable(images[0], np.zeros_like(mask[5]))
    assert method.usable(images[0], np.ones_like(mask[5]))  # nothing but the structure
    unusable = SliceJob("x", images[0], np.zeros_like(mask[5]), images[1])
    usable = SliceJob("x", images[0], mask[5], images[1])
    results = method.segment([unusable, usable])
    assert results[0] is None
    assert results[1] is not None
    assert results[1].logits.shape == images[1].shape[:2]


def test_every_volume_setting_can_be_chosen_for_a_propagation() -> None:
    assert issubclass(PropagationSettings, VolumeSettings)
    assert PropagationSettings(margin_mm=5.0, p2sam=P2SamSettings(retrieval=False)).p2sam.retrieval is False


def test_slices_side_by_side_give_the_same_masks_voxel_for_voxel(model: SamModel, monkeypatch) -> None:
    target, given = _scene(1)[0], []
    for workers in (1, 3):
        monkeypatch.setattr(SamModel, "side_by_side", workers)
        given.append(_propagate(model, target, PropagationSettings(batch_slices=2)))
    alone, together = given
    assert alone.encoded == together.encoded
    for one, other in zip(alone.structures.structures, together.structures.structures, strict=True):
        assert one.mask.any()
        np.testing.assert_array_equal(one.mask, other.mask)
