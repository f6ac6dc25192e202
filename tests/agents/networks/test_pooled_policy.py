"""The network of any number of members against plain loops, and what must not matter to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agents.networks.learned_policy import LearnedPolicy
from agents.networks.pooled_policy import GROUP_SIZE, MemberNet, PooledPolicy
from agents.worlds import step_values
from tests.agents.crowd import FACTS, CrowdConfig, CrowdSystem, crowd_worlds
from tests.agents.networks.test_masked_policy import network_of, observations_of

COUNT, GROUPS = 4, 2


def shuffled(observations: torch.Tensor, order: list[int]) -> torch.Tensor:
    """The same worlds with their members in another order."""
    return observations.reshape(len(observations), COUNT, -1)[:, order].flatten(1)


def apply(layers: Any, values: np.ndarray) -> np.ndarray:
    """Linear layers and tanh in numpy."""
    for layer in layers:
        if isinstance(layer, torch.nn.Tanh):
            values = np.tanh(values)
        else:
            values = layer.weight.detach().numpy() @ values + layer.bias.detach().numpy()
    return values


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("hidden", [(), (5,), (7, 5)])
def test_outputs_by_plain_loops(hidden, grouped):
    torch.manual_seed(0)
    net = MemberNet(3, hidden, 2, 1.0).double()
    facts = torch.randn(6, COUNT, 3, dtype=torch.float64)
    member_of = np.random.default_rng(0).integers(GROUPS, size=(6, COUNT))
    groups = torch.as_tensor(np.eye(GROUPS)[member_of]) if grouped else None
    ours = net(facts, groups).detach().numpy()
    for world in range(6):
        features = [apply(net.encoder, facts[world, member].numpy()) for member in range(COUNT)]
        for member in range(COUNT):
            mates = [i for i in range(COUNT) if not grouped or member_of[world, i] == member_of[world, member]]
            group = sum(features[i] for i in mates) / GROUP_SIZE
            seen = np.concatenate([features[member], group, sum(features) / COUNT])
            np.testing.assert_allclose(ours[world, member], apply(net.head, seen), rtol=1e-12)


def test_the_first_chances_are_nearly_even():
    network: Any = PooledPolicy(
        *(lambda s: (s.observation_space, s.action_space))(CrowdSystem(CrowdConfig())), lambda _: 0.0,
        hidden=(16, 16), own_view=np.arange(COUNT * 6).reshape(COUNT, 6),
    )  # fmt: skip
    logits = network.logits(observations_of("pooled"))
    assert 0.0 < logits.abs().max() < 0.05
    assert network.predict_member_values(observations_of("pooled")).abs().max() > 0.05


def test_members_in_another_order_act_alike():
    network, observations = network_of("pooled"), observations_of("pooled")
    order = [2, 0, 3, 1]
    other = shuffled(observations, order)
    torch.testing.assert_close(network.logits(other), network.logits(observations)[:, order])
    torch.testing.assert_close(
        network.predict_member_values(other), network.predict_member_values(observations)[:, order]
    )
    torch.testing.assert_close(network.predict_values(other), network.predict_values(observations))
    assert torch.equal(network.forward(other, True)[0], network.forward(observations, True)[0][:, order])
    assert (network.logits(observations)[:, 0] != network.logits(observations)[:, 1]).any()


def test_the_numbers_of_the_groups_do_not_matter_but_who_is_in_them_does():
    network, observations = network_of("pooled"), observations_of("pooled")
    members = observations.reshape(len(observations), COUNT, -1)
    renamed = torch.cat([members[:, :, :FACTS], members[:, :, FACTS:].flip(2)], dim=2).flatten(1)
    torch.testing.assert_close(network.logits(renamed), network.logits(observations))
    torch.testing.assert_close(network.predict_values(renamed), network.predict_values(observations))
    moved = members.clone()
    moved[:, 0, FACTS:] = members[:, 0, FACTS:].flip(1)
    assert (network.logits(moved.flatten(1)) - network.logits(observations)).abs().max() > 1e-3


def test_a_member_that_nobody_can_tell_from_another_acts_alike():
    network, observations = network_of("pooled"), observations_of("pooled")
    members = observations.reshape(len(observations), COUNT, -1).clone()
    members[:, 1] = members[:, 0]
    logits = network.logits(members.flatten(1))
    torch.testing.assert_close(logits[:, 1], logits[:, 0])


def test_a_crowded_group_differs_from_an_empty_one():
    """The group is summed, so that load can be seen; a mean would not tell one member from four of its kind."""
    net = MemberNet(3, (5,), 2, 1.0)
    facts = torch.randn(1, 1, 3).expand(1, COUNT, 3)
    together, apart = torch.ones(1, COUNT, 1), torch.eye(COUNT)[None]
    assert (net(facts, together) - net(facts, apart)).abs().max() > 1e-3


@pytest.mark.parametrize(("count", "groups"), [(1, 1), (3, 1), (9, 5)])
def test_weights_fit_any_number_of_members_and_groups(count, groups):
    small, large = network_of("pooled"), network_of("pooled", seed=1, count=count, groups=groups)
    large.load_state_dict(small.state_dict())
    observations = observations_of("pooled", count=count, groups=groups)
    actions, values, log_prob = large.forward(observations)
    assert (actions.shape, values.shape, log_prob.shape) == ((50, count), (50, 1), (50,))
    # A team that is twice as large because everybody has a twin in a group of its own sees the same means.
    facts = observations.reshape(50, count, -1)[:, :, :FACTS]
    alone = small.actor(facts, torch.eye(count).expand(50, count, count))
    doubled = small.actor(facts.repeat(1, 2, 1), torch.eye(2 * count).expand(50, 2 * count, 2 * count))
    torch.testing.assert_close(doubled[:, :count], alone)


def test_where_no_groups_are_told_all_are_one():
    network = network_of("pooled", grouped=False)
    facts = observations_of("pooled", grouped=False).reshape(50, COUNT, -1)[:, :, :FACTS]
    assert network.groups(observations_of("pooled", grouped=False)) is None
    torch.testing.assert_close(network.actor(facts, None), network.actor(facts, torch.ones(50, COUNT, 1)))


def test_what_stable_baselines_sees_are_the_members_together():
    network, observations = network_of("pooled"), observations_of("pooled")
    actions, evaluated = network.act(observations)
    values, log_prob, entropy = network.evaluate_actions(observations, actions)
    torch.testing.assert_close(values[:, 0], evaluated.values.sum(dim=1))
    torch.testing.assert_close(log_prob, evaluated.log_prob.sum(dim=1))
    torch.testing.assert_close(entropy, evaluated.entropy.sum(dim=1))
    for ours, theirs in zip(network.evaluate_members(observations, actions), evaluated, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_row_does_not_depend_on_its_batch():
    network, observations = network_of("pooled"), observations_of("pooled")
    for rows in (slice(0, 1), slice(3, 20)):
        torch.testing.assert_close(network.logits(observations[rows]), network.logits(observations)[rows])


def test_actor_and_critic_share_nothing():
    network, observations = network_of("pooled"), observations_of("pooled")
    network.predict_values(observations).sum().backward()
    assert all(parameter.grad is None for parameter in network.actor.parameters())
    assert all((parameter.grad != 0).any() for parameter in network.critic.parameters())


def test_the_optimiser_holds_every_weight():
    network = network_of("pooled")
    held = {id(parameter) for group in network.optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in network.parameters()}
    assert sum(p.numel() for p in network.parameters()) == sum(v.numel() for v in network.state_dict().values())


def test_it_acts_in_its_environment():
    env = crowd_worlds(5)
    policy = LearnedPolicy(network_of("pooled"), "member-ppo", "pooled", env.system)
    observation, _ = env.reset(seed=0)
    closed = 0.0
    for _ in range(20):
        actions, _ = policy.predict(observation, deterministic=False)
        single, _ = policy.predict(observation[2])
        np.testing.assert_array_equal(single, policy.predict(observation)[0][2])
        observation, _, terminated, truncated, info = env.step(actions)
        closed += step_values(info, "closed", terminated | truncated).sum()
    assert closed == 0.0
    assert env.single_action_space.contains(single)
