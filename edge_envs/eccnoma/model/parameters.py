"""What the compiled kernels read: SI numbers and flat arrays, derived once from a configuration."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.config import kernel_parameters
from edge_envs.core.kernels.metrics import codes
from edge_envs.core.physics.networks import parse_network
from edge_envs.core.physics.units import db_to_linear, dbm_to_watt
from edge_envs.eccnoma.config import (
    Access,
    Arrivals,
    Assignment,
    CutSet,
    Downlink,
    ECCNOMAConfig,
    Placement,
    Power,
    Units,
)
from edge_envs.eccnoma.model.geometry import cell_centres
from edge_envs.eccnoma.solvers.radio import DIRECTION

ACCESS, ARRIVALS, ASSIGNMENT = codes(Access), codes(Arrivals), codes(Assignment)
PLACEMENT, POWER, UNITS = codes(Placement), codes(Power), codes(Units)
LOAD_STEPS_MAX = 1 << 40
"""Largest number of steps to load a network, for counters."""


class Parameters(NamedTuple):
    """Parameters of a world with N APs, `networks` networks and C choices per user.

    The configuration documents every field of the same name.
    """

    num_users: int
    num_aps: int
    num_subchannels: int
    num_choices: int  # C
    choices: NDArray[np.int64]  # (networks,) number of cuts of each network; further choices repeat the last layer
    first_choice: NDArray[np.int64]  # (networks,) the choice with no layer on the device
    last_choice: NDArray[np.int64]  # (networks,) the choice with all layers on the device
    cut_number: NDArray[np.int64]  # (networks, C) layers on the device
    device_flop: NDArray[np.float64]  # (networks, C)
    server_flop: NDArray[np.float64]  # (networks, C)
    bits_up: NDArray[np.float64]  # (networks, C) 0 with all layers on the device
    slices: int  # of an AP; 0: no user needs one
    load_steps: NDArray[np.int64]  # (networks, C) steps in which the layers behind a cut are loaded into a slice
    result_bits: float
    ap_position_m: NDArray[np.float64]  # (N, 2)
    side_m: float
    placement: int  # PLACEMENT
    distance_min_m: float
    path_loss_exponent: float
    reference_gain: float
    fading_correlation: float
    csi_delay: int
    bandwidth_up_hz: float
    bandwidth_down_hz: float
    noise_w_per_hz: float
    power_up_min_w: float
    power_up_max_w: float
    power_down_min_w: float
    power_down_max_w: float
    capacity: int
    access: int  # ACCESS
    downlink_direction: int  # DIRECTION of the solvers
    assignment: int  # ASSIGNMENT
    power: int  # POWER
    units: int  # UNITS
    sweeps: int
    power_iterations: int  # 0 at full power
    relaxation_iterations: int
    relaxation_tolerance: float
    speed_min_flop_s: float
    speed_max_flop_s: float
    device_j_per_flop: float
    unit_speed_flop_s: float
    units_min: float
    units_max: float
    core_overhead: float
    pool: bool  # users of an AP share a pool
    pool_units: float  # 0 without a pool
    background_levels: NDArray[np.float64]  # (levels,)
    background_stay_probability: float
    server_energy_coefficient: float
    weight_delay: float
    weight_energy: float
    arrivals: int  # ARRIVALS
    frame_s: float
    arrival_rate: NDArray[np.float64]  # (2,) mean tasks per step, quiet and in a burst
    burst_begins_probability: float
    burst_ends_probability: float
    queue_max: float
    drop_s: float
    mean_arrivals: float  # tasks per user and step


def parameters_of(config: ECCNOMAConfig) -> Parameters:
    """The parameters that kernels read, from a configuration."""
    downlink = DIRECTION.DOWNLINK if config.downlink == Downlink.PHYSICAL else DIRECTION.DOWNLINK_PRINTED
    return kernel_parameters(
        Parameters,
        config,
        **cut_tables(config),
        slices=config.slices or 0,
        ap_position_m=cell_centres(config.num_aps, config.side_m),
        reference_gain=db_to_linear(config.reference_gain_db),
        noise_w_per_hz=dbm_to_watt(config.noise_dbm_per_hz),
        power_up_min_w=dbm_to_watt(config.power_up_min_dbm),
        power_up_max_w=dbm_to_watt(config.power_up_max_dbm),
        power_down_min_w=dbm_to_watt(config.power_down_min_dbm),
        power_down_max_w=dbm_to_watt(config.power_down_max_dbm),
        downlink_direction=downlink,
        power_iterations=0 if config.power == Power.FULL else config.power_iterations,
        pool=config.pool_units is not None,
        pool_units=config.pool_units or 0.0,
        background_levels=np.array(config.background_levels),
        arrival_rate=np.array([config.quiet_rate, config.burst_rate]) * config.frame_s,
    )


def cut_tables(config: ECCNOMAConfig) -> dict[str, Any]:
    """Cuts, work and bits by network and choice, as fields of `Parameters`.

    With `pareto`, choices stand in the order edge, device, then the cuts between.
    """
    layers, numbers = [], []
    for name in config.networks:
        network = parse_network(name)
        every = network.cuts(config.word_bits, False, config.input_bits)
        number = np.arange(len(every.names))
        if config.cuts == CutSet.PARETO:
            kept = network.cuts(config.word_bits, True, config.input_bits).names
            number = np.array([every.names.index(each) for each in kept])
            number = number[[0, len(number) - 1, *range(1, len(number) - 1)]]
        layers.append(every)
        numbers.append(number)
    width = max(len(number) for number in numbers)
    padded = [
        np.concatenate([number, np.full(width - len(number), len(every.names) - 1)])
        for number, every in zip(numbers, layers, strict=True)
    ]
    tables = {
        field: np.array([getattr(every, source)[number] for every, number in zip(layers, padded, strict=True)])
        for field, source in (("device_flop", "device_flop"), ("server_flop", "server_flop"), ("bits_up", "bits"))
    }
    before = [every.device_parameters[number] for every, number in zip(layers, padded, strict=True)]
    behind = np.array([each.max() - each for each in before])
    load_steps = np.minimum(np.ceil(config.weight_bits * behind / config.load_bits_per_frame), LOAD_STEPS_MAX)
    return {
        **tables,
        "load_steps": load_steps.astype(np.int64),
        "num_choices": width,
        "choices": np.array([len(number) for number in numbers]),
        "first_choice": np.array([number.argmin() for number in numbers]),
        "last_choice": np.array([number.argmax() for number in numbers]),
        "cut_number": np.array(padded),
    }
