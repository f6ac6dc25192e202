"""Hyper-parameters: those that learn (default), and the papers' own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=4096)]


class Settings(BaseModel):
    """How one agent learns on one environment. Step counts are in steps of a world."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: Count = 200_000
    """Steps of training, all worlds together."""
    num_envs: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Worlds that run side by side."""
    learning_rate: Positive = 5e-4
    """Learning rate at the start."""
    anneal: bool = True
    """Let learning rate and entropy bonus fall linearly to zero."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Discount factor."""
    batch_size: Count = 4096
    """Rows in a minibatch."""
    hidden: Annotated[tuple[Width, ...], Field(max_length=16)] = (128, 128)
    """Widths of the hidden layers, of policy and value network alike."""
    reward_scale: Positive = 1.0
    """Factor on the rewards the agent sees."""
    training_options: dict[str, Any] = {}
    """Environment parameters that hold in training only."""
    n_steps: Count = 16
    """PPO: steps per world and update."""
    n_epochs: Count = 4
    """PPO: passes over the data of an update."""
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 0.9
    """PPO: lambda of the generalised advantage."""
    ent_coef: Annotated[float, Field(ge=0)] = 0.03
    """PPO: entropy bonus at the start. Chosen on validation episodes of LyaPPO-v0, training seeds 0, 10-13, 20-22: with
    half of it some trainings lock in a wrong cut early."""
    clip_range: Positive = 0.2
    """PPO: clipping of the probability ratio."""
    log_std_init: float = 0.0
    """PPO with continuous actions: log of the initial standard deviation."""
    buffer_size: Count = 200_000
    """DDPG: transitions kept."""
    tau: Annotated[float, Field(gt=0, le=1)] = 0.005
    """DDPG: speed at which the target networks follow."""
    action_noise: Annotated[float, Field(ge=0)] = 0.3
    """DDPG: standard deviation of the exploration noise."""
    gradient_steps: Count = 4
    """DDPG: gradient steps per step of all worlds."""

    @model_validator(mode="after")
    def _one_row_is_no_update(self) -> Self:
        if self.n_steps * self.num_envs < 2:
            raise ValueError("n_steps * num_envs must be at least 2: PPO normalises advantages over the update")
        return self


AgentName = Literal["ppo", "ddpg"]
PolicyName = Literal["shared", "central"]

_LEARNS: dict[tuple[str, ...], dict[str, Any]] = {
    ("LyaPPO-v0", "ppo", "shared", "partition"): {},
    ("LyaPPO-v0", "ppo", "central", "partition"): {
        "n_steps": 32, "batch_size": 1024, "n_epochs": 10, "learning_rate": 1e-3, "anneal": False, "ent_coef": 0.0,
    },
    ("LyaPPO-v0", "ppo", "shared", "joint"): {
        "steps": 120_000, "gamma": 0.95, "gae_lambda": 0.95, "log_std_init": -1.0, "reward_scale": 0.2, "ent_coef": 0.0,
        "training_options": {"reward_backlog": 20.0},
    },
    ("LyaPPO-v0", "ppo", "central", "joint"): {
        "steps": 120_000, "gamma": 0.95, "gae_lambda": 0.95, "log_std_init": -1.0, "reward_scale": 0.2, "ent_coef": 0.0,
        "training_options": {"reward_backlog": 20.0}, "batch_size": 1024, "n_epochs": 10,
    },
    ("LyaPPO-v0", "ddpg", "central", "partition"): {
        "steps": 60_000, "num_envs": 32, "learning_rate": 3e-4, "batch_size": 256, "reward_scale": 0.25,
        "anneal": False,
    },
    ("LyaPPO-v0", "ddpg", "shared", "partition"): {
        "steps": 60_000, "num_envs": 32, "learning_rate": 3e-4, "batch_size": 256, "gradient_steps": 8, "anneal": False,
    },
}  # fmt: skip
"""Differences from the defaults above by (environment, agent, policy, decision); found on validation episodes."""

_PAPER: dict[tuple[str, str], dict[str, Any]] = {
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


def default_policy(agent: AgentName) -> PolicyName:
    """One policy for all members with PPO; DDPG as in the paper, central."""
    return "shared" if agent == "ppo" else "central"


def settings_for(
    env_id: str, agent: AgentName, policy: PolicyName, decision: str, source: Literal["default", "paper"] = "default"
) -> Settings:
    """The hyper-parameters for an agent on an environment; unknown environments get the defaults above."""
    if source == "paper":
        return Settings(**_PAPER.get((env_id, agent), {}))
    return Settings(**_LEARNS.get((env_id, agent, policy, decision), {}))
