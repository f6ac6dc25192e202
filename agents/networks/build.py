"""Networks built from spaces and settings, never from a pickled object, and their weights as arrays."""

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

# Small networks are fastest on one thread, and only then are sums independent of the number of cores.
torch.set_num_threads(1)


class Blueprint(NamedTuple):
    """The class of a network, its spaces and the keyword arguments of the class."""

    policy: type[BasePolicy]
    observation_space: Any
    action_space: Any
    arguments: dict[str, Any]


def has_equal_choices(system: System[Any]) -> bool:
    """Return True if every member's action is one index, with the same number of choices for all members."""
    space = system.action_space
    return (
        isinstance(space, spaces.MultiDiscrete)
        and space.nvec.shape == (system.members,)
        and bool((space.nvec == space.nvec.flat[0]).all())
        and not space.start.any()
    )


def check_policy(agent: AgentName, policy: PolicyName, system: System[Any]) -> None:
    """Raise ValueError if the agent cannot learn this policy for the system."""
    if agent == "member-ppo" and policy != "pooled":
        raise ValueError(f"--agent member-ppo cannot learn --policy {policy}; use --policy pooled")
    if agent in OFF_POLICY:
        if policy == "pooled":
            raise ValueError(f"--agent {agent} cannot learn --policy pooled; use --policy shared or central")
        try:
            continuous_space(system.member_action_space if policy == "shared" else system.action_space)
        except TypeError as error:
            raise ValueError(f"--agent {agent} cannot control this environment ({error}); use --agent ppo") from None
    elif policy == "pooled" and not has_equal_choices(system):
        instead = "--agent ppo --policy shared" if agent == "member-ppo" else "--policy shared"
        raise ValueError(
            "--policy pooled needs one index per member, with the same number of choices for all, but a member acts in "
            f"{system.member_action_space}; use {instead}"
        )


def member_mask_view(system: System[Any]) -> IntArray | None:
    """Columns (1, C) of the member view that hold the mask; None unless they are the same for all members."""
    if system.mask_view is None:
        return None
    places = []
    for seen, columns in zip(system.member_view.tolist(), system.mask_view.tolist(), strict=True):
        if not set(columns) <= set(seen):
            return None
        places.append([seen.index(column) for column in columns])
    return np.array(places[:1], dtype=np.int64) if all(place == places[0] for place in places) else None


def blueprint(agent: AgentName, policy: PolicyName, settings: Settings, system: System[Any]) -> Blueprint:
    """The blueprint of an agent's network for a system.

    PPO and imitation use a policy that masks closed choices if the system has a mask. The shared policy does so only if
    the mask is in the same columns of every member's view.

    Raises:
        ValueError: `check_policy` refuses the combination, an off-policy agent has imitation rounds, or dagger none.
    """
    check_policy(agent, policy, system)
    if agent in OFF_POLICY and settings.imitation_rounds:
        raise ValueError(f"--agent {agent} cannot imitate a baseline; use --agent {', '.join(IMITATORS)}")
    if agent == "dagger" and not settings.imitation_rounds:
        raise ValueError("imitation_rounds=0 does not train --agent dagger; give at least 1")
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
    if mask_view is None or not has_equal_choices(system):
        return Blueprint(ActorCriticPolicy, observation_space, action_space, arguments)
    return Blueprint(ChoicePolicy, observation_space, action_space, {**arguments, "mask_view": mask_view})


def build_network(agent: AgentName, policy: PolicyName, settings: Settings, system: System[Any]) -> BasePolicy:
    """An untrained network for the spaces of a system, on the CPU.

    Raises:
        ValueError: the agent, the policy and the system do not go together.
    """
    plan = blueprint(agent, policy, settings, system)
    make: Any = plan.policy
    network: BasePolicy = make(plan.observation_space, plan.action_space, lambda _: 0.0, **plan.arguments)
    return network


def network_arrays(network: BasePolicy) -> Arrays:
    """The weights of a network by name."""
    return {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}


def check_size(settings: Settings, arrays: Arrays) -> None:
    """Raise ValueError if there are fewer weights than the hidden layers need, since wide layers take long to build."""
    if settings.least_weights > sum(array.size for array in arrays.values()):
        raise ValueError("it has fewer weights than its hidden layers need")


def load_network(network: BasePolicy, arrays: Arrays) -> None:
    """Set the weights of a network.

    Raises:
        ValueError: the arrays do not fit or are not finite; the message names the first of them.
    """
    check_alike(arrays, network_arrays(network))
    check_values(arrays, {})
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
