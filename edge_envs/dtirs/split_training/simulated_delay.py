"""The simulated delay of a split training: each round is a frame of `DTIRS-v0`.

The environment is seeded alike for every policy, so that all policies have the same channels and loads. Its delays are
those of the network at full width, whatever the width of the trained network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from edge_envs.core.policy import ConstantPolicy, Policy, baselines_of, make_baseline
from edge_envs.core.validation import nearest

ENV_ID = "DTIRS-v0"
DELAY_PARTS = (
    "delay_downlink_s", "delay_uplink_s", "delay_compute_s", "delay_back_end_s", "delay_sync_s",
)  # fmt: skip
"""Parts of `delay_s` in the environment's info, each summed over the users."""


@dataclass(frozen=True)
class Frame:
    """One frame: the users' cuts and the simulated delay."""

    cuts: tuple[int, ...]
    """number of layers on each user's device"""
    delay_s: float
    """sum of the users' delays (18)"""
    parts_s: tuple[float, ...]
    """the parts of `delay_s` in the order of `DELAY_PARTS`"""
    twin_share: float
    """share of users whose first layers run on a digital twin"""


def make_env(users: int, preset: str = "default") -> gym.Env[Any, Any]:
    """Make `DTIRS-v0` with a number of users.

    Raises:
        ValueError: unknown preset or invalid number of users.
    """
    return gym.make(f"edge_envs:{ENV_ID}", preset=preset, num_devices=users)


def choose_policy(name: str, env: gym.Env[Any, Any], seed: int) -> Policy:
    """Make a baseline of the environment, or the policy "cut-m" with cut m for every user in every frame.

    Raises:
        ValueError: unknown name, or a cut that the environment does not offer.
    """
    system: Any = env.unwrapped.system  # type: ignore[attr-defined]
    offered = system.cut_numbers.tolist()
    if constant := re.fullmatch(r"cut-([0-9]+)", name):
        if int(constant[1]) not in offered:
            raise ValueError(f"policy={name!r} is not possible; cuts are {', '.join(map(str, offered))}")
        return ConstantPolicy(np.full(system.members, offered.index(int(constant[1])), dtype=np.int64))
    known = list(baselines_of(env))
    if name not in known:
        raise ValueError(f"policy={name!r} is neither cut-m nor a baseline; {nearest(name, known)}")
    return make_baseline(name, env, seed)


class Frames:
    """The frames of one environment under one policy; a new episode starts when one ends."""

    def __init__(self, env: gym.Env[Any, Any], policy: Policy, seed: int) -> None:
        """Store the arguments; the first `advance` resets the environment with `seed`."""
        self._env, self._policy = env, policy
        self._seed: int | None = seed
        self._system: Any = env.unwrapped.system  # type: ignore[attr-defined]
        self._observation: NDArray[Any] | None = None
        self._state: Any = None

    @property
    def users(self) -> int:
        """Number of users K."""
        return int(self._system.members)

    @property
    def config(self) -> Any:
        """The environment's configuration."""
        return self._system.config

    def advance(self) -> Frame:
        """Step the environment once.

        Raises:
            ValueError: the policy chooses cut 0, with which a device has no layer to train.
        """
        if self._observation is None:
            self._observation, _ = self._env.reset(seed=self._seed)
            self._state, self._seed = None, None
        action, self._state = self._policy.predict(self._observation, self._state, deterministic=True)
        self._observation, _, terminated, truncated, info = self._env.step(action)
        if terminated or truncated:
            self._observation = None
        cuts = tuple(int(cut) for cut in self._system.cut_numbers[np.asarray(action)])
        if min(cuts) < 1:
            raise ValueError("this policy uses cut 0, with which a device has no layer to train; choose another")
        parts = tuple(float(info[name]) for name in DELAY_PARTS)
        return Frame(cuts, float(info["delay_s"]), parts, float(info["twin_share"]))
