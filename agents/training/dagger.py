"""Imitation of a baseline: it labels what the network gets itself into (DAgger, Ross, Gordon and Bagnell 2011)."""

from __future__ import annotations

import time
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
from agents.training.demonstrations import Lessons, Shown
from agents.training.record import Record
from agents.worlds import IMITATION_STREAM, stream_seeds
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import Policy, make_baseline
from edge_envs.core.system import System

GUIDED = 0.3
"""Part of the worlds in which the expert acts after the first round, so that its own states are not forgotten."""


def imitate(network: ActorCriticPolicy, worlds: EdgeVectorEnv, record: Record, lessons: Lessons | None = None) -> None:
    """Teach a network what a baseline does, and validate it after every round.

    In the first round the expert acts in all worlds, later in a part of them and the network in the others. The expert
    says for every observation what it would do, and the network learns from all that was said so far.

    Args:
        network: policy of the run's agent, changed in place; its value network stays as it is.
        worlds: as many as the run's settings say, with autoreset in the same step.
        record: of the training; its run says who is imitated, and how long.
        lessons: those of the rounds before, where a training goes on.

    Raises:
        ValueError: no baseline of the expert's name for this environment and configuration.
    """
    config, settings, system = record.run.config, record.run.config.settings, worlds.system
    policy = LearnedPolicy(network, config.agent, config.policy, system)
    lessons = lessons or Lessons(np.random.default_rng([IMITATION_STREAM, config.seed]))
    seeds = stream_seeds(IMITATION_STREAM, config.seed, settings.imitation_rounds * worlds.num_envs)
    for number in range(len(lessons.shown), settings.imitation_rounds):
        guided = worlds.num_envs if number == 0 else round(GUIDED * worlds.num_envs)
        own_seeds = seeds[number * worlds.num_envs : (number + 1) * worlds.num_envs]
        # The expert begins each round afresh, so that a training that goes on from there does as one never stopped.
        worlds.reset(seed=own_seeds)
        expert = make_baseline(settings.expert or system.reference_baseline, worlds, config.seed)
        lessons.shown.append(watch(expert, policy, worlds, own_seeds, guided, record))
        view = View(system, config.policy == "shared", lessons.shown)
        told = {"agreement_before": agreement(network, *view.rows(np.arange(view.size)[-len(lessons.shown[-1][0]) :]))}
        network.set_training_mode(True)
        told["loss"] = learn_from(network, view, settings, lessons.rng)
        network.set_training_mode(False)
        record.writer.scalars("imitation", told, record.steps_done)
        record.validate(network, learned=True)
        if record.saver is not None:
            record.saver.imitated(lessons)


def watch(
    expert: Policy, policy: Policy, worlds: EdgeVectorEnv, seeds: list[int], guided: int, record: Record
) -> Shown:
    """One round: observations of all worlds and frames, and what the expert would do; it acts in the first `guided`."""
    frames, batch = record.run.config.settings.imitation_frames, worlds.num_envs
    observation, _ = worlds.reset(seed=seeds)
    state: Any = None
    start = np.ones(batch, dtype=np.bool_)
    observations: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    for _ in range(frames):
        label, state = expert.predict(observation, state, start, deterministic=True)
        if not labels and record.saver is not None:
            # Kernels may have been compiled until now; of this round there is nothing to keep yet.
            record.saver.stop.obey()
        actions = label.copy()
        if guided < batch:
            actions[guided:] = policy.predict(observation[guided:], deterministic=True)[0]
        observations.append(observation)
        labels.append(label)
        began = time.perf_counter()
        observation, _, terminated, truncated, _ = worlds.step(actions)
        record.env_seconds += time.perf_counter() - began
        start = terminated | truncated
        record.episodes += int(start.sum())
        record.reached(record.steps_done + batch)
    return np.concatenate(observations), np.concatenate(labels)


class View:
    """What was shown so far, in the rows that a policy learns from: those of worlds, or those of members.

    Args:
        system: of the worlds.
        shared: whether a row is a member's.
        shown: rounds so far.
    """

    def __init__(self, system: System[Any], shared: bool, shown: list[Shown]) -> None:
        self._system, self._shared = system, shared
        self._observations, self._actions = (np.concatenate(part) for part in zip(*shown, strict=True))
        self.size = len(self._actions)
        """Steps of a world."""

    def rows(self, steps: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Observations and labels of some steps."""
        observations, actions = self._observations[steps], self._actions[steps]
        if self._shared:
            observations = member_rows(self._system, observations)
            actions = actions.reshape(len(observations), -1)
        return torch.as_tensor(observations), torch.as_tensor(actions)


def learn_from(network: ActorCriticPolicy, view: View, settings: Settings, rng: Generator) -> float:
    """Gradient steps on random minibatches, with a fresh optimiser; returns the mean loss of the last tenth."""
    count = settings.imitation_steps
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.imitation_rate)
    losses = []
    for step in range(count):
        optimizer.param_groups[0]["lr"] = settings.imitation_rate * (1.0 - step / count)
        loss = surprise(network, *view.rows(rng.integers(view.size, size=settings.imitation_batch)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-max(1, count // 10) :]))


def surprise(network: ActorCriticPolicy, observations: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log of the probability that the network gives the expert's choices [nat].

    With one index per member the mean is over the members that have a choice; a label that is closed counts nowhere.
    """
    if not isinstance(network, ChoicePolicy):
        return -network.get_distribution(observations).log_prob(labels).mean()
    weight = teachable(network, observations, labels)
    log_prob = network.get_distribution(observations).log_prob_each(labels)
    return -(weight * log_prob).sum() / weight.sum().clamp(min=1.0)


def teachable(network: ActorCriticPolicy, observations: Tensor, labels: Tensor) -> Tensor:
    """1.0 where there is a choice and the expert's is open, else 0.0, in the shape of the labels."""
    if not isinstance(network, ChoicePolicy) or network.mask_view is None:
        return torch.ones(labels.shape)
    open_choices, active = network.open_choices(observations), network.active(observations)
    assert open_choices is not None
    assert active is not None
    return (active & open_choices.gather(2, labels[:, :, None]).squeeze(2)).float()


def agreement(network: ActorCriticPolicy, observations: Tensor, labels: Tensor) -> float:
    """Part of the expert's choices that the network would have taken; NaN with continuous actions."""
    if isinstance(network.action_space, spaces.Box):
        return float("nan")
    with torch.no_grad():
        agreed = (network.get_distribution(observations).mode() == labels).float()
        weight = teachable(network, observations, labels)
    return float((weight * agreed).sum() / weight.sum().clamp(min=1.0))
