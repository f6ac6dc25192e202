"""Certificates: the relative excess of what an allocation costs over a lower bound, plus what it violates.

Cost and violations are worked out from the powers, bandwidths and frequencies alone, the bounds from the prices alone
(`dual`): how a solver found them makes no difference.
"""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.certificates.dual import compute_bound, link_bound, round_bound, upload_of, upload_time
from edge_envs.semcom.solvers.problem import BAND_PRICE, BOUND, Array, Problem, Workspace

ROUNDING = 1e-9
"""Relative excess over a limit that counts as rounding."""


@kernel
def certificate_of(cost: float, bound: float, violation: float) -> float:
    """Relative distance between cost and lower bound, plus the violation; inf where there is no positive bound.

    At least the relative loss of a feasible allocation, and 0 up to rounding for an optimum with its prices. A cost
    below the bound, which only an infeasible allocation or a wrong bound has, counts as much as one above it.
    """
    if not (0.0 < bound < math.inf and cost < math.inf):
        return math.inf
    return abs(cost / bound - 1.0) + violation


@kernel
def certify_round(problem: Problem, work: Workspace, deadline_s: float) -> float:
    """Certificate of the whole round in `work` for P1 at given compression rates; stores BOUND."""
    cost, violation = round_cost(
        problem, work.power_w, work.bandwidth_hz, work.device_frequency_hz, work.server_frequency_hz, deadline_s
    )
    bound = round_bound(problem, work.time_price, work.totals[BAND_PRICE], work.u, deadline_s)
    work.totals[BOUND] = bound
    return certificate_of(cost, bound, violation)


@kernel
def certify_compute(problem: Problem, work: Workspace, at_link: bool) -> float:
    """Certificate of the frequencies in `work` for P3 at given compression rates; stores BOUND.

    Upload times are those in `work`; with `at_link` those of its powers and bandwidths, whose transmit energy then
    counts in cost and bound, so that both are those of a whole round.
    """
    delay, energy, given, violation = 0.0, 0.0, 0.0, 0.0
    for n in range(len(problem.bits)):
        device, server = work.device_frequency_hz[n], work.server_frequency_hz[n]
        if not (device > 0.0 and server > 0.0):
            return math.inf
        upload = upload_of(problem, work, at_link, n)
        if at_link:
            given += problem.weight_energy * work.power_w[n] * upload
        delay = max(delay, upload + problem.device_cycles[n] / device + problem.server_cycles[n] / server)
        energy += computing_energy(problem, device, server, n)
        violation = max(violation, beyond(device, problem.device_frequency_max_hz[n]))
        violation = max(violation, beyond(server, problem.server_frequency_max_hz[n]))
    bound = compute_bound(problem, work, at_link) + given
    work.totals[BOUND] = bound
    return certificate_of(problem.weight_time * delay + problem.weight_energy * energy + given, bound, violation)


@kernel
def certify_link(problem: Problem, work: Workspace, rate_min_bps: Array) -> float:
    """Certificate of the powers and bandwidths in `work` for P4 at required rates; stores BOUND."""
    cost, violation = link_cost(problem, rate_min_bps, work.power_w, work.bandwidth_hz)
    bound = link_bound(problem, rate_min_bps, work.totals[BAND_PRICE], work.u)
    work.totals[BOUND] = bound
    return certificate_of(cost, bound, violation)


@kernel
def round_cost(
    problem: Problem, power_w: Array, bandwidth_hz: Array, device_hz: Array, server_hz: Array, deadline_s: float
) -> tuple[float, float]:
    """omega_1 T + omega_2 E of an allocation, eq. (16), and its largest relative violation of a limit."""
    delay, energy, band, violation = 0.0, 0.0, 0.0, 0.0
    for n in range(len(problem.bits)):
        if not (power_w[n] > 0.0 and bandwidth_hz[n] > 0.0 and device_hz[n] > 0.0 and server_hz[n] > 0.0):
            return math.inf, math.inf
        upload = upload_time(problem, power_w[n], bandwidth_hz[n], n)
        compute = problem.device_cycles[n] / device_hz[n] + problem.server_cycles[n] / server_hz[n]
        delay = max(delay, upload + compute)
        energy += power_w[n] * upload + computing_energy(problem, device_hz[n], server_hz[n], n)
        band += bandwidth_hz[n]
        violation = max(violation, link_violation(problem, power_w[n], bandwidth_hz[n], n))
        violation = max(violation, beyond(device_hz[n], problem.device_frequency_max_hz[n]))
        violation = max(violation, beyond(server_hz[n], problem.server_frequency_max_hz[n]))
    violation = max(violation, beyond(band, problem.bandwidth_hz))
    if deadline_s < math.inf:
        violation = max(violation, beyond(delay, deadline_s))
    return problem.weight_time * delay + problem.weight_energy * energy, violation


@kernel
def link_cost(problem: Problem, rate_min_bps: Array, power_w: Array, bandwidth_hz: Array) -> tuple[float, float]:
    """omega_2 times the transmit energies, eq. (19), and the largest relative violation of a limit of P4."""
    energy, band, violation = 0.0, 0.0, 0.0
    for n in range(len(problem.bits)):
        if not (power_w[n] > 0.0 and bandwidth_hz[n] > 0.0):
            return math.inf, math.inf
        upload = upload_time(problem, power_w[n], bandwidth_hz[n], n)
        energy += power_w[n] * upload
        band += bandwidth_hz[n]
        violation = max(violation, link_violation(problem, power_w[n], bandwidth_hz[n], n))
        violation = max(violation, beyond(rate_min_bps[n] * upload, problem.bits[n]))
    return problem.weight_energy * energy, max(violation, beyond(band, problem.bandwidth_hz))


@kernel
def computing_energy(problem: Problem, device_hz: float, server_hz: float, n: int) -> float:
    """E_cmp + E_S of device n, eqs. (10) and (13) [J]."""
    return (
        problem.device_energy_coefficient * problem.device_cycles[n] * device_hz * device_hz
        + problem.server_energy_coefficient * problem.server_cycles[n] * server_hz * server_hz
    )


@kernel
def link_violation(problem: Problem, power_w: float, bandwidth_hz: float, n: int) -> float:
    """Larger relative violation of device n's limits on power and SNR."""
    snr = power_w * problem.gain[n] / (problem.noise_w_per_hz * bandwidth_hz)
    return max(beyond(power_w, problem.power_max_w[n]), beyond(problem.snr_min[n], snr))


@kernel
def beyond(value: float, limit: float) -> float:
    """Relative excess of a value over its limit: 0 up to rounding, inf for what is not a number."""
    if value <= limit * (1.0 + ROUNDING):
        return 0.0
    excess = value / limit - 1.0
    return excess if excess > 0.0 else math.inf
