"""Learned networks as policies: built from spaces and settings, never from a pickled object."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.td3.policies import TD3Policy

from agents.hyperparameters.settings import IMITATORS, OFF_POLICY, AgentName, PolicyName, Settings
from agents.networks.masked_policy import ChoicePolicy
from agents.networks.pooled_policy import PooledPolicy
from edge_envs.core.runtime.snapshot import Arrays, check_alike, check_values
from edge_envs.core.system import IntArray, System
from edge_envs.core.wrappers import continuous_space

# Networks this small are fastest on one thread, and only then do sums not depend on the number of cores.
torch.set_num_threads(1)


class Blueprint(NamedTuple):
    """What a network is built from: its class, its spaces and the class's keyword arguments."""

    policy: type[BasePolicy]
    observation_space: Any
    action_space: Any
    arguments: dict[str, Any]


def like_choices(system: System[Any]) -> bool:
    """Whether every member's action is one index, with as many choices as the others have."""
    space = system.action_space
    return (
        isinstance(space, spaces.MultiDiscrete)
        and space.nvec.shape == (system.members,)
        and bool((space.nvec == space.nvec.flat[0]).all())
        and not space.start.any()
    )


def check_policy(agent: AgentName, policy: PolicyName, system: System[Any]) -> None:
    """Whether an agent can learn such a policy for a system.

    Raises:
        ValueError: a combination that cannot be; the message names the mend.
    """
    if agent == "member-ppo" and policy != "pooled":
        raise ValueError(f"--agent member-ppo cannot learn --policy {policy}; use --policy pooled")
    if agent in OFF_POLICY:
        if policy == "pooled":
            raise ValueError(f"--agent {agent} cannot learn --policy pooled; use --policy shared or central")
        try:
            continuous_space(system.member_action_space if policy == "shared" else system.action_space)
        except TypeError as error:
            raise ValueError(f"--agent {agent} cannot drive this environment ({error}); use --agent ppo") from None
    elif policy == "pooled" and not like_choices(system):
        mend = "--agent ppo --policy shared" if agent == "member-ppo" else "--policy shared"
        raise ValueError(
            "--policy pooled needs one index per member, all with as many choices, and the members here act in "
            f"{system.member_action_space}; use {mend}"
        )


def member_mask_view(system: System[Any]) -> IntArray | None:
    """Columns (1, C) of the member view with the open choices; None where they do not stand there, the same for all."""
    if system.mask_view is None:
        return None
    places = []
    for seen, columns in zip(system.member_view.tolist(), system.mask_view.tolist(), strict=True):
        if not set(columns) <= set(seen):
            return None
        places.append([seen.index(column) for column in columns])
    return np.array(places[:1], dtype=np.int64) if all(place == places[0] for place in places) else None


def blueprint(agent: AgentName, policy: PolicyName, settings: Settings, system: System[Any]) -> Blueprint:
    """What an agent's network for a system is built from.

    Where the system closes choices, the policies of PPO and of imitation leave them out; with one policy for all
    members only if all see their choices at the same place of their view.

    Raises:
        ValueError: a combination that `check_policy` refuses, or imitation asked of an agent that cannot or must.
    """
    check_policy(agent, policy, system)
    if agent in OFF_POLICY and settings.imitation_rounds:
        raise ValueError(f"--agent {agent} imitates nobody; use --agent {', '.join(IMITATORS)}")
    if agent == "dagger" and not settings.imitation_rounds:
        raise ValueError("imitation_rounds=0 leaves --agent dagger nothing to learn; give at least 1")
    shared, hidden = policy == "shared", list(settings.hidden)
    observation_space = system.member_observation_space if shared else system.observation_space
    action_space: Any = system.member_action_space if shared else system.action_space
    if agent in OFF_POLICY:
        arguments: dict[str, Any] = {"net_arch": hidden, "n_critics": 1 if agent == "ddpg" else 2}
        return Blueprint(TD3Policy, observation_space, continuous_space(action_space)[0], arguments)
    if policy == "pooled":
        arguments = {
            "hidden": settings.hidden, "own_view": system.own_view, "group_view": system.group_view,
            "mask_view": system.mask_view,
        }  # fmt: skip
        return Blueprint(PooledPolicy, observation_space, action_space, arguments)
    arguments = {"net_arch": {"pi": hidden, "vf": hidden}, "log_std_init": settings.log_std_init}
    mask_view = member_mask_view(system) if shared else system.mask_view
    if mask_view is None or not like_choices(system):
        return Blueprint(ActorCriticPolicy, observation_space, action_space, arguments)
    return Blueprint(ChoicePolicy, observation_space, action_space, {**arguments, "mask_view": mask_view})


def build_network(agent: AgentName, policy: PolicyName, settings: Settings, system: System[Any]) -> BasePolicy:
    """An untrained network for the spaces of a system, on the CPU.

    Raises:
        ValueError: an agent and a policy that do not go together, or not with the system.
    """
    plan = blueprint(agent, policy, settings, system)
    make: Any = plan.policy
    network: BasePolicy = make(plan.observation_space, plan.action_space, lambda _: 0.0, **plan.arguments)
    return network


def network_arrays(network: BasePolicy) -> Arrays:
    """Weights of a network."""
    return {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}


def check_size(settings: Settings, arrays: Arrays) -> None:
    """Whether there are weights enough for the hidden layers; wide ones take long to build.

    Raises:
        ValueError: there are not.
    """
    if settings.least_weights > sum(array.size for array in arrays.values()):
        raise ValueError("it is too small for its layers")


def load_network(network: BasePolicy, arrays: Arrays) -> None:
    """Give a network weights, if they fit and are finite.

    Raises:
        ValueError: they are not; the message names the first tensor.
    """
    check_alike(arrays, network_arrays(network))
    check_values(arrays, {})
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
