"""Compiled loops around the solvers of `DTIRS-v0`, which call them from machine code as the environment does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.dtirs.model import allocation, channels
from edge_envs.dtirs.model.parameters import Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers import certificates, compute_pool, power

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@kernel
def allocate(p: Parameters, s: State, actions: NDArray[np.int64], times: int) -> None:
    """Solve every row's next frame at the cuts in `actions` (B, K)."""
    for row in range(len(s.level)):
        for k in range(p.num_devices):
            s.choice[row, k] = actions[row, k]
        for _ in range(times):
            allocation.solve_step(p, s, row)


@kernel
def renew_channels(p: Parameters, s: State, times: int) -> None:
    """Compute every row's channels and Gram matrices from the numbers last drawn; idempotent if fading is white."""
    for row in range(len(s.level)):
        for _ in range(times):
            channels.advance_channels(p, s, row, False)


@kernel
def repeat_phases(p: Parameters, s: State, row: int, times: int) -> None:
    """Solve for the phases of a row's channels, with their certificate and the resulting gains."""
    channels.weigh_equally(p, s)
    for _ in range(times):
        channels.solve_phases(p, s, row)


@kernel
def solve_phases(p: Parameters, s: State, times: int) -> None:
    """Run `repeat_phases` for every row."""
    for row in range(len(s.level)):
        repeat_phases(p, s, row, times)


@kernel
def repeat_power(
    gain_per_w: Array, unit_delay_s: Array, total_w: float, most_w: float, power_w: Array, times: int
) -> float:
    """Write the downlink powers to `power_w`; returns the largest residual of their certificate."""
    residual = 0.0
    for _ in range(times):
        price = power.allocate_power(gain_per_w, unit_delay_s, total_w, most_w, power_w)
        residual = max(residual, certificates.power_residual(gain_per_w, unit_delay_s, total_w, most_w, power_w, price))
    return residual


@kernel
def repeat_pool(
    front_flop: Array, back_flop: Array, speed_flop_s: Array, twin: BoolArray, capacity_flop_s: float,
    boost_flop_s: Array, back_end_flop_s: Array, times: int,
) -> float:  # fmt: skip
    """Write the pool's shares to `boost_flop_s` and `back_end_flop_s`; returns their certificate's largest residual."""
    residual = 0.0
    for _ in range(times):
        s = compute_pool.share_pool(
            front_flop, back_flop, speed_flop_s, twin, capacity_flop_s, boost_flop_s, back_end_flop_s
        )
        worst = certificates.pool_residual(
            front_flop, back_flop, speed_flop_s, twin, capacity_flop_s, boost_flop_s, back_end_flop_s, s
        )
        residual = max(residual, worst)
    return residual
