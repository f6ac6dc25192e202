"""Imitation of a baseline with dataset aggregation (DAgger, Ross, Gordon and Bagnell 2011)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.random import Generator
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from agents.hyperparameters.settings import Settings
from agents.networks.learned_policy import LearnedPolicy, member_rows
from agents.networks.masked_policy import ChoicePolicy
from agents.training.checkpointing import Values, part_of, with_prefix
from agents.training.record import Record
from agents.worlds import IMITATION_STREAM, stream_seeds
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import Policy, make_baseline
from edge_envs.core.runtime.snapshot import Arrays, check_alike, pack_generators, unpack_generators
from edge_envs.core.system import System

EXPERT_FRACTION = 0.3
"""Fraction of the worlds in which the expert acts after the first round, so that the data contain its own states."""
Round = tuple[NDArray[np.float32], NDArray[Any]]
"""Central observations (N, n) and the actions (N, A) that the expert takes for them."""


@dataclass
class Demonstrations:
    """The rounds collected so far; a `Part` of a checkpoint."""

    settings: Settings
    system: System[Any]
    rng: Generator
    """Draws the minibatches."""
    rounds: list[Round] = field(default_factory=list)

    def save(self) -> tuple[Arrays, dict[str, Any]]:
        observations, actions = (np.concatenate(part) for part in zip(*self.rounds, strict=True))
        arrays = {"observations": observations, "actions": actions, "generator": pack_generators([self.rng])}
        return with_prefix(arrays, "shown"), {"rounds": len(self.rounds)}

    def load(self, arrays: Arrays, values: Values) -> None:
        settings, rounds, found = self.settings, values.rounds, part_of(arrays, "shown")
        if not 1 <= rounds <= settings.imitation_rounds:
            raise ValueError(f"it has {rounds} rounds of imitation, and the run {settings.imitation_rounds}")
        count = rounds * settings.imitation_worlds * settings.imitation_frames
        observation, action = self.system.observation_space, self.system.action_space
        # A baseline may compute continuous actions in float64, which the labels keep.
        wide = found.get("actions", np.zeros(0)).dtype == np.float64 and action.dtype == np.float32
        expected = {
            "observations": np.zeros((count, *observation.shape), dtype=observation.dtype),  # type: ignore[misc]
            "actions": np.zeros((count, *action.shape), dtype=np.float64 if wide else action.dtype),  # type: ignore[misc]
            "generator": np.zeros((1, 6), dtype=np.uint64),
        }
        check_alike(found, expected)
        with np.errstate(over="ignore"):
            actions = found["actions"].astype(action.dtype)
        if not all(action.contains(row) for row in actions):
            raise ValueError("it holds actions outside the action space")
        self.rng = unpack_generators(found["generator"])[0]
        parts = (np.split(found[name], rounds) for name in ("observations", "actions"))
        self.rounds = list(zip(*parts, strict=True))


def imitate(
    network: ActorCriticPolicy,
    worlds: EdgeVectorEnv,
    record: Record,
    demonstrations: Demonstrations,
    *,
    check_stop: Callable[[], None],
    after_round: Callable[[bool], None],
) -> None:
    """Train a network to act like a baseline, and validate it after every round.

    In the first round the expert acts in all worlds. Later it acts in some of them, and the network acts in the others.
    The expert labels every observation with its action, and the network is fitted to the labels of all rounds so far.

    Args:
        network: policy of the run's agent, changed in place; its value network does not change.
        worlds: `imitation_worlds` worlds with autoreset mode SAME_STEP.
        record: of the training; its run names the expert and the number of rounds.
        demonstrations: earlier rounds, or none; new rounds are appended.
        check_stop: called in every round before the first step; may raise to end the training.
        after_round: called after every round, with True after the last one.

    Raises:
        ValueError: the environment's configuration has no baseline with the expert's name.
    """
    config, settings, system = record.run.config, record.run.config.settings, worlds.system
    policy = LearnedPolicy(network, config.agent, config.policy, system)
    seeds = stream_seeds(IMITATION_STREAM, config.seed, settings.imitation_rounds * worlds.num_envs)
    for number in range(len(demonstrations.rounds), settings.imitation_rounds):
        expert_worlds = worlds.num_envs if number == 0 else round(EXPERT_FRACTION * worlds.num_envs)
        round_seeds = seeds[number * worlds.num_envs : (number + 1) * worlds.num_envs]
        # A new expert in every round, so that a resumed training equals one that was never stopped.
        worlds.reset(seed=round_seeds)
        expert = make_baseline(settings.expert or system.reference_baseline, worlds, config.seed)
        collected = collect_round(expert, policy, worlds, round_seeds, expert_worlds, record, check_stop)
        demonstrations.rounds.append(collected)
        examples = Examples(system, config.policy == "shared", demonstrations.rounds)
        newest = np.arange(examples.size)[-len(collected[0]) :]
        curves = {"agreement_before": agreement(network, *examples.rows(newest))}
        network.set_training_mode(True)
        curves["loss"] = fit(network, examples, settings, demonstrations.rng)
        network.set_training_mode(False)
        record.writer.scalars("imitation", curves, record.steps_done)
        record.validate(network, learned=True)
        after_round(number + 1 == settings.imitation_rounds)


def collect_round(
    expert: Policy,
    policy: Policy,
    worlds: EdgeVectorEnv,
    seeds: list[int],
    expert_worlds: int,
    record: Record,
    check_stop: Callable[[], None],
) -> Round:
    """Observations of all worlds and steps of a round, labelled by the expert, which acts in the first worlds."""
    frames, batch = record.run.config.settings.imitation_frames, worlds.num_envs
    observation, _ = worlds.reset(seed=seeds)
    state: Any = None
    start = np.ones(batch, dtype=np.bool_)
    observations: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    for _ in range(frames):
        label, state = expert.predict(observation, state, start, deterministic=True)
        if not labels:
            # The first prediction may have compiled kernels for a long time, and the round has no data to save yet.
            check_stop()
        actions = label.copy()
        if expert_worlds < batch:
            actions[expert_worlds:] = policy.predict(observation[expert_worlds:], deterministic=True)[0]
        observations.append(observation)
        labels.append(label)
        began = time.perf_counter()
        observation, _, terminated, truncated, _ = worlds.step(actions)
        record.env_seconds += time.perf_counter() - began
        start = terminated | truncated
        record.episodes += int(start.sum())
        record.advance_to(record.steps_done + batch)
    return np.concatenate(observations), np.concatenate(labels)


class Examples:
    """Demonstrations as the rows that a policy learns from, one per world or one per member.

    Args:
        system: of the worlds.
        shared: make one row per member.
        rounds: the demonstrations.
    """

    def __init__(self, system: System[Any], shared: bool, rounds: list[Round]) -> None:
        self._system, self._shared = system, shared
        self._observations, self._actions = (np.concatenate(part) for part in zip(*rounds, strict=True))
        self.size = len(self._actions)
        """Number of steps, summed over all worlds."""

    def rows(self, steps: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Observations and labels of the steps with these indices."""
        observations, actions = self._observations[steps], self._actions[steps]
        if self._shared:
            observations = member_rows(self._system, observations)
            actions = actions.reshape(len(observations), -1)
        return torch.as_tensor(observations), torch.as_tensor(actions)


def fit(network: ActorCriticPolicy, examples: Examples, settings: Settings, rng: Generator) -> float:
    """Fit the network on random minibatches with a new optimizer; returns the mean loss of the last tenth."""
    count = settings.imitation_steps
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.imitation_rate)
    losses = []
    for step in range(count):
        optimizer.param_groups[0]["lr"] = settings.imitation_rate * (1.0 - step / count)
        loss = imitation_loss(network, *examples.rows(rng.integers(examples.size, size=settings.imitation_batch)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-max(1, count // 10) :]))


def imitation_loss(network: ActorCriticPolicy, observations: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood of the labels [nat].

    With one index per member, the mean is over the members for which `label_weights` is 1.
    """
    if not isinstance(network, ChoicePolicy):
        return -network.get_distribution(observations).log_prob(labels).mean()
    weight = label_weights(network, observations, labels)
    log_prob = network.get_distribution(observations).log_prob_each(labels)
    return -(weight * log_prob).sum() / weight.sum().clamp(min=1.0)


def label_weights(network: ActorCriticPolicy, observations: Tensor, labels: Tensor) -> Tensor:
    """1.0 where the member has more than one open choice and the label is open, else 0.0; shape of the labels."""
    if not isinstance(network, ChoicePolicy) or network.mask_view is None:
        return torch.ones(labels.shape)
    open_choices, active = network.open_choices(observations), network.active(observations)
    assert open_choices is not None
    assert active is not None
    return (active & open_choices.gather(2, labels[:, :, None]).squeeze(2)).float()


def agreement(network: ActorCriticPolicy, observations: Tensor, labels: Tensor) -> float:
    """Fraction of the labels that equal the network's most probable action; NaN with continuous actions."""
    if isinstance(network.action_space, spaces.Box):
        return float("nan")
    with torch.no_grad():
        agreed = (network.get_distribution(observations).mode() == labels).float()
        weight = label_weights(network, observations, labels)
    return float((weight * agreed).sum() / weight.sum().clamp(min=1.0))
