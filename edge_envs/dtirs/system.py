"""`DTIRS-v0` as a System: devices that train a network split with their AP over an IRS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from gymnasium import spaces
from numpy.random import Generator

from edge_envs.core.invariants import Invariant, Step
from edge_envs.core.rules import Ablation, BaselineFactory
from edge_envs.core.runtime.snapshot import ANYTHING, BELOW_ONE
from edge_envs.core.system import Bound, CompiledSystem, IntArray, Kernels
from edge_envs.dtirs import bounds, invariants
from edge_envs.dtirs.config import DTIRSConfig, Model
from edge_envs.dtirs.model import dynamics, observation, reward
from edge_envs.dtirs.model.calibration import reference_of
from edge_envs.dtirs.model.parameters import parameters_of
from edge_envs.dtirs.model.state import State, allocate
from edge_envs.dtirs.model.step import run

FITTED = (
    "the paper leaves parameters of this model open; they were fitted so that proposed, no-irs and no-dt reach the "
    "levels of its Fig. 5 with 100 devices, so these levels confirm nothing"
)


class DTIRSSystem(CompiledSystem[State]):
    """Each device trains a split network; one step is one frame, with one exchange per device.

    The action has one index into `cut_numbers` per device: the number of layers that the device or its twin computes.
    Solvers choose twins, shares of the AP's processor, downlink powers and IRS phases. Each device is a member.
    """

    config_class = DTIRSConfig
    kernels = Kernels(allocate, observation.encode_all, run)
    metrics = reward.METRICS
    member_metrics = reward.MEMBER_METRICS
    headline = ("delay_s", "mean_cut", "local_share", "twin_share", "deadline_violations")
    reference_baseline = "best-static"
    strongest_baseline = "bcd"
    scratch = ("workspace",)
    remembered = invariants.REMEMBERED
    warmup_fraction = 0.0
    evaluation_episodes = 4

    def __init__(self, config: DTIRSConfig) -> None:
        """Build spaces and kernel parameters from a validated configuration."""
        self.config = config
        self.parameters = p = parameters_of(config)
        self.cut_numbers = p.cut_numbers
        """Layers before the cut, by index of an action, shape (L,)."""
        self.caveat = FITTED if config.model == Model.PRINTED else ""
        if config.migration and not bounds.uncovered(p):
            self.strongest_baseline = "planner"
        self.set_spaces(observation.member_views(p), observation.OBSERVATION_LIMIT)
        own, shared = observation.device_fields(p), observation.shared_fields(p)
        self.own_view = self.member_view[:, : len(own) + len(shared)]
        self.observation_fields = [*(f"{name}[{k}]" for k in range(self.members) for name in own), *shared]
        """Names of the columns of the observation; those of device k end in [k]."""
        self.action_space = spaces.MultiDiscrete(np.full(self.members, len(p.cut_numbers)))
        self.member_action_space = spaces.MultiDiscrete([len(p.cut_numbers)])

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Factories of the configuration's baselines, by name."""
        from edge_envs.dtirs.baselines import available

        return available(self.config)

    def ablations(self) -> Mapping[str, Ablation]:
        """The configuration's ablations, by name."""
        from edge_envs.dtirs.baselines import ablations

        return ablations(self.config)

    def bound(self, seeds: Sequence[int], steps: int) -> Bound:
        """Bound the mean `objective_s` by duality, with all random numbers known; see `edge_envs.dtirs.bounds`.

        Raises:
            NotImplementedError: the configuration has a part that the bound does not cover.
        """
        return bounds.bound(self, seeds, steps)

    @cached_property
    def reference_s(self) -> float:
        """Mean objective of the best common cut [s], by which rewards are divided; the same for every seed.

        Raises:
            ValueError: the links are too weak, or work or bits too large, for a finite delay.
        """
        return reference_of(self.config)

    @cached_property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Limits of counters, indices and uniform draws, by field of the state."""
        p = self.parameters
        return {
            "device_draws": (0.0, BELOW_ONE), "uniforms": (0.0, BELOW_ONE), "level": (0.0, len(p.pool_levels) - 1.0),
            "choice": (0.0, len(p.cut_numbers) - 1.0), "held": (0.0, len(p.cut_numbers) - 1.0), "moving": (0.0, 1.0),
            "lap": (0.0, 1.0), "relaxation": ANYTHING,
        }  # fmt: skip

    def reset(self, state: State, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Draw devices, positions, loads and fading, and solve the phases of the first frame.

        Raises:
            ValueError: the links are too weak, or work or bits too large, for a finite delay.
        """
        assert self.reference_s > 0.0
        self.draw(state, rows, rngs)
        for row in rows.tolist():
            dynamics.begin_episode(self.parameters, state, row)

    def draw(self, state: State, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Draw the random numbers of the next frame; `phase_passes` of the current frame use some of them, too."""
        for row in rows.tolist():
            dynamics.draw(state, row, rngs[row])

    def kernel_arguments(self) -> tuple[float]:
        """`reference_s`, by which the kernel divides the reward."""
        return (self.reference_s,)

    def invariants(self, state: State, step: Step | None) -> Iterable[Invariant]:
        """Limits on power, pool and phases; all reported numbers recomputed from the allocation."""
        return invariants.invariants(self.parameters, state, step, self.reference_s)
