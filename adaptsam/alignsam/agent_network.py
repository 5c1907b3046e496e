"""The agent: actor and critic over the state, and the recalibration module that labels what the actor chooses.

The paper does not say how actor and critic look. Ours look at each patch through 3×3 samples of the state, the middle
one at the patch's centre, where the reward is decided:

    one linear map of a patch's 3×3 samples to 32 channels, group normalisation, ReLU
    3×3 convolution over the patches, with the place of each patch as two more channels, ReLU; 1×1 convolution, ReLU
    actor: 1×1 convolution, one logit a patch
    critic: mean and maximum over the patches, two linear layers, one value

The weights are shared by all places and do not depend on the grid of the model. The mask of Eq. 4 has one value at each
place, so the linear map goes over the features of an image once, whatever the number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptsam.alignsam.actions import Actions, middles
from adaptsam.alignsam.alignsam_settings import AlignSamSettings
from adaptsam.alignsam.recalibration import Recalibration, new_recalibration
from adaptsam.alignsam.state import State
from adaptsam.errors import TrainingError

_WIDTH, _GROUPS, _SAMPLES = 32, 4, 3


class PatchFeatures(nn.Module):
    """One vector of 32 channels for every patch."""

    place: Tensor

    def __init__(self, channels: int, actions: Actions) -> None:
        super().__init__()
        self.actions = actions
        self.weight = nn.Parameter(torch.empty(_SAMPLES**2, channels, _WIDTH))
        nn.init.normal_(self.weight, std=(channels * _SAMPLES**2) ** -0.5)
        self.norm = nn.GroupNorm(_GROUPS, _WIDTH)
        self.first = nn.Conv2d(_WIDTH + 2, _WIDTH, 3, padding=1)
        self.second = nn.Conv2d(_WIDTH, _WIDTH, 1)
        y = torch.linspace(-1, 1, actions.rows)[:, None].expand(actions.rows, actions.columns)
        x = torch.linspace(-1, 1, actions.columns)[None, :].expand(actions.rows, actions.columns)
        self.register_buffer("place", torch.stack([y, x])[None], persistent=False)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, T, 32, rows, columns) from features (B, c, h, w) and the masks (B, T, h, w) of T moments."""
        # (9, B * N, c) @ (9, c, 32), then (B * N, T, 9) @ (B * N, 9, 32): the samples, weighted by the mask.
        samples = self._sample(features).permute(3, 5, 0, 2, 4, 1).flatten(2, 4).flatten(0, 1)
        weights = self._sample(mask).permute(0, 2, 4, 1, 3, 5).flatten(0, 2).flatten(2)
        patches = weights @ torch.bmm(samples, self.weight).transpose(0, 1)
        rows, columns = self.actions.rows, self.actions.columns
        x = patches.unflatten(0, (-1, rows, columns)).permute(0, 3, 4, 1, 2).flatten(0, 1)
        x = functional.relu(self.norm(x))
        x = torch.cat([x, self.place.expand(len(x), -1, -1, -1)], dim=1)
        x = functional.relu(self.second(functional.relu(self.first(x))))
        return x.unflatten(0, mask.shape[:2])

    def _sample(self, maps: Tensor) -> Tensor:
        """(B, c, h, w) → (B, c, rows, 3, columns, 3)."""
        rows = torch.from_numpy(middles(_SAMPLES * self.actions.rows, maps.shape[-2])).to(maps.device)
        columns = torch.from_numpy(middles(_SAMPLES * self.actions.columns, maps.shape[-1])).to(maps.device)
        return maps[:, :, rows[:, None], columns].unflatten(3, (-1, _SAMPLES)).unflatten(2, (-1, _SAMPLES))


class Actor(nn.Module):
    """π_θ: the logits of all actions (Eq. 5). Untrained, all actions are equally likely."""

    def __init__(self, channels: int, actions: Actions) -> None:
        super().__init__()
        self.patches = PatchFeatures(channels, actions)
        self.head = nn.Conv2d(_WIDTH, 1, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, mask: Tensor, available: Tensor) -> Tensor:
        """Logits (B, T, N) from features (B, c, h, w), masks (B, T, h, w) and the available actions (B, T, N)."""
        patches = self.patches(features, mask)
        logits = self.head(patches.flatten(0, 1)).flatten(1).unflatten(0, mask.shape[:2])
        return logits.masked_fill(~available, float("-inf"))


class Critic(nn.Module):
    """V_θ: the value of a state."""

    def __init__(self, channels: int, actions: Actions) -> None:
        super().__init__()
        self.patches = PatchFeatures(channels, actions)
        self.head = nn.Sequential(nn.Linear(2 * _WIDTH, 2 * _WIDTH), nn.ReLU(), nn.Linear(2 * _WIDTH, 1))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Values (B, T, 1) from features (B, c, h, w) and masks (B, T, h, w)."""
        patches = self.patches(features, mask).flatten(3)
        return self.head(torch.cat([patches.mean(3), patches.amax(3)], dim=2))


@dataclass(frozen=True)
class Choice:
    """The actor's choice for B states: ``actions`` (B,), their ``log_probability`` (B,), and ``entropy`` (B,)."""

    actions: Tensor
    log_probability: Tensor
    entropy: Tensor


class Agent(nn.Module):
    """All trained networks for one target and one SAM.

    Args:
        settings: how it is trained and used.
        channels: of the SAM's features.
        seed: of the first weights.
    """

    def __init__(self, settings: AlignSamSettings, channels: int, seed: int = 0) -> None:
        super().__init__()
        self.settings = settings
        self.channels = channels
        actions = Actions.of(settings.environment)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.actor = Actor(channels, actions)
            self.critic = Critic(channels, actions)
            self.recalibration: Recalibration = new_recalibration(settings.branch, channels)

    def logits(self, state: State) -> Tensor:
        """The logits (B, N) of all actions; all equal without reinforcement learning."""
        if self.settings.policy == "random":
            return torch.zeros_like(state.available, dtype=torch.float32).masked_fill(~state.available, float("-inf"))
        return self.actor(state.features, state.mask[:, None], state.available[:, None])[:, 0]

    @torch.no_grad()
    def choose(self, state: State, generator: torch.Generator | None = None) -> Choice:
        """Draw an action for each image (Eq. 5), or take the likeliest where there is no generator (on the CPU).

        Raises:
            TrainingError: the policy is not a number.
        """
        log_probability = self.logits(state).log_softmax(-1)
        probability = log_probability.exp()
        if probability.isnan().any():
            raise TrainingError("The policy is not a number (NaN); use an earlier agent, or a lower learning rate.")
        if generator is None:
            actions = probability.argmax(-1)
        else:
            actions = torch.multinomial(probability.cpu(), 1, generator=generator)[:, 0].to(probability.device)
        entropy = -(probability * log_probability.clamp(min=-1e9)).sum(-1)
        return Choice(actions, log_probability.gather(1, actions[:, None])[:, 0], entropy)

    @torch.no_grad()
    def score(self, spatial: Tensor, semantic: Tensor | None) -> Tensor:
        """y_r as probabilities (B, h, w); see :class:`~adaptsam.alignsam.environment.Environment`."""
        return self.recalibration(spatial, semantic).sigmoid()
