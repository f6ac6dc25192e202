"""Exact solutions of the paper's two subproblems: P3 (frequencies and deadline) and P4 (power and bandwidth)."""

from __future__ import annotations

import math

from edge_envs.core.kernels.bracket import inside_or_geometric_middle, inside_or_middle, narrowed
from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.problem import (
    LN2,
    TOTAL,
    Array,
    Problem,
    Workspace,
    compute_energy,
    set_frequencies,
    time_price_factor,
    time_price_of,
)
from edge_envs.semcom.solvers.spectral_efficiency import (
    bandwidth_value,
    bandwidth_value_slope,
    energy_ratio,
    inverse_bandwidth_value,
    inverse_energy_ratio,
)

TOLERANCE = 1e-13
"""Relative accuracy of the scalar equations for the deadline and for the bandwidth price."""
STEPS_MAX = 200
ROUNDING = 1e-9
"""Relative excess over a limit that is accepted as rounding."""
START_U_MAX = 30.0
"""Largest u from which the search for the bandwidth price starts."""
PRICE_MAX = 1e200
"""Largest bandwidth price; reached only if every device is at full power, where no price saves more bandwidth."""


@kernel
def common_deadline(problem: Problem, workspace: Workspace) -> float:
    """Deadline T at which the time prices add up to omega_1, eq. (31), for the stored upload times.

    Stores the prices, scaled to add up to omega_1, in `workspace.time_price`. If T is the shortest possible delay (both
    processors of the slowest device are at their limits), that device's price is raised until the sum is omega_1.
    """
    devices = len(problem.bits)
    least, slowest, relaxed = 0.0, 0, 0.0
    # At the latest finish of devices that each pay omega_1 / N, the prices add up to omega_1 at most: T is not larger.
    even = (problem.weight_time / devices / time_price_factor(problem)) ** (1.0 / 3.0)
    for n in range(devices):
        shortest = workspace.upload_s[n] + workspace.compute_min_s[n]
        if shortest > least:
            least, slowest = shortest, n
        device = min(even, problem.device_frequency_max_hz[n])
        server = min(even, workspace.server_max_hz[n])
        alone = workspace.upload_s[n] + problem.device_cycles[n] / device + workspace.server_cycles[n] / server
        relaxed = max(relaxed, alone)
    low, high = least, max(relaxed, least)
    delay, total, tried = high, 0.0, False
    for _ in range(STEPS_MAX):
        total, slope = 0.0, 0.0
        for n in range(devices):
            compute = max(delay - workspace.upload_s[n], workspace.compute_min_s[n])
            price, decay = time_price_of(problem, workspace, n, compute)
            workspace.time_price[n] = price
            total += price
            slope += price * decay
        error = math.log(total / problem.weight_time)
        low, high = narrowed(low, high, delay, error > 0.0)
        if abs(error) <= TOLERANCE or high - low <= 1e-15 * low or (delay <= least and error <= 0.0):
            break
        # Newton's step of ln(total) in ln(T).
        step = delay * math.exp(error * total / (slope * delay))
        if step <= least and low <= least and not tried:
            delay, tried = least, True
        else:
            delay = inside_or_middle(step, low, high)
    if total < problem.weight_time and delay <= least * (1.0 + ROUNDING * 1e-3):
        workspace.time_price[slowest] += problem.weight_time - total
        total = problem.weight_time
    for n in range(devices):
        workspace.time_price[n] *= problem.weight_time / total
    workspace.totals[TOTAL.delay_s] = delay
    workspace.totals[TOTAL.delay_min_s] = least
    return delay


@kernel
def solve_compute(problem: Problem, workspace: Workspace) -> None:
    """P5, eq. (21): frequencies and deadline for the upload times in `workspace.upload_s`; call `prepare` first."""
    delay = common_deadline(problem, workspace)
    energy = 0.0
    for n in range(len(problem.bits)):
        workspace.compute_s[n] = delay - workspace.upload_s[n]
        set_frequencies(problem, workspace, n, workspace.compute_s[n])
        energy += compute_energy(problem, workspace, n)
    workspace.totals[TOTAL.objective] = problem.weight_time * delay + problem.weight_energy * energy


@kernel
def link_limits(workspace: Workspace, rate_min_bps: Array, n: int) -> tuple[float, float]:
    """Smallest u of device n, set by its required SNR, and largest u, at full power and the required rate.

    The largest is below the smallest if the device cannot meet both requirements.
    """
    least = workspace.u_min[n]
    if workspace.unit_snr_hz[n] <= rate_min_bps[n] * LN2:
        return least, -1.0
    most = inverse_energy_ratio(workspace.unit_snr_hz[n] / (rate_min_bps[n] * LN2))
    # Rounding must not make a device infeasible that meets its SNR exactly at full power.
    return least, least if (1.0 - ROUNDING) * least <= most < least else most


@kernel
def bandwidth_at_price(
    problem: Problem, workspace: Workspace, rate_min_bps: Array, bandwidth_price: float
) -> tuple[float, float]:
    """Total bandwidth of the devices at a bandwidth price, and its derivative by ln(price); stores u and B.

    A device's optimum satisfies H(u) = zeta g / (omega_2 tau N0), or is at one of its limits.
    """
    total, slope = 0.0, 0.0
    for n in range(len(problem.bits)):
        rate_nats_per_s = rate_min_bps[n] * LN2
        u = workspace.u_min[n]
        if bandwidth_price > 0.0:
            worth = problem.weight_energy * workspace.energy_min_j[n] / rate_nats_per_s
            free = inverse_bandwidth_value(bandwidth_price / worth, workspace.u[n])
            u = min(max(free, workspace.u_min[n]), workspace.u_max[n])
            if u == free:
                slope -= rate_nats_per_s / (u * bandwidth_value_slope(u))
        workspace.u[n] = u
        workspace.bandwidth_hz[n] = rate_nats_per_s / u if u > 0.0 else math.inf
        total += workspace.bandwidth_hz[n]
    return total, slope


@kernel
def solve_link(problem: Problem, workspace: Workspace, rate_min_bps: Array) -> bool:
    """P4, eq. (19): power and bandwidth at required rates; returns False if no allocation meets them all.

    Transmit energy grows with the SNR, so every rate is met exactly. Sharing the bandwidth remains, a convex problem
    with one multiplier. Call `prepare` first. Upload times become w / r_min.
    """
    need = 0.0
    for n in range(len(problem.bits)):
        least, most = link_limits(workspace, rate_min_bps, n)
        if least > most or most <= 0.0:
            return False
        workspace.u_max[n] = most
        need += rate_min_bps[n] * LN2 / most
    if need > problem.bandwidth_hz * (1.0 + 1e-12):
        return False
    bandwidth_price, sweeps = 0.0, 1
    total, _ = bandwidth_at_price(problem, workspace, rate_min_bps, 0.0)
    if total > problem.bandwidth_hz:
        bandwidth_price, sweeps = bandwidth_price_of(problem, workspace, rate_min_bps)
    cost = 0.0
    for n in range(len(problem.bits)):
        u, band = workspace.u[n], workspace.bandwidth_hz[n]
        workspace.upload_s[n] = problem.bits[n] / rate_min_bps[n]
        workspace.power_w[n] = min(
            math.expm1(u) * problem.noise_w_per_hz * band / problem.gain[n], problem.power_max_w[n]
        )
        cost += problem.weight_energy * (workspace.energy_min_j[n] * energy_ratio(u))
    workspace.totals[TOTAL.objective] = cost
    workspace.totals[TOTAL.bandwidth_price] = bandwidth_price
    workspace.totals[TOTAL.sweeps] = sweeps
    return True


@kernel
def bandwidth_price_of(problem: Problem, workspace: Workspace, rate_min_bps: Array) -> tuple[float, int]:
    """Price at which the devices' bandwidths add up to the total, and the sweeps needed; stores u and B there."""
    bandwidth_price = 0.0
    for n in range(len(problem.bits)):
        # Start at the largest price that a device with an even share would pay.
        rate_nats_per_s = rate_min_bps[n] * LN2
        even = min(rate_nats_per_s * len(problem.bits) / problem.bandwidth_hz, START_U_MAX)
        bandwidth_price = max(
            bandwidth_price, problem.weight_energy * workspace.energy_min_j[n] / rate_nats_per_s * bandwidth_value(even)
        )
    low, high = 0.0, math.inf
    sweeps = 1
    while sweeps < STEPS_MAX:
        sweeps += 1
        total, slope = bandwidth_at_price(problem, workspace, rate_min_bps, bandwidth_price)
        error = math.log(total / problem.bandwidth_hz)
        low, high = narrowed(low, high, bandwidth_price, error > 0.0)
        if abs(error) <= TOLERANCE or high - low <= 1e-15 * low or bandwidth_price > PRICE_MAX:
            break
        # Newton's step of ln(total) in ln(price). The slope is 0 where all devices are at their limits.
        step = bandwidth_price * math.exp(min(max(-error * total / min(slope, -1e-12 * total), -12.0), 12.0))
        bandwidth_price = inside_or_geometric_middle(step, low, high)
    return bandwidth_price, sweeps
