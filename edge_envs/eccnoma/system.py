"""`ECCNOMA-v0` as a System: spaces, reset, and the random numbers of a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.invariants import Invariant, Step
from edge_envs.core.rules import Ablation, BaselineFactory
from edge_envs.core.runtime.snapshot import BELOW_ONE
from edge_envs.core.system import Bound, CompiledSystem, IntArray, Kernels
from edge_envs.eccnoma import bounds, invariants
from edge_envs.eccnoma.config import Arrivals, ECCNOMAConfig
from edge_envs.eccnoma.model import dynamics, observation, reward, state, step
from edge_envs.eccnoma.model.parameters import parameters_of

FITTED = (
    "the paper leaves bandwidths, speeds and weights of this model open; the server's speed and weights were "
    "fitted to its Figs. 2-7, so that agreement with these confirms little"
)


class ECCNOMASystem(CompiledSystem[state.State]):
    """Users whose networks are split between their devices and the edge servers of several cells, over NOMA.

    The action has one index per user into the cuts of its network. Subchannels, powers and the servers' units are then
    optimised for the true state. Observed channels and background loads are one step old unless csi_delay=0.
    """

    config_class = ECCNOMAConfig
    kernels = Kernels(state.allocate, observation.encode_all, step.run)
    metrics = reward.METRICS
    member_metrics = reward.MEMBER_METRICS
    reference_baseline = "iterated-best-response"
    logged = ("relative_cost",)
    scratch = ("workspace",)
    remembered = invariants.REMEMBERED
    warmup_fraction = 0.0
    evaluation_episodes = 12

    def __init__(self, config: ECCNOMAConfig) -> None:
        """Build spaces and kernel parameters from a validated configuration."""
        self.config = config
        self.parameters = parameters_of(config)
        bursty = config.arrivals == Arrivals.BURSTY
        self.strongest_baseline = "coordinate-descent-true" if config.csi_delay else "coordinate-descent"
        if config.slices is None:
            self.leave_out(reward.OF_SLICES)
        else:
            self.reference_baseline = "rank"
            self.strongest_baseline = "rank" if bounds.uncovered(self.parameters) else "planner"
        self.caveat = "" if bursty else FITTED
        self.headline = (
            ("relative_cost", "delay_s", "energy_j", "tasks_dropped", "local_share")
            if bursty
            else ("delay_s", "energy_j", "relative_cost", "edge_share", "local_share")
        )
        own, choices = observation.facts(self.parameters), self.parameters.num_choices
        width = own + choices + config.num_aps
        view = np.arange(config.num_users * width).reshape(config.num_users, width)
        self.set_spaces(view, observation.OBSERVATION_LIMIT)
        self.observation_fields = [
            f"{name}[{u}]" for u in range(config.num_users) for name in observation.fields(self.parameters)
        ]
        """Names of the columns of the observation; those of user u end in [u]."""
        self.own_view = view[:, :own]
        self.mask_view = view[:, own : own + choices]
        self.group_view = view[:, own + choices :]
        self.action_space = spaces.MultiDiscrete(np.full(self.members, choices))
        self.member_action_space = spaces.MultiDiscrete([choices])

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Factories of the configuration's baselines, by name."""
        from edge_envs.eccnoma.baselines import available

        return available(self.config)

    def ablations(self) -> Mapping[str, Ablation]:
        """The configuration's ablations, by name."""
        from edge_envs.eccnoma.baselines import ablations

        return ablations(self.config)

    def bound(self, seeds: Sequence[int], steps: int) -> Bound:
        """Bound the mean `relative_cost` by duality, with all random numbers known; see `edge_envs.eccnoma.bounds`.

        Raises:
            NotImplementedError: the configuration has a part that the bound does not cover.
        """
        return bounds.bound(self, seeds, steps)

    @cached_property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Limits of counters, indices and uniform draws, by field of the state."""
        p = self.parameters
        level, tasks = (0.0, len(p.background_levels) - 1.0), (0.0, p.queue_max)
        return {
            "network": (0.0, len(p.choices) - 1.0), "ap": (0.0, p.num_aps - 1.0), "phase": (0.0, 1.0), "level": level,
            "seen_level": level, "queue": tasks, "choice": (0.0, p.num_choices - 1.0), "holds": (0.0, 1.0),
            "loaded": (0.0, float(p.load_steps.max())), "keys": (0.0, BELOW_ONE),
            "uniforms": (0.0, BELOW_ONE),
        }  # fmt: skip

    def upgraded(self, snapshot: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Add the arrays that snapshots did not have before the slices."""
        choice = snapshot.get("state.choice")
        if choice is None or self.config.slices is not None:
            return snapshot
        return {"state.holds": np.zeros_like(choice), "state.loaded": np.zeros_like(choice), **snapshot}

    def reset(self, state: state.State, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Draw new users, positions, fading, tasks and background loads."""
        for row in rows.tolist():
            dynamics.begin_episode(self.parameters, state, row, rngs[row])

    def draw(self, state: state.State, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Draw the random numbers that lead to the next step."""
        for row in rows.tolist():
            dynamics.draw(self.parameters, state, row, rngs[row])

    def invariants(self, state: state.State, step: Step | None) -> Iterable[Invariant]:
        """Limits on bands, powers and units; all reported numbers recomputed from the allocation."""
        return invariants.invariants(self.parameters, state, step)
