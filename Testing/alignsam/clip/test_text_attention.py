"""Maps of texts: shapes, ranges, sizes, the cache, batches, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from adaptsam.alignsam.clip import ClipModel, SurgerySettings, TextAttention
from adaptsam.alignsam.clip.feature_surgery import similarity_maps
from adaptsam.alignsam.clip.prompt_templates import MODALITIES, templates_for
from adaptsam.alignsam.clip.surgery_attention import resized_positions
from adaptsam.errors import InputError

BARE = SurgerySettings(modality="none")


def test_there_is_a_map_for_every_image_and_prompt_from_0_to_1_on_the_images_grid(
    clip: ClipModel, images: np.ndarray
) -> None:
    attention = TextAttention(clip)
    maps = attention.maps(images, ["lung", "heart", "spine"])
    assert maps.shape == (2, 3, 60, 90)
    assert maps.dtype == torch.float32
    assert (maps.amin((-2, -1)) < 0.05).all()
    assert (maps.amax((-2, -1)) > 0.95).all()
    assert attention.maps(images, ["lung"], size=(64, 64)).shape == (2, 1, 64, 64)
    assert attention.similarity(images, ["lung"]).shape == (2, 1, 6, 6)


@pytest.mark.parametrize("kind", ["clip", "timm_clip"])
def test_batches_and_single_images_give_the_same(request: pytest.FixtureRequest, kind: str, images: np.ndarray) -> None:
    clip = request.getfixturevalue(kind)
    together = TextAttention(clip, BARE).similarity(images, ["lung", "heart"])
    one_by_one = TextAttention(clip, SurgerySettings(modality="none", batch=1)).similarity(images, ["lung", "heart"])
    assert (together - one_by_one).abs().max() < 1e-6
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_a_prompt_is_encoded_once(clip: ClipModel, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    original = clip.encode_texts
    monkeypatch.setattr(clip, "encode_texts", lambda texts: encoded.extend(texts) or original(texts))
    attention = TextAttention(clip, BARE)
    attention.maps(images, ["lung"])
    attention.maps(images, ["lung", "heart"])
    attention.maps(images, ["heart"])
    assert encoded == ["lung", "", "heart"]


def test_what_several_prompts_share_is_taken_out_and_what_the_empty_string_says_for_one(
    clip: ClipModel, images: np.ndarray
) -> None:
    several = TextAttention(clip, BARE).similarity(images, ["lung", "heart", "spine"])
    assert several.sum(1).abs().max() < 1e-6
    empty = TextAttention(clip, SurgerySettings(modality="none", against="empty"))
    both, one = empty.similarity(images, ["lung", "heart"]), TextAttention(clip, BARE).similarity(images, ["lung"])
    assert (both[:, :1] - one).abs().max() < 1e-6
    assert empty.similarity(images, [""]).abs().max() < 1e-7


@pytest.mark.parametrize("kind", ["clip", "timm_clip"])
@pytest.mark.parametrize(
    ("settings", "factors"), [({"size": (3, 4)}, (3, 4)), ({"size": 2, "keep_aspect": True}, (2, 3))]
)
def test_other_sizes_than_the_trained_one_have_other_grids(
    request: pytest.FixtureRequest, kind: str, settings: dict[str, object], factors: tuple[int, int], images: np.ndarray
) -> None:
    clip: ClipModel = request.getfixturevalue(kind)
    patch = clip.patch_size[0]
    size = settings["size"]
    pixels = tuple(patch * n for n in size) if isinstance(size, tuple) else patch * size
    attention = TextAttention(clip, SurgerySettings(modality="none", **{**settings, "size": pixels}))
    assert attention.similarity(images, ["lung", "heart"]).shape == (2, 2, *factors)
    assert attention.maps(images, ["lung"]).shape == (2, 1, 60, 90)


def test_a_size_is_rounded_to_whole_patches(clip: ClipModel, images: np.ndarray) -> None:
    for pixels, patches in ((65, 8), (70, 9), (1, 1)):
        similarity = TextAttention(clip, SurgerySettings(modality="none", size=pixels)).similarity(images, ["lung"])
        assert similarity.shape == (2, 1, patches, patches)


def test_positions_are_kept_on_their_own_grid_and_stay_in_their_place_on_another() -> None:
    rows = torch.arange(6.0).repeat_interleave(5)
    columns = torch.arange(5.0).repeat(6)
    positions = torch.stack([rows, columns], dim=1)
    assert resized_positions(positions, (6, 5), (6, 5)) is positions
    resized = resized_positions(positions, (6, 5), (12, 10)).reshape(12, 10, 2)
    inner = resized[2:-2, 2:-2]
    assert torch.allclose(inner[..., 0], (torch.arange(2, 10) / 2 - 0.25)[:, None].expand(8, 6))
    assert torch.allclose(inner[..., 1], (torch.arange(2, 8) / 2 - 0.25).expand(8, 6))


def test_registers_layer_scale_and_positions_of_patches_alone_are_known(
    make_timm: Callable[..., torch.nn.Module], usable: Callable[[torch.nn.Module], ClipModel], images: np.ndarray
) -> None:
    model = make_timm("vit_small_patch14_reg4_dinov2", image_size=518)
    trunk = model.visual.trunk
    assert (trunk.num_prefix_tokens, trunk.no_embed_class, type(trunk.blocks[0].ls1).__name__) == (
        5,
        True,
        "LayerScale",
    )
    clip = usable(model)
    size = (5 * 14, 7 * 14)
    features = clip.encode_images(images, size, blocks=6)
    assert features.shape == (2, 1 + 35, 32)
    # The unchanged model at that size, with positions resized as ours are.
    trunk.pos_embed.data = resized_positions(trunk.pos_embed[0], (37, 37), (5, 7))[None]
    trunk.patch_embed.strict_img_size = False
    pixels = torch.nn.functional.normalize(model(clip_pixels(clip, images, size))[0], dim=-1)
    assert (features[:, 0] - pixels).abs().max() < 1e-5


def clip_pixels(clip: ClipModel, images: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    from PIL import Image

    resized = [np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)) for image in images]
    mean, deviation = (torch.tensor(clip.preprocess[key]) for key in ("mean", "std"))
    return ((torch.tensor(np.stack(resized)) / 255 - mean) / deviation).movedim(-1, 1)


def test_a_map_without_contrast_is_zero_and_not_nan() -> None:
    assert torch.equal(similarity_maps(torch.full((1, 1, 3, 3), 0.2), (6, 6)), torch.zeros(1, 1, 6, 6))


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_modality_has_sentences_with_one_place_for_the_prompt(modality: str) -> None:
    templates = templates_for(modality)
    assert all(template.count("{}") == 1 for template in templates)
    assert len(set(templates)) == len(templates)
    assert len(templates) == {"natural": 85, "none": 1}.get(modality, 18)


def test_an_ensemble_is_the_mean_of_its_sentences_and_braces_in_a_prompt_do_no_harm(clip: ClipModel) -> None:
    attention = TextAttention(clip, SurgerySettings(templates=("a {}", "the {} here")))
    features = clip.encode_texts(["a {x}", "the {x} here"]).mean(0)
    assert (attention.text_features(["{x}"])[0] - features / features.norm()).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("images", "prompts", "sentence"),
    [
        (np.zeros((2, 8, 8), np.uint8), ["lung"], "uint8"),
        (np.zeros((2, 8, 8, 3), np.float32), ["lung"], "not float32"),
        (np.zeros((0, 8, 8, 3), np.uint8), ["lung"], r"\(0, 8, 8, 3\)"),
        (np.zeros((1, 8, 8, 3), np.uint8), [], "at least one text"),
        (np.zeros((1, 8, 8, 3), np.uint8), "lung", "as a sequence"),
    ],
)
def test_unusable_images_and_prompts_are_refused(
    clip: ClipModel, images: np.ndarray, prompts: list[str], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        TextAttention(clip, BARE).maps(images, prompts)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"blocks": 0}, "at least 1"),
        ({"against": "nothing"}, "auto, empty or prompts"),
        ({"templates": ("no place",)}, "exactly one"),
        ({"size": (32, 32), "keep_aspect": True}, "shorter side"),
    ],
)
def test_unusable_settings_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SurgerySettings(**settings)


def test_an_unknown_modality_is_refused(clip: ClipModel) -> None:
    with pytest.raises(InputError, match="use one of natural, none, ct"):
        TextAttention(clip, SurgerySettings(modality="sonar"))
