"""The paper's Algorithm 3: P3 and P4 in turn, from a given start, at given or at free compression rates."""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.problem import (
    LN2,
    OBJECTIVE,
    SWEEPS,
    Array,
    Problem,
    Workspace,
    prepare,
    transmit_energy,
)
from edge_envs.semcom.psnr import PsnrLaw, compression_needed, snr_needed
from edge_envs.semcom.subproblems import solve_compute, solve_link

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
