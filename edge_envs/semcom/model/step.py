"""The step of a batch, one training round of Algorithm 1, and the reset of a row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.core.kernels.metrics import columns
from edge_envs.core.kernels.randomness import BLOCK_STEPS
from edge_envs.core.physics.channel import complex_normal
from edge_envs.semcom.model.allocation import allocate_round
from edge_envs.semcom.model.calibration import calibrate
from edge_envs.semcom.model.dynamics import advance_fading, update_gain
from edge_envs.semcom.model.geometry import DRAW, GEOMETRY, place_device
from edge_envs.semcom.model.observation import encode, update_price
from edge_envs.semcom.model.parameters import PSNR_MODE, Parameters
from edge_envs.semcom.model.reward import account, certify
from edge_envs.semcom.model.state import State

RESET_DRAW = columns((*DRAW._fields, "fading_1", "fading_2", "queue"))
"""Columns of the uniforms of a device in a reset: those of the geometry, two for the fading, one for the queue."""
RESET_DRAWS = len(RESET_DRAW)


@kernel
def begin_episode(
    p: Parameters, s: State, row: int, draws: NDArray[np.float64], cost_scale: float,
    target_db: NDArray[np.float64],
) -> None:  # fmt: skip
    """Reset a row with uniforms of shape (N, RESET_DRAWS), which have the columns `RESET_DRAW`.

    `cost_scale` and the requirements `target_db` (N,) are those of a fixed geometry; see `calibrate`. They are not read
    if the geometry is random.
    """
    for n in range(p.num_devices):
        s.mean_gain[row, n] = p.fixed_geometry[GEOMETRY.mean_gain, n]
        s.device_cycles[row, n] = p.fixed_geometry[GEOMETRY.device_cycles, n]
        s.server_cycles[row, n] = p.fixed_geometry[GEOMETRY.server_cycles, n]
        if p.reset_geometry:
            placed = place_device(p.placement, draws, n)
            s.mean_gain[row, n], s.device_cycles[row, n], s.server_cycles[row, n] = placed
    if p.reset_geometry:
        calibrate(p, s, row)
    else:
        s.cost_scale[row] = cost_scale
        for n in range(p.num_devices):
            s.target_db[row, n] = target_db[n]
    for n in range(p.num_devices):
        real, imaginary = complex_normal(draws[n, RESET_DRAW.fading_1], draws[n, RESET_DRAW.fading_2])
        s.fading[row, n, 0], s.fading[row, n, 1] = real, imaginary
        queue_db = p.initial_queue_max_db * draws[n, RESET_DRAW.queue]
        s.queue_db[row, n] = queue_db if p.psnr_mode == PSNR_MODE.LONG_TERM else 0.0
        s.psnr_sum_db[row, n] = 0.0
        s.psnr_db[row, n] = 0.0
        s.sensitivity[row, n] = 0.0
        s.compression[row, n] = 0.5 * (p.compression_min + p.compression_max)
    update_gain(p, s, row)
    s.rounds[row] = 0
    s.relaxed[row] = 0
    s.cursor[row] = BLOCK_STEPS


@kernel
def run(
    p: Parameters, s: State, rows: NDArray[np.int64], actions: NDArray[np.float64], observation: NDArray[np.float32],
    reward: NDArray[np.float64], member: NDArray[np.float64], metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Advance `rows` by one round and write the results into arrays of zeros."""
    for i in range(len(rows)):
        row = rows[i]
        deadline_s = allocate_round(p, s, row, actions)
        account(p, s, row, reward, member, metrics)
        certify(p, s, row, deadline_s, metrics)
        advance_fading(p, s, row)
        update_price(p, s, row)
        encode(p, s, row, observation)
