"""The paper's system: devices with fading uplinks, their requirements, and what a round cost.

Everything is written for one row (world) of a batch of B worlds with N devices.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.kernels.randomness import BLOCK_STEPS, allocate_uniforms
from edge_envs.core.physics.channel import complex_normal, gauss_markov
from edge_envs.semcom import joint
from edge_envs.semcom.config import LONG_TERM, Parameters
from edge_envs.semcom.geometry import GEOMETRY_DRAWS, between, mean_gain
from edge_envs.semcom.problem import OBJECTIVE, Problem, Workspace, allocate_workspace
from edge_envs.semcom.psnr import psnr_db

RESET_DRAWS = GEOMETRY_DRAWS + 3
"""Uniforms per device that a reset uses: those of the geometry, two for the fading, one for the virtual queue."""
ROUND_DRAWS = 2
"""Uniforms per device that the next round's fading uses."""
TARGET_MARGIN_DB = 0.1
"""A common requirement stays this far below what a device reaches at the largest compression rate; chosen."""


class State(NamedTuple):
    """B worlds. The fields of the round describe the one just over."""

    mean_gain: NDArray[np.float64]  # (B, N) power gain without fading
    device_cycles: NDArray[np.float64]  # (B, N) c_1n [cycles/sample]
    server_cycles: NDArray[np.float64]  # (B, N) c_2n [cycles/sample]
    fading: NDArray[np.float64]  # (B, N, 2) complex fading, real and imaginary part
    gain: NDArray[np.float64]  # (B, N) g_n of the round to come
    target_db: NDArray[np.float64]  # (B, N) PSNR requirement
    cost_scale: NDArray[np.float64]  # (B,) mean objective at the smallest compression rates
    queue_db: NDArray[np.float64]  # (B, N) virtual queue Z_n [dB rounds]
    psnr_sum_db: NDArray[np.float64]  # (B, N) since the reset
    rounds: NDArray[np.int64]  # (B,) since the reset
    price: NDArray[np.float64]  # (B, N) cost of a unit of compression rate, over the cost scale, at the middle rates
    compression: NDArray[np.float64]  # (B, N) rho_n of the round
    psnr_db: NDArray[np.float64]  # (B, N) of the round
    sensitivity: NDArray[np.float64]  # (B, N) d objective / d ln rho_n of the round, at the required SNR
    relaxed: NDArray[np.int64]  # (B,) devices whose SNR requirement was relaxed in the round
    problem: Problem  # scratch: the round in hand
    work: Workspace  # scratch: its solution
    rates: NDArray[np.float64]  # (N,) scratch of Algorithm 3
    goal_db: NDArray[np.float64]  # (N,) scratch of Algorithm 3: requirements
    rho: NDArray[np.float64]  # (N,) scratch of Algorithm 3: compression rates
    limits: NDArray[np.float64]  # (2,) rho_min and rho_max
    uniforms: NDArray[np.float64]  # (B, BLOCK_STEPS, draws) drawn ahead
    cursor: NDArray[np.int64]  # (B,) steps of the block already used


def allocate_problem(p: Parameters) -> Problem:
    """A problem with the configuration's limits and room for everything else."""
    devices = p.num_devices
    return Problem(
        bits=np.ones(devices),
        gain=np.ones(devices),
        snr_min=np.zeros(devices),
        device_cycles=np.ones(devices),
        server_cycles=np.ones(devices),
        power_max_w=np.full(devices, p.power_max_w),
        device_frequency_max_hz=np.full(devices, p.device_frequency_max_hz),
        server_frequency_max_hz=np.full(devices, p.server_frequency_max_hz),
        bandwidth_hz=p.bandwidth_hz,
        noise_w_per_hz=p.noise_w_per_hz,
        device_energy_coefficient=p.device_energy_coefficient,
        server_energy_coefficient=p.server_energy_coefficient,
        weight_time=p.weight_time,
        weight_energy=p.weight_energy,
    )


def allocate(p: Parameters, batch: int) -> State:
    """State arrays of `batch` worlds, all zero and out of draws."""
    devices = (batch, p.num_devices)
    uniforms, cursor = allocate_uniforms(batch, ROUND_DRAWS * p.num_devices if p.fading else 0)
    return State(
        mean_gain=np.zeros(devices),
        device_cycles=np.zeros(devices),
        server_cycles=np.zeros(devices),
        fading=np.zeros((*devices, 2)),
        gain=np.zeros(devices),
        target_db=np.zeros(devices),
        cost_scale=np.zeros(batch),
        queue_db=np.zeros(devices),
        psnr_sum_db=np.zeros(devices),
        rounds=np.zeros(batch, dtype=np.int64),
        price=np.zeros(devices),
        compression=np.zeros(devices),
        psnr_db=np.zeros(devices),
        sensitivity=np.zeros(devices),
        relaxed=np.zeros(batch, dtype=np.int64),
        problem=allocate_problem(p),
        work=allocate_workspace(p.num_devices),
        rates=np.zeros(p.num_devices),
        goal_db=np.zeros(p.num_devices),
        rho=np.zeros(p.num_devices),
        limits=np.array([p.compression_min, p.compression_max]),
        uniforms=uniforms,
        cursor=cursor,
    )


@kernel_part
def pose(p: Parameters, s: State, row: int) -> None:
    """Put the row's gains, cycles and compression rates into the problem, without any requirement on the SNR."""
    for n in range(p.num_devices):
        s.problem.bits[n] = s.compression[row, n] * p.raw_bits
        s.problem.gain[n] = s.gain[row, n]
        s.problem.snr_min[n] = 0.0
        s.problem.device_cycles[n] = s.device_cycles[row, n] * p.samples
        s.problem.server_cycles[n] = s.server_cycles[row, n] * p.samples


@kernel_part
def fade(p: Parameters, s: State, row: int) -> None:
    """Gain of the round to come: path loss and shadowing times the fading's power, which has a floor."""
    for n in range(p.num_devices):
        power = 1.0
        if p.fading:
            real, imaginary = s.fading[row, n, 0], s.fading[row, n, 1]
            power = max(real * real + imaginary * imaginary, p.fade_floor)
        s.gain[row, n] = s.mean_gain[row, n] * power


@kernel_part
def advance_fading(p: Parameters, s: State, row: int) -> None:
    """Gauss-Markov fading of the next round, from the row's next draws."""
    if p.fading:
        block = s.cursor[row]
        for n in range(p.num_devices):
            real, imaginary = complex_normal(s.uniforms[row, block, 2 * n], s.uniforms[row, block, 2 * n + 1])
            after = gauss_markov(s.fading[row, n, 0], s.fading[row, n, 1], p.fading_correlation, real, imaginary)
            s.fading[row, n, 0], s.fading[row, n, 1] = after
        fade(p, s, row)
    s.cursor[row] += 1


@kernel_part
def calibrate(p: Parameters, s: State, row: int) -> None:
    """Cost scale and PSNR requirements of the row's geometry, from jointly optimal rounds with independent fading.

    The scale is the mean objective at the smallest compression rates. With a `target_fraction` a device's requirement
    lies between its mean PSNR at the smallest and at the largest; a common one is lowered to what it can reach.
    """
    rounds = len(p.calibration_fades)
    scale = 0.0
    for n in range(p.num_devices):
        s.psnr_db[row, n] = 0.0
        s.psnr_sum_db[row, n] = 0.0
    for end in range(2):
        for n in range(p.num_devices):
            s.compression[row, n] = p.compression_max if end else p.compression_min
        if end and p.psnr_mode != LONG_TERM:
            break
        for k in range(rounds):
            for n in range(p.num_devices):
                s.gain[row, n] = s.mean_gain[row, n] * p.calibration_fades[k, n]
            pose(p, s, row)
            joint.solve(s.problem, s.work, math.inf)
            if not end:
                scale += s.work.totals[OBJECTIVE] / rounds
            for n in range(p.num_devices):
                quality = psnr_db(p.law, s.compression[row, n], math.expm1(s.work.u[n])) / rounds
                if end:
                    s.psnr_sum_db[row, n] += quality
                else:
                    s.psnr_db[row, n] += quality
    s.cost_scale[row] = scale
    for n in range(p.num_devices):
        low, high = s.psnr_db[row, n], s.psnr_sum_db[row, n]
        target = p.psnr_min_db
        if p.psnr_mode == LONG_TERM:
            target = min(target, high - TARGET_MARGIN_DB)
            if p.target_fraction >= 0.0:
                target = low + p.target_fraction * (high - low)
        s.target_db[row, n] = target


@kernel
def calibrate_row(p: Parameters, s: State, row: int) -> None:
    """`calibrate` one row."""
    calibrate(p, s, row)


@kernel
def begin_episode(
    p: Parameters, s: State, row: int, draws: NDArray[np.float64], cost_scale: float,
    target_db: NDArray[np.float64],
) -> None:  # fmt: skip
    """Start a row afresh with the uniforms `draws`, shape (N, RESET_DRAWS).

    A fixed geometry has been calibrated before: its cost scale and requirements (N,) are taken over.
    """
    for n in range(p.num_devices):
        s.mean_gain[row, n] = p.geometry[0, n]
        s.device_cycles[row, n] = p.geometry[1, n]
        s.server_cycles[row, n] = p.geometry[2, n]
        if p.reset_geometry:
            s.mean_gain[row, n] = mean_gain(p, draws[n, 0], draws[n, 1], draws[n, 2])
            s.device_cycles[row, n] = between(p.device_cycles_min, p.device_cycles_max, draws[n, 3])
            s.server_cycles[row, n] = between(p.server_cycles_min, p.server_cycles_max, draws[n, 4])
    if p.reset_geometry:
        calibrate(p, s, row)
    else:
        s.cost_scale[row] = cost_scale
        for n in range(p.num_devices):
            s.target_db[row, n] = target_db[n]
    for n in range(p.num_devices):
        s.fading[row, n, 0], s.fading[row, n, 1] = complex_normal(draws[n, 5], draws[n, 6])
        s.queue_db[row, n] = p.initial_queue_max_db * draws[n, 7] if p.psnr_mode == LONG_TERM else 0.0
        s.psnr_sum_db[row, n] = 0.0
        s.psnr_db[row, n] = 0.0
        s.sensitivity[row, n] = 0.0
        s.compression[row, n] = 0.5 * (p.compression_min + p.compression_max)
    fade(p, s, row)
    s.rounds[row] = 0
    s.relaxed[row] = 0
    s.cursor[row] = BLOCK_STEPS
