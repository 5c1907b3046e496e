"""torchrl's parts, as we use them, against the equations written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adaptsam.alignsam import Agent, AlignSamSettings, TrainingSettings
from adaptsam.alignsam.ppo import PPO, Memory, advantages
from adaptsam.errors import TrainingError


def a_memory(agent: Agent, steps: int = 4, batch: int = 3) -> Memory:
    """Actions drawn by an agent that was a little different when it drew them."""
    torch.manual_seed(3)
    features, masks = torch.randn(batch, 6, 8, 8), torch.rand(batch, steps + 1, 8, 8)
    available = torch.rand(batch, steps, 100) > 0.2
    with torch.no_grad():
        logits = agent.actor(features, masks[:, :-1], available)
        old = (logits + 0.6 * torch.randn_like(logits)).log_softmax(-1)
        actions = torch.distributions.Categorical(logits=old).sample()
        drawn = old.gather(-1, actions[..., None])[..., 0]
    return Memory(features, masks, available, actions, drawn, torch.randint(0, 2, actions.shape) * 2.0 - 1)


@pytest.fixture
def agent() -> Agent:
    agent = Agent(AlignSamSettings(), 6)
    torch.manual_seed(0)
    torch.nn.init.normal_(agent.actor.head.weight, std=0.3)
    return agent


def test_action_values_are_discounted_rewards_and_the_value_after_the_last_step() -> None:
    torch.manual_seed(0)
    values, rewards = torch.randn(2, 6, 1), torch.randn(2, 5)
    advantage, action_value = advantages(values, rewards, gamma=0.9)
    for t in range(5):
        expected = sum(0.9 ** (k - t) * rewards[:, k] for k in range(t, 5)) + 0.9 ** (5 - t) * values[:, 5, 0]  # Eq. 6
        torch.testing.assert_close(action_value[:, t, 0], expected)
        torch.testing.assert_close(advantage[:, t, 0], expected - values[:, t, 0])  # Eq. 7


def test_losses_and_gradients_are_those_of_the_equations(agent: Agent) -> None:
    memory, settings = a_memory(agent), TrainingSettings(epochs=1)
    with torch.no_grad():
        values = agent.critic(memory.features, memory.masks)
    advantage, action_value = (x[..., 0] for x in advantages(values, memory.rewards, settings.gamma))
    logits = agent.actor(memory.features, memory.masks[:, :-1], memory.available)
    chosen = logits.log_softmax(-1).gather(-1, memory.actions[..., None])[..., 0]
    ratio = (chosen - memory.log_probability).exp()  # Eq. 8
    clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
    actor = -torch.minimum(ratio * advantage, clipped * advantage).mean()  # Eq. 9
    critic = ((action_value - agent.critic(memory.features, memory.masks[:, :-1])[..., 0]) ** 2).mean()  # Eq. 10
    (actor + critic).backward()
    expected = {name: p.grad.clone() for name, p in agent.named_parameters() if p.grad is not None}
    assert 0.1 < (ratio != clipped).float().mean() < 0.9

    agent.zero_grad()
    ppo = PPO(agent.actor, agent.critic, settings)
    ppo.optimiser = torch.optim.SGD(agent.parameters(), lr=0.0)
    losses = ppo.update(memory)
    assert losses.actor == pytest.approx(actor.item(), rel=1e-4)
    assert losses.critic == pytest.approx(critic.item(), rel=1e-4)
    assert losses.clip_fraction == pytest.approx((ratio != clipped).float().mean().item())
    found = {name: p.grad for name, p in agent.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    assert not any("recalibration" in name for name in found)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


def test_what_was_rewarded_becomes_likelier_than_what_was_punished(agent: Agent) -> None:
    memory = a_memory(agent, steps=12, batch=6)
    rewards = torch.where(memory.actions < 50, 1.0, -1.0)

    def upper_half() -> float:
        with torch.no_grad():
            logits = agent.actor(memory.features, memory.masks[:, :-1], torch.ones_like(memory.available))
        return float(logits.softmax(-1)[..., :50].sum(-1).mean())

    before = upper_half()
    settings = TrainingSettings(epochs=10, learning_rate=1e-3, gamma=0.01)
    PPO(agent.actor, agent.critic, settings).update(replace(memory, rewards=rewards))
    assert upper_half() > before + 0.02


def test_a_loss_that_is_not_a_number_stops_the_training(agent: Agent) -> None:
    memory = a_memory(agent)
    memory = replace(memory, rewards=torch.full_like(memory.rewards, float("nan")))
    with pytest.raises(TrainingError, match="not finite"):
        PPO(agent.actor, agent.critic, TrainingSettings()).update(memory)
    assert all(parameter.isfinite().all() for parameter in agent.parameters())
