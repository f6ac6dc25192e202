"""Reward and metrics of a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.metrics import Metric
from edge_envs.lyappo.config import Parameters
from edge_envs.lyappo.model.state import State

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
