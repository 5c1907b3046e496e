"""Proximal policy optimisation (Eq. 6 to 10) with torchrl's clipped objective and generalised advantage.

The typesetting of Eq. 8 and 9 is corrected after Schulman et al. (2017): the ratio is that of the new and the old
policy's probability of the same action at the same state, the clipping interval is [1 - ε, 1 + ε], and the product over
t means the expectation. Step T truncates an episode, so the value of the state after it is bootstrapped (Eq. 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Categorical

from adaptsam.alignsam.agent_network import Actor, Critic
from adaptsam.alignsam.alignsam_settings import TrainingSettings
from adaptsam.errors import NotInstalledError, TrainingError

try:
    from tensordict import TensorDict
    from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential, TensorDictModule
    from torchrl.objectives import ClipPPOLoss
    from torchrl.objectives.value.functional import generalized_advantage_estimate
except ModuleNotFoundError as error:
    raise NotInstalledError("Training an agent needs torchrl; run: pip install 'adaptsam[align]'.") from error


@dataclass(frozen=True, eq=False)
class Memory:
    """Memory of one episode: T steps of B images.

    Attributes:
        features: float32 (B, c, h, w).
        masks: float32 (B, T + 1, h, w), M of each state; the last one follows the last action.
        available: bool (B, T, N).
        actions: int64 (B, T).
        log_probability: float32 (B, T), of the actions when they were drawn.
        rewards: float32 (B, T).
    """

    features: Tensor
    masks: Tensor
    available: Tensor
    actions: Tensor
    log_probability: Tensor
    rewards: Tensor


@dataclass(frozen=True)
class Losses:
    """Means over the epochs of one update; ``clip_fraction`` is the share of actions whose ratio was clipped."""

    actor: float
    critic: float
    clip_fraction: float


class PPO:
    """Trains an actor and a critic on one memory after the other.

    Args:
        actor: π_θ.
        critic: V_θ.
        settings: γ, λ, ε, the number of epochs and the learning rate.
    """

    def __init__(self, actor: Actor, critic: Critic, settings: TrainingSettings) -> None:
        self.critic = critic
        self.settings = settings
        policy = ProbabilisticTensorDictSequential(
            TensorDictModule(actor, in_keys=["features", "mask", "available"], out_keys=["logits"]),
            ProbabilisticTensorDictModule(in_keys=["logits"], out_keys=["action"], distribution_class=Categorical),
        )
        self.loss = ClipPPOLoss(
            policy,
            TensorDictModule(critic, in_keys=["features", "mask"], out_keys=["state_value"]),
            clip_epsilon=settings.clip,
            entropy_bonus=False,
            loss_critic_type="l2",
            critic_coeff=1.0,
        )
        self.loss.set_keys(sample_log_prob="log_probability")
        self.optimiser = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=settings.learning_rate)

    def update(self, memory: Memory, tick: Callable[[], None] = lambda: None) -> Losses:
        """K gradient steps; ``tick`` is called before each, and may raise.

        Raises:
            TrainingError: a loss is not finite; actor and critic are then of no use.
        """
        batch = self._batch(memory)
        sums = torch.zeros(3)
        for _ in range(self.settings.epochs):
            tick()
            found = self.loss(batch)
            total = found["loss_objective"] + found["loss_critic"]
            if not torch.isfinite(total):
                raise TrainingError("The loss of actor or critic is not finite; lower the learning rate.")
            self.optimiser.zero_grad(set_to_none=True)
            total.backward()
            self.optimiser.step()
            figures = (found["loss_objective"], found["loss_critic"], found["clip_fraction"])
            sums += torch.stack([figure.detach().cpu() for figure in figures])
        actor, critic, clipped = (sums / self.settings.epochs).tolist()
        return Losses(actor, critic, clipped)

    def _batch(self, memory: Memory) -> TensorDict:
        with torch.no_grad():
            values = self.critic(memory.features, memory.masks)
        advantage, action_value = advantages(values, memory.rewards, self.settings.gamma, self.settings.gae_lambda)
        return TensorDict(
            {
                "features": memory.features,
                "mask": memory.masks[:, :-1],
                "available": memory.available,
                "action": memory.actions,
                "log_probability": memory.log_probability,
                "advantage": advantage,
                "value_target": action_value,
            },
            batch_size=len(memory.features),
        )


def advantages(values: Tensor, rewards: Tensor, gamma: float, gae_lambda: float = 1.0) -> tuple[Tensor, Tensor]:
    """A_t and Q(s_t, a_t) of Eq. 6 and 7, both (B, T, 1), from the values (B, T + 1, 1) and rewards (B, T)."""
    done = torch.zeros(*rewards.shape, 1, dtype=torch.bool, device=rewards.device)
    terminated = done.clone()
    done[:, -1] = True
    return generalized_advantage_estimate(
        gamma, gae_lambda, values[:, :-1], values[:, 1:], rewards[..., None], done, terminated
    )
