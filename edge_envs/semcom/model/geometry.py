"""Where the devices are and how fast they compute: drawn once, or anew at every reset."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.core.physics.channel import exponential, log_distance_gain, log_normal_gain, standard_normal

if TYPE_CHECKING:
    from edge_envs.semcom.config import Parameters, SemComConfig

GEOMETRY_DRAWS = 5
"""Uniforms per device: distance, two for the shadowing, the cycles of the device and of the base station."""
CALIBRATION_STREAM = 7
"""Sets the calibration's generator apart from the geometry's."""


@kernel
def mean_gain(p: Parameters, place: float, shadow_1: float, shadow_2: float) -> float:
    """Power gain without fading of a device, from three uniforms: evenly over the disc, path loss, shadowing."""
    inner, outer = p.distance_min_m * p.distance_min_m, p.radius_m * p.radius_m
    distance_m = math.sqrt(inner + place * (outer - inner))
    loss = log_distance_gain(distance_m, p.loss_at_1_km_db, p.loss_per_decade_db)
    return p.extra_gain * loss * log_normal_gain(standard_normal(shadow_1, shadow_2), p.shadowing_db)


@kernel
def between(low: float, high: float, uniform: float) -> float:
    """Even draw from [low, high)."""
    return low + uniform * (high - low)


def draw_geometry(p: Parameters, seed: int) -> NDArray[np.float64]:
    """Mean gain and cycles c1 and c2 per sample of every device, shape (3, N), from a seed of its own."""
    draws = np.random.default_rng(seed).random((p.num_devices, GEOMETRY_DRAWS))
    return np.array(
        [
            [mean_gain(p, *row[:3]) for row in draws.tolist()],
            [between(p.device_cycles_min, p.device_cycles_max, row[3]) for row in draws.tolist()],
            [between(p.server_cycles_min, p.server_cycles_max, row[4]) for row in draws.tolist()],
        ]
    )


def calibration_fades(config: SemComConfig) -> NDArray[np.float64]:
    """Independent fading gains of the calibration rounds, shape (rounds, N); a single round of ones without fading."""
    if not config.fading:
        return np.ones((1, config.num_devices))
    rng = np.random.default_rng([CALIBRATION_STREAM, config.geometry_seed])
    fades = exponential(rng.random((config.calibration_rounds, config.num_devices)))
    return np.maximum(fades, config.fade_floor)
