"""Sequences of cuts over several frames whose changes cost time: exact paths of one device, and all devices together.

The cost of cuts c[t, k] of K devices in T frames is

    sum_t pool[t] (sum_k root[t, k, c])^2 + sum_t,k (own[t, k, c] + move(t, k, c' -> c)),

with c' the cut of the frame before. `pool` is the inverse speed of a shared processor and `root` the root of the work
that a device leaves to it, so the first term is the delay at optimal shares. A move costs the bits by which the weights
in front of the two cuts differ, at the time per bit of the direction in which they are sent.

One device alone is solved exactly by dynamic programming (Viterbi's algorithm), at prices of the processor or with the
others' cuts fixed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import compiled

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SWEEPS_MAX = 30
"""Sweeps of the block descent over the devices; it ends earlier if a sweep changes nothing."""


class CutProblem(NamedTuple):
    """T frames, K devices, L choices of a cut."""

    own_s: FloatArray  # (T, K, L) delay of a device without the processor and without moves
    root: FloatArray  # (T, K, L) root of its work for the processor [FLOP^(1/2)]
    pool_s: FloatArray  # (T,) inverse speed of the processor [s/FLOP]
    up_s: FloatArray  # (T, K) time per bit of weights that a device gives up
    down_s: FloatArray  # (T, K) time per bit of weights that a device receives
    bits: FloatArray  # (L,) weights in front of a cut
    first: IntArray  # (K,) cuts before the first frame


@compiled
def move_cost(q: CutProblem, t: int, k: int, before: int, after: int) -> float:
    """Time to move the weights of a device whose cut changes [s]."""
    moved = q.bits[after] - q.bits[before]
    return moved * q.down_s[t, k] if moved > 0.0 else -moved * q.up_s[t, k]


@compiled
def best_path(q: CutProblem, k: int, node_s: FloatArray, path: IntArray) -> float:
    """Fill `path` (T,) with the cheapest cuts of device k; returns their cost [s].

    Args:
        q: the problem.
        k: the device.
        node_s: cost (T, L) of a cut in a frame, without moves.
        path: the result.
    """
    frames, choices = node_s.shape
    least, following = np.empty(choices), np.empty(choices)
    origin = np.empty((frames, choices), dtype=np.int64)
    for c in range(choices):
        least[c] = 0.0 if c == q.first[k] else math.inf
    for t in range(frames):
        for c in range(choices):
            best, source = math.inf, 0
            for before in range(choices):
                cost = least[before] + move_cost(q, t, k, before, c)
                if cost < best:
                    best, source = cost, before
            following[c] = best + node_s[t, c]
            origin[t, c] = source
        least, following = following, least
    at = int(np.argmin(least))
    cost = least[at]
    for t in range(frames - 1, -1, -1):
        path[t] = at
        at = origin[t, at]
    return float(cost)


@compiled
def priced_paths(q: CutProblem, root_price: FloatArray, paths: IntArray) -> float:
    """Fill `paths` (T, K) with each device's best cuts at prices; returns the dual value [s].

    At the price mu of the processor, the best share for work C costs 2 sqrt(mu C) in delay and payment together. The
    dual value is the sum of all devices' least costs less mu F for the speed F of the processor. It is a lower bound on
    the cost of ANY cuts, for all `root_price` = sqrt(mu) >= 0, shape (T,).
    """
    frames, devices, choices = q.own_s.shape
    node_s, path = np.empty((frames, choices)), np.empty(frames, dtype=np.int64)
    value = 0.0
    for t in range(frames):
        value -= root_price[t] * root_price[t] / q.pool_s[t]
    for k in range(devices):
        for t in range(frames):
            for c in range(choices):
                node_s[t, c] = q.own_s[t, k, c] + 2.0 * root_price[t] * q.root[t, k, c]
        value += best_path(q, k, node_s, path)
        paths[:, k] = path
    return value


@compiled
def frame_roots(q: CutProblem, t: int, paths: IntArray) -> float:
    """Sum of the devices' roots in a frame."""
    total = 0.0
    for k in range(paths.shape[1]):
        total += q.root[t, k, paths[t, k]]
    return total


@compiled
def paths_cost(q: CutProblem, paths: IntArray) -> float:
    """Cost of cuts (T, K) [s]."""
    cost = 0.0
    for t in range(paths.shape[0]):
        total = frame_roots(q, t, paths)
        cost += q.pool_s[t] * total * total
        for k in range(paths.shape[1]):
            before = q.first[k] if t == 0 else paths[t - 1, k]
            cost += q.own_s[t, k, paths[t, k]] + move_cost(q, t, k, before, paths[t, k])
    return cost


@compiled
def dual_bound(q: CutProblem, iterations: int, paths: IntArray) -> float:
    """Largest dual value found [s]; fills `paths` (T, K) with the devices' best cuts at its prices.

    The prices are found by a damped fixed point: the price of a frame is optimal if it equals (sum of roots / F)^2 for
    the cuts that it leads to. Any prices give a bound, so nothing depends on its convergence.
    """
    frames = len(q.pool_s)
    root_price, tried = np.empty(frames), np.empty_like(paths)
    best = -math.inf
    for t in range(frames):
        total = 0.0
        for k in range(paths.shape[1]):
            total += 0.5 * q.root[t, k].max()
        root_price[t] = max(total * q.pool_s[t], 1e-300)
    for i in range(iterations):
        value = priced_paths(q, root_price, tried)
        if value > best:
            best = value
            paths[:] = tried
        damping = 0.5 / (1.0 + 0.15 * i)
        for t in range(frames):
            # A price of zero could never rise again in the geometric mean.
            aim = max(frame_roots(q, t, tried) * q.pool_s[t], 1e-3 * root_price[t])
            root_price[t] = math.exp((1.0 - damping) * math.log(root_price[t]) + damping * math.log(aim))
    return best


@compiled
def descend_paths(q: CutProblem, paths: IntArray) -> float:
    """Block descent from `paths` (T, K), in place: each device in turn takes its best cuts, until none changes.

    Returns the cost [s]. The result is optimal for each device alone, not for all together.
    """
    frames, devices, choices = q.own_s.shape
    node_s, path, others = np.empty((frames, choices)), np.empty(frames, dtype=np.int64), np.empty(frames)
    cost = paths_cost(q, paths)
    for _ in range(SWEEPS_MAX):
        before = cost
        for k in range(devices):
            for t in range(frames):
                others[t] = frame_roots(q, t, paths) - q.root[t, k, paths[t, k]]
                for c in range(choices):
                    root = q.root[t, k, c]
                    node_s[t, c] = q.own_s[t, k, c] + q.pool_s[t] * root * (2.0 * others[t] + root)
            best_path(q, k, node_s, path)
            paths[:, k] = path
        cost = paths_cost(q, paths)
        if cost >= before * (1.0 - 1e-12):
            break
    return cost


@compiled
def selfish_paths(q: CutProblem, paths: IntArray) -> None:
    """Fill `paths` (T, K) with the cuts that are best for each device alone, while all others keep their first cuts.

    A device counts its own delay only: at optimal shares, its delay at the processor is pool root (sum of all roots).
    """
    frames, devices, choices = q.own_s.shape
    node_s, path = np.empty((frames, choices)), np.empty(frames, dtype=np.int64)
    for k in range(devices):
        for t in range(frames):
            others = 0.0
            for j in range(devices):
                others += q.root[t, j, q.first[j]] if j != k else 0.0
            for c in range(choices):
                root = q.root[t, k, c]
                node_s[t, c] = q.own_s[t, k, c] + q.pool_s[t] * root * (others + root)
        best_path(q, k, node_s, path)
        paths[:, k] = path
