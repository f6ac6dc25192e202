"""Search for the best constant partition, by simulation."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.system import System
from edge_envs.lyappo.model.state import State

STABLE_RATIO = 0.98
"""A partition counts as stable if devices finish at least this part of the tasks that arrive after the warm-up."""
SEARCH_STREAM = 0x5EA7C4
"""First word of the seeds of the search, so that its random numbers differ from those of any environment."""
PARTITIONS_MAX = 4096
"""With more shared partitions than this, each service keeps a selection of its cuts."""
CHUNK = 16
"""Candidates simulated together, which limits the memory."""


class Outcomes(NamedTuple):
    """Results of candidate partitions: means over worlds and over the steps after the warm-up."""

    reward: NDArray[np.float64]  # (C, M) reward of each device per step
    ratio: NDArray[np.float64]  # (C, M) tasks finished over tasks arrived


def shared_partitions(system: System[State]) -> NDArray[np.int64]:
    """All partitions that are equal on all devices, as actions of shape (C, J).

    With more than PARTITIONS_MAX of them, each service keeps an even selection of its cuts.
    """
    choices = system.config.choices
    most = max(2, int(PARTITIONS_MAX ** (1 / len(choices))))
    options = [np.unique(np.linspace(0, n - 1, min(int(n), most)).round().astype(np.int64)) for n in choices]
    combinations = np.array(list(itertools.product(*options)), dtype=np.int64)
    return np.tile(combinations, system.members)


def search(system: System[State], candidates: NDArray[np.int64], *, steps: int, worlds: int, seed: int) -> Outcomes:
    """`simulate_fixed` for any number of candidates."""
    parts = [
        simulate_fixed(system, candidates[i : i + CHUNK], steps=steps, worlds=worlds, seed=seed)
        for i in range(0, len(candidates), CHUNK)
    ]
    return Outcomes(*map(np.concatenate, zip(*parts, strict=True)))


def simulate_fixed(
    system: System[State], candidates: NDArray[np.int64], *, steps: int, worlds: int, seed: int
) -> Outcomes:
    """Simulate each candidate (C, J) in `worlds` worlds, with equal random numbers; the first quarter is warm-up."""
    count = len(candidates)
    actions = np.repeat(candidates, worlds, axis=0)
    rngs = [np.random.default_rng([SEARCH_STREAM, seed, world]) for _ in range(count) for world in range(worlds)]
    state, rows = system.allocate(len(actions)), np.arange(len(actions))
    system.reset(state, rows, rngs)
    warmup = steps // 4
    reward = np.zeros((len(actions), system.members))
    for step in range(steps):
        if step == warmup:
            arrived, finished = state.arrived.copy(), state.finished.copy()
        outcome = system.step(state, rows, actions, rngs)
        if step >= warmup:
            reward += outcome.member_reward
    by_device = (count, worlds, system.members, -1)
    arrivals = (state.arrived - arrived).reshape(by_device).sum(axis=(1, 3))
    done = (state.finished - finished).reshape(by_device).sum(axis=(1, 3))
    return Outcomes(
        reward=reward.reshape(count, worlds, -1).mean(axis=1) / (steps - warmup),
        ratio=done / np.maximum(arrivals, 1),
    )


def best_stable(reward: NDArray[np.float64], ratio: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index along the first axis of the highest reward among stable candidates, else of the highest ratio."""
    stable = ratio >= STABLE_RATIO
    return np.where(stable.any(axis=0), np.where(stable, reward, -np.inf).argmax(axis=0), ratio.argmax(axis=0))
