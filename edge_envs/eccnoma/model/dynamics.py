"""The paper's system and its extension: users, cells, fading, tasks, other tenants; how they go from frame to frame.

Everything is written for one row (world) of a batch of B worlds with U users, N APs, M subchannels and C choices.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.physics.channel import gauss_markov, poisson, power_law_gain
from edge_envs.eccnoma.config import RANDOM, ECCNOMAConfig, Parameters
from edge_envs.eccnoma.model.calibration import refer
from edge_envs.eccnoma.model.geometry import nearest_centre, place_users
from edge_envs.eccnoma.model.state import State

ROOT_HALF = math.sqrt(0.5)

LEAST_GAIN = 1e-100
"""Below this no link is: far beyond use, yet rates and their squares stay numbers."""

QUIET, BURST = range(2)


def draw(p: Parameters, s: State, row: int, rng: Generator) -> None:
    """Draw the random numbers of the row's next frame."""
    if p.correlation > 0.0:
        rng.standard_normal(out=s.normals[row])
    else:
        rng.standard_exponential(out=s.normals[row])
    rng.random(out=s.uniforms[row])


def draw_users(config: ECCNOMAConfig, p: Parameters, s: State, row: int, rng: Generator) -> None:
    """Networks, speeds and places of the row's users, and the AP nearest to each."""
    s.network[row] = rng.integers(len(p.choices), size=p.num_users)
    ratio = config.speed_max_flop_s / config.speed_min_flop_s
    s.speed_flop_s[row] = config.speed_min_flop_s * ratio ** rng.random(p.num_users)
    balanced = config.placement == "balanced"
    s.place_m[row] = place_users(rng, p.num_users, p.ap_position_m, config.side_m, balanced)
    s.ap[row] = nearest_centre(s.place_m[row], p.ap_position_m)
    distance_m = np.linalg.norm(s.place_m[row][:, None] - p.ap_position_m[None], axis=-1)
    s.path_gain[row] = power_law_gain(
        np.maximum(distance_m, p.distance_min_m), p.reference_gain, p.path_loss_exponent
    )  # fmt: skip


@kernel
def fade(
    p: Parameters, s: State, row: int, first: bool, fading: NDArray[np.float64], gain: NDArray[np.float64],
    seen: NDArray[np.float64], offset: int,
) -> int:  # fmt: skip
    """Next gains of one direction, old ones moved to `seen`; returns the next unused draw."""
    at = offset
    for m in range(p.num_subchannels):
        for u in range(p.num_users):
            for n in range(p.num_aps):
                seen[row, m, u, n] = gain[row, m, u, n]
                if p.correlation > 0.0:
                    re, im = ROOT_HALF * s.normals[row, at], ROOT_HALF * s.normals[row, at + 1]
                    at += 2
                    if not first:
                        re, im = gauss_markov(
                            fading[row, 0, m, u, n], fading[row, 1, m, u, n], p.correlation, re, im
                        )  # fmt: skip
                    fading[row, 0, m, u, n], fading[row, 1, m, u, n] = re, im
                    power = re * re + im * im
                else:
                    power = s.normals[row, at]
                    at += 1
                # a draw of exactly zero would make a link that cannot be used at any power
                gain[row, m, u, n] = max(max(power, 1e-16) * s.path_gain[row, u, n], LEAST_GAIN)
    return at


@kernel_part
def renew_tenants(p: Parameters, s: State, row: int, first: bool) -> None:
    """Background load of every AP: evenly random at first; then it stays, or a neighbouring level if there is one."""
    levels = len(p.background)
    for n in range(p.num_aps):
        uniform = s.uniforms[row, 2 * p.num_users + n]
        s.seen_level[row, n] = s.level[row, n]
        if first:
            s.level[row, n] = min(int(uniform * levels), levels - 1)
        elif uniform >= p.background_stay:
            up = uniform >= 0.5 * (1.0 + p.background_stay)
            s.level[row, n] = min(max(s.level[row, n] + (1 if up else -1), 0), levels - 1)


@kernel_part
def renew_tasks(p: Parameters, s: State, row: int, first: bool) -> None:
    """Phases and arrivals of the users, added to their backlogs; what finds no room is dropped."""
    for u in range(p.num_users):
        s.work.drops[u] = 0.0
        if not p.bursty:
            s.arrived[row, u] = s.queue[row, u] = 1.0
            continue
        uniform = s.uniforms[row, u]
        if first:
            s.phase[row, u] = uniform < p.burst_begins / (p.burst_begins + p.burst_ends)
            continue
        if s.phase[row, u] == QUIET:
            s.phase[row, u] = uniform < p.burst_begins
        else:
            s.phase[row, u] = uniform >= p.burst_ends
        rate = p.arrival_rate[s.phase[row, u]]
        count = poisson(s.uniforms[row, p.num_users + u], math.exp(-rate), rate)
        s.arrived[row, u] = count
        s.work.drops[u] = max(s.queue[row, u] + count - p.queue_max, 0.0)
        s.queue[row, u] = min(s.queue[row, u] + count, p.queue_max)


@kernel_part
def advance(p: Parameters, s: State, row: int, first: bool) -> None:
    """Move a row to its next frame by the numbers that were drawn for it; with `first` start its processes."""
    at = fade(p, s, row, first, s.fading_up, s.gain_up, s.seen_up, 0)
    fade(p, s, row, first, s.fading_down, s.gain_down, s.seen_down, at)
    renew_tenants(p, s, row, first)
    renew_tasks(p, s, row, first)
    if p.assignment == RANDOM:
        for i in range(p.num_users + p.num_aps):
            s.keys[row, i] = s.uniforms[row, 2 * p.num_users + p.num_aps + i]


@kernel
def begin(p: Parameters, s: State, row: int) -> None:
    """Start a row's processes one frame early, with no tasks yet; everybody has computed on the device so far."""
    refer(p, s, row)
    for u in range(p.num_users):
        s.queue[row, u] = s.arrived[row, u] = s.last_delay_s[row, u] = s.last_rate_bit_s[row, u] = 0.0
        s.choice[row, u] = p.last_choice[s.network[row, u]]
    advance(p, s, row, True)


@kernel
def move_on(p: Parameters, s: State, row: int) -> None:
    """`advance` to the next frame."""
    advance(p, s, row, False)


def begin_episode(config: ECCNOMAConfig, p: Parameters, s: State, row: int, rng: Generator) -> None:
    """Start a row afresh: new users, and one frame of the past, so that there is something old to be seen."""
    draw_users(config, p, s, row, rng)
    start_processes(p, s, row, rng)


def start_processes(p: Parameters, s: State, row: int, rng: Generator) -> None:
    """Start fading, tasks and background load of a row whose users are set."""
    draw(p, s, row, rng)
    begin(p, s, row)
    draw(p, s, row, rng)
    move_on(p, s, row)
