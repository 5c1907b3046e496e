"""Training on the prior, and on a protocol's images: it changes a copy, it learns, and it is asked without a prompt."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_study import Drawn, drawn_samples

from adaptsam.evaluation.methods import NotApplicable, Outlined, Pair, Workbench, make_methods
from adaptsam.evaluation.methods.finetuned_rows import FineTunedOnPrior, Schedule, TrainedModel, trained_on
from adaptsam.metrics.image_metrics import Counts
from adaptsam.sam import EmbeddingStore
from adaptsam.storage.weight_hash import hash_weights


def test_fine_tuning_on_the_prior_learns_the_prior_and_leaves_the_model_alone(make_model):
    model = make_model(1)
    before = hash_weights(model.sam)
    prior = Outlined(*Drawn(3).read())
    bench = Workbench(EmbeddingStore(model))
    pair = Pair("itself", prior, prior.image)
    [untrained] = make_methods(["direct-transfer"])[0].pictures(bench, [pair])
    [trained] = FineTunedOnPrior(Schedule(epochs=160, learning_rate=1e-3)).pictures(bench, [pair])
    assert hash_weights(model.sam) == before
    assert Counts.of(trained, prior.mask).dice > 0.8
    assert Counts.of(trained, prior.mask).dice > Counts.of(untrained, prior.mask).dice


def test_fine_tuning_on_the_prior_never_sees_the_answer_that_is_outlined_for_another_picture(make_model, monkeypatch):
    # As one-shot benchmarks ask: each of two pictures is shown for the other one, and one of them for a third.
    learned = []

    def watched(base, images, schedule):
        learned.append(list(images))
        return base

    monkeypatch.setattr("adaptsam.evaluation.methods.finetuned_rows.trained_on", watched)
    bench = Workbench(EmbeddingStore(make_model(1)))
    first, second = (Outlined(*Drawn(seed).read()) for seed in (3, 4))
    shown = [(second, first.image), (first, second.image), (second, Drawn(5).read()[0])]
    pairs = [Pair(str(number), *one) for number, one in enumerate(shown)]
    masks = FineTunedOnPrior().pictures(bench, pairs)
    assert learned == [[second], [first]]
    for mask, untrained in zip(masks, make_methods(["direct-transfer"])[0].pictures(bench, pairs), strict=True):
        np.testing.assert_array_equal(mask, untrained)


@pytest.mark.parametrize("method", ["full", "samed", "adapter"])
def test_every_tuning_gives_a_model_that_is_trained_and_the_same_when_trained_again(make_model, method):
    pytest.importorskip("peft")
    model = make_model(1)
    images = [Outlined(*Drawn(n).read()) for n in range(3)]
    schedule = Schedule(method, epochs=2, batch=2, learning_rate=1e-3)
    once, again = (trained_on(model, images, schedule) for _ in range(2))
    assert once.sha256 == again.sha256 != model.sha256


def test_a_trained_model_is_kept_and_gives_the_same_masks_when_it_is_read(make_model, tmp_path):
    pytest.importorskip("peft")
    bench = Workbench(EmbeddingStore(make_model(1)), training=drawn_samples(3), folder=tmp_path)
    pair = Pair("new", Outlined(*Drawn(8).read()), Drawn(9).read()[0])
    for name, tuning in (("samed", "samed"), ("medical-sam-adapter", "adapter")):
        schedule = Schedule(tuning, epochs=2, learning_rate=1e-3)
        masks = []
        for _ in range(2):
            method = TrainedModel(name, name, schedule)
            method.prepare(bench)
            masks.append(method.pictures(bench, [pair])[0])
        np.testing.assert_array_equal(*masks)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_without_training_images_the_row_says_so(make_model):
    for name in ("samed", "medical-sam-adapter", "alignsam"):
        [method] = make_methods([name])
        with pytest.raises(NotApplicable, match="needs training images"):
            method.prepare(Workbench(EmbeddingStore(make_model(0))))
