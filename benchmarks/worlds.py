"""Batches of worlds to be timed, stepped by `System.step` or by the Gymnasium classes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.system import System

WARM_UP_STEPS = 64
"""Steps after which the queues, which start empty, are in their steady state."""
NEVER = 10**9
"""An episode length with which no episode ends while it is timed."""

Actions = list[NDArray[Any]]
"""Actions of a whole batch, taken in turn repeatedly."""
ActionMaker = Callable[[EdgeVectorEnv], Actions]


def vector_env(env_id: str, batch: int, preset: str = "default") -> EdgeVectorEnv:
    """The vector environment as `gym.make_vec` makes it, with episodes that do not end."""
    env = gym.make_vec(env_id, num_envs=batch, preset=preset, max_episode_steps=NEVER)
    assert isinstance(env, EdgeVectorEnv)
    return env


def sampled_actions(env: EdgeVectorEnv, count: int = 64) -> Actions:
    """Draw actions from the action space with a fixed seed."""
    env.action_space.seed(0)
    return [env.action_space.sample() for _ in range(count)]


class SystemWorlds:
    """Worlds stepped by `System.step` alone; row i is seeded with i."""

    def __init__(self, system: System[Any], batch: int, actions: Actions, warm_up: int = WARM_UP_STEPS) -> None:
        self.system = system
        self.state = system.allocate(batch)
        self.actions = cycle([system.check_actions(each, batch) for each in actions])
        self.rows = np.arange(batch)
        self._rngs = [np_random(row)[0] for row in range(batch)]
        system.reset(self.state, self.rows, self._rngs)
        self.run(warm_up)

    def step(self, actions: NDArray[Any]) -> None:
        """Step all worlds once; the actions are not checked."""
        self.system.step(self.state, self.rows, actions, self._rngs)

    def run(self, steps: int) -> None:
        """Step all worlds."""
        for _ in range(steps):
            self.step(next(self.actions))


class EnvWorlds:
    """The same worlds, stepped by `EdgeVectorEnv.step`."""

    def __init__(self, env: EdgeVectorEnv, actions: Actions) -> None:
        self.env = env
        self._actions = cycle(actions)
        env.reset(seed=0)
        self.run(WARM_UP_STEPS)

    def run(self, steps: int) -> None:
        """Step all worlds."""
        for _ in range(steps):
            self.env.step(next(self._actions))


class SingleWorld:
    """The first of these worlds alone, as `gym.make` makes it, with an episode that does not end."""

    def __init__(self, env_id: str, actions: Actions, preset: str = "default", warm_up: int = WARM_UP_STEPS) -> None:
        self.env: gym.Env[Any, Any] = gym.make(env_id, preset=preset, max_episode_steps=NEVER)
        self._actions = cycle([batch[0] for batch in actions])
        self.env.reset(seed=0)
        self.run(warm_up)

    def run(self, steps: int) -> None:
        """Step the world."""
        for _ in range(steps):
            self.env.step(next(self._actions))
