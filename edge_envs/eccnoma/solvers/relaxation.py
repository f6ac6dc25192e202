"""Shares of subchannels relaxed to the simplex: cost, analytic gradient, and mirror descent (the inner loop of Li-GD).

Arrays have the subchannel as their first axis: gains (M, U, N), shares and their gradient (M, U). The users of an AP
are sorted in the order of successive cancellation, so sums over weaker or stronger users are running sums.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.kernels.metrics import columns
from edge_envs.core.kernels.order import sort_falling
from edge_envs.eccnoma.solvers.band_powers import ARMIJO
from edge_envs.eccnoma.solvers.radio import DIRECTION, Link, Radio, power_at

SHARE_MIN = 1e-30
"""Smallest share; a mirror step multiplies shares, so it could never increase a share of 0."""
RELAXED_REPORT = columns(("cost", "start_cost", "gap", "level_residual", "iterations"))
"""Entries of `Relaxation.report`."""


class Relaxation(NamedTuple):
    """Solution and scratch memory of the relaxed problem of one direction: U users, M subchannels, N APs."""

    beta: NDArray[np.float64]  # (M, U) shares
    level: NDArray[np.float64]  # (U,) log power, scaled to [0, 1] between its limits
    power_w: NDArray[np.float64]  # (U,)
    beta_slope: NDArray[np.float64]  # (M, U)
    power_slope: NDArray[np.float64]  # (U,)
    beta_trial: NDArray[np.float64]  # (M, U)
    level_trial: NDArray[np.float64]  # (U,)
    order: NDArray[np.int64]  # (M, U) active users by AP, strongest first
    first: NDArray[np.int64]  # (N + 1,) position of an AP's first user in that order
    bits_per_hz: NDArray[np.float64]  # (M, U) log2(1 + SINR)
    disturbance_w: NDArray[np.float64]  # (M, U)
    rate_bit_s: NDArray[np.float64]  # (U,)
    interference_price: NDArray[np.float64]  # (M, U) derivative of the cost in the disturbance
    cell_sum: NDArray[np.float64]  # (N,) sums over the users of one subchannel, by AP
    rate_slope: NDArray[np.float64]  # (U,) derivative of the cost in the rate
    history: NDArray[np.float64]  # (iterations + 1,) costs
    report: NDArray[np.float64]  # (len(RELAXED_REPORT),)


def allocate_relaxation(users: int, subchannels: int, aps: int, iterations: int) -> Relaxation:
    """Memory of one direction, all zero."""
    table, line = (subchannels, users), (users,)
    shapes: dict[str, tuple[int, ...]] = {
        "level": line, "power_w": line, "power_slope": line, "level_trial": line, "first": (aps + 1,),
        "rate_bit_s": line, "cell_sum": (aps,), "rate_slope": line, "history": (iterations + 1,),
        "report": (len(RELAXED_REPORT),),
    }  # fmt: skip
    arrays = {
        name: np.zeros(shapes.get(name, table), dtype=np.int64 if name in ("order", "first") else np.float64)
        for name in Relaxation._fields
    }
    return Relaxation(**arrays)  # type: ignore[arg-type]


@kernel
def order_users(r: Radio, x: Relaxation, gain: NDArray[np.float64], row: int) -> None:
    """Sort the active users of each AP on every subchannel, strongest first; equally strong users by index."""
    for m in range(gain.shape[1]):
        at = 0
        for u in range(len(r.ap)):
            r.key[u] = gain[row, m, u, r.ap[u]]
        for n in range(gain.shape[3]):
            x.first[n] = at
            for u in range(len(r.ap)):
                if r.ap[u] == n and r.active[u]:
                    r.order[at] = u
                    at += 1
            sort_falling(r.order, x.first[n], at - x.first[n], r.key)
        x.first[gain.shape[3]] = at
        for i in range(at):
            x.order[m, i] = r.order[i]


@kernel
def relaxed_cost(
    link: Link, r: Radio, x: Relaxation, gain: NDArray[np.float64], row: int, beta: NDArray[np.float64]
) -> float:
    """Cost of shares `beta` at the powers of x, from disturbances (5), (8) and rates (6), (9)."""
    for u in range(len(r.ap)):
        x.rate_bit_s[u] = 0.0
    for m in range(gain.shape[1]):
        sum_powers(link, x, gain, row, m, beta)
        for n in range(gain.shape[3]):
            disturb_cell(link, x, gain, row, m, n, beta)
    total = 0.0
    for i in range(x.first[len(x.first) - 1]):
        u = x.order[0, i]
        total += (r.delay_cost[u] + r.energy_cost[u] * x.power_w[u]) / x.rate_bit_s[u]
    return total


@kernel_part
def sum_powers(
    link: Link, x: Relaxation, gain: NDArray[np.float64], row: int, m: int, beta: NDArray[np.float64]
) -> None:
    """Power on subchannel m that each AP receives from other cells (uplink), or that each AP sends (downlink).

    It is written into `x.cell_sum`.
    """
    for n in range(gain.shape[3]):
        x.cell_sum[n] = 0.0
    for n in range(gain.shape[3]):
        for i in range(x.first[n], x.first[n + 1]):
            u = x.order[m, i]
            sent = beta[m, u] * x.power_w[u]
            if link.direction == DIRECTION.UPLINK:
                for other in range(gain.shape[3]):
                    if other != n:
                        x.cell_sum[other] += sent * gain[row, m, u, other]
            else:
                x.cell_sum[n] += sent


@kernel_part
def disturb_cell(
    link: Link, x: Relaxation, gain: NDArray[np.float64], row: int, m: int, n: int, beta: NDArray[np.float64]
) -> None:
    """Compute the disturbances of the users of AP n on subchannel m, and add to their rates.

    Running sums start at the weakest user in the uplink and at the strongest in the downlink.
    """
    count = x.first[n + 1] - x.first[n]
    inside = 0.0
    for i in range(count):
        at = x.first[n + 1] - 1 - i if link.direction == DIRECTION.UPLINK else x.first[n] + i
        u = x.order[m, at]
        own = gain[row, m, u, n]
        other_w = link.noise_w
        if link.direction == DIRECTION.UPLINK:
            other_w += inside + x.cell_sum[n]
        else:
            other_w += inside if link.direction == DIRECTION.DOWNLINK_PRINTED else own * inside
            for k in range(gain.shape[3]):
                if k != n:
                    other_w += gain[row, m, u, k] * x.cell_sum[k]
        bits = math.log1p(x.power_w[u] * own / other_w) / math.log(2.0)
        x.disturbance_w[m, u], x.bits_per_hz[m, u] = other_w, bits
        x.rate_bit_s[u] += link.bandwidth_hz * beta[m, u] * bits
        inside += beta[m, u] * x.power_w[u] * (1.0 if link.direction == DIRECTION.DOWNLINK else own)


@kernel
def relaxed_slope(link: Link, r: Radio, x: Relaxation, gain: NDArray[np.float64], row: int) -> None:
    """Gradient in the shares and powers at x.beta; needs `relaxed_cost` at the same point.

    The gradient is the sum of a user's own terms and of the cost that its signal causes to others, as running sums. It
    corrects (29), (30), which lack the order of cancellation and the derivative of 1 / R.
    """
    scale = link.bandwidth_hz / math.log(2.0)
    for i in range(x.first[len(x.first) - 1]):
        u = x.order[0, i]
        x.power_slope[u] = r.energy_cost[u] / x.rate_bit_s[u]
        x.rate_slope[u] = -(r.delay_cost[u] + r.energy_cost[u] * x.power_w[u]) / (x.rate_bit_s[u] * x.rate_bit_s[u])
    for m in range(gain.shape[1]):
        for n in range(gain.shape[3]):
            x.cell_sum[n] = 0.0
        for n in range(gain.shape[3]):
            for i in range(x.first[n], x.first[n + 1]):
                u = x.order[m, i]
                own, other_w = gain[row, m, u, n], x.disturbance_w[m, u]
                received = x.power_w[u] * own
                per_share = x.rate_slope[u] * x.beta[m, u] * scale / (other_w + received)
                x.beta_slope[m, u] = x.rate_slope[u] * link.bandwidth_hz * x.bits_per_hz[m, u]
                x.power_slope[u] += per_share * own
                x.interference_price[m, u] = -per_share * received / other_w
                if link.direction == DIRECTION.UPLINK:
                    x.cell_sum[n] += x.interference_price[m, u]
                else:
                    for k in range(gain.shape[3]):
                        if k != n:
                            x.cell_sum[k] += gain[row, m, u, k] * x.interference_price[m, u]
        for n in range(gain.shape[3]):
            add_interference_slope(link, x, gain, row, m, n)


@kernel_part
def add_interference_slope(link: Link, x: Relaxation, gain: NDArray[np.float64], row: int, m: int, n: int) -> None:
    """Add to the gradient what the signals of AP n's users on subchannel m cost the users they interfere with."""
    count = x.first[n + 1] - x.first[n]
    inside = 0.0
    for i in range(count):
        # A signal interferes with stronger users in the uplink, and with weaker ones in the downlink.
        at = x.first[n] + i if link.direction == DIRECTION.UPLINK else x.first[n + 1] - 1 - i
        u = x.order[m, at]
        own = gain[row, m, u, n]
        if link.direction == DIRECTION.UPLINK:
            harm = own * inside
            for k in range(gain.shape[3]):
                if k != n:
                    harm += gain[row, m, u, k] * x.cell_sum[k]
        else:
            harm = x.cell_sum[n] + (own * inside if link.direction == DIRECTION.DOWNLINK_PRINTED else inside)
        x.beta_slope[m, u] += x.power_w[u] * harm
        x.power_slope[u] += x.beta[m, u] * harm
        weight = own if link.direction == DIRECTION.DOWNLINK else 1.0
        inside += x.interference_price[m, u] * weight


@kernel
def start_cold(r: Radio, x: Relaxation) -> None:
    """Start from equal shares at full power."""
    for u in range(len(r.ap)):
        x.level[u] = 1.0
        for m in range(x.beta.shape[0]):
            x.beta[m, u] = 1.0 / x.beta.shape[0] if r.active[u] else 0.0


@kernel_part
def mirror_step(link: Link, x: Relaxation, step: float, span: float) -> float:
    """Trial shares beta exp(-step g) on the simplex, and trial levels; returns the predicted decrease of the cost."""
    predicted = 0.0
    for i in range(x.first[len(x.first) - 1]):
        u = x.order[0, i]
        least, total = math.inf, 0.0
        for m in range(x.beta.shape[0]):
            least = min(least, x.beta_slope[m, u])
        for m in range(x.beta.shape[0]):
            share = x.beta[m, u] * math.exp(-step * (x.beta_slope[m, u] - least))
            x.beta_trial[m, u] = max(share, SHARE_MIN)
            total += x.beta_trial[m, u]
        for m in range(x.beta.shape[0]):
            x.beta_trial[m, u] /= total
            predicted += x.beta_slope[m, u] * (x.beta[m, u] - x.beta_trial[m, u])
        slope = x.power_slope[u] * x.power_w[u] * span
        x.level_trial[u] = min(max(x.level[u] - step * slope, 0.0), 1.0)
        predicted += slope * (x.level[u] - x.level_trial[u])
        x.power_w[u] = power_at(link, x.level_trial[u])
    return predicted


@kernel_part
def set_powers(link: Link, x: Relaxation) -> None:
    """Compute the powers of the levels."""
    for i in range(x.first[len(x.first) - 1]):
        u = x.order[0, i]
        x.power_w[u] = power_at(link, x.level[u])


@kernel
def certify_relaxed(link: Link, x: Relaxation, cost: float) -> None:
    """Report the Frank-Wolfe gap of the shares and the residual of the levels, both relative to the cost."""
    span = math.log(link.power_max_w / link.power_min_w)
    gap, residual = 0.0, 0.0
    for i in range(x.first[len(x.first) - 1]):
        u = x.order[0, i]
        least, mean = math.inf, 0.0
        for m in range(x.beta.shape[0]):
            least = min(least, x.beta_slope[m, u])
            mean += x.beta_slope[m, u] * x.beta[m, u]
        gap += max(mean - least, 0.0)
        slope = x.power_slope[u] * x.power_w[u] * span
        if not ((x.level[u] <= 0.0 and slope > 0.0) or (x.level[u] >= 1.0 and slope < 0.0)):
            residual = max(residual, abs(slope))
    x.report[RELAXED_REPORT.gap] = gap / cost if cost > 0.0 else 0.0
    x.report[RELAXED_REPORT.level_residual] = residual / cost if cost > 0.0 else 0.0


@kernel
def relax(
    link: Link, r: Radio, x: Relaxation, gain: NDArray[np.float64], row: int, tolerance: float, iterations: int
) -> None:
    """Mirror descent in the shares and log powers from x.beta and x.level; the cost never increases.

    The step length is halved until the step satisfies Armijo's rule, and then doubled. The descent stops after two
    consecutive steps with a relative decrease below `tolerance`, or if no step length is accepted. Needs `order_users`.
    """
    span = math.log(link.power_max_w / link.power_min_w)
    set_powers(link, x)
    cost = relaxed_cost(link, r, x, gain, row, x.beta)
    relaxed_slope(link, r, x, gain, row)
    x.report[RELAXED_REPORT.start_cost] = x.history[0] = cost
    step = x.first[len(x.first) - 1] / cost if cost > 0.0 else 0.0
    done, small_steps = 0, 0
    while done < min(iterations, len(x.history) - 1) and small_steps < 2 and cost > 0.0:
        accepted, after = False, cost
        for _ in range(60):
            predicted = mirror_step(link, x, step, span)
            after = relaxed_cost(link, r, x, gain, row, x.beta_trial)
            if after <= cost - ARMIJO * predicted:
                accepted = True
                break
            step *= 0.5
        if not accepted:
            break
        for i in range(x.first[len(x.first) - 1]):
            u = x.order[0, i]
            x.level[u] = x.level_trial[u]
            for m in range(x.beta.shape[0]):
                x.beta[m, u] = x.beta_trial[m, u]
        small_steps = small_steps + 1 if cost - after < tolerance * cost else 0
        cost = after
        step *= 2.0
        relaxed_slope(link, r, x, gain, row)
        done += 1
        x.history[done] = cost
    set_powers(link, x)
    cost = relaxed_cost(link, r, x, gain, row, x.beta)
    relaxed_slope(link, r, x, gain, row)
    certify_relaxed(link, x, cost)
    x.report[RELAXED_REPORT.cost], x.report[RELAXED_REPORT.iterations] = cost, done
