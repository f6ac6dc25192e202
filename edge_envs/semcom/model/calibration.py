"""Cost scale and image quality requirements of a geometry."""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.semcom.config import LONG_TERM, Parameters
from edge_envs.semcom.image_quality import psnr_db
from edge_envs.semcom.model.state import State, pose
from edge_envs.semcom.solvers import joint
from edge_envs.semcom.solvers.problem import OBJECTIVE

TARGET_MARGIN_DB = 0.1
"""A common requirement stays this far below what a device reaches at the largest compression rate; chosen."""


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
