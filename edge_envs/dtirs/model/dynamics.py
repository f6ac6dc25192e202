"""How a world evolves: random numbers, devices and their load, the AP's processor. One frame is one step."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.dtirs.model.channels import advance_links, distance_on_circuit, start_links
from edge_envs.dtirs.model.parameters import DEVICE_DRAWS, DEVICES, LOAD, MOBILITY, MODEL, Parameters
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
            s.front_flop[row, k, c] = p.exchanges_per_frame * work
            # In the printed model the AP computes for twins only.
            has_back_end = p.model == MODEL.EXTENDED and layers < p.num_layers
            s.back_flop[row, k, c] = p.exchanges_per_frame * (total - work) if has_back_end else 0.0
        speed = s.device_draws[row, k, p.num_layers]
        s.own_speed_flop_s[row, k] = between(p.speed_min_flop_s, p.speed_max_flop_s, speed)
        position, waypoint = s.device_draws[row, k, p.num_layers + 1], s.device_draws[row, k, p.num_layers + 2]
        s.distance_m[row, k] = between(p.distance_min_m, p.distance_max_m, position)
        s.waypoint_m[row, k] = between(p.distance_min_m, p.distance_max_m, waypoint)


@kernel
def enter_circuits(p: Parameters, s: State, row: int) -> None:
    """Place the devices of a new episode on their circuits; whether they move has its stationary distribution."""
    at = p.num_layers + DEVICE_DRAWS
    change = p.stop_probability + p.go_probability
    for k in range(p.num_devices):
        s.lap[row, k] = s.device_draws[row, k, p.num_layers + 1]
        period, share = s.device_draws[row, k, at], s.device_draws[row, k, at + 1]
        s.period_frames[row, k] = between(p.period_min_frames, p.period_max_frames, period)
        s.shadow_share[row, k] = between(p.shadow_share_min, p.shadow_share_max, share)
        s.shadow_start[row, k] = s.device_draws[row, k, at + 2]
        s.moving[row, k] = s.uniforms[row, 2 + k] * change >= p.stop_probability
        s.distance_m[row, k] = distance_on_circuit(s.lap[row, k], p.distance_min_m, p.distance_max_m)


@kernel
def travel(p: Parameters, s: State, row: int) -> None:
    """Move the devices by one frame; some of them stop or move on."""
    for k in range(p.num_devices):
        uniform = s.uniforms[row, 2 + k]
        moves = uniform >= p.stop_probability if s.moving[row, k] else uniform < p.go_probability
        s.moving[row, k] = moves
        if moves:
            lap = s.lap[row, k] + 1.0 / s.period_frames[row, k]
            s.lap[row, k] = lap - math.floor(lap)
        s.distance_m[row, k] = distance_on_circuit(s.lap[row, k], p.distance_min_m, p.distance_max_m)


@kernel_part
def busy_or_free(p: Parameters, share: float, uniform: float, first: bool) -> float:
    """Share of its speed that a device has in the next frame: all, or `device_share_min` if it is busy.

    The Markov chain starts in its stationary distribution; without any change, devices are free.
    """
    if first:
        busy = uniform * (p.busy_probability + p.free_probability) < p.busy_probability
    elif share < 1.0:
        busy = uniform >= p.free_probability
    else:
        busy = uniform < p.busy_probability
    return p.device_share_min if busy else 1.0


@kernel_part
def advance_devices(p: Parameters, s: State, row: int, first: bool) -> None:
    """Draw new devices where they are due, else move the old ones; speeds under the other load."""
    if first or p.devices == DEVICES.FRAME:
        at = 2 + p.num_devices
        for k in range(p.num_devices):
            for i in range(p.device_draws):
                fixed = p.devices == DEVICES.FIXED
                s.device_draws[row, k, i] = p.fixed_devices[k, i] if fixed else s.uniforms[row, at]
                at += 1
        set_up_devices(p, s, row)
        if p.mobility == MOBILITY.CIRCUIT:
            enter_circuits(p, s, row)
    elif p.mobility == MOBILITY.CIRCUIT:
        travel(p, s, row)
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
    busy_at = s.uniforms.shape[1] - p.num_devices
    for k in range(p.num_devices):
        normal = s.normals[row, at + k]
        if p.device_load == LOAD.BUSY_FREE:
            s.load[row, k] = busy_or_free(p, s.load[row, k], s.uniforms[row, busy_at + k], first)
        elif first:
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
    """Start an episode with the random numbers drawn for it; the initial cut counts as every device's last cut."""
    for k in range(p.num_devices):
        s.choice[row, k] = s.held[row, k] = p.initial_choice
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
        device_draws: uniforms (K, D) of given devices; None draws the devices, too.
    """
    for frame in range(WARMUP_FRAMES + 1):
        draw(s, row, rng)
        if device_draws is not None:
            impose_devices(p, s, row, device_draws)
        advance_without_links(p, s, row, frame == 0)
    start_links(p, s, row)


def impose_devices(p: Parameters, s: State, row: int, device_draws: NDArray[np.float64]) -> None:
    """Use given devices (K, D) in a row's next episode; positions stay as drawn unless none moves."""
    first = 2 + p.num_devices
    drawn = s.uniforms[row, first : first + device_draws.size].reshape(device_draws.shape)
    place = p.num_layers + 1
    position, moves = drawn[:, place].copy(), p.mobility == MOBILITY.CIRCUIT or p.step_m > 0.0
    waypoint = drawn[:, place + 1].copy()
    drawn[:] = device_draws
    drawn[:, place + 1] = waypoint
    if moves:
        drawn[:, place] = position
