"""How good any policy can be in given episodes: a lower bound by perfect information and Lagrangian duality.

**What is bounded.** In an episode, gains, speeds and the level of the pool do not depend on the actions (with
`phase_passes=0`). So they can be recorded once, and the cost of every sequence of cuts c[t, k] is

    sum_t { (sum_k sqrt(B[t, k]))^2 / F[t] + sum_k (U[t, k] + M[t, k]) }

with the work B of device k behind its cut, the speed F of the pool, the device's own delay U (computing, features,
gradients, leakage) and the time M for moving weights. The first term is the delay of all back ends at optimal shares,
which the environment uses. For any prices mu[t] >= 0 and any shares x with sum_k x[k] <= F,

    sum_k B[k] / x[k] >= sum_k B[k] / x[k] + mu (sum_k x[k] - F) >= sum_k 2 sqrt(mu B[k]) - mu F.

The right side has no coupling between devices. Its minimum over the cuts of one device is a shortest path, which is
found exactly. So the sum of these minima bounds the cost of every sequence of cuts, chosen by any rule, causal or
clairvoyant. It is valid for ALL prices; the search for good ones need not converge.

**What is not covered.** Optimal powers (their budget couples the devices, too), twins, a backlog, and phases that
depend on the cuts (`phase_passes`): `bound` raises NotImplementedError. The IRS phases are those of the environment: it
is no bound on what other phases could reach. The gap between bound and best policy has two parts: the price of not
knowing the future, and a duality gap. Block descent from the bound's own paths shows that the latter is small
(tests/dtirs/test_bounds.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.system import Bound
from edge_envs.dtirs.model.observation import write_forecasts
from edge_envs.dtirs.model.parameters import MODEL, POWER, TWINS, Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers.cut_paths import CutProblem, dual_bound

FloatArray = NDArray[np.float64]
ITERATIONS = 120
"""Iterations of the search for prices; chosen: 40 more change the bound of preset `planning` by less than 1e-4."""


class Trace(NamedTuple):
    """What an episode brings, whatever the actions; T frames, K devices, L choices of a cut, F forecasts."""

    problem: CutProblem
    gain_db: FloatArray  # (T, K) downlink gain
    forecast_db: FloatArray  # (T, K, F) its forecasts, as observed
    busy: NDArray[np.bool_]  # (T, K) other load takes a part of the speed
    constant_s: float  # part of the objective that no action changes, over all frames


def uncovered(p: Parameters) -> str:
    """Why the cost of an episode is not the one above; "" if it is."""
    reasons = {
        "model='printed'": p.model != MODEL.EXTENDED,
        "twins": p.twins != TWINS.NONE,
        "optimal powers; use power='equal'": p.power != POWER.EQUAL,
        "a backlog": p.backlog,
        "phases that depend on the cuts; use phase_passes=0": p.phase_passes > 0,
    }
    return next((reason for reason, present in reasons.items() if present), "")


def seconds_per_bit(p: Parameters, power_w: float, gain: FloatArray) -> FloatArray:
    """Time to send a bit at a power, (11), (13) [s]."""
    seconds: FloatArray = np.log(2.0) / (p.device_bandwidth_hz * np.log1p(power_w * gain / p.noise_w))
    return seconds


def record(system: Any, rngs: Sequence[Generator], steps: int) -> list[Trace]:
    """Traces of episodes of `steps` frames, one per generator: those of an environment with these generators.

    Raises:
        NotImplementedError: the configuration has a part that the bound does not cover.
    """
    p: Parameters = system.parameters
    if why := uncovered(p):
        raise NotImplementedError(f"there is no bound with {why}")
    state: State = system.allocate(len(rngs))
    rows = np.arange(len(rngs))
    system.reset(state, rows, rngs)
    first, frames = state.choice.copy(), []
    idle = state.choice.copy()
    for _ in range(steps):
        frames.append(frame_of(p, state))
        system.step(state, rows, idle, rngs)
    parts = [np.stack(part, axis=1) for part in zip(*frames, strict=True)]
    constant_s = steps * p.loss_s
    traces = []
    for row in rows:
        own, root, pool, up, down, gain_db, forecast_db, busy = (np.ascontiguousarray(part[row]) for part in parts)
        problem = CutProblem(own, root, pool, up, down, p.migration_bits, first[row].copy())
        traces.append(Trace(problem, gain_db, forecast_db, busy, constant_s))
    return traces


def frame_of(p: Parameters, s: State) -> tuple[NDArray[Any], ...]:
    """The parts of a `Trace` for the next frame of all rows, each with the batch as first axis."""
    share_w = min(p.power_total_w / p.num_devices, p.power_max_w)
    up, down = seconds_per_bit(p, p.power_uplink_w, s.gain_up), seconds_per_bit(p, share_w, s.gain_down)
    own = s.front_flop / s.speed_flop_s[:, :, None] + p.cut_leakage_s
    own = own + p.bits_up * up[:, :, None] + p.bits_down * down[:, :, None]
    forecasts = np.zeros((*s.gain_down.shape, len(p.forecast_frames)))
    for row in range(len(forecasts) if forecasts.size else 0):
        write_forecasts(p, s, row, forecasts[row])
    return (
        own, np.sqrt(s.back_flop), 1.0 / s.capacity_flop_s, up, down, 10.0 * np.log10(s.gain_down),
        10.0 * np.log10(forecasts), s.load < 1.0,
    )  # fmt: skip


def bound(system: Any, seeds: Sequence[int], steps: int) -> Bound:
    """See `System.bound`.

    Raises:
        NotImplementedError: the configuration has a part that the bound does not cover.
    """
    rngs = [np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(seed)))) for seed in seeds]
    least = np.array([least_cost(trace) for trace in record(system, rngs, steps)]) / steps
    return Bound("objective_s", least, steps * (1.0 - least / system.reference_s))


def least_cost(trace: Trace, iterations: int = ITERATIONS) -> float:
    """Lower bound on the sum of an episode's objectives [s]."""
    paths = np.zeros(trace.gain_db.shape, dtype=np.int64)
    return float(dual_bound(trace.problem, iterations, paths)) + trace.constant_s
