"""What a training goes on from, as arrays and plain values: taken, checked and put back."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from pydantic import BaseModel, ConfigDict, Field
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch.optim import Optimizer

from agents.training.vec_env import WorldVecEnv
from edge_envs.core.runtime.snapshot import (
    FINITE_MAX,
    Arrays,
    check_alike,
    check_values,
    pack_generators,
    unpack_generators,
)

Count = Annotated[int, Field(ge=0, le=1 << 53)]
Seconds = Annotated[float, Field(ge=0, lt=math.inf)]
BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps of a parameter."""
WORLD_ROWS = ("_returns", "_row_returns", "_lengths")


class Strict(BaseModel):
    """Values from a file: known names and right types only."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RecordValues(Strict):
    """Of `agents.training.record.Record`."""

    rows: list[dict[str, float]]
    best_reward: Annotated[float, Field(lt=math.inf)]
    steps_done: Count
    episodes: Count
    learned: bool
    env_seconds: Seconds
    seconds: Seconds


class LearnerValues(Strict):
    """Of Stable-Baselines3's algorithm and its callback."""

    num_timesteps: Count
    n_updates: Count
    episode_num: Count
    next_validation: Count
    episode_returns: list[float]
    episode_lengths: list[Count]
    logged: dict[str, float]
    not_in_curves: list[str]
    buffer_position: Count | None
    buffer_full: bool


class Values(Strict):
    """Everything in a checkpoint that is not an array."""

    stage: Literal["imitation", "learning"]
    record: RecordValues
    learner: LearnerValues | None
    rounds: Count
    gauss: float | None
    numpy_position: Annotated[int, Field(ge=0, le=624)]
    numpy_has_gauss: Literal[0, 1]
    numpy_gauss: float
    events: dict[str, Count]
    """Size of each file of TensorBoard events when the checkpoint was taken [byte]."""


def with_prefix(arrays: Mapping[str, Any], prefix: str) -> Arrays:
    """The arrays under longer names."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def part_of(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin so, without that beginning."""
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}


def optimizers_of(network: BasePolicy) -> dict[str, Optimizer]:
    """The optimisers that Stable-Baselines3 keeps in a policy."""
    owners = {"policy": network, "actor": getattr(network, "actor", None), "critic": getattr(network, "critic", None)}
    found = {name: getattr(owner, "optimizer", None) for name, owner in owners.items()}
    return {name: optimizer for name, optimizer in found.items() if optimizer is not None}


def optimizer_arrays(optimizer: Optimizer) -> Arrays:
    """Moments and counts of an optimiser, by number of the parameter; none before its first step."""
    state: dict[int, dict[str, torch.Tensor]] = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value.numpy() for number, part in state.items() for name, value in part.items()}


def load_optimizer(optimizer: Optimizer, arrays: Arrays) -> None:
    """Put moments and counts back."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    # A parameter that no loss depends on has none.
    shapes = {
        f"{number}.{name}": () if name == "step" else tuple(parameter.shape)
        for number, parameter in enumerate(parameters)
        if any(key.startswith(f"{number}.") for key in arrays)
        for name in MOMENTS
    }
    check_alike(arrays, {key: np.zeros(shape, dtype=np.float32) for key, shape in shapes.items()})
    check_values(arrays, {key: (0.0, FINITE_MAX) for key in shapes if not key.endswith("exp_avg")})
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = torch.from_numpy(array)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def generator_arrays() -> tuple[Arrays, dict[str, Any]]:
    """The global generators of Python, numpy and torch."""
    _, words, gauss = random.getstate()
    told: Any = np.random.get_state()  # noqa: NPY002  (the generator that Stable-Baselines3 uses)
    arrays = {
        "random.python": np.array(words, dtype=np.uint32),
        "random.numpy": told[1],
        "random.torch": torch.get_rng_state().numpy(),
    }
    values = {"gauss": gauss, "numpy_position": told[2], "numpy_has_gauss": told[3], "numpy_gauss": told[4]}
    return arrays, values


def set_generators(arrays: Arrays, values: Values) -> None:
    """Put the global generators back."""
    check_alike(part_of(arrays, "random"), part_of(generator_arrays()[0], "random"))
    random.setstate((3, tuple(arrays["random.python"].tolist()), values.gauss))
    legacy = (arrays["random.numpy"], values.numpy_position, values.numpy_has_gauss, values.numpy_gauss)
    np.random.set_state(("MT19937", *legacy))  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(arrays["random.torch"]))


def learner_arrays(model: BaseAlgorithm, worlds: WorldVecEnv) -> Arrays:
    """Worlds, last observations and stored transitions of a Stable-Baselines3 algorithm, before a rollout."""
    assert isinstance(model._last_obs, np.ndarray)
    assert model._last_episode_starts is not None
    arrays = {
        **with_prefix(worlds.env.snapshot(), "worlds"),
        **with_prefix({name: getattr(worlds, name) for name in WORLD_ROWS}, "rows"),
        "last.observation": model._last_obs,
        "last.starts": model._last_episode_starts,
    }
    if isinstance(model, OffPolicyAlgorithm):
        buffer = model.replay_buffer
        assert buffer is not None
        filled = buffer.buffer_size if buffer.full else buffer.pos
        arrays |= {f"buffer.{name}": getattr(buffer, name)[:filled] for name in BUFFER}
        arrays["action_generator"] = pack_generators([model.action_space.np_random])
    return arrays


def load_learner(model: BaseAlgorithm, worlds: WorldVecEnv, arrays: Arrays, values: LearnerValues) -> None:
    """Put worlds, last observations, stored transitions and counters back."""
    if not arrays["worlds.started"].all():
        raise ValueError("it has worlds that never began")
    worlds.env.restore(part_of(arrays, "worlds"))
    rows: Arrays = {name: getattr(worlds, name) for name in WORLD_ROWS}
    check_alike(part_of(arrays, "rows"), rows)
    for name, array in rows.items():
        array[...] = arrays[f"rows.{name}"]
    space = worlds.observation_space
    assert isinstance(space, spaces.Box)
    last = {"observation": np.zeros((worlds.num_envs, *space.shape), dtype=np.float32)}
    check_alike(part_of(arrays, "last"), {**last, "starts": np.zeros(worlds.num_envs, dtype=np.bool_)})
    check_values({"last.observation": arrays["last.observation"]}, {})
    model._last_obs, model._last_episode_starts = arrays["last.observation"], arrays["last.starts"]
    model.num_timesteps, model._n_updates = values.num_timesteps, values.n_updates
    model._episode_num = values.episode_num
    pairs = zip(values.episode_returns, values.episode_lengths, strict=True)
    model.ep_info_buffer = deque(({"r": r, "l": length, "t": 0.0} for r, length in pairs), maxlen=100)
    model.ep_success_buffer = deque(maxlen=100)
    if isinstance(model, OffPolicyAlgorithm):
        _load_buffer(model, part_of(arrays, "buffer"), values)
        check_alike({"generator": arrays["action_generator"]}, {"generator": np.zeros((1, 6), dtype=np.uint64)})
        model.action_space._np_random = unpack_generators(arrays["action_generator"])[0]


def _load_buffer(model: OffPolicyAlgorithm, arrays: Arrays, values: LearnerValues) -> None:
    buffer, position, full = model.replay_buffer, values.buffer_position, values.buffer_full
    assert buffer is not None
    if position is None or position >= buffer.buffer_size:
        raise ValueError(f"the buffer's position {position} is not below {buffer.buffer_size}")
    filled = buffer.buffer_size if full else position
    check_alike(arrays, {name: getattr(buffer, name)[:filled] for name in BUFFER})
    for name in BUFFER:
        getattr(buffer, name)[:filled] = arrays[name]
    buffer.pos, buffer.full = position, full
