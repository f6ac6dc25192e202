"""The paper's Algorithms 2 and 3, as printed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edge_envs.core.kernels.jit import compiled, kernel
from edge_envs.semcom.image_quality import PsnrLaw, compression_needed, snr_needed
from edge_envs.semcom.solvers.problem import (
    LN2,
    TOTAL,
    Array,
    Problem,
    Workspace,
    allocate_workspace,
    prepare,
    snr_of,
    transmit_energy,
)
from edge_envs.semcom.solvers.spectral_efficiency import inverse_bandwidth_value
from edge_envs.semcom.solvers.subproblems import link_limits, solve_compute, solve_link

SHRINK = 0.5
"""xi of Algorithm 2."""

DECREASE = 0.01
"""epsilon of Algorithm 2."""

HALVINGS_MAX = 8
"""Halvings of a step before the full step is taken: where P7's solution is discontinuous, no shorter step helps."""

PRICE_STEPS = 400


@compiled
def best_at_price(
    cost: float,
    worth: float,
    bandwidth_price: float,
    least: float,
    most: float,
    unit_snr_hz: float,
    rate_nats_per_s: float,
) -> tuple[float, float]:
    """u and B of one device in P7, eq. (34), at a bandwidth price, (47)-(54).

    At given u the objective is linear in B, with slope F(u) = A (e^u - 1) - D u + zeta, where A = gamma w N0 / g and
    D = gamma delta / ln 2. B is therefore the smallest that the rate allows, or the largest that the power allows. In
    both cases one scalar equation determines u.
    """
    free = min(max(math.log(max(worth / cost, 1e-300)), least), most)
    if cost * math.expm1(free) - worth * free + bandwidth_price >= 0.0:
        u = (
            min(max(inverse_bandwidth_value(bandwidth_price / cost, 0.0), least), most)
            if bandwidth_price > 0.0
            else least
        )
        return u, rate_nats_per_s / u if u > 0.0 else math.inf
    # u - 1 + e^-u = zeta / D is convex and increasing, so Newton's method converges from above.
    target = bandwidth_price / worth
    u = target + 1.0
    for _ in range(60):
        step = (u - 1.0 + math.exp(-u) - target) / -math.expm1(-u)
        u -= step
        if abs(step) <= 1e-14 * u:
            break
    u = min(max(u, least), most)
    return u, unit_snr_hz / math.expm1(u)


@compiled
def solve_p7(
    problem: Problem, workspace: Workspace, rates: Array, gamma: Array, delta: Array, power: Array, band: Array
) -> None:
    """P7, eq. (34), by bisection on the bandwidth price; writes `power` and `band`.

    If F = 0 for a device, any bandwidth between two limits is optimal; the device gets the remaining bandwidth.
    """
    devices = len(rates)
    cost, worth = np.empty(devices), np.empty(devices)
    least, most = np.empty(devices), np.empty(devices)
    for n in range(devices):
        cost[n] = gamma[n] * problem.bits[n] * problem.noise_w_per_hz / problem.gain[n]
        worth[n] = gamma[n] * delta[n] / LN2
        least[n], most[n] = link_limits(workspace, rates, n)
    low, high = 0.0, math.inf
    bandwidth_price = float(np.max(worth))
    low_power, low_band = np.empty(devices), np.empty(devices)
    high_power, high_band = np.empty(devices), np.empty(devices)
    low_total, high_total = math.inf, 0.0
    for _ in range(PRICE_STEPS):
        total = 0.0
        for n in range(devices):
            u, taken = best_at_price(
                cost[n], worth[n], bandwidth_price, least[n], most[n], workspace.unit_snr_hz[n], rates[n] * LN2
            )
            band[n] = taken
            power[n] = math.expm1(u) * problem.noise_w_per_hz * taken / problem.gain[n]
            total += taken
        if total > problem.bandwidth_hz:
            low, low_total = bandwidth_price, total
            low_power[:], low_band[:] = power, band
        else:
            high, high_total = bandwidth_price, total
            high_power[:], high_band[:] = power, band
        if high - low <= 1e-15 * low or high < 1e-200:
            break
        if high == math.inf:
            bandwidth_price *= 8.0
        else:
            bandwidth_price = math.sqrt(low * high) if low > 0.0 else high / 64.0
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
    """phi of eq. (38), its halves scaled by p w and by omega_2, and its norm."""
    rate = rates_of(problem, power, band)
    by_delta = delta * rate / (power * problem.bits) - 1.0
    by_gamma = gamma * rate / problem.weight_energy - 1.0
    return by_delta, by_gamma, math.sqrt(np.sum(by_delta * by_delta) + np.sum(by_gamma * by_gamma))


def refine(
    problem: Problem, rates: Array, power: Array, band: Array, iterations: int, tolerance: float
) -> tuple[int, float]:
    """Algorithm 2 from (p, B), in place; returns the number of iterations and the norm of the scaled phi.

    P4 must be feasible at these rates.
    """
    workspace = allocate_workspace(len(rates))
    prepare(problem, workspace)
    rate = rates_of(problem, power, band)
    delta, gamma = power * problem.bits / rate, problem.weight_energy / rate
    size = math.inf
    for done in range(iterations + 1):
        solve_p7(problem, workspace, rates, gamma, delta, power, band)
        _, _, size = mismatch(problem, gamma, delta, power, band)
        if size <= tolerance or done == iterations:
            return done, size
        rate = rates_of(problem, power, band)
        # Newton's step with phi's diagonal derivative gives the fixed-point values; it is halved until phi decreases.
        full_delta, full_gamma = power * problem.bits / rate, problem.weight_energy / rate
        for halvings in range(HALVINGS_MAX):
            scale = SHRINK**halvings
            new_delta = delta + scale * (full_delta - delta)
            new_gamma = gamma + scale * (full_gamma - gamma)
            solve_p7(problem, workspace, rates, new_gamma, new_delta, power, band)
            _, _, after = mismatch(problem, new_gamma, new_delta, power, band)
            if after <= (1.0 - DECREASE * scale) * size:
                break
        else:
            new_delta, new_gamma = full_delta, full_gamma
        delta, gamma = new_delta, new_gamma
    return iterations, size


PASSES_MAX = 20
"""K of Algorithm 3."""

TOLERANCE = 1e-6
"""Relative change of the objective and of every compression rate at which Algorithm 3 stops."""


class CompressionRule(NamedTuple):
    """What eq. (32) reads to set compression rates, and the rates; arrays have shape (N,)."""

    law: PsnrLaw
    raw_bits: float  # d D, the bits of one device before compression
    compression_min: float  # rho_min
    compression_max: float  # rho_max
    psnr_min_db: Array  # required PSNR
    compression: Array  # rho, written


def unused_rule(devices: int) -> CompressionRule:
    """A rule for `alternate` at given compression rates, which does not read it."""
    law = PsnrLaw(1.0, 1.0, 1.0, 1.0, 1.0, decibel=True, snr_low_db=-math.inf, snr_high_db=math.inf)
    return CompressionRule(law, 1.0, 0.0, 1.0, np.ones(devices), np.ones(devices))


@kernel
def take_link(problem: Problem, workspace: Workspace) -> None:
    """Store u and the upload times at the powers and bandwidths in the workspace, eqs. (6)-(7)."""
    for n in range(len(problem.bits)):
        workspace.u[n] = math.log1p(snr_of(problem, workspace, n))
        workspace.upload_s[n] = workspace.data_nats[n] / (workspace.bandwidth_hz[n] * workspace.u[n])


@kernel
def update_compression(problem: Problem, workspace: Workspace, rule: CompressionRule) -> float:
    """rho_n = max(rho-bar_n, rho_min), eq. (32), at the stored powers and bandwidths, at most rho_max.

    Writes compression rates, bits and required SNRs; returns the largest relative change of a rate.
    """
    change = 0.0
    for n in range(len(problem.bits)):
        snr = snr_of(problem, workspace, n)
        needed = compression_needed(rule.law, snr, rule.psnr_min_db[n])
        rate = min(max(needed, rule.compression_min), rule.compression_max)
        change = max(change, abs(rate / rule.compression[n] - 1.0))
        rule.compression[n] = rate
        problem.bits[n] = rate * rule.raw_bits
        # At most the link's SNR: rounding must not make P4 infeasible, and a device at rho_max cannot do more.
        problem.snr_min[n] = min(snr_needed(rule.law, rate, rule.psnr_min_db[n]), snr)
    return change


@kernel
def compute_at_link(problem: Problem, workspace: Workspace) -> None:
    """P3 at the stored powers and bandwidths, with the objective of the whole round."""
    prepare(problem, workspace)
    take_link(problem, workspace)
    solve_compute(problem, workspace)
    add_transmission(problem, workspace)


@kernel
def add_transmission(problem: Problem, workspace: Workspace) -> None:
    """Add the transmit energy, which P3 takes as given, to the objective."""
    for n in range(len(problem.bits)):
        workspace.totals[TOTAL.objective] += problem.weight_energy * transmit_energy(workspace, n)


@kernel
def alternate(problem: Problem, workspace: Workspace, rule: CompressionRule, free: bool) -> bool:
    """Algorithm 3 from the powers and bandwidths in the workspace, with exact P3 and P4.

    With `free`, the compression rates follow (32); rates, bits and required SNRs are written. Otherwise `rule` is not
    read. The objective is that of the whole round, and the sweeps are the passes.

    Returns:
        False if P4 was infeasible.
    """
    feasible = True
    last, passes = math.inf, 0
    while passes < PASSES_MAX:
        passes += 1
        change = 0.0
        if free:
            change = update_compression(problem, workspace, rule)
        prepare(problem, workspace)
        take_link(problem, workspace)
        solve_compute(problem, workspace)
        for n in range(len(problem.bits)):
            workspace.rate_min_bps[n] = workspace.data_nats[n] / LN2 / workspace.upload_s[n]
        compute_cost = workspace.totals[TOTAL.objective]
        feasible = solve_link(problem, workspace, workspace.rate_min_bps)
        workspace.totals[TOTAL.objective] = compute_cost
        if not feasible:
            break
        add_transmission(problem, workspace)
        cost = workspace.totals[TOTAL.objective]
        if abs(cost - last) <= TOLERANCE * cost and change <= TOLERANCE:
            break
        last = cost
    workspace.totals[TOTAL.sweeps] = passes
    return feasible
