"""A session of growing prompts against decoding everything anew."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adaptsam.errors import InputError
from adaptsam.sam import DecodeRequest, Embedding, PromptSession, SamModel

Images = list[NDArray[np.uint8]]


def decoded_anew(model: SamModel, embeddings: list[Embedding], points: np.ndarray, labels: np.ndarray) -> torch.Tensor:
    requests = [DecodeRequest(e, p, q) for e, p, q in zip(embeddings, points, labels, strict=True)]
    return torch.stack([one.logits[0] for one in model.decode(requests)])


def test_every_step_equals_decoding_all_points_so_far(model: SamModel, images: Images) -> None:
    embeddings = model.embed(images)
    session = PromptSession(model.sam, embeddings)
    random = np.random.default_rng(0)
    points, labels = np.zeros((3, 0, 2)), np.zeros((3, 0), int)
    for count in (2, 1, 1, 3):
        new, kinds = random.uniform(0, 30, (3, count, 2)), random.integers(0, 2, (3, count))
        points, labels = np.concatenate([points, new], axis=1), np.concatenate([labels, kinds], axis=1)
        session.add(new, kinds)
        torch.testing.assert_close(
            session.decode(), decoded_anew(model, embeddings, points, labels), rtol=1e-4, atol=1e-4
        )


def test_a_session_goes_on_with_some_of_its_images_and_can_begin_anew(model: SamModel, images: Images) -> None:
    embeddings = model.embed(images)
    session = PromptSession(model.sam, embeddings)
    points, labels = np.full((3, 1, 2), 12.0), np.ones((3, 1), int)
    session.add(points, labels)
    everything = session.decode()
    session.keep([2, 0])
    torch.testing.assert_close(session.decode(), everything[[2, 0]], rtol=1e-4, atol=1e-4)
    session.restart()
    session.add(points[:2], 1 - labels[:2])
    anew = decoded_anew(model, [embeddings[2], embeddings[0]], points[:2], 1 - labels[:2])
    torch.testing.assert_close(session.decode(), anew, rtol=1e-4, atol=1e-4)


def test_a_session_refuses_what_does_not_fit(model: SamModel, images: Images) -> None:
    with pytest.raises(InputError, match="at least one image"):
        PromptSession(model.sam, [])
    with pytest.raises(InputError, match="encode the image with the model"):
        PromptSession(model.sam, [Embedding(torch.zeros(3, 4, 4), (64, 64), (64, 64))])
    session = PromptSession(model.sam, model.embed(images))
    with pytest.raises(InputError, match="2 lists of points were given for 3 images"):
        session.add(np.zeros((2, 1, 2)), np.ones((2, 1), int))
    with pytest.raises(InputError, match="not finite"):
        session.add(np.full((3, 1, 2), np.nan), np.ones((3, 1), int))
