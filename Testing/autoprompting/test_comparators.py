"""What an agent is held against, and a rule of thumb for lungs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blob_agent import make_agent, scene
from thorax import dice_of
from tiny_sam import tiny_model

from adaptsam.alignsam import Package, TrainingImage
from adaptsam.alignsam.agent_scoring import overlap
from adaptsam.autoprompting.comparators import (
    DECODER,
    FIRST_PAIR,
    MAP,
    RANDOM,
    comparator_masks,
    compare,
    fine_tuned_decoder,
    lungs_by_threshold,
    unprompted,
)
from adaptsam.io import read_structures, read_volume
from adaptsam.sam import EmbeddingStore, SamModel
from adaptsam.synthetic.thorax_phantom import phantom_patient

LUNG1 = Path(__file__).parents[3] / "shared" / "data" / "ct-lung1-001"


@pytest.fixture(scope="module")
def model() -> SamModel:
    return tiny_model(spread=2.0)


@pytest.fixture(scope="module")
def agent(model: SamModel) -> Package:
    return make_agent(model)


@pytest.fixture(scope="module")
def images() -> list[TrainingImage]:
    made = []
    for seed in range(6):
        rows, columns = np.mgrid[:48, :64]
        mask = (rows - 24) ** 2 + (columns - 20 - 4 * seed) ** 2 < 400
        noise = np.random.default_rng(seed).integers(0, 60, mask.shape)
        made.append(TrainingImage((noise + 150 * mask).astype(np.uint8), mask))
    return made


def test_every_comparator_gives_a_mask_of_each_image(model: SamModel, agent: Package, images) -> None:
    store, own = EmbeddingStore(model), agent.agent.settings
    masks = comparator_masks(store, agent.agent, images, [one.image for one in images], steps=2)
    assert list(masks) == [RANDOM, FIRST_PAIR, MAP, DECODER]
    for found in masks.values():
        assert [mask.shape for mask in found] == [one.mask.shape for one in images]
    assert agent.agent.settings == own
    figures = compare(store, agent.agent, images, images, steps=2)
    expected = np.mean([overlap(mask, one.mask) for mask, one in zip(masks[MAP], images, strict=True)])
    assert figures[MAP] == pytest.approx(expected)


def test_a_fine_tuned_decoder_learns_the_target_and_leaves_the_model_alone(model: SamModel, images) -> None:
    store = EmbeddingStore(model)
    before = {name: tensor.clone() for name, tensor in model.sam.state_dict().items()}

    def mean(tuned: SamModel) -> float:
        masks = unprompted(tuned, store, [one.image for one in images])
        return float(np.mean([overlap(mask, one.mask) for mask, one in zip(masks, images, strict=True)]))

    assert mean(fine_tuned_decoder(store, images, 100, rate=3e-3)) > mean(model) + 0.2
    assert all((tensor == before[name]).all() for name, tensor in model.sam.state_dict().items())
    assert not any(parameter.grad is not None for parameter in model.sam.parameters())


def test_the_threshold_finds_the_lungs_of_a_phantom() -> None:
    [visit] = phantom_patient(3, 1, shape=(16, 96, 96), spacing=(4.5, 4.5, 16.0))
    truth = np.any([s.mask for s in visit.structures.structures if s.name.startswith("Lung-")], axis=0)
    assert dice_of(lungs_by_threshold(visit.volume), truth) > 0.9


def test_the_threshold_finds_nothing_where_there_is_no_lung() -> None:
    assert not lungs_by_threshold(scene()).any()


@pytest.mark.slow  # a whole scan
@pytest.mark.skipif(not LUNG1.exists(), reason="the shared scans are not here")
def test_the_threshold_finds_the_lungs_of_a_real_scan() -> None:
    volume = read_volume(LUNG1 / "images")
    structures = read_structures(LUNG1 / "labels" / "rtstruct.dcm", volume).structures
    truth = np.any([one.mask for one in structures if one.name.startswith("Lung-")], axis=0)
    assert dice_of(lungs_by_threshold(volume), truth) > 0.95
