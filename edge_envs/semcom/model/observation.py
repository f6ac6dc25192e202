"""The observation of a world."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.semcom.config import LONG_TERM, Parameters
from edge_envs.semcom.model.state import State, pose
from edge_envs.semcom.solvers import joint
from edge_envs.semcom.solvers.problem import transmit_energy

OBSERVATION_LIMIT = 8.0

QUEUE_SCALE_DB = 10.0

PRICE_FLOOR = 1e-4

GAIN_CENTRE = -12.5
"""Typical log10 of a mean gain, the middle of its observation."""


def facts(p: Parameters) -> int:
    """Numbers per device in the observation."""
    return p.fading + (p.psnr_mode == LONG_TERM) + p.observe_price + 3 * p.observe_geometry


@kernel_part
def update_price(p: Parameters, s: State, row: int) -> None:
    """What a unit of each compression rate would cost in the round to come, over the cost scale, at middle rates."""
    if p.observe_price:
        middle = 0.5 * (p.compression_min + p.compression_max)
        for n in range(p.num_devices):
            s.rho[n] = s.compression[row, n]
            s.compression[row, n] = middle
        pose(p, s, row)
        joint.solve(s.problem, s.work, math.inf)
        for n in range(p.num_devices):
            worth = p.weight_energy * transmit_energy(s.work, n) + s.work.time_price[n] * s.work.upload_s[n]
            s.price[row, n] = worth / (middle * s.cost_scale[row])
            s.compression[row, n] = s.rho[n]


@kernel_part
def encode(p: Parameters, s: State, row: int, observation: NDArray[np.float32]) -> None:
    """What is there of each device's fade, virtual queue, price, mean gain and cycles; all within the limit."""
    at = 0
    for n in range(p.num_devices):
        if p.fading:
            observation[row, at] = 0.5 * math.log(s.gain[row, n] / s.mean_gain[row, n])
            at += 1
        if p.psnr_mode == LONG_TERM:
            observation[row, at] = math.tanh(s.queue_db[row, n] / QUEUE_SCALE_DB)
            at += 1
        if p.observe_price:
            observation[row, at] = min(0.5 * math.log10(s.price[row, n] + PRICE_FLOOR), OBSERVATION_LIMIT)
            at += 1
        if p.observe_geometry:
            level = math.log10(s.mean_gain[row, n]) - GAIN_CENTRE
            observation[row, at] = min(max(level, -OBSERVATION_LIMIT), OBSERVATION_LIMIT)
            observation[row, at + 1] = centred(s.device_cycles[row, n], p.device_cycles_min, p.device_cycles_max)
            observation[row, at + 2] = centred(s.server_cycles[row, n], p.server_cycles_min, p.server_cycles_max)
            at += 3


@kernel
def centred(value: float, low: float, high: float) -> float:
    """A value of [low, high] on [-1, 1]."""
    return (2.0 * value - low - high) / (high - low) if high > low else 0.0


@kernel
def encode_all(p: Parameters, s: State, observation: NDArray[np.float32]) -> None:
    """`encode` every row."""
    for row in range(len(observation)):
        encode(p, s, row, observation)


@kernel
def start_price(p: Parameters, s: State, row: int) -> None:
    """`update_price` of a row that was just reset."""
    update_price(p, s, row)
