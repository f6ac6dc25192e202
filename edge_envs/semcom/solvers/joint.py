"""P1 at given compression rates, solved jointly to global optimality.

In the logarithms of its variables the problem is convex, so what satisfies the optimality conditions is the optimum.
Two numbers tie the devices together: the deadline T (prices of time add up to omega_1) and the price zeta of bandwidth
(bandwidths add up to what there is). Every device's part is solved exactly at given (T, zeta), so Newton's method works
on two unknowns, at a cost linear in the number of devices; where T is at its shortest or Newton stalls, nested
safeguarded searches take over. The answer is then made exactly feasible. `certificate.certify_round` compares it with
the dual function.
"""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.one_device import settle
from edge_envs.semcom.solvers.problem import (
    BAND_PRICE,
    DELAY,
    LEAST_DELAY,
    OBJECTIVE,
    SWEEPS,
    Problem,
    Workspace,
    compute_energy,
    energy_price,
    prepare,
    set_frequencies,
    transmit_energy,
)
from edge_envs.semcom.solvers.spectral_efficiency import bend, energy_ratio, inverse_energy_ratio
from edge_envs.semcom.solvers.subproblems import common_deadline

TOLERANCE = 1e-9
"""Relative accuracy of the two outer equations."""
NEWTON_SWEEPS = 40
PATIENCE = 5
"""Newton steps without a fall of the residual by 30 % before the nested searches take over."""
NESTED_SWEEPS = 120
LONGEST_STEP = 12.0
"""Largest change of a logarithm in one step of the nested searches."""
SMALLEST_SPARE = 1e-14
"""Delay above the shortest possible one that still counts, relative."""


@kernel
def solve(problem: Problem, work: Workspace, deadline_s: float) -> None:
    """P1 at fixed compression rates, with T <= `deadline_s`, which the caller knows to be attainable.

    Needs finite `snr_min`. Leaves the answer in `work`: totals DELAY, OBJECTIVE, BAND_PRICE and SWEEPS, and every
    array.
    """
    prepare(problem, work)
    devices = len(problem.bits)
    least, crowd = 0.0, 0.0
    for n in range(devices):
        least = max(least, work.least_compute_s[n] + work.least_upload_s[n])
        crowd += work.reach_hz[n] / problem.snr_min[n]
    work.totals[LEAST_DELAY] = least
    work.totals[SWEEPS] = 0.0
    work.totals[BAND_PRICE] = 0.0
    if crowd <= problem.bandwidth_hz:
        ample_bandwidth(problem, work)
    else:
        start(problem, work)
        if not newton(problem, work):
            nested(problem, work)
    if work.totals[DELAY] > deadline_s:
        hold_deadline(problem, work, deadline_s)
    finish(problem, work)
    scale_time_prices(problem, work, deadline_s)


@kernel
def ample_bandwidth(problem: Problem, work: Workspace) -> None:
    """Everybody at full power with the least SNR fits into the band: only the deadline is left to find."""
    for n in range(len(problem.bits)):
        work.u[n] = work.u_min[n]
        work.upload_s[n] = work.least_upload_s[n]
        work.bandwidth_hz[n] = work.nats[n] / (work.u[n] * work.upload_s[n])
    common_deadline(problem, work)


@kernel
def start(problem: Problem, work: Workspace) -> None:
    """A first T and zeta: even shares of bandwidth and of the price of time."""
    devices = len(problem.bits)
    even = (problem.weight_time / (energy_price(problem) * devices)) ** (1.0 / 3.0)
    delay, price = 1.05 * work.totals[LEAST_DELAY], 0.0
    for n in range(devices):
        u = max(work.u_min[n], min(4.0, math.log1p(work.reach_hz[n] * devices / problem.bandwidth_hz)))
        upload = max(
            work.nats[n] * devices / (problem.bandwidth_hz * u), work.nats[n] / work.reach_hz[n] * energy_ratio(u)
        )
        compute = max(work.least_compute_s[n], (problem.device_cycles[n] + work.server_cycles[n]) / even)
        delay = max(delay, upload + compute)
        price += problem.weight_energy * work.energy_j[n] * bend(u) / (u * problem.bandwidth_hz)
        work.u[n] = u
        work.upload_s[n] = upload
    work.totals[DELAY] = delay
    work.totals[BAND_PRICE] = price


@kernel
def sweep(
    problem: Problem, work: Workspace, delay_s: float, price: float
) -> tuple[float, float, float, float, float, float]:
    """All devices at (T, zeta): ln(sum B / B_total), ln(sum beta / omega_1), and their derivatives.

    The derivatives are those by ln T and ln zeta of the first, then of the second.
    """
    band, worth = 0.0, 0.0
    band_delay, band_price, worth_delay, worth_price = 0.0, 0.0, 0.0, 0.0
    for n in range(len(problem.bits)):
        a, b, c, d = settle(problem, work, n, delay_s, price)
        taken, beta = work.bandwidth_hz[n], work.time_price[n]
        band += taken
        worth += beta
        band_delay += taken * a
        band_price += taken * b
        worth_delay += beta * c
        worth_price += beta * d
    work.totals[SWEEPS] += 1.0
    return (
        math.log(band / problem.bandwidth_hz), math.log(worth / problem.weight_time),
        band_delay / band, band_price / band, worth_delay / worth, worth_price / worth,
    )  # fmt: skip


@kernel
def newton(problem: Problem, work: Workspace) -> bool:
    """Newton's method in the logarithms of (T - shortest delay) and zeta, from the stored start; False if it stalls."""
    least = work.totals[LEAST_DELAY]
    spare, price = work.totals[DELAY] - least, work.totals[BAND_PRICE]
    best, waited = math.inf, 0
    for _ in range(NEWTON_SWEEPS):
        delay = least + spare
        r1, r2, a, b, c, d = sweep(problem, work, delay, price)
        work.totals[DELAY], work.totals[BAND_PRICE] = delay, price
        size = max(abs(r1), abs(r2))
        if size <= TOLERANCE:
            return True
        if size < 0.7 * best:
            best, waited = size, 0
        else:
            waited += 1
        a *= spare / delay
        c *= spare / delay
        determinant = a * d - b * c
        if waited >= PATIENCE or not abs(determinant) > 0.0 or not size < math.inf or spare <= SMALLEST_SPARE * least:
            break
        by_spare = (b * r2 - d * r1) / determinant
        by_price = (c * r1 - a * r2) / determinant
        scale = max(1.0, max(abs(by_spare), abs(by_price)) / 2.5)
        spare *= math.exp(by_spare / scale)
        price *= math.exp(by_price / scale)
    return False


@kernel
def best_delay(problem: Problem, work: Workspace, price: float) -> tuple[float, float]:
    """At a price of bandwidth: T with prices of time adding up to omega_1, and the derivative of ln T by ln zeta.

    Searched in the logarithm of what T is above the shortest possible delay, near which prices of time explode. At that
    delay itself the sum may still fall short; T then stays there.
    """
    least = work.totals[LEAST_DELAY]
    low, high = 0.0, math.inf
    spare = max(work.totals[DELAY] - least, SMALLEST_SPARE * least)
    delay, moves = least + spare, 0.0
    for _ in range(NESTED_SWEEPS):
        delay = least + spare
        _, error, _, _, slope, by_price = sweep(problem, work, delay, price)
        moves = -by_price / slope if slope < 0.0 else 0.0
        if abs(error) <= 0.1 * TOLERANCE:
            break
        if error > 0.0:
            low = spare
        else:
            high = spare
        if high - low <= 1e-14 * low:
            break
        if spare <= SMALLEST_SPARE * least and error < 0.0:
            delay, moves = least, 0.0
            break
        by_spare = slope * spare / delay
        step = -error / by_spare if by_spare < 0.0 else (LONGEST_STEP if error > 0.0 else -LONGEST_STEP)
        following = spare * math.exp(min(max(step, -LONGEST_STEP), LONGEST_STEP))
        if not low < following < high:
            following = math.sqrt(low * high)
        spare = max(following, SMALLEST_SPARE * least)
    work.totals[DELAY] = delay
    return delay, moves


@kernel
def nested(problem: Problem, work: Workspace) -> None:
    """Safeguarded search for zeta around one for T. The first equation is the slope of the concave dual function."""
    price = work.totals[BAND_PRICE]
    if not 0.0 < price < math.inf:
        start(problem, work)
        price = work.totals[BAND_PRICE]
    low, high = 0.0, math.inf
    for _ in range(NESTED_SWEEPS):
        delay, moves = best_delay(problem, work, price)
        error, _, by_delay, by_price, _, _ = sweep(problem, work, delay, price)
        work.totals[BAND_PRICE] = price
        if error > 0.0:
            low = price
        else:
            high = price
        if abs(error) <= TOLERANCE or high - low <= 1e-14 * low:
            break
        slope = by_price + by_delay * moves
        step = -error / slope if slope < 0.0 else (LONGEST_STEP if error > 0.0 else -LONGEST_STEP)
        following = price * math.exp(min(max(step, -LONGEST_STEP), LONGEST_STEP)) if error < math.inf else price * 1e6
        price = following if low < following < high else math.sqrt(low * high)
    share_missing_price(problem, work)


@kernel
def share_missing_price(problem: Problem, work: Workspace) -> None:
    """Give what is missing from the sum of the prices of time to the devices that cannot be any faster."""
    total, slowest, latest = 0.0, 0, 0.0
    for n in range(len(problem.bits)):
        total += work.time_price[n]
        shortest = work.least_compute_s[n] + work.least_upload_s[n]
        if shortest > latest:
            slowest, latest = n, shortest
    if total < problem.weight_time and work.totals[DELAY] <= latest * (1.0 + 1e-9):
        work.time_price[slowest] += problem.weight_time - total


@kernel
def least_bandwidth(problem: Problem, work: Workspace, delay_s: float) -> float:
    """Least bandwidth with which all devices finish by `delay_s`, everything at its limit [Hz]; inf if it cannot be."""
    total = 0.0
    for n in range(len(problem.bits)):
        room = delay_s - work.least_compute_s[n]
        if room < work.least_upload_s[n] or room <= 0.0:
            return math.inf
        u = inverse_energy_ratio(room * work.reach_hz[n] / work.nats[n])
        total += work.reach_hz[n] / math.expm1(u) if u > 0.0 else math.inf
    return total


@kernel
def hold_deadline(problem: Problem, work: Workspace, deadline_s: float) -> None:
    """The deadline binds: T is given, so only the price of bandwidth is left to find."""
    price = work.totals[BAND_PRICE]
    if price <= 0.0:
        start(problem, work)
        price = work.totals[BAND_PRICE]
    low, high = 0.0, math.inf
    for _ in range(NESTED_SWEEPS):
        error, _, _, slope, _, _ = sweep(problem, work, deadline_s, price)
        if error > 0.0:
            low = price
        else:
            high = price
        if abs(error) <= TOLERANCE or high - low <= 1e-14 * low or price > 1e200 or price < 1e-200:
            break
        step = -error / slope if slope < -1e-6 else (LONGEST_STEP if error > 0.0 else -LONGEST_STEP)
        following = price * math.exp(min(max(step, -LONGEST_STEP), LONGEST_STEP)) if error < math.inf else price * 1e6
        price = following if low < following < high else math.sqrt(low * high)
    # Nothing may be stretched here, so the last digits come from a price at which the devices keep within the band.
    price, excess = min(price, high), 1e-12
    while excess < 1e-3:
        if sweep(problem, work, deadline_s, price)[0] <= 0.0:
            break
        price *= 1.0 + excess
        excess *= 2.0
    work.totals[DELAY] = deadline_s
    work.totals[BAND_PRICE] = price


@kernel
def finish(problem: Problem, work: Workspace) -> None:
    """Make the answer exactly feasible, set frequencies and powers, and sum up the cost.

    Too much bandwidth by rounding is taken back by stretching all uploads: u stays, so energy and SNR stay, and power
    falls. The delay then follows from the slowest device.
    """
    devices = len(problem.bits)
    band = 0.0
    for n in range(devices):
        band += work.bandwidth_hz[n]
    stretch = max(1.0, band / problem.bandwidth_hz)
    delay = 0.0
    for n in range(devices):
        compute = max(work.totals[DELAY] - work.upload_s[n], work.least_compute_s[n])
        work.upload_s[n] *= stretch
        work.bandwidth_hz[n] /= stretch
        delay = max(delay, compute + work.upload_s[n])
    cost = problem.weight_time * delay
    for n in range(devices):
        work.compute_s[n] = delay - work.upload_s[n]
        set_frequencies(problem, work, n, work.compute_s[n])
        transmit = transmit_energy(work, n)
        work.power_w[n] = min(transmit / work.upload_s[n], problem.power_max_w[n])
        cost += problem.weight_energy * (transmit + compute_energy(problem, work, n))
    work.totals[DELAY] = delay
    work.totals[OBJECTIVE] = cost


@kernel
def scale_time_prices(problem: Problem, work: Workspace, deadline_s: float) -> None:
    """Make the prices of time add up to omega_1; with a deadline that binds they may add up to more."""
    total = 0.0
    for n in range(len(problem.bits)):
        total += work.time_price[n]
    excess = 0.0
    if deadline_s < math.inf and total > problem.weight_time:
        excess = total - problem.weight_time
    scale = (problem.weight_time + excess) / total
    for n in range(len(problem.bits)):
        work.time_price[n] *= scale
