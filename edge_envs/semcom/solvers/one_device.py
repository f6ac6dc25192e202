"""One device's part of P1 at given prices: its own SNR, upload time and bandwidth, in closed form but for one root.

With u = ln(1 + S) the problem of a device is, for a deadline T and a price zeta of bandwidth,

    min over u, t of  omega_2 e0 phi(u) + zeta c / (u t) + omega_2 G(T - t),   u >= u_min,  t >= (c / q) phi(u),

with G the least compute energy for the time left. It is convex in (ln u, ln t), so the constraints can be tried in
turn: none, the SNR, the power, both; and each of these with the processors at their limits.
"""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.problem import Problem, Workspace, time_price_of
from edge_envs.semcom.solvers.spectral_efficiency import (
    LARGEST_U,
    bend,
    bend_slope,
    crowding,
    crowding_slope,
    energy_ratio,
    energy_slope,
    inverse_bend,
    inverse_energy_ratio,
)

ROOT_TOLERANCE = 1e-12
"""Accuracy of ln u and ln t."""
MOST_STEPS = 100


@kernel
def settle(
    problem: Problem, work: Workspace, n: int, delay_s: float, price: float
) -> tuple[float, float, float, float]:
    """Best u, t and B of device n at the deadline T and the price zeta; stored in `work`, with its price of time.

    Returns the derivatives of ln B by ln T and ln zeta, then those of ln beta. `price` must be positive and T not below
    the device's shortest possible delay; at it, the price of time is the least of its possible values.
    """
    room = delay_s - work.least_compute_s[n]
    if room <= work.least_upload_s[n] * (1.0 + 1e-13):
        return at_shortest(problem, work, n, price)
    u = unconstrained(problem, work, n, delay_s, price)
    at_limits = work.upload_s[n] >= room
    snr_binds = u < work.u_min[n]
    if snr_binds:
        u = work.u_min[n]
        at_limits = at_least_snr(problem, work, n, delay_s, price)
    if work.upload_s[n] < work.nats[n] / work.reach_hz[n] * energy_ratio(u):
        return at_full_power(problem, work, n, delay_s, price)
    t = work.upload_s[n]
    beta = price * work.nats[n] / (u * t * t)
    store(work, n, u, t, beta)
    if snr_binds:
        if at_limits:
            return -delay_s / t, 0.0, -2.0 * delay_s / t, 1.0
        _, fall = time_price_of(problem, work, n, delay_s - t)
        stiff = 2.0 + fall * t
        return -fall * delay_s / stiff, -1.0 / stiff, -2.0 * fall * delay_s / stiff, 1.0 - 2.0 / stiff
    eta = bend_slope(u)
    if at_limits:
        stretch = delay_s / t
        return stretch * (1.0 / eta - 1.0), -1.0 / eta, stretch * (1.0 / eta - 2.0), 1.0 - 1.0 / eta
    _, fall = time_price_of(problem, work, n, delay_s - t)
    stiff = 2.0 * eta - 1.0 + fall * t * eta
    by_price, by_delay = (1.0 + fall * t) / stiff, -fall * delay_s / stiff
    double = 2.0 * eta - 1.0
    return (eta - 1.0) * by_delay, (eta - 1.0) * by_price - 1.0, double * by_delay, double * by_price - 1.0


@kernel
def store(work: Workspace, n: int, u: float, upload_s: float, time_price: float) -> None:
    """Put a device's answer into `work`."""
    work.u[n] = u
    work.upload_s[n] = upload_s
    work.bandwidth_hz[n] = work.nats[n] / (u * upload_s) if u > 0.0 else math.inf
    work.time_price[n] = time_price


@kernel
def unconstrained(problem: Problem, work: Workspace, n: int, delay_s: float, price: float) -> float:
    """u where neither SNR nor power binds; leaves t in `work.upload_s`, equal to the room where the processors are at
    their limits.

    With t = zeta c / (omega_2 e0 H(u)) and beta = zeta c / (u t^2), the root of ln beta = ln(price of time at T - t).
    """
    room = delay_s - work.least_compute_s[n]
    spread = price * work.nats[n]
    scale = spread / (problem.weight_energy * work.energy_j[n])
    low, high = 0.0, LARGEST_U
    u = min(max(work.u[n], 1e-8), LARGEST_U)
    for _ in range(MOST_STEPS):
        t = scale / bend(u)
        beta = spread / (u * t * t)
        if t >= room:
            if beta >= work.cap_price[n]:
                work.upload_s[n] = room
                return inverse_bend(scale / room, u)
            low = u
            step = -1.0
        else:
            worth, fall = time_price_of(problem, work, n, delay_s - t)
            eta = bend_slope(u)
            error = math.log(beta / worth)
            step = min(max(error / (2.0 * eta - 1.0 + fall * t * eta), -1.0), 1.0)
            if error > 0.0:
                high = u
            else:
                low = u
            work.upload_s[n] = t
            if abs(step) <= ROOT_TOLERANCE:
                return u
        following = u * math.exp(-step)
        if not low < following < high:
            following = 0.5 * (low + high)
        if high - low <= 1e-14 * low:
            return u
        u = following
    return u


@kernel
def at_least_snr(problem: Problem, work: Workspace, n: int, delay_s: float, price: float) -> bool:
    """Upload time at u = u_min where power does not bind, into `work.upload_s`; True with processors at their limits.

    The root of ln(zeta c / (u t^2)) = ln(price of time at T - t), which falls in t.
    """
    room = delay_s - work.least_compute_s[n]
    spread = price * work.nats[n] / work.u_min[n]
    if spread / (room * room) >= work.cap_price[n]:
        work.upload_s[n] = room
        return True
    low, high = 0.0, room
    t = min(max(work.upload_s[n], 1e-9 * room), 0.999 * room)
    for _ in range(MOST_STEPS):
        worth, fall = time_price_of(problem, work, n, delay_s - t)
        error = math.log(spread / (t * t * worth))
        if error > 0.0:
            low = t
        else:
            high = t
        step = min(max(error / (2.0 + fall * t), -1.0), 1.0)
        if abs(step) <= ROOT_TOLERANCE or high - low <= 1e-14 * low:
            break
        following = t * math.exp(step)
        t = following if low < following < high else 0.5 * (low + high)
    work.upload_s[n] = t
    return False


@kernel
def at_full_power(
    problem: Problem, work: Workspace, n: int, delay_s: float, price: float
) -> tuple[float, float, float, float]:
    """The case t = (c / q) phi(u): stores the device's answer, returns the derivatives as `settle` does.

    Stationarity: price of time + omega_2 pmax = K M(u), with K = zeta q^2 / c.
    """
    scale = work.nats[n] / work.reach_hz[n]
    room = delay_s - work.least_compute_s[n]
    power_cost = problem.weight_energy * problem.power_max_w[n]
    strength = price * work.reach_hz[n] / scale
    low, high = work.u_min[n], inverse_energy_ratio(room / scale)
    if low > 0.0:
        worth, fall = time_price_of(problem, work, n, delay_s - scale * energy_ratio(low))
        if worth + power_cost >= strength * crowding(low):
            store(work, n, low, scale * energy_ratio(low), worth)
            return 0.0, 0.0, -fall * delay_s, 0.0
    beta = strength * crowding(high) - power_cost
    if beta >= work.cap_price[n]:
        store(work, n, high, room, beta)
        by_delay = delay_s / (room * energy_slope(high))
        lift = 1.0 + power_cost / beta
        return -(energy_slope(high) + 1.0) * by_delay, 0.0, -crowding_slope(high) * lift * by_delay, lift
    u = min(max(work.u[n], low), high)
    if not low < u < high:
        u = 0.5 * (low + high)
    least, most = low, high
    t, worth, fall, share, stiff = 0.0, 0.0, 0.0, 0.0, 1.0
    for _ in range(MOST_STEPS):
        t = min(scale * energy_ratio(u), room)
        worth, fall = time_price_of(problem, work, n, delay_s - t)
        share = worth / (worth + power_cost)
        error = math.log((worth + power_cost) / (strength * crowding(u)))
        stiff = share * fall * t * energy_slope(u) + crowding_slope(u)
        if error > 0.0:
            most = u
        else:
            least = u
        step = min(max(error / stiff, -1.0), 1.0)
        if abs(step) <= ROOT_TOLERANCE or most - least <= 1e-14 * most:
            break
        following = u * math.exp(-step)
        u = following if least < following < most else 0.5 * (least + most)
    store(work, n, u, t, worth)
    eps = energy_slope(u)
    by_price, by_delay = 1.0 / stiff, share * fall * delay_s / stiff
    pull = fall * t * eps
    return -(eps + 1.0) * by_delay, -(eps + 1.0) * by_price, -fall * delay_s + pull * by_delay, pull * by_price


@kernel
def at_shortest(problem: Problem, work: Workspace, n: int, price: float) -> tuple[float, float, float, float]:
    """The device at its shortest possible delay: full power, the least SNR, processors at their limits."""
    u = work.u_min[n]
    power_cost = problem.weight_energy * problem.power_max_w[n]
    strength = price * work.reach_hz[n] * work.reach_hz[n] / work.nats[n]
    beta = max(work.cap_price[n], strength * crowding(u) - power_cost) if u > 0.0 else math.inf
    store(work, n, u, work.least_upload_s[n], beta)
    return 0.0, 0.0, 0.0, 0.0
