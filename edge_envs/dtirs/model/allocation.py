"""One frame's allocation at given cuts: twins, the pool's shares, powers and, if asked for, phases for the delay."""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.dtirs.config import NO_TWIN, OPTIMAL, Parameters
from edge_envs.dtirs.model.channels import solve_phases
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.model.workspace import BOUND_PRICE, OBJECTIVE, POOL, PRICE
from edge_envs.dtirs.solvers import compute_pool, power

LEAST_FALL = 1e-9
"""Relative fall of the delay below which other phases are not taken over."""


@kernel_part
def waiting_time(p: Parameters, s: State, row: int) -> float:
    """Time until the AP has served its backlog [s]."""
    return s.backlog_flop[row] / s.capacity_flop_s[row] if p.backlog else 0.0


@kernel_part
def pose(p: Parameters, s: State, row: int) -> None:
    """Put works, links and the costs of a twin at the row's cuts into the work space, (10)-(14), (45)."""
    w = s.work
    wait = waiting_time(p, s, row)
    for k in range(p.num_devices):
        c = s.choice[row, k]
        w.front_flop[k] = s.front_flop[row, k, c]
        w.back_flop[k] = s.back_flop[row, k, c]
        w.speed_flop_s[k] = s.speed_flop_s[row, k]
        w.nat_seconds[k] = p.bits_down[c] * math.log(2.0) / p.bandwidth_hz
        w.gain_per_w[k] = s.gain_down[row, k] / p.noise_w
        snr = p.power_uplink_w * s.gain_up[row, k] / p.noise_w
        w.up_s[k] = math.log(2.0) / (p.bandwidth_hz * math.log1p(snr))
        w.sync_s[k] = p.sync_bits[c] * w.up_s[k]
        w.twin_cost_s[k] = w.sync_s[k] + (wait if w.back_flop[k] == 0.0 else 0.0)


@kernel_part
def solve_power(p: Parameters, s: State) -> None:
    """Downlink powers (61), or the same power for everybody."""
    w = s.work
    if p.equal_power:
        for k in range(p.num_devices):
            w.power_w[k] = min(p.power_total_w / p.num_devices, p.power_max_w)
        w.solution[PRICE] = math.nan
    else:
        w.solution[PRICE] = power.allocate_power(w.gain_per_w, w.nat_seconds, p.power_total_w, p.power_max_w, w.power_w)


@kernel_part
def choose(p: Parameters, s: State, row: int) -> None:
    """Who computes on a twin, by the configured rule, and where it is optimal the price of a bound."""
    w = s.work
    w.solution[BOUND_PRICE] = math.nan
    if p.twins == OPTIMAL:
        w.solution[BOUND_PRICE] = compute_pool.choose_twins(
            w.front_flop, w.back_flop, w.speed_flop_s, w.twin_cost_s, s.capacity_flop_s[row], w.threshold, w.order,
            w.twin,
        )  # fmt: skip
    else:
        for k in range(p.num_devices):
            late = w.front_flop[k] > p.compute_delay_max_s * w.speed_flop_s[k]
            w.twin[k] = late and p.twins != NO_TWIN


@kernel_part
def share(p: Parameters, s: State, row: int) -> None:
    """The pool's shares."""
    w = s.work
    w.solution[POOL] = compute_pool.share_pool(
        w.front_flop, w.back_flop, w.speed_flop_s, w.twin, s.capacity_flop_s[row], w.boost_flop_s, w.back_end_flop_s
    )


@kernel_part
def sum_up(p: Parameters, s: State, row: int) -> float:
    """The objective (18) of the allocation in the work space, with what the extended model adds [s]."""
    w = s.work
    wait = waiting_time(p, s, row)
    total = p.loss_s
    for k in range(p.num_devices):
        c = s.choice[row, k]
        total += p.leakage_s[c] + p.bits_up[c] * w.up_s[k]
        total += power.transmit_delay(w.gain_per_w[k], w.nat_seconds[k], w.power_w[k])
        if w.twin[k]:
            total += w.front_flop[k] / (w.speed_flop_s[k] + w.boost_flop_s[k]) + w.twin_cost_s[k]
        else:
            total += w.front_flop[k] / w.speed_flop_s[k]
        if w.back_flop[k] > 0.0:
            total += w.back_flop[k] / w.back_end_flop_s[k] + wait
    return total


@kernel_part
def solve_frame(p: Parameters, s: State, row: int) -> float:
    """Everything but the phases, at the row's cuts; returns the objective [s]."""
    pose(p, s, row)
    solve_power(p, s)
    choose(p, s, row)
    share(p, s, row)
    s.work.solution[OBJECTIVE] = sum_up(p, s, row)
    return s.work.solution[OBJECTIVE]


@kernel_part
def weigh_gains(p: Parameters, s: State, row: int) -> None:
    """Weight of every gain: the delay that a unit more of it would save, -dT_k / dg_k."""
    w = s.work
    for k in range(p.num_devices):
        c = s.choice[row, k]
        w.weight_down[k] = 0.0
        if w.nat_seconds[k] > 0.0:
            snr = w.gain_per_w[k] * w.power_w[k]
            nats = math.log1p(snr)
            w.weight_down[k] = w.nat_seconds[k] * w.power_w[k] / p.noise_w / ((1.0 + snr) * nats * nats)
        bits = p.bits_up[c] + (p.sync_bits[c] if w.twin[k] else 0.0)
        slope = p.power_uplink_w / p.noise_w
        snr = slope * s.gain_up[row, k]
        w.weight_up[k] = bits * w.up_s[k] * slope / ((1.0 + snr) * math.log1p(snr))


@kernel_part
def exchange_phases(p: Parameters, s: State, row: int, keep: bool) -> None:
    """Set the row's phases, what is known of them and their gains aside (`keep`), or take them back."""
    w = s.work
    for i in range(3):
        if keep:
            w.kept_report[i] = s.relaxation[row, i]
        else:
            s.relaxation[row, i] = w.kept_report[i]
    if keep:
        w.kept_report[3] = s.phase_value[row]
    else:
        s.phase_value[row] = w.kept_report[3]
    for n in range(p.num_elements):
        for i in range(2):
            if keep:
                w.kept_phase[i, n] = s.phase[row, i, n]
            else:
                s.phase[row, i, n] = w.kept_phase[i, n]
    for k in range(p.num_devices):
        if keep:
            w.kept_down[k], w.kept_up[k] = s.gain_down[row, k], s.gain_up[row, k]
        else:
            s.gain_down[row, k], s.gain_up[row, k] = w.kept_down[k], w.kept_up[k]


@kernel_part
def solve_all(p: Parameters, s: State, row: int) -> None:
    """`solve_frame`, then up to `phase_passes` times phases for weighted gains, as long as the delay falls."""
    value = solve_frame(p, s, row)
    going = True
    for attempt in range(p.phase_passes + 1):
        if attempt > 0 and going:
            exchange_phases(p, s, row, True)
            weigh_gains(p, s, row)
            solve_phases(p, s, row)
            after = solve_frame(p, s, row)
            if after < value * (1.0 - LEAST_FALL):
                value = after
            else:
                going = False
                exchange_phases(p, s, row, False)
                value = solve_frame(p, s, row)
