"""Certificates: the relative excess of an allocation's cost over a lower bound, plus its violation of the limits.

Cost and violations depend on the powers, bandwidths and frequencies only, and the bounds (`dual`) on the prices only.
Nothing else that a solver computed is read.
"""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.certificates.dual import compute_bound, link_bound, round_bound, upload_of, upload_time
from edge_envs.semcom.solvers.problem import TOTAL, Array, Problem, Workspace

ROUNDING = 1e-9
"""Relative excess over a limit that is accepted as rounding."""


@kernel
def certificate_of(cost: float, bound: float, violation: float) -> float:
    """Relative distance between cost and lower bound, plus the violation; inf if the bound is not positive.

    The relative loss of a feasible allocation is not larger. For an optimum with its prices the certificate is 0 up to
    rounding. A cost below the bound means an infeasible allocation or a wrong bound; it counts like a cost above the
    bound.
    """
    if not (0.0 < bound < math.inf and cost < math.inf):
        return math.inf
    return abs(cost / bound - 1.0) + violation


@kernel
def certify_round(problem: Problem, workspace: Workspace, deadline_s: float) -> float:
    """Certificate of the round in the workspace for P1 at given compression rates; stores the lower bound."""
    cost, violation = round_cost(problem, workspace, deadline_s)
    bound = round_bound(problem, workspace.time_price, workspace.totals[TOTAL.bandwidth_price], workspace.u, deadline_s)
    workspace.totals[TOTAL.lower_bound] = bound
    return certificate_of(cost, bound, violation)


@kernel
def certify_compute(problem: Problem, workspace: Workspace, at_link: bool) -> float:
    """Certificate of the frequencies in the workspace for P3 at given compression rates; stores the lower bound.

    Upload times are those in the workspace. With `at_link` they follow from its powers and bandwidths, and the transmit
    energy is added to cost and bound, so that both are those of a whole round.
    """
    delay, energy, given, violation = 0.0, 0.0, 0.0, 0.0
    for n in range(len(problem.bits)):
        device, server = workspace.device_frequency_hz[n], workspace.server_frequency_hz[n]
        if not (device > 0.0 and server > 0.0):
            return math.inf
        upload = upload_of(problem, workspace, at_link, n)
        if at_link:
            given += problem.weight_energy * workspace.power_w[n] * upload
        delay = max(delay, upload + problem.device_cycles[n] / device + problem.server_cycles[n] / server)
        energy += computing_energy(problem, device, server, n)
        violation = max(violation, beyond(device, problem.device_frequency_max_hz[n]))
        violation = max(violation, beyond(server, problem.server_frequency_max_hz[n]))
    bound = compute_bound(problem, workspace, at_link) + given
    workspace.totals[TOTAL.lower_bound] = bound
    return certificate_of(problem.weight_time * delay + problem.weight_energy * energy + given, bound, violation)


@kernel
def certify_link(problem: Problem, workspace: Workspace, rate_min_bps: Array) -> float:
    """Certificate of the powers and bandwidths in the workspace for P4 at required rates; stores the lower bound."""
    cost, violation = link_cost(problem, rate_min_bps, workspace.power_w, workspace.bandwidth_hz)
    bound = link_bound(problem, rate_min_bps, workspace.totals[TOTAL.bandwidth_price], workspace.u)
    workspace.totals[TOTAL.lower_bound] = bound
    return certificate_of(cost, bound, violation)


@kernel
def round_cost(problem: Problem, workspace: Workspace, deadline_s: float) -> tuple[float, float]:
    """omega_1 T + omega_2 E of the allocation, eq. (16), and its largest relative violation of a limit."""
    power_w, bandwidth_hz = workspace.power_w, workspace.bandwidth_hz
    device_hz, server_hz = workspace.device_frequency_hz, workspace.server_frequency_hz
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
def link_violation(problem: Problem, power_w: float, bandwidth_hz: float, n: int) -> float:
    """The larger of the relative violations of device n's limits on power and SNR."""
    snr = power_w * problem.gain[n] / (problem.noise_w_per_hz * bandwidth_hz)
    return max(beyond(power_w, problem.power_max_w[n]), beyond(problem.snr_min[n], snr))


@kernel
def beyond(value: float, limit: float) -> float:
    """Relative excess of a value over its limit: 0 up to rounding, inf for NaN."""
    if value <= limit * (1.0 + ROUNDING):
        return 0.0
    excess = value / limit - 1.0
    return excess if excess > 0.0 else math.inf


@kernel
def computing_energy(problem: Problem, device_hz: float, server_hz: float, n: int) -> float:
    """E_cmp + E_S of device n, eqs. (10) and (13) [J]."""
    return (
        problem.device_energy_coefficient * problem.device_cycles[n] * device_hz * device_hz
        + problem.server_energy_coefficient * problem.server_cycles[n] * server_hz * server_hz
    )
