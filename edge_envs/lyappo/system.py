"""`LyaPPO-v0`: XR devices that partition neural networks, as a System."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.invariants import Invariant, Step
from edge_envs.core.io.extras import load_cvxpy
from edge_envs.core.kernels.randomness import BLOCK_STEPS
from edge_envs.core.rules import BaselineFactory
from edge_envs.core.runtime.snapshot import BELOW_ONE, COUNT_MAX
from edge_envs.core.system import CompiledSystem, IntArray, Kernels, box
from edge_envs.lyappo import invariants
from edge_envs.lyappo.config import Decision, LyaPPOConfig, Solver
from edge_envs.lyappo.model import reward, step
from edge_envs.lyappo.model.allocation import decode_joint
from edge_envs.lyappo.model.observation import OBSERVATION_LIMIT, encode, member_view
from edge_envs.lyappo.model.parameters import DECISION, parameters_of
from edge_envs.lyappo.model.state import State, allocate


class LyaPPOSystem(CompiledSystem[State]):
    """XR devices whose networks are partitioned once per step; resources are allocated in each slot of the step.

    With `decision="partition"` the action has one index per service (MultiDiscrete): the cut minus `k_min`. With
    `decision="joint"` it is a Box in [-1, 1]. Per device it has four numbers per service (cut, share of the device's
    processor, share of its rate, share of the server) and the power. Shares whose sum exceeds one are scaled down; the
    metric `requests_projected` counts such sums.
    """

    config_class = LyaPPOConfig
    kernels = Kernels(allocate, encode, step.run)
    metrics = reward.METRICS
    member_metrics = reward.MEMBER_METRICS
    headline = ("power_mw", "mean_cut")
    reference_baseline = "best-fixed"
    scratch = ("gain", "rate_max", "order")
    remembered = invariants.REMEMBERED

    def __init__(self, config: LyaPPOConfig) -> None:
        self.config = config
        self.parameters = parameters_of(config)
        self.set_spaces(member_view(config), OBSERVATION_LIMIT)
        self.strongest_baseline = "regime-table" if config.varies else "best-fixed"
        if config.decision == Decision.JOINT:
            requests = 4 * config.num_services + 1
            self.action_space: spaces.Space[Any] = box(self.members * requests, 1.0)
            self.member_action_space: spaces.Space[Any] = box(requests, 1.0)
        else:
            self.action_space = spaces.MultiDiscrete(np.tile(config.choices, self.members))
            self.member_action_space = spaces.MultiDiscrete(config.choices)
        if config.solver == Solver.CVXPY:
            load_cvxpy()  # Raise ImportError here instead of in the first step.

    @cached_property
    def run(self) -> Callable[..., None]:
        """The kernel of a step, or the step that uses CVXPY."""
        if self.config.solver == Solver.EXACT:
            return super().run
        from edge_envs.lyappo.model.reference_step import ReferenceStep

        return ReferenceStep(self.parameters).run

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Factories of the configuration's baselines, by name."""
        from edge_envs.lyappo.baselines import available

        return available(self)

    @cached_property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Limits of counters, indices and uniforms; see `System.limits`."""
        p, count = self.parameters, (0.0, COUNT_MAX)
        cut, queued = (0.0, float(self.config.last_cut.max())), float(p.queue_capacity)
        return {
            "queues.size": (0.0, queued), "queues.start": (0.0, queued - 1.0), "queues.ring": cut, "cut": cut,
            "arrived": count, "finished": count, "dropped": count, "period_arrivals": count, "projected": count,
            "level": (0.0, len(p.arrival_rates_per_slot) - 1.0), "uniforms": (0.0, BELOW_ONE),
            "cursor": (0.0, BLOCK_STEPS),
        }  # fmt: skip

    def reset(self, state: State, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Start the given rows with empty queues and the initial cuts, in place."""
        draws = np.stack([rngs[row].random((self.members, step.RESET_DRAWS)) for row in rows.tolist()])
        step.reset(self.parameters, state, rows, self.config.initial_cut, draws)

    def decode(self, state: State, rows: IntArray, actions: NDArray[Any]) -> NDArray[Any]:
        """Cut indices (B, J); with `decision="joint"`, also write the requested resources into the state."""
        if self.parameters.decision == DECISION.PARTITION:
            return actions
        return decode_joint(self.parameters, state, rows, actions, self.config.choices)

    def invariants(self, state: State, step: Step | None) -> Iterable[Invariant]:
        """Conservation of tasks and work, and the limits of the resources."""
        return invariants.invariants(self.config, self.parameters, state, step)
