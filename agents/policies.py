"""Learned networks as policies: built from spaces and settings, never from a pickled object."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.td3.policies import TD3Policy

from agents.settings import AgentName, PolicyName, Settings
from edge_envs.core.system import System
from edge_envs.core.wrappers import continuous_space, to_index


def policy_arguments(agent: AgentName, settings: Settings) -> dict[str, Any]:
    """Keyword arguments of the Stable-Baselines3 policy class."""
    hidden = list(settings.hidden)
    if agent == "ppo":
        return {"net_arch": {"pi": hidden, "vf": hidden}, "log_std_init": settings.log_std_init}
    return {"net_arch": hidden, "n_critics": 1 if agent == "ddpg" else 2}


def build_network(agent: AgentName, policy: PolicyName, settings: Settings, system: System[Any]) -> BasePolicy:
    """An untrained network for the spaces of a system, on the CPU."""
    shared = policy == "shared"
    observation_space = cast(Any, system.member_observation_space if shared else system.observation_space)
    action_space = cast(Any, system.member_action_space if shared else system.action_space)
    arguments = policy_arguments(agent, settings)
    if agent == "ppo":
        return ActorCriticPolicy(observation_space, action_space, lambda _: 0.0, **arguments)
    return TD3Policy(observation_space, continuous_space(action_space)[0], lambda _: 0.0, **arguments)


class LearnedPolicy:
    """A network that acts on central observations, whichever view it was trained on."""

    def __init__(self, network: BasePolicy, agent: AgentName, policy: PolicyName, system: System[Any]) -> None:
        self.network = network
        self._system = system
        self._shared = policy == "shared"
        self._space = system.member_action_space if self._shared else system.action_space
        self._choices = None if agent == "ppo" else continuous_space(self._space)[1]
        network.set_training_mode(False)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], Any]:
        """Actions of the environment's own space for one observation (n,) or a batch (B, n)."""
        del episode_start
        observation = np.asarray(observation)
        batch = np.atleast_2d(observation)
        rows = (
            batch[:, self._system.member_view].reshape(-1, self._system.member_view.shape[1]) if self._shared else batch
        )
        with torch.no_grad():
            actions, _ = self.network.predict(rows, deterministic=deterministic)
        if self._choices is not None:
            actions = to_index(np.clip(actions, -1.0, 1.0), self._choices)
        elif isinstance(self._space, spaces.Box):
            actions = np.clip(actions, self._space.low, self._space.high)
        actions = actions.reshape(len(batch), -1)
        return (actions if observation.ndim == 2 else actions[0]), state
