"""State of a batch of worlds, and the optimisation problem of a row's round."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.kernels.randomness import allocate_uniforms
from edge_envs.semcom.model.parameters import Parameters
from edge_envs.semcom.solvers.paper_algorithms import CompressionRule
from edge_envs.semcom.solvers.problem import Problem, Workspace, allocate_workspace

ROUND_DRAWS = 2
"""Uniforms per device and round, for the fading."""
ROUND_FIELDS = ("bits", "gain", "snr_min", "device_cycles", "server_cycles")
"""Arrays of a problem that differ between rounds."""
SEARCH_FIELDS = (
    "compression_backup", "compression_best", "psnr_low_db", "psnr_high_db", "psnr_mean_db", "psnr_slope_db",
)  # fmt: skip
"""Scratch memory of calibrations and searches, of shape (N,)."""


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
    """A problem with the configuration's limits, and ones for the arrays that `set_problem` writes."""
    values: dict[str, Any] = {name: 1.0 if name in ROUND_FIELDS else getattr(p, name) for name in Problem._fields}
    arrays = {name: np.full(p.num_devices, values[name]) for name in Problem._fields[:8]}
    return Problem(**{**values, **arrays})


def allocate(p: Parameters, batch: int) -> State:
    """State arrays of `batch` worlds, zero and without draws."""
    devices = p.num_devices
    uniforms, cursor = allocate_uniforms(batch, ROUND_DRAWS * devices if p.fading else 0)
    given: dict[str, Any] = {
        "fading": np.zeros((batch, devices, 2)), "cost_scale": np.zeros(batch), "uniforms": uniforms, "cursor": cursor,
        "rounds": np.zeros(batch, dtype=np.int64), "relaxed": np.zeros(batch, dtype=np.int64),
        "problem": allocate_problem(p), "workspace": allocate_workspace(devices),
        "rule": CompressionRule(
            p.law, p.raw_bits, p.compression_min, p.compression_max, np.zeros(devices), np.zeros(devices)
        ),
    }  # fmt: skip
    zeros: dict[str, Any] = {
        name: np.zeros(devices if name in SEARCH_FIELDS else (batch, devices))
        for name in State._fields
        if name not in given
    }
    return State(**zeros, **given)


@kernel_part
def set_problem(p: Parameters, s: State, row: int) -> None:
    """Write the row's gains, cycles and compression rates into the problem; no SNR is required."""
    for n in range(p.num_devices):
        s.problem.bits[n] = s.compression[row, n] * p.raw_bits
        s.problem.gain[n] = s.gain[row, n]
        s.problem.snr_min[n] = 0.0
        s.problem.device_cycles[n] = s.device_cycles[row, n] * p.samples
        s.problem.server_cycles[n] = s.server_cycles[row, n] * p.samples
