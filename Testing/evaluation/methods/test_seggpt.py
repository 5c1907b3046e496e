"""SegGPT from a folder as it is published, with a tiny random model in the place of the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adaptsam.errors import CheckpointError
from adaptsam.evaluation.methods import Extras, NotApplicable, make_methods

transformers = pytest.importorskip("transformers", reason="the extra 'text' is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """config.json, preprocessor_config.json and model.safetensors, as in BAAI/seggpt-vit-large."""
    torch.manual_seed(0)
    config = transformers.SegGptConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=(64, 32),
        patch_size=8,
        pretrain_image_size=32,
        decoder_hidden_size=8,
        merge_index=0,
        intermediate_hidden_state_indices=(0, 1),
        initializer_range=0.5,
    )
    place = tmp_path_factory.mktemp("seggpt")
    transformers.SegGptForImageSegmentation(config).save_pretrained(place)
    transformers.SegGptImageProcessor(size={"height": 32, "width": 32}).save_pretrained(place)
    return place


def test_the_mask_is_what_the_published_model_paints_in_the_prompt_s_colour(folder, bench, make_pair):
    pair = make_pair(shape=(40, 56))
    [method] = make_methods(["seggpt"], Extras(seggpt=folder))
    method.prepare(bench)
    [mask] = method.pictures(bench, [pair])
    assert mask.shape == (40, 56)
    model = transformers.SegGptForImageSegmentation.from_pretrained(folder).eval()
    processor = transformers.SegGptImageProcessor.from_pretrained(folder)
    inputs = processor(
        images=pair.image,
        prompt_images=pair.prior.image,
        prompt_masks=pair.prior.mask.astype(np.uint8),
        num_labels=1,
        return_tensors="pt",
    )
    with torch.no_grad():
        painted = model(**inputs, embedding_type="semantic").pred_masks[0, :, 32:]
    colour = torch.tensor(processor.get_palette(1)[1]).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (processor.image_mean, processor.image_std))
    rgb = ((painted * std + mean) * 255).clip(0, 255)
    large = torch.nn.functional.interpolate(rgb[None], (40, 56), mode="nearest")[0]
    nearer = ((large - colour[:, None, None]) ** 2).sum(0) < (large**2).sum(0)
    np.testing.assert_array_equal(mask, nearer.numpy())
    assert 0 < mask.mean() < 1


def test_without_a_folder_the_row_says_what_is_needed(bench):
    [method] = make_methods(["seggpt"])
    with pytest.raises(NotApplicable, match="BAAI/seggpt-vit-large"):
        method.prepare(bench)


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_or_breaks_a_file_is_refused(folder, bench, tmp_path, damage):
    import shutil

    copy = Path(shutil.copytree(folder, tmp_path / "seggpt"))
    if damage == "config.json":
        (copy / damage).unlink()
    else:
        (copy / damage).write_bytes((copy / damage).read_bytes()[:200])
    [method] = make_methods(["seggpt"], Extras(seggpt=copy))
    with pytest.raises(CheckpointError):
        method.prepare(bench)


def test_painter_and_seem_say_what_would_be_needed(bench):
    for method in make_methods(["painter", "seem"]):
        with pytest.raises(NotApplicable, match="weights"):
            method.prepare(bench)
