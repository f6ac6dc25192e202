"""`SemCom-v0` as a System: spaces, reset and step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.random import Generator

from edge_envs.core.invariants import Invariant, Step
from edge_envs.core.kernels.jit import FastCall
from edge_envs.core.kernels.randomness import BLOCK_STEPS
from edge_envs.core.rules import BaselineFactory
from edge_envs.core.runtime.snapshot import BELOW_ONE, COUNT_MAX
from edge_envs.core.system import CompiledSystem, IntArray, Kernels, box
from edge_envs.semcom import invariants
from edge_envs.semcom.config import Decision, PsnrMode, SemComConfig
from edge_envs.semcom.model import observation, reward, step
from edge_envs.semcom.model.allocation import VARIABLES
from edge_envs.semcom.model.calibration import calibrated, check_cost_scale
from edge_envs.semcom.model.parameters import parameters_of
from edge_envs.semcom.model.state import SEARCH_FIELDS, State, allocate

HEADLINES: Mapping[str, tuple[str, ...]] = {
    PsnrMode.LONG_TERM: ("cost", "shortfall_db", "targets_met", "queue_db", "psnr_mean_db"),
    PsnrMode.HARD: ("objective", "round_shortfall_db", "delay_s", "energy_j", "psnr_mean_db"),
    PsnrMode.UTILITY: ("cost", "psnr_mean_db", "delay_s", "energy_j"),
}
"""Metrics shown in tables of results, by `psnr_mode`."""


class SemComSystem(CompiledSystem[State]):
    """Devices that train an image codec with their base station; one step is one round of Algorithm 1.

    With `decision="compression"`, the action is one number per device in [-1, 1], its compression rate within the
    limits, and a solver computes the other variables. With "power_bandwidth" it is (power, bandwidth) per device, and
    P3 gives the other variables. With "joint" it is (power, bandwidth, device frequency, server frequency, compression)
    per device, and nothing is solved.
    """

    config_class = SemComConfig
    metrics = reward.METRICS
    member_metrics = reward.MEMBER_METRICS
    reference_baseline = "best-static"
    scratch = ("problem", "workspace", "rule", *SEARCH_FIELDS)
    remembered = invariants.REMEMBERED
    warmup_fraction = 0.0
    evaluation_episodes = 4
    kernels = Kernels(allocate, observation.encode_all, step.run)

    def __init__(self, config: SemComConfig) -> None:
        """Build spaces and kernel parameters from a validated configuration."""
        self.config = config
        self.parameters = parameters_of(config)
        self.headline = HEADLINES[config.psnr_mode]
        per_round = config.psnr_mode == PsnrMode.HARD or config.decision != Decision.COMPRESSION
        self.strongest_baseline = "joint" if per_round else "drift-polish"
        view = np.arange(config.num_devices * observation.facts(self.parameters)).reshape(config.num_devices, -1)
        self.set_spaces(view, observation.OBSERVATION_LIMIT)
        variables = VARIABLES[config.decision]
        self.action_space, self.member_action_space = box(self.members * variables, 1.0), box(variables, 1.0)
        self._begin, self._price = FastCall(step.begin_episode), FastCall(observation.update_price)

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Factories of the configuration's baselines, by name."""
        from edge_envs.semcom.baselines import available

        return available(self.config)

    @cached_property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Limits of counters, indices and uniform draws, by field of the state."""
        return {
            "rounds": (0.0, COUNT_MAX), "relaxed": (0.0, self.members), "uniforms": (0.0, BELOW_ONE),
            "cursor": (0.0, BLOCK_STEPS),
        }  # fmt: skip

    def reset(self, state: State, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Draw the fading, the virtual queues and (if it is random) the geometry.

        Raises:
            ValueError: extreme parameters, with which the mean cost of a round is too large or not finite.
        """
        scale, target_db = (0.0, np.empty(0)) if self.parameters.reset_geometry else calibrated(self.config)
        for row in rows.tolist():
            draws = rngs[row].random((self.members, step.RESET_DRAWS))
            self._begin(self.parameters, state, row, draws, scale, target_db)
            check_cost_scale(state.cost_scale[row])
            self._price(self.parameters, state, row)

    def invariants(self, state: State, step: Step | None) -> Iterable[Invariant]:
        """The limits of P1, and all reported values recomputed from the devices' allocation."""
        return invariants.invariants(self.parameters, state, step)
