"""P1 at given compression rates: the global optimum over power, bandwidth, frequencies and deadline.

The problem is convex in the logarithms of its variables, so a point that satisfies the optimality conditions is the
optimum. Two scalars couple the devices: the deadline T (the time prices add up to omega_1) and the price zeta of
bandwidth (the bandwidths add up to the total). `one_device` solves each device exactly at given (T, zeta), so Newton's
method has two unknowns, and its cost is linear in the number of devices. If T is the shortest possible or Newton's
method stalls, nested bracketed searches replace it. `finish` makes the solution exactly feasible. The certificate
(`certificates.bounds.certify_round`) compares its cost with the dual function.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from edge_envs.core.kernels.bracket import inside_or_geometric_middle, narrowed
from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.one_device import solve_device
from edge_envs.semcom.solvers.problem import (
    TOTAL,
    Problem,
    Workspace,
    compute_energy,
    prepare,
    set_frequencies,
    time_price_factor,
    transmit_energy,
)
from edge_envs.semcom.solvers.spectral_efficiency import bandwidth_value, energy_ratio, inverse_energy_ratio
from edge_envs.semcom.solvers.subproblems import common_deadline

TOLERANCE = 1e-9
"""Relative accuracy of the two outer equations."""
NEWTON_SWEEPS_MAX = 40
PATIENCE = 5
"""Newton steps without a decrease of the residual by 30 % before the nested searches replace the method."""
NESTED_SWEEPS_MAX = 120
LOG_STEP_MAX = 12.0
"""Largest change of a logarithm in one step of the nested searches."""
SPARE_MIN = 1e-14
"""Smallest difference between T and the shortest possible delay, relative to the latter."""


@kernel
def solve(problem: Problem, workspace: Workspace, deadline_s: float) -> None:
    """Solve P1 at given compression rates, with T <= `deadline_s`, and store the solution in the workspace.

    The caller must make sure that `snr_min` is finite and the deadline attainable. All result arrays and all totals
    except the lower bound are written.
    """
    prepare(problem, workspace)
    devices = len(problem.bits)
    least, bandwidth_needed_hz = 0.0, 0.0
    for n in range(devices):
        least = max(least, workspace.compute_min_s[n] + workspace.upload_min_s[n])
        bandwidth_needed_hz += workspace.unit_snr_hz[n] / problem.snr_min[n]
    workspace.totals[TOTAL.delay_min_s] = least
    workspace.totals[TOTAL.sweeps] = 0.0
    workspace.totals[TOTAL.bandwidth_price] = 0.0
    if bandwidth_needed_hz <= problem.bandwidth_hz:
        ample_bandwidth(problem, workspace)
    else:
        start(problem, workspace)
        if not newton(problem, workspace):
            nested(problem, workspace)
    if workspace.totals[TOTAL.delay_s] > deadline_s:
        hold_deadline(problem, workspace, deadline_s)
    finish(problem, workspace)
    scale_time_prices(problem, workspace, deadline_s)


@kernel
def ample_bandwidth(problem: Problem, workspace: Workspace) -> None:
    """Solve for the deadline alone, where all devices fit into the band at full power and their smallest SNR."""
    for n in range(len(problem.bits)):
        workspace.u[n] = workspace.u_min[n]
        workspace.upload_s[n] = workspace.upload_min_s[n]
        workspace.bandwidth_hz[n] = workspace.data_nats[n] / (workspace.u[n] * workspace.upload_s[n])
    common_deadline(problem, workspace)


@kernel
def start(problem: Problem, workspace: Workspace) -> None:
    """Store initial T and zeta: those of even shares of bandwidth and of the time price."""
    devices = len(problem.bits)
    even = (problem.weight_time / (time_price_factor(problem) * devices)) ** (1.0 / 3.0)
    delay, bandwidth_price = 1.05 * workspace.totals[TOTAL.delay_min_s], 0.0
    for n in range(devices):
        u = max(workspace.u_min[n], min(4.0, math.log1p(workspace.unit_snr_hz[n] * devices / problem.bandwidth_hz)))
        upload = max(
            workspace.data_nats[n] * devices / (problem.bandwidth_hz * u),
            workspace.data_nats[n] / workspace.unit_snr_hz[n] * energy_ratio(u),
        )
        compute = max(workspace.compute_min_s[n], (problem.device_cycles[n] + workspace.server_cycles[n]) / even)
        delay = max(delay, upload + compute)
        bandwidth_price += (
            problem.weight_energy * workspace.energy_min_j[n] * bandwidth_value(u) / (u * problem.bandwidth_hz)
        )
        workspace.u[n] = u
        workspace.upload_s[n] = upload
    workspace.totals[TOTAL.delay_s] = delay
    workspace.totals[TOTAL.bandwidth_price] = bandwidth_price


class Residuals(NamedTuple):
    """Logarithmic residuals of the two coupling equations at (T, zeta), and their derivatives."""

    bandwidth: float  # ln(sum B / B_total)
    time_price: float  # ln(sum beta / omega_1)
    bandwidth_by_delay: float  # d / d ln T
    bandwidth_by_price: float  # d / d ln zeta
    time_price_by_delay: float
    time_price_by_price: float


@kernel
def sweep(problem: Problem, workspace: Workspace, delay_s: float, bandwidth_price: float) -> Residuals:
    """Solve all devices at (T, zeta) and compute the residuals of the two coupling equations."""
    band, time_price = 0.0, 0.0
    band_by_delay, band_by_price, time_price_by_delay, time_price_by_price = 0.0, 0.0, 0.0, 0.0
    for n in range(len(problem.bits)):
        a, b, c, d = solve_device(problem, workspace, n, delay_s, bandwidth_price)
        taken, beta = workspace.bandwidth_hz[n], workspace.time_price[n]
        band += taken
        time_price += beta
        band_by_delay += taken * a
        band_by_price += taken * b
        time_price_by_delay += beta * c
        time_price_by_price += beta * d
    workspace.totals[TOTAL.sweeps] += 1.0
    return Residuals(
        math.log(band / problem.bandwidth_hz),
        math.log(time_price / problem.weight_time),
        band_by_delay / band,
        band_by_price / band,
        time_price_by_delay / time_price,
        time_price_by_price / time_price,
    )


@kernel
def newton(problem: Problem, workspace: Workspace) -> bool:
    """Newton's method in the logarithms of (T - shortest delay) and zeta; return False if it does not converge."""
    least = workspace.totals[TOTAL.delay_min_s]
    spare, bandwidth_price = workspace.totals[TOTAL.delay_s] - least, workspace.totals[TOTAL.bandwidth_price]
    best, waited = math.inf, 0
    for _ in range(NEWTON_SWEEPS_MAX):
        delay = least + spare
        residuals = sweep(problem, workspace, delay, bandwidth_price)
        workspace.totals[TOTAL.delay_s], workspace.totals[TOTAL.bandwidth_price] = delay, bandwidth_price
        size = max(abs(residuals.bandwidth), abs(residuals.time_price))
        if size <= TOLERANCE:
            return True
        if size < 0.7 * best:
            best, waited = size, 0
        else:
            waited += 1
        a, b = residuals.bandwidth_by_delay * (spare / delay), residuals.bandwidth_by_price
        c, d = residuals.time_price_by_delay * (spare / delay), residuals.time_price_by_price
        determinant = a * d - b * c
        if waited >= PATIENCE or not abs(determinant) > 0.0 or not size < math.inf or spare <= SPARE_MIN * least:
            break
        spare_step = (b * residuals.time_price - d * residuals.bandwidth) / determinant
        price_step = (c * residuals.bandwidth - a * residuals.time_price) / determinant
        scale = max(1.0, max(abs(spare_step), abs(price_step)) / 2.5)
        spare *= math.exp(spare_step / scale)
        bandwidth_price *= math.exp(price_step / scale)
    return False


@kernel
def log_step(error: float, slope: float, flat: float) -> float:
    """Newton's step -error / slope of a logarithm, limited; the largest step along `error` if slope >= `flat`."""
    step = -error / slope if slope < flat else (LOG_STEP_MAX if error > 0.0 else -LOG_STEP_MAX)
    return min(max(step, -LOG_STEP_MAX), LOG_STEP_MAX)


@kernel
def next_price(bandwidth_price: float, error: float, slope: float, flat: float, low: float, high: float) -> float:
    """The next bandwidth price in a bracketed search; see `log_step`."""
    candidate = bandwidth_price * math.exp(log_step(error, slope, flat)) if error < math.inf else bandwidth_price * 1e6
    return inside_or_geometric_middle(candidate, low, high)


@kernel
def best_delay(problem: Problem, workspace: Workspace, bandwidth_price: float) -> tuple[float, float]:
    """T at which the time prices add up to omega_1 for a bandwidth price, and d ln T / d ln zeta.

    The search variable is the logarithm of the difference between T and the shortest possible delay, near which the
    time prices diverge. If their sum is below omega_1 at the shortest delay, T is the shortest delay.
    """
    least = workspace.totals[TOTAL.delay_min_s]
    low, high = 0.0, math.inf
    spare = max(workspace.totals[TOTAL.delay_s] - least, SPARE_MIN * least)
    delay, delay_by_price = least + spare, 0.0
    for _ in range(NESTED_SWEEPS_MAX):
        delay = least + spare
        residuals = sweep(problem, workspace, delay, bandwidth_price)
        error, slope = residuals.time_price, residuals.time_price_by_delay
        delay_by_price = -residuals.time_price_by_price / slope if slope < 0.0 else 0.0
        if abs(error) <= 0.1 * TOLERANCE:
            break
        low, high = narrowed(low, high, spare, error > 0.0)
        if high - low <= 1e-14 * low:
            break
        if spare <= SPARE_MIN * least and error < 0.0:
            delay, delay_by_price = least, 0.0
            break
        by_spare = slope * spare / delay
        candidate = inside_or_geometric_middle(spare * math.exp(log_step(error, by_spare, 0.0)), low, high)
        spare = max(candidate, SPARE_MIN * least)
    workspace.totals[TOTAL.delay_s] = delay
    return delay, delay_by_price


@kernel
def nested(problem: Problem, workspace: Workspace) -> None:
    """Bracketed search for zeta, with a search for T inside. The residual is a slope of the concave dual function."""
    bandwidth_price = workspace.totals[TOTAL.bandwidth_price]
    if not 0.0 < bandwidth_price < math.inf:
        start(problem, workspace)
        bandwidth_price = workspace.totals[TOTAL.bandwidth_price]
    low, high = 0.0, math.inf
    for _ in range(NESTED_SWEEPS_MAX):
        delay, delay_by_price = best_delay(problem, workspace, bandwidth_price)
        residuals = sweep(problem, workspace, delay, bandwidth_price)
        error = residuals.bandwidth
        workspace.totals[TOTAL.bandwidth_price] = bandwidth_price
        low, high = narrowed(low, high, bandwidth_price, error > 0.0)
        if abs(error) <= TOLERANCE or high - low <= 1e-14 * low:
            break
        slope = residuals.bandwidth_by_price + residuals.bandwidth_by_delay * delay_by_price
        bandwidth_price = next_price(bandwidth_price, error, slope, 0.0, low, high)
    share_missing_price(problem, workspace)


@kernel
def share_missing_price(problem: Problem, workspace: Workspace) -> None:
    """Raise the slowest device's time price to reach the sum omega_1, if T is its shortest possible delay."""
    total, slowest, latest = 0.0, 0, 0.0
    for n in range(len(problem.bits)):
        total += workspace.time_price[n]
        shortest = workspace.compute_min_s[n] + workspace.upload_min_s[n]
        if shortest > latest:
            slowest, latest = n, shortest
    if total < problem.weight_time and workspace.totals[TOTAL.delay_s] <= latest * (1.0 + 1e-9):
        workspace.time_price[slowest] += problem.weight_time - total


@kernel
def least_bandwidth(problem: Problem, workspace: Workspace, delay_s: float) -> float:
    """Smallest total bandwidth with which all devices can finish by `delay_s` [Hz]; inf if none is enough."""
    total = 0.0
    for n in range(len(problem.bits)):
        room = delay_s - workspace.compute_min_s[n]
        if room < workspace.upload_min_s[n] or room <= 0.0:
            return math.inf
        u = inverse_energy_ratio(room * workspace.unit_snr_hz[n] / workspace.data_nats[n])
        total += workspace.unit_snr_hz[n] / math.expm1(u) if u > 0.0 else math.inf
    return total


@kernel
def hold_deadline(problem: Problem, workspace: Workspace, deadline_s: float) -> None:
    """Solve for the bandwidth price alone, where the deadline binds and therefore gives T."""
    bandwidth_price = workspace.totals[TOTAL.bandwidth_price]
    if bandwidth_price <= 0.0:
        start(problem, workspace)
        bandwidth_price = workspace.totals[TOTAL.bandwidth_price]
    low, high = 0.0, math.inf
    for _ in range(NESTED_SWEEPS_MAX):
        residuals = sweep(problem, workspace, deadline_s, bandwidth_price)
        error = residuals.bandwidth
        low, high = narrowed(low, high, bandwidth_price, error > 0.0)
        if abs(error) <= TOLERANCE or high - low <= 1e-14 * low or bandwidth_price > 1e200 or bandwidth_price < 1e-200:
            break
        bandwidth_price = next_price(bandwidth_price, error, residuals.bandwidth_by_price, -1e-6, low, high)
    # `finish` must not stretch uploads beyond the deadline: raise the price until the bandwidths fit into the band.
    bandwidth_price, excess = min(bandwidth_price, high), 1e-12
    while excess < 1e-3:
        if sweep(problem, workspace, deadline_s, bandwidth_price).bandwidth <= 0.0:
            break
        bandwidth_price *= 1.0 + excess
        excess *= 2.0
    workspace.totals[TOTAL.delay_s] = deadline_s
    workspace.totals[TOTAL.bandwidth_price] = bandwidth_price


@kernel
def finish(problem: Problem, workspace: Workspace) -> None:
    """Make the solution exactly feasible, set frequencies and powers, and compute the delay and the objective.

    If the bandwidths exceed the total by rounding, all uploads are stretched: u, and with it energies and SNRs, do not
    change, and powers fall. The slowest device then determines the delay.
    """
    devices = len(problem.bits)
    band = 0.0
    for n in range(devices):
        band += workspace.bandwidth_hz[n]
    stretch = max(1.0, band / problem.bandwidth_hz)
    delay = 0.0
    for n in range(devices):
        compute = max(workspace.totals[TOTAL.delay_s] - workspace.upload_s[n], workspace.compute_min_s[n])
        workspace.upload_s[n] *= stretch
        workspace.bandwidth_hz[n] /= stretch
        delay = max(delay, compute + workspace.upload_s[n])
    cost = problem.weight_time * delay
    for n in range(devices):
        workspace.compute_s[n] = delay - workspace.upload_s[n]
        set_frequencies(problem, workspace, n, workspace.compute_s[n])
        transmit = transmit_energy(workspace, n)
        workspace.power_w[n] = min(transmit / workspace.upload_s[n], problem.power_max_w[n])
        cost += problem.weight_energy * (transmit + compute_energy(problem, workspace, n))
    workspace.totals[TOTAL.delay_s] = delay
    workspace.totals[TOTAL.objective] = cost


@kernel
def scale_time_prices(problem: Problem, workspace: Workspace, deadline_s: float) -> None:
    """Scale the time prices to the sum omega_1; with a deadline, a larger sum stays as it is."""
    total = 0.0
    for n in range(len(problem.bits)):
        total += workspace.time_price[n]
    excess = 0.0
    if deadline_s < math.inf and total > problem.weight_time:
        excess = total - problem.weight_time
    scale = (problem.weight_time + excess) / total
    for n in range(len(problem.bits)):
        workspace.time_price[n] *= scale
