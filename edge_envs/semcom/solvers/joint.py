"""P1 at given compression rates: the global optimum over power, bandwidth, frequencies and deadline.

The problem is convex in the logarithms of its variables, so a point that satisfies the optimality conditions is the
optimum. Two scalars couple the devices: the deadline T (the prices of time add up to omega_1) and the price zeta of
bandwidth (the bandwidths add up to the total). `one_device` solves each device exactly at given (T, zeta), so Newton's
method has two unknowns, and its cost is linear in the number of devices. If T is the shortest possible or Newton's
method stalls, nested bracketed searches replace it. `finish` makes the solution exactly feasible. The certificate
(`certificates.bounds.certify_round`) compares its cost with the dual function.
"""

from __future__ import annotations

import math

from edge_envs.core.kernels.bracket import inside_or_geometric_middle
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
    least, crowd = 0.0, 0.0
    for n in range(devices):
        least = max(least, workspace.compute_min_s[n] + workspace.upload_min_s[n])
        crowd += workspace.unit_snr_hz[n] / problem.snr_min[n]
    workspace.totals[TOTAL.delay_min_s] = least
    workspace.totals[TOTAL.sweeps] = 0.0
    workspace.totals[TOTAL.bandwidth_price] = 0.0
    if crowd <= problem.bandwidth_hz:
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
    """Store initial T and zeta: those of even shares of bandwidth and of the price of time."""
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


@kernel
def sweep(
    problem: Problem, workspace: Workspace, delay_s: float, bandwidth_price: float
) -> tuple[float, float, float, float, float, float]:
    """Solve all devices at (T, zeta) and compute the residuals of the two coupling equations.

    Returns:
        ln(sum B / B_total) and ln(sum beta / omega_1), then the derivatives by ln T and ln zeta of the first residual,
        then those of the second.
    """
    band, worth = 0.0, 0.0
    band_delay, band_price, worth_delay, worth_price = 0.0, 0.0, 0.0, 0.0
    for n in range(len(problem.bits)):
        a, b, c, d = solve_device(problem, workspace, n, delay_s, bandwidth_price)
        taken, beta = workspace.bandwidth_hz[n], workspace.time_price[n]
        band += taken
        worth += beta
        band_delay += taken * a
        band_price += taken * b
        worth_delay += beta * c
        worth_price += beta * d
    workspace.totals[TOTAL.sweeps] += 1.0
    return (
        math.log(band / problem.bandwidth_hz), math.log(worth / problem.weight_time),
        band_delay / band, band_price / band, worth_delay / worth, worth_price / worth,
    )  # fmt: skip


@kernel
def newton(problem: Problem, workspace: Workspace) -> bool:
    """Newton's method in the logarithms of (T - shortest delay) and zeta; return False if it does not converge."""
    least = workspace.totals[TOTAL.delay_min_s]
    spare, bandwidth_price = workspace.totals[TOTAL.delay_s] - least, workspace.totals[TOTAL.bandwidth_price]
    best, waited = math.inf, 0
    for _ in range(NEWTON_SWEEPS_MAX):
        delay = least + spare
        r1, r2, a, b, c, d = sweep(problem, workspace, delay, bandwidth_price)
        workspace.totals[TOTAL.delay_s], workspace.totals[TOTAL.bandwidth_price] = delay, bandwidth_price
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
        if waited >= PATIENCE or not abs(determinant) > 0.0 or not size < math.inf or spare <= SPARE_MIN * least:
            break
        by_spare = (b * r2 - d * r1) / determinant
        by_price = (c * r1 - a * r2) / determinant
        scale = max(1.0, max(abs(by_spare), abs(by_price)) / 2.5)
        spare *= math.exp(by_spare / scale)
        bandwidth_price *= math.exp(by_price / scale)
    return False


@kernel
def log_step(error: float, slope: float, flat: float) -> float:
    """Newton's step -error / slope of a logarithm, limited; the largest step along `error` if slope >= `flat`."""
    step = -error / slope if slope < flat else (LOG_STEP_MAX if error > 0.0 else -LOG_STEP_MAX)
    return min(max(step, -LOG_STEP_MAX), LOG_STEP_MAX)


@kernel
def next_price(bandwidth_price: float, error: float, slope: float, flat: float, low: float, high: float) -> float:
    """The next price of bandwidth in a bracketed search; see `log_step`."""
    candidate = bandwidth_price * math.exp(log_step(error, slope, flat)) if error < math.inf else bandwidth_price * 1e6
    return inside_or_geometric_middle(candidate, low, high)


@kernel
def best_delay(problem: Problem, workspace: Workspace, bandwidth_price: float) -> tuple[float, float]:
    """T at which the prices of time add up to omega_1 for a price of bandwidth, and d ln T / d ln zeta.

    The search variable is the logarithm of the difference between T and the shortest possible delay, near which the
    prices of time diverge. If their sum is below omega_1 at the shortest delay, T is the shortest delay.
    """
    least = workspace.totals[TOTAL.delay_min_s]
    low, high = 0.0, math.inf
    spare = max(workspace.totals[TOTAL.delay_s] - least, SPARE_MIN * least)
    delay, moves = least + spare, 0.0
    for _ in range(NESTED_SWEEPS_MAX):
        delay = least + spare
        _, error, _, _, slope, by_price = sweep(problem, workspace, delay, bandwidth_price)
        moves = -by_price / slope if slope < 0.0 else 0.0
        if abs(error) <= 0.1 * TOLERANCE:
            break
        if error > 0.0:
            low = spare
        else:
            high = spare
        if high - low <= 1e-14 * low:
            break
        if spare <= SPARE_MIN * least and error < 0.0:
            delay, moves = least, 0.0
            break
        by_spare = slope * spare / delay
        candidate = inside_or_geometric_middle(spare * math.exp(log_step(error, by_spare, 0.0)), low, high)
        spare = max(candidate, SPARE_MIN * least)
    workspace.totals[TOTAL.delay_s] = delay
    return delay, moves


@kernel
def nested(problem: Problem, workspace: Workspace) -> None:
    """Bracketed search for zeta, with a search for T inside. The residual is a slope of the concave dual function."""
    bandwidth_price = workspace.totals[TOTAL.bandwidth_price]
    if not 0.0 < bandwidth_price < math.inf:
        start(problem, workspace)
        bandwidth_price = workspace.totals[TOTAL.bandwidth_price]
    low, high = 0.0, math.inf
    for _ in range(NESTED_SWEEPS_MAX):
        delay, moves = best_delay(problem, workspace, bandwidth_price)
        error, _, by_delay, by_price, _, _ = sweep(problem, workspace, delay, bandwidth_price)
        workspace.totals[TOTAL.bandwidth_price] = bandwidth_price
        if error > 0.0:
            low = bandwidth_price
        else:
            high = bandwidth_price
        if abs(error) <= TOLERANCE or high - low <= 1e-14 * low:
            break
        bandwidth_price = next_price(bandwidth_price, error, by_price + by_delay * moves, 0.0, low, high)
    share_missing_price(problem, workspace)


@kernel
def share_missing_price(problem: Problem, workspace: Workspace) -> None:
    """Raise the slowest device's price of time to reach the sum omega_1, if T is its shortest possible delay."""
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
    """Solve for the price of bandwidth alone, where the deadline binds and therefore gives T."""
    bandwidth_price = workspace.totals[TOTAL.bandwidth_price]
    if bandwidth_price <= 0.0:
        start(problem, workspace)
        bandwidth_price = workspace.totals[TOTAL.bandwidth_price]
    low, high = 0.0, math.inf
    for _ in range(NESTED_SWEEPS_MAX):
        error, _, _, slope, _, _ = sweep(problem, workspace, deadline_s, bandwidth_price)
        if error > 0.0:
            low = bandwidth_price
        else:
            high = bandwidth_price
        if abs(error) <= TOLERANCE or high - low <= 1e-14 * low or bandwidth_price > 1e200 or bandwidth_price < 1e-200:
            break
        bandwidth_price = next_price(bandwidth_price, error, slope, -1e-6, low, high)
    # `finish` must not stretch uploads beyond the deadline: raise the price until the bandwidths fit into the band.
    bandwidth_price, excess = min(bandwidth_price, high), 1e-12
    while excess < 1e-3:
        if sweep(problem, workspace, deadline_s, bandwidth_price)[0] <= 0.0:
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
    """Scale the prices of time to the sum omega_1; with a deadline, a larger sum stays as it is."""
    total = 0.0
    for n in range(len(problem.bits)):
        total += workspace.time_price[n]
    excess = 0.0
    if deadline_s < math.inf and total > problem.weight_time:
        excess = total - problem.weight_time
    scale = (problem.weight_time + excess) / total
    for n in range(len(problem.bits)):
        workspace.time_price[n] *= scale
