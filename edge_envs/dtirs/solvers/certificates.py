"""Certificates of a frame's solves, worked out from the returned point and its multipliers alone.

They share no code with the solvers and use nothing that these worked out on the way, so that a faulty solver cannot
vouch for itself. A point outside its limits counts as far off as it exceeds them, relative to the limit; one that is
not a number, or has no finite delay, as infinitely far off.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel

LARGEST_LOG = 700.0
"""Logarithm beyond which a ratio is not worked out, as it would overflow."""


@kernel
def beyond(value: float, limit: float) -> float:
    """By what part a value is above a limit; negative where it is below, inf where the limit is not positive."""
    return value / limit - 1.0 if limit > 0.0 else math.inf


@kernel
def apart(ratio: float) -> float:
    """By what part the larger of two positive numbers is above the smaller one, from their ratio; else inf."""
    return max(ratio, 1.0 / ratio) - 1.0 if ratio > 0.0 else math.inf


@kernel
def relative_gap(lower: float, upper: float) -> float:
    """Part of `upper` by which `lower` misses it; inf where one is not a number, or `upper` is negative.

    Where `lower` is above `upper` by more than rounding one of them is no bound, which shows, too.
    """
    if upper == 0.0 and lower == 0.0:
        return 0.0
    if not (upper > 0.0 and -math.inf < lower < math.inf):
        return math.inf
    return abs(1.0 - lower / upper)


@kernel
def power_residual(
    gain_per_w: NDArray[np.float64], nat_seconds: NDArray[np.float64], total_w: float, most_w: float,
    power_w: NDArray[np.float64], log_price: float,
) -> float:  # fmt: skip
    """Largest relative violation of the conditions (51) by powers (K,) [W] and the log of their price nu [s/W].

    Marginal delays equal the price, except below it at the limit of a device; the budget is used by those who
    receive. At no price (-inf) all of them have their limit instead.
    """
    if not log_price < math.inf:
        return math.inf
    worst, spent, used = 0.0, 0.0, 0.0
    for k in range(len(power_w)):
        watts = power_w[k]
        if not 0.0 <= watts < math.inf:
            return math.inf
        spent += watts
        if nat_seconds[k] == 0.0:
            continue
        used += watts
        nats = math.log1p(gain_per_w[k] * watts)
        if nats == 0.0:
            return math.inf
        worst = max(worst, beyond(watts, most_w))
        if log_price == -math.inf:
            worst = max(worst, beyond(most_w, watts))
            continue
        above = math.log(nat_seconds[k]) + math.log(gain_per_w[k]) - nats - 2.0 * math.log(nats) - log_price
        # powers at their limit may have been scaled by a rounding error, to keep to the budget
        miss = max(-above, 0.0) if watts >= most_w * (1.0 - 1e-12) else abs(above)
        worst = max(worst, math.expm1(min(miss, LARGEST_LOG)))
    worst = max(worst, beyond(spent, total_w))
    return worst if log_price == -math.inf else max(worst, beyond(total_w, used))


@kernel
def pool_residual(
    front_flop: NDArray[np.float64], back_flop: NDArray[np.float64], speed_flop_s: NDArray[np.float64],
    twin: NDArray[np.bool_], capacity_flop_s: float, boost_flop_s: NDArray[np.float64],
    back_end_flop_s: NDArray[np.float64], s: float,
) -> float:  # fmt: skip
    """Largest relative violation of the pool's KKT conditions (34) by its shares (K,) and s = 1 / sqrt(price).

    Marginal delays equal the price, except below it for a twin without a boost; the pool is used, by those who have
    work for it. Where nobody has, nobody gets a share.
    """
    worst, spent, used, asked = 0.0, 0.0, 0.0, False
    for k in range(len(front_flop)):
        boost, back_end = boost_flop_s[k], back_end_flop_s[k]
        if not (0.0 <= boost < math.inf and 0.0 <= back_end < math.inf):
            return math.inf
        spent += boost + back_end
        if back_flop[k] > 0.0:
            if not (0.0 < s < math.inf and back_end > 0.0):
                return math.inf
            asked = True
            used += back_end
            worst = max(worst, apart(back_flop[k] * (s / back_end) ** 2))
        if twin[k] and front_flop[k] > 0.0:
            if not 0.0 < s < math.inf:
                return math.inf
            asked = True
            used += boost
            marginal = front_flop[k] * (s / (speed_flop_s[k] + boost)) ** 2
            worst = max(worst, apart(marginal) if boost > 0.0 else marginal - 1.0)
    if not asked:
        return spent / capacity_flop_s
    return max(worst, beyond(spent, capacity_flop_s), beyond(capacity_flop_s, used))


@kernel
def computing_bound(
    front_flop: NDArray[np.float64], back_flop: NDArray[np.float64], speed_flop_s: NDArray[np.float64],
    twin_cost_s: NDArray[np.float64], capacity_flop_s: float, root_price: float,
) -> float:  # fmt: skip
    """Lower bound of the least delay of all computing and synchronisation, over all choices of twins and shares [s].

    It is the Lagrangian dual function at a price root_price^2 of a FLOP/s [s per FLOP/s], so it holds at every price.
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
def off_circle(phase: NDArray[np.float64], row: int) -> float:
    """Largest deviation of a squared modulus from one, over a row's phases (B, 2, N)."""
    worst = 0.0
    for n in range(phase.shape[2]):
        worst = max(worst, abs(phase[row, 0, n] ** 2 + phase[row, 1, n] ** 2 - 1.0))
    return worst
