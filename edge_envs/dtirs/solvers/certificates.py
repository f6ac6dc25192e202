"""Certificates of a frame's solutions, computed from the returned point and its multipliers alone.

They share no code and no intermediate results with the solvers, so that they detect a wrong solver. A point outside its
limits has a residual of its relative excess. A point with NaN or without a finite delay has an infinite residual.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel

FloatArray = NDArray[np.float64]

LARGEST_LOG = 700.0
"""Logarithms above are clipped, so that their exponential does not overflow."""


@kernel
def beyond(value: float, limit: float) -> float:
    """Relative excess of a value over a limit; negative below the limit, inf if the limit is not positive."""
    return value / limit - 1.0 if limit > 0.0 else math.inf


@kernel
def apart(ratio: float) -> float:
    """Relative difference of two positive numbers, over the smaller one, from their ratio; inf for other ratios."""
    return max(ratio, 1.0 / ratio) - 1.0 if ratio > 0.0 else math.inf


@kernel
def relative_gap(lower: float, upper: float) -> float:
    """Gap between two bounds relative to `upper`; inf if one is NaN or `upper` is negative.

    The gap is absolute: if `lower` exceeds `upper`, one of them is not a bound, and the gap shows it.
    """
    if upper == 0.0 and lower == 0.0:
        return 0.0
    if not (upper > 0.0 and -math.inf < lower < math.inf):
        return math.inf
    return abs(1.0 - lower / upper)


@kernel
def power_residual(
    gain_per_w: FloatArray, unit_delay_s: FloatArray, power_total_w: float, power_max_w: float, power_w: FloatArray,
    log_price: float,
) -> float:  # fmt: skip
    """Largest relative violation of the KKT conditions (51) by powers (K,) [W] and the log of their price nu [s/W].

    The delay saved per watt equals the price, or exceeds it for a device at its limit. Devices with data use the whole
    budget. At a log price of -inf all of them are at their limit instead.
    """
    if not log_price < math.inf:
        return math.inf
    worst, spent, used = 0.0, 0.0, 0.0
    for k in range(len(power_w)):
        watts = power_w[k]
        if not 0.0 <= watts < math.inf:
            return math.inf
        spent += watts
        if unit_delay_s[k] == 0.0:
            continue
        used += watts
        efficiency = math.log1p(gain_per_w[k] * watts)
        if efficiency == 0.0:
            return math.inf
        worst = max(worst, beyond(watts, power_max_w))
        if log_price == -math.inf:
            worst = max(worst, beyond(power_max_w, watts))
            continue
        above = math.log(unit_delay_s[k]) + math.log(gain_per_w[k])
        above = above - efficiency - 2.0 * math.log(efficiency) - log_price
        # The solver may scale powers at their limit by a rounding error, to keep to the budget.
        miss = max(-above, 0.0) if watts >= power_max_w * (1.0 - 1e-12) else abs(above)
        worst = max(worst, math.expm1(min(miss, LARGEST_LOG)))
    worst = max(worst, beyond(spent, power_total_w))
    return worst if log_price == -math.inf else max(worst, beyond(power_total_w, used))


@kernel
def pool_residual(
    front_flop: FloatArray, back_flop: FloatArray, speed_flop_s: FloatArray, twin: NDArray[np.bool_],
    capacity_flop_s: float, boost_flop_s: FloatArray, back_end_flop_s: FloatArray, s: float,
) -> float:  # fmt: skip
    """Largest relative violation of the KKT conditions (34) by shares (K,) and s = 1 / sqrt(pool price).

    The delay saved per FLOP/s equals the price, or is below it for a twin without a boost. Users with work for the pool
    use all of it. Without such users all shares are zero.
    """
    worst, spent, used, demanded = 0.0, 0.0, 0.0, False
    for k in range(len(front_flop)):
        boost, back_end = boost_flop_s[k], back_end_flop_s[k]
        if not (0.0 <= boost < math.inf and 0.0 <= back_end < math.inf):
            return math.inf
        spent += boost + back_end
        if back_flop[k] > 0.0:
            if not (0.0 < s < math.inf and back_end > 0.0):
                return math.inf
            demanded = True
            used += back_end
            worst = max(worst, apart(back_flop[k] * (s / back_end) ** 2))
        if twin[k] and front_flop[k] > 0.0:
            if not 0.0 < s < math.inf:
                return math.inf
            demanded = True
            used += boost
            marginal = front_flop[k] * (s / (speed_flop_s[k] + boost)) ** 2
            worst = max(worst, apart(marginal) if boost > 0.0 else marginal - 1.0)
    if not demanded:
        return spent / capacity_flop_s
    return max(worst, beyond(spent, capacity_flop_s), beyond(capacity_flop_s, used))


@kernel
def computing_bound(
    front_flop: FloatArray, back_flop: FloatArray, speed_flop_s: FloatArray, twin_cost_s: FloatArray,
    capacity_flop_s: float, root_price: float,
) -> float:  # fmt: skip
    """Lower bound on the delay of computing and synchronisation over all choices of twins and shares [s].

    It is the Lagrangian dual function at the pool price root_price^2 [s per FLOP/s], so it holds at every price.
    """
    if not 0.0 <= root_price < math.inf:
        return 0.0
    bound = -capacity_flop_s * root_price * root_price
    for k in range(len(front_flop)):
        own, root = front_flop[k] / speed_flop_s[k], math.sqrt(front_flop[k])
        wanted = root > speed_flop_s[k] * root_price
        twin = twin_cost_s[k] + ((2.0 * root - speed_flop_s[k] * root_price) * root_price if wanted else own)
        bound += min(own, twin) + 2.0 * math.sqrt(back_flop[k]) * root_price
    return max(bound, 0.0)


@kernel
def off_circle(phase: FloatArray, row: int) -> float:
    """Largest deviation of a squared modulus from one, over a row's phases (B, 2, N)."""
    worst = 0.0
    for n in range(phase.shape[2]):
        worst = max(worst, abs(phase[row, 0, n] ** 2 + phase[row, 1, n] ** 2 - 1.0))
    return worst
