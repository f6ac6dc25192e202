"""Cost scale and image quality requirements of a geometry."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.semcom.config import SemComConfig
from edge_envs.semcom.image_quality import psnr_db
from edge_envs.semcom.model.allocation import solve_round
from edge_envs.semcom.model.parameters import PSNR_MODE, Parameters, parameters_of
from edge_envs.semcom.model.state import State, allocate
from edge_envs.semcom.solvers.problem import TOTAL

TARGET_MARGIN_DB = 0.1
"""Difference of a lowered common requirement from the mean PSNR at the largest compression rate [dB]; chosen."""
COST_MAX = 1e6
"""Largest mean cost of a round at the smallest compression rates [-]; chosen: rounding errors grow beyond 1e7."""


@kernel_part
def mean_round(p: Parameters, s: State, row: int, rate: float, psnr_mean_db: NDArray[np.float64]) -> float:
    """Mean objective of optimal rounds at a common compression rate; writes the devices' mean PSNRs (N,)."""
    rounds = len(p.calibration_fades)
    objective = 0.0
    for n in range(p.num_devices):
        psnr_mean_db[n] = 0.0
        s.compression[row, n] = rate
    for k in range(rounds):
        for n in range(p.num_devices):
            s.gain[row, n] = s.mean_gain[row, n] * p.calibration_fades[k, n]
        solve_round(p, s, row)
        objective += s.workspace.totals[TOTAL.objective] / rounds
        for n in range(p.num_devices):
            psnr_mean_db[n] += psnr_db(p.law, rate, math.expm1(s.workspace.u[n])) / rounds
    return objective


@kernel
def calibrate(p: Parameters, s: State, row: int) -> None:
    """Compute cost scale and PSNR requirements of the row's geometry from optimal rounds with independent fading.

    The scale is the mean objective at the smallest compression rates. With a `target_fraction`, a device's requirement
    is between its mean PSNRs at the smallest and at the largest compression rate. Otherwise it is the common
    requirement, lowered for devices that cannot reach it.
    """
    # One call, as `mean_round` is inlined: the solver is compiled once.
    for end in range(2 if p.psnr_mode == PSNR_MODE.LONG_TERM else 1):
        rate, psnr_mean_db = (p.compression_max, s.psnr_high_db) if end else (p.compression_min, s.psnr_low_db)
        objective = mean_round(p, s, row, rate, psnr_mean_db)
        if end == 0:
            s.cost_scale[row] = objective
    for n in range(p.num_devices):
        low, high = s.psnr_low_db[n], s.psnr_high_db[n]
        target = p.psnr_min_db
        if p.psnr_mode == PSNR_MODE.LONG_TERM:
            target = min(target, high - TARGET_MARGIN_DB)
            if p.target_fraction >= 0.0:
                target = low + p.target_fraction * (high - low)
        s.target_db[row, n] = target


def check_cost_scale(scale: float) -> None:
    """Raise ValueError if the mean objective at the smallest compression rates is above `COST_MAX`, or NaN."""
    if not scale <= COST_MAX:
        raise ValueError(
            f"a round's cost is {scale} with these parameters, and must be at most {COST_MAX}; give stronger links, "
            "fewer bits or cycles, or frequencies closer to the defaults"
        )


def calibrated(config: SemComConfig) -> tuple[float, NDArray[np.float64]]:
    """Cost scale and requirements (N,) of the fixed geometry of a configuration; cached."""
    return _calibrated(config.model_dump_json())


@lru_cache(maxsize=64)
def _calibrated(document: str) -> tuple[float, NDArray[np.float64]]:
    p = parameters_of(SemComConfig.model_validate_json(document))
    state = allocate(p, 1)
    state.mean_gain[0], state.device_cycles[0], state.server_cycles[0] = p.fixed_geometry
    calibrate(p, state, 0)
    return float(state.cost_scale[0]), state.target_db[0].copy()
