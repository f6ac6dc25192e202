"""The paper's Algorithms 2 and 3, as printed."""

from __future__ import annotations

import math

import numpy as np

from edge_envs.core.kernels.jit import compiled, kernel
from edge_envs.semcom.image_quality import PsnrLaw, compression_needed, snr_needed
from edge_envs.semcom.solvers.problem import (
    LN2,
    OBJECTIVE,
    SWEEPS,
    Array,
    Problem,
    Workspace,
    allocate_workspace,
    prepare,
    transmit_energy,
)
from edge_envs.semcom.solvers.spectral_efficiency import inverse_bend
from edge_envs.semcom.solvers.subproblems import link_limits, solve_compute, solve_link

SHRINK = 0.5
"""xi of Algorithm 2."""

DECREASE = 0.01
"""epsilon of Algorithm 2."""

MOST_HALVINGS = 8
"""Halvings of a step before the whole step is taken: P7's solution can jump, and then no short step helps."""

PRICE_STEPS = 400


@compiled
def best_at_price(
    cost: float, worth: float, price: float, least: float, most: float, reach_hz: float, nats_per_s: float
) -> tuple[float, float]:
    """u and B of one device in P7, eq. (34), at a price of bandwidth, (47)-(54).

    At given u the objective is linear in B, with slope F(u) = A (e^u - 1) - D u + zeta, for A = gamma w N0 / g and
    D = gamma delta / ln 2: B is as small as the rate allows, or as large as the power allows. Either way one scalar
    condition gives u.
    """
    free = min(max(math.log(max(worth / cost, 1e-300)), least), most)
    if cost * math.expm1(free) - worth * free + price >= 0.0:
        u = min(max(inverse_bend(price / cost, 0.0), least), most) if price > 0.0 else least
        return u, nats_per_s / u if u > 0.0 else math.inf
    # u - 1 + e^-u = zeta / D, which is convex and increasing: Newton from the right.
    target = price / worth
    u = target + 1.0
    for _ in range(60):
        step = (u - 1.0 + math.exp(-u) - target) / -math.expm1(-u)
        u -= step
        if abs(step) <= 1e-14 * u:
            break
    u = min(max(u, least), most)
    return u, reach_hz / math.expm1(u)


@compiled
def solve_p7(
    problem: Problem, work: Workspace, rates: Array, gamma: Array, delta: Array, power: Array, band: Array
) -> None:
    """P7, eq. (34), by bisection on the price of bandwidth; fills `power` and `band`.

    Where a device's price is flat (F = 0) any bandwidth between two limits is optimal; it takes what is left over.
    """
    devices = len(rates)
    cost, worth = np.empty(devices), np.empty(devices)
    least, most = np.empty(devices), np.empty(devices)
    for n in range(devices):
        cost[n] = gamma[n] * problem.bits[n] * problem.noise_w_per_hz / problem.gain[n]
        worth[n] = gamma[n] * delta[n] / LN2
        least[n], most[n] = link_limits(problem, work, rates, n)
    low, high = 0.0, math.inf
    price = float(np.max(worth))
    low_power, low_band = np.empty(devices), np.empty(devices)
    high_power, high_band = np.empty(devices), np.empty(devices)
    low_total, high_total = math.inf, 0.0
    for _ in range(PRICE_STEPS):
        total = 0.0
        for n in range(devices):
            u, taken = best_at_price(cost[n], worth[n], price, least[n], most[n], work.reach_hz[n], rates[n] * LN2)
            band[n] = taken
            power[n] = math.expm1(u) * problem.noise_w_per_hz * taken / problem.gain[n]
            total += taken
        if total > problem.bandwidth_hz:
            low, low_total = price, total
            low_power[:], low_band[:] = power, band
        else:
            high, high_total = price, total
            high_power[:], high_band[:] = power, band
        if high - low <= 1e-15 * low or high < 1e-200:
            break
        if high == math.inf:
            price *= 8.0
        else:
            price = math.sqrt(low * high) if low > 0.0 else high / 64.0
    share = 0.0
    if low_total < math.inf and low_total > high_total:
        share = (problem.bandwidth_hz - high_total) / (low_total - high_total)
    for n in range(devices):
        band[n], power[n] = high_band[n], high_power[n]
        if share > 0.0:
            band[n] += share * (low_band[n] - high_band[n])
            power[n] += share * (low_power[n] - high_power[n])


@compiled
def rates_of(problem: Problem, power: Array, band: Array) -> Array:
    """Rates r_n of eq. (6) [bit/s]."""
    snr = power * problem.gain / (problem.noise_w_per_hz * band)
    return band * np.log1p(snr) / LN2


@compiled
def mismatch(problem: Problem, gamma: Array, delta: Array, power: Array, band: Array) -> tuple[Array, Array, float]:
    """phi of eq. (38), its halves scaled by the transmit work p w and by omega_2, and its norm."""
    rate = rates_of(problem, power, band)
    by_delta = delta * rate / (power * problem.bits) - 1.0
    by_gamma = gamma * rate / problem.weight_energy - 1.0
    return by_delta, by_gamma, math.sqrt(np.sum(by_delta * by_delta) + np.sum(by_gamma * by_gamma))


def refine(
    problem: Problem, rates: Array, power: Array, band: Array, iterations: int, tolerance: float
) -> tuple[int, float]:
    """Algorithm 2 from (p, B), in place; returns the iterations done and the norm of the scaled phi.

    P4 must be feasible at these rates.
    """
    work = allocate_workspace(len(rates))
    prepare(problem, work)
    rate = rates_of(problem, power, band)
    delta, gamma = power * problem.bits / rate, problem.weight_energy / rate
    size = math.inf
    for done in range(iterations + 1):
        solve_p7(problem, work, rates, gamma, delta, power, band)
        _, _, size = mismatch(problem, gamma, delta, power, band)
        if size <= tolerance or done == iterations:
            return done, size
        rate = rates_of(problem, power, band)
        # Newton's step with phi's diagonal derivative leads to the fixed-point values; it is halved until phi shrinks.
        full_delta, full_gamma = power * problem.bits / rate, problem.weight_energy / rate
        for halvings in range(MOST_HALVINGS):
            scale = SHRINK**halvings
            new_delta = delta + scale * (full_delta - delta)
            new_gamma = gamma + scale * (full_gamma - gamma)
            solve_p7(problem, work, rates, new_gamma, new_delta, power, band)
            _, _, after = mismatch(problem, new_gamma, new_delta, power, band)
            if after <= (1.0 - DECREASE * scale) * size:
                break
        else:
            new_delta, new_gamma = full_delta, full_gamma
        delta, gamma = new_delta, new_gamma
    return iterations, size


MOST_PASSES = 20
"""K of Algorithm 3."""

TOLERANCE = 1e-6
"""Relative change of the objective and of every compression rate at which Algorithm 3 stops."""


@kernel
def take_link(problem: Problem, work: Workspace) -> None:
    """Upload times and u = ln(1 + S) that follow from the powers and bandwidths in `work`, eqs. (6)-(7)."""
    for n in range(len(problem.bits)):
        snr = work.power_w[n] * problem.gain[n] / (problem.noise_w_per_hz * work.bandwidth_hz[n])
        work.u[n] = math.log1p(snr)
        work.upload_s[n] = work.nats[n] / (work.bandwidth_hz[n] * work.u[n])


@kernel
def free_compression(
    problem: Problem, work: Workspace, law: PsnrLaw, raw_bits: float, limits: Array, psnr_min_db: Array,
    compression: Array,
) -> float:  # fmt: skip
    """rho_n = max(rho-bar_n, rho_min) of (32) at the stored powers and bandwidths, at most rho_max.

    Writes compression, bits and required SNR; returns the largest relative change. `limits` holds rho_min and rho_max.
    """
    change = 0.0
    for n in range(len(problem.bits)):
        snr = work.power_w[n] * problem.gain[n] / (problem.noise_w_per_hz * work.bandwidth_hz[n])
        rate = min(max(compression_needed(law, snr, psnr_min_db[n]), limits[0]), limits[1])
        change = max(change, abs(rate / compression[n] - 1.0))
        compression[n] = rate
        problem.bits[n] = rate * raw_bits
        # At most what the link has: rounding must not make P4 infeasible, and a device at rho_max does what it can.
        problem.snr_min[n] = min(snr_needed(law, rate, psnr_min_db[n]), snr)
    return change


@kernel
def compute_at_link(problem: Problem, work: Workspace) -> None:
    """P3 at the stored powers and bandwidths, with the objective of the whole round (P3 only)."""
    prepare(problem, work)
    take_link(problem, work)
    solve_compute(problem, work)
    add_transmission(problem, work)


@kernel
def add_transmission(problem: Problem, work: Workspace) -> None:
    """Count the transmit energy, which P3 takes as given, in the objective."""
    for n in range(len(problem.bits)):
        work.totals[OBJECTIVE] += problem.weight_energy * transmit_energy(work, n)


@kernel
def alternate(
    problem: Problem, work: Workspace, rates: Array, free: bool, law: PsnrLaw, raw_bits: float, limits: Array,
    psnr_min_db: Array, compression: Array,
) -> bool:  # fmt: skip
    """Algorithm 3 from the powers and bandwidths in `work`, with exact P3 and P4; False where P4 was infeasible.

    With `free` the compression rates follow (32) and are written, with bits and required SNRs, into the arrays given.
    Otherwise those are kept. `rates` (N,) is scratch. OBJECTIVE is the whole round's. SWEEPS counts the passes.
    """
    feasible = True
    last, passes = math.inf, 0
    while passes < MOST_PASSES:
        passes += 1
        change = 0.0
        if free:
            change = free_compression(problem, work, law, raw_bits, limits, psnr_min_db, compression)
        prepare(problem, work)
        take_link(problem, work)
        solve_compute(problem, work)
        for n in range(len(problem.bits)):
            rates[n] = work.nats[n] / LN2 / work.upload_s[n]
        compute_cost = work.totals[OBJECTIVE]
        feasible = solve_link(problem, work, rates)
        work.totals[OBJECTIVE] = compute_cost
        if not feasible:
            break
        add_transmission(problem, work)
        cost = work.totals[OBJECTIVE]
        if abs(cost - last) <= TOLERANCE * cost and change <= TOLERANCE:
            break
        last = cost
    work.totals[SWEEPS] = passes
    return feasible
