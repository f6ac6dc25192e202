"""Comparison schemes: the paper's five, constants, and rules that know the model (drift plus penalty, exact rounds)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.rules import BaselineFactory, ConstantPolicy, Policy, random_actions
from edge_envs.semcom.baselines import rules
from edge_envs.semcom.config import LONG_TERM, Parameters
from edge_envs.semcom.model import state as state_module
from edge_envs.semcom.model.allocation import BAND_NATS, POWER_EXPONENT
from edge_envs.semcom.model.state import State
from edge_envs.semcom.system import SemComSystem

Env = EdgeEnv | EdgeVectorEnv
Rule = Callable[[Parameters, State], None]
"""Fills a sketch of one world with a decision for the round to come."""

TRUNCATION = 5.0
"""The paper's truncated normal is cut where the range ends, five standard deviations from its middle."""
SEARCH_WORLDS, SEARCH_ROUNDS, SEARCH_VALUES = 16, 50, 9
"""Worlds, rounds and candidates in the search for the best constant rate without long-term requirements; chosen."""


def available(system: SemComSystem) -> Mapping[str, BaselineFactory]:
    """Baselines for the system's configuration, by name.

    Schemes that set powers, bandwidths or frequencies need a decision that has these, so most of the paper's are there
    with decision="joint" only.
    """
    config = system.config
    if config.decision == "compression":
        found: dict[str, BaselineFactory] = {"random": random_actions, "rho-min": partial(constant, -1.0)}
        found |= {"average": partial(constant, 0.0), "rho-max": partial(constant, 1.0)}
        if config.solver != "joint":
            # The rules below plan with the joint solver.
            return found | {"best-static": best_common}
        if config.psnr_mode == "long_term":
            found |= {"best-static": BestStatic, "myopic-rho": partial(rule, rules.myopic)}
        else:
            found |= {"best-static": best_common}
        if config.psnr_mode != "hard":
            found |= {"drift": partial(rule, drift), "drift-polish": partial(rule, drift_polish)}
        else:
            found |= {"myopic-rho": partial(rule, rules.myopic), "joint": partial(rule, rules.search_round)}
        return found
    everything: dict[str, BaselineFactory] = {
        "random": PaperRandom, "average": partial(rule, rules.average), "alg3": partial(rule, rules.alternating),
        "joint": partial(rule, rules.search_round),
    }  # fmt: skip
    if config.decision == "power_bandwidth":
        return {**everything, "random": random_actions}
    return {
        **everything,
        "pb-only": partial(rule, partial(rules.link_only, free_deadline=False)),
        "pb-deadline": partial(rule, partial(rules.link_only, free_deadline=True)),
        "fh-rho-only": partial(rule, rules.compute_only),
    }


def _system(env: Env) -> SemComSystem:
    system = env.system
    assert isinstance(system, SemComSystem)
    return system


def constant(action: float, env: Env, seed: int) -> Policy:
    """One compression rate for all devices: the smallest (-1), the middle (0) or the largest (1). Sees nothing."""
    del seed
    return ConstantPolicy(np.full(_system(env).members, action, dtype=np.float32))


def drift(p: Parameters, sketch: State) -> None:
    """Drift plus penalty in closed form; with psnr_mode="utility" its weights take the place of the virtual queues."""
    rules.drift(p, sketch, p.psnr_mode != LONG_TERM)


def drift_polish(p: Parameters, sketch: State) -> None:
    """`drift`, then one pass of exact solves over a few compression rates of each device."""
    rules.drift(p, sketch, p.psnr_mode != LONG_TERM)
    rules.polish(p, sketch, p.psnr_mode != LONG_TERM)


def rule(decide: Rule, env: Env, seed: int) -> Policy:
    """A rule applied to every world in every round. Sees the channel, cycles, requirements and virtual queues."""
    del seed
    return RulePolicy(decide, env)


class RulePolicy:
    """Applies a compiled rule to a sketch of each world and turns its decision into the action of the environment."""

    def __init__(self, decide: Rule, env: Env) -> None:
        self._decide, self._env = decide, env
        system = _system(env)
        self._parameters = system.parameters
        self._encode = ENCODERS[system.config.decision]
        self._sketch = state_module.allocate(system.parameters, 1)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """Actions for every world of the environment; they are float64, so that nothing is lost by rounding."""
        del episode_start, deterministic
        worlds = len(self._env.state.rounds)
        actions = []
        for row in range(worlds):
            rules.copy_world(self._env.state, row, self._sketch)
            self._decide(self._parameters, self._sketch)
            actions.append(self._encode(self._parameters, self._sketch))
        batch = np.array(actions)
        return (batch if np.ndim(observation) == 2 else batch[0]), state


def rate_actions(p: Parameters, sketch: State) -> NDArray[np.float64]:
    """The sketch's compression rates as actions, shape (N,)."""
    half = 0.5 * (p.compression_max - p.compression_min)
    if half == 0.0:
        return np.zeros(p.num_devices)
    middle = 0.5 * (p.compression_max + p.compression_min)
    return np.clip((sketch.compression[0] - middle) / half, -1.0, 1.0)


def link_actions(p: Parameters, sketch: State) -> NDArray[np.float64]:
    """The sketch's powers and bandwidths as actions, shape (N, 2)."""
    power = 2.0 * (sketch.work.power_w / p.power_max_w) ** (1.0 / POWER_EXPONENT) - 1.0
    band = np.log(sketch.work.bandwidth_hz * p.num_devices / p.bandwidth_hz) / BAND_NATS
    return np.clip(np.stack([power, band], axis=-1), -1.0, 1.0)


def everything_actions(p: Parameters, sketch: State) -> NDArray[np.float64]:
    """The sketch's whole allocation as actions, shape (5 N,)."""
    device = 2.0 * sketch.work.device_frequency_hz / p.device_frequency_max_hz - 1.0
    server = 2.0 * sketch.work.server_frequency_hz / p.server_frequency_max_hz - 1.0
    rest = np.clip(np.stack([device, server, rate_actions(p, sketch)], axis=-1), -1.0, 1.0)
    return np.concatenate([link_actions(p, sketch), rest], axis=-1).ravel()


def _flat_link_actions(p: Parameters, sketch: State) -> NDArray[np.float64]:
    return link_actions(p, sketch).ravel()


ENCODERS: Mapping[str, Callable[[Parameters, State], NDArray[np.float64]]] = {
    "compression": rate_actions, "power_bandwidth": _flat_link_actions, "joint": everything_actions,
}  # fmt: skip
"""From a sketch to an action, by decision."""


class PaperRandom:
    """Random Allocation: truncated normals around the middle of each range, bandwidths within a factor of the mean.

    A bandwidth is drawn evenly between 0.8 and 1.25 of the even share and then scaled to the total. Sees nothing.
    """

    def __init__(self, env: Env, seed: int) -> None:
        system = _system(env)
        self._parameters, self._rng = system.parameters, np.random.default_rng(seed)
        self._sketch = state_module.allocate(system.parameters, 1)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """One random allocation per observation of a batch; random even when asked to be deterministic."""
        del episode_start, deterministic
        batch = np.atleast_2d(np.asarray(observation))
        actions = np.array([self._draw() for _ in batch])
        return (actions if np.ndim(observation) == 2 else actions[0]), state

    def _draw(self) -> NDArray[np.float64]:
        p, work = self._parameters, self._sketch.work
        devices = p.num_devices
        power, device, server, rate = np.clip(0.5 + 0.1 * _truncated(self._rng, (4, devices)), 0.0, 1.0)
        share = self._rng.uniform(1.0 / 1.25, 1.0 / 0.8, devices)
        work.power_w[:] = p.power_max_w * power
        work.device_frequency_hz[:] = p.device_frequency_max_hz * device
        work.server_frequency_hz[:] = p.server_frequency_max_hz * server
        work.bandwidth_hz[:] = p.bandwidth_hz * share / share.sum()
        self._sketch.compression[0] = p.compression_min + (p.compression_max - p.compression_min) * rate
        return everything_actions(p, self._sketch)


def _truncated(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normals, redrawn where they are beyond the truncation."""
    normal = rng.standard_normal(shape)
    while (outside := np.abs(normal) > TRUNCATION).any():
        normal[outside] = rng.standard_normal(int(outside.sum()))
    return normal


class BestStatic:
    """The best compression rates that never change: the smallest that meet each device's requirement on average.

    Fitted, for each geometry it meets, on rounds with independent fading. Sees the geometry and the requirements.
    """

    def __init__(self, env: Env, seed: int) -> None:
        del seed
        self._env = env
        self._parameters = _system(env).parameters
        self._sketch = state_module.allocate(self._parameters, 1)
        self._known: dict[bytes, NDArray[np.float64]] = {}

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """The constants of each world's geometry."""
        del episode_start, deterministic
        batch = np.array([self._rates(row) for row in range(len(self._env.state.rounds))])
        return (batch if np.ndim(observation) == 2 else batch[0]), state

    def _rates(self, row: int) -> NDArray[np.float64]:
        key = self._env.state.mean_gain[row].tobytes()
        if key not in self._known:
            rules.copy_world(self._env.state, row, self._sketch)
            rules.constant_rates(self._parameters, self._sketch)
            self._known[key] = rate_actions(self._parameters, self._sketch)
        return self._known[key]


def best_common(env: Env, seed: int) -> Policy:
    """The best compression rate that never changes and is common to all devices, by simulated mean reward."""
    system = _system(env)
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
