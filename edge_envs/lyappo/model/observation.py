"""The observation: state (25)-(33) of the last step, scaled to order one and clipped to ±OBSERVATION_LIMIT."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.lyappo.config import LyaPPOConfig, Observation
from edge_envs.lyappo.model.parameters import OBSERVATION, Parameters
from edge_envs.lyappo.model.state import EDGE, State

OBSERVATION_LIMIT = 10.0
"""Largest absolute value of an observation."""

BACKLOG_SCALES = np.array([1e7, 1e4, 1e7])
"""A backlog Q is observed as log(1 + Q / scale) / 3 - 1 [cycles, bit, cycles]; chosen: about one task."""

SERVICE_COLUMNS = {Observation.PAPER: 9, Observation.EXTENDED: 13}
"""Columns per service: backlog, task size and allocation by stage; extended: also final backlogs and arrivals."""

DEVICE_COLUMNS = 2
"""Columns per device after those of its services: power and full-power rate."""


def member_view(config: LyaPPOConfig) -> NDArray[np.int64]:
    """Columns of the central observation that each device sees, shape (M, m): its own, and the server's backlog."""
    own = SERVICE_COLUMNS[config.observation] * config.num_services + DEVICE_COLUMNS
    columns = np.arange(config.num_devices * own).reshape(config.num_devices, own)
    return np.hstack([columns, np.full((config.num_devices, 1), columns.size)])


@kernel_part
def log_backlog(backlog: float, scale: float) -> float:
    """A backlog as it is observed."""
    return min(OBSERVATION_LIMIT, math.log(1.0 + backlog / scale) / 3.0 - 1.0)


@kernel_part
def encode_row(p: Parameters, s: State, row: int, observation: NDArray[np.float32]) -> None:
    """Write the observation of one row: the devices' columns, then the backlog of the server."""
    at = 0
    rate_scale = 4.0 * p.device_bandwidth_hz
    scales = (p.device_frequency_max_hz / p.num_services, rate_scale,
              p.server_frequency_max_hz / (p.num_devices * p.num_services))  # fmt: skip
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
            if p.observation == OBSERVATION.EXTENDED:
                for stage in range(3):
                    observation[row, at] = log_backlog(s.queues.backlog[row, stage, j], BACKLOG_SCALES[stage])
                    at += 1
                mean = p.arrivals_per_slot * p.slots_per_period
                observation[row, at] = min(s.period_arrivals[row, j] / mean - 1.0, OBSERVATION_LIMIT)
                at += 1
        observation[row, at] = s.period_power_w[row, m] / p.power_max_w
        observation[row, at + 1] = min(s.period_rate_max[row, m] / p.device_bandwidth_hz / 5.0 - 3.0, OBSERVATION_LIMIT)
        at += DEVICE_COLUMNS
    observation[row, at] = log_backlog(edge_total, BACKLOG_SCALES[EDGE])


@kernel
def encode(p: Parameters, s: State, observation: NDArray[np.float32]) -> None:
    """Write the observations of all rows."""
    for row in range(len(observation)):
        encode_row(p, s, row, observation)
