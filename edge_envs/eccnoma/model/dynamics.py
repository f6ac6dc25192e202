"""Random processes of a world: users, fading, tasks and other tenants of the servers.

Functions act on one row of a batch of B worlds with U users, N APs and M subchannels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import FastCall, kernel, kernel_part
from edge_envs.core.physics.channel import gauss_markov, poisson, power_law_gain
from edge_envs.eccnoma.model.calibration import set_reference
from edge_envs.eccnoma.model.geometry import nearest_centre, place_users
from edge_envs.eccnoma.model.parameters import ARRIVALS, ASSIGNMENT, PLACEMENT, Parameters
from edge_envs.eccnoma.model.state import State

ROOT_HALF = math.sqrt(0.5)

GAIN_MIN = 1e-100
"""Smallest gain of a link: useless for sending, but rates and their squares stay finite and positive."""

QUIET, BURST = range(2)
"""Phases of a user's arrivals."""


def draw(p: Parameters, s: State, row: int, rng: Generator) -> None:
    """Draw the random numbers of the row's next step."""
    if p.fading_correlation > 0.0:
        rng.standard_normal(out=s.normals[row])
    else:
        rng.standard_exponential(out=s.normals[row])
    rng.random(out=s.uniforms[row])


def draw_users(p: Parameters, s: State, row: int, rng: Generator) -> None:
    """Draw networks, speeds and positions of the row's users, and find the AP nearest to each."""
    s.network[row] = rng.integers(len(p.choices), size=p.num_users)
    ratio = p.speed_max_flop_s / p.speed_min_flop_s
    s.speed_flop_s[row] = p.speed_min_flop_s * ratio ** rng.random(p.num_users)
    balanced = p.placement == PLACEMENT.BALANCED
    s.place_m[row] = place_users(rng, p.num_users, p.ap_position_m, p.side_m, balanced)
    s.ap[row] = nearest_centre(s.place_m[row], p.ap_position_m)
    distance_m = np.linalg.norm(s.place_m[row][:, None] - p.ap_position_m[None], axis=-1)
    s.path_gain[row] = power_law_gain(np.maximum(distance_m, p.distance_min_m), p.reference_gain, p.path_loss_exponent)


@kernel
def fade(
    draws: NDArray[np.float64], offset: int, row: int, first: bool, correlation: float, path_gain: NDArray[np.float64],
    fading: NDArray[np.float64], gain: NDArray[np.float64], seen: NDArray[np.float64],
) -> int:  # fmt: skip
    """Compute the next gains of one direction and copy the old ones to `seen`; returns the next unused draw."""
    at = offset
    for m in range(gain.shape[1]):
        for u in range(gain.shape[2]):
            for n in range(gain.shape[3]):
                seen[row, m, u, n] = gain[row, m, u, n]
                if correlation > 0.0:
                    re, im = ROOT_HALF * draws[row, at], ROOT_HALF * draws[row, at + 1]
                    at += 2
                    if not first:
                        old_re, old_im = fading[row, 0, m, u, n], fading[row, 1, m, u, n]
                        re, im = gauss_markov(old_re, old_im, correlation, re, im)
                    fading[row, 0, m, u, n], fading[row, 1, m, u, n] = re, im
                    power = re * re + im * im
                else:
                    power = draws[row, at]
                    at += 1
                # A draw of exactly zero would make the link useless at any power.
                gain[row, m, u, n] = max(max(power, 1e-16) * path_gain[row, u, n], GAIN_MIN)
    return at


@kernel_part
def update_background(p: Parameters, s: State, row: int, first: bool) -> None:
    """Update the background load of every AP: uniform at first, then a Markov chain (see the configuration)."""
    levels = len(p.background_levels)
    for n in range(p.num_aps):
        uniform = s.uniforms[row, 2 * p.num_users + n]
        s.seen_level[row, n] = s.level[row, n]
        if first:
            s.level[row, n] = min(int(uniform * levels), levels - 1)
        elif uniform >= p.background_stay_probability:
            up = uniform >= 0.5 * (1.0 + p.background_stay_probability)
            s.level[row, n] = min(max(s.level[row, n] + (1 if up else -1), 0), levels - 1)


@kernel_part
def add_arrivals(p: Parameters, s: State, row: int, first: bool) -> None:
    """Update the phases of the users and add their arrivals to the backlogs; tasks beyond `queue_max` are dropped."""
    for u in range(p.num_users):
        s.workspace.drops[u] = 0.0
        if p.arrivals == ARRIVALS.ONE:
            s.arrived[row, u] = s.queue[row, u] = 1.0
            continue
        uniform = s.uniforms[row, u]
        if first:
            s.phase[row, u] = uniform < p.burst_begins_probability / (
                p.burst_begins_probability + p.burst_ends_probability
            )
            continue
        if s.phase[row, u] == QUIET:
            s.phase[row, u] = uniform < p.burst_begins_probability
        else:
            s.phase[row, u] = uniform >= p.burst_ends_probability
        rate = p.arrival_rate[s.phase[row, u]]
        count = poisson(s.uniforms[row, p.num_users + u], math.exp(-rate), rate)
        s.arrived[row, u] = count
        s.workspace.drops[u] = max(s.queue[row, u] + count - p.queue_max, 0.0)
        s.queue[row, u] = min(s.queue[row, u] + count, p.queue_max)


@kernel
def advance(p: Parameters, s: State, row: int, first: bool) -> None:
    """Advance a row's processes with the numbers drawn for it.

    If `first`, start them, one step before the episode: there are no tasks, and all layers are on the devices.
    """
    if first:
        set_reference(p, s, row)
        for u in range(p.num_users):
            s.queue[row, u] = s.arrived[row, u] = s.last_delay_s[row, u] = s.last_rate_bit_s[row, u] = 0.0
            s.choice[row, u] = p.last_choice[s.network[row, u]]
            s.holds[row, u] = s.loaded[row, u] = 0
    rho = p.fading_correlation
    at = fade(s.normals, 0, row, first, rho, s.path_gain, s.fading_up, s.gain_up, s.seen_up)
    fade(s.normals, at, row, first, rho, s.path_gain, s.fading_down, s.gain_down, s.seen_down)
    update_background(p, s, row, first)
    add_arrivals(p, s, row, first)
    if p.assignment == ASSIGNMENT.RANDOM:
        for i in range(p.num_users + p.num_aps):
            s.keys[row, i] = s.uniforms[row, 2 * p.num_users + p.num_aps + i]


FAST_ADVANCE = FastCall(advance)


def begin_episode(p: Parameters, s: State, row: int, rng: Generator) -> None:
    """Start an episode in a row: new users, and one step of the past for delayed observations."""
    draw_users(p, s, row, rng)
    start_processes(p, s, row, rng)


def start_processes(p: Parameters, s: State, row: int, rng: Generator) -> None:
    """Start fading, tasks and background loads of a row whose users are given."""
    draw(p, s, row, rng)
    FAST_ADVANCE(p, s, row, True)
    draw(p, s, row, rng)
    FAST_ADVANCE(p, s, row, False)
