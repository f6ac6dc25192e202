"""Certificates for solutions of Problems 3, 4 and 5: duality gaps at any resource price.

Each problem is `min c(S) - sum_i Q_i x_i` subject to `sum_i x_i <= S <= S_max` and `0 <= x_i <= Q_i / tau`, with a
convex cost c of the total S. With a resource price mu, the multiplier of the total, its dual function is

    g(mu) = min_S [c(S) - mu S] - sum_i max(Q_i - mu, 0) Q_i / tau,

and no solution costs less than g(mu), for any mu >= 0. So for any shares x, total S and resource price mu

    gap = [c(S) - c(S*) - mu (S - S*)] + mu (S - sum_i x_i)
          + sum_i max(Q_i - mu, 0) (Q_i / tau - x_i) + max(mu - Q_i, 0) x_i

bounds the distance to the optimum, where S* minimises c(S) - mu S over 0 <= S <= S_max. The certificate is the gap
relative to sum_i Q_i x_i. It uses only the shares, the power and the resource price of a solution. Violations add to
the gap: a total above S_max counts as S_max, and the excess adds at the price mu (at the largest backlog if mu is 0); a
share above Q_i / tau adds at |Q_i - mu|; power that differs from what the rates need adds at the weight of energy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part

LN2 = math.log(2.0)
TINY = 1e-300
NEARBY = 1e-6
"""Relative distance of two marginal costs below which a bound replaces the logarithm of their ratio; chosen: the error
of the bound is then 1e-12 of the cost."""

Floats = NDArray[np.float64]


@kernel_part
def split_gap(
    backlog: Floats, row: int, stage: int, first: int, count: int, slot_s: float, share: Floats, resource_price: float
) -> tuple[float, float, float]:
    """The gap of the split of the total, times tau; also sum_i x_i and tau sum_i Q_i x_i."""
    twice_gap = 0.0
    total = 0.0
    served = 0.0
    for i in range(first, first + count):
        queue = backlog[row, stage, i]
        work = share[row, stage, i] * slot_s
        excess = queue - resource_price
        # |x| + x is twice the positive part, and has no branch for the processor to mispredict.
        twice_gap += (abs(excess) + excess) * abs(queue - work) + (abs(excess) - excess) * abs(work)
        total += share[row, stage, i]
        served += queue * work
    return 0.5 * twice_gap, total, served


@kernel_part
def local_gap(
    backlog: Floats, row: int, stage: int, first: int, count: int, slot_s: float, weight: float, coefficient: float,
    cap: float, share: Floats, resource_price: float,
) -> float:  # fmt: skip
    """Certificate of Problem 3, with c(S) = U^l delta S^3 and S the sum of the frequencies."""
    gap, total, served = split_gap(backlog, row, stage, first, count, slot_s, share, resource_price)
    cube = weight * coefficient
    best = math.sqrt(resource_price / (3.0 * cube))
    # Both forms equal c(S) - c(S*) - mu (S - S*) and avoid its cancellation.
    if best < cap:
        gap += slot_s * cube * (total - best) ** 2 * (total + 2.0 * best)
    else:
        gap += slot_s * abs((cap - total) * (resource_price - cube * (total * total + total * cap + cap * cap)))
    return gap / max(served, TINY)


@kernel_part
def conjugate_gap(resource_price: float, marginal: float, least: float, most: float, unit: float) -> float:
    """c(S) - c(S*) - mu (S - S*) of Problem 4, from marginal costs: c'(S), c'(0) = `least` and c'(S_max) = `most`.

    As c' is `least` exp(S / unit) with `unit` = b / ln 2, c(S) - c(S*) = unit (c'(S) - c'(S*)) and
    S - S* = unit log(c'(S) / c'(S*)), where c'(S*) is mu within [least, most]. The result is an upper bound.
    """
    best = min(max(resource_price, least), most)
    ratio = marginal / best - 1.0
    # log(1 + r) >= r - r^2 for small r
    logarithm = ratio - ratio * ratio if abs(ratio) < NEARBY else math.log1p(ratio)
    return unit * (best * ratio - resource_price * logarithm)


@kernel_part
def transmit_gap(
    backlog: Floats, row: int, stage: int, first: int, count: int, slot_s: float, weight: float, gain: float,
    power_max: float, bandwidth: float, noise: float, share: Floats, power: float, resource_price: float,
) -> float:  # fmt: skip
    """Certificate of Problem 4, with c(S) = U^t p(S) and S the sum of the rates, at the given power."""
    gap, total, served = split_gap(backlog, row, stage, first, count, slot_s, share, resource_price)
    unit = bandwidth / LN2
    least = weight * noise * LN2 / gain
    if total > 0.0 or resource_price > least or power > 0.0:
        needed = bandwidth * noise / gain * math.expm1(total / unit) if total > 0.0 else 0.0
        most = least + weight * power_max / unit
        marginal = least + weight * needed / unit
        excess = max(0.0, marginal / most - 1.0)
        if excess >= NEARBY:
            excess = math.log1p(excess)
        gap += slot_s * conjugate_gap(resource_price, min(marginal, most), least, most, unit)
        gap += slot_s * (resource_price * unit * excess + weight * abs(power - needed))
    return gap / max(served, TINY)


@kernel_part
def edge_gap(
    backlog: Floats, row: int, stage: int, first: int, count: int, slot_s: float, cap: float, share: Floats,
    resource_price: float,
) -> float:  # fmt: skip
    """Certificate of Problem 5, with c(S) = 0 and S_max the server's speed F^e."""
    if resource_price > 0.0:
        gap, total, served = split_gap(backlog, row, stage, first, count, slot_s, share, resource_price)
        return (gap + slot_s * resource_price * abs(cap - total)) / max(served, TINY)
    gap = 0.0
    served = 0.0
    room = slot_s * cap
    largest = 0.0
    for i in range(first, first + count):
        queue = backlog[row, stage, i]
        work = share[row, stage, i] * slot_s
        gap += queue * abs(queue - work)
        served += queue * work
        room -= work
        largest = max(largest, queue)
    return (gap + largest * max(0.0, -room)) / max(served, TINY)
