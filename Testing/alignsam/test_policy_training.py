"""Algorithm 1: what is learnt, resumed, refused and kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptsam.alignsam import (
    AlignSamSettings,
    EnvironmentSettings,
    Trained,
    TrainingImage,
    TrainingSettings,
    prompt,
    train,
)
from adaptsam.alignsam.agent_checkpoint import read_training, write_training
from adaptsam.errors import AdaptSAMError, Cancelled, CheckpointError, InputError, OutputError, TrainingError
from adaptsam.sam import EmbeddingStore

Pictures = list[TrainingImage]


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trained.agent.state_dict().items()}


def same(first: Trained, second: Trained) -> bool:
    a, b = weights(first), weights(second)
    return first.history == second.history and all(torch.equal(a[name], b[name]) for name in a)


def attention(images: object) -> list[np.ndarray]:
    return [np.random.default_rng(0).random((10, 10)) for _ in images]  # type: ignore[attr-defined]


def test_every_episode_tells_what_came_of_it(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings
) -> None:
    before = store.encoded
    trained = train(store, pictures, short)
    assert store.encoded - before <= len(pictures)
    assert len(trained.history) == 3
    for episode in trained.history:
        assert -3 <= episode.mean_return <= 3
        assert len(episode.iou) == 4
        assert all(0 <= value <= 1 for value in episode.iou)
        assert 0 <= episode.label_accuracy <= 1
        assert 0 < episode.entropy <= np.log(16) + 1e-6
        assert episode.loss_critic > 0
        assert episode.loss_recalibration > 0
    assert not trained.agent.training


def test_everything_learns_and_sam_does_not(store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings) -> None:
    sam = {name: tensor.clone() for name, tensor in store.model.sam.state_dict().items()}
    one = replace(short, training=replace(short.training, episodes=1))
    first, later = weights(train(store, pictures, one)), weights(train(store, pictures, short))
    for part in ("actor", "critic", "recalibration"):
        assert any(not torch.equal(first[name], later[name]) for name in first if name.startswith(part))
    assert all(torch.equal(tensor, sam[name]) for name, tensor in store.model.sam.state_dict().items())
    assert all(parameter.grad is None for parameter in store.model.sam.parameters())


def test_the_agent_learns_where_the_target_is(
    store: EmbeddingStore, make_picture: Callable[..., TrainingImage]
) -> None:
    settings = AlignSamSettings(
        environment=EnvironmentSettings(canvas=60, patch=10, steps=5),
        training=TrainingSettings(episodes=14, epochs=8, batch=8, learning_rate=5e-3),
    )
    trained = train(store, [make_picture(seed) for seed in range(8)], settings)
    first, last = (np.mean([one.mean_return for one in part]) for part in (trained.history[:3], trained.history[-3:]))
    assert last > first + 2
    assert trained.history[-1].loss_recalibration < 0.7 * trained.history[0].loss_recalibration
    assert trained.history[-1].entropy < trained.history[0].entropy


@pytest.mark.parametrize("branch", ["implicit", "explicit"])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings, tmp_path: Path, branch: str
) -> None:
    settings = replace(short, branch=branch)
    whole = train(store, pictures, settings, attention=attention)
    file = tmp_path / "agent" / "training.pt"

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "train" and done == 2:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        train(store, pictures, settings, attention=attention, checkpoint=file, progress=stop)
    episodes: list[int] = []
    resumed = train(
        store,
        pictures,
        settings,
        attention=attention,
        checkpoint=file,
        after_episode=lambda number, trained: episodes.append(number),
    )
    assert episodes == [3]
    assert same(resumed, whole)
    assert same(train(store, pictures, settings, attention=attention, checkpoint=file), whole)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_finished_training_can_be_prolonged(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings, tmp_path: Path
) -> None:
    brief = replace(short, training=replace(short.training, episodes=1))
    train(store, pictures, brief, checkpoint=tmp_path / "a.pt")
    assert same(train(store, pictures, short, checkpoint=tmp_path / "a.pt"), train(store, pictures, short))


def test_the_checkpoint_of_another_training_is_refused(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings, tmp_path: Path
) -> None:
    file = tmp_path / "a.pt"
    train(store, pictures, short, checkpoint=file)
    content = file.read_bytes()
    for others, settings in (
        (pictures[:2], short),
        (pictures, replace(short, training=replace(short.training, seed=1))),
    ):
        with pytest.raises(InputError, match="other images, settings or another SAM"):
            train(store, others, settings, checkpoint=file)
    assert file.read_bytes() == content


def test_a_file_that_is_no_training_is_refused(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings, tmp_path: Path
) -> None:
    file = tmp_path / "a.pt"
    for content, message in ((b"nonsense", "damaged"), ({"x": 1}, "not the training"), (2, "format 2")):
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif isinstance(content, dict):
            torch.save(content, file)
        else:
            torch.save({"alignsam_training": content}, file)
        with pytest.raises(CheckpointError, match=message):
            train(store, pictures, short, checkpoint=file)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_training(tmp_path / "file" / "a.pt", {})


def test_images_of_one_class_are_left_out_with_a_warning(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings, caplog: pytest.LogCaptureFixture
) -> None:
    empty = TrainingImage(pictures[0].image, np.zeros_like(pictures[0].mask))
    with caplog.at_level(logging.WARNING):
        with_empty = train(store, [empty, *pictures], short)
    assert "1 of 4 training images are left out" in caplog.text
    assert same(with_empty, train(store, pictures, short))


@pytest.mark.parametrize("value", [False, True])
def test_a_data_set_of_one_class_is_refused(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings, value: bool
) -> None:
    images = [TrainingImage(one.image, np.full_like(one.mask, value)) for one in pictures]
    with pytest.raises(InputError, match="None of the 3 training images has both foreground and background"):
        train(store, images, short)
    with pytest.raises(InputError, match="No training image shows the target"):
        train(store, [], short)


def test_a_mask_of_another_size_and_an_explicit_task_without_attention_are_refused(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings
) -> None:
    with pytest.raises(InputError, match="does not fit its image"):
        train(store, [TrainingImage(pictures[0].image, pictures[1].mask)], short)
    explicit = replace(short, branch="explicit")
    with pytest.raises(InputError, match="needs the attention map of a text prompt"):
        train(store, pictures, explicit)
    with pytest.raises(InputError, match="2 attention maps for 3 images"):
        train(store, pictures, explicit, attention=attention(pictures[:2]))


def test_not_a_number_stops_the_training_and_the_last_good_agent_stays(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings, tmp_path: Path
) -> None:
    file = tmp_path / "a.pt"
    good: list[dict[str, torch.Tensor]] = []

    def poison(number: int, trained: Trained) -> None:
        if number == 2:
            good.append(weights(trained))
            trained.agent.critic.head[0].bias.data[0] = float("nan")

    with pytest.raises(TrainingError, match="not finite") as caught:
        train(store, pictures, short, checkpoint=file, after_episode=poison)
    assert "The agent after 2 episodes was kept" in str(caught.value)
    assert isinstance(caught.value, AdaptSAMError)
    resumed = train(store, pictures, short, checkpoint=file)
    assert same(resumed, train(store, pictures, short))
    assert good


def test_a_rate_that_is_far_too_high_ends_in_a_clear_error_and_a_usable_agent(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings
) -> None:
    wild = replace(short, training=replace(short.training, learning_rate=1e30, episodes=20))
    with pytest.raises(TrainingError) as caught:
        train(store, pictures, wild)
    assert isinstance(caught.value.last_good, Trained)
    assert all(parameter.isfinite().all() for parameter in caught.value.last_good.agent.parameters())


def test_the_ablations_train_what_they_keep(store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings) -> None:
    untrained = weights(train(store, pictures, replace(short, training=replace(short.training, episodes=1))))
    random = train(store, pictures, replace(short, policy="random"))
    assert all(episode.loss_critic == 0 and episode.loss_recalibration > 0 for episode in random.history)
    positive = train(store, pictures, replace(short, labels="positive"))
    assert all(episode.loss_critic > 0 and episode.loss_recalibration == 0 for episode in positive.history)
    assert untrained.keys() == weights(random).keys() == weights(positive).keys()


def test_curves_go_to_whoever_takes_scalars(store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings) -> None:
    written: dict[str, list[float]] = {}

    class Writer:
        def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
            written.setdefault(tag, []).append(scalar_value)
            assert len(written[tag]) == global_step

    history = train(store, pictures, short, scalars=Writer()).history
    assert written["train/mean_return"] == [episode.mean_return for episode in history]
    assert written["train/iou/step_03"] == [episode.iou[3] for episode in history]
    assert {"train/entropy", "train/clip_fraction", "train/loss_actor", "train/loss_recalibration"} < written.keys()


def test_a_training_can_be_cancelled_within_an_episode_and_keeps_the_last_one(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings, tmp_path: Path
) -> None:
    told: list[int] = []

    def stop(stage: str, done: int, total: int) -> None:
        told.append(done)
        if stage == "train" and told.count(1) == 3:
            raise Cancelled("Cancelled.")

    file = tmp_path / "a.pt"
    with pytest.raises(Cancelled):
        train(store, pictures, short, checkpoint=file, progress=stop)
    assert len(read_training(file)["history"]) == 1
    assert same(train(store, pictures, short, checkpoint=file), train(store, pictures, short))


def test_a_training_goes_on_where_embeddings_differ_in_their_last_digits(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings, tmp_path: Path
) -> None:
    brief = replace(short, training=replace(short.training, episodes=1))
    train(store, pictures, brief, checkpoint=tmp_path / "a.pt")
    other = EmbeddingStore(store.model)
    for embedding in other.get([one.image for one in pictures]):
        embedding.features.mul_(1 + 1e-6)
    assert len(train(other, pictures, short, checkpoint=tmp_path / "a.pt").history) == short.training.episodes


def test_absence_is_learnt_from_images_without_the_target_where_it_is_asked_for(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings
) -> None:
    empty = [255 - one.image for one in pictures]
    asked = replace(short, training=replace(short.training, learn_absence=True, episodes=12, learning_rate=3e-3))
    plain = replace(asked, training=replace(asked.training, learn_absence=False))
    assert same(train(store, pictures, plain, without=empty), train(store, pictures, plain))

    def seen(settings: AlignSamSettings) -> float:
        agent = train(store, pictures, settings, without=empty).agent
        [*results] = prompt(store, agent, empty)
        return float(np.mean([one.evidence.score for one in results]))

    assert seen(asked) < seen(plain)
    with pytest.raises(InputError, match="no image without the target"):
        train(store, pictures, asked)
