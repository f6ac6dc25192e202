"""`ECCNOMA-v0` as a System: decode the action, solve and advance in the kernel, reward and encode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.invariants import Invariant, Step
from edge_envs.core.kernels.jit import FastCall
from edge_envs.core.rules import Ablation, BaselineFactory
from edge_envs.core.runtime.snapshot import BELOW_ONE
from edge_envs.core.system import IntArray, Outcome, System
from edge_envs.eccnoma import invariants
from edge_envs.eccnoma.config import ECCNOMAConfig
from edge_envs.eccnoma.model import dynamics, reward
from edge_envs.eccnoma.model import observation as observation_module
from edge_envs.eccnoma.model import state as state_module
from edge_envs.eccnoma.model import step as step_module
from edge_envs.eccnoma.model.state import State

FITTED = (
    "the paper leaves bandwidths, speeds and weights of this model open; the server's speed and weights were "
    "fitted to its Figs. 2-7, so that agreement with these confirms little"
)


class ECCNOMASystem(System[State]):
    """Users that split networks with the edge servers of several cells over NOMA; one step is one frame.

    The action holds one index per user into the cuts of its network. Subchannels, powers and the servers' units are
    solved on the true state; what is observed of channels and servers is one frame old, unless csi_delay=0.
    """

    config_class = ECCNOMAConfig
    metrics = reward.METRICS
    member_metrics = reward.MEMBER_METRICS
    reference_baseline = "iterated-best-response"
    logged = ("relative_cost",)
    scratch = ("work",)
    remembered = invariants.REMEMBERED
    warmup_fraction = 0.0
    evaluation_episodes = 12

    def __init__(self, config: ECCNOMAConfig) -> None:
        """Build spaces and kernel parameters from a validated configuration."""
        self.config = config
        self.parameters = config.kernel()
        self.members = config.num_users
        self.strongest_baseline = "coordinate-descent-true" if config.csi_delay else "coordinate-descent"
        self.caveat = "" if config.arrivals == "bursty" else FITTED
        self.headline = (
            ("relative_cost", "delay_s", "energy_j", "tasks_dropped", "local_share")
            if config.arrivals == "bursty"
            else ("delay_s", "energy_j", "relative_cost", "edge_share", "local_share")
        )
        own, choices = observation_module.facts(self.parameters), self.parameters.num_choices
        width = own + choices + config.num_aps
        self.member_view = np.arange(self.members * width).reshape(self.members, width)
        self.own_view = self.member_view[:, :own]
        self.mask_view = self.member_view[:, own : own + choices]
        self.group_view = self.member_view[:, own + choices :]
        self._size = self.members * width
        limit = observation_module.OBSERVATION_LIMIT
        self.observation_space = spaces.Box(-limit, limit, (self._size,), np.float32)
        self.member_observation_space = spaces.Box(-limit, limit, (width,), np.float32)
        self.action_space = spaces.MultiDiscrete(np.full(self.members, choices))
        self.member_action_space = spaces.MultiDiscrete([choices])
        self._run = FastCall(step_module.run)

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Factories of the configuration's baselines, by name."""
        from edge_envs.eccnoma.baselines import available

        return available(self)

    def ablations(self) -> Mapping[str, Ablation]:
        """The configuration's ablations, by name."""
        from edge_envs.eccnoma.baselines import ablations

        return ablations(self)

    @cached_property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Limits of counters, indices and uniform draws, by field of the state."""
        p = self.parameters
        level, tasks = (0.0, len(p.background) - 1.0), (0.0, p.queue_max)
        return {
            "network": (0.0, len(p.choices) - 1.0), "ap": (0.0, p.num_aps - 1.0), "phase": (0.0, 1.0), "level": level,
            "seen_level": level, "queue": tasks, "choice": (0.0, p.num_choices - 1.0), "keys": (0.0, BELOW_ONE),
            "uniforms": (0.0, BELOW_ONE),
        }  # fmt: skip

    def allocate(self, batch: int) -> State:
        """State arrays of `batch` worlds."""
        return state_module.allocate(self.config, self.parameters, batch)

    def reset(self, state: State, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Users, places, fading, tasks and background load drawn anew."""
        for row in rows.tolist():
            dynamics.begin_episode(self.config, self.parameters, state, row, rngs[row])

    def observe(self, state: State) -> NDArray[np.float32]:
        """What is known of the frame to come: tasks, old channels and loads, open choices, who belongs to which AP."""
        observation = np.empty((len(state.reference), self._size), dtype=np.float32)
        observation_module.encode_all(self.parameters, state, observation)
        return observation

    def step(self, state: State, rows: IntArray, actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        """One frame."""
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        # Numbers of the next frame, into which this one leads.
        for row in rows.tolist():
            dynamics.draw(self.parameters, state, row, rngs[row])
        outcome, member = self.blank_outcome(len(state.reference))
        self._run(self.parameters, state, rows, actions, outcome.observation, outcome.reward, member, outcome.metrics)
        return outcome

    def invariants(self, state: State, step: Step | None) -> Iterable[Invariant]:
        """Limits on bands, powers and units; everything reported worked out again from the allocation."""
        return invariants.invariants(self.parameters, state, step)
