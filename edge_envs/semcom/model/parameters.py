"""The parameters that kernels read, in SI units, computed from a configuration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.config import kernel_parameters
from edge_envs.core.kernels.metrics import codes
from edge_envs.core.physics.units import db_to_linear, dbm_to_watt
from edge_envs.semcom.config import Decision, Geometry, PsnrMode, SemComConfig, Solver
from edge_envs.semcom.image_quality import PsnrLaw
from edge_envs.semcom.model.geometry import Placement, calibration_fades, draw_geometry

DECISION, SOLVER, PSNR_MODE = codes(Decision), codes(Solver), codes(PsnrMode)
"""Codes of the options in `Parameters`."""


class Parameters(NamedTuple):
    """What the kernels read of a configuration; fields of equal name are documented in `SemComConfig`."""

    num_devices: int
    bandwidth_hz: float
    noise_w_per_hz: float
    power_max_w: float
    device_frequency_max_hz: float
    server_frequency_max_hz: float
    device_energy_coefficient: float
    server_energy_coefficient: float
    weight_time: float
    weight_energy: float
    raw_bits: float  # d D, the bits of one device before compression
    samples: float  # D
    compression_min: float
    compression_max: float
    law: PsnrLaw
    psnr_min_db: float
    target_fraction: float  # psnr_target_fraction; negative for the common requirement
    decision: int  # code in DECISION
    solver: int  # code in SOLVER
    psnr_mode: int  # code in PSNR_MODE
    deadline_s: float
    queue_weight: float  # V
    initial_queue_max_db: float
    shortfall_penalty: float
    psnr_weight_per_db: float
    reset_geometry: bool  # True if every reset draws a geometry
    fixed_geometry: NDArray[np.float64]  # (3, N), rows are in `GEOMETRY`
    placement: Placement
    fading: bool
    fading_correlation: float
    fade_floor: float
    observe_price: bool
    observe_geometry: bool
    calibration_fades: NDArray[np.float64]  # (rounds, N) power gains of the fading in the calibration rounds


def parameters_of(config: SemComConfig) -> Parameters:
    """The kernels' parameters. The fixed geometry and the calibration's fading are drawn from seeds of their own."""
    placement = kernel_parameters(
        Placement, config,
        extra_gain=float(db_to_linear(config.extra_gain_db)),
        device_cycles_min=config.device_cycles[0], device_cycles_max=config.device_cycles[1],
        server_cycles_min=config.server_cycles[0], server_cycles_max=config.server_cycles[1],
    )  # fmt: skip
    devices, rounds = config.num_devices, config.calibration_rounds
    unfaded = np.ones((1, devices))
    return kernel_parameters(
        Parameters, config,
        noise_w_per_hz=float(dbm_to_watt(config.noise_dbm_per_hz)),
        power_max_w=float(dbm_to_watt(config.power_max_dbm)),
        weight_energy=1.0 - config.weight_time,
        raw_bits=config.bits_per_sample * config.samples,
        target_fraction=-1.0 if config.psnr_target_fraction is None else config.psnr_target_fraction,
        reset_geometry=config.geometry == Geometry.RANDOM,
        fixed_geometry=draw_geometry(placement, devices, config.geometry_seed),
        placement=placement,
        observe_geometry=config.shows_geometry,
        calibration_fades=(
            calibration_fades(rounds, devices, config.fade_floor, config.geometry_seed) if config.fading else unfaded
        ),
    )  # fmt: skip
