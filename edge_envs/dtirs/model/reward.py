"""Reward, metrics and member metrics of a step, (9), (11), (14), (15), (18), (25), (26)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.kernels.metrics import Metric, columns
from edge_envs.dtirs.model.allocation import unit_delay, waiting_time
from edge_envs.dtirs.model.parameters import MODEL, PHASE, POWER, TWINS, Parameters
from edge_envs.dtirs.model.state import SOLUTION, State, Workspace
from edge_envs.dtirs.solvers import certificates, compute_pool, power
from edge_envs.dtirs.solvers.phases import REPORT

FloatArray = NDArray[np.float64]
METRICS = (
    Metric("objective_s", "s", "objective (18): sum of all delays, leakage penalty and weighted loss"),
    Metric("delay_s", "s", "sum of the devices' delays, (9), with the terms of the extended model"),
    Metric("delay_downlink_s", "s", "sum of the downlink delays, (11)"),
    Metric("delay_uplink_s", "s", "sum of the uplink delays of the features, (14)"),
    Metric("delay_compute_s", "s", "sum of the computing delays before the cut, (15)"),
    Metric("delay_back_end_s", "s", "sum of the AP's computing delays behind the cut, and of the waits for it"),
    Metric("delay_sync_s", "s", "sum of the delays for uploading weights to twins"),
    Metric("migration_s", "s", "part of the downlink and uplink delays in which weights of moved layers are sent"),
    Metric("migration_bits", "bit", "weights of moved layers, in both directions"),
    Metric("changed", "-", "share of the devices with a cut that differs from the last frame's"),
    Metric("leakage_s", "s", "leakage penalty"),
    Metric("delay_max_s", "s", "largest delay of a device"),
    Metric("mean_cut", "layers", "mean number of layers before the cut"),
    Metric("local_share", "-", "share of the devices that compute all layers themselves"),
    Metric("twin_share", "-", "share of the devices that compute on their twin"),
    Metric("power_w", "W", "sum of the downlink powers"),
    Metric("power_max_w", "W", "largest downlink power of a device"),
    Metric("pool_level", "-", "speed of the AP's processor over its nominal speed"),
    Metric("backlog_s", "s", "time that the AP needs for the work left from earlier frames"),
    Metric("energy_j", "J", "computing energy kappa f^2 C of devices without a twin, and all uplink energy"),
    Metric(
        "phase_gap", "-", "part of the relaxation's bound that the phases do not reach; NaN unless phase is sdr",
        certifies=True,
    ),
    Metric(
        "twin_gap", "-", "part of the computing delay that other twins could save, by duality; NaN unless optimal",
        certifies=True,
    ),
    Metric("rate_violations", "devices", "devices with an uplink rate below rate_min_bit_s, (25)"),
    Metric("deadline_violations", "devices", "devices that compute longer than T_max, (26)"),
    Metric(
        "certificate", "-", "largest of: proven gap of the relaxation, KKT residuals of powers and of the pool", "max",
        certifies=True,
    ),
)  # fmt: skip
MEMBER_METRICS = (
    "cut", "delay_s", "delay_downlink_s", "delay_uplink_s", "delay_compute_s", "delay_back_end_s", "delay_sync_s",
    "migration_s", "migration_bits", "changed", "twin", "power_w", "boost_flop_s", "back_end_flop_s",
    "gain_downlink", "gain_uplink",
)  # fmt: skip
"""Numbers per device of a step."""
M = columns(METRICS)
MEMBER = columns(("reward", *MEMBER_METRICS))


@kernel_part
def charge(w: Workspace, k: int, power_price: float, pool_price: float) -> float:
    """Value of a device's power and pool share to the other devices [s]."""
    return power_price * w.power_w[k] + pool_price * (w.boost_flop_s[k] + w.back_end_flop_s[k])


@kernel_part
def account(
    p: Parameters, s: State, row: int, reference_s: float, reward: FloatArray, member: FloatArray, metrics: FloatArray
) -> None:
    """Reward, metrics and backlog after a frame's allocation. The reward is the saved part of the reference.

    A device pays its own delay, and the power price and pool price for what it takes from the others; all payments are
    refunded in equal parts. So the member reward includes the cost of a device's cut to the others.
    """
    w = s.workspace
    users = p.num_devices
    wait = waiting_time(p, s, row)
    power_price = 0.0 if p.power == POWER.EQUAL else math.exp(w.solution[SOLUTION.log_power_price])
    pool_scale = w.solution[SOLUTION.pool_scale]
    pool_price = 1.0 / pool_scale**2 if pool_scale > 0.0 else 0.0
    refund = 0.0
    for k in range(users):
        refund += charge(w, k, power_price, pool_price) / users
    served = 0.0
    for k in range(users):
        served = account_device(p, s, row, k, wait, served, member, metrics)
        leakage = p.cut_leakage_s[s.choice[row, k]]
        paid = member[MEMBER.delay_s, row, k] + leakage + p.loss_s / users
        paid = paid + charge(w, k, power_price, pool_price) - refund
        member_reward = (reference_s / users - paid) / reference_s
        member[MEMBER.reward, row, k] = member_reward
        reward[row] += member_reward
    metrics[row, M.objective_s] = w.solution[SOLUTION.objective_s]
    metrics[row, M.pool_level] = s.capacity_flop_s[row] / p.pool_flop_s
    metrics[row, M.backlog_s] = wait
    certify(p, s, row, metrics)
    if p.backlog:
        left = s.backlog_flop[row] + served - s.capacity_flop_s[row] * p.frame_s
        s.backlog_flop[row] = max(left, 0.0)


@kernel_part
def account_device(
    p: Parameters, s: State, row: int, k: int, wait: float, served: float, member: FloatArray, metrics: FloatArray
) -> float:
    """Add a device's delays, energy and violations to the metrics; returns `served` [FLOP] plus its work for the AP."""
    w = s.workspace
    users, c = p.num_devices, s.choice[row, k]
    cut = p.cut_numbers[c]
    down = power.transmit_delay(w.gain_per_w[k], w.unit_delay_s[k], w.power_w[k])
    up = w.up_bits[k] * w.up_s[k]
    moved = w.moved_bits[k]
    migration = -moved * w.up_s[k]
    if moved >= 0.0:
        migration = power.transmit_delay(w.gain_per_w[k], unit_delay(moved, p.device_bandwidth_hz), w.power_w[k])
    compute = w.front_flop[k] / (w.speed_flop_s[k] + w.boost_flop_s[k])
    back = w.back_flop[k] / w.back_end_flop_s[k] + wait if w.back_flop[k] > 0.0 else 0.0
    sync = 0.0
    if w.twin[k]:
        sync = w.sync_s[k]
        back += w.twin_cost_s[k] - w.sync_s[k]
        served += w.front_flop[k] * w.boost_flop_s[k] / (w.speed_flop_s[k] + w.boost_flop_s[k])
    else:
        cycles = w.front_flop[k] / p.flop_per_cycle
        frequency_hz = w.speed_flop_s[k] / p.flop_per_cycle
        metrics[row, M.energy_j] += p.device_energy_coefficient * frequency_hz**2 * cycles
    served += w.back_flop[k]
    total = down + up + compute + back + sync
    metrics[row, M.energy_j] += p.power_uplink_w * (up + sync)
    metrics[row, M.delay_downlink_s] += down
    metrics[row, M.delay_uplink_s] += up
    metrics[row, M.delay_compute_s] += compute
    metrics[row, M.delay_back_end_s] += back
    metrics[row, M.delay_sync_s] += sync
    metrics[row, M.delay_s] += total
    metrics[row, M.migration_s] += migration
    metrics[row, M.migration_bits] += abs(moved)
    metrics[row, M.changed] += (c != s.held[row, k]) / users
    metrics[row, M.leakage_s] += p.cut_leakage_s[c]
    metrics[row, M.delay_max_s] = max(metrics[row, M.delay_max_s], total)
    metrics[row, M.mean_cut] += cut / users
    metrics[row, M.twin_share] += w.twin[k] / users
    metrics[row, M.local_share] += (cut == p.num_layers and not w.twin[k]) / users
    metrics[row, M.power_w] += w.power_w[k]
    metrics[row, M.power_max_w] = max(metrics[row, M.power_max_w], w.power_w[k])
    metrics[row, M.rate_violations] += p.rate_min_bit_s * w.up_s[k] > 1.0
    metrics[row, M.deadline_violations] += compute > p.compute_delay_max_s * (1.0 + 1e-12)
    member[MEMBER.cut, row, k] = cut
    member[MEMBER.delay_s, row, k] = total
    member[MEMBER.delay_downlink_s, row, k] = down
    member[MEMBER.delay_uplink_s, row, k] = up
    member[MEMBER.delay_compute_s, row, k] = compute
    member[MEMBER.delay_back_end_s, row, k] = back
    member[MEMBER.delay_sync_s, row, k] = sync
    member[MEMBER.migration_s, row, k] = migration
    member[MEMBER.migration_bits, row, k] = abs(moved)
    member[MEMBER.changed, row, k] = c != s.held[row, k]
    member[MEMBER.twin, row, k] = w.twin[k]
    member[MEMBER.power_w, row, k] = w.power_w[k]
    member[MEMBER.boost_flop_s, row, k] = w.boost_flop_s[k]
    member[MEMBER.back_end_flop_s, row, k] = w.back_end_flop_s[k]
    member[MEMBER.gain_downlink, row, k] = s.gain_down[row, k]
    member[MEMBER.gain_uplink, row, k] = s.gain_up[row, k]
    return served


@kernel
def solves_nothing(p: Parameters) -> bool:
    """Return True if a configuration solves no pool, powers or relaxation, so that there is nothing to certify."""
    pool = p.model == MODEL.EXTENDED or p.twins != TWINS.NONE
    return not pool and p.power == POWER.EQUAL and not (p.irs and p.phase == PHASE.SDR)


@kernel_part
def certify(p: Parameters, s: State, row: int, metrics: FloatArray) -> None:
    """Write the frame's certificates, from its allocation and multipliers; NaN where nothing is certified.

    `certificate` is the largest of the pool's KKT residual, the KKT residual of the powers unless they are equal, and
    the proven gap of the relaxation where there is one. `phase_gap` compares the gains at the row's phases, with the
    weights that the phases were last solved for, to the relaxation's bound. `twin_gap` compares the computing delay to
    the dual bound over all choices of twins.
    """
    w = s.workspace
    worst = certificates.pool_residual(
        w.front_flop, w.back_flop, w.speed_flop_s, w.twin, s.capacity_flop_s[row], w.boost_flop_s, w.back_end_flop_s,
        w.solution[SOLUTION.pool_scale],
    )  # fmt: skip
    if p.power != POWER.EQUAL:
        log_price = w.solution[SOLUTION.log_power_price]
        residual = certificates.power_residual(
            w.gain_per_w, w.unit_delay_s, p.power_total_w, p.power_max_w, w.power_w, log_price
        )
        worst = max(worst, residual)
    metrics[row, M.phase_gap] = metrics[row, M.twin_gap] = math.nan
    if p.irs and p.phase == PHASE.SDR:
        proven = s.relaxation[row, REPORT.gap]
        worst = max(worst, proven)
        bound = s.relaxation[row, REPORT.value] * (1.0 + proven)
        gap = certificates.relative_gap(s.phase_value[row], bound)
        metrics[row, M.phase_gap] = gap + certificates.off_circle(s.phase, row)
    if p.twins == TWINS.OPTIMAL:
        delay = compute_pool.pool_delay(
            w.front_flop, w.back_flop, w.speed_flop_s, w.twin, w.boost_flop_s, w.back_end_flop_s
        )
        for k in range(p.num_devices):
            delay += w.twin_cost_s[k] if w.twin[k] else w.front_flop[k] / w.speed_flop_s[k]
        bound = certificates.computing_bound(
            w.front_flop, w.back_flop, w.speed_flop_s, w.twin_cost_s, s.capacity_flop_s[row],
            w.solution[SOLUTION.bound_root_price],
        )  # fmt: skip
        metrics[row, M.twin_gap] = certificates.relative_gap(bound, delay)
    metrics[row, M.certificate] = math.nan if solves_nothing(p) else worst
