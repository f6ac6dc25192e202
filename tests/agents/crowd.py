"""A System of members in groups who must keep out of each other's way, some of whose choices are closed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.config import SystemConfig
from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.kernels.metrics import Metric
from edge_envs.core.rules import BaselineFactory, ConstantPolicy
from edge_envs.core.system import FloatArray, IntArray, Outcome, System

CROWD = "Crowd-v0"
CROWD_STEPS = 8
STAY, GO, THIRD = 0, 1, 2
"""Choices: pay one's own price, pay nothing if nobody else of the group goes and 1 otherwise, or pay one half."""
CHOICES = 3
FACTS = 1 + CHOICES


class CrowdConfig(SystemConfig):
    """Options of the crowd."""

    count: int = 4
    """Members [-]; chosen."""
    groups: int = 2
    """Groups [-]; chosen."""
    masks: bool = True
    """True if choices can be closed [-]; chosen."""
    grouped: bool = True
    """True if the observation contains the groups [-]; chosen."""


@dataclass(slots=True)
class CrowdState:
    """What the members pay if they stay, where they belong, and what is open to them."""

    price: FloatArray  # (B, M)
    group: NDArray[np.int64]  # (B, M)
    third: NDArray[np.bool_]  # (B, M) whether the third choice is open
    idle: NDArray[np.bool_]  # (B, M) whether the first choice is the only one


class CrowdSystem(System[CrowdState]):
    """New prices every step, new groups every episode; the best is that the dearest member of a group goes."""

    metrics = (Metric("cost", "-", "sum of the costs"), Metric("closed", "-", "closed choices taken"))
    headline = ("cost",)
    reference_baseline = strongest_baseline = "best"
    warmup_fraction = 0.0
    evaluation_episodes = 8

    config_class = CrowdConfig

    def __init__(self, config: CrowdConfig) -> None:
        self.config = config
        self.members = config.count
        count, groups = config.count, config.groups
        columns = np.arange(count * (FACTS + groups)).reshape(count, FACTS + groups)
        self.member_view = columns
        self.own_view = columns[:, :FACTS]
        if config.masks:
            self.mask_view = columns[:, 1:FACTS]
        if config.grouped:
            self.group_view = columns[:, FACTS:]
        self.observation_space = spaces.Box(0.0, 1.0, (columns.size,), np.float32)
        self.member_observation_space = spaces.Box(0.0, 1.0, (columns.shape[1],), np.float32)
        self.action_space = spaces.MultiDiscrete(np.full(count, CHOICES))
        self.member_action_space = spaces.MultiDiscrete([CHOICES])

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Random actions, the best ones, and members that stay."""
        return {
            **super().baselines(),
            "best": lambda env, seed: BestOfCrowd(env),
            "stay": lambda env, seed: StayOfCrowd(env),
        }

    def allocate(self, batch: int) -> CrowdState:
        shape = (batch, self.members)
        return CrowdState(
            np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        )

    def reset(self, state: CrowdState, rows: IntArray, rngs: Sequence[Generator]) -> None:
        for row in rows:
            state.group[row] = rngs[row].integers(self.config.groups, size=self.members)
            self._draw(state, row, rngs[row])

    def _draw(self, state: CrowdState, row: int, rng: Generator) -> None:
        state.price[row] = rng.uniform(0.1, 1.0, self.members)
        state.third[row], state.idle[row] = rng.random((2, self.members)) < [[0.5], [0.25 * self.config.masks]]
        state.third[row] |= not self.config.masks

    def observe(self, state: CrowdState) -> NDArray[np.float32]:
        mask = np.stack([~state.idle | True, ~state.idle, ~state.idle & state.third], axis=2)
        groups = state.group[:, :, None] == np.arange(self.config.groups)
        facts = np.concatenate([state.price[:, :, None], mask, groups], axis=2)
        return facts.reshape(len(state.price), -1).astype(np.float32)

    def step(self, state: CrowdState, rows: IntArray, actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        outcome, member = self.blank_outcome(len(state.price))
        mask = self.observe(state).reshape(len(state.price), self.members, -1)[:, :, 1:FACTS]
        for row in rows:
            action, group = actions[row], state.group[row]
            crowd = np.bincount(group[action == GO], minlength=self.config.groups)
            costs = np.select([action == STAY, action == GO], [state.price[row], 1.0 * (crowd[group] > 1)], 0.5)
            costs[state.idle[row]] = 0.0
            member[0, row] = -costs
            closed = (mask[row, np.arange(self.members), action] == 0.0).sum()
            outcome.metrics[row] = costs.sum(), closed if self.config.masks else 0.0
            outcome.reward[row] = -costs.sum()
            self._draw(state, row, rngs[row])
        outcome.observation[rows] = self.observe(state)[rows]
        return outcome


class BestOfCrowd:
    """The cheapest actions, from the state: the member who would pay most otherwise goes, one of each group.

    Idle members are given the third choice, which is closed to them and does not matter.
    """

    def __init__(self, env: EdgeEnv | EdgeVectorEnv) -> None:
        self._env = env

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        crowd: CrowdState = self._env.state
        otherwise = np.where(crowd.third, np.minimum(crowd.price, 0.5), crowd.price)
        otherwise[crowd.idle] = -1.0
        actions = np.where(crowd.third & (crowd.price > 0.5), THIRD, STAY)
        for row in range(len(actions)):
            for group in np.unique(crowd.group[row]):
                dearest = np.argmax(np.where(crowd.group[row] == group, otherwise[row], -2.0))
                actions[row, dearest] = GO
        actions[crowd.idle] = THIRD
        return (actions if np.ndim(observation) == 2 else actions[0]), state


class StayOfCrowd(ConstantPolicy):
    """Everybody pays."""

    def __init__(self, env: EdgeEnv | EdgeVectorEnv) -> None:
        super().__init__(np.full(env.system.members, STAY))


def crowd_worlds(num_envs: int, max_episode_steps: int | None = CROWD_STEPS, **options: Any) -> EdgeVectorEnv:
    """A vector environment of the crowd that restarts in the same step."""
    return EdgeVectorEnv(
        CrowdSystem, num_envs, max_episode_steps=max_episode_steps, autoreset_mode="SameStep", **options
    )


@pytest.fixture
def crowd_id() -> Iterator[str]:
    """The crowd's id, registered during a test."""
    gym.register(
        id=CROWD,
        entry_point="edge_envs.core.env:EdgeEnv",
        vector_entry_point="edge_envs.core.env:EdgeVectorEnv",
        max_episode_steps=CROWD_STEPS,
        kwargs={"system": f"{__name__}:CrowdSystem"},
    )
    yield CROWD
    del gym.registry[CROWD]
