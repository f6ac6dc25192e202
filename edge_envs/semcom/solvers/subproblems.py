"""The paper's two subproblems, solved exactly: P3 (frequencies and deadline) and P4 (power and bandwidth)."""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.problem import (
    BAND_PRICE,
    DELAY,
    LEAST_DELAY,
    LN2,
    OBJECTIVE,
    SWEEPS,
    Array,
    Problem,
    Workspace,
    compute_energy,
    energy_price,
    set_frequencies,
    time_price_of,
)
from edge_envs.semcom.solvers.spectral_efficiency import (
    bend,
    bend_slope,
    energy_ratio,
    inverse_bend,
    inverse_energy_ratio,
)

TOLERANCE = 1e-13
"""Relative accuracy of the scalar equations for the deadline and the price of bandwidth."""
MOST_STEPS = 200
ROUNDING = 1e-9
"""Relative excess over a limit that counts as rounding."""
STEEPEST_START = 30.0
"""Largest u from which the search for the price of bandwidth starts."""
LARGEST_PRICE = 1e200
"""Reached only where every device is at full power, so that no price saves more bandwidth."""


@kernel
def common_deadline(problem: Problem, work: Workspace) -> float:
    """Deadline T at which the prices of time add up to omega_1, eq. (31), for the stored upload times.

    Leaves the prices in `work.time_price`, made to add up to omega_1. Where both processors of the slowest device are
    at their limits, T is the shortest possible and that device takes what is missing from the sum.
    """
    devices = len(problem.bits)
    least, slowest, relaxed = 0.0, 0, 0.0
    # With the price omega_1 / N for everybody, time is worth no more than omega_1 in sum at the latest device's finish.
    even = (problem.weight_time / devices / energy_price(problem)) ** (1.0 / 3.0)
    for n in range(devices):
        shortest = work.upload_s[n] + work.least_compute_s[n]
        if shortest > least:
            least, slowest = shortest, n
        device = min(even, problem.device_frequency_max_hz[n])
        server = min(even, work.server_cap_hz[n])
        alone = work.upload_s[n] + problem.device_cycles[n] / device + work.server_cycles[n] / server
        relaxed = max(relaxed, alone)
    low, high = least, max(relaxed, least)
    delay, total, tried = high, 0.0, False
    for _ in range(MOST_STEPS):
        total, slope = 0.0, 0.0
        for n in range(devices):
            compute = max(delay - work.upload_s[n], work.least_compute_s[n])
            price, fall = time_price_of(problem, work, n, compute)
            work.time_price[n] = price
            total += price
            slope += price * fall
        error = math.log(total / problem.weight_time)
        if error > 0.0:
            low = delay
        else:
            high = delay
        if abs(error) <= TOLERANCE or high - low <= 1e-15 * low or (delay <= least and error <= 0.0):
            break
        # Newton's step for ln(total) by ln(T), within the bracket.
        step = delay * math.exp(error * total / (slope * delay))
        if step <= least and low <= least and not tried:
            delay, tried = least, True
        else:
            delay = step if low < step < high else 0.5 * (low + high)
    if total < problem.weight_time and delay <= least * (1.0 + ROUNDING * 1e-3):
        work.time_price[slowest] += problem.weight_time - total
        total = problem.weight_time
    for n in range(devices):
        work.time_price[n] *= problem.weight_time / total
    work.totals[DELAY] = delay
    work.totals[LEAST_DELAY] = least
    return delay


@kernel
def solve_compute(problem: Problem, work: Workspace) -> None:
    """P5, eq. (21): frequencies and deadline for the upload times in `work.upload_s`; `prepare` must have run."""
    delay = common_deadline(problem, work)
    energy = 0.0
    for n in range(len(problem.bits)):
        work.compute_s[n] = delay - work.upload_s[n]
        set_frequencies(problem, work, n, work.compute_s[n])
        energy += compute_energy(problem, work, n)
    work.totals[OBJECTIVE] = problem.weight_time * delay + problem.weight_energy * energy


@kernel
def link_limits(problem: Problem, work: Workspace, rate_min_bps: Array, n: int) -> tuple[float, float]:
    """Least and largest u = ln(1 + S_n) at which device n meets its rate: by the SNR required, and at full power.

    The largest is below the least where the device cannot do both.
    """
    least = work.u_min[n]
    if work.reach_hz[n] <= rate_min_bps[n] * LN2:
        return least, -1.0
    most = inverse_energy_ratio(work.reach_hz[n] / (rate_min_bps[n] * LN2))
    # A device that is at full power with just its SNR must not fail by rounding.
    return least, least if (1.0 - ROUNDING) * least <= most < least else most


@kernel
def band_at_price(problem: Problem, work: Workspace, rate_min_bps: Array, price: float) -> tuple[float, float]:
    """Bandwidth that all devices take at a price, and its derivative by ln(price); stores u and B.

    The optimum of one device: H(u) = price g / (omega_2 tau N0), which Lambert's W would solve too, within its limits.
    """
    total, slope = 0.0, 0.0
    for n in range(len(problem.bits)):
        nats_per_s = rate_min_bps[n] * LN2
        u = work.u_min[n]
        if price > 0.0:
            worth = problem.weight_energy * work.energy_j[n] / nats_per_s
            free = inverse_bend(price / worth, work.u[n])
            u = min(max(free, work.u_min[n]), work.u_max[n])
            if u == free:
                slope -= nats_per_s / (u * bend_slope(u))
        work.u[n] = u
        work.bandwidth_hz[n] = nats_per_s / u if u > 0.0 else math.inf
        total += work.bandwidth_hz[n]
    return total, slope


@kernel
def solve_link(problem: Problem, work: Workspace, rate_min_bps: Array) -> bool:
    """P4, eq. (19): power and bandwidth at required rates; False where no allocation meets them all.

    Every rate is met exactly, as transmit energy grows with the SNR. What remains is to share the bandwidth, a convex
    problem with one price. `prepare` must have run; upload times become w / r_min.
    """
    need = 0.0
    for n in range(len(problem.bits)):
        least, most = link_limits(problem, work, rate_min_bps, n)
        if least > most or most <= 0.0:
            return False
        work.u_max[n] = most
        need += rate_min_bps[n] * LN2 / most
    if need > problem.bandwidth_hz * (1.0 + 1e-12):
        return False
    price, sweeps = 0.0, 1
    total, _ = band_at_price(problem, work, rate_min_bps, 0.0)
    if total > problem.bandwidth_hz:
        price, sweeps = band_price(problem, work, rate_min_bps)
    cost = 0.0
    for n in range(len(problem.bits)):
        u, band = work.u[n], work.bandwidth_hz[n]
        work.upload_s[n] = problem.bits[n] / rate_min_bps[n]
        work.power_w[n] = min(math.expm1(u) * problem.noise_w_per_hz * band / problem.gain[n], problem.power_max_w[n])
        cost += problem.weight_energy * (work.energy_j[n] * energy_ratio(u))
    work.totals[OBJECTIVE] = cost
    work.totals[BAND_PRICE] = price
    work.totals[SWEEPS] = sweeps
    return True


@kernel
def band_price(problem: Problem, work: Workspace, rate_min_bps: Array) -> tuple[float, int]:
    """Price at which the devices take just the bandwidth there is, and the sweeps it took; leaves u and B at it."""
    price = 0.0
    for n in range(len(problem.bits)):
        # Start where a device with an even share would be.
        nats_per_s = rate_min_bps[n] * LN2
        even = min(nats_per_s * len(problem.bits) / problem.bandwidth_hz, STEEPEST_START)
        price = max(price, problem.weight_energy * work.energy_j[n] / nats_per_s * bend(even))
    low, high = 0.0, math.inf
    sweeps = 1
    while sweeps < MOST_STEPS:
        sweeps += 1
        total, slope = band_at_price(problem, work, rate_min_bps, price)
        error = math.log(total / problem.bandwidth_hz)
        if error > 0.0:
            low = price
        else:
            high = price
        if abs(error) <= TOLERANCE or high - low <= 1e-15 * low or price > LARGEST_PRICE:
            break
        # Newton's step for ln(total) by ln(price); a flat stretch has devices at their limits only.
        step = price * math.exp(min(max(-error * total / min(slope, -1e-12 * total), -12.0), 12.0))
        if not low < step < high:
            step = math.sqrt(low * high)
        price = step
    return price, sweeps
