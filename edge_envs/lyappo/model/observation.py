"""The observation of a world."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.lyappo.config import Parameters
from edge_envs.lyappo.model.state import EDGE, State

OBSERVATION_LIMIT = 10.0
"""Observations are scaled to order one and clipped here."""

BACKLOG_SCALES = np.array([1e7, 1e4, 1e7])
"""Backlogs are shown as log(1 + Q / scale) / 3 - 1 [cycles, bit, cycles]; chosen: about one task."""

PAPER_FACTS, EXTENDED_FACTS = 9, 13
"""Numbers per service: backlogs, task sizes and allocations by stage; extended also end backlogs and arrivals."""

DEVICE_FACTS = 2
"""Numbers per device beside its services': power and full-power rate."""


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


@kernel
def encode_all(p: Parameters, s: State, observation: NDArray[np.float32]) -> None:
    """`encode` every row."""
    for row in range(len(observation)):
        encode(p, s, row, observation)
