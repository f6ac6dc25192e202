"""State of a batch of worlds, and the round's problem."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.kernels.randomness import allocate_uniforms
from edge_envs.semcom.config import Parameters
from edge_envs.semcom.solvers.problem import Problem, Workspace, allocate_workspace

ROUND_DRAWS = 2
"""Uniforms per device that the next round's fading uses."""


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
