"""Reward, metrics and member metrics of a step."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.metrics import Metric
from edge_envs.dtirs.config import NO_TWIN, OPTIMAL, SDR, Parameters
from edge_envs.dtirs.model import allocation
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.model.workspace import BOUND_PRICE, OBJECTIVE, POOL, PRICE, Work
from edge_envs.dtirs.solvers import certificates, compute_pool, power

METRICS = (
    Metric("objective_s", "s", "objective (18): the sum of all delays, the price of leakage and the weighted loss"),
    Metric("delay_s", "s", "sum of the devices' delays, eq. (9) with what the extended model adds"),
    Metric("delay_downlink_s", "s", "sum of the downlink delays, eq. (11)"),
    Metric("delay_uplink_s", "s", "sum of the uplink delays of the features, eq. (14)"),
    Metric("delay_compute_s", "s", "sum of the computing delays before the cut, eq. (15)"),
    Metric("delay_back_end_s", "s", "sum of the AP's computing delays behind the cut, and of the waits for it"),
    Metric("delay_sync_s", "s", "sum of the uploads of weights to the twins"),
    Metric("leakage_s", "s", "price of what the features reveal"),
    Metric("delay_max_s", "s", "largest delay of a device"),
    Metric("mean_cut", "layers", "mean number of layers before the cut"),
    Metric("local_share", "-", "part of the devices that compute all layers themselves"),
    Metric("twin_share", "-", "part of the devices that compute on their twin"),
    Metric("power_w", "W", "sum of the downlink powers"),
    Metric("power_max_w", "W", "largest downlink power of a device"),
    Metric("pool_level", "-", "speed of the AP's processor over its nominal one"),
    Metric("backlog_s", "s", "time that the AP needs for what earlier frames left"),
    Metric("energy_j", "J", "computing energy kappa f^2 C of the devices that compute, and all uplink energy"),
    Metric(
        "phase_gap", "-", "part of the relaxation's bound that the gain of the phases misses; NaN unless phase is sdr",
        certifies=True,
    ),
    Metric(
        "twin_gap", "-", "part of the computing delay that better twins could save, by duality; NaN unless optimal",
        certifies=True,
    ),
    Metric("rate_violations", "devices", "devices with an uplink below rate_min_bit_s, (25)"),
    Metric("deadline_violations", "devices", "devices that compute longer than T_max, (26)"),
    Metric(
        "certificate", "-", "largest of: proven gap of the relaxation, KKT residuals of powers and of the pool", "max",
        certifies=True,
    ),
)  # fmt: skip

(
    OBJECTIVE_OF, DELAY, DOWNLINK, UPLINK, COMPUTE, BACK_END, SYNC, LEAKAGE, DELAY_MAX, MEAN_CUT, LOCAL_SHARE,
    TWIN_SHARE, POWER, POWER_MAX, LEVEL, BACKLOG, ENERGY, PHASE_GAP, TWIN_GAP, RATE_MISSED, DEADLINE_MISSED,
    CERTIFICATE,
) = range(len(METRICS))  # fmt: skip

MEMBER_METRICS = (
    "cut", "delay_s", "delay_downlink_s", "delay_uplink_s", "delay_compute_s", "delay_back_end_s", "delay_sync_s",
    "twin", "power_w", "boost_flop_s", "back_end_flop_s", "gain_downlink", "gain_uplink",
)  # fmt: skip
"""Numbers per device of a step; the layers of the kernel's member array after the reward."""


@kernel_part
def charge(w: Work, k: int, power_price: float, pool_price: float) -> float:
    """What a device's power and part of the pool are worth to the others [s]."""
    return power_price * w.power_w[k] + pool_price * (w.boost_flop_s[k] + w.back_end_flop_s[k])


@kernel_part
def account(
    p: Parameters, s: State, row: int, reference_s: float, reward: NDArray[np.float64], member: NDArray[np.float64],
    metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Delays, energies and violations of the frame just allocated, and the reward: the part of the reference saved.

    A device pays for its delay and, at their prices, for the power and the part of the pool it takes from the others;
    what is paid for them goes back to all in equal parts. So its reward tells what its cut costs the team.
    """
    w = s.work
    users = p.num_devices
    wait = allocation.waiting_time(p, s, row)
    power_price = 0.0 if p.equal_power else math.exp(w.solution[PRICE])
    pool_price = 1.0 / w.solution[POOL] ** 2 if w.solution[POOL] > 0.0 else 0.0
    refund = 0.0
    for k in range(users):
        refund += charge(w, k, power_price, pool_price) / users
    served = 0.0
    for k in range(users):
        c = s.choice[row, k]
        down = power.transmit_delay(w.gain_per_w[k], w.nat_seconds[k], w.power_w[k])
        up = p.bits_up[c] * w.up_s[k]
        compute = w.front_flop[k] / (w.speed_flop_s[k] + w.boost_flop_s[k])
        back = w.back_flop[k] / w.back_end_flop_s[k] + wait if w.back_flop[k] > 0.0 else 0.0
        sync = 0.0
        if w.twin[k]:
            sync = w.sync_s[k]
            back += w.twin_cost_s[k] - w.sync_s[k]
            served += w.front_flop[k] * w.boost_flop_s[k] / (w.speed_flop_s[k] + w.boost_flop_s[k])
        else:
            cycles = w.front_flop[k] / p.flop_per_cycle
            metrics[row, ENERGY] += p.energy_coefficient * (w.speed_flop_s[k] / p.flop_per_cycle) ** 2 * cycles
        served += w.back_flop[k]
        total = down + up + compute + back + sync
        metrics[row, ENERGY] += p.power_uplink_w * (up + sync)
        metrics[row, DOWNLINK] += down
        metrics[row, UPLINK] += up
        metrics[row, COMPUTE] += compute
        metrics[row, BACK_END] += back
        metrics[row, SYNC] += sync
        metrics[row, DELAY] += total
        metrics[row, LEAKAGE] += p.leakage_s[c]
        metrics[row, DELAY_MAX] = max(metrics[row, DELAY_MAX], total)
        metrics[row, MEAN_CUT] += p.cut_numbers[c] / users
        metrics[row, TWIN_SHARE] += w.twin[k] / users
        metrics[row, LOCAL_SHARE] += (p.cut_numbers[c] == p.num_layers and not w.twin[k]) / users
        metrics[row, POWER] += w.power_w[k]
        metrics[row, POWER_MAX] = max(metrics[row, POWER_MAX], w.power_w[k])
        metrics[row, RATE_MISSED] += p.rate_min_bit_s * w.up_s[k] > 1.0
        metrics[row, DEADLINE_MISSED] += compute > p.compute_delay_max_s * (1.0 + 1e-12)
        paid = total + p.leakage_s[c] + p.loss_s / users + charge(w, k, power_price, pool_price) - refund
        gain = (reference_s / users - paid) / reference_s
        member[0, row, k] = gain
        reward[row] += gain
        report_member(p, s, row, k, (total, down, up, compute, back, sync), member)
    metrics[row, OBJECTIVE_OF] = w.solution[OBJECTIVE]
    metrics[row, LEVEL] = s.capacity_flop_s[row] / p.pool_flop_s
    metrics[row, BACKLOG] = wait
    certify(p, s, row, metrics)
    if p.backlog:
        left = s.backlog_flop[row] + served - s.capacity_flop_s[row] * p.frame_s
        s.backlog_flop[row] = max(left, 0.0)


@kernel_part
def report_member(
    p: Parameters, s: State, row: int, k: int, delays: tuple[float, float, float, float, float, float],
    member: NDArray[np.float64],
) -> None:  # fmt: skip
    """One device's numbers, in the order of `MEMBER_METRICS`, after its reward."""
    member[1, row, k] = p.cut_numbers[s.choice[row, k]]
    for i in range(6):
        member[2 + i, row, k] = delays[i]
    member[8, row, k] = s.work.twin[k]
    member[9, row, k] = s.work.power_w[k]
    member[10, row, k] = s.work.boost_flop_s[k]
    member[11, row, k] = s.work.back_end_flop_s[k]
    member[12, row, k] = s.gain_down[row, k]
    member[13, row, k] = s.gain_up[row, k]


@kernel
def solves_nothing(p: Parameters) -> bool:
    """Return True if a configuration leaves `certificate` nothing to be about: no pool, powers or relaxation."""
    return not p.extended and p.twins == NO_TWIN and p.equal_power and not (p.irs and p.phase == SDR)


@kernel_part
def certify(p: Parameters, s: State, row: int, metrics: NDArray[np.float64]) -> None:
    """The frame's certificates, from its allocation and multipliers; NaN where nothing is certified.

    `certificate` is the largest of the pool's KKT residual, that of the powers unless these are equal, and the proven
    gap of the relaxation where there is one. `phase_gap` compares the gains at the row's phases, with the weights that
    these were last solved for, with the relaxation's bound; `twin_gap` all computing delay with the dual bound over
    all choices of twins.
    """
    w = s.work
    worst = certificates.pool_residual(
        w.front_flop, w.back_flop, w.speed_flop_s, w.twin, s.capacity_flop_s[row], w.boost_flop_s, w.back_end_flop_s,
        w.solution[POOL],
    )  # fmt: skip
    if not p.equal_power:
        residual = certificates.power_residual(
            w.gain_per_w, w.nat_seconds, p.power_total_w, p.power_max_w, w.power_w, w.solution[PRICE]
        )
        worst = max(worst, residual)
    metrics[row, PHASE_GAP] = metrics[row, TWIN_GAP] = math.nan
    if p.irs and p.phase == SDR:
        worst = max(worst, s.relaxation[row, 1])
        bound = s.relaxation[row, 0] * (1.0 + s.relaxation[row, 1])
        gap = certificates.relative_gap(s.phase_value[row], bound)
        metrics[row, PHASE_GAP] = gap + certificates.off_circle(s.phase, row)
    if p.twins == OPTIMAL:
        delay = compute_pool.pool_delay(
            w.front_flop, w.back_flop, w.speed_flop_s, w.twin, w.boost_flop_s, w.back_end_flop_s
        )
        for k in range(p.num_devices):
            delay += w.twin_cost_s[k] if w.twin[k] else w.front_flop[k] / w.speed_flop_s[k]
        bound = certificates.computing_bound(
            w.front_flop, w.back_flop, w.speed_flop_s, w.twin_cost_s, s.capacity_flop_s[row], w.solution[BOUND_PRICE]
        )
        metrics[row, TWIN_GAP] = certificates.relative_gap(bound, delay)
    metrics[row, CERTIFICATE] = math.nan if solves_nothing(p) else worst
