"""Reward (34) and metrics of a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.kernels.metrics import Metric, columns
from edge_envs.lyappo.model.parameters import DECISION, Parameters
from edge_envs.lyappo.model.state import EDGE, LOCAL, TRANSMIT, State

METRICS = (
    Metric("energy_j", "J", "energy of all devices in the step"),
    Metric("energy_local_j", "J", "the part of their processors, eq. (5)"),
    Metric("energy_transmit_j", "J", "the part of their radios, eq. (6)"),
    Metric("power_mw", "mW", "mean power of a device"),
    Metric("backlog_local_cycles", "cycles", "mean backlog of a local queue"),
    Metric("backlog_transmit_bits", "bit", "mean backlog of a transmit queue"),
    Metric("backlog_edge_cycles", "cycles", "mean backlog of an edge queue"),
    Metric("tasks_arrived", "tasks", "tasks that arrived in the step"),
    Metric("tasks_finished", "tasks", "tasks completed in the step"),
    Metric("finished_ratio", "-", "completed over arrived tasks since the reset (1 before the first arrives)", "last"),
    Metric("mean_cut", "index", "mean cut in force"),
    Metric("certificate", "-", "largest relative duality gap of the step's Problems 3, 4, 5; NaN: joint", "max", True),
    Metric("tasks_dropped", "tasks", "tasks that found a full queue"),
    Metric("requests_projected", "requests", "sums of requested resources above C.4, C.6 or C.7, scaled down (joint)"),
)
MEMBER_METRICS = ("power_mw", "finished_ratio")
M, MEMBER = columns(METRICS), columns(("reward", *MEMBER_METRICS))


@kernel_part
def departures(p: Parameters, s: State, row: int) -> tuple[int, int]:
    """Numbers of tasks finished and dropped since the reset."""
    finished, dropped = 0, 0
    for j in range(p.num_devices * p.num_services):
        finished += s.finished[row, j]
        dropped += s.dropped[row, j]
    return finished, dropped


@kernel_part
def report(
    p: Parameters, s: State, row: int, finished_before: int, dropped_before: int, member: NDArray[np.float64],
    metrics: NDArray[np.float64],
) -> float:  # fmt: skip
    """Reward (34) of the step; fills the row of zeroed arrays `member` (3, B, M) and `metrics`.

    `finished_before` and `dropped_before` are the row's `departures` before the step.
    """
    to_mw = 1e3 / (p.slots_per_period * p.slot_s)
    services = p.num_devices * p.num_services
    reward = 0.0
    finished_all, dropped_all, arrived_all = 0, 0, 0
    for m in range(p.num_devices):
        queued = 0.0
        finished, arrived = 0, 0
        for j in range(m * p.num_services, (m + 1) * p.num_services):
            for stage in range(3):
                queued += p.backlog_price[stage] * s.period_backlog[row, stage, j]
            metrics[row, M.backlog_local_cycles] += s.period_backlog[row, LOCAL, j] / services
            metrics[row, M.backlog_transmit_bits] += s.period_backlog[row, TRANSMIT, j] / services
            metrics[row, M.backlog_edge_cycles] += s.period_backlog[row, EDGE, j] / services
            finished += s.finished[row, j]
            arrived += s.arrived[row, j]
            metrics[row, M.tasks_arrived] += s.period_arrivals[row, j]
            dropped_all += s.dropped[row, j]
            metrics[row, M.mean_cut] += s.cut[row, j] / services
        energy = s.energy_local_j[row, m] + s.energy_transmit_j[row, m]
        cost = p.reward_energy_per_j * energy / p.slots_per_period + p.reward_backlog * queued
        member[MEMBER.reward, row, m] = -cost
        member[MEMBER.power_mw, row, m] = energy * to_mw
        member[MEMBER.finished_ratio, row, m] = finished / arrived if arrived > 0 else 1.0
        reward -= cost
        metrics[row, M.energy_j] += energy
        metrics[row, M.energy_local_j] += s.energy_local_j[row, m]
        metrics[row, M.energy_transmit_j] += s.energy_transmit_j[row, m]
        finished_all += finished
        arrived_all += arrived
    metrics[row, M.power_mw] = metrics[row, M.energy_j] * to_mw / p.num_devices
    metrics[row, M.tasks_finished] = finished_all - finished_before
    metrics[row, M.tasks_dropped] = dropped_all - dropped_before
    metrics[row, M.finished_ratio] = finished_all / arrived_all if arrived_all > 0 else 1.0
    metrics[row, M.certificate] = np.nan if p.decision == DECISION.JOINT else s.certificate[row]
    metrics[row, M.requests_projected] = s.projected[row]
    return reward
