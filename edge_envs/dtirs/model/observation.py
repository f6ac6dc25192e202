"""The observation of a world: for each device its gains, speed, work and last cut; then what all devices share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.dtirs.model.parameters import UPLINK, Parameters
from edge_envs.dtirs.model.state import State

OBSERVATION_LIMIT = 8.0
GAIN_CENTRE, GAIN_SCALE = 5.0, 2.0
"""Mean and spread of ln(gain / noise) in the default system."""


@kernel
def has_own_uplink(p: Parameters) -> bool:
    """Return True if uplink gains differ from downlink gains; on the direct path they do not."""
    return p.irs and p.uplink != UPLINK.RECIPROCAL


def device_columns(p: Parameters) -> int:
    """Columns per device."""
    return 5 if has_own_uplink(p) else 4


def shared_columns(p: Parameters) -> int:
    """Columns that all devices share: the pool's level if it can change, the backlog if there is one."""
    return (len(p.pool_levels) > 1) + p.backlog


def member_views(p: Parameters) -> NDArray[np.int64]:
    """Columns that each device sees, shape (K, n): its own, the shared ones, then those of the next devices in turn."""
    users, facts = p.num_devices, device_columns(p)
    own = np.arange(users * facts).reshape(users, facts)
    shared = np.arange(users * facts, users * facts + shared_columns(p))
    turned = [np.roll(own, -member, axis=0) for member in range(users)]
    return np.array([np.concatenate([each[0], shared, each[1:].ravel()]) for each in turned], dtype=np.int64)


@kernel
def limited(value: float) -> float:
    """The value, clipped to the limits of the observation."""
    return min(max(value, -OBSERVATION_LIMIT), OBSERVATION_LIMIT)


@kernel_part
def encode(p: Parameters, s: State, row: int, observation: NDArray[np.float32]) -> None:
    """Write the observation (B, n) of a row."""
    at = 0
    middle, half = 0.5 * (p.layer_flop_max + p.layer_flop_min), 0.5 * (p.layer_flop_max - p.layer_flop_min)
    for k in range(p.num_devices):
        observation[row, at] = limited((math.log(s.gain_down[row, k] / p.noise_w) - GAIN_CENTRE) / GAIN_SCALE)
        at += 1
        if has_own_uplink(p):
            observation[row, at] = limited((math.log(s.gain_up[row, k] / p.noise_w) - GAIN_CENTRE) / GAIN_SCALE)
            at += 1
        observation[row, at] = 2.0 * s.speed_flop_s[row, k] / p.speed_max_flop_s - 1.0
        work = (s.layer_flop[row, k] - middle) / half * math.sqrt(float(p.num_layers)) if half > 0.0 else 0.0
        observation[row, at + 1] = limited(work)
        observation[row, at + 2] = 2.0 * s.choice[row, k] / (len(p.cut_numbers) - 1.0) - 1.0
        at += 3
    if len(p.pool_levels) > 1:
        observation[row, at] = limited(math.log(s.capacity_flop_s[row] / p.pool_flop_s))
        at += 1
    if p.backlog:
        observation[row, at] = math.tanh(s.backlog_flop[row] / (s.capacity_flop_s[row] * p.frame_s))


@kernel
def encode_all(p: Parameters, s: State, observation: NDArray[np.float32]) -> None:
    """Write the observations (B, n) of all rows."""
    for row in range(len(observation)):
        encode(p, s, row, observation)
