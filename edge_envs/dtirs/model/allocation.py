"""One frame's allocation at given cuts: twins, pool shares, powers and, with `phase_passes`, phases for the delay."""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.dtirs.model.channels import solve_phases
from edge_envs.dtirs.model.parameters import POWER, TWINS, Parameters
from edge_envs.dtirs.model.state import SOLUTION, State
from edge_envs.dtirs.solvers import compute_pool, power

DELAY_TOLERANCE = 1e-9
"""Relative decrease of the delay that new phases must exceed to be kept."""


@kernel_part
def waiting_time(p: Parameters, s: State, row: int) -> float:
    """Time that the AP needs for its backlog [s]."""
    return s.backlog_flop[row] / s.capacity_flop_s[row] if p.backlog else 0.0


@kernel
def unit_delay(bits: float, bandwidth_hz: float) -> float:
    """Time for downlink bits at a spectral efficiency of 1 nat/s/Hz, c_k of (46) [s]."""
    return bits * math.log(2.0) / bandwidth_hz


@kernel_part
def set_problem(p: Parameters, s: State, row: int) -> None:
    """Write works, bits, links and the cost of a twin at the row's cuts into the workspace, (10)-(14), (45).

    Weights of layers that a device takes on or gives up are sent with the gradients or features of the frame.
    """
    w = s.workspace
    wait = waiting_time(p, s, row)
    for k in range(p.num_devices):
        c = s.choice[row, k]
        w.front_flop[k] = s.front_flop[row, k, c]
        w.back_flop[k] = s.back_flop[row, k, c]
        w.speed_flop_s[k] = s.speed_flop_s[row, k]
        w.moved_bits[k] = p.migration_bits[c] - p.migration_bits[s.held[row, k]]
        w.up_bits[k] = p.bits_up[c] + max(-w.moved_bits[k], 0.0)
        w.unit_delay_s[k] = unit_delay(p.bits_down[c] + max(w.moved_bits[k], 0.0), p.device_bandwidth_hz)
        w.gain_per_w[k] = s.gain_down[row, k] / p.noise_w
        snr = p.power_uplink_w * s.gain_up[row, k] / p.noise_w
        w.up_s[k] = math.log(2.0) / (p.device_bandwidth_hz * math.log1p(snr))
        w.sync_s[k] = p.sync_bits[c] * w.up_s[k]
        w.twin_cost_s[k] = w.sync_s[k] + (wait if w.back_flop[k] == 0.0 else 0.0)


@kernel_part
def solve_power(p: Parameters, s: State) -> None:
    """Downlink powers: optimal, (61), or equal."""
    w = s.workspace
    if p.power == POWER.EQUAL:
        for k in range(p.num_devices):
            w.power_w[k] = min(p.power_total_w / p.num_devices, p.power_max_w)
        w.solution[SOLUTION.log_power_price] = math.nan
    else:
        w.solution[SOLUTION.log_power_price] = power.allocate_power(
            w.gain_per_w, w.unit_delay_s, p.power_total_w, p.power_max_w, w.power_w
        )


@kernel_part
def choose_twins(p: Parameters, s: State, row: int) -> None:
    """Who computes on a twin, by the configured rule; with optimal twins also the price of the bound."""
    w = s.workspace
    w.solution[SOLUTION.bound_root_price] = math.nan
    if p.twins == TWINS.OPTIMAL:
        w.solution[SOLUTION.bound_root_price] = compute_pool.choose_twins(
            w.front_flop, w.back_flop, w.speed_flop_s, w.twin_cost_s, s.capacity_flop_s[row], w.threshold, w.order,
            w.twin,
        )  # fmt: skip
    else:
        for k in range(p.num_devices):
            late = w.front_flop[k] > p.compute_delay_max_s * w.speed_flop_s[k]
            w.twin[k] = late and p.twins != TWINS.NONE


@kernel_part
def share_pool(s: State, row: int) -> None:
    """Shares of the pool, (32)."""
    w = s.workspace
    w.solution[SOLUTION.pool_scale] = compute_pool.share_pool(
        w.front_flop, w.back_flop, w.speed_flop_s, w.twin, s.capacity_flop_s[row], w.boost_flop_s, w.back_end_flop_s
    )


@kernel_part
def objective_of_allocation(p: Parameters, s: State, row: int) -> float:
    """Objective (18) of the workspace's allocation, with the terms of the extended model [s]."""
    w = s.workspace
    wait = waiting_time(p, s, row)
    total = p.loss_s
    for k in range(p.num_devices):
        c = s.choice[row, k]
        total += p.cut_leakage_s[c] + w.up_bits[k] * w.up_s[k]
        total += power.transmit_delay(w.gain_per_w[k], w.unit_delay_s[k], w.power_w[k])
        if w.twin[k]:
            total += w.front_flop[k] / (w.speed_flop_s[k] + w.boost_flop_s[k]) + w.twin_cost_s[k]
        else:
            total += w.front_flop[k] / w.speed_flop_s[k]
        if w.back_flop[k] > 0.0:
            total += w.back_flop[k] / w.back_end_flop_s[k] + wait
    return total


@kernel_part
def solve_frame(p: Parameters, s: State, row: int) -> float:
    """Allocate everything but the phases at the row's cuts; returns the objective [s]."""
    set_problem(p, s, row)
    solve_power(p, s)
    choose_twins(p, s, row)
    share_pool(s, row)
    s.workspace.solution[SOLUTION.objective_s] = objective_of_allocation(p, s, row)
    return s.workspace.solution[SOLUTION.objective_s]


@kernel_part
def weigh_by_delay(p: Parameters, s: State, row: int) -> None:
    """Weight of every gain: the delay saved per unit of gain, -dT_k / dg_k."""
    w = s.workspace
    for k in range(p.num_devices):
        c = s.choice[row, k]
        w.weight_down[k] = 0.0
        if w.unit_delay_s[k] > 0.0:
            snr = w.gain_per_w[k] * w.power_w[k]
            efficiency = math.log1p(snr)
            w.weight_down[k] = w.unit_delay_s[k] * w.power_w[k] / p.noise_w / ((1.0 + snr) * efficiency * efficiency)
        bits = w.up_bits[k] + (p.sync_bits[c] if w.twin[k] else 0.0)
        slope = p.power_uplink_w / p.noise_w
        snr = slope * s.gain_up[row, k]
        w.weight_up[k] = bits * w.up_s[k] * slope / ((1.0 + snr) * math.log1p(snr))


@kernel_part
def swap_phases(p: Parameters, s: State, row: int) -> None:
    """Swap the row's phases, their report and gains with those kept in the workspace."""
    w = s.workspace
    for i in range(len(w.kept_relaxation)):
        s.relaxation[row, i], w.kept_relaxation[i] = w.kept_relaxation[i], s.relaxation[row, i]
    s.phase_value[row], w.kept_phase_value[0] = w.kept_phase_value[0], s.phase_value[row]
    for n in range(p.num_elements):
        for i in range(2):
            s.phase[row, i, n], w.kept_phase[i, n] = w.kept_phase[i, n], s.phase[row, i, n]
    for k in range(p.num_devices):
        s.gain_down[row, k], w.kept_gain_down[k] = w.kept_gain_down[k], s.gain_down[row, k]
        s.gain_up[row, k], w.kept_gain_up[k] = w.kept_gain_up[k], s.gain_up[row, k]


@kernel_part
def solve_step(p: Parameters, s: State, row: int) -> None:
    """`solve_frame`, then up to `phase_passes` times new phases for weighted gains, as long as the delay falls."""
    value = solve_frame(p, s, row)
    improving = True
    for attempt in range(p.phase_passes + 1):
        if attempt > 0 and improving:
            weigh_by_delay(p, s, row)
            swap_phases(p, s, row)
            solve_phases(p, s, row)
            after = solve_frame(p, s, row)
            if after < value * (1.0 - DELAY_TOLERANCE):
                value = after
            else:
                improving = False
                swap_phases(p, s, row)
                value = solve_frame(p, s, row)
