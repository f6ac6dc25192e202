"""Certificates for solutions of Problems 3, 4 and 5: duality gaps at any price of the shared resource.

Each problem is `min c(S) - sum_i Q_i x_i` subject to `sum_i x_i <= S <= S_max` and `0 <= x_i <= Q_i / tau`, with a
convex cost c of the total S. With a price mu of the total its dual function is

    g(mu) = min_S [c(S) - mu S] - sum_i max(Q_i - mu, 0) Q_i / tau,

and no solution costs less than g(mu), whatever mu >= 0 is. So for any shares x, total S and price mu

    gap = [c(S) - c(S*) - mu (S - S*)] + mu (S - sum_i x_i)
          + sum_i max(Q_i - mu, 0) (Q_i / tau - x_i) + max(mu - Q_i, 0) x_i

bounds what the shares lose to the optimum, where S* minimises c(S) - mu S over 0 <= S <= S_max. The certificate is the
gap relative to sum_i Q_i x_i. Nothing here comes from a solver but the shares, the total and the price; a total or a
share above its limit adds to the gap by its amount.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.compiled import kernel_part

LN2 = math.log(2.0)
TINY = 1e-300
NEARBY = 1e-6
"""Relative distance of a price from the marginal cost below which a bound replaces exponentials; chosen: the bound is
then within 1e-6 of the term that it stands for."""

Floats = NDArray[np.float64]


@kernel_part
def split_gap(
    backlog: Floats, row: int, stage: int, first: int, count: int, slot_s: float, share: Floats, price: float
) -> tuple[float, float, float]:
    """Part of the gap that the split of the total causes, times tau; also sum_i x_i and tau sum_i Q_i x_i."""
    twice_gap = 0.0
    total = 0.0
    gain = 0.0
    for i in range(first, first + count):
        queue = backlog[row, stage, i]
        work = share[row, stage, i] * slot_s
        excess = queue - price
        # |x| + x is twice the positive part, without a branch that the processor would mispredict.
        twice_gap += (abs(excess) + excess) * abs(queue - work) + (abs(excess) - excess) * abs(work)
        total += share[row, stage, i]
        gain += queue * work
    return 0.5 * twice_gap, total, gain


@kernel_part
def local_gap(
    backlog: Floats,
    row: int,
    stage: int,
    first: int,
    count: int,
    slot_s: float,
    weight: float,
    coefficient: float,
    cap: float,
    share: Floats,
    price: float,
) -> float:
    """Certificate of Problem 3, with c(S) = U^l delta S^3 and S the sum of the frequencies."""
    gap, total, gain = split_gap(backlog, row, stage, first, count, slot_s, share, price)
    cube = weight * coefficient
    best = math.sqrt(price / (3.0 * cube))
    # Both forms are c(S) - c(S*) - mu (S - S*) without the cancellation.
    if best < cap:
        gap += slot_s * cube * (total - best) ** 2 * (total + 2.0 * best)
    else:
        gap += slot_s * abs((cap - total) * (price - cube * (total * total + total * cap + cap * cap)))
    return gap / max(gain, TINY)


@kernel_part
def conjugate_gap(price: float, marginal: float, first_bit: float, total: float, cap: float, unit: float) -> float:
    """c(S) - c(S*) - mu (S - S*) of Problem 4 for S <= `cap` (a bound close to it where the price is near c'(S)).

    With m = `first_bit` and `unit` = b / ln 2, c'(S) = m exp(S / unit), so c(S) = (c'(S) - m) unit and
    S* = unit log(mu / m) within the limits.
    """
    if price >= marginal and total >= cap:
        return 0.0
    if abs(price - marginal) <= NEARBY * marginal and price > 0.0:
        # As log(1 + x) <= x, |S - S*| <= unit |mu / c'(S) - 1| (1 + 1e-6); mu - c' is largest at S.
        return (1.0 + 2.0 * NEARBY) * unit * (price - marginal) ** 2 / marginal
    best = min(cap, unit * math.log(price / first_bit)) if price > first_bit else 0.0
    return unit * (marginal - first_bit * math.exp(best / unit)) - price * (total - best)


@kernel_part
def transmit_gap(
    backlog: Floats,
    row: int,
    stage: int,
    first: int,
    count: int,
    slot_s: float,
    weight: float,
    gain: float,
    rate_max: float,
    bandwidth: float,
    noise: float,
    share: Floats,
    total: float,
    power: float,
    price: float,
) -> float:
    """Certificate of Problem 4, with c(S) = U^t p(S), where `power` is the p(S) of the total rate S."""
    gap, sent, served = split_gap(backlog, row, stage, first, count, slot_s, share, price)
    first_bit = weight * noise * LN2 / gain
    if total > 0.0 or price > first_bit:
        unit = bandwidth / LN2
        excess = max(0.0, total - rate_max)
        marginal = first_bit * math.exp(rate_max / unit) if excess > 0.0 else first_bit + weight * power / unit
        gap += slot_s * conjugate_gap(price, marginal, first_bit, min(total, rate_max), rate_max, unit)
        gap += slot_s * price * (excess + abs(total - sent))
    return gap / max(served, TINY)


@kernel_part
def edge_gap(
    backlog: Floats,
    row: int,
    stage: int,
    first: int,
    count: int,
    slot_s: float,
    cap: float,
    share: Floats,
    price: float,
) -> float:
    """Certificate of Problem 5, where the total costs nothing up to the server's speed F^e."""
    if price > 0.0:
        gap, total, gain = split_gap(backlog, row, stage, first, count, slot_s, share, price)
        return (gap + slot_s * price * abs(cap - total)) / max(gain, TINY)
    gap = 0.0
    gain = 0.0
    for i in range(first, first + count):
        queue = backlog[row, stage, i]
        work = share[row, stage, i] * slot_s
        gap += queue * abs(queue - work)
        gain += queue * work
    return gap / max(gain, TINY)
