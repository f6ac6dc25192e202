"""Baselines by name: the paper's five, constants, and rules that use the model (drift plus penalty, exact rounds)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.rules import (
    BaselineFactory,
    BestConstantPolicy,
    ConstantPolicy,
    Env,
    Policy,
    RulePolicy,
    WorldPolicy,
    copy_row,
    random_actions,
)
from edge_envs.semcom.baselines import rules
from edge_envs.semcom.config import Decision, PsnrMode, SemComConfig, Solver
from edge_envs.semcom.model.allocation import BANDWIDTH_LOG_RANGE, POWER_EXPONENT
from edge_envs.semcom.model.parameters import DECISION, Parameters
from edge_envs.semcom.model.state import State

FIELDS = ("cost_scale", "mean_gain", "gain", "device_cycles", "server_cycles", "target_db", "queue_db")
"""Fields of a world's state that rules use."""
TRUNCATION = 5.0
"""The paper's truncated normal ends with the range, five standard deviations from its middle."""
SEARCH_WORLDS, SEARCH_ROUNDS, SEARCH_VALUES = 16, 50, 9
"""Worlds, rounds and candidates in the search for the best common rate; chosen."""


def available(config: SemComConfig) -> Mapping[str, BaselineFactory]:
    """Baselines of a configuration, by name.

    Baselines that set powers, bandwidths or frequencies need a decision with these variables. Therefore most of the
    paper's baselines only exist with decision="joint".
    """
    if config.decision == Decision.COMPRESSION:
        return _compression_baselines(config)
    links: dict[str, BaselineFactory] = {
        "random": random_actions, "average": partial(rule, rules.average), "alg3": partial(rule, rules.alternating),
        "joint": partial(rule, rules.search_round),
    }  # fmt: skip
    if config.decision == Decision.POWER_BANDWIDTH:
        return links
    return {
        **links,
        "random": PaperRandom,
        "pb-only": partial(rule, partial(rules.link_only, free_deadline=False)),
        "pb-deadline": partial(rule, partial(rules.link_only, free_deadline=True)),
        "fh-rho-only": partial(rule, rules.compute_only),
    }


def _compression_baselines(config: SemComConfig) -> Mapping[str, BaselineFactory]:
    found: dict[str, BaselineFactory] = {
        "random": random_actions, "rho-min": partial(constant, -1.0), "average": partial(constant, 0.0),
        "rho-max": partial(constant, 1.0), "best-static": best_common,
    }  # fmt: skip
    if config.solver != Solver.JOINT:
        # The other rules plan with the joint solver.
        return found
    if config.psnr_mode == PsnrMode.LONG_TERM:
        found |= {"best-static": BestStatic, "myopic-rho": partial(rule, rules.myopic)}
    if config.psnr_mode == PsnrMode.HARD:
        return found | {"myopic-rho": partial(rule, rules.myopic), "joint": partial(rule, rules.search_round)}
    return found | {"drift": partial(rule, rules.drift), "drift-polish": partial(rule, rules.drift_polish)}


def constant(action: float, env: Env, seed: int) -> Policy:
    """One compression rate for all devices: smallest (-1), middle (0) or largest (1). Uses no observation."""
    del seed
    return ConstantPolicy(np.full(env.system.members, action, dtype=np.float32))


def rule(decide: Callable[[Parameters, State], None], env: Env, seed: int) -> Policy:
    """A compiled rule, which uses channels, cycles, requirements and virtual queues.

    Its actions are float64 and reproduce the rule's decision without rounding to float32.
    """

    def act(p: Parameters, sketch: State, rng: Generator) -> NDArray[Any]:
        del rng
        decide(p, sketch)
        return encoded(p, sketch)

    return RulePolicy(act, FIELDS, env, seed)


def encoded(p: Parameters, sketch: State) -> NDArray[np.float64]:
    """The decision stored in a state with one world, as an action (A,)."""
    half = 0.5 * (p.compression_max - p.compression_min)
    middle = 0.5 * (p.compression_max + p.compression_min)
    rate = (sketch.compression[0] - middle) / half if half > 0.0 else np.zeros(p.num_devices)
    workspace = sketch.workspace
    columns = [rate]
    if p.decision != DECISION.COMPRESSION:
        power = 2.0 * (workspace.power_w / p.power_max_w) ** (1.0 / POWER_EXPONENT) - 1.0
        columns = [power, np.log(workspace.bandwidth_hz * p.num_devices / p.bandwidth_hz) / BANDWIDTH_LOG_RANGE]
    if p.decision == DECISION.JOINT:
        device = 2.0 * workspace.device_frequency_hz / p.device_frequency_max_hz - 1.0
        columns += [device, 2.0 * workspace.server_frequency_hz / p.server_frequency_max_hz - 1.0, rate]
    return np.clip(np.stack(columns, axis=-1), -1.0, 1.0).ravel()


class PaperRandom(WorldPolicy):
    """The paper's Random Allocation. Uses no observation.

    Powers, frequencies and compression rates are truncated normals around the middle of their ranges. Bandwidths are
    drawn between 0.8 and 1.25 of the even share and then scaled to the total.
    """

    def __init__(self, env: Env, seed: int) -> None:
        super().__init__(env)
        self._parameters, self._rng = env.system.parameters, np.random.default_rng(seed)
        self._sketch = env.system.allocate(1)

    def action(self, row: int) -> NDArray[np.float64]:
        """A random allocation; worlds share one generator."""
        p, workspace = self._parameters, self._sketch.workspace
        devices = p.num_devices
        power, device, server, rate = np.clip(0.5 + 0.1 * _truncated(self._rng, (4, devices)), 0.0, 1.0)
        share = self._rng.uniform(1.0 / 1.25, 1.0 / 0.8, devices)
        workspace.power_w[:] = p.power_max_w * power
        workspace.device_frequency_hz[:] = p.device_frequency_max_hz * device
        workspace.server_frequency_hz[:] = p.server_frequency_max_hz * server
        workspace.bandwidth_hz[:] = p.bandwidth_hz * share / share.sum()
        self._sketch.compression[0] = p.compression_min + (p.compression_max - p.compression_min) * rate
        return encoded(p, self._sketch)


def _truncated(rng: Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normals, redrawn while beyond the truncation."""
    normal = rng.standard_normal(shape)
    while (outside := np.abs(normal) > TRUNCATION).any():
        normal[outside] = rng.standard_normal(int(outside.sum()))
    return normal


class BestStatic(BestConstantPolicy):
    """The best constant compression rates: the smallest that meet each device's requirement on average.

    They are fitted once per geometry, on rounds with independent fading. Sees the geometry and the requirements.
    """

    def __init__(self, env: Env, seed: int) -> None:
        del seed
        super().__init__(env)

    def key(self, row: int) -> bytes:
        """The mean gains, which identify a geometry."""
        key: bytes = self.env.state.mean_gain[row].tobytes()
        return key

    def search(self, row: int) -> NDArray[np.float64]:
        """Fit the rates of the world's geometry."""
        p, sketch = self.env.system.parameters, self.env.system.allocate(1)
        copy_row(self.env.state, row, sketch, FIELDS)
        rules.constant_rates(p, sketch)
        return encoded(p, sketch)


def best_common(env: Env, seed: int) -> Policy:
    """The best constant compression rate that is common to all devices, by simulated mean reward."""
    system = env.system
    rewards = []
    candidates = np.linspace(-1.0, 1.0, SEARCH_VALUES)
    for candidate in candidates.tolist():
        state = system.allocate(SEARCH_WORLDS)
        rngs = [np.random.default_rng([seed, row]) for row in range(SEARCH_WORLDS)]
        rows = np.arange(SEARCH_WORLDS)
        system.reset(state, rows, rngs)
        actions = np.full((SEARCH_WORLDS, system.members), candidate)
        rewards.append(sum(system.step(state, rows, actions, rngs).reward.mean() for _ in range(SEARCH_ROUNDS)))
    return constant(float(candidates[int(np.argmax(rewards))]), env, seed)
