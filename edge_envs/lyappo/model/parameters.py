"""What the kernels read: SI numbers and flat arrays, made once from a configuration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.config import kernel_parameters
from edge_envs.core.kernels.metrics import codes
from edge_envs.core.physics.units import dbm_to_watt
from edge_envs.lyappo.config import Decision, LyaPPOConfig, Observation, Placement, Solver

DECISION, OBSERVATION = codes(Decision), codes(Observation)


class Parameters(NamedTuple):
    """Parameters of the kernels; those without a comment are fields of `LyaPPOConfig` of the same name."""

    num_devices: int
    num_services: int
    k_min: int
    slots_per_period: int
    slot_s: float
    device_frequency_max_hz: float
    server_frequency_max_hz: float
    power_max_w: float
    device_bandwidth_hz: float
    noise_w_per_hz: float  # N_0
    device_energy_coefficient: float
    weight_local: float
    weight_transmit: float
    reward_energy_per_j: float
    reward_backlog: float
    backlog_price: NDArray[np.float64]  # (3,) beta / scale [1/cycle, 1/bit, 1/cycle]
    stage_work: NDArray[np.float64]  # (3, N, K+1)
    stage_work_max: NDArray[np.float64]  # (3, N) largest work over the cuts
    completion_tolerance: float  # part of a stage's work that counts as none
    queue_capacity: int
    antenna_gain: float
    carrier_hz: float
    path_loss_exponent: float
    distance_min_m: float
    distance_max_m: float
    distances_m: NDArray[np.float64]  # (M,) fixed distances; empty if a reset draws them
    step_m: float  # radial distance covered between two decisions, 0 if devices do not move
    reversal_probability: float
    blocked_gain: float  # factor of a blocked link's gain
    block_probability: float  # per decision, of a clear link
    clear_probability: float  # per decision, of a blocked link
    fading_correlation: float
    arrival_rates_per_slot: NDArray[np.float64]  # (levels,)
    arrivals_per_slot: float  # mean over the levels, the scale of arrivals in the observation
    arrival_zero_probability: NDArray[np.float64]  # (levels,) exp(-rate)
    arrival_switch_probability: float  # 0 if there is one level
    decision: int  # one of DECISION
    observation: int  # one of OBSERVATION


def parameters_of(config: LyaPPOConfig) -> Parameters:
    """The kernels' parameters of a configuration."""
    work, rates = config.stage_work, config.arrival_rates_per_slot
    blockage, mobile = config.blockage_loss_db > 0, config.placement == Placement.MOBILE
    fixed = config.num_devices if config.placement == Placement.SPREAD else 0
    return kernel_parameters(
        Parameters,
        config,
        noise_w_per_hz=float(dbm_to_watt(config.noise_dbm_per_hz)),
        backlog_price=np.array(config.backlog_weights) / np.array(config.backlog_scales),
        stage_work_max=np.ascontiguousarray(work.max(axis=2)),
        # An interior-point solver leaves residues of about 1e-8, which would hold a task back for a slot.
        completion_tolerance=1e-6 if config.solver == Solver.CVXPY else 1e-9,
        distances_m=np.linspace(config.distance_min_m, config.distance_max_m, fixed),
        step_m=config.speed_m_per_s * (config.slot_s * config.slots_per_period) if mobile else 0.0,
        blocked_gain=10.0 ** (-config.blockage_loss_db / 10.0),
        block_probability=1.0 / config.blockage_clear_periods if blockage else 0.0,
        clear_probability=1.0 / config.blockage_blocked_periods if blockage else 1.0,
        arrivals_per_slot=float(rates.mean()) or 1.0,
        arrival_zero_probability=np.exp(-rates),
        arrival_switch_probability=config.arrival_switch_probability if len(rates) > 1 else 0.0,
    )
