"""Comparison schemes of the XR system: fixed cuts, the drift price, and searched cuts as upper bars."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.physics.channel import distance_for_gain, free_space_exponent_gain
from edge_envs.core.physics.units import linear_to_db
from edge_envs.core.rules import BaselineFactory, ConstantPolicy, Policy, beginning, random_actions
from edge_envs.lyappo.baselines.search import Outcomes, best_stable, shared_partitions, simulate_fixed
from edge_envs.lyappo.model.state import LOCAL, TRANSMIT
from edge_envs.lyappo.system import LyaPPOSystem

Env = EdgeEnv | EdgeVectorEnv

PRICE_MEMORY = 0.98
"""Weight of the old price in the drift-price heuristic; chosen: less memory makes the cut alternate."""
SEARCH_PERIODS = 200
"""Length of the search episodes; shorter ones favour cuts whose queues grow slowly [periods]."""
SEARCH_WORLDS = 64
"""Worlds per candidate in the search for the best fixed cut."""
TABLE_BIN_DB = 5.0
"""Width of the bins of mean gain in `regime-table` [dB]."""
TABLE_PERIODS, TABLE_WORLDS = 110, 4


def available(system: LyaPPOSystem) -> Mapping[str, BaselineFactory]:
    """Baselines for the system's configuration, by name; with decision="joint" only `random` makes sense."""
    found: dict[str, BaselineFactory] = {"random": random_actions}
    if system.config.decision == "partition":
        found |= {"fixed": middle_cut, "local": all_local, "edge": all_edge, "price": DriftPrice}
        found["best-fixed"] = best_fixed
        config = system.config
        if config.placement == "mobile" or config.blockage_loss_db > 0 or config.arrival_levels:
            found["regime-table"] = RegimeTable
    return found


def _system(env: Env) -> LyaPPOSystem:
    system = env.system
    assert isinstance(system, LyaPPOSystem)
    return system


def middle_cut(env: Env, seed: int) -> Policy:
    """Fix-Cov: the middle cut ceil(K/2) of every service. Sees nothing."""
    del seed
    system = _system(env)
    return ConstantPolicy(system.initial_cut - system.config.k_min)


def all_local(env: Env, seed: int) -> Policy:
    """Everything on the device, k = K. Sees nothing."""
    del seed
    system = _system(env)
    return ConstantPolicy(np.tile(system.choices - 1, system.members))


def all_edge(env: Env, seed: int) -> Policy:
    """As much as possible on the server, k = k_min. Sees nothing."""
    del seed
    system = _system(env)
    return ConstantPolicy(np.zeros(system.members * len(system.choices), dtype=np.int64))


class DriftPrice:
    """Cut that minimises the drift terms of (22) in joules, (Q^l/U^l) c_local + (Q^t/U^t) d, per service.

    Q is the largest end-of-period backlog of the device, smoothed over periods. Sees the device's own backlogs, as the
    device itself would; needs no training.
    """

    def __init__(self, env: Env, seed: int) -> None:
        del seed
        self._env = env
        system = _system(env)
        config, work = system.config, system.config.stage_work
        self._weights = np.array([config.weight_local, config.weight_transmit])
        self._tables = [
            work[[LOCAL, TRANSMIT], n, config.k_min : last + 1] for n, last in enumerate(config.last_cut.tolist())
        ]
        self._start = system.initial_cut - config.k_min
        self._price: NDArray[np.float64] | None = None
        """Smoothed prices after the last call, which the next one goes on from."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[np.int64], Any]:
        """Cheapest cuts at the smoothed prices; `state` is those prices, (B, 2, M), by default those it keeps itself.

        Raises:
            ValueError: `state` or `episode_start` of another shape.
        """
        del deterministic
        system = _system(self._env)
        backlog = self._env.state.queues.backlog[:, [LOCAL, TRANSMIT]]
        largest = backlog.reshape(len(backlog), 2, system.members, -1).max(axis=3)
        price = largest / self._weights[:, None]
        before = self._price if state is None else state
        fresh = beginning(self._env, episode_start)
        if before is not None:
            if np.shape(before) != price.shape:
                raise ValueError(f"state has shape {np.shape(before)}, expected {price.shape}")
            price = np.where(fresh[:, None, None], price, PRICE_MEMORY * before + (1 - PRICE_MEMORY) * price)
        self._price = price
        cost = [np.einsum("bsm,sk->bmk", price, table) for table in self._tables]
        choice = np.stack([c.argmin(axis=2) for c in cost], axis=2).reshape(len(price), -1)
        # Without any backlog all cuts cost nothing.
        choice = np.where(price.any(axis=(1, 2))[:, None], choice, self._start)
        return (choice if np.ndim(observation) == 2 else choice[0]), price


def best_fixed(env: Env, seed: int) -> Policy:
    """The best cut that never changes, by search; unstable cuts are discarded. Sees simulations of the system.

    Partitions shared by all devices are all tried; then each device takes the one best for it, and the two results are
    compared on fresh episodes. Choices are by mean reward after the warm-up; the search has seeds of its own.
    """
    system = _system(env)
    candidates = shared_partitions(system)
    run = partial(simulate_fixed, system, periods=SEARCH_PERIODS, worlds=SEARCH_WORLDS)
    found = _search(candidates, partial(run, seed=seed))
    devices, services = system.members, len(system.choices)
    by_device = candidates.reshape(-1, devices, services)[best_stable(found.reward, found.ratio), np.arange(devices)]
    shared = candidates[int(best_stable(found.reward.mean(axis=1), found.ratio.min(axis=1)))]
    finalists = np.stack([by_device.ravel(), shared])
    final = run(finalists, seed=seed + 1)
    return ConstantPolicy(finalists[int(best_stable(final.reward.mean(axis=1), final.ratio.min(axis=1)))])


def _search(candidates: NDArray[np.int64], run: partial[Outcomes], chunk: int = 16) -> Outcomes:
    """Simulate many candidates, `chunk` at a time to bound the memory."""
    parts = [run(candidates[i : i + chunk]) for i in range(0, len(candidates), chunk)]
    return Outcomes(np.concatenate([p.reward for p in parts]), np.concatenate([p.ratio for p in parts]))


class RegimeTable:
    """The best cut per channel state: a bin of the current mean gain, and the arrival level where it varies.

    Each entry is searched over all partitions with devices held at the bin's gain. Sees the true mean gain and level
    at the start of the period, not the fading or the arrivals to come; the table is not tuned in the moving system,
    so it is a lower bound on the best adaptive policy.
    """

    def __init__(self, env: Env, seed: int) -> None:
        self._env = env
        system = _system(env)
        config, p = system.config, system.parameters
        loss = p.antenna_gain, p.carrier_hz, p.path_loss_exponent
        low = free_space_exponent_gain(p.distance_max_m, *loss) * p.blocked_gain
        high = free_space_exponent_gain(p.distance_min_m, *loss)
        self._first = np.floor(linear_to_db(low) / TABLE_BIN_DB)
        bins = int(np.floor(linear_to_db(high) / TABLE_BIN_DB) - self._first) + 1
        rates = config.arrival_levels or (config.arrival_rate,)
        table = np.zeros((bins, len(rates), len(system.choices)), dtype=np.int64)
        candidates = shared_partitions(system)
        for b, level in itertools.product(range(bins), range(len(rates))):
            gain = 10 ** ((self._first + b + 0.5) * TABLE_BIN_DB / 10)
            distance = distance_for_gain(gain, *loss)
            held = config.replace(
                placement="spread", distance_min_m=distance, distance_max_m=distance, blockage_loss_db=0.0,
                arrival_levels=(), arrival_rate=rates[level],
            )  # fmt: skip
            run = partial(simulate_fixed, LyaPPOSystem(held), periods=TABLE_PERIODS, worlds=TABLE_WORLDS, seed=seed)
            found = _search(candidates, run)
            best = int(best_stable(found.reward.mean(axis=1), found.ratio.mean(axis=1)))
            table[b, level] = candidates[best, : len(system.choices)]
        self.table = table

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[np.int64], Any]:
        """Table entries at the devices' current mean gains and levels."""
        del episode_start, deterministic
        world = self._env.state
        at = np.floor(linear_to_db(world.mean_gain) / TABLE_BIN_DB) - self._first
        bins = np.clip(at.astype(np.int64), 0, len(self.table) - 1)
        choice = self.table[bins, world.level].reshape(len(bins), -1)
        return (choice if np.ndim(observation) == 2 else choice[0]), state
