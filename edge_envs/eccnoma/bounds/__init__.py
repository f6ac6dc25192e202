"""How good any policy can be in given episodes: a lower bound by perfect information and Lagrangian duality.

**What is bounded.** Gains, background loads and arrivals of an episode do not depend on the actions, so they can be
recorded once. In each frame, a user's delay and energy per task at a cut are at least those of a user that is alone in
the network: without interference, on its best subchannel, at the largest power for the delay and the smallest for the
energy, with `units_max` units or all that other tenants leave, and without energy of the server. With these, users
only meet in the slices of their AP: the users of AP n hold at most K slices in each frame t. For any prices
lambda[t, n] >= 0,

    cost >= sum_u min over the moves of u of (cost of u + sum_t lambda[t, n(u)] [u holds a slice in t]) - K sum lambda.

The minimum for one user is found by dynamic programming over frames, backlog and steps loaded
(`slice_paths.user_bound`, which also says how backlogs are rounded). So the right side bounds the cost of every
policy, causal or clairvoyant, for ALL prices; the search for good ones need not converge. Without slices, all prices
are 0.

**What is not covered.** One task per step (`arrivals="one"`) and orthogonal access, whose rates are other ones: `bound`
raises NotImplementedError. The distance between the bound and a policy has four parts: the price of not knowing the
future, interference and shared pools, the duality gap, and the rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.system import Bound
from edge_envs.eccnoma.bounds.slice_paths import Costs, SliceProblem, dual_bound
from edge_envs.eccnoma.model.parameters import ACCESS, ARRIVALS, Parameters
from edge_envs.eccnoma.model.state import State

FloatArray = NDArray[np.float64]
ITERATIONS = 60
"""Iterations of the search for prices; chosen."""
COARSE, FINE = 6, 96
"""Levels of the backlog per task, while searching prices and for the bound; chosen."""

LONGEST = 200
"""Largest backlog [tasks] and number of steps of loading for which the tables of the dynamic programs are small."""


class Trace(NamedTuple):
    """What an episode brings, whatever the actions."""

    problem: SliceProblem
    reference: float  # cost by which the rewards are divided


def uncovered(p: Parameters) -> str:
    """Why the cost of an episode has no bound; "" if it has one."""
    if p.arrivals != ARRIVALS.BURSTY:
        return "arrivals='one'"
    if p.access != ACCESS.NOMA:
        return "orthogonal access; use access='noma'"
    if max(p.queue_max, int(p.load_steps.max()) if p.slices else 0) > LONGEST:
        return f"queue_max or steps of loading above {LONGEST}"
    return ""


def costs_of(p: Parameters) -> Costs:
    """Constants of the cost."""
    return Costs(p.weight_delay, p.weight_energy, p.frame_s, p.queue_max, p.drop_s)


def speed_of(p: Parameters, units: FloatArray) -> FloatArray:
    """Speed (3) of units of the server [FLOP/s]."""
    compensated = np.where(units >= 1.0, units / (1.0 + p.core_overhead * (units - 1.0)), units)
    speed: FloatArray = compensated * p.unit_speed_flop_s
    return speed


def alone(p: Parameters, s: State, up: FloatArray, down: FloatArray, level: NDArray[np.int64]) -> list[FloatArray]:
    """Smallest delay [s], energy [J] and energy at full power [J] of a task, each (B, U, C), of users that are alone.

    Args:
        p: parameters.
        s: state with B worlds.
        up: uplink gains (B, M, U, N).
        down: downlink gains (B, M, U, N).
        level: background loads (B, N).
    """
    sends, work = p.bits_up[s.network] > 0.0, p.server_flop[s.network]
    units = np.full(s.ap.shape, p.units_max)
    if p.pool:
        free = p.pool_units * (1.0 - p.background_levels[np.take_along_axis(level, s.ap, axis=1)])
        units = np.minimum(units, free)
    device = p.device_flop[s.network]
    delay = device / s.speed_flop_s[:, :, None] + work / speed_of(p, units)[:, :, None]
    energies = [device * p.device_j_per_flop for _ in range(2)]
    for gain, bits, bandwidth_hz, low_w, high_w in (
        (up, p.bits_up[s.network], p.bandwidth_up_hz, p.power_up_min_w, p.power_up_max_w),
        (down, sends * p.result_bits, p.bandwidth_down_hz, p.power_down_min_w, p.power_down_max_w),
    ):
        best = np.take_along_axis(gain.max(axis=1), s.ap[:, :, None], axis=2)
        band_hz = bandwidth_hz / p.num_subchannels
        seconds = [
            bits * np.log(2.0) / (band_hz * np.log1p(power_w * best / (p.noise_w_per_hz * band_hz)))
            for power_w in (low_w, high_w)
        ]
        delay = delay + seconds[1]
        energies = [energies[0] + low_w * seconds[0], energies[1] + high_w * seconds[1]]
    return [delay, *energies]


def record(system: Any, rngs: Sequence[Generator], steps: int) -> list[Trace]:
    """Traces of episodes of `steps` frames, one per generator: those of an environment with these generators.

    Raises:
        NotImplementedError: the configuration has a part that the bound does not cover.
    """
    p: Parameters = system.parameters
    if why := uncovered(p):
        raise NotImplementedError(f"there is no bound with {why}")
    s: State = system.allocate(len(rngs))
    rows = np.arange(len(rngs))
    system.reset(s, rows, rngs)
    first, frames = s.queue.copy(), []
    idle = p.last_choice[s.network]
    for _ in range(steps):
        delay, energy, _ = alone(p, s, s.gain_up, s.gain_down, s.level)
        system.step(s, rows, idle, rngs)
        frames.append((delay, energy, s.arrived.copy()))
    delay, energy, arrivals = (np.stack(part, axis=1) for part in zip(*frames, strict=True))
    slices = np.full(p.num_aps, p.slices or p.num_users)
    traces = []
    for row in rows:
        network = s.network[row]
        problem = SliceProblem(
            delay[row].copy(), energy[row].copy(), arrivals[row].copy(), first[row].copy(),
            p.load_steps[network] if p.slices else np.zeros_like(p.load_steps[network]),
            np.arange(p.num_choices) < p.choices[network][:, None], p.last_choice[network], s.ap[row].copy(), slices,
        )  # fmt: skip
        traces.append(Trace(problem, float(s.reference[row])))
    return traces


def bound(system: Any, seeds: Sequence[int], steps: int) -> Bound:
    """See `System.bound`.

    Raises:
        NotImplementedError: the configuration has a part that the bound does not cover.
    """
    rngs = [np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(seed)))) for seed in seeds]
    p = system.parameters
    iterations = ITERATIONS if p.slices else 0
    least = np.array([least_cost(p, trace, iterations) for trace in record(system, rngs, steps)]) / steps
    return Bound("relative_cost", least, -steps * least)


def least_cost(p: Parameters, trace: Trace, iterations: int = ITERATIONS) -> float:
    """Lower bound on an episode's sum of costs over their reference."""
    price = np.zeros((len(trace.problem.arrivals), p.num_aps))
    return float(dual_bound(trace.problem, costs_of(p), iterations, COARSE, FINE, price)) / trace.reference
