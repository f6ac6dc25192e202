"""A lower bound on P1 from any prices: the Lagrangian dual function, whose gap to a solution certifies it."""

from __future__ import annotations

import math

from edge_envs.core.compiled import kernel
from edge_envs.semcom.nats import energy_ratio, inverse_bend_root, inverse_crowding
from edge_envs.semcom.problem import BAND_PRICE, Problem, Workspace, least_compute_cost


@kernel
def dual_value(problem: Problem, work: Workspace, deadline_s: float) -> float:
    """Value of the Lagrangian dual at the prices in `work`: no allocation whatever costs less.

    Prices of time are first scaled to add up to omega_1; with a deadline that binds they may add up to more, and the
    excess is the price of the deadline. The minimum over T is then zero, and every device's minimum is in closed form.
    """
    total = 0.0
    for n in range(len(problem.bits)):
        total += work.time_price[n]
    excess = 0.0
    if deadline_s < math.inf and total > problem.weight_time:
        excess = total - problem.weight_time
    scale = (problem.weight_time + excess) / total
    price = work.totals[BAND_PRICE]
    value = -price * problem.bandwidth_hz
    if excess > 0.0:
        value -= excess * deadline_s
    for n in range(len(problem.bits)):
        beta = work.time_price[n] * scale
        work.time_price[n] = beta
        value += least_link_cost(problem, work, n, beta, price) + least_compute_cost(problem, work, n, beta)
    return value


@kernel
def least_link_cost(problem: Problem, work: Workspace, n: int, beta: float, price: float) -> float:
    """min over u, t of omega_2 e0 phi(u) + beta t + zeta c / (u t), with u >= u_min and t >= (c / q) phi(u)."""
    worth = problem.weight_energy * work.energy_j[n]
    scale = work.nats[n] / work.reach_hz[n]
    least = work.u_min[n]
    if price <= 0.0:
        return (worth + beta * scale) * energy_ratio(least)
    spread = price * work.nats[n]
    u = max(inverse_bend_root(math.sqrt(spread * beta) / worth, work.u[n]), least)
    t = math.sqrt(spread / (u * beta))
    if t < scale * energy_ratio(u):
        u = max(inverse_crowding((worth + beta * scale) / (price * work.reach_hz[n]), work.u[n]), least)
        t = scale * energy_ratio(u)
    return worth * energy_ratio(u) + beta * t + spread / (u * t)
