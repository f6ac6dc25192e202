"""One period of each row in one compiled loop: draw, allocate, serve, and what the step reports."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.system import Metric
from edge_envs.lyappo.config import Parameters
from edge_envs.lyappo.model import (
    DROPPED,
    EDGE,
    FINISHED,
    LOCAL,
    TRANSMIT,
    State,
    advance_regimes,
    draw_arrivals,
    draw_gain,
    enter,
    fading_draws,
    local_energy,
    serve,
)
from edge_envs.lyappo.solvers import (
    edge_frequency,
    full_power_rate,
    local_frequency,
    power_for_rate,
    transmit_rate,
)

METRICS = (
    Metric("energy_j", "J", "energy of all devices in the step"),
    Metric("energy_local_j", "J", "the part of their processors, eq. (5)"),
    Metric("energy_transmit_j", "J", "the part of their radios, eq. (6)"),
    Metric("power_mw", "mW", "mean power of a device"),
    Metric("backlog_local_cycles", "cycles", "mean backlog of a local queue"),
    Metric("backlog_transmit_bits", "bit", "mean backlog of a transmit queue"),
    Metric("backlog_edge_cycles", "cycles", "mean backlog of an edge queue"),
    Metric("tasks_arrived", "tasks", "tasks born in the step"),
    Metric("tasks_finished", "tasks", "tasks completed in the step"),
    Metric("finished_ratio", "-", "tasks completed over tasks born, since the reset (1 before the first)", "last"),
    Metric("mean_cut", "index", "mean cut in force"),
    Metric("certificate", "-", "largest relative duality gap of the step's Problems 3, 4, 5; NaN: joint", "max", True),
    Metric("tasks_dropped", "tasks", "tasks that found a full queue"),
    Metric("requests_projected", "requests", "sums of requested resources above C.4, C.6 or C.7, scaled down (joint)"),
)
"""Columns of the metrics, in the order in which `report` fills them."""

(
    ENERGY_J, ENERGY_LOCAL_J, ENERGY_TRANSMIT_J, POWER_MW, BACKLOG_LOCAL, BACKLOG_TRANSMIT, BACKLOG_EDGE, ARRIVED,
    FINISHED_NOW, FINISHED_RATIO, MEAN_CUT, CERTIFICATE, DROPPED_NOW, PROJECTED,
) = range(len(METRICS))  # fmt: skip

OBSERVATION_LIMIT = 10.0
"""Observations are scaled to order one and clipped here."""
BACKLOG_SCALES = np.array([1e7, 1e4, 1e7])
"""Backlogs are shown as log(1 + Q / scale) / 3 - 1 [cycles, bit, cycles]; chosen: about one task."""
PAPER_FACTS, EXTENDED_FACTS = 9, 13
"""Numbers per service: backlogs, task sizes and allocations by stage; extended also end backlogs and arrivals."""
DEVICE_FACTS = 2
"""Numbers per device beside its services': power and full-power rate."""


@kernel_part
def begin_period(p: Parameters, s: State, row: int, choices: NDArray[np.int64]) -> None:
    """Put the chosen cuts in force and clear the sums over the slots of a period."""
    for m in range(p.num_devices):
        s.period_power_w[row, m] = 0.0
        s.period_rate_max[row, m] = 0.0
        s.energy_local_j[row, m] = 0.0
        s.energy_transmit_j[row, m] = 0.0
        for j in range(m * p.num_services, (m + 1) * p.num_services):
            s.cut[row, j] = choices[row, j] + p.k_min
            s.period_arrivals[row, j] = 0
            for stage in range(3):
                s.period_backlog[row, stage, j] = 0.0
                s.period_allocation[row, stage, j] = 0.0
    s.certificate[row] = 0.0


@kernel_part
def draw_channels(p: Parameters, s: State, row: int, at: int) -> None:
    """Gains h_m and full-power rates R_m of one slot, from the draws on `at`; adds up eq. (33)."""
    for m in range(p.num_devices):
        s.gain[m] = draw_gain(p, s, row, m, at + m * fading_draws(p))
        s.rate_max[m] = full_power_rate(s.gain[m], p.power_max_w, p.bandwidth_hz, p.noise_w_per_hz)
        s.period_rate_max[row, m] += s.rate_max[m]


@kernel_part
def allocate_optimally(p: Parameters, s: State, row: int) -> None:
    """Solve Problems 3, 4 and 5 for the slot; keeps the period's largest relative duality gap."""
    backlog = s.queues.backlog
    worst = s.certificate[row]
    for m in range(p.num_devices):
        first = m * p.num_services
        _, _, gap = local_frequency(
            backlog, row, LOCAL, first, p.num_services, p.slot_s, p.weight_local, p.energy_coefficient,
            p.frequency_local_max_hz, s.order, s.allocation,
        )  # fmt: skip
        worst = max(worst, gap)
        _, power, _, gap = transmit_rate(
            backlog, row, TRANSMIT, first, p.num_services, p.slot_s, p.weight_transmit, s.gain[m], p.power_max_w,
            s.rate_max[m], p.bandwidth_hz, p.noise_w_per_hz, s.order, s.allocation,
        )  # fmt: skip
        worst = max(worst, gap)
        s.power_w[row, m] = power
    services = p.num_devices * p.num_services
    _, _, gap = edge_frequency(
        backlog, row, EDGE, 0, services, p.slot_s, p.frequency_edge_max_hz, s.order, s.allocation
    )
    s.certificate[row] = max(worst, gap)


@kernel_part
def allocate_as_requested(p: Parameters, s: State, row: int) -> None:
    """Serve what the agent asked for, at most the backlog (C.8-C.10); the power is that of the rate really sent."""
    for m in range(p.num_devices):
        rate_max = full_power_rate(s.gain[m], s.request_power_w[row, m], p.bandwidth_hz, p.noise_w_per_hz)
        sent = 0.0
        for j in range(m * p.num_services, (m + 1) * p.num_services):
            for stage in range(3):
                wanted = s.request[row, stage, j] * (rate_max if stage == TRANSMIT else 1.0)
                s.allocation[row, stage, j] = min(wanted, s.queues.backlog[row, stage, j] / p.slot_s)
            sent += s.allocation[row, TRANSMIT, j]
        power = power_for_rate(sent, s.gain[m], p.bandwidth_hz, p.noise_w_per_hz)
        s.power_w[row, m] = min(s.request_power_w[row, m], power)


@kernel_part
def finish_slot(p: Parameters, s: State, row: int, at: int) -> None:
    """Charge the slot's energy, serve the queues, move finished tasks, then add arrivals (one draw a service)."""
    for m in range(p.num_devices):
        frequency = 0.0
        for j in range(m * p.num_services, (m + 1) * p.num_services):
            frequency += s.allocation[row, LOCAL, j]
        s.energy_local_j[row, m] += local_energy(p, frequency)
        s.energy_transmit_j[row, m] += p.slot_s * s.power_w[row, m]
        s.period_power_w[row, m] += s.power_w[row, m]
    # Last stage first: what moves on in this slot is first served in the next one.
    for stage in (EDGE, TRANSMIT, LOCAL):
        for m in range(p.num_devices):
            for n in range(p.num_services):
                j = m * p.num_services + n
                backlog = s.queues.backlog[row, stage, j]
                if backlog > 0.0:
                    share = s.allocation[row, stage, j]
                    s.period_backlog[row, stage, j] += backlog
                    s.period_allocation[row, stage, j] += share
                    serve(p, s, row, j, n, stage, share * p.slot_s)
    for m in range(p.num_devices):
        for n in range(p.num_services):
            j = m * p.num_services + n
            born = draw_arrivals(p, s.level[row, m], s.uniforms[row, s.cursor[row], at + j])
            s.period_arrivals[row, j] += born
            s.arrived[row, j] += born
            for _ in range(born):
                way = enter(p, s.queues, row, j, n, LOCAL, s.cut[row, j])
                s.finished[row, j] += way == FINISHED
                s.dropped[row, j] += way == DROPPED


@kernel_part
def end_period(p: Parameters, s: State, row: int, at: int) -> None:
    """Turn the sums over the slots into means and move the regimes on."""
    for m in range(p.num_devices):
        s.period_power_w[row, m] /= p.slots
        s.period_rate_max[row, m] /= p.slots
    for j in range(p.num_devices * p.num_services):
        for stage in range(3):
            s.period_backlog[row, stage, j] /= p.slots
            s.period_allocation[row, stage, j] /= p.slots
    advance_regimes(p, s, row, at)
    s.cursor[row] += 1


@kernel_part
def log_backlog(backlog: float, scale: float) -> float:
    """A backlog as the agent sees it."""
    return min(OBSERVATION_LIMIT, math.log(1.0 + backlog / scale) / 3.0 - 1.0)


@kernel_part
def encode(p: Parameters, s: State, row: int, observation: NDArray[np.float32]) -> None:
    """State (25)-(33) of the period just over into observation[row], device after device, scaled to order one."""
    at = 0
    rate_scale = 4.0 * p.bandwidth_hz
    scales = (p.frequency_local_max_hz / p.num_services, rate_scale,
              p.frequency_edge_max_hz / (p.num_devices * p.num_services))  # fmt: skip
    edge_total = 0.0
    for m in range(p.num_devices):
        for n in range(p.num_services):
            j = m * p.num_services + n
            edge_total += s.period_backlog[row, EDGE, j]
            for stage in range(3):
                size = p.stage_work[stage, n, s.cut[row, j]] / p.stage_work_max[stage, n]
                share = s.period_allocation[row, stage, j] / scales[stage]
                observation[row, at] = log_backlog(s.period_backlog[row, stage, j], BACKLOG_SCALES[stage])
                observation[row, at + 1] = size
                observation[row, at + 2] = min(share, OBSERVATION_LIMIT)
                at += 3
            if p.extended_observation:
                for stage in range(3):
                    observation[row, at] = log_backlog(s.queues.backlog[row, stage, j], BACKLOG_SCALES[stage])
                    at += 1
                mean = p.arrivals_per_slot * p.slots
                observation[row, at] = min(s.period_arrivals[row, j] / mean - 1.0, OBSERVATION_LIMIT)
                at += 1
        observation[row, at] = s.period_power_w[row, m] / p.power_max_w
        observation[row, at + 1] = min(s.period_rate_max[row, m] / p.bandwidth_hz / 5.0 - 3.0, OBSERVATION_LIMIT)
        at += DEVICE_FACTS
    observation[row, at] = log_backlog(edge_total, BACKLOG_SCALES[EDGE])


@kernel_part
def leavers(p: Parameters, s: State, row: int) -> tuple[int, int]:
    """Tasks of the row that were finished and dropped since the reset."""
    finished, dropped = 0, 0
    for j in range(p.num_devices * p.num_services):
        finished += s.finished[row, j]
        dropped += s.dropped[row, j]
    return finished, dropped


@kernel_part
def report(p: Parameters, s: State, row: int, member: NDArray[np.float64], metrics: NDArray[np.float64]) -> float:
    """Reward (34) of the period just over; fills `member` (3, B, M: reward, mW, finished ratio) and `metrics`.

    Counts of tasks finished and dropped in the period are left to the caller, who knows those before it.
    """
    to_mw = 1e3 / (p.slots * p.slot_s)
    services = p.num_devices * p.num_services
    reward = 0.0
    finished_all, arrived_all = 0, 0
    for m in range(p.num_devices):
        queued = 0.0
        finished, arrived = 0, 0
        for j in range(m * p.num_services, (m + 1) * p.num_services):
            for stage in range(3):
                queued += p.backlog_price[stage] * s.period_backlog[row, stage, j]
                metrics[row, BACKLOG_LOCAL + stage] += s.period_backlog[row, stage, j] / services
            finished += s.finished[row, j]
            arrived += s.arrived[row, j]
            metrics[row, ARRIVED] += s.period_arrivals[row, j]
            metrics[row, MEAN_CUT] += s.cut[row, j] / services
        energy = s.energy_local_j[row, m] + s.energy_transmit_j[row, m]
        member[0, row, m] = -(p.reward_energy_per_j * energy / p.slots + p.reward_backlog * queued)
        member[1, row, m] = energy * to_mw
        member[2, row, m] = finished / arrived if arrived > 0 else 1.0
        reward += member[0, row, m]
        metrics[row, ENERGY_J] += energy
        metrics[row, ENERGY_LOCAL_J] += s.energy_local_j[row, m]
        metrics[row, ENERGY_TRANSMIT_J] += s.energy_transmit_j[row, m]
        finished_all += finished
        arrived_all += arrived
    metrics[row, POWER_MW] = metrics[row, ENERGY_J] * to_mw / p.num_devices
    metrics[row, FINISHED_RATIO] = finished_all / arrived_all if arrived_all > 0 else 1.0
    metrics[row, CERTIFICATE] = np.nan if p.joint else s.certificate[row]
    metrics[row, PROJECTED] = s.projected[row]
    return reward


@kernel_part
def close_period(
    p: Parameters, s: State, row: int, at: int, finished: int, dropped: int, observation: NDArray[np.float32],
    reward: NDArray[np.float64], member: NDArray[np.float64], metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Close a row's period with the regime draws on `at` and report it, given its `leavers` before the period."""
    end_period(p, s, row, at)
    encode(p, s, row, observation)
    reward[row] = report(p, s, row, member, metrics)
    finished_now, dropped_now = leavers(p, s, row)
    metrics[row, FINISHED_NOW] = finished_now - finished
    metrics[row, DROPPED_NOW] = dropped_now - dropped


@kernel
def run(
    p: Parameters, s: State, rows: NDArray[np.int64], choices: NDArray[np.int64], observation: NDArray[np.float32],
    reward: NDArray[np.float64], member: NDArray[np.float64], metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Advance `rows` by one period with the cuts `choices` + k_min, and report it into zeroed arrays."""
    channel_draws = fading_draws(p) * p.num_devices
    slot_draws = channel_draws + p.num_devices * p.num_services
    for i in range(len(rows)):
        row = rows[i]
        finished, dropped = leavers(p, s, row)
        begin_period(p, s, row, choices)
        for slot in range(p.slots):
            draw_channels(p, s, row, slot * slot_draws)
            if p.joint:
                allocate_as_requested(p, s, row)
            else:
                allocate_optimally(p, s, row)
            finish_slot(p, s, row, slot * slot_draws + channel_draws)
        close_period(p, s, row, p.slots * slot_draws, finished, dropped, observation, reward, member, metrics)


@kernel
def encode_all(p: Parameters, s: State, observation: NDArray[np.float32]) -> None:
    """`encode` every row."""
    for row in range(len(observation)):
        encode(p, s, row, observation)
