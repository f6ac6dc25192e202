"""Slices of servers over many frames: lower bounds by Lagrangian duality, and values of one user's Markov chain.

A user has Q waiting tasks. In a frame it uses one cut, with delay T and energy E per task, serves n <= min(Q, tau / T)
tasks, and pays

    f(n) = w_T (T n (n + 1) / 2 + (Q - n) tau) + w_E n E.

Then A tasks arrive; those beyond the limit are dropped and cost w_T `drop_s` each. All cuts but the last need a slice
in which the layers behind the cut are loaded. Each frame is one of three moves: release the slice and use the last cut;
hold a slice, use the last cut and load one step; or hold it and use a loaded cut.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import compiled

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Costs(NamedTuple):
    """Constants of the cost."""

    weight_delay: float
    weight_energy: float
    frame_s: float
    queue_max: float
    drop_s: float


class SliceProblem(NamedTuple):
    """T frames of an episode, U users, N APs, C choices of a cut; all random numbers are known."""

    delay_s: FloatArray  # (T, U, C) of a task; lower bounds give a lower bound
    energy_j: FloatArray  # (T, U, C) of a task, likewise
    arrivals: FloatArray  # (T, U) tasks that arrive after a frame; whole numbers
    queue: FloatArray  # (U,) tasks before the first frame; whole numbers
    load_steps: IntArray  # (U, C) frames to load what a cut needs
    open_cut: NDArray[np.bool_]  # (U, C) cuts of the user's network
    last: IntArray  # (U,) the cut without a slice
    ap: IntArray  # (U,)
    slices: IntArray  # (N,) slices of an AP


@compiled
def frame_cost(k: Costs, queue: float, served: float, delay: float, energy: float) -> float:
    """f(n), the cost of a frame without drops."""
    waiting = 0.5 * delay * served * (served + 1.0) + (queue - served) * k.frame_s
    return k.weight_delay * waiting + k.weight_energy * served * energy


@compiled
def least_frame_cost(k: Costs, queue: float, delay: float, energy: float) -> float:
    """Smallest f(n) over 0 <= n <= min(Q, tau / T); f is convex in n."""
    most = min(queue, k.frame_s / delay) if delay > 0.0 else queue
    best = (k.frame_s - k.weight_energy * energy / k.weight_delay) / delay - 0.5 if delay > 0.0 else queue
    return frame_cost(k, queue, min(max(best, 0.0), most), delay, energy)


@compiled
def user_bound(q: SliceProblem, k: Costs, u: int, price: FloatArray, levels: int, held: IntArray) -> float:
    """Lower bound on the cost of user u at prices (T, N) of a slice per frame; `held` (T,) is the minimising schedule.

    Backlogs are rounded down to multiples of 1 / `levels`, and the service up: the cost rises with the backlog, so both
    give a smaller cost. In each frame, the cost is that of the cheapest n, and the backlog shrinks by the largest n.
    """
    frames, _, choices = q.delay_s.shape
    top = math.floor(k.queue_max * levels)
    deepest = 0
    for c in range(choices):
        if q.open_cut[u, c]:
            deepest = max(deepest, q.load_steps[u, c])
    value, earlier = np.zeros((deepest + 1, top + 1)), np.zeros((deepest + 1, top + 1))
    move = np.zeros((frames, deepest + 1, top + 1), dtype=np.int8)
    cost, after = np.zeros(top + 1), np.zeros(top + 1, dtype=np.int64)
    last = q.last[u]
    for t in range(frames - 1, -1, -1):
        slice_price = price[t, q.ap[u]]
        arriving = int(q.arrivals[t, u]) * levels
        earlier[:] = np.inf
        for turn in range(choices):
            c = last if turn == 0 else turn - 1
            if turn > 0 and (c == last or not q.open_cut[u, c]):
                continue
            delay, energy = q.delay_s[t, u, c], q.energy_j[t, u, c]
            shift = top if delay <= 0.0 else min(math.ceil(k.frame_s / delay * levels), top)
            for i in range(top + 1):
                full = max(i - shift, 0) + arriving
                dropped = max(full / levels - k.queue_max, 0.0)
                cost[i] = least_frame_cost(k, i / levels, delay, energy) + k.weight_delay * k.drop_s * dropped
                after[i] = min(full, top)
            if turn == 0:
                for stage in range(deepest + 1):
                    for i in range(top + 1):
                        earlier[stage, i] = cost[i] + value[0, after[i]]
                        move[t, stage, i] = 0
                        if stage < deepest:
                            loading = cost[i] + slice_price + value[stage + 1, after[i]]
                            if loading < earlier[stage, i]:
                                earlier[stage, i] = loading
                                move[t, stage, i] = 1
            else:
                for stage in range(q.load_steps[u, c], deepest + 1):
                    for i in range(top + 1):
                        using = cost[i] + slice_price + value[stage, after[i]]
                        if using < earlier[stage, i]:
                            earlier[stage, i] = using
                            move[t, stage, i] = 2 + c
        value, earlier = earlier, value
    i, stage = min(math.floor(q.queue[u] * levels), top), 0
    least = value[0, i]
    for t in range(frames):
        chosen = move[t, stage, i]
        held[t] = chosen > 0
        c = chosen - 2 if chosen > 1 else last
        delay = q.delay_s[t, u, c]
        shift = top if delay <= 0.0 else min(math.ceil(k.frame_s / delay * levels), top)
        i = min(max(i - shift, 0) + int(q.arrivals[t, u]) * levels, top)
        stage = 0 if chosen == 0 else stage + 1 if chosen == 1 else stage
    return float(least)


@compiled
def dual_value(q: SliceProblem, k: Costs, price: FloatArray, levels: int, excess: FloatArray) -> float:
    """Lower bound on the cost of all users at prices (T, N) >= 0; fills `excess` (T, N), a supergradient."""
    frames, users = q.arrivals.shape
    held, total = np.zeros(frames, dtype=np.int64), 0.0
    for n in range(len(q.slices)):
        for t in range(frames):
            excess[t, n] = -q.slices[n]
            total -= price[t, n] * q.slices[n]
    for u in range(users):
        total += user_bound(q, k, u, price, levels, held)
        for t in range(frames):
            excess[t, q.ap[u]] += held[t]
    return total


@compiled
def dual_bound(q: SliceProblem, k: Costs, iterations: int, coarse: int, fine: int, price: FloatArray) -> float:
    """Lower bound on the cost of all users; searches good prices, from those in `price` (T, N), and fills it.

    Any prices give a bound, so the search (an ascent with a step that adapts) needs no proof of convergence.

    Args:
        q: the problem.
        k: constants of the cost.
        iterations: steps of the ascent.
        coarse: levels of the backlog per task while searching.
        fine: levels of the backlog per task of the result.
        price: start and result.
    """
    excess, trial, mean = np.zeros_like(price), price.copy(), np.zeros_like(price)
    best = dual_value(q, k, trial, coarse, excess)
    step = 0.0
    for n in range(price.shape[1]):
        step = max(step, 0.1 * best / max(price.size * q.slices[n], 1))
    for _ in range(iterations):
        for t in range(len(price)):
            for n in range(price.shape[1]):
                mean[t, n] = 0.7 * mean[t, n] + excess[t, n]
                trial[t, n] = max(trial[t, n] + step * mean[t, n], 0.0)
        value = dual_value(q, k, trial, coarse, excess)
        if value > best:
            best = value
            price[:] = trial
        step *= 0.97
    return max(dual_value(q, k, price, fine, excess), 0.0)


@compiled
def expected_after(k: Costs, value: FloatArray, probability: FloatArray, arrival: FloatArray, out: FloatArray) -> None:
    """Expected value after a frame, `out` (2, S, R + 1), of R tasks left, from values `value` (2, S, R + 1).

    Args:
        k: constants of the cost.
        value: by phase of the arrivals, steps loaded and whole number of waiting tasks.
        probability: (2, 2) of the next phase, by the present one.
        arrival: (2, A) probability of each number of arrivals, by phase.
        out: the result, with the cost of drops.
    """
    stages, levels = value.shape[1:]
    mixed = np.zeros((2, stages, levels))
    for z in range(2):
        for stage in range(stages):
            for left in range(levels):
                for a in range(arrival.shape[1]):
                    full = left + a
                    dropped = max(full - k.queue_max, 0.0)
                    each = value[z, stage, min(full, levels - 1)] + k.weight_delay * k.drop_s * dropped
                    mixed[z, stage, left] += arrival[z, a] * each
    for z in range(2):
        out[z] = probability[z, 0] * mixed[0] + probability[z, 1] * mixed[1]


@compiled
def interpolated(values: FloatArray, at: float) -> float:
    """Linear interpolation of values at whole numbers."""
    low = min(int(at), len(values) - 2)
    return values[low] + (at - low) * (values[low + 1] - values[low])


@compiled
def move_value(k: Costs, after: FloatArray, queue: float, delay: float, energy: float) -> float:
    """Cost of a frame plus the expected value after it; `after` (R + 1,) is that of the next stage and phase."""
    served = min(queue, k.frame_s / delay) if delay > 0.0 else queue
    return frame_cost(k, queue, served, delay, energy) + interpolated(after, queue - served)


@compiled
def best_hold(
    k: Costs, after: FloatArray, queue: float, stage: int, delay: FloatArray, energy: FloatArray, load: IntArray,
    count: int, last: int,
) -> tuple[float, int]:  # fmt: skip
    """Value and cut of the best move that holds a slice; `after` (S, R + 1); the last cut stands for loading."""
    best, cut = np.inf, -1
    if stage < len(after) - 1:
        best, cut = move_value(k, after[stage + 1], queue, delay[last], energy[last]), last
    for c in range(count):
        if c != last and load[c] <= stage:
            value = move_value(k, after[stage], queue, delay[c], energy[c])
            if value < best:
                best, cut = value, c
    return best, cut


@compiled
def chain_values(
    k: Costs, frames: int, price: float, delay: FloatArray, energy: FloatArray, load: IntArray, count: int, last: int,
    probability: FloatArray, arrival: FloatArray, after: FloatArray,
) -> float:  # fmt: skip
    """Fill `after` (2, S, R + 1) with the expected cost of `frames` frames at a price per frame of a slice.

    The user has the same delays and energies in each frame, and decides as is best for it. Returns the value of an
    empty backlog without a slice, averaged over the phases.
    """
    stages, levels = after.shape[1:]
    value = np.zeros_like(after)
    for _ in range(frames):
        expected_after(k, value, probability, arrival, after)
        for z in range(2):
            for stage in range(stages):
                for i in range(levels):
                    alone = move_value(k, after[z, 0], float(i), delay[last], energy[last])
                    held, _ = best_hold(k, after[z], float(i), stage, delay, energy, load, count, last)
                    value[z, stage, i] = min(alone, held + price)
    expected_after(k, value, probability, arrival, after)
    burst = probability[0, 1] / (probability[0, 1] + probability[1, 0])
    return float((1.0 - burst) * after[0, 0, 0] + burst * after[1, 0, 0])
