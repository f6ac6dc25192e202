"""Action wrappers for agents with continuous actions."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from edge_envs.core.system import CLIP_HINT


def partition_box(space: spaces.Space[Any]) -> spaces.Box:
    """The Box in [-1, 1] with one entry for each index of a MultiDiscrete space.

    Raises:
        TypeError: not a one-dimensional MultiDiscrete that starts at 0.
    """
    if not isinstance(space, spaces.MultiDiscrete) or space.nvec.ndim != 1 or np.any(space.start):
        raise TypeError(f"ContinuousPartition needs a one-dimensional MultiDiscrete action space, got {space}")
    return spaces.Box(-1.0, 1.0, space.nvec.shape, np.float32)


def continuous_space(space: spaces.Space[Any]) -> tuple[spaces.Box, NDArray[np.integer[Any]] | None]:
    """The Box in which an agent with continuous actions acts, and the number of choices of each entry.

    For a Box it is the same space, and None; for a MultiDiscrete it is `partition_box`, and `nvec`.

    Raises:
        TypeError: neither a Box nor a one-dimensional MultiDiscrete that starts at 0.
    """
    if isinstance(space, spaces.Box):
        return space, None
    box = partition_box(space)
    assert isinstance(space, spaces.MultiDiscrete)
    return box, space.nvec


def to_index(action: Any, choices: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Index of the part of [-1, 1] that contains a, for n equal parts. Shapes: actions (..., A), choices (A,).

    Raises:
        ValueError: another shape, or an entry that is NaN or outside [-1, 1].
    """
    action = np.asarray(action, dtype=np.float64)
    if action.shape[-1:] != choices.shape:
        raise ValueError(f"action has shape {action.shape}, expected (..., {len(choices)})")
    inside = (action >= -1.0) & (action <= 1.0)
    if not inside.all():
        *row, entry = np.argwhere(~inside)[0].tolist()
        place = f" of row {', '.join(map(str, row))}" if row else ""
        value = float(action[~inside][0])
        # Clipping does not remove NaN.
        hint = "" if np.isnan(value) else f"; {CLIP_HINT}"
        raise ValueError(f"action[{entry}] = {value}{place} is outside [-1, 1]{hint}")
    return np.minimum(((action + 1.0) / 2.0 * choices).astype(np.int64), choices - 1)


class ContinuousPartition(gym.ActionWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Convert a Box action to a MultiDiscrete one, for agents such as DDPG, TD3 and SAC.

    Raises:
        TypeError: the wrapped action space is not a one-dimensional MultiDiscrete.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.ActionWrapper.__init__(self, env)
        self.action_space = partition_box(env.action_space)
        self._choices = env.action_space.nvec  # type: ignore[attr-defined]

    def action(self, action: Any) -> NDArray[np.int64]:
        """Indices for a Box action of shape (A,)."""
        return to_index(action, self._choices)


class ContinuousPartitionVector(VectorWrapper):  # not generic in Gymnasium 1.2
    """`ContinuousPartition` for a vector environment.

    Raises:
        TypeError: the wrapped single action space is not a one-dimensional MultiDiscrete.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        self.single_action_space = partition_box(env.single_action_space)
        self.action_space = batch_space(self.single_action_space, env.num_envs)
        self._choices = env.single_action_space.nvec  # type: ignore[attr-defined]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step with Box actions of shape (B, A)."""
        return self.env.step(to_index(actions, self._choices))
