"""A network as a policy for the environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy

from agents.hyperparameters.settings import OFF_POLICY, AgentName, PolicyName
from edge_envs.core.system import System
from edge_envs.core.wrappers import continuous_space, to_index


class LearnedPolicy:
    """A network that acts on central observations, also if it was trained on member views."""

    def __init__(self, network: BasePolicy, agent: AgentName, policy: PolicyName, system: System[Any]) -> None:
        self.network = network
        self._system = system
        self._shared = policy == "shared"
        self._space = system.member_action_space if self._shared else system.action_space
        self._choices = continuous_space(self._space)[1] if agent in OFF_POLICY else None
        network.set_training_mode(False)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], Any]:
        """Actions in the environment's action space for one observation (n,) or a batch (B, n)."""
        del episode_start
        observation = np.asarray(observation)
        batch = np.atleast_2d(observation)
        rows = member_rows(self._system, batch) if self._shared else batch
        with torch.no_grad():
            actions, _ = self.network.predict(rows, deterministic=deterministic)
        if self._choices is not None:
            actions = to_index(np.clip(actions, -1.0, 1.0), self._choices)
        elif isinstance(self._space, spaces.Box):
            actions = np.clip(actions, self._space.low, self._space.high)
        actions = actions.reshape(len(batch), -1)
        return (actions if observation.ndim == 2 else actions[0]), state


def member_rows(system: System[Any], observation: NDArray[Any]) -> NDArray[Any]:
    """Member views (B M, m) of central observations (B, n), one row per member."""
    return observation[:, system.member_view].reshape(-1, system.member_view.shape[1])
