"""Positions, shadowing and cycles of the devices, and the fading of the calibration rounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.core.physics.channel import exponential, log_distance_gain, log_normal_gain, standard_normal

GEOMETRY_DRAWS = 5
"""Uniforms per device: distance, two for the shadowing, the cycles of the device and of the base station."""
CALIBRATION_STREAM = 7
"""Seed word that separates the calibration's generator from the geometry's."""


class Placement(NamedTuple):
    """How devices are placed; fields of equal name are documented in `SemComConfig`."""

    radius_m: float
    distance_min_m: float
    loss_at_1_km_db: float
    loss_per_decade_db: float
    shadowing_db: float
    extra_gain: float  # a ratio
    device_cycles_min: float  # per image
    device_cycles_max: float
    server_cycles_min: float  # per image
    server_cycles_max: float


@kernel
def place_device(place: Placement, draws: NDArray[np.float64], n: int) -> tuple[float, float, float]:
    """Mean gain of device n, and cycles per image c_1n and c_2n, from row n of uniforms, shape (N, >= GEOMETRY_DRAWS).

    The position is uniform over the disc; the gain is path loss times log-normal shadowing.
    """
    inner, outer = place.distance_min_m * place.distance_min_m, place.radius_m * place.radius_m
    distance_m = math.sqrt(inner + draws[n, 0] * (outer - inner))
    loss = log_distance_gain(distance_m, place.loss_at_1_km_db, place.loss_per_decade_db)
    shadowing = log_normal_gain(standard_normal(draws[n, 1], draws[n, 2]), place.shadowing_db)
    return (
        place.extra_gain * loss * shadowing,
        place.device_cycles_min + draws[n, 3] * (place.device_cycles_max - place.device_cycles_min),
        place.server_cycles_min + draws[n, 4] * (place.server_cycles_max - place.server_cycles_min),
    )


def draw_geometry(place: Placement, devices: int, seed: int) -> NDArray[np.float64]:
    """Mean gain and cycles per image c_1n and c_2n of every device, shape (3, N), drawn with a seed."""
    draws = np.random.default_rng(seed).random((devices, GEOMETRY_DRAWS))
    return np.ascontiguousarray(np.array([place_device(place, draws, n) for n in range(devices)]).T)


def calibration_fades(rounds: int, devices: int, floor: float, seed: int) -> NDArray[np.float64]:
    """Independent power gains of Rayleigh fading with a floor, shape (rounds, N)."""
    rng = np.random.default_rng([CALIBRATION_STREAM, seed])
    return np.maximum(exponential(rng.random((rounds, devices))), floor)
