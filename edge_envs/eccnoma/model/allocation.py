"""One frame's allocation at given cuts: subchannels and powers of both directions, the server's units, the delays."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.config import EQUAL, FDMA, LI_GD, MOST, OPTIMAL, RANDOM, TDMA, Parameters
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.model.workspace import DEVICE_COST, SERVER_COST, SERVER_GAP, UNITS_FREE, UNITS_USED
from edge_envs.eccnoma.solvers import assignment_others, assignment_search, certificates, relaxation
from edge_envs.eccnoma.solvers.radio import ASSIGNMENT_GAP, COST, POWER_GAP, UPLINK, Link, Radio
from edge_envs.eccnoma.solvers.relaxation import Relaxation
from edge_envs.eccnoma.solvers.server_units import (
    POOL_COST,
    POOL_USED,
    best_speed,
    compensation,
    edge_cost,
    share_pool,
    units_for,
)


@kernel_part
def bands_of(p: Parameters, s: State, row: int) -> int:
    """Into how many bands the spectrum is cut: with FDMA one per user of the AP with the most users."""
    if p.access != FDMA:
        return p.num_subchannels
    most = 0
    for n in range(p.num_aps):
        count = 0
        for u in range(p.num_users):
            count += s.ap[row, u] == n
        most = max(most, count)
    return most


@kernel_part
def uplink(p: Parameters, bands: int) -> Link:
    """The uplink's constants on one of so many bands."""
    band_hz = p.bandwidth_up_hz / bands
    capacity = 1 if p.access == FDMA else p.capacity
    return Link(UPLINK, band_hz, p.noise_density_w_hz * band_hz, p.power_up_min_w, p.power_up_max_w, capacity)


@kernel_part
def downlink(p: Parameters, bands: int) -> Link:
    """The downlink's constants on one of so many bands."""
    band_hz = p.bandwidth_down_hz / bands
    capacity = 1 if p.access == FDMA else p.capacity
    noise_w = p.noise_density_w_hz * band_hz
    return Link(p.downlink, band_hz, noise_w, p.power_down_min_w, p.power_down_max_w, capacity)


@kernel_part
def pose(p: Parameters, s: State, row: int) -> None:
    """Put bits, work and weights at the row's cuts into the work space, and what the devices do themselves.

    With Q tasks served one after the other, the delay of a task is waited for Q (Q + 1) / 2 times, its energy spent Q
    times.
    """
    w = s.work
    w.report[DEVICE_COST] = 0.0
    for u in range(p.num_users):
        network, c, queue = s.network[row, u], s.choice[row, u], s.queue[row, u]
        busy = queue > 0.0
        sends = busy and p.bits_up[network, c] > 0.0
        w.task_weight[u] = 0.5 * queue * (queue + 1.0)
        w.device_s[u] = p.device_flop[network, c] / s.speed_flop_s[row, u]
        w.device_j[u] = p.device_flop[network, c] * p.device_j_per_flop
        w.server_weight[u] = p.delay_weight * w.task_weight[u]
        w.server_coefficient[u] = p.energy_weight * queue * p.server_coefficient
        w.work_flop[u] = p.server_flop[network, c] if busy else 0.0
        w.report[DEVICE_COST] += w.server_weight[u] * w.device_s[u] + p.energy_weight * queue * w.device_j[u]
        w.up.ap[u] = w.down.ap[u] = s.ap[row, u]
        w.up.active[u] = w.down.active[u] = sends
        w.up.delay_cost[u] = w.server_weight[u] * p.bits_up[network, c] if sends else 0.0
        w.up.energy_cost[u] = p.energy_weight * queue * p.bits_up[network, c] if sends else 0.0
        w.down.delay_cost[u] = w.server_weight[u] * p.result_bits if sends else 0.0
        w.down.energy_cost[u] = p.energy_weight * queue * p.result_bits if sends else 0.0


@kernel
def solve_radio(
    p: Parameters, s: State, row: int, link: Link, w: Radio, x: Relaxation, gain: NDArray[np.float64], bands: int
) -> None:
    """Subchannels, powers and rates of one direction, as configured."""
    last = 0 if p.full_power else assignment_search.TIGHT_ITERATIONS
    if p.access == TDMA:
        assignment_others.share_time(link, w, gain, row)
    elif p.assignment == RANDOM:
        assignment_others.place_at_random(link, w, gain, row, bands, s.keys, last)
    elif p.assignment == LI_GD:
        relaxation.order_users(w, x, gain, row)
        relaxation.start_cold(w, x)
        relaxation.relax(link, w, x, gain, row, p.relaxation_tolerance, p.relaxation_iterations)
        for u in range(p.num_users):
            x.level[u] = 1.0 if p.full_power else x.level[u]
        assignment_others.place_by_relaxation(link, w, gain, row, x.beta, x.level, last)
    else:
        assignment_search.search(link, w, gain, row, bands, p.sweeps, p.power_iterations, last)


@kernel_part
def free_units(p: Parameters, s: State, row: int, n: int) -> float:
    """Units that the other tenants leave an AP."""
    return p.pool_units * (1.0 - p.background[s.level[row, n]])


@kernel_part
def solve_server(p: Parameters, s: State, row: int) -> None:
    """Units and speeds at the server, (3), (16): the best ones, the most, or equal parts of the pool."""
    w = s.work
    w.report[SERVER_COST] = w.report[UNITS_USED] = w.report[UNITS_FREE] = 0.0
    for n in range(p.num_aps):
        w.report[UNITS_FREE] += free_units(p, s, row, n)
    for u in range(p.num_users):
        w.units[u] = w.speed_flop_s[u] = 0.0
    if p.units != MOST and p.units != EQUAL and p.pool:
        for n in range(p.num_aps):
            share_pool(
                s.work.up.ap, n, w.work_flop, w.server_weight, w.server_coefficient, free_units(p, s, row, n),
                p.units_max, p.unit_speed_flop_s, p.overhead, w.root, w.most, w.units, w.speed_flop_s, w.pool_report,
            )  # fmt: skip
            w.report[SERVER_COST] += w.pool_report[POOL_COST]
            w.report[UNITS_USED] += w.pool_report[POOL_USED]
        return
    for u in range(p.num_users):
        if w.work_flop[u] > 0.0:
            w.units[u] = units_alone(p, s, row, u)
            speed = compensation(w.units[u], p.overhead) * p.unit_speed_flop_s
            w.speed_flop_s[u] = speed
            w.report[UNITS_USED] += w.units[u]
            w.report[SERVER_COST] += edge_cost(w.work_flop[u], w.server_weight[u], w.server_coefficient[u], speed)


@kernel_part
def units_alone(p: Parameters, s: State, row: int, u: int) -> float:
    """Units of a user that asks for some, where nothing is weighed against the others: its own best, or equal parts."""
    w = s.work
    if p.units == MOST and not p.pool:
        return p.units_max
    if p.units == MOST or p.units == EQUAL:
        users = 0
        for v in range(p.num_users):
            asks = v == u or w.work_flop[v] > 0.0 or p.units == EQUAL
            users += asks and s.ap[row, v] == s.ap[row, u]
        return min(free_units(p, s, row, s.ap[row, u]) / users, p.units_max)
    best = best_speed(
        w.server_weight[u], w.server_coefficient[u], compensation(p.units_min, p.overhead) * p.unit_speed_flop_s,
        compensation(p.units_max, p.overhead) * p.unit_speed_flop_s,
    )  # fmt: skip
    return min(units_for(best / p.unit_speed_flop_s, p.overhead), p.units_max)


@kernel_part
def measure(p: Parameters, s: State, row: int) -> None:
    """Delays (7), (10), (3) and energies (14)-(16) of a task of every user with tasks."""
    w = s.work
    for u in range(p.num_users):
        network, c = s.network[row, u], s.choice[row, u]
        w.up_s[u] = w.down_s[u] = w.up_j[u] = w.down_j[u] = w.server_s[u] = w.server_j[u] = 0.0
        if w.up.active[u]:
            w.up_s[u] = p.bits_up[network, c] / w.up.rate_bit_s[u]
            w.down_s[u] = p.result_bits / w.down.rate_bit_s[u]
            w.up_j[u] = w.up.power_w[u] * w.up.airtime[u] * w.up_s[u]
            w.down_j[u] = w.down.power_w[u] * w.down.airtime[u] * w.down_s[u]
        if w.work_flop[u] > 0.0:
            speed = w.speed_flop_s[u]
            w.server_s[u] = w.work_flop[u] / speed if speed > 0.0 else math.inf
            w.server_j[u] = w.work_flop[u] * p.server_coefficient * speed * speed


@kernel
def solve(p: Parameters, s: State, row: int) -> float:
    """Everything at the row's cuts; returns the cost of serving all tasks that wait, (22) with their weights."""
    w = s.work
    pose(p, s, row)
    bands = bands_of(p, s, row)
    solve_radio(p, s, row, uplink(p, bands), w.up, w.up_relaxed, s.gain_up, bands)
    solve_radio(p, s, row, downlink(p, bands), w.down, w.down_relaxed, s.gain_down, bands)
    solve_server(p, s, row)
    measure(p, s, row)
    return w.report[DEVICE_COST] + w.report[SERVER_COST] + w.up.report[COST] + w.down.report[COST]


@kernel_part
def certify(p: Parameters, s: State, row: int) -> None:
    """Gaps of what `solve` left in the work space, into its reports: only of what is optimised as configured."""
    senders = 0
    for u in range(p.num_users):
        senders += s.work.up.active[u]
    s.work.up.report[POWER_GAP] = s.work.up.report[ASSIGNMENT_GAP] = 0.0
    s.work.down.report[POWER_GAP] = s.work.down.report[ASSIGNMENT_GAP] = 0.0
    if senders > 0 and p.access != TDMA:
        bands = bands_of(p, s, row)
        certificates.certify_radio(uplink(p, bands), s.work.up, s.gain_up, row, bands)
        certificates.certify_radio(downlink(p, bands), s.work.down, s.gain_down, row, bands)
    if p.units == OPTIMAL:
        certify_server(p, s, row)


@kernel_part
def certify_server(p: Parameters, s: State, row: int) -> None:
    """By what part the cost of the units may be above the least, all APs together."""
    w = s.work
    total, above = 0.0, 0.0
    if p.pool:
        for n in range(p.num_aps):
            cost, gap = certificates.certify_pool(
                w.up.ap, n, w.work_flop, w.server_weight, w.server_coefficient, free_units(p, s, row, n), p.units_max,
                p.unit_speed_flop_s, p.overhead, w.units,
            )  # fmt: skip
            total += cost
            above += gap
    else:
        least = compensation(p.units_min, p.overhead) * p.unit_speed_flop_s
        most = compensation(p.units_max, p.overhead) * p.unit_speed_flop_s
        for u in range(p.num_users):
            if w.work_flop[u] > 0.0:
                speed = compensation(w.units[u], p.overhead) * p.unit_speed_flop_s
                cost, gap = certificates.certify_speed(
                    w.work_flop[u], w.server_weight[u], w.server_coefficient[u], least, most, speed
                )  # fmt: skip
                total += cost
                above += gap
    if math.isfinite(above):
        w.report[SERVER_GAP] = above / total if total > 0.0 else 0.0
    else:
        w.report[SERVER_GAP] = math.inf
