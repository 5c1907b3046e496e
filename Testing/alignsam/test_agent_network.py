"""Actor and critic: functions of the state alone, of any grid, and small."""

from dataclasses import replace

import pytest
import torch

from adaptsam.alignsam import Agent, AlignSamSettings
from adaptsam.alignsam.actions import Actions
from adaptsam.alignsam.agent_network import PatchFeatures
from adaptsam.alignsam.state import State
from adaptsam.errors import TrainingError


def a_state(grid: int = 8, channels: int = 6, batch: int = 2, actions: int = 100) -> State:
    torch.manual_seed(1)
    mask = torch.rand(batch, grid, grid)
    return State(torch.randn(batch, channels, grid, grid), mask, torch.ones(batch, actions, dtype=torch.bool))


def test_the_patches_are_a_linear_map_of_the_samples_of_the_state() -> None:
    torch.manual_seed(0)
    patches = PatchFeatures(6, Actions(2, 3))
    state = a_state()
    seen: list[torch.Tensor] = []
    patches.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    patches(state.features, state.mask[:, None])
    for row in range(2):
        for column in range(3):
            expected = torch.zeros(2, 32)
            for sample in range(9):
                y = int((3 * row + sample // 3 + 0.5) / 6 * 8)
                x = int((3 * column + sample % 3 + 0.5) / 9 * 8)
                expected += state.product[:, :, y, x] @ patches.weight[sample]
            torch.testing.assert_close(seen[0][:, :, row, column], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid", [8, 32, 64])
def test_features_and_mask_give_what_their_product_gives_on_any_grid(grid: int) -> None:
    agent = Agent(AlignSamSettings(), 6)
    torch.nn.init.normal_(agent.actor.head.weight)
    state = a_state(grid)
    product = State(state.product, torch.ones_like(state.mask), state.available)
    assert agent.logits(state).std() > 0
    torch.testing.assert_close(agent.logits(state), agent.logits(product), rtol=1e-3, atol=1e-4)
    values = [agent.critic(one.features, one.mask[:, None]) for one in (state, product)]
    assert values[0].shape == (2, 1, 1)
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-4)


def test_many_moments_at_once_equal_each_alone() -> None:
    agent = Agent(AlignSamSettings(), 6)
    torch.nn.init.normal_(agent.actor.head.weight)
    state, masks = a_state(), torch.rand(2, 4, 8, 8)
    available = torch.ones(2, 4, 100, dtype=torch.bool)
    together = agent.actor(state.features, masks, available)
    for step in range(4):
        alone = agent.actor(state.features, masks[:, step : step + 1], available[:, :1])
        torch.testing.assert_close(together[:, step], alone[:, 0], rtol=1e-4, atol=1e-5)


def test_an_untrained_agent_finds_all_available_actions_equally_likely() -> None:
    state = a_state()
    state.available[:, 50:] = False
    agent = Agent(AlignSamSettings(), 6)
    assert torch.equal(agent.logits(state).softmax(-1)[:, :50], torch.full((2, 50), 0.02))
    drawn = [agent.choose(state, torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert all((choice.actions < 50).all() for choice in drawn)
    torch.testing.assert_close(drawn[0].entropy, torch.full((2,), 50.0).log())
    torch.testing.assert_close(drawn[0].log_probability, torch.full((2,), 0.02).log())


def test_the_same_seed_gives_the_same_agent_and_leaves_torchs_own_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (Agent(AlignSamSettings(), 6, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.actor.patches.weight, again.actor.patches.weight)
    assert not torch.equal(first.actor.patches.weight, other.actor.patches.weight)


@pytest.mark.parametrize("branch", ["implicit", "explicit"])
def test_an_agent_for_a_full_sam_has_less_than_a_million_parameters(branch: str) -> None:
    agent = Agent(AlignSamSettings(branch=branch), 256)
    assert sum(parameter.numel() for parameter in agent.parameters()) < 300_000


def test_without_reinforcement_learning_the_actor_is_not_asked() -> None:
    agent = Agent(replace(AlignSamSettings(), policy="random"), 6)
    torch.nn.init.normal_(agent.actor.head.weight)
    assert agent.logits(a_state()).eq(0).all()


def test_a_poisoned_policy_stops_instead_of_choosing() -> None:
    agent = Agent(AlignSamSettings(), 6)
    torch.nn.init.constant_(agent.actor.head.weight, float("nan"))
    for generator in (None, torch.Generator()):
        with pytest.raises(TrainingError, match="not a number"):
            agent.choose(a_state(), generator)
