"""Following a structure through a video with a tiny SAM of random weights: not what it draws, but how it works."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_sam import tiny_model

from adaptsam.errors import Cancelled, InputError
from adaptsam.io import read_frames, read_mask_picture
from adaptsam.p2sam import NATURAL, Job, P2SamSettings, Prior, segment
from adaptsam.propagation.carried_masks import CarriedMask
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.propagation.video_fusion import Agreement, VideoFusionSettings
from adaptsam.propagation.video_propagation import embeddings_held, propagate_video
from adaptsam.propagation.video_settings import AnchorSettings, VideoSettings
from adaptsam.sam import EmbeddingStore, SamModel, load_sam
from adaptsam.slicewise import AcceptanceSettings, SliceJob, SliceResult
from adaptsam.slicewise.frame_report import FrameResult
from adaptsam.slicewise.fusion import Weights
from adaptsam.storage.disk_cache import KeptFolder

EVERYTHING = VideoSettings(acceptance="off", flow="off", cleanup=False)
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "endo-cvc-seq20"


@pytest.fixture(scope="module")
def model() -> SamModel:
    return tiny_model()


def scene(count: int = 9) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A bright disc that wanders over a texture, and where it is."""
    rows, columns = np.mgrid[:48, :64]
    texture = np.random.default_rng(3).integers(40, 110, (48, 64, 3))
    frames, masks = [], []
    for number in range(count):
        mask = (rows - 24) ** 2 + (columns - 16 - 3 * number) ** 2 <= 110
        frame = np.roll(texture, number, axis=1)
        frame[mask] += np.array([130, 60, 50])
        frames.append(frame.astype(np.uint8))
        masks.append(mask)
    return frames, masks


def follow(
    model: SamModel, settings: VideoSettings = EVERYTHING, outlined: int = 2, count: int = 9
) -> list[FrameResult]:
    frames, masks = scene(count)
    return list(propagate_video(frames, outlined, {"disc": masks[outlined]}, model=model, settings=settings))


@pytest.mark.parametrize("settings", [P2SamSettings(), NATURAL], ids=["medical", "natural"])
def test_every_frame_gets_the_mask_that_p2sam_gives_for_it_alone(model: SamModel, settings: P2SamSettings) -> None:
    frames, masks = scene()
    results = follow(model, replace(EVERYTHING, p2sam=settings))
    prior_embedding, *others = model.embed([frames[2], *frames])
    prior = Prior.from_mask(model, prior_embedding, masks[2])
    for index in (0, 5, 8):
        [alone] = segment(model, [Job(prior, others[index])], settings)
        assert np.array_equal(results[index].masks["disc"], alone.mask)
        assert np.array_equal(results[index].reports["disc"].points, alone.points)


def test_an_outlined_picture_of_another_size_is_compared_by_its_share_of_the_picture(model: SamModel) -> None:
    frames, masks = scene(3)
    larger, outline = (
        np.kron(one, np.ones((2, 2) + (1,) * (one.ndim - 2), one.dtype)) for one in (frames[2], masks[2])
    )
    settings = replace(EVERYTHING, area_share=1)
    for result in propagate_video(frames, larger, {"disc": outline}, model=model, settings=settings):
        shares = result.masks["disc"].mean(), masks[2].mean()
        assert result.reports["disc"].confidence == pytest.approx(min(shares) / max(shares))


def test_frames_come_out_in_order_and_the_outlined_one_keeps_its_outline(model: SamModel) -> None:
    results = follow(model)
    assert [result.index for result in results] == list(range(9))
    assert np.array_equal(results[2].masks["disc"], scene()[1][2])
    assert [result.reports["disc"].drawn for result in results] == [index == 2 for index in range(9)]
    report = results[2].reports["disc"]
    assert (report.confidence, report.distance, report.accepted) == (1.0, 0.0, True)


def test_the_number_of_frames_in_a_batch_changes_nothing(model: SamModel) -> None:
    one, many = (follow(model, replace(EVERYTHING, batch_frames=size)) for size in (1, 5))
    for a, b in zip(one, many, strict=True):
        assert np.array_equal(a.masks["disc"], b.masks["disc"])
        assert a.reports["disc"].distance == pytest.approx(b.reports["disc"].distance, rel=1e-5)


def test_a_frame_too_unlike_the_outline_comes_out_empty(model: SamModel) -> None:
    strict = VideoSettings(calibration=AcceptanceSettings(single_slice_share=1e-6), flow="off")
    for result in follow(model, strict):
        report = result.reports["disc"]
        assert result.masks["disc"].any() == report.drawn
        if not report.drawn:
            assert not report.accepted
            assert report.distance > report.threshold
            assert np.isnan(report.centroid[0])
            assert report.area == 0


def test_a_mask_much_larger_or_smaller_than_the_outlined_one_is_trusted_less(model: SamModel) -> None:
    without = follow(model, replace(EVERYTHING, area_share=0.0))
    drawn = without[2].reports["disc"].area
    some = 0
    for plain, weighed in zip(without, follow(model), strict=True):
        one, other = plain.reports["disc"], weighed.reports["disc"]
        if one.area and not one.drawn:
            some += 1
            ratio = min(one.area, drawn) / max(one.area, drawn)
            assert other.confidence == pytest.approx(one.confidence ** (2 / 3) * ratio ** (1 / 3))
    assert some >= 4
    with pytest.raises(InputError, match="area_share"):
        VideoSettings(area_share=2.0)


def test_a_picture_of_another_size_can_be_the_outlined_one(model: SamModel) -> None:
    frames, masks = scene()
    picture, outline = np.repeat(np.repeat(frames[0], 2, 0), 2, 1), np.repeat(np.repeat(masks[0], 2, 0), 2, 1)
    results = list(propagate_video(frames[1:], picture, {"disc": outline}, model=model, settings=EVERYTHING))
    assert len(results) == 8
    assert not any(result.reports["disc"].drawn for result in results)
    assert results[0].masks["disc"].shape == (48, 64)


def test_several_structures_and_gray_frames_are_followed_together(model: SamModel) -> None:
    frames, masks = scene(4)
    gray = [frame.mean(axis=2).astype(np.uint8) for frame in frames]
    both = {"disc": masks[0], "rest": ~masks[0]}
    results = list(propagate_video(gray, 0, both, model=model, settings=EVERYTHING))
    assert all(set(result.masks) == {"disc", "rest"} for result in results)
    alone = list(propagate_video(gray, 0, {"rest": both["rest"]}, model=model, settings=EVERYTHING))
    assert all(np.array_equal(a.masks["rest"], b.masks["rest"]) for a, b in zip(results, alone, strict=True))


def test_neither_frames_nor_embeddings_are_kept(model: SamModel, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref] = []
    embed = model.embed

    def watched(images, batch_size=None):  # type: ignore[no-untyped-def]
        made = embed(images, batch_size)
        alive.extend(weakref.ref(one) for one in made)
        return made

    monkeypatch.setattr(model, "embed", watched)
    frames, masks = scene(40)
    most = 0
    for result in propagate_video(frames, 0, {"disc": masks[0]}, model=model, settings=EVERYTHING):
        del result
        most = max(most, sum(one() is not None for one in alive))
    assert len(alive) >= 40
    assert most <= 2 + EVERYTHING.batch_frames


def test_a_second_run_encodes_nothing_and_memory_and_disk_stay_bounded(model: SamModel, tmp_path: Path) -> None:
    frames, masks = scene(40)
    one = 4 * model.embed_dim * model.grid_size**2
    held, stores, results = embeddings_held(1, EVERYTHING) * one, [], []
    for _ in range(2):
        store = EmbeddingStore(model, memory_bytes=held, folder=tmp_path / "whole", disk_bytes=100 * one)
        stores.append(store)
        results.append(list(propagate_video(frames, 0, {"disc": masks[0]}, settings=EVERYTHING, store=store)))
    assert [store.encoded for store in stores] == [40, 0]
    for first, second in zip(*results, strict=True):
        assert np.array_equal(first.masks["disc"], second.masks["disc"])
    small = EmbeddingStore(model, memory_bytes=held, folder=tmp_path / "small", disk_bytes=12 * one)
    for _ in propagate_video(frames, 0, {"disc": masks[0]}, settings=EVERYTHING, store=small):
        assert small._held_bytes <= held
        assert KeptFolder(tmp_path / "small").kept().size <= 12 * one
    assert small.encoded == 40


def test_frames_are_read_while_the_result_is_iterated(model: SamModel) -> None:
    class Counted(list):
        taken = 0

        def __iter__(self) -> Iterator[np.ndarray]:
            for frame in list.__iter__(self):
                self.taken += 1
                yield frame

    frames, masks = scene(20)
    source = Counted(frames)
    results = propagate_video(source, 0, {"disc": masks[0]}, model=model, settings=EVERYTHING)
    assert source.taken == 0
    next(results)
    assert source.taken == EVERYTHING.batch_frames


def test_reanchoring_takes_only_frames_near_the_outlined_one_and_judges_by_it(
    model: SamModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    whole = P2SamSlices.segment

    def counted(self: P2SamSlices, jobs: Sequence[SliceJob]) -> list[SliceResult | None]:
        asked.append(len({job.prior_image.tobytes() for job in jobs}))
        return whole(self, jobs)

    monkeypatch.setattr(P2SamSlices, "segment", counted)
    easy = AnchorSettings(kept=1, frames=2, distance_share=0.9, spread_share=0.9)
    always = VideoSettings(
        reanchor=True,
        anchors=easy,
        calibration=AcceptanceSettings(single_slice_share=50),
        batch_frames=2,
        flow="off",
        cleanup=False,
    )
    results = follow(model, always, outlined=0, count=14)
    assert asked == [1, 1, 2, 2, 2, 2, 2]  # frames 1 and 2 were near and alike: from frame 4 on they help
    assert all(result.reports["disc"].anchor < result.index for result in results)
    plain = follow(model, replace(always, reanchor=False), outlined=0, count=14)
    for new, old in zip(results, plain, strict=True):
        # An anchor can only bring a mask that is nearer to the outlined frame than the plain one.
        assert new.reports["disc"].distance <= old.reports["disc"].distance + 1e-5
    asked.clear()
    follow(model, replace(always, anchors=replace(easy, distance_share=0.0)), outlined=0, count=14)
    assert set(asked) == {1}


@pytest.mark.parametrize(
    ("outlined", "name", "change", "complaint"),
    [
        (99, "disc", lambda m: m, "no frame 99: the frames are numbered 0 to 8"),
        (0, "disc", lambda m: m[:-1], "64×47 pixels and the outlined frame 64×48"),
        (0, "disc", np.zeros_like, "mask of disc is empty"),
        (0, "speck", lambda m: m & (np.cumsum(m).reshape(m.shape) == 1), "speck is too small for this model"),
    ],
)
def test_what_cannot_be_followed_is_told_at_once(model: SamModel, outlined, name, change, complaint) -> None:
    frames, masks = scene()
    with pytest.raises(InputError, match=complaint):
        propagate_video(frames, outlined, {name: change(masks[0])}, model=model)


def test_a_video_of_one_frame_and_no_mask_are_refused(model: SamModel) -> None:
    frames, masks = scene()
    with pytest.raises(InputError, match="one frame; nothing can be followed"):
        propagate_video(frames[:1], 0, {"disc": masks[0]}, model=model)
    with pytest.raises(InputError, match="no structure to follow"):
        propagate_video(frames, 0, {}, model=model)


def test_one_frame_is_enough_where_another_picture_is_outlined(model: SamModel) -> None:
    frames, masks = scene()
    [made] = propagate_video(frames[1:2], frames[0], {"disc": masks[0]}, model=model)
    assert made.index == 0
    assert not made.reports["disc"].drawn


def test_frames_of_different_sizes_are_refused_while_they_are_read(model: SamModel) -> None:
    frames, masks = scene()
    with pytest.raises(InputError, match="Frame 8 has 32×48 pixels and the first one 64×48"):
        list(propagate_video([*frames[:8], frames[8][:, :32]], 0, {"disc": masks[0]}, model=model))


def test_following_can_be_cancelled(model: SamModel) -> None:
    frames, masks = scene()

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "segment" and done >= 4:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        list(propagate_video(frames, 0, {"disc": masks[0]}, model=model, settings=EVERYTHING, progress=stop))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real endoscopy sequence is not here")
def test_the_bundled_model_follows_a_real_polyp_a_little() -> None:
    frames = read_frames(REAL / "images")
    mask = read_mask_picture(REAL / "labels" / "03.png")
    some = [frames[index] for index in range(2, 6)]
    results = list(propagate_video(some, 0, mask, model=load_sam()))
    truth = read_mask_picture(REAL / "labels" / "04.png")["structure"]
    found = results[1].masks["structure"]
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.3


def wandering(count: int = 6) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A textured disc on another texture, 3 and 1 pixels further a frame, and where it is."""
    random = np.random.default_rng(7)
    disc, ground = (
        np.kron(random.integers(low, high, (n, n, 3)), np.ones((4, 4, 1), int))
        for low, high, n in ((120, 250, 10), (20, 130, 40))
    )
    rows, columns = np.mgrid[:96, :128]
    frames, masks = [], []
    for number in range(count):
        top, left = 30 + number, 20 + 3 * number
        mask = (rows - top - 19) ** 2 + (columns - left - 19) ** 2 <= 18**2
        frame = ground[:96, :128].copy()
        frame[top : top + 40, left : left + 40] = np.where(
            mask[top : top + 40, left : left + 40, None], disc, frame[top : top + 40, left : left + 40]
        )
        frames.append(frame.astype(np.uint8))
        masks.append(mask)
    return frames, masks


@pytest.mark.parametrize("outlined", [0, 3])
def test_flow_carries_the_outline_both_ways_under_a_model_that_sees_nothing(model: SamModel, outlined: int) -> None:
    frames, masks = wandering()
    results = list(propagate_video(frames, outlined, {"disc": masks[outlined]}, model=model))
    assert [result.index for result in results] == list(range(6))
    for result, image, truth in zip(results, frames, masks, strict=True):
        found = result.masks["disc"]
        assert np.array_equal(result.image, image)
        assert result.reports["disc"].accepted
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.9


def test_a_structure_that_is_painted_over_is_not_drawn_and_found_again_by_the_frames_after(model: SamModel) -> None:
    frames, masks = wandering()
    covered = frames[3].copy()
    covered[masks[3]] = np.random.default_rng(1).integers(0, 40, (int(masks[3].sum()), 3))
    strict = VideoSettings(calibration=AcceptanceSettings(single_slice_share=1e-6))
    results = list(
        propagate_video([*frames[:3], covered, *frames[4:]], 0, {"disc": masks[0]}, model=model, settings=strict)
    )
    assert not results[3].masks["disc"].any()
    found = results[4].masks["disc"]
    assert 2 * (found & masks[4]).sum() / (found.sum() + masks[4].sum()) > 0.9


def test_the_number_of_frames_in_a_batch_changes_nothing_with_flow(model: SamModel) -> None:
    frames, masks = wandering(4)
    one, many = (
        list(propagate_video(frames, 1, {"disc": masks[1]}, model=model, settings=VideoSettings(batch_frames=size)))
        for size in (1, 3)
    )
    assert all(np.array_equal(a.masks["disc"], b.masks["disc"]) for a, b in zip(one, many, strict=True))


def test_a_model_is_heard_as_far_as_it_agrees_with_trusted_flow() -> None:
    share = np.zeros((40, 40), np.float32)
    share[10:30, 10:30] = 1
    trusted = CarriedMask(share, np.full((40, 40), 0.8, np.float32))
    asked, settings = Weights(2.0, 0.0), VideoFusionSettings()
    for right, heard in ((True, 2.0), (False, 0.0)):
        agreement = Agreement()
        assert agreement.heard(asked, settings).method == 0.0
        logits = np.where(share > 0.5, 5.0, -5.0) * (1 if right else -1)
        for _ in range(3):
            agreement.tell(trusted, logits, None)
        assert agreement.heard(asked, settings).method == pytest.approx(heard)
