"""`EdgeVectorEnv` as a vector environment of Stable-Baselines3: one row per world, or one row per member."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.networks.learned_policy import member_rows
from agents.training.checkpointing import Values, part_of, with_prefix
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.runtime.episodes import EPISODE_MEAN
from edge_envs.core.runtime.snapshot import Arrays, check_alike
from edge_envs.core.wrappers import continuous_space, to_index


class WorldVecEnv(VecEnv):
    """Worlds as rows for Stable-Baselines3; a `Part` of a checkpoint.

    For a central agent, row b holds the observation, action and reward of all of world b. For a shared policy, row
    b M + m is member m of world b: its view of the observation, its part of the action and its reward, so one policy
    serves all members. All members of a world end their episodes in the same step.

    A row that ends is reset in the same step. Its last observation is `infos[row]["terminal_observation"]`, and
    `infos[row]["TimeLimit.truncated"]` is True if the episode was truncated, so that PPO bootstraps its value.

    Args:
        env: worlds with autoreset mode SAME_STEP.
        shared: make a row of every member.
        continuous: replace a MultiDiscrete action space by a Box in [-1, 1], for DDPG and TD3.
        reward_scale: factor on the agent's rewards; the returns in `episodes` and `infos` are not scaled.

    Raises:
        ValueError: the autoreset mode is another one.
        TypeError: `continuous` is set and the action space is neither a Box nor a MultiDiscrete.
    """

    def __init__(
        self, env: EdgeVectorEnv, *, shared: bool = False, continuous: bool = False, reward_scale: float = 1.0
    ) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ValueError(f"autoreset_mode={env.autoreset_mode.value!r} cannot be used here; use 'SameStep'")
        self.env = env
        self.system = system = env.system
        self.shared, self.reward_scale = shared, reward_scale
        self.rows_per_world = system.members if shared else 1
        observation_space = system.member_observation_space if shared else system.observation_space
        action_space = system.member_action_space if shared else system.action_space
        self._choices = None
        if continuous:
            action_space, self._choices = continuous_space(action_space)
        super().__init__(env.num_envs * self.rows_per_world, observation_space, action_space)
        self.metadata = {"render_modes": []}
        self.env_seconds = 0.0
        """Time spent in steps since it was last set to zero [s]."""
        self.episodes: list[dict[str, float]] = []
        """Summaries of the episodes that ended since the list was last cleared."""
        self.member_rewards = np.zeros((env.num_envs, env.system.members), dtype=np.float32)
        """Scaled rewards of all members in the last step, shape (B, M)."""
        self._returns = np.zeros(env.num_envs)
        self._row_returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)
        self._actions: NDArray[Any] = np.zeros(0)
        self._next_seed: Any = None

    def _split(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows' observations, from those of the worlds."""
        return member_rows(self.system, observation) if self.shared else observation

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Set the seeds of the next reset: `seed` for world 0, `seed` + 1 for world 1 and so on."""
        self._next_seed = seed
        return [None if seed is None else seed + row // self.rows_per_world for row in range(self.num_envs)]

    def seed_worlds(self, seeds: list[int]) -> None:
        """Set the seeds of the next reset, one per world."""
        self._next_seed = seeds

    def reset(self) -> NDArray[np.float32]:
        """Reset all worlds."""
        observation, _ = self.env.reset(seed=self._next_seed)
        self._next_seed = None
        self._returns[:] = self._row_returns[:] = self._lengths[:] = 0
        return self._split(observation)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Set the rows' actions for the next step."""
        if self._choices is not None:
            actions = to_index(np.clip(actions, -1.0, 1.0), self._choices)
        elif isinstance(self.action_space, spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        self._actions = actions.reshape(self.env.num_envs, -1)

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step all worlds."""
        started = time.perf_counter()
        observation, reward, terminated, truncated, info = self.env.step(self._actions)
        self.env_seconds += time.perf_counter() - started
        done = terminated | truncated
        member_reward = self.env.member_reward
        self.member_rewards = (member_reward * self.reward_scale).astype(np.float32)
        rows = member_reward.ravel() if self.shared else reward
        self._returns += reward
        self._row_returns += rows
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for world in np.flatnonzero(done).tolist():
            last = self._split(info["final_obs"][world][None])
            for member in range(self.rows_per_world):
                row = world * self.rows_per_world + member
                infos[row] = {
                    "terminal_observation": last[member],
                    "TimeLimit.truncated": bool(truncated[world] and not terminated[world]),
                    "episode": {"r": float(self._row_returns[row]), "l": int(self._lengths[world]), "t": 0.0},
                }
                self._row_returns[row] = 0.0
            last_info = info["final_info"]
            summary = {
                metric.name: float(last_info[EPISODE_MEAN + metric.name][world]) for metric in self.system.metrics
            }
            self.episodes.append({"return": float(self._returns[world]), **summary})
            self._returns[world] = self._lengths[world] = 0
        scaled = (rows * self.reward_scale).astype(np.float32)
        return self._split(observation), scaled, np.repeat(done, self.rows_per_world), infos

    def save(self) -> tuple[Arrays, dict[str, Any]]:
        return with_prefix(self.env.snapshot(), "worlds") | with_prefix(self._running_sums(), "rows"), {}

    def load(self, arrays: Arrays, values: Values) -> None:
        del values
        if not arrays["worlds.started"].all():
            raise ValueError("it has worlds that were never reset")
        self.env.restore(part_of(arrays, "worlds"))
        found, sums = part_of(arrays, "rows"), self._running_sums()
        check_alike(found, sums)
        for name, array in sums.items():
            array[...] = found[name]

    def _running_sums(self) -> Arrays:
        return {name: getattr(self, name) for name in ("_returns", "_row_returns", "_lengths")}

    def close(self) -> None:
        """Close the worlds."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the worlds, repeated for each requested row."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raise AttributeError: all rows share one environment."""
        raise AttributeError(f"{attr_name!r} cannot be set on single rows of {type(self).__name__}")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the worlds once; returns its result, repeated for each requested row."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Return False for each requested row."""
        del wrapper_class
        return [False] * len(list(self._get_indices(indices)))
