"""The AP's processor: who computes on a twin, and how fast every twin and back end runs.

The pool's capacity F is shared by the back ends (x_k) and by the boosts of the twins (Delta f_k):
min sum_twin Cf / (f + Df) + sum Cb / x  subject to  sum x + sum_twin Df <= F. At the price lambda = 1 / s^2 of a FLOP/s
the shares are x = s sqrt(Cb) and Df = max(s sqrt(Cf) - f, 0): one scalar s is left. Without back ends this is (32).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel


@kernel
def share_pool(
    front_flop: NDArray[np.float64], back_flop: NDArray[np.float64], speed_flop_s: NDArray[np.float64],
    twin: NDArray[np.bool_], capacity_flop_s: float, boost_flop_s: NDArray[np.float64],
    back_end_flop_s: NDArray[np.float64],
) -> float:  # fmt: skip
    """Fill boosts and back-end speeds (K,) with the optimal shares; returns s = 1 / sqrt(price), 0 for no demand.

    The demand is convex and piecewise linear in s, so Newton's method from above is exact after finitely many steps:
    each solves for s with the twins that are boosted at the last one.
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
    front_flop: NDArray[np.float64], back_flop: NDArray[np.float64], speed_flop_s: NDArray[np.float64],
    twin: NDArray[np.bool_], boost_flop_s: NDArray[np.float64], back_end_flop_s: NDArray[np.float64],
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
    """The s above which a twin pays for a user: (sqrt(Cf / f) - sqrt(f) / s)^2 > sync; inf where it never does."""
    root = math.sqrt(front_flop / speed_flop_s) - math.sqrt(sync_s)
    return math.sqrt(speed_flop_s) / root if root > 0.0 else math.inf


@kernel
def order_by_threshold(threshold: NDArray[np.float64], order: NDArray[np.int64]) -> int:
    """Fill `order` with the users of finite threshold, ascending; returns their number."""
    count = 0
    for k in range(len(threshold)):
        if threshold[k] < math.inf:
            at = count
            while at > 0 and threshold[order[at - 1]] > threshold[k]:
                order[at] = order[at - 1]
                at -= 1
            order[at] = k
            count += 1
    return count


@kernel
def choose_twins(
    front_flop: NDArray[np.float64], back_flop: NDArray[np.float64], speed_flop_s: NDArray[np.float64],
    sync_s: NDArray[np.float64], capacity_flop_s: float, threshold: NDArray[np.float64], order: NDArray[np.int64],
    twin: NDArray[np.bool_],
) -> float:  # fmt: skip
    """Choose who computes on a twin; fills `twin` (K,) and returns the root of the price that bounds the delay best.

    At a price the users with a threshold below s take a twin, so the sets to try are the beginnings of the order of
    thresholds. All of them are valued in one pass, as sqrt sums: with every boost positive the pool's delay is
    A^2 / (F + sum f) for A = sum sqrt(Cb) + sum_twin sqrt(Cf). Single changes to the best one follow. The price is
    that of the Lagrangian dual's maximum; it lies between two thresholds (no gap), or at one (that user is in doubt).
    """
    users = len(front_flop)
    constant, root, supply = 0.0, 0.0, capacity_flop_s
    for k in range(users):
        twin[k] = False
        threshold[k] = twin_threshold(front_flop[k], speed_flop_s[k], sync_s[k])
        constant += front_flop[k] / speed_flop_s[k]
        root += math.sqrt(back_flop[k])
    count = order_by_threshold(threshold, order)
    best, best_count = constant + root * root / supply, 0
    bound, root_price, low = -math.inf, 0.0, 0.0
    for taken in range(count + 1):
        high = threshold[order[taken]] if taken < count else math.inf
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
    front_flop: NDArray[np.float64], back_flop: NDArray[np.float64], speed_flop_s: NDArray[np.float64],
    sync_s: NDArray[np.float64], capacity_flop_s: float, twin: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Let single users change sides, best change first, as long as the delay falls."""
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
            # A user who would get no boost is no twin: the formula would credit it with less than nothing.
            if change < best and (side < 0.0 or room * math.sqrt(front_flop[k]) > after * speed_flop_s[k]):
                best, chosen = change, k
        if chosen < 0 or not all_boosted(front_flop, back_flop, speed_flop_s, capacity_flop_s, twin, chosen):
            break
        twin[chosen] = not twin[chosen]


@kernel
def all_boosted(
    front_flop: NDArray[np.float64], back_flop: NDArray[np.float64], speed_flop_s: NDArray[np.float64],
    capacity_flop_s: float, twin: NDArray[np.bool_], changed: int,
) -> bool:  # fmt: skip
    """Whether every twin would still be boosted after one user's change."""
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
