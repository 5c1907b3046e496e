"""Algorithm 1 over a set of images with masks: actor, critic and recalibration module learn, SAM does not.

In every episode all images are prompted once, in batches and in a new order. A batch gives a memory of T steps, from
which actor and critic learn for K epochs; the recalibration module learns after every step, and once before the first,
where M = 1, because that is what it sees first on a new image. All randomness follows from the seed and the episode's
number, so that a training that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptsam.alignsam.agent_checkpoint import read_training, write_training
from adaptsam.alignsam.agent_network import Agent
from adaptsam.alignsam.alignsam_settings import AlignSamSettings
from adaptsam.alignsam.attention_maps import Attention, attention_maps
from adaptsam.alignsam.environment import AgentImage, Environment
from adaptsam.alignsam.ppo import PPO, Losses, Memory
from adaptsam.alignsam.recalibration_loss import recalibration_loss
from adaptsam.alignsam.segmenter import Embedder, Session
from adaptsam.errors import InputError, TrainingError
from adaptsam.progress import Progress, silent

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """An image, uint8 (H, W) or (H, W, 3), and the target on it, bool (H, W)."""

    image: NDArray[np.uint8] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True)
class Episode:
    """Means of one episode over the images.

    Attributes:
        mean_return: the sum of the T rewards, -T to T.
        iou: after the first pair and after each step, at the decoder's resolution; T + 1 values.
        label_accuracy: the share of chosen points that got their true label.
        entropy: of the policy, in nats.
        loss_actor, loss_critic, clip_fraction: of the updates; 0 without reinforcement learning.
        loss_recalibration: 0 without recalibration.
    """

    mean_return: float
    iou: tuple[float, ...]
    label_accuracy: float
    entropy: float
    loss_actor: float
    loss_critic: float
    clip_fraction: float
    loss_recalibration: float


@dataclass(frozen=True, eq=False)
class Trained:
    """An agent and how it came about."""

    agent: Agent
    history: tuple[Episode, ...]


class Scalars(Protocol):
    """Writer of learning curves; TensorBoard's ``SummaryWriter`` is one."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object: ...


def train(
    store: Embedder,
    images: Sequence[TrainingImage],
    settings: AlignSamSettings | None = None,
    *,
    attention: Attention | None = None,
    without: Sequence[NDArray[np.uint8]] = (),
    checkpoint: str | Path | None = None,
    progress: Progress = silent,
    scalars: Scalars | None = None,
    after_episode: Callable[[int, Trained], None] | None = None,
    session: Session | None = None,
) -> Trained:
    """Train an agent for one target.

    Args:
        store: of the model that the agent shall prompt; every image is encoded once.
        images: of any sizes; those without foreground or without background are left out, with a warning.
        settings: None for the paper's, implicit.
        attention: M_c of the images, for the explicit branch.
        without: images on which the target is not, for ``learn_absence``.
        checkpoint: a file that is replaced after every episode. If it exists, the training goes on where it ended.
        progress: told the number of finished episodes, at every step of the game and of the optimiser, so that it may
            cancel soon; the checkpoint of the last episode stays.
        scalars: is given the figures of every episode.
        after_episode: called with the number of finished episodes and what there is by then, to validate or draw.
        session: makes the segmenter that is prompted; None for the model's own decoder.

    Returns:
        The agent, in evaluation mode, and the history of all episodes.

    Raises:
        InputError: no image has foreground and background, a mask does not fit its image, the explicit branch has no
            attention, absence shall be learnt from no image, or the checkpoint is of another training.
        TrainingError: something became infinite or NaN. The last good agent is in the checkpoint and in ``last_good``.
    """
    settings = settings or AlignSamSettings()
    cases = _cases(store, images, settings, attention, progress)
    absent = _absent(store, without, settings, attention, progress) if settings.training.learn_absence else []
    path = None if checkpoint is None else Path(checkpoint)
    fingerprint = _fingerprint(store, images, without if absent else (), cases, settings)
    run = _Run(store, cases, absent, settings, fingerprint, session)
    if path is not None and path.exists():
        run.restore(read_training(path), path)
    episodes = settings.training.episodes

    def tick() -> None:
        progress("train", len(run.history), episodes)

    while len(run.history) < episodes:
        tick()
        before = copy.deepcopy(run.agent.state_dict())
        try:
            episode = run.play(tick)
        except TrainingError as error:
            run.agent.load_state_dict(before)
            kept = f"{error} The agent after {len(run.history)} episodes was kept."
            raise TrainingError(kept, last_good=run.result) from error
        run.history.append(episode)
        if path is not None:
            write_training(path, run.contents)
        if scalars is not None:
            _write_scalars(scalars, episode, len(run.history))
        if after_episode is not None:
            after_episode(len(run.history), run.result)
    progress("train", episodes, episodes)
    return run.result


class _Run:
    """A training between two episodes."""

    def __init__(
        self,
        store: Embedder,
        cases: Sequence[AgentImage],
        absent: Sequence[AgentImage],
        settings: AlignSamSettings,
        fingerprint: str,
        session: Session | None,
    ) -> None:
        self.model, self._session = store.model, session
        self.cases, self.absent = cases, absent
        self.settings = settings
        self.agent = Agent(settings, self.model.embed_dim, settings.training.seed).to(self.model.device).eval()
        self.ppo = PPO(self.agent.actor, self.agent.critic, settings.training)
        self.optimiser = torch.optim.Adam(self.agent.recalibration.parameters(), lr=settings.training.learning_rate)
        self.history: list[Episode] = []
        self._fingerprint = fingerprint

    @property
    def result(self) -> Trained:
        return Trained(self.agent, tuple(self.history))

    @property
    def contents(self) -> dict[str, Any]:
        """All that a later process needs to go on."""
        return {
            "fingerprint": self._fingerprint,
            "agent": self.agent.state_dict(),
            "ppo": self.ppo.optimiser.state_dict(),
            "recalibration": self.optimiser.state_dict(),
            "history": [asdict(episode) for episode in self.history],
        }

    def restore(self, contents: dict[str, Any], path: Path) -> None:
        if contents.get("fingerprint") != self._fingerprint:
            raise InputError(
                f"{path.name} is of a training with other images, settings or another SAM; give another file, or "
                "remove it to begin anew."
            )
        self.agent.load_state_dict(contents["agent"])
        self.ppo.optimiser.load_state_dict(contents["ppo"])
        self.optimiser.load_state_dict(contents["recalibration"])
        self.history = [Episode(**{**one, "iou": tuple(one["iou"])}) for one in contents["history"]]

    def play(self, tick: Callable[[], None]) -> Episode:
        """One episode with all images; ``tick`` is called at every step, and may raise."""
        seed = [self.settings.training.seed, len(self.history)]
        order = np.random.default_rng(seed).permutation(len(self.cases)).tolist()
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        size = self.settings.training.batch
        figures = []
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            randoms = [np.random.default_rng([*seed, row]) for row in rows]
            figures.append((len(rows), self._batch([self.cases[row] for row in rows], randoms, generator, tick)))
        if not all(parameter.isfinite().all() for parameter in self.agent.parameters()):
            raise TrainingError("A weight is not finite; lower the learning rate.")
        return _mean(figures)

    def _batch(
        self,
        cases: Sequence[AgentImage],
        randoms: Sequence[np.random.Generator],
        generator: torch.Generator,
        tick: Callable[[], None],
    ) -> Episode:
        scorer = self.agent.score if self.settings.labels == "recalibration" else None
        environment = Environment(self.model, cases, self.settings.environment, scorer=scorer, session=self._session)
        empty = self._empty(len(cases), randoms[0]) if scorer is not None else None
        # Before any point M is 1: so a new image is seen when its first pair is placed and its evidence is taken.
        losses = self._recalibrate(environment, environment.state.product, empty) if scorer is not None else []
        state = environment.reset(randoms)
        masks, ious, choices, available, rewards, hits = [state.mask], [environment.iou()], [], [], [], []
        truncated = False
        while not truncated:
            tick()
            choice = self.agent.choose(state, generator)
            before, step = state, environment.step(choice.actions)
            state, truncated = step.state, step.truncated
            if scorer is not None:
                losses += self._recalibrate(environment, before.product, empty)
            assert step.rewards is not None
            assert step.hits is not None
            choices.append(choice)
            available.append(before.available)
            rewards.append(step.rewards)
            hits.append(step.hits)
            masks.append(state.mask)
            ious.append(environment.iou())
        memory = Memory(
            environment.features,
            torch.stack(masks, 1),
            torch.stack(available, 1),
            torch.stack([choice.actions for choice in choices], 1),
            torch.stack([choice.log_probability for choice in choices], 1),
            torch.stack(rewards, 1),
        )
        learnt = self.ppo.update(memory, tick) if self.settings.policy == "agent" else Losses(0.0, 0.0, 0.0)
        labels = torch.from_numpy(environment.labels[:, -len(choices) :]) > 0
        return Episode(
            mean_return=float(memory.rewards.sum(1).mean()),
            iou=tuple(torch.stack(ious).mean(1).tolist()),
            label_accuracy=float((torch.stack(hits, 1) == labels).float().mean()),
            entropy=float(torch.stack([choice.entropy for choice in choices]).mean()),
            loss_actor=learnt.actor,
            loss_critic=learnt.critic,
            clip_fraction=learnt.clip_fraction,
            loss_recalibration=float(np.mean(losses)) if losses else 0.0,
        )

    def _empty(self, count: int, random: np.random.Generator) -> Environment | None:
        """Images without the target, as many as a batch has images; None where absence is not learnt."""
        if not self.absent:
            return None
        rows = random.permutation(len(self.absent))[:count]
        return Environment(
            self.model, [self.absent[row] for row in rows], self.settings.environment, session=self._session
        )

    def _recalibrate(self, environment: Environment, spatial: Tensor, empty: Environment | None) -> list[float]:
        """q updates (Eq. 13); returns the losses. Images without the target are seen as new ones are, with M = 1."""
        assert environment.target is not None
        losses = []
        for _ in range(self.settings.recalibration_updates):
            loss = recalibration_loss(self.agent.recalibration(spatial, environment.semantic), environment.target)
            if empty is not None:
                seen = self.agent.recalibration(empty.features, empty.semantic)
                loss = loss + recalibration_loss(seen, torch.zeros_like(seen))
            if not torch.isfinite(loss):
                raise TrainingError("The loss of the recalibration module is not finite; lower the learning rate.")
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            losses.append(loss.item())
        return losses


def _cases(
    store: Embedder,
    images: Sequence[TrainingImage],
    settings: AlignSamSettings,
    attention: Attention | None,
    progress: Progress,
) -> list[AgentImage]:
    if not images:
        raise InputError("No training image shows the target; check which structure, or value of the masks, is meant.")
    for one in images:
        if one.mask.shape != one.image.shape[:2]:
            raise InputError(f"A mask of {one.mask.shape} pixels does not fit its image of {one.image.shape[:2]}.")
    masks = [np.asarray(one.mask).astype(bool) for one in images]
    kept = [row for row, mask in enumerate(masks) if mask.any() and not mask.all()]
    if not kept:
        raise InputError(
            f"None of the {len(images)} training images has both foreground and background; give masks of the target."
        )
    if len(kept) < len(images):
        _log.warning(
            "%d of %d training images are left out: all foreground, or all background.",
            len(images) - len(kept),
            len(images),
        )
    pictures = [one.image for one in images]
    maps = attention_maps(attention, pictures, settings.branch)
    embeddings = store.get([pictures[row] for row in kept], progress)
    return [AgentImage(embedding, masks[row], maps[row]) for embedding, row in zip(embeddings, kept, strict=True)]


def _absent(
    store: Embedder,
    images: Sequence[NDArray[np.uint8]],
    settings: AlignSamSettings,
    attention: Attention | None,
    progress: Progress,
) -> list[AgentImage]:
    if not images:
        raise InputError("Absence cannot be learnt: there is no image without the target; give some, or leave it off.")
    maps = attention_maps(attention, images, settings.branch)
    return [AgentImage(one, attention=own) for one, own in zip(store.get(images, progress), maps, strict=True)]


def _fingerprint(
    store: Embedder,
    images: Sequence[TrainingImage],
    without: Sequence[NDArray[np.uint8]],
    cases: Sequence[AgentImage],
    settings: AlignSamSettings,
) -> str:
    """Fingerprint of all that a training depends on but the number of episodes: a training can be prolonged.

    Images stand for their embeddings, whose last digits may depend on the number of threads.
    """
    plain = settings.to_dict()
    del plain["training"]["episodes"], plain["steps_in_use"]
    digest = hashlib.sha256(f"{store.model.sha256} {plain}".encode())
    for one in images:
        digest.update(store.key(one.image).encode())
        digest.update(np.ascontiguousarray(one.mask).tobytes())
    for image in without:
        digest.update(store.key(image).encode())
    for case in cases:
        digest.update(b"" if case.attention is None else np.ascontiguousarray(case.attention).tobytes())
    return digest.hexdigest()


def _mean(figures: Sequence[tuple[int, Episode]]) -> Episode:
    """The mean of batches, weighted by their numbers of images."""
    weights = [count for count, _ in figures]

    def mean(values: Iterator[Any]) -> Any:
        return np.average(np.array(list(values)), axis=0, weights=weights).tolist()

    names = [name for name in asdict(figures[0][1]) if name != "iou"]
    single = {name: mean(getattr(one, name) for _, one in figures) for name in names}
    return Episode(iou=tuple(mean(one.iou for _, one in figures)), **single)


def _write_scalars(scalars: Scalars, episode: Episode, number: int) -> None:
    for name, value in asdict(episode).items():
        if name != "iou":
            scalars.add_scalar(f"train/{name}", value, number)
    for step, value in enumerate(episode.iou):
        scalars.add_scalar(f"train/iou/step_{step:02d}", value, number)
