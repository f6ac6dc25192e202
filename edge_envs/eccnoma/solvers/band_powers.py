"""The powers of a band's users: projected descent over their logarithms."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.solvers.radio import Link, Radio, coupling_of, power_at, refresh, sending_cost

ARMIJO = 1e-4
"""Part of the fall promised by the slope that a step must bring."""


@kernel_part
def band_cost(link: Link, w: Radio, s: int, levels: NDArray[np.float64]) -> float:
    """Cost of band s at trial levels, with the couplings in the scratch memory; powers go to `weight`."""
    for i in range(w.crowd[s]):
        w.weight[i] = power_at(link, levels[i])
    total = 0.0
    for i in range(w.crowd[s]):
        other_w = link.noise_w
        for v in range(w.crowd[s]):
            other_w += w.coupling[i, v] * w.weight[v]
        user = w.user[s, i]
        total += sending_cost(
            link, w.delay_cost[user], w.energy_cost[user], w.weight[i], w.gain[s, i, w.ap[user]], other_w
        )
    return total


@kernel_part
def band_slope(link: Link, w: Radio, s: int, which: int) -> None:
    """Slope of band s's cost in every level, at the seats' powers, into `slope[which]`."""
    scale = link.bandwidth_hz / math.log(2.0)
    span = math.log(link.power_max_w / link.power_min_w)
    for i in range(w.crowd[s]):
        w.slope[which, i] = 0.0
    for i in range(w.crowd[s]):
        other_w = link.noise_w
        for v in range(w.crowd[s]):
            other_w += w.coupling[i, v] * w.seat_power_w[s, v]
        user = w.user[s, i]
        own = w.gain[s, i, w.ap[user]]
        received = own * w.seat_power_w[s, i]
        rate = scale * math.log1p(received / other_w)
        per_rate = -(w.delay_cost[user] + w.energy_cost[user] * w.seat_power_w[s, i]) / (rate * rate)
        w.slope[which, i] += w.energy_cost[user] / rate + per_rate * scale * own / (other_w + received)
        price = -per_rate * scale * received / (other_w * (other_w + received))
        for v in range(w.crowd[s]):
            w.slope[which, v] += price * w.coupling[i, v]
    for i in range(w.crowd[s]):
        w.slope[which, i] *= w.seat_power_w[s, i] * span


@kernel_part
def power_residual(w: Radio, s: int) -> float:
    """Largest slope of `slope[0]` along which a level could still move, over the band's cost."""
    worst = 0.0
    for i in range(w.crowd[s]):
        slope = w.slope[0, i]
        if not ((w.level[s, i] <= 0.0 and slope > 0.0) or (w.level[s, i] >= 1.0 and slope < 0.0)):
            worst = max(worst, abs(slope))
    return worst / w.cost[s] if w.cost[s] > 0.0 else 0.0


@kernel_part
def accept_levels(link: Link, w: Radio, s: int, cost: float) -> float:
    """Take over the trial levels with their slopes; returns the spectral step length for the next move."""
    moved, bent = 0.0, 0.0
    for i in range(w.crowd[s]):
        w.weight[i] = w.trial[i] - w.level[s, i]
        w.level[s, i] = w.trial[i]
        w.seat_power_w[s, i] = power_at(link, w.trial[i])
    w.cost[s] = cost
    band_slope(link, w, s, 1)
    for i in range(w.crowd[s]):
        moved += w.weight[i] * w.weight[i]
        bent += w.weight[i] * (w.slope[1, i] - w.slope[0, i])
        w.slope[0, i] = w.slope[1, i]
    return moved / bent if bent > 0.0 else math.inf


@kernel
def descend_powers(link: Link, w: Radio, s: int, iterations: int, tolerance: float, least_fall: float) -> float:
    """Projected gradient descent over the log powers of band s with spectral steps; the cost never rises.

    It ends where the residual is below `tolerance`, where a step lets the cost fall by less than its part `least_fall`,
    or after `iterations`. Returns the residual: 0 at a point where every level is stationary or at its limit.
    """
    if w.crowd[s] == 0 or link.power_max_w <= link.power_min_w:
        return 0.0
    for i in range(w.crowd[s]):
        for v in range(w.crowd[s]):
            w.coupling[i, v] = coupling_of(link, w, s, i, v) if i != v else 0.0
    band_slope(link, w, s, 0)
    steepest = 0.0
    for i in range(w.crowd[s]):
        steepest = max(steepest, abs(w.slope[0, i]))
    step = 0.25 / steepest if steepest > 0.0 else 0.0
    residual = power_residual(w, s)
    for _ in range(iterations):
        if residual <= tolerance:
            break
        before, going = w.cost[s], False
        for _ in range(40):
            promised = 0.0
            for i in range(w.crowd[s]):
                w.trial[i] = min(max(w.level[s, i] - step * w.slope[0, i], 0.0), 1.0)
                promised += w.slope[0, i] * (w.level[s, i] - w.trial[i])
            cost = band_cost(link, w, s, w.trial)
            if cost <= before - ARMIJO * promised and cost < before:
                going = True
                break
            step *= 0.3
        if not going:
            break
        spectral = accept_levels(link, w, s, cost)
        step = min(spectral, 8.0 * step)
        residual = power_residual(w, s)
        if before - cost < least_fall * before:
            break
    refresh(link, w, s)
    return residual
