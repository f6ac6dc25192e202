"""Baselines that weigh the cost of a change of cuts: planners over coming frames, and one-step optima.

They know the model and the complete next frame, but no future random number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import FastCall, compiled
from edge_envs.core.rules import Env, WorldPolicy
from edge_envs.dtirs.baselines.outlook import expected_problem
from edge_envs.dtirs.bounds import Trace, record
from edge_envs.dtirs.model.parameters import Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers.cut_paths import CutProblem, descend_paths, paths_cost, priced_paths, selfish_paths

IntArray = NDArray[np.int64]
HORIZON = 16
"""Frames that a planner looks ahead; chosen: more gain nothing, 6 are worse by 2 %."""
SEARCH_STREAM = 0xD7A5
"""First word of the seeds of the searches below, so that no environment seed gives the same random numbers."""
SEARCH_EPISODES, SEARCH_FRAMES = 8, 100
"""Episodes on which parameters of rules are searched, and their length; chosen."""
WEIGHTS = (0.0, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5, 1.0)
"""Weights of the migration that `one-step` tries."""


@compiled
def best_start(q: CutProblem, paths: IntArray) -> float:
    """Fill `paths` (T, K) with the best of three block descents; returns its cost [s].

    They start from the held cuts, from answers to the pool's prices at the held cuts, and from the last cut for all.
    """
    frames, devices, choices = q.own_s.shape
    tried, root_price = np.empty_like(paths), np.empty(frames)
    best = np.inf
    for start in range(3):
        for k in range(devices):
            tried[:, k] = q.first[k] if start == 0 else choices - 1
        if start == 1:
            for t in range(frames):
                total = 0.0
                for k in range(devices):
                    total += q.root[t, k, q.first[k]]
                root_price[t] = total * q.pool_s[t]
            priced_paths(q, root_price, tried)
        cost = descend_paths(q, tried)
        if cost < best:
            best = cost
            paths[:] = tried
    return best


@compiled
def plan(p: Parameters, s: State, row: int, frames: int, weight: float, together: bool, cuts: IntArray) -> None:
    """Fill `cuts` (K,) with the first frame of a plan over `frames` expected frames.

    Args:
        p: parameters.
        s: state; only read.
        row: the world.
        frames: length of the plan.
        weight: factor on the cost of moving weights; 1 is its real cost.
        together: plan for the sum of all delays; False: each device for its own delay, with the others' cuts fixed.
        cuts: the result.
    """
    q = expected_problem(p, s, row, frames)
    q = CutProblem(q.own_s, q.root, q.pool_s, q.up_s, q.down_s, weight * q.bits, q.first)
    paths = np.empty((frames, p.num_devices), dtype=np.int64)
    if together:
        best_start(q, paths)
    else:
        selfish_paths(q, paths)
    cuts[:] = paths[0]


@compiled
def one_step_cost(q: CutProblem, weight: float) -> float:
    """Cost [s] of one-step optima over all frames of a problem, with a factor on the cost of moving weights."""
    frames, devices = q.up_s.shape
    paths, first = np.empty((frames, devices), dtype=np.int64), q.first.copy()
    for t in range(frames):
        now = slice(t, t + 1)
        one = CutProblem(
            q.own_s[now], q.root[now], q.pool_s[now], q.up_s[now], q.down_s[now], weight * q.bits, first
        )  # fmt: skip
        best_start(one, paths[now])
        first = paths[t].copy()
    return paths_cost(q, paths)


FAST_PLAN = FastCall(plan)


class PlanningPolicy(WorldPolicy):
    """Plays the first cuts of a new plan in every frame; see `plan` for the arguments."""

    def __init__(self, env: Env, frames: int, weight: float, together: bool) -> None:
        super().__init__(env)
        self.frames, self.weight, self.together = frames, weight, together

    def action(self, row: int) -> NDArray[Any]:
        """The plan's cuts (K,) for the next frame of a world."""
        system = self.env.system
        cuts = np.zeros(system.members, dtype=np.int64)
        FAST_PLAN(system.parameters, self.env.state, row, self.frames, self.weight, self.together, cuts)
        return cuts


def planner(env: Env, seed: int) -> PlanningPolicy:
    """The best cuts for the expected coming frames of all devices. Sees the next frame and knows the model."""
    del seed
    return PlanningPolicy(env, HORIZON, 1.0, True)


def selfish_planner(env: Env, seed: int) -> PlanningPolicy:
    """As `planner`, but each device plans for its own delay, as if the others kept their cuts."""
    del seed
    return PlanningPolicy(env, HORIZON, 1.0, False)


def one_step(env: Env, seed: int) -> PlanningPolicy:
    """The best cuts of the next frame, with a factor on the migration's cost that was searched. Sees the next frame."""
    return PlanningPolicy(env, 1, searched_weight(env.system, seed), True)


_TRACES: dict[tuple[str, int], list[Trace]] = {}
TRACES_KEPT = 4


def search_traces(system: Any, seed: int) -> list[Trace]:
    """Episodes of the searches, from streams of their own; those of the last few systems are kept."""
    key = system.config.model_dump_json(), seed
    if key not in _TRACES:
        rngs = [np.random.default_rng([SEARCH_STREAM, seed, row]) for row in range(SEARCH_EPISODES)]
        traces = record(system, rngs, SEARCH_FRAMES)
        while len(_TRACES) >= TRACES_KEPT:
            del _TRACES[next(iter(_TRACES))]
        _TRACES[key] = traces
    return _TRACES[key]


def searched_weight(system: Any, seed: int) -> float:
    """The weight of the migration with the smallest cost of `one-step` on the search's episodes."""
    problems = [trace.problem for trace in search_traces(system, seed)]
    return min(WEIGHTS, key=lambda weight: sum(one_step_cost(q, weight) for q in problems))
