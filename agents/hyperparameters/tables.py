"""Hyper-parameters by environment, agent and policy."""

from __future__ import annotations

from typing import Any, Literal, get_args

from agents.hyperparameters.settings import IMITATORS, OFF_POLICY, WARM_START, AgentName, PolicyName, Settings

_LYAPPO_SHARED: dict[str, Any] = {
    # The best cut's neighbour costs 1 % of the advantages' standard deviation: an entropy bonus of 0.03 holds the two
    # level. It must be gone while the learning rate is still high, or chance picks the last network's cut.
    "ent_until": 0.5,
    # More data and fewer passes over it; a cut's transmissions follow it by two to eight periods.
    "steps": 500_000, "n_steps": 32, "batch_size": 8192, "n_epochs": 2, "gamma": 0.95, "gae_lambda": 0.95,
}  # fmt: skip

_LYAPPO_JOINT: dict[str, Any] = {
    "steps": 120_000, "gamma": 0.95, "gae_lambda": 0.95, "log_std_init": -1.0, "reward_scale": 0.2, "ent_coef": 0.0,
    "training_options": {"reward_backlog": 20.0},
}  # fmt: skip

_LYAPPO_OFF_POLICY: dict[PolicyName, dict[str, Any]] = {
    "central": {
        "steps": 60_000, "num_envs": 32, "learning_rate": 3e-4, "batch_size": 256, "reward_scale": 0.25,
        "anneal": False,
    },
    "shared": {
        "steps": 60_000, "num_envs": 32, "learning_rate": 3e-4, "batch_size": 256, "gradient_steps": 8, "anneal": False,
    },
}  # fmt: skip

_SEMCOM: dict[str, Any] = {
    "num_envs": 8, "learning_rate": 1e-3, "gamma": 0.95, "hidden": (64, 64), "reward_scale": 0.1,
    "training_options": {"initial_queue_max_db": 10.0, "max_episode_steps": 200},
}  # fmt: skip

_SEMCOM_CENTRAL: dict[str, Any] = {
    **_SEMCOM, "steps": 400_000, "n_steps": 256, "batch_size": 256, "n_epochs": 5, "gae_lambda": 0.9, "ent_coef": 0.0,
    "log_std_init": -0.5,
}  # fmt: skip

_SEMCOM_PPO: dict[PolicyName, dict[str, Any]] = {
    "central": _SEMCOM_CENTRAL,
    # Queues weigh twice as much in training: with their own weight some trainings fell 0.001 dB short of 0.02 dB.
    "shared": {
        **_SEMCOM_CENTRAL, "batch_size": 2048,
        "training_options": {**_SEMCOM["training_options"], "queue_weight": 50.0},
    },
}  # fmt: skip

_SEMCOM_OFF_POLICY: dict[str, Any] = {
    **_SEMCOM, "steps": 20_000, "batch_size": 128, "buffer_size": 100_000, "learning_starts": 1000, "tau": 0.01,
    "action_noise": 0.3, "gradient_steps": 4, "anneal": False,
}  # fmt: skip

_DTIRS: dict[str, Any] = {
    # A frame's cuts change nothing but that frame, unless the AP's backlog is on.
    "gamma": 0.0, "num_envs": 8, "reward_scale": 10.0, "training_options": {"phase": "ca"},
}  # fmt: skip

_DTIRS_PPO: dict[str, Any] = {
    **_DTIRS, "steps": 40_000, "n_steps": 128, "batch_size": 2048, "n_epochs": 10, "learning_rate": 7e-4,
    "gae_lambda": 0.0, "ent_coef": 0.003,
}  # fmt: skip

_DTIRS_OFF_POLICY: dict[str, Any] = {
    **_DTIRS, "steps": 20_000, "batch_size": 256, "learning_rate": 1e-3, "buffer_size": 200_000,
    "learning_starts": 2000, "tau": 0.01, "gradient_steps": 8, "anneal": False,
}  # fmt: skip

_POLICIES: tuple[PolicyName, ...] = ("shared", "central")

_ECCNOMA: dict[str, Any] = {
    "hidden": (64, 64), "expert": "coordinate-descent", "imitation_worlds": 64, "imitation_frames": 100,
    "imitation_steps": 1500,
}  # fmt: skip

_ECCNOMA_PPO: dict[str, Any] = {
    **_ECCNOMA, "steps": 160_000, "num_envs": 128, "n_steps": 25, "batch_size": 400, "n_epochs": 4,
    "learning_rate": 1.5e-3, "gamma": 0.8, "gae_lambda": 0.9, "ent_coef": 0.0, "reward_scale": 0.1,
}  # fmt: skip

_LEARNS: dict[tuple[str, AgentName, PolicyName, str], dict[str, Any]] = {
    ("LyaPPO-v0", "ppo", "shared", "partition"): _LYAPPO_SHARED,
    ("LyaPPO-v0", "ppo", "central", "partition"): {
        "n_steps": 32, "batch_size": 1024, "n_epochs": 10, "learning_rate": 1e-3, "anneal": False, "ent_coef": 0.0,
    },
    ("LyaPPO-v0", "ppo", "shared", "joint"): _LYAPPO_JOINT,
    ("LyaPPO-v0", "ppo", "central", "joint"): {**_LYAPPO_JOINT, "batch_size": 1024, "n_epochs": 10},
    **{
        ("LyaPPO-v0", agent, policy, decision): {**_LYAPPO_OFF_POLICY[policy], **more}
        for agent in OFF_POLICY
        for policy in _POLICIES
        for decision, more in (
            ("partition", {}),
            ("joint", {"gamma": 0.95, "training_options": {"reward_backlog": 20.0}}),
        )
    },
    **{
        ("SemCom-v0", agent, policy, decision): _SEMCOM_PPO[policy] if agent == "ppo" else _SEMCOM_OFF_POLICY
        for agent in ("ppo", *OFF_POLICY)
        for policy in _POLICIES
        for decision in ("compression", "power_bandwidth", "joint")
    },
    ("DTIRS-v0", "ppo", "shared", ""): _DTIRS_PPO,
    ("DTIRS-v0", "ppo", "central", ""): {
        **_DTIRS_PPO, "steps": 80_000, "num_envs": 16, "batch_size": 512, "learning_rate": 1e-3,
    },
    **{("DTIRS-v0", agent, policy, ""): _DTIRS_OFF_POLICY for agent in OFF_POLICY for policy in _POLICIES},
    **{("DTIRS-v0", agent, "pooled", ""): {**_DTIRS_PPO, "batch_size": 128} for agent in ("ppo", "member-ppo")},
    **{
        ("DTIRS-v0", "dagger", policy, ""): {"training_options": _DTIRS["training_options"]}
        for policy in get_args(PolicyName)
    },
    ("ECCNOMA-v0", "member-ppo", "pooled", ""): {**_ECCNOMA_PPO, "steps": 240_000},
    ("ECCNOMA-v0", "ppo", "pooled", ""): _ECCNOMA_PPO,
    ("ECCNOMA-v0", "ppo", "central", ""): _ECCNOMA_PPO,
    # A minibatch counts rows, of which a world has one per user.
    ("ECCNOMA-v0", "ppo", "shared", ""): {**_ECCNOMA_PPO, "batch_size": 4800},
    **{("ECCNOMA-v0", "dagger", policy, ""): {**_ECCNOMA, "imitation_rounds": 4} for policy in get_args(PolicyName)},
}  # fmt: skip
"""Differences from the defaults above by (environment, agent, policy, decision). Found on validation episodes, but for
LyaPPO-v0's td3 and its off-policy agents of the joint decision, which have the values of ddpg and of ppo, and for
SemCom-v0's decisions other than compression, which have the values of that. DTIRS-v0's td3 has the values of ddpg.
ECCNOMA-v0's PPO has one set of values for all policies, found with member-ppo. Its off-policy agents have the defaults,
and so have pooled policies and imitation elsewhere; DTIRS-v0's have the values of its PPO, but for the minibatch."""

_PAPER: dict[tuple[str, AgentName], dict[str, Any]] = {
    ("LyaPPO-v0", "ppo"): {
        "steps": 500_000, "num_envs": 1, "n_steps": 200, "batch_size": 64, "n_epochs": 10, "learning_rate": 3e-4,
        "anneal": False, "gamma": 0.99, "gae_lambda": 0.0, "ent_coef": 0.0,
    },
    ("LyaPPO-v0", "ddpg"): {
        "steps": 500_000, "num_envs": 1, "learning_rate": 3e-4, "batch_size": 64, "gamma": 0.99, "gradient_steps": 1,
        "anneal": False,
    },
}  # fmt: skip
"""Sec. V of the LyaPPO paper: 2 x 128 units, learning rate 3e-4, 2500 episodes of 200 steps, one-step advantage; what
the paper leaves out (batch, epochs, discount, DDPG's buffer and noise) is Stable-Baselines3's default."""

_AGENT: dict[str, AgentName] = {"ECCNOMA-v0": "dagger"}
"""Where another agent than PPO is the better default."""

_USUAL_POLICY: dict[AgentName, PolicyName] = {
    "ppo": "shared", "member-ppo": "pooled", "dagger": "shared", "ddpg": "central", "td3": "central"
}  # fmt: skip
"""One policy for all members with PPO; DDPG as in the LyaPPO paper, central, and TD3 alike."""

_POLICY: dict[tuple[str, AgentName], PolicyName] = {
    **{(env_id, agent): "shared" for env_id in ("DTIRS-v0", "SemCom-v0") for agent in OFF_POLICY},
    **{("ECCNOMA-v0", agent): "pooled" for agent in IMITATORS},
}
"""Where another policy is the better default."""


def default_agent(env_id: str) -> AgentName:
    """What learns on an environment, unless told."""
    return _AGENT.get(env_id, "ppo")


def default_policy(env_id: str, agent: AgentName) -> PolicyName:
    """Whether an agent learns one policy for all members or one for the whole team, unless told."""
    return _POLICY.get((env_id, agent), _USUAL_POLICY[agent])


def settings_for(
    env_id: str, agent: AgentName, policy: PolicyName, decision: str, source: Literal["default", "paper"] = "default"
) -> Settings:
    """The hyper-parameters for an agent on an environment; unknown environments get the defaults above.

    Args:
        env_id: the environment.
        agent: what learns.
        policy: for whom it learns.
        decision: what an action means, in the words of the environment's configuration; "" where it has no choice.
        source: those that learn, or the paper's.

    Raises:
        ValueError: the paper's hyper-parameters where there is no such paper, or where it trains no such agent.
    """
    if source == "paper":
        if (env_id, agent) not in _PAPER:
            raise ValueError(
                f"--hyperparameters paper: no paper trains {agent} on {env_id}; use --hyperparameters default"
            )
        return Settings(**_PAPER[env_id, agent])
    found = _LEARNS.get((env_id, agent, policy, decision), {})
    if agent != "dagger":
        return Settings(**found)
    settings = Settings(**{**WARM_START, **found})
    return settings.model_copy(update={"steps": settings.shown, "num_envs": settings.imitation_worlds})
