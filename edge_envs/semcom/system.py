"""`SemCom-v0` as a System: decode the action, solve and advance in the kernel, reward and encode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.invariants import Invariant, Step
from edge_envs.core.kernels.jit import FastCall
from edge_envs.core.kernels.randomness import BLOCK_STEPS, refill
from edge_envs.core.rules import BaselineFactory
from edge_envs.core.runtime.snapshot import BELOW_ONE, COUNT_MAX
from edge_envs.core.system import IntArray, Outcome, System
from edge_envs.semcom import invariants
from edge_envs.semcom.config import SemComConfig
from edge_envs.semcom.model import calibration, reward
from edge_envs.semcom.model import observation as observation_module
from edge_envs.semcom.model import state as state_module
from edge_envs.semcom.model import step as step_module
from edge_envs.semcom.model.allocation import VARIABLES
from edge_envs.semcom.model.state import State

HEADLINES = {
    "long_term": ("cost", "shortfall_db", "targets_met", "queue_db", "psnr_mean_db"),
    "hard": ("objective", "round_shortfall_db", "delay_s", "energy_j", "psnr_mean_db"),
    "utility": ("cost", "psnr_mean_db", "delay_s", "energy_j"),
}
"""Columns of a table of results, by `psnr_mode`."""
COST_MAX = 1e6
"""Largest mean cost of a round at the smallest compression rates [-]; beyond ten times that, digits are lost."""


class SemComSystem(System[State]):
    """Devices that train an image codec with their base station; one step is one round of Algorithm 1.

    With `decision="compression"` the action is one number per device in [-1, 1], its compression rate between the
    limits; the rest is solved. With "power_bandwidth" it is (power, bandwidth) per device and P3 sets the rest; with
    "joint" it is (power, bandwidth, device frequency, server frequency, compression) and nothing is solved.
    """

    config_class = SemComConfig
    metrics = reward.METRICS
    member_metrics = reward.MEMBER_METRICS
    reference_baseline = "best-static"
    scratch = ("problem", "work", "rates", "goal_db", "rho", "limits")
    remembered = invariants.REMEMBERED
    warmup_fraction = 0.0
    evaluation_episodes = 4

    def __init__(self, config: SemComConfig) -> None:
        """Build spaces and kernel parameters from a validated configuration."""
        self.config = config
        self.parameters = config.kernel()
        self.members = config.num_devices
        self.headline = HEADLINES[config.psnr_mode]
        per_round = config.psnr_mode == "hard" or config.decision != "compression"
        self.strongest_baseline = "joint" if per_round else "drift-polish"
        facts = observation_module.facts(self.parameters)
        self._size = self.members * facts
        self.member_view = np.arange(self._size).reshape(self.members, facts)
        self.observation_space = self._box(self._size, observation_module.OBSERVATION_LIMIT)
        self.member_observation_space = self._box(facts, observation_module.OBSERVATION_LIMIT)
        variables = VARIABLES[self.parameters.decision]
        self.action_space = self._box(self.members * variables, 1.0)
        self.member_action_space = self._box(variables, 1.0)
        self._run = FastCall(step_module.run)

    @staticmethod
    def _box(size: int, limit: float) -> spaces.Box:
        return spaces.Box(-limit, limit, (size,), np.float32)

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Factories of the configuration's baselines, by name."""
        from edge_envs.semcom.baselines import available

        return available(self)

    @cached_property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Limits of counters, indices and uniform draws, by field of the state."""
        return {
            "rounds": (0.0, COUNT_MAX), "relaxed": (0.0, self.members), "uniforms": (0.0, BELOW_ONE),
            "cursor": (0.0, BLOCK_STEPS),
        }  # fmt: skip

    def allocate(self, batch: int) -> State:
        """State arrays of `batch` worlds."""
        return state_module.allocate(self.parameters, batch)

    def reset(self, state: State, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Fading, virtual queues and, where it is random, the geometry drawn anew.

        Raises:
            ValueError: parameters so far apart that a round's mean cost is beyond `COST_MAX` or not finite.
        """
        scale, targets = (0.0, state.goal_db) if self.parameters.reset_geometry else _calibrated(self.config)
        for row in rows.tolist():
            draws = rngs[row].random((self.members, step_module.RESET_DRAWS))
            step_module.begin_episode(self.parameters, state, row, draws, scale, targets)
            if not state.cost_scale[row] <= COST_MAX:
                raise ValueError(
                    f"a round's cost is {state.cost_scale[row]} with these parameters, and must be at most {COST_MAX}: "
                    "the links are too weak, or the bits, cycles or frequencies beyond all measure; bring them nearer "
                    "to the defaults"
                )
            observation_module.start_price(self.parameters, state, row)

    def observe(self, state: State) -> NDArray[np.float32]:
        """What the devices know of the round to come: fades, virtual queues, and as configured prices and geometry."""
        observation = np.empty((len(state.rounds), self._size), dtype=np.float32)
        observation_module.encode_all(self.parameters, state, observation)
        return observation

    def step(self, state: State, rows: IntArray, actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        """One training round."""
        batch = len(state.rounds)
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        refill(state.uniforms, state.cursor, rows, rngs)
        outcome, member = self.blank_outcome(batch)
        self._run(self.parameters, state, rows, actions, outcome.observation, outcome.reward, member, outcome.metrics)
        return outcome

    def invariants(self, state: State, step: Step | None) -> Iterable[Invariant]:
        """The limits of P1, and everything reported worked out again from the devices' allocation."""
        return invariants.invariants(self.parameters, state, step)


def _calibrated(config: SemComConfig) -> tuple[float, NDArray[np.float64]]:
    """Cost scale and requirements (N,) of a fixed geometry."""
    return _calibrate(config.model_dump_json())


@lru_cache(maxsize=64)
def _calibrate(document: str) -> tuple[float, NDArray[np.float64]]:
    """`_calibrated` by the configuration's text, as systems are built often and calibrated slowly."""
    p = SemComConfig.model_validate_json(document).kernel()
    state = state_module.allocate(p, 1)
    state.mean_gain[0], state.device_cycles[0], state.server_cycles[0] = p.geometry
    calibration.calibrate_row(p, state, 0)
    return float(state.cost_scale[0]), state.target_db[0].copy()
