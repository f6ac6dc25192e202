"""Baselines and ablations of an environment by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.rules import Ablation, BaselineFactory, ConstantPolicy, Policy, RandomPolicy
from edge_envs.core.validation import nearest

__all__ = [
    "Ablation", "BaselineFactory", "ConstantPolicy", "Policy", "RandomPolicy", "ablations_of", "baselines_of",
    "edge_env_of", "make_baseline",
]  # fmt: skip

AnyEnv = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]


def edge_env_of(env: AnyEnv) -> EdgeEnv | EdgeVectorEnv:
    """The environment of this package inside any wrappers.

    Raises:
        TypeError: the innermost environment is not of this package.
    """
    inner: object = env.unwrapped
    if not isinstance(inner, (EdgeEnv, EdgeVectorEnv)):
        raise TypeError(f"{env} is not an environment of edge_envs; its baselines are unknown")
    return inner


def baselines_of(env: AnyEnv) -> Mapping[str, BaselineFactory]:
    """The baselines of an environment's configuration, by name."""
    return edge_env_of(env).system.baselines()


def ablations_of(env: AnyEnv) -> Mapping[str, Ablation]:
    """The ablations of an environment's configuration, by name; empty for most systems.

    Raises:
        RuntimeError: a baseline and an ablation of the system have the same name.
    """
    system = edge_env_of(env).system
    found = system.ablations()
    for name in sorted(found.keys() & system.baselines().keys()):
        raise RuntimeError(f"{type(system).__name__} has both a baseline and an ablation named {name!r}; rename one")
    return found


def make_baseline(name: str, env: AnyEnv, seed: int = 0) -> Policy:
    """Build the baseline `name` for a single or vector environment, with or without wrappers.

    Args:
        name: a key of `baselines_of(env)`.
        env: the environment in which the baseline will act; some baselines read its state.
        seed: seed of the baseline's random numbers and searches; the environment's seed is independent of it.

    Raises:
        ValueError: the environment's configuration has no baseline of that name.
    """
    env = edge_env_of(env)
    known = baselines_of(env)
    if name not in known:
        ablation = ablations_of(env).get(name)
        if ablation is not None:
            raise ValueError(
                f"policy={name!r} is an ablation, not a baseline: use {ablation.policy!r} in an environment with "
                f"{', '.join(f'{key}={value!r}' for key, value in ablation.options.items())}"
            )
        raise ValueError(
            f"policy={name!r} does not exist for {type(env.system).__name__}; {nearest(name, list(known))}"
        )
    return known[name](env, seed)
