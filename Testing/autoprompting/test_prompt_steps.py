"""What an agent did, step by step, and how it goes on: on stored slices of any order."""

from __future__ import annotations

import numpy as np
import pytest
from blob_agent import GRID, make_agent, scene
from tiny_sam import tiny_model

from adaptsam.alignsam import Package
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.prompt_replay import replay_from
from adaptsam.autoprompting.prompt_steps import PlayedSlice
from adaptsam.autoprompting.volume_autoprompting import AutoPromptSettings, autoprompt
from adaptsam.errors import InputError
from adaptsam.image.volume import Geometry, Volume
from adaptsam.sam import EmbeddingStore, SamModel

EVERYTHING = AutoPromptSettings(acceptance="off", cleanup=False)


@pytest.fixture(scope="module")
def model() -> SamModel:
    return tiny_model(spread=2.0)


@pytest.fixture(scope="module")
def agent(model: SamModel) -> Package:
    return make_agent(model)


def turned() -> Volume:
    """The scene with its slices along the last index axis."""
    plain = scene()
    origin = tuple(GRID.world(np.array([63, 0, 0])))
    grid = Geometry((64, 64, 10), (6.0, 4.0, 4.0), origin, (0, -1, 0, 0, 0, 1, 1, 0, 0))
    return Volume(plain.array.transpose(1, 2, 0)[:, ::-1], grid, "CT")


@pytest.mark.parametrize("volume", [scene(), turned()], ids=["as it comes", "turned"])
def test_the_last_mask_of_each_slice_is_the_result_and_the_agent_goes_on_to_it(
    model: SamModel, agent: Package, volume: Volume
) -> None:
    told: list[PlayedSlice] = []
    store = EmbeddingStore(model)
    found = autoprompt([agent], volume, settings=EVERYTHING, store=store, watch=told.append)
    whole, encoded = found.structures.structures[0].mask, store.encoded
    assert len(told) == 10
    for one in told:
        assert np.array_equal(one.mask, whole.take(one.index, axis=one.axis))
        assert len(one.masks) == len(one.points) - one.first + 1 == 3
    report = next(one for one in found.reports[0].slices if one.index == told[3].index)
    assert np.allclose(report.points, told[3].points)

    slices = AgentSlices(volume, agent.shown, model.image_size)
    one = told[3]
    options = {"store": store, "settings": EVERYTHING}
    again = replay_from(agent, slices, one.index, one.points[:3], one.labels[:3], **options)
    assert (again.axis, again.index) == (one.axis, one.index)
    assert np.allclose(again.points, one.points)
    assert (again.masks != one.masks).mean() < 1e-3
    only = replay_from(agent, slices, one.index, one.points[:1], one.labels[:1], **options, play=False)
    assert len(only.masks) == 1
    assert store.encoded == encoded
    with pytest.raises(InputError, match="There is no slice 99"):
        replay_from(agent, slices, 99, one.points, one.labels, **options)


def test_nothing_is_found_or_looked_at_beyond_a_region(model: SamModel, agent: Package) -> None:
    told: list[PlayedSlice] = []
    everywhere = autoprompt([agent], scene(), model=model, settings=EVERYTHING).structures.structures[0].mask
    within = np.zeros(GRID.shape, bool)
    within[2:5, 10:40, 20:50] = True
    store = EmbeddingStore(model)
    found = autoprompt([agent], scene(), settings=EVERYTHING, store=store, within=within, watch=told.append)
    assert np.array_equal(found.structures.structures[0].mask, everywhere & within)
    assert sorted(one.index for one in told) == [2, 3, 4]
    assert store.encoded == 3
    assert not any(mask[:10].any() for one in told for mask in one.masks)
    with pytest.raises(InputError, match="The region has"):
        autoprompt([agent], scene(), settings=EVERYTHING, store=store, within=within[1:])


def test_a_slice_that_is_changed_beyond_a_region_is_as_sure_as_an_empty_one(model: SamModel, agent: Package) -> None:
    told: list[PlayedSlice] = []
    store, settings = EmbeddingStore(model), AutoPromptSettings(least_evidence=0.0, cleanup=False)
    autoprompt([agent], scene(), settings=settings, store=store, watch=told.append)
    slices, one = AgentSlices(scene(), agent.shown, model.image_size), told[3]
    given = (agent, slices, one.index, one.points, one.labels)
    inside, beyond = (
        replay_from(*given, store=store, settings=settings, within=np.full(GRID.shape, there, bool))
        for there in (True, False)
    )
    assert inside.mask.any()
    assert not beyond.mask.any()
    assert beyond.confidence != inside.confidence
