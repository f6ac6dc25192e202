"""A System small enough to know every number of it, for the adapters and the learners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.config import SystemConfig
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.kernels.metrics import Metric
from edge_envs.core.rules import BaselineFactory, ConstantPolicy
from edge_envs.core.system import FloatArray, IntArray, Outcome, System

TOY = "Toy-v0"
TOY_STEPS = 12
MEMBERS = 2
CHOICES = np.array([3, 4])
WANTED = np.array([[2, 0], [1, 3]])
"""The indices that each member is rewarded for."""
VIEW = np.array([[3, 0, 6], [5, 2, 6]])
"""Columns of each member: not in order, and the last one shared; columns 1 and 4 are seen by nobody."""


class ToyConfig(SystemConfig):
    """Options of the toy."""

    end_probability: float = 0.1
    """Probability per step that the episode terminates [-]; chosen."""
    box: bool = False
    """Continuous actions in place of indices; chosen."""
    offset: float = 0.0
    """Added to all metrics [-]; chosen."""
    first: int = 0
    """Number of the first choice [-]; chosen, and where it is not 0 no box stands for the choices."""


@dataclass(slots=True)
class ToyState:
    """State of the worlds."""

    clock: NDArray[np.int64]  # (B,) steps since the reset
    noise: FloatArray  # (B,) drawn at every reset and step
    episode: NDArray[np.int64]  # (B,) episodes so far


class ToySystem(System[ToyState]):
    """Two members that are rewarded for two known indices each; an episode terminates by chance."""

    member_metrics = ("hits",)
    metrics = (
        Metric("hits", "-", "wanted indices chosen"),
        Metric("clock", "steps", "steps since the reset", "last"),
        Metric("noise", "-", "the number drawn", "max"),
    )
    headline = ("hits",)
    reference_baseline = strongest_baseline = "wanted"
    members = MEMBERS
    member_view = VIEW

    config_class = ToyConfig

    def __init__(self, config: ToyConfig) -> None:
        self.config = config
        self.observation_space = spaces.Box(-10.0, 10.0, (7,), np.float32)
        self.member_observation_space = spaces.Box(-10.0, 10.0, (3,), np.float32)
        start = np.full(len(CHOICES), config.first)
        self.action_space: spaces.Space[Any] = spaces.MultiDiscrete(
            np.tile(CHOICES, MEMBERS), start=np.tile(start, MEMBERS)
        )
        self.member_action_space: spaces.Space[Any] = spaces.MultiDiscrete(CHOICES, start=start)
        if config.box:
            self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
            self.member_action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Random actions; and the wanted ones, where actions are indices."""
        found = dict(super().baselines())
        if not self.config.box:
            found["wanted"] = lambda env, seed: ConstantPolicy(WANTED.ravel())
        return found

    def allocate(self, batch: int) -> ToyState:
        return ToyState(np.zeros(batch, np.int64), np.zeros(batch), np.zeros(batch, np.int64))

    def reset(self, state: ToyState, rows: IntArray, rngs: Sequence[Generator]) -> None:
        state.clock[rows] = 0
        state.episode[rows] += 1
        state.noise[rows] = [rngs[row].random() for row in rows]

    def observe(self, state: ToyState) -> NDArray[np.float32]:
        batch = len(state.clock)
        clock, noise = state.clock / 10.0, state.noise
        one = np.ones(batch)
        # Columns 0 and 2 tell the members apart.
        return np.stack([one, 7 * one, -one, clock, -7 * one, 0.5 * clock, noise], axis=1).astype(np.float32)

    def step(self, state: ToyState, rows: IntArray, actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        batch = len(state.clock)
        active = np.zeros(batch, np.bool_)
        active[rows] = True
        draws = np.zeros((batch, 2))
        for row in rows:
            draws[row] = rngs[row].random(2)
        state.clock[rows] += 1
        state.noise[rows] = draws[rows, 0]
        chosen = actions.reshape(batch, MEMBERS, 2)
        if self.config.box:
            chosen = np.minimum(((chosen + 1) / 2 * CHOICES).astype(np.int64), CHOICES - 1)
        hits = (chosen == WANTED).sum(axis=2)
        member_reward = np.where(active[:, None], hits + 0.125 * state.clock[:, None] + [0.0, 0.0625], 0.0)
        metrics = np.stack([hits.sum(axis=1), state.clock, state.noise], axis=1) + self.config.offset
        return Outcome(
            observation=np.where(active[:, None], self.observe(state), 0).astype(np.float32),
            reward=member_reward.sum(axis=1),
            terminated=active & (draws[:, 1] < self.config.end_probability),
            member_reward=member_reward,
            metrics=np.where(active[:, None], metrics, 0.0),
            member_metrics={"hits": np.where(active[:, None], hits, 0.0)},
        )


class UncertainToy(ToySystem):
    """The toy, with a certificate in place of its noise: never defined."""

    certificate = np.nan

    metrics = (*ToySystem.metrics[:2], replace(ToySystem.metrics[2], name="certificate", certifies=True))
    headline = ("hits", "certificate")  # type: ignore[assignment]

    def step(self, *arguments: Any) -> Outcome:
        found = super().step(*arguments)
        found.metrics[:, 2] = self.certificate
        return found


class UnboundedToy(UncertainToy):
    """The toy, with a certificate that bounds nothing."""

    certificate = np.inf


def worlds(num_envs: int, mode: str = "SameStep", max_episode_steps: int | None = 7, **options: Any) -> EdgeVectorEnv:
    """A vector environment of the toy."""
    return EdgeVectorEnv(ToySystem, num_envs, max_episode_steps=max_episode_steps, autoreset_mode=mode, **options)


@pytest.fixture
def toy_id() -> Iterator[str]:
    """The toy's id, registered during a test."""
    gym.register(
        id=TOY,
        entry_point="edge_envs.core.env:EdgeEnv",
        vector_entry_point="edge_envs.core.env:EdgeVectorEnv",
        max_episode_steps=TOY_STEPS,
        kwargs={"system": f"{__name__}:ToySystem"},
    )
    yield TOY
    del gym.registry[TOY]
