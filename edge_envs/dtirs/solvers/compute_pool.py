"""The AP's processor (pool): who computes on a twin, and the speed of every twin and back end.

The pool's capacity F is shared by the back ends (x_k) and by the boosts of the twins (Delta f_k):
min sum_twin Cf / (f + Df) + sum Cb / x  subject to  sum x + sum_twin Df <= F. At the pool price lambda = 1 / s^2 of a
FLOP/s the shares are x = s sqrt(Cb) and Df = max(s sqrt(Cf) - f, 0), so only the scalar s (the pool scale) is unknown.
Without back ends this is (32).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.core.kernels.order import sort_falling

FloatArray = NDArray[np.float64]


@kernel
def share_pool(
    front_flop: FloatArray, back_flop: FloatArray, speed_flop_s: FloatArray, twin: NDArray[np.bool_],
    capacity_flop_s: float, boost_flop_s: FloatArray, back_end_flop_s: FloatArray,
) -> float:  # fmt: skip
    """Fill boosts and back-end speeds (K,) with the optimal shares; returns s = 1 / sqrt(pool price), 0 without demand.

    The demand is convex and piecewise linear in s, so Newton's method from above is exact after finitely many steps.
    Each step solves for s with the twins that are boosted at the previous s.
    """
    users = len(front_flop)
    s = math.inf
    for _ in range(users + 2):
        slope, offset = 0.0, 0.0
        for k in range(users):
            slope += math.sqrt(back_flop[k])
            if twin[k] and math.sqrt(front_flop[k]) * s > speed_flop_s[k]:
                slope += math.sqrt(front_flop[k])
                offset += speed_flop_s[k]
        if slope == 0.0:
            s = 0.0
            break
        following = (capacity_flop_s + offset) / slope
        if following >= s:
            break
        s = following
    for k in range(users):
        back_end_flop_s[k] = s * math.sqrt(back_flop[k])
        boost_flop_s[k] = 0.0
        if twin[k]:
            boost_flop_s[k] = max(s * math.sqrt(front_flop[k]) - speed_flop_s[k], 0.0)
    return s


@kernel
def pool_delay(
    front_flop: FloatArray, back_flop: FloatArray, speed_flop_s: FloatArray, twin: NDArray[np.bool_],
    boost_flop_s: FloatArray, back_end_flop_s: FloatArray,
) -> float:  # fmt: skip
    """Delay of the twins' front ends and of all back ends [s]."""
    delay = 0.0
    for k in range(len(front_flop)):
        if back_flop[k] > 0.0:
            delay += back_flop[k] / back_end_flop_s[k]
        if twin[k]:
            delay += front_flop[k] / (speed_flop_s[k] + boost_flop_s[k])
    return delay


@kernel
def twin_threshold(front_flop: float, speed_flop_s: float, sync_s: float) -> float:
    """The s above which a twin pays off for a user: (sqrt(Cf / f) - sqrt(f) / s)^2 > sync; inf if it never does."""
    root = math.sqrt(front_flop / speed_flop_s) - math.sqrt(sync_s)
    return math.sqrt(speed_flop_s) / root if root > 0.0 else math.inf


@kernel
def choose_twins(
    front_flop: FloatArray, back_flop: FloatArray, speed_flop_s: FloatArray, sync_s: FloatArray, capacity_flop_s: float,
    minus_threshold: FloatArray, order: NDArray[np.int64], twin: NDArray[np.bool_],
) -> float:  # fmt: skip
    """Fill `twin` (K,): who computes on a twin; returns the root of the pool price with the best lower bound.

    At a given price, users with a threshold below s take a twin, so the candidates are the prefixes of the users in
    order of threshold. One pass values all prefixes: if every boost is positive, the pool's delay is A^2 / (F + sum f)
    with A = sum sqrt(Cb) + sum_twin sqrt(Cf). Changes of single users then improve the best prefix. The price maximises
    the Lagrangian dual. It lies between two thresholds, where there is no gap, or at one. `minus_threshold` and `order`
    (K,) are scratch memory.
    """
    users = len(front_flop)
    constant, root, supply, count = 0.0, 0.0, capacity_flop_s, 0
    for k in range(users):
        twin[k] = False
        minus_threshold[k] = -twin_threshold(front_flop[k], speed_flop_s[k], sync_s[k])
        if minus_threshold[k] > -math.inf:
            order[count] = k
            count += 1
        constant += front_flop[k] / speed_flop_s[k]
        root += math.sqrt(back_flop[k])
    sort_falling(order, 0, count, minus_threshold)
    best, best_count = constant + root * root / supply, 0
    bound, root_price, low = -math.inf, 0.0, 0.0
    for taken in range(count + 1):
        high = -minus_threshold[order[taken]] if taken < count else math.inf
        s = supply / root if root > 0.0 else math.inf
        value = constant + root * root / supply
        if s > low and value < best:
            best, best_count = value, taken
        s = min(max(s, low), high)
        if s > 0.0:
            dual = constant + (2.0 * root - supply / s) / s
            if dual > bound:
                bound, root_price = dual, 1.0 / s
        if taken < count:
            k = order[taken]
            constant += sync_s[k] - front_flop[k] / speed_flop_s[k]
            root += math.sqrt(front_flop[k])
            supply += speed_flop_s[k]
            low = high
    for taken in range(best_count):
        twin[order[taken]] = True
    change_one_by_one(front_flop, back_flop, speed_flop_s, sync_s, capacity_flop_s, twin)
    return root_price


@kernel
def change_one_by_one(
    front_flop: FloatArray, back_flop: FloatArray, speed_flop_s: FloatArray, sync_s: FloatArray, capacity_flop_s: float,
    twin: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Change the choice of single users, best change first, as long as the delay falls."""
    users = len(front_flop)
    for _ in range(2 * users):
        root, supply = 0.0, capacity_flop_s
        for k in range(users):
            root += math.sqrt(back_flop[k])
            if twin[k]:
                root += math.sqrt(front_flop[k])
                supply += speed_flop_s[k]
        value = root * root / supply
        best, chosen = -1e-12 * value, -1
        for k in range(users):
            side = -1.0 if twin[k] else 1.0
            after, room = root + side * math.sqrt(front_flop[k]), supply + side * speed_flop_s[k]
            change = after * after / room - value + side * (sync_s[k] - front_flop[k] / speed_flop_s[k])
            # The formula holds for positive boosts only, so a new twin must get one.
            if change < best and (side < 0.0 or room * math.sqrt(front_flop[k]) > after * speed_flop_s[k]):
                best, chosen = change, k
        if chosen < 0 or not all_boosted(front_flop, back_flop, speed_flop_s, capacity_flop_s, twin, chosen):
            break
        twin[chosen] = not twin[chosen]


@kernel
def all_boosted(
    front_flop: FloatArray, back_flop: FloatArray, speed_flop_s: FloatArray, capacity_flop_s: float,
    twin: NDArray[np.bool_], changed: int,
) -> bool:  # fmt: skip
    """Return True if every twin still gets a boost after one user's change."""
    root, supply = 0.0, capacity_flop_s
    for k in range(len(front_flop)):
        root += math.sqrt(back_flop[k])
        if twin[k] != (k == changed):
            root += math.sqrt(front_flop[k])
            supply += speed_flop_s[k]
    for k in range(len(front_flop)):
        if twin[k] != (k == changed) and supply * math.sqrt(front_flop[k]) < root * speed_flop_s[k]:
            return False
    return True
