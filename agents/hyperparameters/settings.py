"""The hyper-parameters of an agent, with their limits and general defaults."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]

Count = Annotated[int, Field(ge=1, le=10**12)]

Rows = Annotated[int, Field(ge=1, le=10**8)]

AgentName = Literal["ppo", "member-ppo", "dagger", "ddpg", "td3"]

PolicyName = Literal["shared", "central", "pooled"]

Credit = Literal["group", "team", "own"]
"""Members whose advantages are summed to reward a member's action: those of its group, all (team), or itself (own)."""

Width = Annotated[int, Field(ge=1, le=4096)]

WEIGHTS_MAX = 1 << 25


OFF_POLICY: tuple[AgentName, ...] = ("ddpg", "td3")
"""Agents that learn from a replay buffer, with continuous actions."""

IMITATORS: tuple[AgentName, ...] = ("ppo", "member-ppo", "dagger")
"""Agents that can imitate a baseline. PPO and member-PPO continue with reinforcement learning; dagger only imitates."""

WARM_START: dict[str, Any] = {"imitation_rounds": 3}
"""Settings that turn imitation on for an agent whose own settings do not."""


class Settings(BaseModel):
    """The hyper-parameters of one agent on one environment. Steps are counted per world."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: Count = 200_000
    """Training steps, summed over all worlds."""
    num_envs: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Number of parallel worlds."""
    learning_rate: Positive = 5e-4
    """Initial learning rate."""
    anneal: bool = True
    """Decrease the learning rate and the entropy bonus linearly to zero, the bonus by `ent_until`."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Discount factor."""
    batch_size: Rows = 4096
    """Rows per minibatch."""
    hidden: Annotated[tuple[Width, ...], Field(max_length=16)] = (128, 128)
    """Widths of the hidden layers, equal for the policy and the value network."""
    reward_scale: Positive = 1.0
    """Factor on the rewards that the agent receives."""
    training_options: dict[str, Any] = {}
    """Environment parameters that apply during training only."""
    n_steps: Rows = 16
    """PPO: steps per world between two updates."""
    n_epochs: Count = 4
    """PPO: passes over the data per update."""
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 0.9
    """PPO: lambda of generalised advantage estimation."""
    ent_coef: Annotated[float, Field(ge=0)] = 0.03
    """PPO: initial entropy bonus. Chosen on validation episodes of LyaPPO-v0, training seeds 0, 10-13, 20-22: with half
    of it, some trainings settle on a wrong cut early."""
    ent_until: Annotated[float, Field(gt=0, le=1)] = 1.0
    """PPO: fraction of the training after which an annealed entropy bonus is zero."""
    clip_range: Positive = 0.2
    """PPO: clipping range of the probability ratio."""
    log_std_init: float = 0.0
    """PPO with continuous actions: log of the initial standard deviation."""
    buffer_size: Rows = 200_000
    """DDPG, TD3: capacity of the replay buffer [transitions]."""
    learning_starts: Annotated[int, Field(ge=0, le=10**12)] | None = None
    """DDPG, TD3: transitions with random actions before the first update (None: `batch_size`)."""
    tau: Annotated[float, Field(gt=0, le=1)] = 0.005
    """DDPG, TD3: update rate of the target networks."""
    action_noise: Annotated[float, Field(ge=0)] = 0.3
    """DDPG, TD3: standard deviation of the exploration noise."""
    gradient_steps: Count = 4
    """DDPG, TD3: gradient steps after each step of all worlds."""
    credit: Credit = "group"
    """Member-PPO: see `Credit`."""
    imitation_rounds: Annotated[int, Field(ge=0, le=10**6)] = 0
    """Imitation: rounds, each of collecting demonstrations and learning; 0 for no imitation."""
    imitation_worlds: Annotated[int, Field(ge=1, le=65_536)] = 32
    """Imitation: number of parallel worlds."""
    imitation_frames: Rows = 60
    """Imitation: steps per world and round."""
    imitation_steps: Count = 500
    """Imitation: gradient steps per round."""
    imitation_batch: Rows = 256
    """Imitation: steps per minibatch."""
    imitation_rate: Positive = 2e-3
    """Imitation: initial learning rate of each round; decreases linearly to zero within the round."""
    expert: str = ""
    """Imitation: name of the baseline to imitate; empty for the environment's reference baseline."""

    @property
    def demonstration_steps(self) -> int:
        """Steps that imitation takes, summed over all worlds and rounds."""
        return self.imitation_rounds * self.imitation_worlds * self.imitation_frames

    @property
    def least_weights(self) -> int:
        """Weights between the hidden layers, a lower bound on the weights of the network."""
        return sum(width * following for width, following in pairwise(self.hidden))

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if self.least_weights > WEIGHTS_MAX:
            raise ValueError(f"hidden has {self.least_weights} weights between its layers, more than {WEIGHTS_MAX}")
        return self

    @model_validator(mode="after")
    def _one_row_is_no_update(self) -> Self:
        if self.n_steps * self.num_envs < 2:
            raise ValueError("n_steps * num_envs must be at least 2: PPO normalises advantages within an update")
        return self
