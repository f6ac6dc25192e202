"""Certificates: upper bounds on the distance of a solution from the optimum, computed from the solution alone.

Only what the solvers return is read: bands, powers and units. Costs, interference and slopes are computed again,
independently of the solvers, so that a wrong solver cannot confirm itself.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.bracket import narrowed
from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.solvers.radio import DIRECTION, RADIO_REPORT, Link, Radio, subchannel_of
from edge_envs.eccnoma.solvers.server_units import compensation

WITHIN = 1e-9
"""Relative excess over a limit that counts as rounding."""
SEARCH_STEPS = 26
"""Halvings of the interval in the search of `dual_part`; the looseness of the bound is quadratic in its length."""


@kernel_part
def least_cost_alone(link: Link, delay_cost: float, energy_cost: float, gain: float) -> float:
    """Smallest cost of sending without interference over all powers; bisection unless full power is best.

    The cost is quasiconvex in the SNR y, as it is an affine function over a concave one. It is stationary where
    c ((1 + y) ln(1 + y) - y) = a, where a is the cost of the delay and c that of the energy per unit of y.
    """
    low, high = link.power_min_w * gain / link.noise_w, link.power_max_w * gain / link.noise_w
    per_snr = energy_cost * link.noise_w / gain
    spectral_efficiency = math.log1p(high)
    if per_snr * ((1.0 + high) * spectral_efficiency - high) > delay_cost:
        for _ in range(200):
            middle = math.sqrt(low * high)
            if middle <= low or middle >= high:
                break
            is_above = per_snr * ((1.0 + middle) * math.log1p(middle) - middle) > delay_cost
            low, high = narrowed(low, high, middle, not is_above)
        spectral_efficiency = math.log1p(high)
    return (delay_cost + per_snr * high) * math.log(2.0) / (link.bandwidth_hz * spectral_efficiency)


@kernel_part
def bound_cost(link: Link, r: Radio, gain: NDArray[np.float64], row: int, bands: int) -> None:
    """Report a lower bound on the cost of all assignments and powers: every user alone on its best band.

    A user's cost (w_T + w_E p) bits / R decreases with its rate R. On a band, R = B log2(1 + p g / D), where the
    disturbance D is at least the noise and g is at most the user's best gain. So at every power the cost is at least
    that of sending alone with the best gain, and at least the smallest of these over the powers. Turns on a band, and
    shares of several bands that sum to 1, give no higher rate, so the bound holds for them, too.
    """
    r.report[RADIO_REPORT.bound] = 0.0
    for u in range(len(r.ap)):
        if r.active[u]:
            best = 0.0
            for s in range(bands):
                best = max(best, gain[row, subchannel_of(s, bands, gain.shape[1]), u, r.ap[u]])
            r.report[RADIO_REPORT.bound] += least_cost_alone(link, r.delay_cost[u], r.energy_cost[u], best)


@kernel_part
def received_per_watt(
    link: Link, r: Radio, gain: NDArray[np.float64], row: int, m: int, user: int, other: int
) -> float:  # fmt: skip
    """Power at a user's receiver per watt of another user on subchannel m, after cancellation, (5), (8)."""
    n, k = r.ap[user], r.ap[other]
    own, theirs = gain[row, m, user, n], gain[row, m, other, n]
    if n != k:
        return theirs if link.direction == DIRECTION.UPLINK else gain[row, m, user, k]
    stronger = theirs > own or (theirs == own and other < user)
    if link.direction == DIRECTION.UPLINK:
        return 0.0 if stronger else theirs
    if not stronger:
        return 0.0
    return theirs if link.direction == DIRECTION.DOWNLINK_PRINTED else own


@kernel_part
def is_allowed(link: Link, r: Radio, bands: int, user: int) -> bool:
    """Return True if a user's band exists and its power is within the limits."""
    power_w = r.power_w[user]
    fits = power_w >= link.power_min_w * (1.0 - WITHIN) and power_w <= link.power_max_w * (1.0 + WITHIN)
    return fits and 0 <= r.band[user] < bands


@kernel_part
def charge(
    link: Link, r: Radio, gain: NDArray[np.float64], row: int, m: int, user: int, slope: NDArray[np.float64]
) -> float:
    """Cost of a user at the given bands and powers; adds its slopes in all log powers to `slope`.

    With SINR y and t = cost y / ((1 + y) ln(1 + y)), the slope in the own log power is w_E p bits / R - t, and that in
    another user's log power is t h p / D, where h is the power received per watt of that user.
    """
    other_w = link.noise_w
    for v in range(len(r.ap)):
        if v != user and r.band[v] == r.band[user] and r.active[v]:
            other_w += received_per_watt(link, r, gain, row, m, user, v) * r.power_w[v]
    sinr = r.power_w[user] * gain[row, m, user, r.ap[user]] / other_w
    spectral_efficiency = math.log1p(sinr)
    per_cost = math.log(2.0) / (link.bandwidth_hz * spectral_efficiency)
    energy = r.energy_cost[user] * r.power_w[user] * per_cost
    cost = r.delay_cost[user] * per_cost + energy
    pull = cost * (sinr / (1.0 + sinr) / spectral_efficiency)
    slope[user] += energy - pull
    for v in range(len(r.ap)):
        if v != user and r.band[v] == r.band[user] and r.active[v]:
            slope[v] += pull * received_per_watt(link, r, gain, row, m, user, v) * r.power_w[v] / other_w
    return cost


@kernel
def certify_radio(link: Link, r: Radio, gain: NDArray[np.float64], row: int, bands: int) -> None:
    """Report the gaps of the powers and of the assignment of a solution with full airtime, and the bound.

    `power_gap`: at most this part of the cost can be saved by other powers on the same bands, as the cost is convex in
    the log powers x. The logarithm of a user's SINR, z = x_i + ln g - ln(noise + sum h_v exp(x_v)), is concave in x.
    ln ln(1 + exp(z)) increases and is concave in z, as y >= ln(1 + y), so the logarithm of the rate R is concave in x.
    So ln(w_T bits / R) and ln(w_E exp(x_i) bits / R) are convex, and so are their exponentials and their sum over the
    users. A convex cost lies above its tangent plane. Within the limits of the powers, the tangent plane decreases by
    at most the sum over the users of the slope times the largest change of the log power along it.

    `assignment_gap`: the cost over its lower bound (see `bound_cost`), minus 1.

    Both are inf if a band does not exist, a power is outside its limits or a cost is not finite.
    """
    bound_cost(link, r, gain, row, bands)
    total, saved, allowed = 0.0, 0.0, True
    for u in range(len(r.ap)):
        r.power_slope[u] = 0.0
        if r.active[u] and not is_allowed(link, r, bands, u):
            allowed = False
    if allowed:
        for u in range(len(r.ap)):
            if r.active[u]:
                m = subchannel_of(r.band[u], bands, gain.shape[1])
                total += charge(link, r, gain, row, m, u, r.power_slope)
        for u in range(len(r.ap)):
            if r.active[u]:
                limit_w = link.power_min_w if r.power_slope[u] > 0.0 else link.power_max_w
                saved += max(r.power_slope[u] * math.log(r.power_w[u] / limit_w), 0.0)
    r.report[RADIO_REPORT.power_gap] = r.report[RADIO_REPORT.assignment_gap] = 0.0
    if not (allowed and math.isfinite(total) and math.isfinite(saved)):
        r.report[RADIO_REPORT.power_gap] = r.report[RADIO_REPORT.assignment_gap] = math.inf
    elif total > 0.0:
        r.report[RADIO_REPORT.power_gap] = saved / total
        r.report[RADIO_REPORT.assignment_gap] = abs(total / r.report[RADIO_REPORT.bound] - 1.0)


@kernel_part
def work_cost(work_flop: float, delay_weight: float, energy_coefficient: float, speed_flop_s: float) -> float:
    """Cost of a user's work at the server at a speed, its part of (22); independent of `server_units.server_cost`."""
    return work_flop * (delay_weight / speed_flop_s + energy_coefficient * speed_flop_s * speed_flop_s)


@kernel_part
def marginal_saving(
    units: float, work_flop: float, delay_weight: float, energy_coefficient: float, unit_speed_flop_s: float,
    overhead: float,
) -> float:  # fmt: skip
    """Decrease of the cost of a user's work per further unit; it decreases in the units while it is positive."""
    slowdown = 1.0 + overhead * (units - 1.0)
    slope = (1.0 - overhead) / (slowdown * slowdown) if units >= 1.0 else 1.0
    speed = compensation(units, overhead) * unit_speed_flop_s
    return work_flop * (delay_weight / (speed * speed) - 2.0 * energy_coefficient * speed) * unit_speed_flop_s * slope


@kernel_part
def dual_part(
    pool_price: float, start: float, units_max: float, work_flop: float, delay_weight: float, energy_coefficient: float,
    unit_speed_flop_s: float, overhead: float,
) -> float:  # fmt: skip
    """Lower bound on the cost of a user's work plus the price of its units, its part of the dual function.

    Searches from `start` for the units at which one more would save the pool price. The sum is convex below them, so
    its tangent there is a lower bound, whatever the precision of the search.
    """
    low = high = start
    saving = marginal_saving(low, work_flop, delay_weight, energy_coefficient, unit_speed_flop_s, overhead)
    while saving <= pool_price and low > 0.0:
        high, low = low, 0.5 * low
        saving = marginal_saving(low, work_flop, delay_weight, energy_coefficient, unit_speed_flop_s, overhead)
    while high == low and high < units_max:
        high = min(2.0 * low, units_max)
        more = marginal_saving(high, work_flop, delay_weight, energy_coefficient, unit_speed_flop_s, overhead)
        if more > pool_price:
            low, saving = high, more
    for _ in range(SEARCH_STEPS if high > low else 0):
        middle = 0.5 * (low + high)
        more = marginal_saving(middle, work_flop, delay_weight, energy_coefficient, unit_speed_flop_s, overhead)
        if more > pool_price:
            low, saving = middle, more
        else:
            high = middle
    speed = compensation(low, overhead) * unit_speed_flop_s
    cost = work_cost(work_flop, delay_weight, energy_coefficient, speed)
    return cost + pool_price * low - (saving - pool_price) * (high - low)


@kernel
def certify_pool(
    ap: NDArray[np.int64], n: int, work_flop: NDArray[np.float64], delay_weight: NDArray[np.float64],
    energy_coefficient: NDArray[np.float64], units: float, units_max: float, unit_speed_flop_s: float, overhead: float,
    given: NDArray[np.float64],
) -> tuple[float, float]:  # fmt: skip
    """Cost of the work of AP n with the units `given` (U,), and its largest distance from the optimum: weak duality.

    At any pool price, sum over the users the smallest cost of the work plus the price of its units, and subtract the
    price of the whole pool: the result is a lower bound on the cost of any units that fit into the pool. The pool
    price is the mean saving per further unit, or 0 if units are left. Returns (inf, inf) if the units are beyond a
    limit or if a user has work but no units.
    """
    cost, used, paid, held = 0.0, 0.0, 0.0, 0.0
    for i in range(len(ap)):
        if ap[i] == n and work_flop[i] * delay_weight[i] > 0.0:
            if not (given[i] > 0.0 and given[i] <= units_max * (1.0 + WITHIN)):
                return math.inf, math.inf
            speed = compensation(given[i], overhead) * unit_speed_flop_s
            own = work_cost(work_flop[i], delay_weight[i], energy_coefficient[i], speed)
            saved = given[i] * marginal_saving(
                given[i], work_flop[i], delay_weight[i], energy_coefficient[i], unit_speed_flop_s, overhead
            )
            cost += own
            used += given[i]
            # A user at its limit has no use for further units.
            if given[i] < units_max and saved > WITHIN * own:
                held += given[i]
                paid += saved
    if not (used <= units * (1.0 + WITHIN) and math.isfinite(cost)):
        return math.inf, math.inf
    pool_price = paid / held if held > 0.0 and used > units * (1.0 - 1e-12) else 0.0
    dual = -pool_price * units
    for i in range(len(ap)):
        if ap[i] == n and work_flop[i] * delay_weight[i] > 0.0:
            dual += dual_part(
                pool_price, min(given[i], units_max), units_max, work_flop[i], delay_weight[i], energy_coefficient[i],
                unit_speed_flop_s, overhead,
            )  # fmt: skip
    return cost, math.inf if math.isnan(dual) else max(cost - dual, 0.0)


@kernel_part
def certify_speed(
    work_flop: float, delay_weight: float, energy_coefficient: float, least: float, most: float, speed_flop_s: float
) -> tuple[float, float]:
    """Cost of a user's work at a speed, and its largest distance from the optimum in [least, most].

    The cost is convex in the speed: it lies above its tangent, which is lowest at one of the limits. Returns (inf, inf)
    if the speed is outside the limits.
    """
    if not (speed_flop_s >= least * (1.0 - WITHIN) and speed_flop_s <= most * (1.0 + WITHIN)):
        return math.inf, math.inf
    slope = work_flop * (2.0 * energy_coefficient * speed_flop_s - delay_weight / (speed_flop_s * speed_flop_s))
    saved = max(slope * (speed_flop_s - least), slope * (speed_flop_s - most))
    return work_cost(work_flop, delay_weight, energy_coefficient, speed_flop_s), max(saved, 0.0)
