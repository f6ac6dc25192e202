"""How a world evolves: random numbers, devices and their load, the AP's processor. One frame is one step."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.dtirs.model.channels import advance_links, start_links
from edge_envs.dtirs.model.parameters import DEVICE_DRAWS, DEVICES, MODEL, Parameters
from edge_envs.dtirs.model.state import State

WARMUP_FRAMES = 20
"""Frames after which positions and loads depend little on how the episode began; chosen."""


def draw(s: State, row: int, rng: Generator) -> None:
    """Draw the random numbers of a row's next frame, unused ones too, so that ablations meet the same channels."""
    rng.standard_normal(out=s.normals[row])
    rng.random(out=s.uniforms[row])


@kernel
def between(low: float, high: float, uniform: float) -> float:
    """Map a uniform of [0, 1) to [low, high]."""
    return low + (high - low) * uniform


@kernel_part
def set_up_devices(p: Parameters, s: State, row: int) -> None:
    """Speeds, works before and behind each cut, positions and first waypoints, from the row's device draws."""
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
            # In the printed model the AP computes for twins only.
            has_back_end = p.model == MODEL.EXTENDED and layers < p.num_layers
            s.back_flop[row, k, c] = total - work if has_back_end else 0.0
        speed = s.device_draws[row, k, p.num_layers]
        s.own_speed_flop_s[row, k] = between(p.speed_min_flop_s, p.speed_max_flop_s, speed)
        position, waypoint = s.device_draws[row, k, p.num_layers + 1], s.device_draws[row, k, p.num_layers + 2]
        s.distance_m[row, k] = between(p.distance_min_m, p.distance_max_m, position)
        s.waypoint_m[row, k] = between(p.distance_min_m, p.distance_max_m, waypoint)


@kernel_part
def advance_devices(p: Parameters, s: State, row: int, first: bool) -> None:
    """Draw new devices where they are due, else move the old ones; speeds under the other load."""
    if first or p.devices == DEVICES.FRAME:
        at = 2 + p.num_devices
        for k in range(p.num_devices):
            for i in range(p.num_layers + DEVICE_DRAWS):
                fixed = p.devices == DEVICES.FIXED
                s.device_draws[row, k, i] = p.fixed_devices[k, i] if fixed else s.uniforms[row, at]
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
    correlation, mean, deviation = p.device_share_correlation, p.device_share_mean, p.device_share_deviation
    spread = deviation * math.sqrt((1.0 - correlation) * (1.0 + correlation))
    for k in range(p.num_devices):
        normal = s.normals[row, at + k]
        if first:
            s.load[row, k] = mean + deviation * normal
        else:
            s.load[row, k] = mean + correlation * (s.load[row, k] - mean) + spread * normal
        s.speed_flop_s[row, k] = s.own_speed_flop_s[row, k] * min(max(s.load[row, k], p.device_share_min), 1.0)


@kernel_part
def advance_pool(p: Parameters, s: State, row: int, first: bool) -> None:
    """Level of the AP's processor: uniform at first; then it stays or moves to one of the others."""
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
    """Move a row to its next frame, with the random numbers drawn for it; `first` starts an episode."""
    advance_devices(p, s, row, first)
    advance_pool(p, s, row, first)
    advance_links(p, s, row, first)


@kernel
def begin_episode(p: Parameters, s: State, row: int) -> None:
    """Start an episode with the random numbers drawn for it; the middle cut counts as every device's last cut."""
    for k in range(p.num_devices):
        s.choice[row, k] = len(p.cut_numbers) // 2
    advance(p, s, row, True)


@kernel
def advance_without_links(p: Parameters, s: State, row: int, first: bool) -> None:
    """`advance` without channels and phases: devices, loads and the pool only."""
    advance_devices(p, s, row, first)
    advance_pool(p, s, row, first)


def begin_after_warmup(
    p: Parameters, s: State, row: int, rng: Generator, device_draws: NDArray[np.float64] | None = None
) -> None:
    """Set up a frame as it is WARMUP_FRAMES after the start of an episode.

    Args:
        p: parameters.
        s: state.
        row: the row to set up.
        rng: the row's generator.
        device_draws: uniforms (K, M + DEVICE_DRAWS) of given devices; None draws the devices, too.
    """
    for frame in range(WARMUP_FRAMES + 1):
        draw(s, row, rng)
        if device_draws is not None:
            impose_devices(p, s, row, device_draws)
        advance_without_links(p, s, row, frame == 0)
    start_links(p, s, row)


def impose_devices(p: Parameters, s: State, row: int, device_draws: NDArray[np.float64]) -> None:
    """Use given devices (K, M + DEVICE_DRAWS) in a row's next episode; positions stay as drawn unless none moves."""
    first = 2 + p.num_devices
    drawn = s.uniforms[row, first:].reshape(device_draws.shape)
    drawn[:, : p.num_layers + 1] = device_draws[:, : p.num_layers + 1]
    if p.step_m == 0.0:
        drawn[:, p.num_layers + 1] = device_draws[:, p.num_layers + 1]
