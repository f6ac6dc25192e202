"""Powers of the users on a band: projected gradient descent over the logarithms of the powers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.solvers.radio import RADIO_REPORT, Link, Radio, coupling_of, power_at, refresh, sending_cost

ARMIJO = 1e-4
"""Part of the decrease predicted by the slope that a step must reach (Armijo's rule)."""
TIGHT_TOLERANCE, TIGHT_ITERATIONS = 1e-7, 1000
"""Tolerance and steps of the last power descent; chosen."""


@kernel_part
def band_cost(link: Link, r: Radio, s: int, levels: NDArray[np.float64]) -> float:
    """Cost of band s at trial levels, from `coupling`; writes `trial_power_w`."""
    for i in range(r.band_users[s]):
        r.trial_power_w[i] = power_at(link, levels[i])
    total = 0.0
    for i in range(r.band_users[s]):
        other_w = link.noise_w
        for v in range(r.band_users[s]):
            other_w += r.coupling[i, v] * r.trial_power_w[v]
        user = r.user[s, i]
        total += sending_cost(
            link, r.delay_cost[user], r.energy_cost[user], r.trial_power_w[i], r.gain[s, i, r.ap[user]], other_w
        )
    return total


@kernel_part
def band_slope(link: Link, r: Radio, s: int, which: int) -> None:
    """Slope of the cost of band s in every level, into `slope[which]`."""
    scale = link.bandwidth_hz / math.log(2.0)
    span = math.log(link.power_max_w / link.power_min_w)
    for i in range(r.band_users[s]):
        r.slope[which, i] = 0.0
    for i in range(r.band_users[s]):
        other_w = link.noise_w
        for v in range(r.band_users[s]):
            other_w += r.coupling[i, v] * r.seat_power_w[s, v]
        user = r.user[s, i]
        own = r.gain[s, i, r.ap[user]]
        received = own * r.seat_power_w[s, i]
        rate = scale * math.log1p(received / other_w)
        per_rate = -(r.delay_cost[user] + r.energy_cost[user] * r.seat_power_w[s, i]) / (rate * rate)
        r.slope[which, i] += r.energy_cost[user] / rate + per_rate * scale * own / (other_w + received)
        interference_price = -per_rate * scale * received / (other_w * (other_w + received))
        for v in range(r.band_users[s]):
            r.slope[which, v] += interference_price * r.coupling[i, v]
    for i in range(r.band_users[s]):
        r.slope[which, i] *= r.seat_power_w[s, i] * span


@kernel_part
def power_residual(r: Radio, s: int) -> float:
    """Largest slope in `slope[0]` along which a level can still move, relative to the cost of the band."""
    worst = 0.0
    for i in range(r.band_users[s]):
        slope = r.slope[0, i]
        if not ((r.level[s, i] <= 0.0 and slope > 0.0) or (r.level[s, i] >= 1.0 and slope < 0.0)):
            worst = max(worst, abs(slope))
    return worst / r.cost[s] if r.cost[s] > 0.0 else 0.0


@kernel_part
def accept_levels(link: Link, r: Radio, s: int, cost: float) -> float:
    """Accept the trial levels and compute their slopes; returns the next (spectral) step length."""
    moved, curved = 0.0, 0.0
    for i in range(r.band_users[s]):
        r.level_change[i] = r.trial_level[i] - r.level[s, i]
        r.level[s, i] = r.trial_level[i]
        r.seat_power_w[s, i] = power_at(link, r.trial_level[i])
    r.cost[s] = cost
    band_slope(link, r, s, 1)
    for i in range(r.band_users[s]):
        moved += r.level_change[i] * r.level_change[i]
        curved += r.level_change[i] * (r.slope[1, i] - r.slope[0, i])
        r.slope[0, i] = r.slope[1, i]
    return moved / curved if curved > 0.0 else math.inf


@kernel
def descend_powers(link: Link, r: Radio, s: int, iterations: int, tolerance: float, least_fall: float) -> float:
    """Projected gradient descent over the log powers of band s with spectral steps; the cost never increases.

    It stops where the residual is at most `tolerance`, where a step decreases the cost by less than the part
    `least_fall`, or after `iterations`. Returns the residual: 0 if every level is stationary or at its limit.
    """
    if r.band_users[s] == 0 or link.power_max_w <= link.power_min_w:
        return 0.0
    for i in range(r.band_users[s]):
        for v in range(r.band_users[s]):
            r.coupling[i, v] = coupling_of(link, r, s, i, v) if i != v else 0.0
    band_slope(link, r, s, 0)
    steepest = 0.0
    for i in range(r.band_users[s]):
        steepest = max(steepest, abs(r.slope[0, i]))
    step = 0.25 / steepest if steepest > 0.0 else 0.0
    residual = power_residual(r, s)
    for _ in range(iterations):
        if residual <= tolerance:
            break
        before, accepted = r.cost[s], False
        for _ in range(40):
            predicted = 0.0
            for i in range(r.band_users[s]):
                r.trial_level[i] = min(max(r.level[s, i] - step * r.slope[0, i], 0.0), 1.0)
                predicted += r.slope[0, i] * (r.level[s, i] - r.trial_level[i])
            cost = band_cost(link, r, s, r.trial_level)
            if cost <= before - ARMIJO * predicted and cost < before:
                accepted = True
                break
            step *= 0.3
        if not accepted:
            break
        spectral = accept_levels(link, r, s, cost)
        step = min(spectral, 8.0 * step)
        residual = power_residual(r, s)
        if before - cost < least_fall * before:
            break
    refresh(link, r, s)
    return residual


@kernel
def finish(link: Link, r: Radio, bands: int, iterations: int) -> None:
    """Descend to a tight tolerance, then report powers, rates, the cost, the residual and the overflow."""
    total, worst = 0.0, 0.0
    for s in range(bands):
        residual = descend_powers(link, r, s, iterations, TIGHT_TOLERANCE, 0.0)
        total += r.cost[s]
        worst = max(worst, residual)
        for i in range(r.band_users[s]):
            user = r.user[s, i]
            r.power_w[user] = r.seat_power_w[s, i]
            spectral_efficiency = math.log1p(r.seat_power_w[s, i] * r.gain[s, i, r.ap[user]] / r.disturbance_w[s, i])
            r.rate_bit_s[user] = link.bandwidth_hz * spectral_efficiency / math.log(2.0)
            r.airtime[user] = 1.0
    r.report[RADIO_REPORT.cost], r.report[RADIO_REPORT.residual], r.report[RADIO_REPORT.overflow] = total, worst, 0.0
    for n in range(len(r.cap)):
        for s in range(bands):
            r.report[RADIO_REPORT.overflow] += max(r.load[n, s] - link.capacity, 0)
