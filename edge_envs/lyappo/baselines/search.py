"""Simulating partitions that never change, for the searched baselines."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_envs.lyappo.system import LyaPPOSystem

STABLE_RATIO = 0.98
"""A partition counts as stable when, after the warm-up, at least this part of the arrivals is finished."""
SEARCH_STREAM = 0x5EA7C4
"""Sets the search's random streams apart from those of any environment seed."""
MOST_PARTITIONS = 4096
"""Above this number of shared partitions only a coarser grid per service is searched."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What candidate partitions did, mean over worlds and over the periods after the warm-up."""

    reward: NDArray[np.float64]  # (C, M) reward of each device per period
    ratio: NDArray[np.float64]  # (C, M) tasks finished over tasks arrived


def shared_partitions(system: LyaPPOSystem) -> NDArray[np.int64]:
    """All partitions that are the same on every device, as actions of shape (C, J).

    Where there would be more than MOST_PARTITIONS, each service keeps an even selection of its cuts.
    """
    services = len(system.choices)
    most = max(2, int(MOST_PARTITIONS ** (1 / services)))
    options = [np.unique(np.linspace(0, n - 1, min(int(n), most)).round().astype(np.int64)) for n in system.choices]
    combinations = np.array(list(itertools.product(*options)), dtype=np.int64)
    return np.tile(combinations, system.members)


def simulate_fixed(
    system: LyaPPOSystem, candidates: NDArray[np.int64], *, periods: int, worlds: int, seed: int
) -> Outcomes:
    """Run each candidate (C, J) in `worlds` worlds for `periods`, on common random numbers; a quarter is warm-up."""
    count = len(candidates)
    actions = np.repeat(candidates, worlds, axis=0)
    rngs = [np.random.default_rng([SEARCH_STREAM, seed, world]) for _ in range(count) for world in range(worlds)]
    state, rows = system.allocate(len(actions)), np.arange(len(actions))
    system.reset(state, rows, rngs)
    warmup = periods // 4
    reward = np.zeros((len(actions), system.members))
    for period in range(periods):
        if period == warmup:
            arrived, finished = state.arrived.copy(), state.finished.copy()
        outcome = system.step(state, rows, actions, rngs)
        if period >= warmup:
            reward += outcome.member_reward
    by_device = (count, worlds, system.members, -1)
    born = (state.arrived - arrived).reshape(by_device).sum(axis=(1, 3))
    done = (state.finished - finished).reshape(by_device).sum(axis=(1, 3))
    return Outcomes(
        reward=reward.reshape(count, worlds, -1).mean(axis=1) / (periods - warmup),
        ratio=done / np.maximum(born, 1),
    )


def best_stable(reward: NDArray[np.float64], ratio: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index along the first axis of the highest reward among stable candidates, else of the highest ratio."""
    stable = ratio >= STABLE_RATIO
    return np.where(stable.any(axis=0), np.where(stable, reward, -np.inf).argmax(axis=0), ratio.argmax(axis=0))
