"""The parameters that the compiled kernels read, derived from a configuration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.config import kernel_parameters
from edge_envs.core.kernels.metrics import codes
from edge_envs.core.physics.units import db_to_linear
from edge_envs.dtirs.config import (
    Devices,
    DTIRSConfig,
    Load,
    Mobility,
    Model,
    Observation,
    Phase,
    Power,
    Twins,
    Uplink,
    View,
)
from edge_envs.dtirs.solvers.phases import factor_rank

MODEL, DEVICES, UPLINK, POWER = codes(Model), codes(Devices), codes(Uplink), codes(Power)
TWINS, PHASE = codes(Twins), codes(Phase)
MOBILITY, LOAD, OBSERVATION, VIEW = codes(Mobility), codes(Load), codes(Observation), codes(View)

FloatArray = NDArray[np.float64]
DEVICE_DRAWS = 3
"""Uniforms of a device besides one per layer: speed, position, first waypoint."""
CIRCUIT_DRAWS = 3
"""Further uniforms of a device on a circuit: period, share and place of the shadow."""


class Parameters(NamedTuple):
    """SI numbers, arrays, and codes of options (see `kernels.metrics.codes`). L choices of a cut, K devices."""

    num_devices: int
    num_antennas: int
    num_elements: int
    num_layers: int
    model: int
    cut_numbers: NDArray[np.int64]  # (L,) layers on the device
    exchanges_per_frame: float
    bits_down: FloatArray  # (L,) gradients of a frame to the device
    bits_up: FloatArray  # (L,) features of a frame to the AP
    sync_bits: FloatArray  # (L,) weights to a twin
    migration_bits: FloatArray  # (L,) weights in front of the cut, to be moved when it changes; 0 without migration
    initial_choice: int  # cut before the first frame, as an index
    cut_leakage_s: FloatArray  # (L,) leakage penalty
    layer_flop_min: float
    layer_flop_max: float
    speed_min_flop_s: float
    speed_max_flop_s: float
    device_share_min: float
    device_share_mean: float
    device_share_deviation: float
    device_share_correlation: float
    device_load: int
    busy_probability: float
    free_probability: float
    devices: int
    device_draws: int  # uniforms of a device: speed, layer works, position, circuit
    fixed_devices: FloatArray  # (K, device_draws) uniforms of devices that never change
    mobility: int
    period_min_frames: float
    period_max_frames: float
    stop_probability: float
    go_probability: float
    shadow_share_min: float
    shadow_share_max: float
    shadow_gain: float
    distance_min_m: float
    distance_max_m: float
    step_m: float  # way of a device per frame
    ap_irs_gain: float
    reference_gain: float
    irs_ud_exponent: float
    direct_gain: float
    fading_correlation: float
    uplink: int
    irs: bool
    device_bandwidth_hz: float
    noise_w: float
    power_total_w: float
    power_max_w: float
    power_uplink_w: float
    power: int
    pool_flop_s: float
    pool_levels: FloatArray  # (levels,)
    pool_stay_probability: float
    backlog: bool
    frame_s: float
    twins: int
    compute_delay_max_s: float  # of one device
    rate_min_bit_s: float
    phase: int
    phase_rank: int  # columns of the relaxation's factor
    phase_samples: int
    phase_polish: bool
    phase_gap: float
    phase_passes: int
    observation: int
    forecast_frames: NDArray[np.int64]  # (F,)
    view: int
    loss_s: float  # weighted training loss
    device_energy_coefficient: float
    flop_per_cycle: float


def parameters_of(config: DTIRSConfig) -> Parameters:
    """The kernels' parameters of a configuration."""
    reference_gain = db_to_linear(config.reference_gain_db)
    blockage = db_to_linear(-config.direct_blockage_db)
    circuit = config.mobility == Mobility.CIRCUIT
    device_draws = config.num_layers + DEVICE_DRAWS + (CIRCUIT_DRAWS if circuit else 0)
    down, up, sync = exchanged_bits(config)
    extended = config.model == Model.EXTENDED
    return kernel_parameters(
        Parameters, config,
        bits_down=down,
        bits_up=up,
        sync_bits=sync,
        migration_bits=sync if config.migration else np.zeros(len(sync)),
        device_draws=device_draws,
        cut_leakage_s=leakage_by_cut(config),
        fixed_devices=np.random.default_rng(config.devices_seed).random((config.num_devices, device_draws)),
        shadow_gain=db_to_linear(-config.shadow_db),
        step_m=config.speed_m_per_s * config.frame_s,
        ap_irs_gain=reference_gain * config.ap_irs_distance_m**-config.ap_irs_exponent,
        reference_gain=reference_gain,
        direct_gain=reference_gain * config.direct_distance_m**-config.direct_exponent * blockage,
        pool_flop_s=config.pool_per_device_flop_s * config.num_devices if extended else config.twin_budget_flop_s,
        pool_levels=np.array(config.pool_levels if extended else (1.0,)),
        compute_delay_max_s=config.compute_delay_total_s / config.num_devices * config.exchanges_per_frame,
        forecast_frames=np.array(config.forecast_frames, dtype=np.int64),
        phase_rank=factor_rank(config.num_elements),
        loss_s=config.weight_loss_s * config.loss_nats,
    )  # fmt: skip


def exchanged_bits(config: DTIRSConfig) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Downlink bits and uplink bits of a frame, bits of a twin's weights, by choice of a cut, shapes (L,)."""
    numbers, exchanges = config.cut_numbers, float(config.exchanges_per_frame)
    if config.model == Model.PRINTED:
        ones = np.full(len(numbers), 0.0 if config.offline else 1.0)
        return (
            ones * config.bits_downlink * exchanges,
            ones * config.bits_uplink * exchanges,
            np.zeros(len(numbers)),
        )
    features = config.network_cuts.bits[numbers] * config.batch_size * exchanges
    # The raw input needs no gradient.
    down = np.where(numbers == 0, 0.0, features)
    return down, features, config.network_cuts.device_parameters[numbers] * float(config.weight_bits)


def leakage_by_cut(config: DTIRSConfig) -> FloatArray:
    """Leakage penalty by choice of a cut, shape (L,) [s]."""
    leakage = config.leakage_s * np.exp(-np.maximum(config.cut_numbers - 1.0, 0.0) / config.leakage_layers)
    leakage[config.cut_numbers == config.num_layers] = 0.0
    return leakage
