"""Baselines of `LyaPPO-v0`: fixed cuts, cuts by the drift of the backlogs, and cuts found by search."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.physics.channel import distance_for_gain, free_space_exponent_gain
from edge_envs.core.physics.units import linear_to_db
from edge_envs.core.rules import (
    BaselineFactory,
    ConstantPolicy,
    Env,
    Policy,
    WorldPolicy,
    beginning,
    random_actions,
)
from edge_envs.core.system import System
from edge_envs.lyappo.baselines.search import best_stable, search, shared_partitions
from edge_envs.lyappo.config import Decision
from edge_envs.lyappo.model.state import LOCAL, TRANSMIT, State

PRICE_MEMORY = 0.98
"""Weight of the previous backlog prices in `DriftPrice`; chosen: with a smaller weight the cut alternates."""
SEARCH_STEPS, SEARCH_WORLDS = 200, 64
"""Length and number of the search episodes of `best-fixed`; shorter ones favour cuts whose queues grow slowly."""
TABLE_BIN_DB = 5.0
"""Width of the bins of mean gain in `regime-table` [dB]."""
TABLE_STEPS, TABLE_WORLDS = 110, 4
"""Length and number of the search episodes of `regime-table`, for each entry."""


def available(system: System[State]) -> Mapping[str, BaselineFactory]:
    """Baselines for the system's configuration, by name; with decision="joint" there is only `random`."""
    found: dict[str, BaselineFactory] = {"random": random_actions}
    if system.config.decision == Decision.PARTITION:
        found |= {"fixed": middle_cut, "local": all_local, "edge": all_edge, "price": DriftPrice}
        found["best-fixed"] = best_fixed
        if system.config.varies:
            found["regime-table"] = RegimeTable
    return found


def middle_cut(env: Env, seed: int) -> Policy:
    """Fix-Cov: the middle cut ceil(K/2) of every service. Uses no observation."""
    del seed
    config = env.system.config
    return ConstantPolicy(config.initial_cut - config.k_min)


def all_local(env: Env, seed: int) -> Policy:
    """All layers on the device, k = K. Uses no observation."""
    del seed
    return ConstantPolicy(np.tile(env.system.config.choices - 1, env.system.members))


def all_edge(env: Env, seed: int) -> Policy:
    """As many layers as possible on the server, k = k_min. Uses no observation."""
    del seed
    return ConstantPolicy(np.zeros(env.system.members * len(env.system.config.choices), dtype=np.int64))


class DriftPrice:
    """The cut with the smallest drift terms of (22) in joules, (Q^l/U^l) c_local + (Q^t/U^t) d, for each service.

    Q is the largest backlog of the device at the end of the step; Q/U, the backlog price, is smoothed over steps. Uses
    the backlogs of each device for its own cuts.
    """

    def __init__(self, env: Env, seed: int) -> None:
        del seed
        self._env = env
        config = env.system.config
        self._weights = np.array([config.weight_local, config.weight_transmit])
        self._tables = [
            config.stage_work[[LOCAL, TRANSMIT], n, config.k_min : last + 1]
            for n, last in enumerate(config.last_cut.tolist())
        ]
        self._start = config.initial_cut - config.k_min
        self._price: NDArray[np.float64] | None = None
        """Smoothed backlog prices of the previous call."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[np.int64], Any]:
        """Cuts with the smallest cost, and the smoothed backlog prices (B, 2, M), which serve as `state`.

        Raises:
            ValueError: `state` or `episode_start` has another shape.
        """
        del deterministic
        backlog = self._env.state.queues.backlog[:, [LOCAL, TRANSMIT]]
        largest = backlog.reshape(len(backlog), 2, self._env.system.members, -1).max(axis=3)
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
        # Without any backlog all cuts have a cost of zero.
        choice = np.where(price.any(axis=(1, 2))[:, None], choice, self._start)
        return (choice if np.ndim(observation) == 2 else choice[0]), price


def best_fixed(env: Env, seed: int) -> Policy:
    """The best constant partition, found by simulation. Uses simulations of the system, but no observation.

    The search simulates all partitions shared by the devices. It then combines the best one of each device, and
    compares the combination with the best shared partition in other episodes. The best partition has the highest mean
    reward after the warm-up among the stable ones.
    """
    system: System[State] = env.system
    candidates = shared_partitions(system)
    found = search(system, candidates, steps=SEARCH_STEPS, worlds=SEARCH_WORLDS, seed=seed)
    by_device = candidates.reshape(len(candidates), system.members, -1)
    combined = by_device[best_stable(found.reward, found.ratio), np.arange(system.members)]
    shared = candidates[int(best_stable(found.reward.mean(axis=1), found.ratio.min(axis=1)))]
    finalists = np.stack([combined.ravel(), shared])
    final = search(system, finalists, steps=SEARCH_STEPS, worlds=SEARCH_WORLDS, seed=seed + 1)
    return ConstantPolicy(finalists[int(best_stable(final.reward.mean(axis=1), final.ratio.min(axis=1)))])


class RegimeTable(WorldPolicy):
    """The best cuts for each bin of the current mean gain, and for each arrival level.

    An entry is the best of all shared partitions in simulations where all devices have the gain of the bin. The policy
    uses the mean gain and the arrival level at the start of the step, but neither the fading nor future arrivals. The
    simulations have constant gains and levels, so a better adaptive policy may exist.
    """

    def __init__(self, env: Env, seed: int) -> None:
        super().__init__(env)
        system: System[State] = env.system
        config, p = system.config, env.system.parameters
        loss = p.antenna_gain, p.carrier_hz, p.path_loss_exponent
        low = free_space_exponent_gain(p.distance_max_m, *loss) * p.blocked_gain
        high = free_space_exponent_gain(p.distance_min_m, *loss)
        self._first = np.floor(linear_to_db(low) / TABLE_BIN_DB)
        bins = int(np.floor(linear_to_db(high) / TABLE_BIN_DB) - self._first) + 1
        rates = config.arrival_levels or (config.arrival_rate,)
        self.table = np.zeros((bins, len(rates), config.num_services), dtype=np.int64)
        candidates = shared_partitions(system)
        for b, level in itertools.product(range(bins), range(len(rates))):
            gain = 10 ** ((self._first + b + 0.5) * TABLE_BIN_DB / 10)
            distance = distance_for_gain(gain, *loss)
            constant = config.replace(
                placement="spread", distance_min_m=distance, distance_max_m=distance, blockage_loss_db=0.0,
                arrival_levels=(), arrival_rate=rates[level],
            )  # fmt: skip
            found = search(type(env.system)(constant), candidates, steps=TABLE_STEPS, worlds=TABLE_WORLDS, seed=seed)
            best = int(best_stable(found.reward.mean(axis=1), found.ratio.mean(axis=1)))
            self.table[b, level] = candidates[best, : config.num_services]

    def action(self, row: int) -> NDArray[Any]:
        """Table entries of a world's devices at their mean gains and levels."""
        world = self.env.state
        at = np.floor(linear_to_db(world.mean_gain[row]) / TABLE_BIN_DB) - self._first
        bins = np.clip(at.astype(np.int64), 0, len(self.table) - 1)
        entries: NDArray[Any] = self.table[bins, world.level[row]].ravel()
        return entries
