"""Shares of subchannels relaxed to the simplex: cost, analytic gradient, and mirror descent (Li-GD's inner solve).

Everything of a subchannel lies side by side: gains (M, U, N), shares and their gradient (M, U). Users of an AP stand in
the order of its successive cancellation, found once per channel draw, so all sums over weaker or stronger users are
running sums.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.solvers.band_powers import ARMIJO
from edge_envs.eccnoma.solvers.radio import DOWNLINK, DOWNLINK_PRINTED, UPLINK, Link, Radio, power_at

LEAST_SHARE = 1e-30
"""Shares are kept above this, so that a mirror step can bring any subchannel back."""
RELAXED_COST, RELAXED_START, GAP, LEVEL_RESIDUAL, ITERATIONS = range(5)
RELAXED_REPORT = 5


class Relaxation(NamedTuple):
    """Memory of the relaxed problem of one direction: U users, M subchannels, N APs."""

    beta: NDArray[np.float64]  # (M, U)
    level: NDArray[np.float64]  # (U,) log power between its limits
    power_w: NDArray[np.float64]  # (U,)
    beta_slope: NDArray[np.float64]  # (M, U)
    power_slope: NDArray[np.float64]  # (U,)
    beta_trial: NDArray[np.float64]  # (M, U)
    level_trial: NDArray[np.float64]  # (U,)
    order: NDArray[np.int64]  # (M, U) users by AP, strongest first
    first: NDArray[np.int64]  # (N + 1,) where an AP's users begin in that order
    bits_per_hz: NDArray[np.float64]  # (M, U) log2(1 + SINR)
    disturbance_w: NDArray[np.float64]  # (M, U)
    rate_bit_s: NDArray[np.float64]  # (U,)
    price: NDArray[np.float64]  # (M, U) dJ / dD
    heard: NDArray[np.float64]  # (2, N) scratch of one subchannel
    key: NDArray[np.float64]  # (U,)
    history: NDArray[np.float64]  # (iterations + 1,) costs
    report: NDArray[np.float64]  # (RELAXED_REPORT,)


def allocate_relaxation(users: int, subchannels: int, aps: int, iterations: int) -> Relaxation:
    """Memory for one direction, all zero; with no users none to speak of."""
    table, line = (subchannels, users), (users,)
    shapes: dict[str, tuple[int, ...]] = {
        "level": line, "power_w": line, "power_slope": line, "level_trial": line, "first": (aps + 1,),
        "rate_bit_s": line, "heard": (2, aps), "key": line, "history": (iterations + 1,), "report": (RELAXED_REPORT,),
    }  # fmt: skip
    arrays = {
        name: np.zeros(shapes.get(name, table), dtype=np.int64 if name in ("order", "first") else np.float64)
        for name in Relaxation._fields
    }
    return Relaxation(**arrays)  # type: ignore[arg-type]


@kernel
def order_users(w: Radio, x: Relaxation, gain: NDArray[np.float64], row: int) -> None:
    """On every subchannel the active users of each AP, strongest first; ties as everywhere, lower index first."""
    at = 0
    for n in range(gain.shape[3]):
        x.first[n] = at
        for u in range(len(w.ap)):
            if w.ap[u] == n and w.active[u]:
                for m in range(gain.shape[1]):
                    x.order[m, at] = u
                at += 1
    x.first[gain.shape[3]] = at
    for m in range(gain.shape[1]):
        for u in range(len(w.ap)):
            x.key[u] = gain[row, m, u, w.ap[u]]
        for n in range(gain.shape[3]):
            sort_falling_row(x.order, m, x.first[n], x.first[n + 1] - x.first[n], x.key)


@kernel
def sort_falling_row(order: NDArray[np.int64], m: int, first: int, count: int, key: NDArray[np.float64]) -> None:
    """`assignment.sort_falling` within row m: by Shell's method, as rows cannot be sliced here."""
    gap = count // 2
    while gap > 0:
        for i in range(gap, count):
            user = order[m, first + i]
            j = i
            while j >= gap:
                other = order[m, first + j - gap]
                if key[other] > key[user] or (key[other] == key[user] and other < user):
                    break
                order[m, first + j] = other
                j -= gap
            order[m, first + j] = user
        gap = 1 if gap == 2 else (gap * 5) // 11


@kernel
def relaxed_cost(
    link: Link, w: Radio, x: Relaxation, gain: NDArray[np.float64], row: int, beta: NDArray[np.float64]
) -> float:
    """Cost of shares `beta` at the powers of x: disturbances (5), (8), rates (6), (9) and what sending costs."""
    for u in range(len(w.ap)):
        x.rate_bit_s[u] = 0.0
    for m in range(gain.shape[1]):
        hear(link, w, x, gain, row, m, beta)
        for n in range(gain.shape[3]):
            disturb_cell(link, x, gain, row, m, n, beta)
    total = 0.0
    for i in range(x.first[len(x.first) - 1]):
        u = x.order[0, i]
        total += (w.delay_cost[u] + w.energy_cost[u] * x.power_w[u]) / x.rate_bit_s[u]
    return total


@kernel_part
def hear(
    link: Link, w: Radio, x: Relaxation, gain: NDArray[np.float64], row: int, m: int, beta: NDArray[np.float64]
) -> None:
    """On subchannel m: what each AP hears of other cells' users (uplink), or what each AP sends (downlink)."""
    for n in range(gain.shape[3]):
        x.heard[0, n] = 0.0
    for n in range(gain.shape[3]):
        for i in range(x.first[n], x.first[n + 1]):
            u = x.order[m, i]
            sent = beta[m, u] * x.power_w[u]
            if link.direction == UPLINK:
                for other in range(gain.shape[3]):
                    if other != n:
                        x.heard[0, other] += sent * gain[row, m, u, other]
            else:
                x.heard[0, n] += sent


@kernel_part
def disturb_cell(
    link: Link, x: Relaxation, gain: NDArray[np.float64], row: int, m: int, n: int, beta: NDArray[np.float64]
) -> None:
    """Disturbances of AP n's users on subchannel m, and what it adds to their rates.

    Running sums: from the weakest user up in the uplink, from the strongest down in the downlink.
    """
    count = x.first[n + 1] - x.first[n]
    inside = 0.0
    for i in range(count):
        at = x.first[n + 1] - 1 - i if link.direction == UPLINK else x.first[n] + i
        u = x.order[m, at]
        own = gain[row, m, u, n]
        other_w = link.noise_w
        if link.direction == UPLINK:
            other_w += inside + x.heard[0, n]
        else:
            other_w += inside if link.direction == DOWNLINK_PRINTED else own * inside
            for k in range(gain.shape[3]):
                if k != n:
                    other_w += gain[row, m, u, k] * x.heard[0, k]
        bits = math.log1p(x.power_w[u] * own / other_w) / math.log(2.0)
        x.disturbance_w[m, u], x.bits_per_hz[m, u] = other_w, bits
        x.rate_bit_s[u] += link.bandwidth_hz * beta[m, u] * bits
        inside += beta[m, u] * x.power_w[u] * (1.0 if link.direction == DOWNLINK else own)


@kernel
def relaxed_slope(link: Link, w: Radio, x: Relaxation, gain: NDArray[np.float64], row: int) -> None:
    """Gradient in the shares and powers at x.beta, from what `relaxed_cost` left there.

    A user's own terms, and for every signal the sum of what it costs those whom it disturbs: running sums again. It
    corrects (29), (30), which lack the order of cancellation and the derivative of 1 / R.
    """
    scale = link.bandwidth_hz / math.log(2.0)
    for i in range(x.first[len(x.first) - 1]):
        u = x.order[0, i]
        x.power_slope[u] = w.energy_cost[u] / x.rate_bit_s[u]
        x.key[u] = -(w.delay_cost[u] + w.energy_cost[u] * x.power_w[u]) / (x.rate_bit_s[u] * x.rate_bit_s[u])
    for m in range(gain.shape[1]):
        for n in range(gain.shape[3]):
            x.heard[0, n] = x.heard[1, n] = 0.0
        for n in range(gain.shape[3]):
            for i in range(x.first[n], x.first[n + 1]):
                u = x.order[m, i]
                own, other_w = gain[row, m, u, n], x.disturbance_w[m, u]
                received = x.power_w[u] * own
                per_share = x.key[u] * x.beta[m, u] * scale / (other_w + received)
                x.beta_slope[m, u] = x.key[u] * link.bandwidth_hz * x.bits_per_hz[m, u]
                x.power_slope[u] += per_share * own
                x.price[m, u] = -per_share * received / other_w
                if link.direction == UPLINK:
                    x.heard[0, n] += x.price[m, u]
                else:
                    for k in range(gain.shape[3]):
                        if k != n:
                            x.heard[0, k] += gain[row, m, u, k] * x.price[m, u]
        for n in range(gain.shape[3]):
            charge_cell(link, x, gain, row, m, n)


@kernel_part
def charge_cell(link: Link, x: Relaxation, gain: NDArray[np.float64], row: int, m: int, n: int) -> None:
    """What a watt of each of AP n's users on subchannel m costs those it disturbs, added to the gradient."""
    count = x.first[n + 1] - x.first[n]
    inside = 0.0
    for i in range(count):
        # the uplink's disturbed are the stronger, the downlink's the weaker
        at = x.first[n] + i if link.direction == UPLINK else x.first[n + 1] - 1 - i
        u = x.order[m, at]
        own = gain[row, m, u, n]
        if link.direction == UPLINK:
            harm = own * inside
            for k in range(gain.shape[3]):
                if k != n:
                    harm += gain[row, m, u, k] * x.heard[0, k]
        else:
            harm = x.heard[0, n] + (own * inside if link.direction == DOWNLINK_PRINTED else inside)
        x.beta_slope[m, u] += x.power_w[u] * harm
        x.power_slope[u] += x.beta[m, u] * harm
        weight = own if link.direction == DOWNLINK else 1.0
        inside += x.price[m, u] * weight


@kernel
def start_cold(w: Radio, x: Relaxation) -> None:
    """Equal shares at full power."""
    for u in range(len(w.ap)):
        x.level[u] = 1.0
        for m in range(x.beta.shape[0]):
            x.beta[m, u] = 1.0 / x.beta.shape[0] if w.active[u] else 0.0


@kernel_part
def mirror_step(link: Link, x: Relaxation, step: float, span: float) -> float:
    """Trial shares beta exp(-step g) on the simplex and trial levels; returns the fall that the slopes promise."""
    promised = 0.0
    for i in range(x.first[len(x.first) - 1]):
        u = x.order[0, i]
        least, total = math.inf, 0.0
        for m in range(x.beta.shape[0]):
            least = min(least, x.beta_slope[m, u])
        for m in range(x.beta.shape[0]):
            share = x.beta[m, u] * math.exp(-step * (x.beta_slope[m, u] - least))
            x.beta_trial[m, u] = max(share, LEAST_SHARE)
            total += x.beta_trial[m, u]
        for m in range(x.beta.shape[0]):
            x.beta_trial[m, u] /= total
            promised += x.beta_slope[m, u] * (x.beta[m, u] - x.beta_trial[m, u])
        slope = x.power_slope[u] * x.power_w[u] * span
        x.level_trial[u] = min(max(x.level[u] - step * slope, 0.0), 1.0)
        promised += slope * (x.level[u] - x.level_trial[u])
        x.power_w[u] = power_at(link, x.level_trial[u])
    return promised


@kernel_part
def set_powers(link: Link, x: Relaxation) -> None:
    """Powers of the levels."""
    for i in range(x.first[len(x.first) - 1]):
        u = x.order[0, i]
        x.power_w[u] = power_at(link, x.level[u])


@kernel
def certify_relaxed(link: Link, x: Relaxation, cost: float) -> None:
    """Stationarity of the shares (their Frank-Wolfe gap) and of the levels, both over the cost, into the report."""
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
    x.report[GAP] = gap / cost if cost > 0.0 else 0.0
    x.report[LEVEL_RESIDUAL] = residual / cost if cost > 0.0 else 0.0


@kernel
def relax(
    link: Link, w: Radio, x: Relaxation, gain: NDArray[np.float64], row: int, tolerance: float, iterations: int
) -> None:
    """Mirror descent in the shares and log powers from x.beta and x.level, with Armijo's rule; the cost never rises.

    The step is halved until the cost falls as promised and doubled after that. It ends after two steps in a row with a
    relative fall below `tolerance`, or where no step brings one. Needs `order_users`.
    """
    span = math.log(link.power_max_w / link.power_min_w)
    set_powers(link, x)
    cost = relaxed_cost(link, w, x, gain, row, x.beta)
    relaxed_slope(link, w, x, gain, row)
    x.report[RELAXED_START] = x.history[0] = cost
    step = x.first[len(x.first) - 1] / cost if cost > 0.0 else 0.0
    done, quiet = 0, 0
    while done < min(iterations, len(x.history) - 1) and quiet < 2 and cost > 0.0:
        going, after = False, cost
        for _ in range(60):
            promised = mirror_step(link, x, step, span)
            after = relaxed_cost(link, w, x, gain, row, x.beta_trial)
            if after <= cost - ARMIJO * promised:
                going = True
                break
            step *= 0.5
        if not going:
            break
        for i in range(x.first[len(x.first) - 1]):
            u = x.order[0, i]
            x.level[u] = x.level_trial[u]
            for m in range(x.beta.shape[0]):
                x.beta[m, u] = x.beta_trial[m, u]
        quiet = quiet + 1 if cost - after < tolerance * cost else 0
        cost = after
        step *= 2.0
        relaxed_slope(link, w, x, gain, row)
        done += 1
        x.history[done] = cost
    set_powers(link, x)
    cost = relaxed_cost(link, w, x, gain, row, x.beta)
    relaxed_slope(link, w, x, gain, row)
    certify_relaxed(link, x, cost)
    x.report[RELAXED_COST], x.report[ITERATIONS] = cost, done
