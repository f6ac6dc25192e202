"""Downlink power: min sum_k c_k / ln(1 + a_k P_k) with a budget and a limit per user, (47)-(61).

It is solved by Lambert's W in the log domain and Newton's method on the power price nu. c_k is the unit delay: the
delay at a spectral efficiency of 1 nat/s/Hz.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.bracket import inside_or_middle, narrowed
from edge_envs.core.kernels.jit import kernel

FloatArray = NDArray[np.float64]

LOG_LARGE, LOG_SMALL = 1.5, -18.0
"""Range of ln z in which W(z) is found by Halley's method on w e^w = z; other forms are better outside."""
STEPS_MAX = 100
"""Largest number of Newton steps. Steps that leave the bracket are bisections, so a solve needs far fewer."""
BUDGET_TOLERANCE = 1e-8
"""Relative deviation from the budget at which one more linear step is exact to rounding."""


@kernel
def lambert_w_of_exp(log_z: float) -> float:
    """Principal Lambert W of z = exp(log_z), without computing z where it would overflow or lose digits."""
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
def log_marginal(gain_per_w: float, unit_delay_s: float, power_w: float) -> float:
    """Log of the delay saved per watt, ln(c a) - t - 2 ln t with t = ln(1 + a P); equals ln nu at the optimum, (52)."""
    t = math.log1p(gain_per_w * power_w)
    return math.log(unit_delay_s) + math.log(gain_per_w) - t - 2.0 * math.log(t)


@kernel
def power_at_price(gain_per_w: float, unit_delay_s: float, log_price: float) -> tuple[float, float]:
    """Power of (61) without limit at a power price, and its (negative) derivative with respect to the log price."""
    log_z = 0.5 * (math.log(unit_delay_s * gain_per_w) - log_price) - math.log(2.0)
    w = lambert_w_of_exp(log_z)
    grown = math.expm1(2.0 * w)
    return grown / gain_per_w, -(grown + 1.0) / gain_per_w * w / (1.0 + w)


@kernel
def move_lambert_w(w: float, change: float) -> float:
    """W(z exp(change)), given w = W(z), by Halley's method on w' + ln w' = w + ln w + change.

    It starts from the second-order expansion, so a small change needs one or two steps.
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
    gain_per_w: FloatArray, unit_delay_s: FloatArray, share_w: float, half: FloatArray
) -> tuple[float, float, float]:
    """Fill half = ln(1 + a P) / 2 (K,) at the equal share of power, then move it to the users' mean log price.

    Returns the smallest, the largest and the mean of the users' log marginal values at the equal share.
    """
    low, high, mean, active = math.inf, -math.inf, 0.0, 0
    for k in range(len(half)):
        half[k] = 0.0
        if unit_delay_s[k] > 0.0:
            value = log_marginal(gain_per_w[k], unit_delay_s[k], share_w)
            low, high = min(low, value), max(high, value)
            mean += value
            active += 1
    mean /= active
    for k in range(len(half)):
        if unit_delay_s[k] > 0.0:
            value = log_marginal(gain_per_w[k], unit_delay_s[k], share_w)
            half[k] = move_lambert_w(0.5 * math.log1p(gain_per_w[k] * share_w), 0.5 * (value - mean))
    return low, high, mean


@kernel
def allocate_power(
    gain_per_w: FloatArray, unit_delay_s: FloatArray, power_total_w: float, power_max_w: float, power_w: FloatArray
) -> float:
    """Fill `power_w` (K,) with the optimal powers; returns the log of the price nu [s/W], -inf if the budget is slack.

    Users with nothing to receive (c = 0) get no power. The users' marginal values at the equal share bracket the price:
    at the lowest one every user wants more than the share, at the highest one less. During the iteration `power_w`
    holds W(z) = ln(1 + a P) / 2 of (61), without limit, because it changes little between prices.
    """
    users = len(power_w)
    active = 0
    for k in range(users):
        active += unit_delay_s[k] > 0.0
    if active == 0 or active * power_max_w <= power_total_w:
        for k in range(users):
            power_w[k] = power_max_w if unit_delay_s[k] > 0.0 else 0.0
        return -math.inf
    low, high, log_price = start_halves(gain_per_w, unit_delay_s, power_total_w / active, power_w)
    for _ in range(STEPS_MAX):
        spent, slope = 0.0, 0.0
        for k in range(users):
            if unit_delay_s[k] > 0.0:
                w = power_w[k]
                grown = math.expm1(2.0 * w)
                spent += min(grown / gain_per_w[k], power_max_w)
                if grown < power_max_w * gain_per_w[k]:
                    slope -= (grown + 1.0) / gain_per_w[k] * w / (1.0 + w)
        miss = math.log(spent / power_total_w)
        low, high = narrowed(low, high, log_price, miss > 0.0)
        close = abs(miss) <= BUDGET_TOLERANCE
        following = log_price - miss * spent / slope if slope < 0.0 else low
        if not close:
            following = inside_or_middle(following, low, high)
        change = 0.5 * (log_price - following)
        log_price = following
        for k in range(users):
            if unit_delay_s[k] > 0.0:
                w = power_w[k]
                # The second-order term of a step this small is below rounding.
                power_w[k] = w + w / (1.0 + w) * change if close else move_lambert_w(w, change)
        if close or high - low <= 1e-15 * max(abs(high), 1.0):
            break
    spent = 0.0
    for k in range(users):
        if unit_delay_s[k] > 0.0:
            power_w[k] = min(math.expm1(2.0 * power_w[k]) / gain_per_w[k], power_max_w)
            spent += power_w[k]
    if spent > power_total_w:
        for k in range(users):
            power_w[k] *= power_total_w / spent
    return log_price


@kernel
def transmit_delay(gain_per_w: float, unit_delay_s: float, power_w: float) -> float:
    """Delay c / ln(1 + a P) of (46) [s]; 0 without data."""
    return unit_delay_s / math.log1p(gain_per_w * power_w) if unit_delay_s > 0.0 else 0.0
