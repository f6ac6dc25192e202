"""Environments by id and preset, and separate seed streams for training, imitation, validation and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

import edge_envs
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import Policy
from edge_envs.core.system import System, load_system
from edge_envs.core.validation import one_of, whole_number

EVALUATION_STREAM, VALIDATION_STREAM, TRAINING_STREAM, IMITATION_STREAM = 1, 2, 3, 4

NOT_OPTIONS = {
    "autoreset_mode", "check", "id", "num_envs", "preset", "render_mode", "self", "system", "vector_kwargs",
    "vectorization_mode", "wrappers",
}  # fmt: skip
"""Arguments of `gym.make_vec` and of the environment classes that an option must not set."""

PolicyFactory = Callable[[EdgeVectorEnv], Policy]


def known_ids() -> list[str]:
    """Ids that edge_envs registers."""
    return [name for name, spec in gym.registry.items() if str(spec.entry_point).startswith(edge_envs.__name__)]


def make_worlds(env_id: str, num_envs: int, preset: str, options: Mapping[str, Any]) -> EdgeVectorEnv:
    """A vector environment with autoreset mode SAME_STEP.

    Raises:
        ValueError: the id, the preset or a parameter is unknown, or a value is impossible.
    """
    one_of("env", env_id, known_ids())
    for key in sorted(NOT_OPTIONS & options.keys()):
        raise ValueError(f"{key}={options[key]!r} is not a parameter of the environment and cannot be given with --set")
    whole_number("max_episode_steps", options.get("max_episode_steps", 1), 1)
    env = gym.make_vec(env_id, num_envs, preset=preset, autoreset_mode=AutoresetMode.SAME_STEP, **options)
    assert isinstance(env, EdgeVectorEnv)
    return env


def system_of(env_id: str, preset: str, options: Mapping[str, Any]) -> System[Any]:
    """The system of an environment's configuration.

    Raises:
        ValueError: the id, the preset or a parameter is unknown, or a value is impossible.
    """
    return make_worlds(env_id, 1, preset, options).system


def current_options(env_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options under their current names; run folders of earlier versions may hold earlier ones."""
    spec = gym.registry.get(env_id)
    config = getattr(load_system(spec.kwargs["system"]), "config_class", None) if spec else None
    renamed = config.renamed if config else {}
    return {renamed.get(key, key): value for key, value in options.items()}


def stream_seeds(stream: int, seed: int, count: int) -> list[int]:
    """Seeds of `count` worlds; different streams give independent seeds."""
    return [int(word) for word in np.random.SeedSequence([stream, seed]).generate_state(count, np.uint64)]


def step_values(info: Mapping[str, Any], name: str, done: NDArray[np.bool_]) -> NDArray[Any]:
    """An entry of a SAME_STEP `info` for all rows, also for those that finished in the step."""
    if not done.any():
        entry = info[name]
    elif done.all():
        entry = info["final_info"][name]
    else:
        final, others = info["final_info"][name], info[name]
        entry = np.where(done.reshape(-1, *[1] * (final.ndim - 1)), final, others)
    return np.asarray(entry)
