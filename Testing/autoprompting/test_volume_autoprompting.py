"""AutoPromptSAM's public function with a tiny SAM and an agent of random weights: not what it finds, but how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blob_agent import GRID, make_agent, scene
from tiny_sam import tiny_model

import adaptsam
from adaptsam.alignsam import Novelty, Package, prompt
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.hysteresis import HysteresisSettings
from adaptsam.autoprompting.volume_autoprompting import AutoPrompt, AutoPromptSettings, autoprompt, autoprompt_frames
from adaptsam.errors import Cancelled, CheckpointError, InputError
from adaptsam.image.volume import Geometry, Volume
from adaptsam.propagation.volume_propagation import PropagationSettings, propagate
from adaptsam.sam import EmbeddingStore, SamModel

EVERYTHING = AutoPromptSettings(acceptance="off", cleanup=False)


@pytest.fixture(scope="module")
def model() -> SamModel:
    return tiny_model(spread=2.0)


@pytest.fixture(scope="module")
def agent(model: SamModel) -> Package:
    return make_agent(model)


@pytest.fixture(scope="module")
def everything(model: SamModel, agent: Package) -> AutoPrompt:
    return autoprompt([agent], scene(), model=model, settings=EVERYTHING)


def evidence(result: AutoPrompt) -> np.ndarray:
    return np.array([1 - one.distance for one in result.reports[0].slices])


def test_results_lie_on_the_images_own_grid_whatever_its_order(model: SamModel, agent: Package) -> None:
    plain = scene()
    turned = Volume(
        plain.array.transpose(1, 2, 0)[:, ::-1],
        Geometry((64, 64, 10), (6.0, 4.0, 4.0), tuple(GRID.world(np.array([63, 0, 0]))), (0, -1, 0, 0, 0, 1, 1, 0, 0)),
        "CT",
    )
    assert np.allclose(turned.geometry.world(np.array([2, 3, 4])), GRID.world(np.array([60, 4, 2])))
    one, other = (
        autoprompt([agent], volume, model=model, settings=EVERYTHING).structures.structures[0].mask
        for volume in (plain, turned)
    )
    assert other.shape == turned.geometry.shape
    assert one.any()
    assert np.array_equal(one.transpose(1, 2, 0)[:, ::-1], other)


def test_each_slice_has_what_the_agent_makes_of_that_picture(
    model: SamModel, agent: Package, everything: AutoPrompt
) -> None:
    whole = replace(agent, shown=replace(agent.shown, view="full"))
    result = autoprompt([whole], scene(), model=model, settings=EVERYTHING)
    gray = np.clip((scene().array.astype(np.float32) + 160) * (255 / 400), 0, 255).round().astype(np.uint8)
    for k, one in enumerate(prompt(EmbeddingStore(model), agent.agent, list(gray))):
        assert np.array_equal(result.structures.structures[0].mask[k], one.mask)
        assert np.allclose(result.reports[0].slices[k].points, one.points)
        assert result.reports[0].slices[k].distance == pytest.approx(1 - one.evidence.total, abs=1e-5)
    assert everything.reports[0].view == "body"


def test_slices_are_accepted_by_the_agents_own_evidence(
    model: SamModel, agent: Package, everything: AutoPrompt
) -> None:
    levels = np.sort(evidence(everything))
    gap = int(np.argmax(np.diff(levels[2:-2]))) + 2
    limit = float((levels[gap] + levels[gap + 1]) / 2)
    judged = AutoPromptSettings(cleanup=False)
    result = autoprompt([replace(agent, least_evidence=limit)], scene(), model=model, settings=judged)
    accepted = [one.accepted for one in result.reports[0].slices]
    assert accepted == list(evidence(everything) > limit)
    assert list(result.structures.structures[0].mask.any(axis=(1, 2))) == accepted
    again = autoprompt([agent], scene(), model=model, settings=replace(judged, least_evidence=limit))
    assert np.array_equal(again.structures.structures[0].mask, result.structures.structures[0].mask)


def test_a_volume_without_the_target_gives_an_empty_result_and_a_warning(model: SamModel, agent: Package) -> None:
    result = autoprompt([replace(agent, least_evidence=1.0)], scene(), model=model)
    assert not result.structures.structures[0].mask.any()
    assert result.reports[0].status == "not found"
    assert result.warnings == ("blob was not found in this image; its contour is empty.",)


def test_a_target_thinner_than_asked_for_was_not_found(model: SamModel, agent: Package, everything: AutoPrompt) -> None:
    only = replace(agent, least_evidence=float(np.sort(evidence(everything))[-2:].mean()))
    thin = AutoPromptSettings(least_mm=5.0, cleanup=False)
    assert autoprompt([only], scene(), model=model, settings=thin).reports[0].status == "found"
    thick = replace(thin, least_mm=7.0)
    assert autoprompt([only], scene(), model=model, settings=thick).reports[0].status == "not found"


def test_no_slice_is_encoded_twice_and_agents_share_what_they_see(model: SamModel, agent: Package) -> None:
    both = [agent, make_agent(model, "other", seed=1)]
    result = autoprompt(both, scene(), model=model, settings=replace(EVERYTHING, batch_slices=3))
    assert result.encoded == GRID.shape[0]
    assert result.structures.names == ("blob", "other")
    alone = autoprompt(both[1:], scene(), model=model, settings=EVERYTHING)
    assert np.array_equal(alone.structures.structures[0].mask, result.structures.structures[1].mask)
    store = EmbeddingStore(model)
    autoprompt(both, scene(), settings=EVERYTHING, store=store)
    assert autoprompt(both, scene(), settings=EVERYTHING, store=store).encoded == 0


def test_slices_of_padding_are_not_encoded(model: SamModel, agent: Package) -> None:
    padded = scene()
    padded.array[:3] = -1000
    result = autoprompt([agent], padded, model=model, settings=EVERYTHING)
    assert result.encoded == GRID.shape[0] - 3
    assert not result.structures.structures[0].mask[:3].any()


def test_only_the_slices_asked_for_are_looked_at(model: SamModel, agent: Package) -> None:
    result = autoprompt([agent], scene(), model=model, settings=replace(EVERYTHING, slices=[7, 2]))
    assert [one.index for one in result.reports[0].slices] == [2, 7]
    with pytest.raises(InputError, match="numbered 0 to 9"):
        autoprompt([agent], scene(), model=model, settings=replace(EVERYTHING, slices=[10]))


def test_the_clean_up_keeps_as_many_parts_as_the_target_has(model: SamModel, agent: Package) -> None:
    from scipy import ndimage

    joined = AutoPromptSettings(acceptance="off")
    mask = autoprompt([agent], scene(), model=model, settings=joined).structures.structures[0].mask
    assert mask.any()
    assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == 1


def test_the_structure_carries_the_targets_standard_code(everything: AutoPrompt) -> None:
    from adaptsam.image.terminology import term_of

    assert term_of(everything.structures.structures[0]).kind.value == "4147007"


def test_the_result_can_be_the_prior_of_a_propagation(model: SamModel, everything: AutoPrompt) -> None:
    settings = PropagationSettings(acceptance="off", view="body", register="off")
    [later] = propagate(scene(), everything.structures, [scene(1)], model=model, settings=settings)
    assert later.structures.names == ("blob",)
    assert later.structures.structures[0].mask.any()


def test_confidence_lies_between_nothing_and_everything(everything: AutoPrompt) -> None:
    assert all(0 <= one.confidence <= 1 for one in everything.reports[0].slices)
    assert {one.prior_index for one in everything.reports[0].slices} == {-1}


def test_progress_counts_slices_and_cancels(model: SamModel, agent: Package) -> None:
    told: list[tuple[str, int, int]] = []
    autoprompt([agent], scene(), model=model, settings=EVERYTHING, progress=lambda *now: told.append(now))
    assert told[0] == ("prompt", 0, 10)
    assert told[-1] == ("prompt", 10, 10)

    def stop(stage: str, done: int, total: int) -> None:
        if done:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        autoprompt([agent], scene(), model=model, settings=replace(EVERYTHING, batch_slices=2), progress=stop)


def test_what_does_not_fit_is_refused_before_the_work(model: SamModel, agent: Package) -> None:
    with pytest.raises(CheckpointError, match="another SAM"):
        autoprompt([agent], scene(), model=tiny_model(seed=5))
    with pytest.raises(InputError, match="no agent"):
        autoprompt([], scene(), model=model)
    with pytest.raises(InputError, match="Two agents"):
        autoprompt([agent, agent], scene(), model=model)
    with pytest.raises(InputError, match="colour"):
        autoprompt([make_agent(model, color=True)], scene(), model=model)
    with pytest.raises(InputError, match="same value"):
        autoprompt([agent], replace(scene(), array=np.zeros(GRID.shape)), model=model)


def test_an_image_of_another_modality_comes_out_empty_and_says_so(model: SamModel, agent: Package) -> None:
    result = autoprompt([agent], scene(modality="MR"), model=model)
    assert not result.structures.structures[0].mask.any()
    assert not any(one.accepted for one in result.reports[0].slices)
    assert result.warnings == (
        "The agent for blob was trained on CT, and this image is MR: nothing is accepted on it.",
        "blob was not found in this image; its contour is empty.",
    )
    forced = autoprompt([agent], scene(modality="MR"), model=model, settings=EVERYTHING)
    assert forced.structures.structures[0].mask.any()
    assert forced.warnings[0] == "The agent for blob was trained on CT, and this image is MR."
    asked = autoprompt([agent], scene(modality="MR"), model=model, settings=AutoPromptSettings(novelty=False))
    assert asked.structures.structures[0].mask.any()
    assert autoprompt([agent], scene(modality="CBCT"), model=model).reports[0].status == "found"


def test_images_of_another_kind_come_out_empty_and_say_so(
    model: SamModel, agent: Package, caplog: pytest.LogCaptureFixture
) -> None:
    slices = AgentSlices(scene(), agent.shown, model.image_size)
    known = model.embed([slices.image(k) for k in range(10)])
    knowing = replace(agent, novelty=Novelty.of(known, [], model.image_size))
    assert autoprompt([knowing], scene(), model=model).reports[0].status == "found"
    noise = np.random.default_rng(0).uniform(-160, 240, GRID.shape).astype(np.float32)
    odd = Volume(noise, GRID, "CT")
    assert autoprompt([agent], odd, model=model).structures.structures[0].mask.any()
    result = autoprompt([knowing], odd, model=model)
    assert not result.structures.structures[0].mask.any()
    assert "10 of 10 images look unlike all that the agent for blob learnt from" in result.warnings[1]
    off = AutoPromptSettings(novelty=False)
    assert autoprompt([knowing], odd, model=model, settings=off).structures.structures[0].mask.any()
    frames = [slices.image(5), np.random.default_rng(0).integers(0, 255, slices.image(5).shape).astype(np.uint8)]
    first, second = autoprompt_frames([knowing], frames, model=model)
    assert first.masks["blob"].any()
    assert not second.masks["blob"].any()
    assert "look unlike" not in caplog.text
    [other] = autoprompt_frames([knowing], frames[1:], model=model)
    assert not other.masks["blob"].any()
    assert "1 of 1 images look unlike all that the agent for blob learnt from" in caplog.text


def test_slices_that_are_empty_for_their_kind_alone_are_told_of(model: SamModel, agent: Package) -> None:
    slices = AgentSlices(scene(), agent.shown, model.image_size)
    kind = Novelty.of(model.embed([slices.image(k) for k in range(10)]), [], model.image_size)
    assert kind is not None
    each = AutoPromptSettings(cleanup=False)
    free = autoprompt([agent], scene(), model=model, settings=each)
    accepted = sum(one.accepted for one in free.reports[0].slices)
    told = sorted(kind.of_image(one, model.image_size) for one in model.embed([slices.image(k) for k in range(10)]))
    strict = replace(agent, novelty=replace(kind, limit=told[4]))
    result = autoprompt([strict], scene(), model=model, settings=each)
    lost = accepted - sum(one.accepted for one in result.reports[0].slices)
    assert 0 < lost < accepted
    assert result.warnings[0].startswith(
        f"{lost} slices with enough evidence for blob are empty, because they look unlike"
    )
    assert not free.warnings


def test_an_agent_that_its_comparators_outdid_says_so(model: SamModel, agent: Package) -> None:
    scores = {"iou": 0.5, "comparators": {"random actions": 0.4, "decoder fine-tuned": 0.7}}
    result = autoprompt([replace(agent, scores=scores)], scene(), model=model)
    assert result.warnings[0].startswith(
        "Where its scores were taken, the agent for blob did no better (IoU 0.50) than a simpler way to the same mask "
        "(decoder fine-tuned, 0.70)"
    )
    beaten = {"iou": 0.8, "comparators": scores["comparators"]}
    assert replace(agent, scores=beaten).outdone_by == {}


def test_a_search_outwards_finds_one_run_of_slices(model: SamModel, agent: Package) -> None:
    each = autoprompt([agent], scene(), model=model, settings=AutoPromptSettings(cleanup=False))
    evidence = {one.index: 1 - one.distance for one in each.reports[0].slices}
    best = max(evidence, key=evidence.__getitem__)
    strict = AutoPromptSettings(least_evidence=evidence[best] - 1e-6, least_mm=0.0, cleanup=False)
    alone = autoprompt([agent], scene(), model=model, settings=strict)
    assert [one.index for one in alone.reports[0].slices if one.accepted] == [best]
    wide = replace(strict, search="outward", hysteresis=HysteresisSettings(share=0.0, alike=0.0))
    followed = autoprompt([agent], scene(), model=model, settings=wide)
    with_a_mask = [one.index for one in each.reports[0].slices if one.accepted]
    assert [one.index for one in followed.reports[0].slices if one.accepted] == with_a_mask
    with pytest.raises(InputError, match="search can be"):
        AutoPromptSettings(search="sideways")


def test_an_agent_of_the_explicit_branch_is_given_the_maps_of_its_text(model: SamModel) -> None:
    agent = make_agent(model, branch="explicit")
    with pytest.raises(InputError, match="needs CLIP"):
        autoprompt([agent], scene(), model=model)
    asked: list[tuple[str, int]] = []

    def maps(text: str, images: list[np.ndarray]) -> list[np.ndarray]:
        asked.append((text, len(images)))
        return [one[..., 0] / 255 for one in images]

    result = autoprompt([agent], scene(), model=model, settings=EVERYTHING, text_maps=maps)
    assert asked == [("a blob", 8), ("a blob", 2)]
    blind = autoprompt(
        [agent],
        scene(),
        model=model,
        settings=EVERYTHING,
        text_maps=lambda text, images: [np.zeros((8, 8))] * len(images),
    )
    assert not np.allclose(evidence(result), evidence(blind))


def test_frames_of_a_video_stream_through(model: SamModel, agent: Package) -> None:
    frames = list(np.random.default_rng(0).integers(0, 255, (5, 40, 56, 3), dtype=np.uint8))
    results = list(
        autoprompt_frames([agent], iter(frames), model=model, settings=replace(EVERYTHING, batch_slices=2), total=5)
    )
    assert [one.index for one in results] == list(range(5))
    for frame, one, alone in zip(frames, results, prompt(EmbeddingStore(model), agent.agent, frames), strict=True):
        assert one.image is frame
        assert np.array_equal(one.masks["blob"], alone.mask)
        assert one.reports["blob"].area == alone.mask.sum()
    nothing = autoprompt_frames([agent], frames, model=model, settings=AutoPromptSettings(least_evidence=1.0))
    assert not any(one.masks["blob"].any() for one in nothing)


def test_frames_that_were_encoded_once_are_not_encoded_again(model: SamModel, agent: Package, tmp_path: Path) -> None:
    frames = list(np.random.default_rng(0).integers(0, 255, (5, 40, 56, 3), dtype=np.uint8))
    stores = [EmbeddingStore(model, folder=tmp_path) for _ in range(2)]
    first, second = (list(autoprompt_frames([agent], frames, settings=EVERYTHING, store=store)) for store in stores)
    assert [store.encoded for store in stores] == [5, 0]
    assert all(np.array_equal(a.masks["blob"], b.masks["blob"]) for a, b in zip(first, second, strict=True))


def test_it_is_public() -> None:
    assert adaptsam.autoprompt is autoprompt
    assert adaptsam.AutoPromptSettings is AutoPromptSettings
    assert adaptsam.load_agent.__name__ == "load_agent"
