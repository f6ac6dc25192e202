"""The observation: for each device, as configured, fade, virtual queue, compression price, mean gain and cycles."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.semcom.model.allocation import solve_round
from edge_envs.semcom.model.parameters import PSNR_MODE, Parameters
from edge_envs.semcom.model.state import State
from edge_envs.semcom.solvers.problem import upload_sensitivity

OBSERVATION_LIMIT = 8.0
"""Largest absolute value of an observation."""
QUEUE_SCALE_DB = 10.0
"""Scale of the virtual queues, which are observed as tanh(Z / scale) [dB]; chosen."""
PRICE_FLOOR = 1e-4
"""Added to a compression price before its logarithm; chosen."""
GAIN_CENTRE = -12.5
"""Typical log10 of a mean gain, observed as 0; chosen."""


def facts(p: Parameters) -> int:
    """Number of observed values per device."""
    return p.fading + (p.psnr_mode == PSNR_MODE.LONG_TERM) + p.observe_price + 3 * p.observe_geometry


@kernel
def update_price(p: Parameters, s: State, row: int) -> None:
    """Compute the compression prices of the next round: d cost / d rho_n at the middle compression rates."""
    if p.observe_price:
        middle = 0.5 * (p.compression_min + p.compression_max)
        for n in range(p.num_devices):
            s.compression_backup[n] = s.compression[row, n]
            s.compression[row, n] = middle
        solve_round(p, s, row)
        for n in range(p.num_devices):
            s.price[row, n] = upload_sensitivity(s.problem, s.workspace, n) / (middle * s.cost_scale[row])
            s.compression[row, n] = s.compression_backup[n]


@kernel_part
def encode(p: Parameters, s: State, row: int, observation: NDArray[np.float32]) -> None:
    """Write the observation of a row."""
    place = p.placement
    at = 0
    for n in range(p.num_devices):
        if p.fading:
            observation[row, at] = 0.5 * math.log(s.gain[row, n] / s.mean_gain[row, n])
            at += 1
        if p.psnr_mode == PSNR_MODE.LONG_TERM:
            observation[row, at] = math.tanh(s.queue_db[row, n] / QUEUE_SCALE_DB)
            at += 1
        if p.observe_price:
            observation[row, at] = min(0.5 * math.log10(s.price[row, n] + PRICE_FLOOR), OBSERVATION_LIMIT)
            at += 1
        if p.observe_geometry:
            level = math.log10(s.mean_gain[row, n]) - GAIN_CENTRE
            observation[row, at] = min(max(level, -OBSERVATION_LIMIT), OBSERVATION_LIMIT)
            device, server = s.device_cycles[row, n], s.server_cycles[row, n]
            observation[row, at + 1] = centred(device, place.device_cycles_min, place.device_cycles_max)
            observation[row, at + 2] = centred(server, place.server_cycles_min, place.server_cycles_max)
            at += 3


@kernel
def centred(value: float, low: float, high: float) -> float:
    """Map [low, high] to [-1, 1]; 0 if the range is a point."""
    return (2.0 * value - low - high) / (high - low) if high > low else 0.0


@kernel
def encode_all(p: Parameters, s: State, observation: NDArray[np.float32]) -> None:
    """Write the observations of all rows."""
    for row in range(len(observation)):
        encode(p, s, row, observation)
