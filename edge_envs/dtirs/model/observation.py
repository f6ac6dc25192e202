"""The observation of a world."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.dtirs.config import Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers.irs_links import RECIPROCAL

OBSERVATION_LIMIT = 8.0

GAIN_CENTRE, GAIN_SCALE = 5.0, 2.0
"""Middle and spread of ln(gain / noise) in the default system, for its observation."""


@kernel
def has_own_uplink(p: Parameters) -> bool:
    """Whether uplink gains differ from those of the downlink; on the direct path they do not."""
    return p.irs and p.uplink != RECIPROCAL


def facts(p: Parameters) -> int:
    """Numbers per device in the observation."""
    return 5 if has_own_uplink(p) else 4


def shared_facts(p: Parameters) -> int:
    """Numbers of the observation that all devices share: the pool's level if it changes, the backlog if on."""
    return (len(p.pool_levels) > 1) + p.backlog


@kernel
def limited(value: float) -> float:
    """A value within the observation's limits."""
    return min(max(value, -OBSERVATION_LIMIT), OBSERVATION_LIMIT)


@kernel_part
def encode(p: Parameters, s: State, row: int, observation: NDArray[np.float32]) -> None:
    """Each device's gains, speed, work and last cut; then what all share."""
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
    """`encode` every row."""
    for row in range(len(observation)):
        encode(p, s, row, observation)
