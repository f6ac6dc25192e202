"""The paper's system: devices, their channels over the IRS, the AP's processor; how they move from frame to frame.

Everything is written for one row (world) of a batch of B worlds with K devices, N elements of the IRS, A antennas and L
choices of a cut. Complex arrays hold real and imaginary part on an axis of length two.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.dtirs.config import DEVICE_DRAWS, FIXED, FRAME, Parameters
from edge_envs.dtirs.model.channels import renew_links, set_links
from edge_envs.dtirs.model.state import State

SETTLING_FRAMES = 20
"""Frames after which places and loads of an episode have forgotten how it began, more or less; chosen."""


def draw(s: State, row: int, rng: Generator) -> None:
    """Draw the random numbers of the row's next frame: the same ones whatever is done with them."""
    rng.standard_normal(out=s.normals[row])
    rng.random(out=s.uniforms[row])


@kernel
def between(low: float, high: float, uniform: float) -> float:
    """A uniform of [0, 1) on [low, high]."""
    return low + (high - low) * uniform


@kernel_part
def set_up_devices(p: Parameters, s: State, row: int) -> None:
    """Speeds, works before and behind each cut, places and first waypoints, from the row's device draws."""
    for k in range(p.num_devices):
        total = 0.0
        for m in range(p.num_layers):
            total += between(p.layer_flop_min, p.layer_flop_max, s.device_draws[row, k, m])
        s.layer_flop[row, k] = total / p.num_layers
        work, layers = 0.0, 0
        for c in range(len(p.cut_numbers)):
            while layers < p.cut_numbers[c]:
                work += between(p.layer_flop_min, p.layer_flop_max, s.device_draws[row, k, layers])
                layers += 1
            s.front_flop[row, k, c] = work
            # the printed model has no computing at the AP but that of the twins
            s.back_flop[row, k, c] = total - work if p.extended and layers < p.num_layers else 0.0
        speed = s.device_draws[row, k, p.num_layers]
        s.own_speed_flop_s[row, k] = between(p.speed_min_flop_s, p.speed_max_flop_s, speed)
        place, waypoint = s.device_draws[row, k, p.num_layers + 1], s.device_draws[row, k, p.num_layers + 2]
        s.distance_m[row, k] = between(p.distance_min_m, p.distance_max_m, place)
        s.waypoint_m[row, k] = between(p.distance_min_m, p.distance_max_m, waypoint)


@kernel_part
def renew_devices(p: Parameters, s: State, row: int, first: bool) -> None:
    """New devices where they are due, else the old ones some way on; their speeds under the other load."""
    if first or p.devices == FRAME:
        at = 2 + p.num_devices
        for k in range(p.num_devices):
            for i in range(p.num_layers + DEVICE_DRAWS):
                s.device_draws[row, k, i] = p.fixed_devices[k, i] if p.devices == FIXED else s.uniforms[row, at]
                at += 1
        set_up_devices(p, s, row)
    else:
        for k in range(p.num_devices):
            way = s.waypoint_m[row, k] - s.distance_m[row, k]
            if abs(way) <= p.step_m:
                s.distance_m[row, k] = s.waypoint_m[row, k]
                s.waypoint_m[row, k] = between(p.distance_min_m, p.distance_max_m, s.uniforms[row, 2 + k])
            else:
                s.distance_m[row, k] += math.copysign(p.step_m, way)
    at = s.normals.shape[1] - 2 * p.phase_rank * (p.num_elements + p.phase_samples) - p.num_devices
    spread = p.share_deviation * math.sqrt((1.0 - p.share_correlation) * (1.0 + p.share_correlation))
    for k in range(p.num_devices):
        normal = s.normals[row, at + k]
        if first:
            s.load[row, k] = p.share_mean + p.share_deviation * normal
        else:
            s.load[row, k] = p.share_mean + p.share_correlation * (s.load[row, k] - p.share_mean) + spread * normal
        s.speed_flop_s[row, k] = s.own_speed_flop_s[row, k] * min(max(s.load[row, k], p.share_min), 1.0)


@kernel_part
def renew_pool(p: Parameters, s: State, row: int, first: bool) -> None:
    """Level of the AP's processor: evenly random at first, then it stays or moves to one of the others."""
    levels = len(p.pool_levels)
    if first:
        s.level[row] = min(int(s.uniforms[row, 0] * levels), levels - 1)
        s.backlog_flop[row] = 0.0
    elif levels > 1 and s.uniforms[row, 0] >= p.pool_stay_probability:
        further = 1 + min(int(s.uniforms[row, 1] * (levels - 1)), levels - 2)
        s.level[row] = (s.level[row] + further) % levels
    s.capacity_flop_s[row] = p.pool_flop_s * p.pool_levels[s.level[row]]


@kernel_part
def advance(p: Parameters, s: State, row: int, first: bool) -> None:
    """Move a row to its next frame by the numbers that were drawn for it; with `first` start it afresh."""
    renew_devices(p, s, row, first)
    renew_pool(p, s, row, first)
    set_links(p, s, row, first)


@kernel
def begin_episode(p: Parameters, s: State, row: int) -> None:
    """Start a row afresh by the numbers that were drawn for it; every device's last cut counts as the middle one."""
    for k in range(p.num_devices):
        s.choice[row, k] = len(p.cut_numbers) // 2
    advance(p, s, row, True)


@kernel
def move_on(p: Parameters, s: State, row: int, first: bool) -> None:
    """`advance` without channels: devices, loads and the pool only."""
    renew_devices(p, s, row, first)
    renew_pool(p, s, row, first)


def begin_settled(
    p: Parameters, s: State, row: int, rng: Generator, device_draws: NDArray[np.float64] | None = None
) -> None:
    """A frame from within an episode, SETTLING_FRAMES after its start; with given devices (K, M + 3), if any."""
    draw(s, row, rng)
    if device_draws is not None:
        impose_devices(p, s, row, device_draws)
    move_on(p, s, row, True)
    for _ in range(SETTLING_FRAMES):
        draw(s, row, rng)
        if device_draws is not None:
            impose_devices(p, s, row, device_draws)
        move_on(p, s, row, False)
    renew_links(p, s, row)


def impose_devices(p: Parameters, s: State, row: int, device_draws: NDArray[np.float64]) -> None:
    """Give the row's next episode the devices of `device_draws` (K, M + 3), at places and waypoints of its own."""
    first = 2 + p.num_devices
    drawn = s.uniforms[row, first:].reshape(device_draws.shape)
    drawn[:, : p.num_layers + 1] = device_draws[:, : p.num_layers + 1]
    if p.step_m == 0.0:
        drawn[:, p.num_layers + 1] = device_draws[:, p.num_layers + 1]
