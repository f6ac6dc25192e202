"""Slices, and the allocation at given cuts: radio of both directions, units of the server; delays and energies."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.model.parameters import ACCESS, ASSIGNMENT, POWER, UNITS, Parameters
from edge_envs.eccnoma.model.state import REPORT, State
from edge_envs.eccnoma.solvers import assignment, band_powers, certificates, relaxation
from edge_envs.eccnoma.solvers.radio import DIRECTION, RADIO_REPORT, Link, Radio
from edge_envs.eccnoma.solvers.relaxation import Relaxation
from edge_envs.eccnoma.solvers.server_units import (
    POOL_REPORT,
    best_speed,
    compensation,
    server_cost,
    share_pool,
    units_for,
)


@kernel_part
def allot_slices(p: Parameters, s: State, row: int) -> None:
    """Allot the slices to users whose choice is not the device, load them, and set `choice` to the cuts that are used.

    A slice is loaded from the end of the network, so after `loaded` steps a user can use each cut whose `load_steps`
    are at most `loaded`.

    Users that hold a slice and still want one keep it. The others release theirs, which forgets the weights. Free
    slices go to the users whose waiting tasks take their devices longest. A user whose cut is not yet loaded computes
    alone and loads for this step, and so does a user that wants a slice and finds none, without loading.
    """
    for u in range(p.num_users):
        if s.choice[row, u] == p.last_choice[s.network[row, u]] or s.choice[row, u] >= p.choices[s.network[row, u]]:
            s.holds[row, u] = 0
    for n in range(p.num_aps):
        free = p.slices
        for u in range(p.num_users):
            if s.ap[row, u] == n:
                free -= s.holds[row, u]
        for _ in range(free):
            best, longest = -1, -1.0
            for u in range(p.num_users):
                network = s.network[row, u]
                last, wanted = p.last_choice[network], s.choice[row, u]
                if s.ap[row, u] == n and s.holds[row, u] == 0 and wanted != last and wanted < p.choices[network]:
                    work_s = s.queue[row, u] * p.device_flop[network, last] / s.speed_flop_s[row, u]
                    if work_s > longest:
                        best, longest = u, work_s
            if best < 0:
                break
            s.holds[row, best] = 1
    for u in range(p.num_users):
        network = s.network[row, u]
        if s.holds[row, u] == 0:
            s.loaded[row, u] = 0
            s.choice[row, u] = p.last_choice[network]
        elif p.load_steps[network, s.choice[row, u]] > s.loaded[row, u]:
            s.loaded[row, u] += 1
            s.choice[row, u] = p.last_choice[network]


@kernel_part
def bands_of(p: Parameters, s: State, row: int) -> int:
    """Number of bands of the spectrum: with FDMA the largest number of users of an AP."""
    if p.access != ACCESS.FDMA:
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
    """Constants of the uplink with the spectrum divided into `bands`."""
    band_hz = p.bandwidth_up_hz / bands
    capacity = 1 if p.access == ACCESS.FDMA else p.capacity
    return Link(DIRECTION.UPLINK, band_hz, p.noise_w_per_hz * band_hz, p.power_up_min_w, p.power_up_max_w, capacity)


@kernel_part
def downlink(p: Parameters, bands: int) -> Link:
    """Constants of the downlink with the spectrum divided into `bands`."""
    band_hz = p.bandwidth_down_hz / bands
    capacity = 1 if p.access == ACCESS.FDMA else p.capacity
    noise_w = p.noise_w_per_hz * band_hz
    return Link(p.downlink_direction, band_hz, noise_w, p.power_down_min_w, p.power_down_max_w, capacity)


@kernel_part
def set_problem(p: Parameters, s: State, row: int) -> None:
    """Write the row's problem at its cuts into the workspace, with the delays and energies of the devices.

    Q tasks are served one after the other: they wait Q (Q + 1) / 2 delays of a task, and spend Q energies of a task.
    """
    w = s.workspace
    up, down, device_cost = w.up, w.down, 0.0
    for u in range(p.num_users):
        network, c, queue = s.network[row, u], s.choice[row, u], s.queue[row, u]
        busy, bits, flop = queue > 0.0, p.bits_up[network, c], p.device_flop[network, c]
        sends = busy and bits > 0.0
        task_weight, energy_weight = 0.5 * queue * (queue + 1.0), p.weight_energy * queue
        delay_weight = p.weight_delay * task_weight
        device_s, device_j = flop / s.speed_flop_s[row, u], flop * p.device_j_per_flop
        device_cost += delay_weight * device_s + energy_weight * device_j
        w.device_s[u], w.device_j[u] = device_s, device_j
        w.task_weight[u], w.server_weight[u] = task_weight, delay_weight
        w.server_coefficient[u] = energy_weight * p.server_energy_coefficient
        w.work_flop[u] = p.server_flop[network, c] if busy else 0.0
        up.ap[u] = down.ap[u] = s.ap[row, u]
        up.active[u] = down.active[u] = sends
        up.delay_cost[u] = delay_weight * bits if sends else 0.0
        up.energy_cost[u] = energy_weight * bits if sends else 0.0
        down.delay_cost[u] = delay_weight * p.result_bits if sends else 0.0
        down.energy_cost[u] = energy_weight * p.result_bits if sends else 0.0
    w.report[REPORT.device_cost] = device_cost


@kernel
def solve_radio(
    p: Parameters, keys: NDArray[np.float64], row: int, link: Link, r: Radio, x: Relaxation,
    gain: NDArray[np.float64], bands: int,
) -> None:  # fmt: skip
    """Assign subchannels and powers of one direction, as configured."""
    last = 0 if p.power == POWER.FULL else band_powers.TIGHT_ITERATIONS
    if p.access == ACCESS.TDMA:
        assignment.share_time(link, r, gain, row)
    elif p.assignment == ASSIGNMENT.RANDOM:
        assignment.place_at_random(link, r, gain, row, bands, keys, last)
    elif p.assignment == ASSIGNMENT.LI_GD:
        relaxation.order_users(r, x, gain, row)
        relaxation.start_cold(r, x)
        relaxation.relax(link, r, x, gain, row, p.relaxation_tolerance, p.relaxation_iterations)
        for u in range(p.num_users):
            x.level[u] = 1.0 if p.power == POWER.FULL else x.level[u]
        assignment.place_by_relaxation(link, r, gain, row, x.beta, x.level, last)
    else:
        assignment.search(link, r, gain, row, bands, p.sweeps, p.power_iterations, last)


@kernel_part
def free_units(p: Parameters, s: State, row: int, n: int) -> float:
    """Units of an AP's pool that other tenants do not use."""
    return p.pool_units * (1.0 - p.background_levels[s.level[row, n]])


@kernel_part
def solve_server(p: Parameters, s: State, row: int) -> None:
    """Units and speeds at the server, (3), (16), as configured."""
    w = s.workspace
    report = w.report
    report[REPORT.server_cost] = report[REPORT.units_used] = report[REPORT.units_free] = 0.0
    for n in range(p.num_aps):
        report[REPORT.units_free] += free_units(p, s, row, n)
    for u in range(p.num_users):
        w.units[u] = w.speed_flop_s[u] = 0.0
    if p.units == UNITS.OPTIMAL and p.pool:
        for n in range(p.num_aps):
            share_pool(
                w.up.ap, n, w.work_flop, w.server_weight, w.server_coefficient, free_units(p, s, row, n),
                p.units_max, p.unit_speed_flop_s, p.core_overhead, w.root, w.useful_units, w.units,
                w.speed_flop_s, w.pool_report,
            )  # fmt: skip
            report[REPORT.server_cost] += w.pool_report[POOL_REPORT.cost]
            report[REPORT.units_used] += w.pool_report[POOL_REPORT.used]
        return
    for u in range(p.num_users):
        if w.work_flop[u] > 0.0:
            units = separate_units(p, s, row, u)
            speed = compensation(units, p.core_overhead) * p.unit_speed_flop_s
            w.units[u], w.speed_flop_s[u] = units, speed
            report[REPORT.units_used] += units
            report[REPORT.server_cost] += server_cost(
                w.work_flop[u], w.server_weight[u], w.server_coefficient[u], speed
            )


@kernel_part
def separate_units(p: Parameters, s: State, row: int, u: int) -> float:
    """Units of a user with work at the server, without optimising a pool: its own best number, or an equal part."""
    w = s.workspace
    if p.units == UNITS.MOST and not p.pool:
        return p.units_max
    if p.units != UNITS.OPTIMAL:
        users = 0
        for v in range(p.num_users):
            counts = v == u or w.work_flop[v] > 0.0 or p.units == UNITS.EQUAL
            users += counts and s.ap[row, v] == s.ap[row, u]
        return min(free_units(p, s, row, s.ap[row, u]) / users, p.units_max)
    best = best_speed(
        w.server_weight[u], w.server_coefficient[u], compensation(p.units_min, p.core_overhead) * p.unit_speed_flop_s,
        compensation(p.units_max, p.core_overhead) * p.unit_speed_flop_s,
    )  # fmt: skip
    return min(units_for(best / p.unit_speed_flop_s, p.core_overhead), p.units_max)


@kernel_part
def measure(p: Parameters, s: State, row: int) -> None:
    """Delays (7), (10), (3) and energies (14)-(16) of one task, for every user with tasks."""
    w = s.workspace
    up, down = w.up, w.down
    for u in range(p.num_users):
        up_s = down_s = up_j = down_j = server_s = server_j = 0.0
        if up.active[u]:
            up_s = p.bits_up[s.network[row, u], s.choice[row, u]] / up.rate_bit_s[u]
            down_s = p.result_bits / down.rate_bit_s[u]
            up_j = up.power_w[u] * up.airtime[u] * up_s
            down_j = down.power_w[u] * down.airtime[u] * down_s
        work, speed = w.work_flop[u], w.speed_flop_s[u]
        if work > 0.0:
            server_s = work / speed if speed > 0.0 else math.inf
            server_j = work * p.server_energy_coefficient * speed * speed
        w.up_s[u], w.down_s[u], w.server_s[u] = up_s, down_s, server_s
        w.up_j[u], w.down_j[u], w.server_j[u] = up_j, down_j, server_j


@kernel
def solve(p: Parameters, s: State, row: int) -> float:
    """Solve a row's allocation at its cuts; returns the cost of serving all waiting tasks, (22) with their weights."""
    w = s.workspace
    set_problem(p, s, row)
    bands = bands_of(p, s, row)
    solve_radio(p, s.keys, row, uplink(p, bands), w.up, w.up_relaxed, s.gain_up, bands)
    solve_radio(p, s.keys, row, downlink(p, bands), w.down, w.down_relaxed, s.gain_down, bands)
    solve_server(p, s, row)
    measure(p, s, row)
    computing = w.report[REPORT.device_cost] + w.report[REPORT.server_cost]
    return computing + w.up.report[RADIO_REPORT.cost] + w.down.report[RADIO_REPORT.cost]


@kernel_part
def certify(p: Parameters, s: State, row: int) -> None:
    """Compute certificates of the allocation in the workspace, for what the configuration optimises."""
    up, down, senders = s.workspace.up, s.workspace.down, 0
    for u in range(p.num_users):
        senders += up.active[u]
    up.report[RADIO_REPORT.power_gap] = up.report[RADIO_REPORT.assignment_gap] = 0.0
    down.report[RADIO_REPORT.power_gap] = down.report[RADIO_REPORT.assignment_gap] = 0.0
    if senders > 0 and p.access != ACCESS.TDMA:
        bands = bands_of(p, s, row)
        certificates.certify_radio(uplink(p, bands), up, s.gain_up, row, bands)
        certificates.certify_radio(downlink(p, bands), down, s.gain_down, row, bands)
    if p.units == UNITS.OPTIMAL:
        certify_server(p, s, row)


@kernel_part
def certify_server(p: Parameters, s: State, row: int) -> None:
    """Upper bound on the part of the servers' cost that other units can save, over all APs."""
    w = s.workspace
    total, above = 0.0, 0.0
    if p.pool:
        for n in range(p.num_aps):
            cost, gap = certificates.certify_pool(
                w.up.ap, n, w.work_flop, w.server_weight, w.server_coefficient, free_units(p, s, row, n), p.units_max,
                p.unit_speed_flop_s, p.core_overhead, w.units,
            )  # fmt: skip
            total += cost
            above += gap
    else:
        least = compensation(p.units_min, p.core_overhead) * p.unit_speed_flop_s
        most = compensation(p.units_max, p.core_overhead) * p.unit_speed_flop_s
        for u in range(p.num_users):
            if w.work_flop[u] > 0.0:
                speed = compensation(w.units[u], p.core_overhead) * p.unit_speed_flop_s
                cost, gap = certificates.certify_speed(
                    w.work_flop[u], w.server_weight[u], w.server_coefficient[u], least, most, speed
                )  # fmt: skip
                total += cost
                above += gap
    if math.isfinite(above):
        w.report[REPORT.server_gap] = above / total if total > 0.0 else 0.0
    else:
        w.report[REPORT.server_gap] = math.inf
