"""Indices of members as one distribution, against Stable-Baselines3's; and that closed choices are never there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stable_baselines3.common.distributions import MultiCategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.hyperparameters.settings import PolicyName, Settings
from agents.networks.build import build_network
from agents.networks.masked_policy import ChoicePolicy, EqualChoices
from tests.agents.crowd import CHOICES, CrowdConfig, CrowdSystem, crowd_worlds

BATCH, COUNT = 50, 4
NAMES: list[PolicyName] = ["central", "shared", "pooled"]
every_policy = pytest.mark.parametrize("name", NAMES)


def network_of(name: PolicyName, seed: int = 0, **options: Any) -> Any:
    """A network of PPO for the crowd, away from its nearly even start."""
    torch.manual_seed(seed)
    system = CrowdSystem(CrowdConfig(**options))
    network: Any = build_network("ppo", name, Settings(hidden=(8,)), system)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def observations_of(name: PolicyName, seed: int = 0, **options: Any) -> torch.Tensor:
    """What a policy sees of the crowd, shape (B, n), or (B M, m) if a member's."""
    env = crowd_worlds(BATCH, **options)
    observation, _ = env.reset(seed=seed)
    if name == "shared":
        observation = observation.reshape(BATCH * env.system.members, -1)
    return torch.as_tensor(observation)


def masks_in(name: PolicyName, observations: torch.Tensor) -> torch.Tensor:
    """Open choices cut out of observations by hand, shape (B, K, C)."""
    members = observations.reshape(len(observations), 1 if name == "shared" else COUNT, -1)
    return members[:, :, 1 : 1 + CHOICES] > 0.5


def test_as_many_distributions_in_a_list():
    torch.manual_seed(0)
    logits = torch.randn(BATCH, COUNT, CHOICES)
    ours, theirs = EqualChoices(logits), MultiCategoricalDistribution([CHOICES] * COUNT)
    theirs.proba_distribution(logits.flatten(1))
    actions = theirs.sample()
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.mode(), theirs.mode())
    each = torch.stack([one.log_prob(action) for one, action in zip(theirs.distribution, actions.T, strict=True)], 1)
    torch.testing.assert_close(ours.log_prob_each(actions), each)


def test_samples_are_as_frequent_as_they_are_probable():
    logits = torch.tensor([[[0.0, 1.0, -1.0], [2.0, 0.0, 0.0]]])
    drawn = EqualChoices(logits.expand(20_000, 2, 3)).sample()
    assert drawn.shape == (20_000, 2)
    frequencies = torch.stack([(drawn == choice).float().mean(dim=0) for choice in range(3)], dim=1)
    torch.testing.assert_close(frequencies, logits.softmax(dim=2)[0], atol=0.02, rtol=0.0)


@every_policy
def test_closed_choices_are_never_taken_and_cost_no_entropy(name):
    network, observations = network_of(name), observations_of(name)
    mask = masks_in(name, observations)
    assert not mask.all()
    distribution = network.get_distribution(observations)
    probabilities = distribution.each.probs
    assert (probabilities[~mask] == 0.0).all()
    assert (probabilities[mask] > 0.0).all()
    torch.testing.assert_close(probabilities.sum(dim=2), torch.ones(mask.shape[:2]))
    plain = torch.where(mask, torch.exp(network.logits(observations)), torch.tensor(0.0))
    expected = plain / plain.sum(dim=2, keepdim=True)
    torch.testing.assert_close(probabilities, expected, atol=1e-6, rtol=1e-5)
    entropy = -(expected * torch.where(mask, expected, torch.tensor(1.0)).log()).sum(dim=(1, 2))
    torch.testing.assert_close(distribution.entropy(), entropy, atol=1e-5, rtol=1e-5)
    for deterministic in (False, True):
        for _ in range(20):
            actions, _, log_prob = network.forward(observations, deterministic)
            assert mask.gather(2, actions[:, :, None]).all()
            assert torch.isfinite(log_prob).all()
        predicted, _ = network.predict(observations.numpy(), deterministic=deterministic)
        assert mask.gather(2, torch.as_tensor(predicted)[:, :, None]).all()


@every_policy
def test_closed_choices_have_no_gradient(name):
    network, observations = network_of(name), observations_of(name)
    mask = masks_in(name, observations)
    logits = network.logits(observations).detach().requires_grad_()
    network.logits = lambda _: logits
    actions, _, _ = network.forward(observations)
    _, log_prob, entropy = network.evaluate_actions(observations, actions)
    (log_prob.sum() + 0.1 * entropy.sum()).backward()
    gradient = logits.grad
    assert (gradient[~mask] == 0.0).all()
    choosable = mask.sum(dim=2) > 1
    assert (gradient[~choosable] == 0.0).all()
    assert (gradient[choosable[:, :, None] & mask] != 0.0).all()


def test_an_observation_in_which_all_is_closed_breaks_nothing():
    network = network_of("central")
    observations = torch.zeros(3, *network.observation_space.shape)
    actions, values, log_prob = network.forward(observations)
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(values).all()
    torch.testing.assert_close(network.get_distribution(observations).each.probs, torch.full((3, COUNT, 3), 1 / 3))
    assert network.active(observations).sum() == 0
    assert actions.shape == (3, COUNT)


@pytest.mark.parametrize("name", ["central", "shared"])
def test_without_masks_it_is_the_usual_policy(name):
    """Same weights by the same names, same numbers."""
    network, observations = network_of(name, masks=False), observations_of(name, masks=False)
    assert type(network) is ActorCriticPolicy
    other = ChoicePolicy(network.observation_space, network.action_space, lambda _: 0.0, net_arch=network.net_arch)
    other.load_state_dict(network.state_dict())
    assert other.active(observations) is None
    actions, _, _ = network.forward(observations)
    for ours, theirs in zip(
        other.evaluate_actions(observations, actions), network.evaluate_actions(observations, actions), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(other.forward(observations, True), network.forward(observations, True), strict=True):
        torch.testing.assert_close(ours, theirs)


@every_policy
def test_the_masks_are_no_weights(name):
    """Nothing in the file depends on where the observation has its masks."""
    masked, plain = network_of(name), network_of(name, masks=False)
    shapes = [{key: tuple(value.shape) for key, value in one.state_dict().items()} for one in (masked, plain)]
    assert shapes[0] == shapes[1]
    assert masked.mask_view.numel() == (1 if name == "shared" else COUNT) * CHOICES
