"""Using an agent: it prompts SAM on new images, and nobody clicks. No truth is looked at, no torchrl is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from adaptsam.alignsam.agent_network import Agent
from adaptsam.alignsam.attention_maps import Attention, attention_maps
from adaptsam.alignsam.environment import AgentImage, Environment
from adaptsam.alignsam.segmenter import Embedder, Encoder, Session
from adaptsam.errors import InputError
from adaptsam.progress import Progress, silent
from adaptsam.sam import Embedding


@dataclass(frozen=True)
class UseSettings:
    """Settings of an agent's use; the rules of the game are in the agent's own settings.

    Attributes:
        greedy: take the likeliest action, which always gives the same mask; False draws actions as in training (Eq. 5).
        mask_taken: an action can be taken once only; None for as in training. The reward does not ask for new places,
            so that a trained agent would point at the safest one again and again, and the mask would not improve.
        stop_early: stop on an image whose mask does not change any more.
        unchanged: the intersection over union of two masks that counts as no change.
        patience: for so many steps.
        batch: images that are prompted together.
        seed: of drawn actions.
        steps: T, the points after the first pair; None for as many as the agent's own settings say.
    """

    greedy: bool = True
    mask_taken: bool | None = True
    stop_early: bool = False
    unchanged: float = 0.99
    patience: int = 2
    batch: int = 16
    seed: int = 0
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and (type(self.steps) is not int or self.steps < 1):
            raise InputError(f"An agent makes a whole number of steps, 1 at least, not {self.steps!r}.")
        if self.patience < 1 or self.batch < 1 or not 0 < self.unchanged <= 1:
            raise InputError("Patience and batch must be at least 1, and 'unchanged' between 0 and 1.")


PAPER_USE = UseSettings(greedy=False, mask_taken=None)
"""Actions are drawn as in training, as often as they come."""


@dataclass(frozen=True)
class Evidence:
    """Evidence of agent and SAM for a mask, each from 0 to 1.

    Attributes:
        score: the mean of y_r under the mask, from the image alone (M = 1): what the recalibration module holds to be
            the target, whatever the prompts. 1 without recalibration; 0 for an empty mask.
        predicted_iou: SAM's estimate, clipped; 1 of a segmenter that makes none.
        stability: the intersection over union of the masks at logits above 1 and above -1, as SAM measures it.
    """

    score: float
    predicted_iou: float
    stability: float

    @property
    def total(self) -> float:
        """The geometric mean of the three, so that none makes up for another that is missing."""
        return float((self.score * self.predicted_iou * self.stability) ** (1 / 3))


@dataclass(frozen=True, eq=False)
class Prompted:
    """One image as the agent left it.

    Attributes:
        logits: float32 (H, W), above 0 is the target.
        points: (n, 2), x then y in pixels of the image, in order: the first pair, then one a step.
        labels: (n,), 1 for foreground and 0 for background.
        first: how many points were there before the first step: 2, or 0 without recalibration.
        evidence: that the target is on the image at all, and this mask is it.
        step_masks: bool (steps, H, W), the mask after the first pair (if there was one) and after each further point;
            None where they were not requested.
        novelty: of the image, where the agent's file tells which kind it knows; see
            :class:`adaptsam.alignsam.novelty.Novelty`.
    """

    logits: NDArray[np.float32] = field(repr=False)
    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    first: int
    evidence: Evidence
    step_masks: NDArray[np.bool_] | None = field(default=None, repr=False)
    novelty: float | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The segmentation, bool (H, W)."""
        return self.logits > 0


def prompt(
    store: Embedder,
    agent: Agent,
    images: Sequence[NDArray[np.uint8]],
    settings: UseSettings | None = None,
    *,
    attention: Attention | None = None,
    keep_steps: bool = True,
    session: Session | None = None,
    progress: Progress = silent,
) -> list[Prompted]:
    """Segment an agent's target on images.

    Args:
        store: of the model that the agent was trained with.
        agent: as it came out of a training.
        images: uint8 (H, W) or (H, W, 3), of any sizes.
        settings: None for the defaults.
        attention: M_c of the images, for the explicit branch.
        keep_steps: give the mask after each step as well.
        session: makes the segmenter that the agent was trained with; None for the model's own decoder.
        progress: receives the number of finished images; may cancel.

    Returns:
        One entry for each image.

    Raises:
        InputError: an image cannot be read, the agent is for a SAM of another shape, or the explicit branch has no
            attention.
    """
    maps = attention_maps(attention, images, agent.settings.branch)
    size = (settings or UseSettings()).batch
    results: list[Prompted] = []
    for start in range(0, len(images), size):
        progress("prompt", start, len(images))
        embeddings = store.get(images[start : start + size])
        cases = [
            AgentImage(one, attention=own) for one, own in zip(embeddings, maps[start : start + size], strict=True)
        ]
        results += prompt_cases(store.model, agent, cases, settings, keep_steps=keep_steps, session=session)
    progress("prompt", len(images), len(images))
    return results


def prompt_cases(
    model: Encoder,
    agent: Agent,
    cases: Sequence[AgentImage],
    settings: UseSettings | None = None,
    *,
    keep_steps: bool = False,
    session: Session | None = None,
) -> list[Prompted]:
    """Prompt encoded images, all in one batch, like :func:`prompt`. No truth is read."""
    settings = settings or UseSettings()
    environment = _environment(model, agent, cases, settings, session)
    return _play(environment, agent, settings, keep_steps)


def go_on(
    model: Encoder,
    agent: Agent,
    case: AgentImage,
    points: NDArray[np.float64],
    labels: NDArray[np.int64],
    settings: UseSettings | None = None,
    *,
    play: bool = True,
    session: Session | None = None,
) -> Prompted:
    """One image from prompts that a person has changed: the agent adds points until T steps are made.

    Args:
        model: the SAM that the agent was trained with.
        agent: as it came out of a training.
        case: the image, encoded.
        points: (n, 2), x then y in pixels of the image. The first two count as the first pair, where the agent begins
            with one; each further one counts as a step.
        labels: (n,), 1 for foreground and 0 for background.
        settings: None for the defaults.
        play: False only decodes the prompts that are given.
        session: as in :func:`prompt`.

    Returns:
        As :func:`prompt_cases`, with the mask after each step.

    Raises:
        InputError: there is no point, points and labels do not match, or the agent is for a SAM of another shape.
    """
    settings = settings or UseSettings()
    points, labels = np.asarray(points, float).reshape(-1, 2), np.asarray(labels, np.int64).ravel()
    if not len(points) or len(points) != len(labels) or not np.isin(labels, (0, 1)).all():
        raise InputError("An agent goes on from at least one prompt, each with its label, 1 or 0.")
    environment = _environment(model, agent, [case], settings, session)
    return _play(environment, agent, settings, True, (points, labels), play)[0]


def _environment(
    model: Encoder, agent: Agent, cases: Sequence[AgentImage], settings: UseSettings, session: Session | None
) -> Environment:
    """The game as it is played in use, on images whose truth is not looked at."""
    if agent.channels != model.embed_dim:
        raise InputError(
            f"The agent reads features of {agent.channels} channels, but this SAM makes {model.embed_dim}; "
            "load the SAM that the agent was trained with."
        )
    agent.to(model.device)
    game = agent.settings.in_use
    if settings.steps is not None:
        game = replace(game, steps=settings.steps, mask_taken=game.mask_taken and settings.steps <= game.side**2)
    if settings.mask_taken is not None:
        # There may be more steps than actions, in small grids; then an action must come twice.
        game = replace(game, mask_taken=settings.mask_taken and game.steps <= game.side**2)
    scorer = agent.score if agent.settings.labels == "recalibration" else None
    blind = [replace(case, truth=None) for case in cases]
    return Environment(model, blind, game, scorer=scorer, session=session)


def _play(
    environment: Environment,
    agent: Agent,
    settings: UseSettings,
    keep_steps: bool,
    given: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None,
    play: bool = True,
) -> list[Prompted]:
    generator = None if settings.greedy and agent.settings.policy == "agent" else _generator(settings.seed)
    records = [_Record(case.embedding, keep_steps) for case in environment.cases]
    rows = list(range(len(records)))
    seen = _seen(environment, agent)
    if given is None:
        state = environment.reset()
        first = environment.points.shape[1]
        _note(records, environment, seen, rows)
    else:
        first = min(len(given[0]), 2 if agent.settings.labels == "recalibration" else 0)
        for start, stop in _pieces(len(given[0]), first):
            counted = 0 if stop == first else 1
            state = environment.give(given[0][None, start:stop], given[1][None, start:stop], counted)
            _note(records, environment, seen, rows)
    while play and rows and not environment.over:
        state = environment.step(agent.choose(state, generator).actions).state
        _note(records, environment, seen, rows)
        if settings.stop_early and not environment.over:
            going = [place for place, row in enumerate(rows) if not records[row].settled(settings)]
            if len(going) < len(rows):
                rows = [rows[place] for place in going]
                if rows:
                    environment.keep(going)
                    state = environment.state
    return [record.result(environment.model, first) for record in records]


def _pieces(count: int, first: int) -> list[tuple[int, int]]:
    """Prompts as they are given: the first ones together, then one by one."""
    head = [(0, first)] if first else []
    return head + [(number, number + 1) for number in range(first, count)]


class _Record:
    """One image while it is prompted."""

    def __init__(self, embedding: Embedding, keep_steps: bool) -> None:
        self._embedding = embedding
        self._keep_steps = keep_steps
        self._logits: list[torch.Tensor] = []
        self._points, self._labels = np.zeros((0, 2)), np.zeros(0, np.int64)
        self._unchanged: list[float] = []
        self._evidence = Evidence(0.0, 0.0, 0.0)

    def note(
        self, points: NDArray[np.float64], labels: NDArray[np.int64], logits: torch.Tensor, evidence: Evidence
    ) -> None:
        self._points, self._labels, self._evidence = points, labels, evidence
        if self._logits:
            self._unchanged.append(_overlap(self._logits[-1] > 0, logits > 0))
            if not self._keep_steps:
                self._logits.clear()
        # A copy, so that the batch does not live as long as one of its images.
        self._logits.append(logits.clone())

    def settled(self, settings: UseSettings) -> bool:
        last = self._unchanged[-settings.patience :]
        return len(last) == settings.patience and min(last) >= settings.unchanged

    def result(self, model: Encoder, first: int) -> Prompted:
        upscaled = model.upscale(torch.stack(self._logits), self._embedding).float().cpu().numpy()
        steps = upscaled > 0 if self._keep_steps else None
        return Prompted(upscaled[-1].copy(), self._points, self._labels, first, self._evidence, steps)


def _seen(environment: Environment, agent: Agent) -> torch.Tensor:
    """y_r with M = 1, (B, h, w): what the recalibration module sees on images that nobody has prompted."""
    if agent.settings.labels == "recalibration":
        return agent.score(environment.features, environment.semantic)
    return torch.ones_like(environment.features[:, 0])


def _note(records: Sequence[_Record], environment: Environment, seen: torch.Tensor, rows: Sequence[int]) -> None:
    if environment.logits is None:
        return
    evidence = _evidence(environment, seen[list(rows)])
    for place, row in enumerate(rows):
        prompts = environment.points[place], environment.labels[place]
        records[row].note(*prompts, environment.logits[place], evidence[place])


def _evidence(environment: Environment, seen: torch.Tensor) -> list[Evidence]:
    logits, weight = environment.logits, environment.state.mask
    assert logits is not None
    score = (seen * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-6)
    score = torch.where((logits > 0).any(2).any(1), score, 0.0)
    sure, possible = (logits > 1).sum((1, 2)), (logits > -1).sum((1, 2))
    stability = sure / possible.clamp(min=1)
    told = environment.predicted_iou
    columns = (score, torch.ones_like(score) if told is None else told.clamp(0, 1), stability)
    return [Evidence(*row) for row in torch.stack(columns, 1).tolist()]


def _overlap(first: torch.Tensor, second: torch.Tensor) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
