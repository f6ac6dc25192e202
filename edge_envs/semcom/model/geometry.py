"""Positions, shadowing and cycles of the devices, and the fading of the calibration rounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.core.kernels.metrics import columns
from edge_envs.core.physics.channel import exponential, log_distance_gain, log_normal_gain, standard_normal

DRAW = columns(("distance", "shadowing_1", "shadowing_2", "device_cycles", "server_cycles"))
"""Columns of the uniforms of a device, shape (N, >= len(DRAW))."""
GEOMETRY = columns(("mean_gain", "device_cycles", "server_cycles"))
"""Rows of a geometry, shape (3, N): power gain without fading, and cycles per image c_1n and c_2n."""
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
    """Mean gain of device n, and cycles per image c_1n and c_2n, from row n of uniforms with columns `DRAW`.

    The position is uniform over the disc; the gain is path loss times log-normal shadowing.
    """
    inner, outer = place.distance_min_m * place.distance_min_m, place.radius_m * place.radius_m
    distance_m = math.sqrt(inner + draws[n, DRAW.distance] * (outer - inner))
    loss = log_distance_gain(distance_m, place.loss_at_1_km_db, place.loss_per_decade_db)
    normal = standard_normal(draws[n, DRAW.shadowing_1], draws[n, DRAW.shadowing_2])
    shadowing = log_normal_gain(normal, place.shadowing_db)
    return (
        place.extra_gain * loss * shadowing,
        place.device_cycles_min + draws[n, DRAW.device_cycles] * (place.device_cycles_max - place.device_cycles_min),
        place.server_cycles_min + draws[n, DRAW.server_cycles] * (place.server_cycles_max - place.server_cycles_min),
    )


def draw_geometry(place: Placement, devices: int, seed: int) -> NDArray[np.float64]:
    """Mean gain and cycles per image of every device, shape (3, N) with rows `GEOMETRY`, drawn with a seed."""
    draws = np.random.default_rng(seed).random((devices, len(DRAW)))
    return np.ascontiguousarray(np.array([place_device(place, draws, n) for n in range(devices)]).T)


def calibration_fades(rounds: int, devices: int, floor: float, seed: int) -> NDArray[np.float64]:
    """Independent power gains of Rayleigh fading with a floor, shape (rounds, N)."""
    rng = np.random.default_rng([CALIBRATION_STREAM, seed])
    return np.maximum(exponential(rng.random((rounds, devices))), floor)
