"""The environment: a batch of images that are prompted point by point; every step decodes all of them together.

It needs no reinforcement learning library. :mod:`adaptsam.alignsam.gymnasium_env` gives it Gymnasium's interface.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from adaptsam.alignsam.actions import Actions
from adaptsam.alignsam.alignsam_settings import EnvironmentSettings
from adaptsam.alignsam.segmenter import Encoder, Session, open_session
from adaptsam.alignsam.state import Canvas, State, map_to_canvas
from adaptsam.errors import InputError
from adaptsam.sam import Embedding

#: Gives the probability (B, h, w) that a place is foreground, from the spatial state s_t (B, c, h, w) and the semantic
#: state s_c (B, c, h, w) or None (Eq. 11 and 12).
Scorer = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, eq=False)
class AgentImage:
    """One image to prompt.

    Attributes:
        embedding: of the image.
        truth: bool (H, W), the target; None in use.
        attention: M_c, float (H', W') over the whole image at any resolution, 0 to 1; None without text.
    """

    embedding: Embedding
    truth: NDArray[np.bool_] | None = field(default=None, repr=False)
    attention: NDArray[np.floating] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Step:
    """Result of an action: next state, reward and masks.

    Attributes:
        state: the next one.
        rewards: float32 (B,), as ``EnvironmentSettings.reward`` says; None without truth.
        truncated: T steps were made. Nothing ever ends by itself.
        hits: bool (B,), on the CPU, whether the point is on the target; None without truth.
    """

    state: State
    rewards: Tensor | None
    truncated: bool
    hits: Tensor | None = None


class Environment:
    """B images, each with its prompts so far.

    Args:
        model: frozen.
        cases: the images; all of them with truth, or none, and likewise with attention.
        settings: the actions and the number of steps.
        scorer: labels the chosen points, and gives the first pair on images without truth; None calls every chosen
            point foreground.
        session: makes the segmenter that is prompted; None for the model's own decoder.

    Attributes:
        actions: the patches.
        features: float32 (B, c, h, w), on the canvas.
        semantic: s_c, float32 (B, c, h, w), or None without attention.
        target: y', float32 (B, h, w), the share of each cell that is foreground; None without truth.
        points: (B, n, 2), x then y in pixels of each image, in the order in which they were given.
        labels: (B, n), 1 for foreground and 0 for background.
        logits: float32 (B, 4h, 4w), of the mask so far; None before any prompt.

    Raises:
        InputError: there is no image, or a truth is not of its image's size, or only some images have one.

    Example:
        >>> environment = Environment(model, [Case(embedding, truth)])  # doctest: +SKIP
        >>> state = environment.reset([np.random.default_rng(0)])  # doctest: +SKIP
        >>> step = environment.step([44])  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Encoder,
        cases: Sequence[AgentImage],
        settings: EnvironmentSettings | None = None,
        *,
        scorer: Scorer | None = None,
        session: Session | None = None,
    ) -> None:
        _check(cases)
        self.model = model
        self.cases = list(cases)
        self.settings = settings or EnvironmentSettings()
        self.actions = Actions.of(self.settings)
        self._scorer = scorer
        embeddings = [case.embedding for case in cases]
        self._session = open_session(model, embeddings, session)
        self._canvas = Canvas(embeddings, model.image_size, model.device)
        stacked = torch.stack([embedding.features.to(model.device) for embedding in embeddings])
        self.features = self._canvas.stretch(stacked)
        self.semantic = self._semantic_state()
        truths = [case.truth for case in cases if case.truth is not None]
        self.target = self._on_canvas(truths) if truths else None
        self._hits = torch.from_numpy(np.stack([self.actions.look_up(t) for t in truths])) if truths else None
        self._low_truth: Tensor | None = None
        self._mask: Tensor
        self._available: Tensor
        self._chosen: Tensor
        self.points: NDArray[np.float64]
        self.labels: NDArray[np.int64]
        self.logits: Tensor | None
        self._start()

    def __len__(self) -> int:
        return len(self.cases)

    def reset(self, randoms: Sequence[np.random.Generator] | None = None, *, pair: bool = True) -> State:
        """Begin anew.

        Args:
            randoms: one for each image: the first pair is a random pixel of the target and one beside it (P_0 of
                Algorithm 1). None: the pair is where the scorer gives the highest and the lowest score with M = 1;
                without a scorer there is no pair, and M stays 1 until the first action.
            pair: False begins without one whatever there is.

        Raises:
            InputError: a pair shall come from a truth that is missing or has one class only.
        """
        self._start()
        given = None
        if not pair:
            return self.state
        if randoms is not None:
            given = [_random_pair(case, random) for case, random in zip(self.cases, randoms, strict=True)]
        elif self._scorer is not None:
            given = self._scored_pair(self._scorer)
        if given is not None:
            labels = np.tile([1, 0], (len(self), 1))
            self._prompt(np.stack(given), labels)
        return self.state

    def step(self, actions: Tensor | ArrayLike) -> Step:
        """Give one point on every image.

        Args:
            actions: (B,), the number of a patch for each image.

        Raises:
            InputError: the episode is over or not begun, or an action does not exist or is not available.
        """
        chosen = self._checked_actions(actions)
        rows = np.arange(len(self))
        labels = self._label(chosen)
        points = np.stack([self.actions.points(case.embedding.original_size)[a] for case, a in self._pairs(chosen)])
        before = self._overlap_so_far() if self._hits is not None and self.settings.reward == "overlap" else None
        self._prompt(points[:, None], labels[:, None])
        if self.settings.mask_taken:
            self._available[rows, chosen] = False
        self._step += 1
        hits = None if self._hits is None else self._hits[rows, chosen]
        rewards = None if hits is None else self._rewards(hits, chosen, before)
        self._chosen[rows, chosen] = True
        return Step(self.state, rewards, self.over, hits)

    def give(self, points: NDArray[np.float64], labels: NDArray[np.int64], steps: int) -> State:
        """Prompts that somebody else chose, before the agent goes on from them.

        Args:
            points: (B, n, 2), x then y in pixels of each image.
            labels: (B, n), 1 for foreground and 0 for background.
            steps: how many of T they count for.
        """
        self._prompt(points, labels)
        self._step += steps
        if self.settings.mask_taken:
            for row, case in enumerate(self.cases):
                centres = self.actions.points(case.embedding.original_size)
                near = np.abs(centres[:, None] - points[row][None]).max(axis=-1) < 0.5
                self._available[row, torch.from_numpy(near.any(axis=1))] = False
        return self.state

    @property
    def over(self) -> bool:
        """Whether all T steps were made."""
        return self._step >= self.settings.steps

    @property
    def predicted_iou(self) -> Tensor | None:
        """The segmenter's own estimate of its masks' intersection over union, float32 (B,); None where it has none."""
        return self._session.iou

    @property
    def state(self) -> State:
        """The current state of the episode."""
        return State(self.features, self._mask, self._available.to(self.model.device, copy=True))

    def iou(self) -> Tensor:
        """The intersection over union of mask and truth at the decoder's resolution, float32 (B,).

        Raises:
            InputError: there is no truth, or no prompt yet.
        """
        if self.target is None or self.logits is None:
            raise InputError("An intersection over union needs a truth and at least one prompt.")
        if self._low_truth is None:
            self._low_truth = torch.stack([self._at_low_resolution(case) for case in self.cases])
        found, truth = self.logits > 0, self._low_truth > 0
        found = found & (self._low_truth >= 0)
        union = (found | truth).sum((-2, -1))
        return torch.where(union > 0, (found & truth).sum((-2, -1)) / union.clamp(min=1), 1.0)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the images; the others are forgotten."""
        kept = list(rows)
        self.cases = [self.cases[row] for row in kept]
        self._session.keep(kept)
        self._canvas.keep(kept)
        self.points, self.labels = self.points[kept], self.labels[kept]
        self.features, self._mask, self._available = self.features[kept], self._mask[kept], self._available[kept]
        self._chosen = self._chosen[kept]
        for name in ("semantic", "target", "logits", "_hits", "_low_truth"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name)[kept])

    def _start(self) -> None:
        count = len(self)
        self._session.restart()
        self._mask = torch.ones_like(self.features[:, 0])
        self._available = torch.ones(count, len(self.actions), dtype=torch.bool)
        self._chosen = torch.zeros_like(self._available)
        self.points, self.labels = np.zeros((count, 0, 2)), np.zeros((count, 0), np.int64)
        self.logits = None
        self._step = 0

    def _prompt(self, points: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        self._session.add(points, labels)
        self.points = np.concatenate([self.points, points], axis=1)
        self.labels = np.concatenate([self.labels, labels], axis=1)
        self.logits = self._session.decode()
        self._mask = self._canvas.probability(self.logits)

    def _rewards(self, hits: Tensor, chosen: NDArray[np.int64], before: Tensor | None) -> Tensor:
        if before is not None:
            return self.settings.steps * (self._overlap_so_far() - before)
        if self.settings.reward == "coverage":
            hits = hits & ~self._chosen[np.arange(len(self)), chosen]
        return torch.where(hits, 1.0, -1.0).to(self.model.device)

    def _overlap_so_far(self) -> Tensor:
        """Overlap of the masks so far, float32 (B,); 0 before any prompt."""
        return torch.zeros(len(self), device=self.model.device) if self.logits is None else self.iou()

    def _label(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        if self._scorer is None:
            return np.ones(len(self), np.int64)
        score = self._scorer(self.state.product, self.semantic).flatten(1).cpu().numpy()
        cells = self.actions.cells(self._grid)[chosen]
        return (score[np.arange(len(self)), cells] > 0.5).astype(np.int64)

    def _scored_pair(self, scorer: Scorer) -> list[NDArray[np.float64]]:
        score = scorer(self.state.product, self.semantic).flatten(1)
        cells = torch.stack([score.argmax(1), score.argmin(1)], dim=1).cpu().numpy()
        every_cell = Actions(*self._grid)
        return [every_cell.points(case.embedding.original_size)[pair] for case, pair in self._pairs(cells)]

    def _pairs(self, values: NDArray[np.int64]) -> list[tuple[AgentImage, NDArray[np.int64]]]:
        return list(zip(self.cases, values, strict=True))

    def _checked_actions(self, actions: Tensor | ArrayLike) -> NDArray[np.int64]:
        chosen = np.asarray(actions.cpu() if isinstance(actions, Tensor) else actions)
        if self.over:
            raise InputError("The episode is over; call reset.")
        if chosen.shape != (len(self),) or not np.issubdtype(chosen.dtype, np.integer):
            raise InputError(f"Give one action, a whole number, to each of the {len(self)} images.")
        if ((chosen < 0) | (chosen >= len(self.actions))).any():
            raise InputError(f"Actions are numbered from 0 to {len(self.actions) - 1}, not {chosen.tolist()}.")
        if not self._available[np.arange(len(self)), chosen].all():
            raise InputError("An action was taken before, and 'mask_taken' is on; choose an available one.")
        return chosen.astype(np.int64)

    def _semantic_state(self) -> Tensor | None:
        maps = [case.attention for case in self.cases if case.attention is not None]
        return self.features * self._on_canvas(maps)[:, None] if maps else None

    def _on_canvas(self, maps: Sequence[NDArray[np.bool_] | NDArray[np.floating]]) -> Tensor:
        return torch.stack([map_to_canvas(one, self._grid) for one in maps]).to(self.model.device)

    def _at_low_resolution(self, case: AgentImage) -> Tensor:
        """The truth in the frame of the logits (4h, 4w): 1 foreground, 0 background, -1 outside of the image."""
        assert case.truth is not None
        side = 4 * self.model.grid_size
        height, width = (max(1, round(side * x / self.model.image_size)) for x in case.embedding.input_size)
        frame = torch.full((side, side), -1.0)
        frame[:height, :width] = map_to_canvas(case.truth, (height, width)).ge(0.5).float()
        return frame.to(self.model.device)

    @property
    def _grid(self) -> tuple[int, int]:
        return self.features.shape[-2], self.features.shape[-1]


def _check(cases: Sequence[AgentImage]) -> None:
    for name, what in (("truth", "a truth"), ("attention", "an attention map")):
        given = sum(getattr(case, name) is not None for case in cases)
        if 0 < given < len(cases):
            raise InputError(f"{given} of {len(cases)} images have {what}; give one to all images or to none.")
    for case in cases:
        if case.truth is not None and (case.truth.dtype != bool or case.truth.shape != case.embedding.original_size):
            raise InputError(
                f"A truth must be a bool mask of the image's size {case.embedding.original_size}, not "
                f"{case.truth.dtype} {case.truth.shape}."
            )
        if case.attention is not None and (case.attention.ndim != 2 or not np.isfinite(case.attention).all()):
            raise InputError("An attention map must be a plane of finite numbers, one for each place of the image.")


def _random_pair(case: AgentImage, random: np.random.Generator) -> NDArray[np.float64]:
    if case.truth is None:
        raise InputError("The first pair of points shall come from the truth, but there is none.")
    if case.truth.all() or not case.truth.any():
        raise InputError("A mask is all foreground or all background; leave that image out of the training.")
    chosen = [random.choice(np.flatnonzero(mask)) for mask in (case.truth, ~case.truth)]
    rows, columns = np.unravel_index(chosen, case.truth.shape)
    return np.stack([columns, rows], axis=1).astype(np.float64)
