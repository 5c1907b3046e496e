"""The environment against a plain loop: one image at a time, through SAM's own predictor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from adaptsam.alignsam import AgentImage, Environment, EnvironmentSettings, TrainingImage
from adaptsam.errors import InputError
from adaptsam.sam import SamModel

GAME = EnvironmentSettings(canvas=80, patch=20, steps=4)


def randoms(count: int = 3, seed: int = 5) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, row]) for row in range(count)]


def test_every_step_equals_a_plain_loop_through_sams_predictor(model: SamModel, pictures: list[TrainingImage]) -> None:
    square = pictures[1]
    environment = Environment(model, [AgentImage(model.embed([square.image])[0], square.mask)], GAME)
    state = environment.reset(randoms(1))
    predictor = SamPredictor(model.sam)
    predictor.set_image(np.repeat(square.image[..., None], 3, axis=2))
    points, labels = list(environment.points[0]), [1, 0]
    for action in (5, 0, 15, 5):
        _, _, low = predictor.predict(np.array(points), np.array(labels), multimask_output=False)
        probability = 1 / (1 + np.exp(-low[0]))
        mask = probability.reshape(8, 4, 8, 4).mean((1, 3))
        expected = predictor.features[0].numpy() * mask
        np.testing.assert_allclose(state.product[0].numpy(), expected, rtol=1e-3, atol=1e-4)
        step = environment.step([action])
        row, column = divmod(action, 4)
        centre = ((column + 0.5) / 4 * 64, (row + 0.5) / 4 * 64)
        assert step.rewards is not None
        assert step.rewards.item() == (1 if square.mask[int(centre[1]), int(centre[0])] else -1)
        points.append(np.array(centre) - 0.5)
        labels.append(1)
        state = step.state
    np.testing.assert_allclose(environment.points[0], points)


def test_images_in_a_batch_do_not_know_of_each_other(model: SamModel, cases: list[AgentImage]) -> None:
    together = Environment(model, cases, GAME)
    alone = [Environment(model, [case], GAME) for case in cases]
    together.reset(randoms())
    for environment, random in zip(alone, randoms(), strict=True):
        environment.reset([random])
    for actions in ([1, 2, 3], [0, 0, 0], [15, 7, 9]):
        step = together.step(actions)
        for row, (environment, action) in enumerate(zip(alone, actions, strict=True)):
            single = environment.step([action])
            torch.testing.assert_close(step.state.product[row], single.state.product[0], rtol=1e-4, atol=1e-4)
            assert step.rewards is not None
            assert single.rewards is not None
            assert step.rewards[row] == single.rewards[0]
            torch.testing.assert_close(together.iou()[row], environment.iou()[0])


def test_the_first_pair_is_one_pixel_on_the_target_and_one_beside_it(model: SamModel, cases: list[AgentImage]) -> None:
    environment = Environment(model, cases, GAME)
    seen = set()
    for seed in range(10):
        environment.reset(randoms(seed=seed))
        assert environment.labels.tolist() == [[1, 0]] * 3
        for case, points in zip(cases, environment.points.astype(int), strict=True):
            assert case.truth is not None
            assert case.truth[points[0, 1], points[0, 0]]
            assert not case.truth[points[1, 1], points[1, 0]]
        seen.add(tuple(environment.points[0].ravel()))
    assert len(seen) > 5


def test_without_a_truth_the_pair_is_where_the_scores_are_highest_and_lowest(
    model: SamModel, cases: list[AgentImage]
) -> None:
    scores = torch.full((3, 8, 8), 0.5)
    scores[:, 2, 6], scores[:, 7, 1] = 0.9, 0.1
    seen: list[torch.Tensor] = []

    def scorer(spatial: torch.Tensor, semantic: torch.Tensor | None) -> torch.Tensor:
        seen.append(spatial)
        assert semantic is None
        return scores

    environment = Environment(model, [AgentImage(case.embedding) for case in cases], GAME, scorer=scorer)
    environment.reset()
    assert torch.equal(seen[0], environment.features)  # M = 1 before any prompt
    for case, points in zip(cases, environment.points, strict=True):
        height, width = case.embedding.original_size
        expected = [[6.5 / 8 * width, 2.5 / 8 * height], [1.5 / 8 * width, 7.5 / 8 * height]]
        np.testing.assert_allclose(points + 0.5, expected)
    step = environment.step([2, 2, 2])  # patch (0, 2): its centre is in cell (1, 5), where the score is 0.5
    assert step.rewards is None
    assert environment.labels[:, 2].tolist() == [0, 0, 0]
    scores[:, 1, 5] = 0.51
    environment.step([2, 2, 2])
    assert environment.labels[:, 3].tolist() == [1, 1, 1]


def test_without_scorer_and_truth_there_is_no_pair_and_the_mask_is_one(
    model: SamModel, cases: list[AgentImage]
) -> None:
    environment = Environment(model, [AgentImage(case.embedding) for case in cases], GAME)
    state = environment.reset()
    assert environment.points.shape == (3, 0, 2)
    assert state.mask.eq(1).all()
    assert not environment.step([1, 1, 1]).state.mask.eq(1).all()
    assert environment.labels.tolist() == [[1]] * 3


def test_the_semantic_state_is_the_features_times_the_text_attention(model: SamModel, cases: list[AgentImage]) -> None:
    attention = np.random.default_rng(0).random((16, 16))
    environment = Environment(model, [AgentImage(cases[1].embedding, attention=attention)], GAME)
    expected = cases[1].embedding.features * torch.from_numpy(attention.reshape(8, 2, 8, 2).mean((1, 3))).float()
    assert environment.semantic is not None
    torch.testing.assert_close(environment.semantic[0], expected)


def test_step_t_truncates_and_nothing_follows(model: SamModel, cases: list[AgentImage]) -> None:
    environment = Environment(model, cases, GAME)
    environment.reset(randoms())
    assert [environment.step([0, 0, 0]).truncated for _ in range(4)] == [False, False, False, True]
    with pytest.raises(InputError, match="call reset"):
        environment.step([0, 0, 0])
    environment.reset(randoms())
    environment.step([0, 0, 0])


def test_an_action_can_be_taken_once_only_if_that_is_asked_for(model: SamModel, cases: list[AgentImage]) -> None:
    environment = Environment(model, cases, EnvironmentSettings(canvas=80, patch=20, steps=4, mask_taken=True))
    first = environment.reset(randoms())
    state = environment.step([3, 4, 5]).state
    assert first.available.all()
    assert [row.nonzero().flatten().tolist() for row in ~state.available] == [[3], [4], [5]]
    with pytest.raises(InputError, match="taken before"):
        environment.step([3, 0, 0])
    assert environment.reset(randoms()).available.all()


def test_going_on_with_some_images_changes_nothing_for_them(model: SamModel, cases: list[AgentImage]) -> None:
    whole, part = Environment(model, cases, GAME), Environment(model, cases, GAME)
    for environment in (whole, part):
        environment.reset(randoms())
        environment.step([1, 2, 3])
    part.keep([2, 0])
    expected, found = whole.step([4, 5, 6]), part.step([6, 4])
    torch.testing.assert_close(found.state.product, expected.state.product[[2, 0]], rtol=1e-4, atol=1e-4)
    assert found.rewards is not None
    assert expected.rewards is not None
    assert torch.equal(found.rewards, expected.rewards[[2, 0]])
    torch.testing.assert_close(part.iou(), whole.iou()[[2, 0]])
    np.testing.assert_allclose(part.points, whole.points[[2, 0]])


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([16, 0, 0], "numbered from 0 to 15"),
        ([-1, 0, 0], "numbered from 0 to 15"),
        ([0, 0], "one action"),
        ([0.5, 0, 0], "one action"),
    ],
)
def test_an_action_that_does_not_exist_is_refused(
    model: SamModel, cases: list[AgentImage], actions: list[float], message: str
) -> None:
    environment = Environment(model, cases, GAME)
    environment.reset(randoms())
    with pytest.raises(InputError, match=message):
        environment.step(actions)
    assert environment.points.shape == (3, 2, 2)


def test_cases_that_cannot_be_played_are_refused(model: SamModel, cases: list[AgentImage]) -> None:
    embedding, truth = cases[0].embedding, cases[0].truth
    assert truth is not None
    with pytest.raises(InputError, match="1 of 2 images have a truth"):
        Environment(model, [AgentImage(embedding, truth), AgentImage(embedding)], GAME)
    with pytest.raises(InputError, match="of the image's size"):
        Environment(model, [AgentImage(embedding, truth.T)], GAME)
    with pytest.raises(InputError, match="finite"):
        Environment(model, [AgentImage(embedding, truth, np.full((4, 4), np.nan))], GAME)
    for one_class in (np.zeros_like(truth), np.ones_like(truth)):
        with pytest.raises(InputError, match="all foreground or all background"):
            Environment(model, [AgentImage(embedding, one_class)], GAME).reset(randoms(1))
    with pytest.raises(InputError, match="there is none"):
        Environment(model, [AgentImage(embedding)], GAME).reset(randoms(1))


def test_the_overlap_does_not_count_the_padding(model: SamModel, cases: list[AgentImage]) -> None:
    environment = Environment(model, cases[:1], GAME)
    environment.reset(randoms(1))
    truth = cases[0].truth
    assert environment.logits is not None
    assert truth is not None
    frame = torch.ones(1, 32, 32)  # rows 24 and below are padding of a 48×64 image
    rows = torch.nn.functional.interpolate(torch.from_numpy(truth)[None, None].float(), (24, 32), mode="area")
    frame[:, :24] = torch.where(rows[0] >= 0.5, 1.0, -1.0)
    environment.logits = frame
    assert environment.iou().item() == 1.0
