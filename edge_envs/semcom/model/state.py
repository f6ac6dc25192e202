"""State of a batch of worlds, and the optimisation problem of a row's round."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.kernels.randomness import allocate_uniforms
from edge_envs.semcom.model.parameters import Parameters
from edge_envs.semcom.solvers.paper_algorithms import CompressionRule
from edge_envs.semcom.solvers.problem import Problem, Workspace, allocate_workspace

ROUND_DRAWS = 2
"""Uniforms per device and round, for the fading."""


class State(NamedTuple):
    """B worlds with N devices each. Where not stated otherwise, fields of a round describe the last one."""

    mean_gain: NDArray[np.float64]  # (B, N) power gain without fading
    device_cycles: NDArray[np.float64]  # (B, N) c_1n [cycles/sample]
    server_cycles: NDArray[np.float64]  # (B, N) c_2n [cycles/sample]
    fading: NDArray[np.float64]  # (B, N, 2) complex fading, real and imaginary part
    gain: NDArray[np.float64]  # (B, N) g_n of the next round
    target_db: NDArray[np.float64]  # (B, N) PSNR requirement
    cost_scale: NDArray[np.float64]  # (B,) mean objective at the smallest compression rates
    queue_db: NDArray[np.float64]  # (B, N) virtual queue Z_n [dB]
    psnr_sum_db: NDArray[np.float64]  # (B, N) sum of the PSNRs since the reset
    rounds: NDArray[np.int64]  # (B,) rounds since the reset
    price: NDArray[np.float64]  # (B, N) compression price of the next round: d cost / d rho_n at the middle rates
    compression: NDArray[np.float64]  # (B, N) rho_n of the round
    psnr_db: NDArray[np.float64]  # (B, N) PSNR of the round
    sensitivity: NDArray[np.float64]  # (B, N) d objective / d ln rho_n of the round, at the required SNR
    relaxed: NDArray[np.int64]  # (B,) devices whose required SNR was lowered in the round
    problem: Problem  # scratch: the round that is being solved
    workspace: Workspace  # scratch: its solution
    rule: CompressionRule  # scratch: requirements and compression rates of that round, for Algorithm 3
    compression_backup: NDArray[np.float64]  # (N,) scratch: compression rates to restore
    compression_best: NDArray[np.float64]  # (N,) scratch: best compression rates of a search
    psnr_low_db: NDArray[np.float64]  # (N,) scratch: mean PSNR at the smallest compression rates
    psnr_high_db: NDArray[np.float64]  # (N,) scratch: mean PSNR at the largest compression rates
    psnr_mean_db: NDArray[np.float64]  # (N,) scratch: mean PSNR in the fit of constant compression rates
    psnr_slope_db: NDArray[np.float64]  # (N,) scratch: its derivative by rho_n
    uniforms: NDArray[np.float64]  # (B, BLOCK_STEPS, draws) drawn ahead
    cursor: NDArray[np.int64]  # (B,) steps of the block already used


def allocate_problem(p: Parameters) -> Problem:
    """A problem with the configuration's limits and placeholders for all that differs between rounds."""
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
    """State arrays of `batch` worlds, zero and without draws."""
    shape, devices = (batch, p.num_devices), p.num_devices
    uniforms, cursor = allocate_uniforms(batch, ROUND_DRAWS * devices if p.fading else 0)
    return State(
        mean_gain=np.zeros(shape),
        device_cycles=np.zeros(shape),
        server_cycles=np.zeros(shape),
        fading=np.zeros((*shape, 2)),
        gain=np.zeros(shape),
        target_db=np.zeros(shape),
        cost_scale=np.zeros(batch),
        queue_db=np.zeros(shape),
        psnr_sum_db=np.zeros(shape),
        rounds=np.zeros(batch, dtype=np.int64),
        price=np.zeros(shape),
        compression=np.zeros(shape),
        psnr_db=np.zeros(shape),
        sensitivity=np.zeros(shape),
        relaxed=np.zeros(batch, dtype=np.int64),
        problem=allocate_problem(p),
        workspace=allocate_workspace(devices),
        rule=CompressionRule(
            p.law, p.raw_bits, p.compression_min, p.compression_max, np.zeros(devices), np.zeros(devices)
        ),
        compression_backup=np.zeros(devices),
        compression_best=np.zeros(devices),
        psnr_low_db=np.zeros(devices),
        psnr_high_db=np.zeros(devices),
        psnr_mean_db=np.zeros(devices),
        psnr_slope_db=np.zeros(devices),
        uniforms=uniforms,
        cursor=cursor,
    )


@kernel_part
def set_problem(p: Parameters, s: State, row: int) -> None:
    """Write the row's gains, cycles and compression rates into the problem; no SNR is required."""
    for n in range(p.num_devices):
        s.problem.bits[n] = s.compression[row, n] * p.raw_bits
        s.problem.gain[n] = s.gain[row, n]
        s.problem.snr_min[n] = 0.0
        s.problem.device_cycles[n] = s.device_cycles[row, n] * p.samples
        s.problem.server_cycles[n] = s.server_cycles[row, n] * p.samples
