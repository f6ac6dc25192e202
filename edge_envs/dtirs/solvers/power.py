"""Downlink power: min sum_k c_k / ln(1 + a_k P_k) in a sum and a box, by Lambert's W in the log domain, (47)-(61)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel

LOG_LARGE, LOG_SMALL = 1.5, -18.0
"""Bounds of ln z between which W(z) is found by Halley's method on w e^w = z; beyond, there are better forms."""
MOST_STEPS = 100
"""Newton steps; a step that leaves the bracket is replaced by a bisection, so this is never reached in practice."""
SETTLED = 1e-8
"""Relative miss of the budget from which one linear step is exact to rounding."""


@kernel
def lambert_w_of_exp(log_z: float) -> float:
    """Principal Lambert W of z = exp(log_z), without forming z where that would overflow or lose digits."""
    if log_z == math.inf:
        return log_z
    if log_z > LOG_LARGE:
        w = log_z - math.log(log_z)
        for _ in range(8):
            before = w
            w = w * (1.0 + log_z - math.log(w)) / (1.0 + w)
            if abs(w - before) <= 1e-9 * w:
                break
        return w
    z = math.exp(log_z)
    if log_z < LOG_SMALL:
        return z * (1.0 - z)
    w = math.log1p(z)
    w *= 1.0 - math.log1p(w) / (2.0 + w)
    for _ in range(8):
        before = w
        grown = math.exp(w)
        miss = w * grown - z
        w -= miss / (grown * (w + 1.0) - (w + 2.0) * miss / (2.0 * w + 2.0))
        if abs(w - before) <= 1e-6 * w:
            break
    return w


@kernel
def log_marginal(gain_per_w: float, nat_seconds: float, power_w: float) -> float:
    """Log of the delay saved per watt, ln(c a) - t - 2 ln t with t = ln(1 + a P); the log of nu in (52)."""
    t = math.log1p(gain_per_w * power_w)
    return math.log(nat_seconds) + math.log(gain_per_w) - t - 2.0 * math.log(t)


@kernel
def power_at_price(gain_per_w: float, nat_seconds: float, log_price: float) -> tuple[float, float]:
    """Unconstrained power of (61) at a price of power, and its derivative by the log of the price (negative)."""
    log_z = 0.5 * (math.log(nat_seconds * gain_per_w) - log_price) - math.log(2.0)
    w = lambert_w_of_exp(log_z)
    grown = math.expm1(2.0 * w)
    return grown / gain_per_w, -(grown + 1.0) / gain_per_w * w / (1.0 + w)


@kernel
def move_lambert_w(w: float, change: float) -> float:
    """W of a z whose logarithm is `change` more than that of w: Halley's method on w' + ln w' = w + ln w + change.

    It starts from the second-order expansion, so that after a small change one or two steps do.
    """
    if abs(change) > 1.0:
        return lambert_w_of_exp(w + math.log(w) + change)
    further = w * change / (1.0 + w) * (1.0 + 0.5 * change / ((1.0 + w) * (1.0 + w)))
    for _ in range(8):
        miss = further + math.log1p(further / w) - change
        x = w + further
        further -= miss * x / (1.0 + x) * (1.0 - 0.5 * miss / ((1.0 + x) * (1.0 + x)))
        if abs(miss) <= 1e-5:
            break
    return w + further


@kernel
def start_halves(
    gain_per_w: NDArray[np.float64], nat_seconds: NDArray[np.float64], share_w: float, half: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Fill half = ln(1 + a P) / 2 (K,) at the equal share and move it to the users' mean log price.

    Returns the least, the largest and the mean of the users' log marginal values at the share.
    """
    low, high, mean, active = math.inf, -math.inf, 0.0, 0
    for k in range(len(half)):
        half[k] = 0.0
        if nat_seconds[k] > 0.0:
            value = log_marginal(gain_per_w[k], nat_seconds[k], share_w)
            low, high = min(low, value), max(high, value)
            mean += value
            active += 1
    mean /= active
    for k in range(len(half)):
        if nat_seconds[k] > 0.0:
            value = log_marginal(gain_per_w[k], nat_seconds[k], share_w)
            half[k] = move_lambert_w(0.5 * math.log1p(gain_per_w[k] * share_w), 0.5 * (value - mean))
    return low, high, mean


@kernel
def allocate_power(
    gain_per_w: NDArray[np.float64], nat_seconds: NDArray[np.float64], total_w: float, most_w: float,
    power_w: NDArray[np.float64],
) -> float:  # fmt: skip
    """Fill `power_w` (K,) with the optimal powers; returns the log of the price nu [s/W], -inf where none is scarce.

    Users with nothing to receive (c = 0) get no power. The equal share brackets the price: every user wants more than
    it at the lowest of the users' marginal values there, and less at the highest. Until the end `power_w` holds
    W(z) = ln(1 + a P) / 2 of (61), without limit: it changes little from price to price.
    """
    users = len(power_w)
    active = 0
    for k in range(users):
        active += nat_seconds[k] > 0.0
    if active == 0 or active * most_w <= total_w:
        for k in range(users):
            power_w[k] = most_w if nat_seconds[k] > 0.0 else 0.0
        return -math.inf
    low, high, log_price = start_halves(gain_per_w, nat_seconds, total_w / active, power_w)
    for _ in range(MOST_STEPS):
        spent, slope = 0.0, 0.0
        for k in range(users):
            if nat_seconds[k] > 0.0:
                w = power_w[k]
                grown = math.expm1(2.0 * w)
                spent += min(grown / gain_per_w[k], most_w)
                if grown < most_w * gain_per_w[k]:
                    slope -= (grown + 1.0) / gain_per_w[k] * w / (1.0 + w)
        miss = math.log(spent / total_w)
        if miss > 0.0:
            low = log_price
        else:
            high = log_price
        settled = abs(miss) <= SETTLED
        following = log_price - miss * spent / slope if slope < 0.0 else low
        if not (settled or low < following < high):
            following = 0.5 * (low + high)
        change = 0.5 * (log_price - following)
        log_price = following
        for k in range(users):
            if nat_seconds[k] > 0.0:
                w = power_w[k]
                # of a last step that small the square counts for nothing
                power_w[k] = w + w / (1.0 + w) * change if settled else move_lambert_w(w, change)
        if settled or high - low <= 1e-15 * max(abs(high), 1.0):
            break
    spent = 0.0
    for k in range(users):
        if nat_seconds[k] > 0.0:
            power_w[k] = min(math.expm1(2.0 * power_w[k]) / gain_per_w[k], most_w)
            spent += power_w[k]
    if spent > total_w:
        for k in range(users):
            power_w[k] *= total_w / spent
    return log_price


@kernel
def transmit_delay(gain_per_w: float, nat_seconds: float, power_w: float) -> float:
    """Delay c / ln(1 + a P) of (46) [s]; none where there is nothing to send."""
    return nat_seconds / math.log1p(gain_per_w * power_w) if nat_seconds > 0.0 else 0.0
