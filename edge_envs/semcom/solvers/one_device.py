"""P1 for one device at a given deadline and bandwidth price: its SNR, upload time and bandwidth.

With u = ln(1 + S), the problem of a device for a deadline T and a price zeta of bandwidth is

    min over u, t of  omega_2 e0 phi(u) + zeta c / (u t) + omega_2 G(T - t),   u >= u_min,  t >= (c / q) phi(u),

with G the least compute energy in the remaining time. The problem is convex in (ln u, ln t), so the code tries the
sets of binding constraints in turn: none, the SNR, the power, both; each also with the processors at their limits. Each
case needs at most one scalar root.
"""

from __future__ import annotations

import math

from edge_envs.core.kernels.bracket import inside_or_middle, narrowed
from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.problem import Problem, Workspace, time_price_of
from edge_envs.semcom.solvers.spectral_efficiency import (
    U_MAX,
    bandwidth_value,
    bandwidth_value_slope,
    energy_ratio,
    energy_slope,
    full_power_value,
    full_power_value_slope,
    inverse_bandwidth_value,
    inverse_energy_ratio,
)

ROOT_TOLERANCE = 1e-12
"""Accuracy of ln u and ln t."""
STEPS_MAX = 100


@kernel
def solve_device(
    problem: Problem, workspace: Workspace, n: int, delay_s: float, bandwidth_price: float
) -> tuple[float, float, float, float]:
    """Optimal u, t and B of device n at the deadline T and the bandwidth price zeta, and its time price beta.

    Stores them in the workspace. zeta must be positive and T not below the device's shortest possible delay. At the
    shortest delay beta is not unique; the smallest value is stored.

    Returns:
        The derivatives of ln B by ln T and ln zeta, then those of ln beta.
    """
    room = delay_s - workspace.compute_min_s[n]
    if room <= workspace.upload_min_s[n] * (1.0 + 1e-13):
        return at_shortest(problem, workspace, n, bandwidth_price)
    u = unconstrained(problem, workspace, n, delay_s, bandwidth_price)
    at_limits = workspace.upload_s[n] >= room
    snr_binds = u < workspace.u_min[n]
    if snr_binds:
        u = workspace.u_min[n]
        at_limits = at_least_snr(problem, workspace, n, delay_s, bandwidth_price)
    if workspace.upload_s[n] < workspace.data_nats[n] / workspace.unit_snr_hz[n] * energy_ratio(u):
        return at_full_power(problem, workspace, n, delay_s, bandwidth_price)
    t = workspace.upload_s[n]
    beta = bandwidth_price * workspace.data_nats[n] / (u * t * t)
    store(workspace, n, u, t, beta)
    if snr_binds:
        if at_limits:
            return -delay_s / t, 0.0, -2.0 * delay_s / t, 1.0
        _, decay = time_price_of(problem, workspace, n, delay_s - t)
        slope = 2.0 + decay * t
        return -decay * delay_s / slope, -1.0 / slope, -2.0 * decay * delay_s / slope, 1.0 - 2.0 / slope
    eta = bandwidth_value_slope(u)
    if at_limits:
        stretch = delay_s / t
        return stretch * (1.0 / eta - 1.0), -1.0 / eta, stretch * (1.0 / eta - 2.0), 1.0 - 1.0 / eta
    _, decay = time_price_of(problem, workspace, n, delay_s - t)
    slope = 2.0 * eta - 1.0 + decay * t * eta
    by_price, by_delay = (1.0 + decay * t) / slope, -decay * delay_s / slope
    double = 2.0 * eta - 1.0
    return (eta - 1.0) * by_delay, (eta - 1.0) * by_price - 1.0, double * by_delay, double * by_price - 1.0


@kernel
def store(workspace: Workspace, n: int, u: float, upload_s: float, time_price: float) -> None:
    """Store the solution of device n in the workspace."""
    workspace.u[n] = u
    workspace.upload_s[n] = upload_s
    workspace.bandwidth_hz[n] = workspace.data_nats[n] / (u * upload_s) if u > 0.0 else math.inf
    workspace.time_price[n] = time_price


@kernel
def unconstrained(problem: Problem, workspace: Workspace, n: int, delay_s: float, bandwidth_price: float) -> float:
    """u if neither SNR nor power binds; stores t, which is the available time if the processors are at their limits.

    With t = zeta c / (omega_2 e0 H(u)) and beta = zeta c / (u t^2), u solves ln beta = ln(time price at T - t).
    """
    room = delay_s - workspace.compute_min_s[n]
    spread = bandwidth_price * workspace.data_nats[n]
    scale = spread / (problem.weight_energy * workspace.energy_min_j[n])
    low, high = 0.0, U_MAX
    u = min(max(workspace.u[n], 1e-8), U_MAX)
    for _ in range(STEPS_MAX):
        t = scale / bandwidth_value(u)
        beta = spread / (u * t * t)
        if t >= room:
            if beta >= workspace.time_price_at_limits[n]:
                workspace.upload_s[n] = room
                return inverse_bandwidth_value(scale / room, u)
            low = u
            step = -1.0
        else:
            time_price, decay = time_price_of(problem, workspace, n, delay_s - t)
            eta = bandwidth_value_slope(u)
            error = math.log(beta / time_price)
            step = min(max(error / (2.0 * eta - 1.0 + decay * t * eta), -1.0), 1.0)
            low, high = narrowed(low, high, u, not error > 0.0)
            workspace.upload_s[n] = t
            if abs(step) <= ROOT_TOLERANCE:
                return u
        if high - low <= 1e-14 * low:
            return u
        u = inside_or_middle(u * math.exp(-step), low, high)
    return u


@kernel
def at_least_snr(problem: Problem, workspace: Workspace, n: int, delay_s: float, bandwidth_price: float) -> bool:
    """Store the upload time at u = u_min if power does not bind; return True if the processors are at their limits.

    The upload time t solves ln(zeta c / (u t^2)) = ln(time price at T - t).
    """
    room = delay_s - workspace.compute_min_s[n]
    spread = bandwidth_price * workspace.data_nats[n] / workspace.u_min[n]
    if spread / (room * room) >= workspace.time_price_at_limits[n]:
        workspace.upload_s[n] = room
        return True
    low, high = 0.0, room
    t = min(max(workspace.upload_s[n], 1e-9 * room), 0.999 * room)
    for _ in range(STEPS_MAX):
        time_price, decay = time_price_of(problem, workspace, n, delay_s - t)
        error = math.log(spread / (t * t * time_price))
        low, high = narrowed(low, high, t, error > 0.0)
        step = min(max(error / (2.0 + decay * t), -1.0), 1.0)
        if abs(step) <= ROOT_TOLERANCE or high - low <= 1e-14 * low:
            break
        t = inside_or_middle(t * math.exp(step), low, high)
    workspace.upload_s[n] = t
    return False


@kernel
def at_full_power(
    problem: Problem, workspace: Workspace, n: int, delay_s: float, bandwidth_price: float
) -> tuple[float, float, float, float]:
    """The case t = (c / q) phi(u), full power: stores the solution, returns the derivatives as `solve_device` does.

    Stationarity: time price + omega_2 pmax = K M(u), with K = zeta q^2 / c.
    """
    scale = workspace.data_nats[n] / workspace.unit_snr_hz[n]
    room = delay_s - workspace.compute_min_s[n]
    power_cost = problem.weight_energy * problem.power_max_w[n]
    strength = bandwidth_price * workspace.unit_snr_hz[n] / scale
    low, high = workspace.u_min[n], inverse_energy_ratio(room / scale)
    if low > 0.0:
        time_price, decay = time_price_of(problem, workspace, n, delay_s - scale * energy_ratio(low))
        if time_price + power_cost >= strength * full_power_value(low):
            store(workspace, n, low, scale * energy_ratio(low), time_price)
            return 0.0, 0.0, -decay * delay_s, 0.0
    beta = strength * full_power_value(high) - power_cost
    if beta >= workspace.time_price_at_limits[n]:
        store(workspace, n, high, room, beta)
        by_delay = delay_s / (room * energy_slope(high))
        beta_by_price = 1.0 + power_cost / beta
        beta_by_delay = -full_power_value_slope(high) * beta_by_price * by_delay
        return -(energy_slope(high) + 1.0) * by_delay, 0.0, beta_by_delay, beta_by_price
    u = inside_or_middle(min(max(workspace.u[n], low), high), low, high)
    least, most = low, high
    t, time_price, decay, share, slope = 0.0, 0.0, 0.0, 0.0, 1.0
    for _ in range(STEPS_MAX):
        t = min(scale * energy_ratio(u), room)
        time_price, decay = time_price_of(problem, workspace, n, delay_s - t)
        share = time_price / (time_price + power_cost)
        error = math.log((time_price + power_cost) / (strength * full_power_value(u)))
        slope = share * decay * t * energy_slope(u) + full_power_value_slope(u)
        least, most = narrowed(least, most, u, not error > 0.0)
        step = min(max(error / slope, -1.0), 1.0)
        if abs(step) <= ROOT_TOLERANCE or most - least <= 1e-14 * most:
            break
        u = inside_or_middle(u * math.exp(-step), least, most)
    store(workspace, n, u, t, time_price)
    eps = energy_slope(u)
    by_price, by_delay = 1.0 / slope, share * decay * delay_s / slope
    beta_by_u = decay * t * eps
    return (
        -(eps + 1.0) * by_delay,
        -(eps + 1.0) * by_price,
        -decay * delay_s + beta_by_u * by_delay,
        beta_by_u * by_price,
    )


@kernel
def at_shortest(
    problem: Problem, workspace: Workspace, n: int, bandwidth_price: float
) -> tuple[float, float, float, float]:
    """The device at its shortest possible delay: full power, the smallest SNR, processors at their limits."""
    u = workspace.u_min[n]
    power_cost = problem.weight_energy * problem.power_max_w[n]
    strength = bandwidth_price * workspace.unit_snr_hz[n] * workspace.unit_snr_hz[n] / workspace.data_nats[n]
    beta = max(workspace.time_price_at_limits[n], strength * full_power_value(u) - power_cost) if u > 0.0 else math.inf
    store(workspace, n, u, workspace.upload_min_s[n], beta)
    return 0.0, 0.0, 0.0, 0.0
