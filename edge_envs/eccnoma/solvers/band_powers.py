"""Powers of the users on a band: projected gradient descent over the logarithms of the powers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.solvers.radio import Link, Radio, coupling_of, power_at, refresh, sending_cost

ARMIJO = 1e-4
"""Part of the decrease predicted by the slope that a step must reach (Armijo's rule)."""


@kernel_part
def band_cost(link: Link, w: Radio, s: int, levels: NDArray[np.float64]) -> float:
    """Cost of band s at trial levels, from `coupling`; writes `trial_power_w`."""
    for i in range(w.band_users[s]):
        w.trial_power_w[i] = power_at(link, levels[i])
    total = 0.0
    for i in range(w.band_users[s]):
        other_w = link.noise_w
        for v in range(w.band_users[s]):
            other_w += w.coupling[i, v] * w.trial_power_w[v]
        user = w.user[s, i]
        total += sending_cost(
            link, w.delay_cost[user], w.energy_cost[user], w.trial_power_w[i], w.gain[s, i, w.ap[user]], other_w
        )
    return total


@kernel_part
def band_slope(link: Link, w: Radio, s: int, which: int) -> None:
    """Slope of the cost of band s in every level, into `slope[which]`."""
    scale = link.bandwidth_hz / math.log(2.0)
    span = math.log(link.power_max_w / link.power_min_w)
    for i in range(w.band_users[s]):
        w.slope[which, i] = 0.0
    for i in range(w.band_users[s]):
        other_w = link.noise_w
        for v in range(w.band_users[s]):
            other_w += w.coupling[i, v] * w.seat_power_w[s, v]
        user = w.user[s, i]
        own = w.gain[s, i, w.ap[user]]
        received = own * w.seat_power_w[s, i]
        rate = scale * math.log1p(received / other_w)
        per_rate = -(w.delay_cost[user] + w.energy_cost[user] * w.seat_power_w[s, i]) / (rate * rate)
        w.slope[which, i] += w.energy_cost[user] / rate + per_rate * scale * own / (other_w + received)
        interference_price = -per_rate * scale * received / (other_w * (other_w + received))
        for v in range(w.band_users[s]):
            w.slope[which, v] += interference_price * w.coupling[i, v]
    for i in range(w.band_users[s]):
        w.slope[which, i] *= w.seat_power_w[s, i] * span


@kernel_part
def power_residual(w: Radio, s: int) -> float:
    """Largest slope in `slope[0]` along which a level can still move, relative to the cost of the band."""
    worst = 0.0
    for i in range(w.band_users[s]):
        slope = w.slope[0, i]
        if not ((w.level[s, i] <= 0.0 and slope > 0.0) or (w.level[s, i] >= 1.0 and slope < 0.0)):
            worst = max(worst, abs(slope))
    return worst / w.cost[s] if w.cost[s] > 0.0 else 0.0


@kernel_part
def accept_levels(link: Link, w: Radio, s: int, cost: float) -> float:
    """Accept the trial levels and compute their slopes; returns the next (spectral) step length."""
    moved, curved = 0.0, 0.0
    for i in range(w.band_users[s]):
        w.level_change[i] = w.trial_level[i] - w.level[s, i]
        w.level[s, i] = w.trial_level[i]
        w.seat_power_w[s, i] = power_at(link, w.trial_level[i])
    w.cost[s] = cost
    band_slope(link, w, s, 1)
    for i in range(w.band_users[s]):
        moved += w.level_change[i] * w.level_change[i]
        curved += w.level_change[i] * (w.slope[1, i] - w.slope[0, i])
        w.slope[0, i] = w.slope[1, i]
    return moved / curved if curved > 0.0 else math.inf


@kernel
def descend_powers(link: Link, w: Radio, s: int, iterations: int, tolerance: float, least_fall: float) -> float:
    """Projected gradient descent over the log powers of band s with spectral steps; the cost never increases.

    It stops where the residual is at most `tolerance`, where a step decreases the cost by less than the part
    `least_fall`, or after `iterations`. Returns the residual: 0 if every level is stationary or at its limit.
    """
    if w.band_users[s] == 0 or link.power_max_w <= link.power_min_w:
        return 0.0
    for i in range(w.band_users[s]):
        for v in range(w.band_users[s]):
            w.coupling[i, v] = coupling_of(link, w, s, i, v) if i != v else 0.0
    band_slope(link, w, s, 0)
    steepest = 0.0
    for i in range(w.band_users[s]):
        steepest = max(steepest, abs(w.slope[0, i]))
    step = 0.25 / steepest if steepest > 0.0 else 0.0
    residual = power_residual(w, s)
    for _ in range(iterations):
        if residual <= tolerance:
            break
        before, accepted = w.cost[s], False
        for _ in range(40):
            predicted = 0.0
            for i in range(w.band_users[s]):
                w.trial_level[i] = min(max(w.level[s, i] - step * w.slope[0, i], 0.0), 1.0)
                predicted += w.slope[0, i] * (w.level[s, i] - w.trial_level[i])
            cost = band_cost(link, w, s, w.trial_level)
            if cost <= before - ARMIJO * predicted and cost < before:
                accepted = True
                break
            step *= 0.3
        if not accepted:
            break
        spectral = accept_levels(link, w, s, cost)
        step = min(spectral, 8.0 * step)
        residual = power_residual(w, s)
        if before - cost < least_fall * before:
            break
    refresh(link, w, s)
    return residual
