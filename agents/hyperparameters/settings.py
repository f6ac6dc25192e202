"""Hyper-parameters: those that learn (default), and the papers' own."""

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
"""Whose advantages a member's action is rewarded with: those of its group, of all, or its own alone."""

Width = Annotated[int, Field(ge=1, le=4096)]

WEIGHTS_MAX = 1 << 25


OFF_POLICY: tuple[AgentName, ...] = ("ddpg", "td3")
"""Agents that learn from stored transitions, with continuous actions."""

IMITATORS: tuple[AgentName, ...] = ("ppo", "member-ppo", "dagger")
"""Agents that can imitate a baseline; all but the last go on without it."""

WARM_START: dict[str, Any] = {"imitation_rounds": 3}
"""What an agent that could do without imitation gets where it is asked for."""


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
    """Let learning rate and entropy bonus fall linearly to zero, the latter by `ent_until`."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Discount factor."""
    batch_size: Rows = 4096
    """Rows in a minibatch."""
    hidden: Annotated[tuple[Width, ...], Field(max_length=16)] = (128, 128)
    """Widths of the hidden layers, of policy and value network alike."""
    reward_scale: Positive = 1.0
    """Factor on the rewards the agent sees."""
    training_options: dict[str, Any] = {}
    """Environment parameters that hold in training only."""
    n_steps: Rows = 16
    """PPO: steps per world and update."""
    n_epochs: Count = 4
    """PPO: passes over the data of an update."""
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 0.9
    """PPO: lambda of the generalised advantage."""
    ent_coef: Annotated[float, Field(ge=0)] = 0.03
    """PPO: entropy bonus at the start. Chosen on validation episodes of LyaPPO-v0, training seeds 0, 10-13, 20-22: with
    half of it some trainings lock in a wrong cut early."""
    ent_until: Annotated[float, Field(gt=0, le=1)] = 1.0
    """PPO: part of the training after which an annealed entropy bonus is zero."""
    clip_range: Positive = 0.2
    """PPO: clipping of the probability ratio."""
    log_std_init: float = 0.0
    """PPO with continuous actions: log of the initial standard deviation."""
    buffer_size: Rows = 200_000
    """DDPG, TD3: transitions kept."""
    learning_starts: Annotated[int, Field(ge=0, le=10**12)] | None = None
    """DDPG, TD3: transitions with random actions before the first update (None: as many as a minibatch has)."""
    tau: Annotated[float, Field(gt=0, le=1)] = 0.005
    """DDPG, TD3: speed at which the target networks follow."""
    action_noise: Annotated[float, Field(ge=0)] = 0.3
    """DDPG, TD3: standard deviation of the exploration noise."""
    gradient_steps: Count = 4
    """DDPG, TD3: gradient steps per step of all worlds."""
    credit: Credit = "group"
    """Member-PPO: whose advantages a member's action is rewarded with."""
    imitation_rounds: Annotated[int, Field(ge=0, le=10**6)] = 0
    """Imitation: rounds of showing and learning, before PPO where the agent goes on with that; 0 for no imitation."""
    imitation_worlds: Annotated[int, Field(ge=1, le=65_536)] = 32
    """Imitation: worlds that run side by side."""
    imitation_frames: Rows = 60
    """Imitation: steps per world and round."""
    imitation_steps: Count = 500
    """Imitation: gradient steps per round."""
    imitation_batch: Rows = 256
    """Imitation: steps of a world in a minibatch."""
    imitation_rate: Positive = 2e-3
    """Imitation: learning rate at the start of a round; falls linearly to zero within it."""
    expert: str = ""
    """Imitation: name of the baseline that is imitated; empty for the one that others are measured against."""

    @property
    def shown(self) -> int:
        """Steps of a world that imitation takes, all worlds and rounds together."""
        return self.imitation_rounds * self.imitation_worlds * self.imitation_frames

    @property
    def least_weights(self) -> int:
        """Weights between the hidden layers, of which every network has at least so many."""
        return sum(width * following for width, following in pairwise(self.hidden))

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if self.least_weights > WEIGHTS_MAX:
            raise ValueError(f"hidden has {self.least_weights} weights between its layers, more than {WEIGHTS_MAX}")
        return self

    @model_validator(mode="after")
    def _one_row_is_no_update(self) -> Self:
        if self.n_steps * self.num_envs < 2:
            raise ValueError("n_steps * num_envs must be at least 2: PPO normalises advantages over the update")
        return self
