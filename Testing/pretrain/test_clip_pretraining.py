"""Training of the small CLIP: its pictures and captions, its tokenizer, and a training from nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from adaptsam.alignsam.clip import ClipModel, SurgerySettings, TextAttention, load_clip
from adaptsam.errors import InputError, OutputError
from adaptsam.image.windowing import WINDOWS
from adaptsam.pretrain import clip_pretraining as clip_pretrain
from adaptsam.pretrain.captioned_slices import (
    LUNGS,
    OTHERS,
    SIDES,
    TOPICS,
    SlicePool,
    draw_captions,
    draw_pool,
    draw_topics,
    patch_shares,
    topic_mask,
)
from adaptsam.pretrain.clip_pretraining import Recipe, caption_loss, new_tokenizer, train
from adaptsam.synthetic.thorax_phantom import phantom_patient
from adaptsam.synthetic.thorax_phantom.rendering import STRUCTURES

TINY = Recipe(steps=2, batch=2, pool=6, size=32, layers=2, width=32, text_width=32, embed_dim=16)


@pytest.fixture(scope="module")
def pool() -> SlicePool:
    return draw_pool(np.random.default_rng(0), 8, 48, 8)


def test_the_topics_of_a_slice_share_its_patches_between_them(pool: SlicePool) -> None:
    for seed in range(10):
        topics = draw_topics(np.random.default_rng(seed))
        together = torch.stack([pool.shares[topic] for topic in topics]).sum(0)
        assert together.median() == pytest.approx(1, abs=0.01)
        assert (LUNGS in topics) != (SIDES[0] in topics)


def test_a_tumour_is_no_picture_of_the_lung_around_it() -> None:
    masks = torch.zeros(len(STRUCTURES), 4, 4, dtype=torch.bool)
    masks[STRUCTURES.index("Lung-Left")] = True
    masks[STRUCTURES.index("GTV-1"), 1, 1] = True
    assert topic_mask(masks, LUNGS).sum() == 15
    assert topic_mask(masks, next(topic for topic in OTHERS if "tumour" in topic.names)).sum() == 1


def test_a_pool_is_reproducible(pool: SlicePool) -> None:
    again = draw_pool(np.random.default_rng(0), 8, 48, 8)
    assert torch.equal(pool.images, again.images)
    assert pool.images.dtype == torch.uint8
    assert pool.shares[LUNGS].shape == (8, 36)


def test_the_share_of_a_patch_is_what_a_mask_fills_of_it() -> None:
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, :4, 8:] = True
    assert patch_shares(mask, 8).tolist() == [[0, 0.5, 0, 0]]


EMPTY_TEXT = torch.tensor([0.0, 0, 0, 1])
TEXTS = torch.eye(4)[:3]


def tokens_of(shares: torch.Tensor) -> torch.Tensor:
    """Features that say of every patch, and of the slice, what is there."""
    whole = shares.mean(1, keepdim=True).sqrt()
    features = torch.cat([whole, shares], dim=1)
    return torch.nn.functional.normalize(torch.nn.functional.pad(features, (0, 1)), dim=-1)


def test_patches_and_class_token_that_say_what_is_there_cost_least() -> None:
    shares = torch.tensor([[[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]])
    right, scale = tokens_of(shares), torch.tensor(30.0)
    cost = caption_loss(right, TEXTS, EMPTY_TEXT, shares, scale)
    for place in range(5):
        wrong = right.clone()
        wrong[0, place] = right[0, place].roll(1)
        assert caption_loss(wrong, TEXTS, EMPTY_TEXT, shares, scale) > cost + 1


def test_a_small_structure_counts_as_much_as_a_large_one() -> None:
    shares = torch.zeros(1, 100, 3)
    shares[0, :99, 0] = shares[0, 99, 1] = 1
    right, scale = tokens_of(shares), torch.tensor(20.0)
    missed, wronged = right.clone(), right.clone()
    missed[0, 100] = right[0, 1]
    wronged[0, 1] = right[0, 100]
    cost, small, large = (caption_loss(f, TEXTS, EMPTY_TEXT, shares, scale) for f in (right, missed, wronged))
    assert small - cost > 10
    assert large - cost < 5


def test_captions_are_names_in_sentences() -> None:
    rng = np.random.default_rng(0)
    for caption, topic in zip(draw_captions(rng, TOPICS, ["a CT of the {}"]), TOPICS, strict=True):
        assert caption.removeprefix("a CT of the ") in topic.names


def test_the_end_of_a_text_is_its_highest_token_also_of_words_that_no_caption_has() -> None:
    tokenizer = new_tokenizer()
    for text in ("the left lung", "Größe π", ""):
        tokens = tokenizer(text, padding="max_length", max_length=24, return_tensors="np").input_ids[0]
        assert tokens[0] == tokenizer.bos_token_id
        assert tokens.max() == tokenizer.eos_token_id == len(tokenizer) - 1
        assert (tokens[tokens.argmax() + 1 :] == tokenizer.pad_token_id).all()
        assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == text.lower()


def test_a_training_writes_a_folder_that_is_loaded_like_any_other_clip(tmp_path: Path) -> None:
    trained = train(TINY, tmp_path / "clip")
    clip = load_clip(tmp_path / "clip", device="cpu")
    assert sum(parameter.numel() for parameter in clip.clip.parameters()) < 5e6
    for (name, kept), given in zip(clip.clip.state_dict().items(), trained.state_dict().values(), strict=True):
        assert torch.equal(kept, given.half().float()), name
    maps = TextAttention(clip, SurgerySettings(modality="ct")).maps(
        np.zeros((1, 40, 40, 3), np.uint8), ["lung", "heart"]
    )
    assert maps.shape == (1, 2, 40, 40)
    with pytest.raises(OutputError, match="exist"):
        train(TINY, tmp_path / "clip")


def test_a_stopped_training_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(clip_pretrain, "caption_loss", stop)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path / "clip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_short_training_finds_the_lung_in_patients_never_seen_and_no_training_does_not(tmp_path: Path) -> None:
    small = {"size": 64, "layers": 7, "width": 64, "text_width": 32, "embed_dim": 32}
    areas = {}
    for steps in (1, 150):
        train(Recipe(steps=steps, pool=100, **small), tmp_path / str(steps))
        areas[steps] = lung_areas(load_clip(tmp_path / str(steps), device="cpu"))
    for many, one in zip(*areas[150], strict=True):
        assert many > 0.85
        assert one > 0.85
    assert all(np.mean(area) < 0.8 for area in areas[1])


def test_the_bundled_clip_finds_the_lung_in_patients_never_seen() -> None:
    among, alone = lung_areas(load_clip("phantom_clip", device="cpu"))
    assert min(among) > 0.9
    assert min(alone) > 0.9


def lung_areas(clip: ClipModel) -> tuple[list[float], list[float]]:
    """The area under the ROC curve of the map of "lung" in a slice of each of three patients: among others, alone."""
    attention = TextAttention(clip, SurgerySettings(modality="ct"))
    among, alone = [], []
    for seed in range(300_000, 300_003):
        [visit] = phantom_patient(seed, 1, shape=(3, 128, 128), spacing=(3.4, 3.4, 20.0))
        image = WINDOWS["papers"].rgb(visit.volume.array[1])[None]
        masks = {structure.name: structure.mask[1] for structure in visit.structures.structures}
        lung = (masks["Lung-Left"] | masks["Lung-Right"]).ravel()
        for prompts, found in ((["lung", "heart", "spine", "background", "chest wall"], among), (["lung"], alone)):
            found.append(float(roc_auc_score(lung, attention.maps(image, prompts)[0, 0].numpy().ravel())))
    return among, alone


def test_a_training_without_a_step_is_refused() -> None:
    with pytest.raises(InputError, match="at least one step"):
        Recipe(steps=0)
