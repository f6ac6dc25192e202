"""What chooses actions, with the signature of Stable-Baselines3's `predict`, and the baselines by name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from edge_envs.core.config import nearest
from edge_envs.core.env import EdgeEnv, EdgeVectorEnv


class Policy(Protocol):
    """Anything that maps observations to actions; Stable-Baselines3's models are policies.

    A policy with a memory returns it as the second value. What is passed back as `state` is what it goes on from;
    without a `state` a baseline of this package goes on from its own memory of the call before, so
    `action, _ = policy.predict(observation)` in every step is enough. `episode_start`, booleans (B,), is True in the
    rows whose memory begins afresh. Where it is left out, a baseline takes the rows that its environment has not
    stepped since their reset. After `restore`, pass the `state` that belongs to the snapshot.
    """

    @abstractmethod
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Actions for one observation (n,) or a batch (B, n), and the recurrent state (None where there is none)."""
        ...


BaselineFactory = Callable[[EdgeEnv | EdgeVectorEnv, int], Policy]
"""Builds a baseline for an environment and a seed; the environment's state is there for it to look at."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """A comparison scheme that takes a part away from the system: a baseline, in an environment with other options.

    To play it, make the environment with `options` over one's own and in it the baseline `policy`.
    """

    policy: str
    """name of the baseline"""
    options: Mapping[str, Any]
    """the environment's options that make the difference"""
    meaning: str
    """what is compared, in a few words"""


class ConstantPolicy:
    """Always the same action, of shape (A,)."""

    def __init__(self, action: NDArray[Any]) -> None:
        self.action = action

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """The action, once per observation of a batch."""
        del episode_start, deterministic
        batch = np.shape(observation)[:-1]
        return np.broadcast_to(self.action, (*batch, *self.action.shape)).copy(), state


class RandomPolicy:
    """Uniformly random actions from a generator of its own."""

    def __init__(self, space: Any, seed: int) -> None:
        self._low, self._high = (
            (space.start, space.start + space.nvec) if hasattr(space, "nvec") else (space.low, space.high)
        )
        self._discrete = hasattr(space, "nvec")
        self._rng = np.random.default_rng(seed)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """One random action per observation of a batch; random even when asked to be deterministic."""
        del episode_start, deterministic
        shape = (*np.shape(observation)[:-1], *np.shape(self._low))
        if self._discrete:
            return self._rng.integers(self._low, self._high, size=shape), state
        return self._rng.uniform(self._low, self._high, size=shape).astype(np.float32), state


def beginning(env: EdgeEnv | EdgeVectorEnv, episode_start: Any = None) -> NDArray[np.bool_]:
    """Rows (B,) in which a policy's memory begins: those not stepped since their reset, and those of `episode_start`.

    Raises:
        ValueError: `episode_start` has another shape.
    """
    fresh = env.episode_steps == 0
    if episode_start is None:
        return fresh
    start = np.atleast_1d(np.asarray(episode_start, dtype=np.bool_))
    if start.shape != fresh.shape:
        raise ValueError(f"episode_start has shape {start.shape}, expected {fresh.shape}")
    return fresh | start


def random_actions(env: EdgeEnv | EdgeVectorEnv, seed: int) -> Policy:
    """Evenly random actions, the baseline `random` of every wing. Sees nothing."""
    return RandomPolicy(env.system.action_space, seed)


def edge_env_of(env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> EdgeEnv | EdgeVectorEnv:
    """The environment of this package inside any wrappers.

    Raises:
        TypeError: there is none.
    """
    shell: object = env.unwrapped
    if not isinstance(shell, (EdgeEnv, EdgeVectorEnv)):
        raise TypeError(f"{env} is not an environment of edge_envs; its baselines are unknown")
    return shell


def baselines_of(env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> Mapping[str, BaselineFactory]:
    """The baselines that the environment's wing ships for its configuration, by name."""
    system = edge_env_of(env).system
    found: Mapping[str, BaselineFactory] = _baselines_module(system).available(system)
    return found


def ablations_of(env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> Mapping[str, Ablation]:
    """The comparison schemes that the environment's wing has for its configuration, by name; most wings have none.

    Raises:
        RuntimeError: the wing has a baseline of a scheme's name.
    """
    system = edge_env_of(env).system
    module = _baselines_module(system)
    # A module may have that name there.
    schemes = getattr(module, "schemes", None)
    found: Mapping[str, Ablation] = schemes(system) if callable(schemes) else {}
    for name in sorted(found.keys() & module.available(system).keys()):
        raise RuntimeError(f"{module.__name__} calls both a baseline and a scheme {name!r}; rename one")
    return found


def _baselines_module(system: object) -> ModuleType:
    return import_module(f"{type(system).__module__.rpartition('.')[0]}.baselines")


def make_baseline(name: str, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any], seed: int = 0) -> Policy:
    """Build the baseline `name` for an environment, single or vector, wrapped or not.

    Args:
        name: a key of `baselines_of(env)`.
        env: the environment in which the baseline will act; some baselines look at its state.
        seed: of the baseline's own draws or searches, apart from the environment's.

    Raises:
        ValueError: no baseline of that name for this environment and configuration.
    """
    env = edge_env_of(env)
    known = baselines_of(env)
    if name not in known:
        scheme = ablations_of(env).get(name)
        if scheme is not None:
            raise ValueError(
                f"policy={name!r} is a scheme, not a baseline: play {scheme.policy!r} in an environment with "
                f"{', '.join(f'{key}={value!r}' for key, value in scheme.options.items())}"
            )
        raise ValueError(
            f"policy={name!r} does not exist for {type(env.system).__name__}; {nearest(name, list(known))}"
        )
    return known[name](env, seed)
