"""`LyaPPO-v0` as a System: decode the action, solve and advance in the kernel, reward and encode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
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
from edge_envs.lyappo import invariants
from edge_envs.lyappo.config import LyaPPOConfig
from edge_envs.lyappo.model import dynamics, reward
from edge_envs.lyappo.model import observation as observation_module
from edge_envs.lyappo.model import state as state_module
from edge_envs.lyappo.model import step as step_module
from edge_envs.lyappo.model.state import State

POWER_EXPONENT = 3
"""A requested power share x means x^3 of the largest power, which resolves the low powers that matter; chosen."""


class LyaPPOSystem(System[State]):
    """XR devices that cut their networks once per period while the allocation is solved in every slot.

    With `decision="partition"` the action holds one index per service (MultiDiscrete): the cut minus `k_min`. With
    `decision="joint"` it is a Box in [-1, 1] with, per device, four numbers per service (cut, share of the device's
    processor, share of its rate, share of the server) and the power; shares that add up to more than one are scaled
    down and counted as `requests_projected`.
    """

    config_class = LyaPPOConfig
    metrics = reward.METRICS
    member_metrics = ("power_mw", "finished_ratio")
    headline = ("power_mw", "mean_cut")
    reference_baseline = "best-fixed"
    scratch = ("gain", "rate_max", "order")
    remembered = invariants.REMEMBERED

    def __init__(self, config: LyaPPOConfig) -> None:
        """Build spaces and kernel parameters from a validated configuration."""
        self.config = config
        self.parameters = config.kernel()
        self.members = config.num_devices
        varied = config.placement == "mobile" or config.blockage_loss_db > 0 or bool(config.arrival_levels)
        self.strongest_baseline = "regime-table" if varied else "best-fixed"
        self.choices = config.last_cut - config.k_min + 1
        self.initial_cut = np.tile(np.maximum(config.k_min, (config.last_cut + 1) // 2), self.members)
        facts = (
            observation_module.EXTENDED_FACTS if config.observation == "extended" else observation_module.PAPER_FACTS
        )
        local = facts * config.num_services + observation_module.DEVICE_FACTS
        self._size = self.members * local + 1
        shared = np.full((self.members, 1), self._size - 1)
        self.member_view = np.hstack([np.arange(self._size - 1).reshape(self.members, local), shared])
        self.observation_space = self._box(self._size, observation_module.OBSERVATION_LIMIT)
        self.member_observation_space = self._box(local + 1, observation_module.OBSERVATION_LIMIT)
        self._requests = 4 * config.num_services + 1
        if config.decision == "joint":
            self.action_space: spaces.Space[Any] = self._box(self.members * self._requests, 1.0)
            self.member_action_space: spaces.Space[Any] = self._box(self._requests, 1.0)
        else:
            self.action_space = spaces.MultiDiscrete(np.tile(self.choices, self.members))
            self.member_action_space = spaces.MultiDiscrete(self.choices)
        self._run: Callable[..., None] = FastCall(step_module.run)
        if config.solver == "cvxpy":
            from edge_envs.lyappo.model.reference_step import ReferenceAllocator

            self._run = ReferenceAllocator(self.parameters).run

    @staticmethod
    def _box(size: int, limit: float) -> spaces.Box:
        return spaces.Box(-limit, limit, (size,), np.float32)

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Factories of the configuration's baselines, by name."""
        from edge_envs.lyappo.baselines import available

        return available(self)

    @cached_property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Limits of counters, indices and uniform draws, by field of the state."""
        p, count = self.parameters, (0.0, COUNT_MAX)
        cut, queued = (0.0, float(self.config.last_cut.max())), float(p.queue_capacity)
        return {
            "queues.size": (0.0, queued), "queues.start": (0.0, queued - 1.0), "queues.ring": cut, "cut": cut,
            "arrived": count, "finished": count, "dropped": count, "period_arrivals": count, "projected": count,
            "level": (0.0, len(p.arrival_rates) - 1.0), "uniforms": (0.0, BELOW_ONE), "cursor": (0.0, BLOCK_STEPS),
        }  # fmt: skip

    def allocate(self, batch: int) -> State:
        """State arrays of `batch` worlds."""
        return state_module.allocate(self.parameters, batch)

    def reset(self, state: State, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Empty queues and the middle cut; distances, regimes and fading drawn anew."""
        draws = np.stack([rngs[row].random((self.members, dynamics.RESET_DRAWS)) for row in rows.tolist()])
        dynamics.reset(self.parameters, state, rows, self.initial_cut, draws)

    def observe(self, state: State) -> NDArray[np.float32]:
        """State (25)-(33) of the period just over; after a reset zero backlogs and the initial cut."""
        observation = np.empty((len(state.cut), self._size), dtype=np.float32)
        observation_module.encode_all(self.parameters, state, observation)
        return observation

    def step(self, state: State, rows: IntArray, actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        """One partition period: G slots."""
        batch = len(state.cut)
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        choices = self._decode_joint(state, rows, actions) if self.parameters.joint else actions
        refill(state.uniforms, state.cursor, rows, rngs)
        outcome, member = self.blank_outcome(batch)
        self._run(self.parameters, state, rows, choices, outcome.observation, outcome.reward, member, outcome.metrics)
        return outcome

    def invariants(self, state: State, step: Step | None) -> Iterable[Invariant]:
        """Conservation of tasks and work, and the limits on resources."""
        return invariants.invariants(self.config, self.parameters, state, step)

    def _decode_joint(self, state: State, rows: IntArray, actions: NDArray[Any]) -> NDArray[np.int64]:
        """Put the requested resources into the state, scaled down where they exceed a constraint; returns the cuts."""
        config = self.config
        unit = (actions[rows].reshape(len(rows), self.members, self._requests) + 1.0) / 2.0
        by_service = unit[:, :, :-1].reshape(len(rows), self.members, config.num_services, 4)
        index = np.minimum((by_service[..., 0] * self.choices).astype(np.int64), self.choices - 1)
        choices = np.zeros_like(state.cut)
        choices[rows] = index.reshape(len(rows), -1)
        # C.4 and C.6 bind per device, C.7 over all devices.
        local, over_local = self._scale_down(by_service[..., 1], axes=(2,))
        rate, over_rate = self._scale_down(by_service[..., 2], axes=(2,))
        edge, over_edge = self._scale_down(by_service[..., 3], axes=(1, 2))
        state.request[rows, state_module.LOCAL] = local * config.frequency_local_max_hz
        state.request[rows, state_module.TRANSMIT] = rate
        state.request[rows, state_module.EDGE] = edge * config.frequency_edge_max_hz
        state.request_power_w[rows] = unit[:, :, -1] ** POWER_EXPONENT * config.power_max_w
        state.projected[rows] = over_local + over_rate + over_edge
        return choices

    @staticmethod
    def _scale_down(shares: NDArray[Any], axes: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Shares (rows, M, N) scaled down where their sum over `axes` exceeds one, and how many sums did."""
        total = shares.sum(axis=axes, keepdims=True)
        scaled = shares / np.maximum(total, 1.0)
        return scaled.reshape(len(shares), -1), (total > 1.0).sum(axis=(1, 2))
