"""From a data set to an agent's package, beside what the command line's own tests hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_sam import tiny_model

from adaptsam.alignsam import AlignSamSettings, EnvironmentSettings, Target, TrainingSettings, load_agent
from adaptsam.autoprompting.agent_training import (
    HELD_BACK_IMAGES,
    TRAINING_IMAGES,
    AgentTraining,
    TrainingData,
    doubts,
    drawn,
    separating,
)
from adaptsam.autoprompting.comparators import DECODER, FIRST_PAIR, MAP, RANDOM
from adaptsam.datasets import Sample, open_dataset
from adaptsam.errors import InputError
from adaptsam.sam import SamModel

QUICK = AlignSamSettings(EnvironmentSettings(steps=2), TrainingSettings(episodes=1, epochs=1))


def test_the_least_evidence_lies_between_images_with_the_target_and_without() -> None:
    assert 0.3 < separating(np.array([0.6, 0.7, 0.9]), np.array([0.1, 0.3])) < 0.6
    mixed = separating(np.array([0.2, 0.7, 0.8, 0.9]), np.array([0.1, 0.3, 0.4, 0.5]))
    assert 0.5 < mixed < 0.7
    assert separating(np.array([0.4]), np.array([0.4])) != pytest.approx(0.4)


def test_as_many_images_as_asked_are_drawn_whatever_their_order() -> None:
    samples = [Sample(f"s{n}", f"p{n}", None) for n in range(20)]  # type: ignore[arg-type]
    one, other = drawn(samples, 5, 3), drawn(samples[::-1], 5, 3)
    assert len(one) == 5
    assert {sample.name for sample in one} == {sample.name for sample in other}
    assert drawn(samples, 0, 3) == samples
    assert {sample.name for sample in one} != {sample.name for sample in drawn(samples, 5, 4)}


def write_volumes(folder: Path, count: int = 4) -> Path:
    """Volumes of eight slices; a bright blob is on four of them."""
    for number in range(count):
        k, j, i = np.mgrid[:8, :40, :40]
        blob = ((j - 20) ** 2 + (i - 15 - number) ** 2 < 60) & (k > 1) & (k < 6)
        noise = np.random.default_rng(number).normal(0, 20, blob.shape)
        for name, values in (("images", (blob * 300 + noise).astype(np.int16)), ("labels", blob.astype(np.uint8))):
            (folder / name).mkdir(parents=True, exist_ok=True)
            image = sitk.GetImageFromArray(values)
            image.SetSpacing((2.0, 2.0, 5.0))
            sitk.WriteImage(image, str(folder / name / f"v{number}.nii.gz"))
    return folder


@pytest.fixture(scope="module")
def sam() -> SamModel:
    return tiny_model(spread=2.0)


def test_slices_without_the_target_tell_which_evidence_is_enough(tmp_path: Path, sam: SamModel) -> None:
    folder = write_volumes(tmp_path / "volumes")
    dataset = open_dataset(folder)
    assert len(dataset.samples) == len(dataset.without(dataset.samples)) == 16
    assert not any(sample.read(may_be_empty=True)[1].any() for sample in dataset.without(dataset.samples))
    data = TrainingData(folder, images=6, window=(-50.0, 350.0))
    package = AgentTraining(data, Target("blob"), QUICK, tmp_path / "blob.agent.safetensors").run(load=lambda: sam)
    assert package.training["images"] == 6
    assert package.scores["images_without"] == 4
    assert package.shown.window == (-50.0, 350.0)
    again = load_agent(tmp_path / "blob.agent.safetensors", sam)
    assert again.least_evidence == package.least_evidence
    shares = package.scores["accepted_where_shown"], package.scores["accepted_where_not"]
    assert 0 <= shares[1] <= shares[0] <= 1
    assert set(again.scores["comparators"]) == {RANDOM, FIRST_PAIR, MAP, DECODER}
    assert again.scores["scored_on"] == HELD_BACK_IMAGES
    assert again.novelty is not None


def test_what_to_expect_is_said_where_images_are_few_or_none_is_held_back(
    tmp_path: Path, sam: SamModel, caplog: pytest.LogCaptureFixture
) -> None:
    data = TrainingData(write_volumes(tmp_path / "volumes", 1))
    package = AgentTraining(data, Target("blob"), QUICK, tmp_path / "blob.agent.safetensors").run(load=lambda: sam)
    assert package.scores["scored_on"] == TRAINING_IMAGES
    assert "There are 4 training images, where the paper has 50" in caplog.text
    assert "No image could be held back" in caplog.text
    assert doubts(50, 10) == []


def test_an_explicit_task_learns_with_the_bundled_clip_and_names_it(tmp_path: Path, sam: SamModel) -> None:
    pytest.importorskip("open_clip")
    from adaptsam.autoprompting.text_maps import text_maps

    settings = AlignSamSettings(QUICK.environment, QUICK.training, branch="explicit")
    data = TrainingData(write_volumes(tmp_path / "volumes", 3), images=4)
    output = tmp_path / "heart.agent.safetensors"
    training = AgentTraining(
        data, Target("heart"), settings, output, modality="ct", text="heart", clip="phantom_clip", device="cpu"
    )
    package = training.run(load=lambda: sam)
    assert package.clip.startswith("phantom_clip, SHA-256 ")
    maps = text_maps(None, [load_agent(output)], "cpu")  # the bundled one is found by the package's record
    assert maps is not None
    [found] = maps("heart", [np.zeros((30, 40, 3), np.uint8)])
    assert found.shape == (30, 40)


def test_an_explicit_task_without_text_or_clip_is_refused_with_what_to_do(tmp_path: Path) -> None:
    settings = AlignSamSettings(branch="explicit")
    with pytest.raises(InputError, match="needs a text"):
        AgentTraining(TrainingData(tmp_path), Target("heart"), settings, tmp_path / "a")
    with pytest.raises(InputError, match="hf download"):
        AgentTraining(TrainingData(tmp_path), Target("heart"), settings, tmp_path / "a", text="heart")
