"""The paper's system and its extension: users, cells, fading, tasks, other tenants; how they go from frame to frame.

Everything is written for one row (world) of a batch of B worlds with U users, N APs, M subchannels and C choices.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.physics.channel import gauss_markov, poisson, power_law_gain
from edge_envs.eccnoma.config import RANDOM, ECCNOMAConfig, Parameters
from edge_envs.eccnoma.layout import nearest_centre, place_users
from edge_envs.eccnoma.work import Work, allocate_work

ROOT_HALF = math.sqrt(0.5)
LEAST_GAIN = 1e-100
"""Below this no link is: far beyond use, yet rates and their squares stay numbers."""
QUIET, BURST = range(2)


class State(NamedTuple):
    """B worlds. Tasks, channels and background load are those of the frame to come, `seen_*` what is known of them."""

    network: NDArray[np.int64]  # (B, U)
    speed_flop_s: NDArray[np.float64]  # (B, U) c_i
    place_m: NDArray[np.float64]  # (B, U, 2)
    ap: NDArray[np.int64]  # (B, U)
    path_gain: NDArray[np.float64]  # (B, U, N) mean gain
    phase: NDArray[np.int64]  # (B, U) QUIET or BURST
    queue: NDArray[np.float64]  # (B, U) tasks waiting
    arrived: NDArray[np.float64]  # (B, U) of them, in this frame
    level: NDArray[np.int64]  # (B, N) of the background load
    seen_level: NDArray[np.int64]  # (B, N)
    fading_up: NDArray[np.float64]  # (B, 2, M, U, N) CN(0, 1), real and imaginary; one entry if it is fresh each frame
    fading_down: NDArray[np.float64]  # (B, 2, M, U, N)
    gain_up: NDArray[np.float64]  # (B, M, U, N)
    gain_down: NDArray[np.float64]  # (B, M, U, N)
    seen_up: NDArray[np.float64]  # (B, M, U, N)
    seen_down: NDArray[np.float64]  # (B, M, U, N)
    keys: NDArray[np.float64]  # (B, U + N) uniforms of the frame, for random assignments
    choice: NDArray[np.int64]  # (B, U) of the frame just over
    last_delay_s: NDArray[np.float64]  # (B, U) of a task in that frame; 0 without tasks
    last_rate_bit_s: NDArray[np.float64]  # (B, U) uplink
    reference: NDArray[np.float64]  # (B,) cost of a frame's mean arrivals with Device-Only
    normals: NDArray[np.float64]  # (B, draws) normals, or exponentials where fading is fresh each frame
    uniforms: NDArray[np.float64]  # (B, draws)
    work: Work


def allocate(config: ECCNOMAConfig, p: Parameters, batch: int) -> State:
    """State arrays of `batch` worlds, all zero; without a delay, what is seen is what there is."""
    users, aps, subchannels = p.num_users, p.num_aps, p.num_subchannels
    table = (subchannels, users, aps)
    whole = ("network", "ap", "phase", "level", "seen_level", "choice")
    faded = (2, *table) if p.correlation > 0.0 else (1, 1, 1, 1)
    shapes: dict[str, tuple[int, ...]] = {
        "place_m": (users, 2), "path_gain": (users, aps), "level": (aps,), "seen_level": (aps,), "fading_up": faded,
        "fading_down": faded, "gain_up": table, "gain_down": table, "seen_up": table, "seen_down": table,
        "keys": (users + aps,), "reference": (), "normals": (draws_of_fading(p),), "uniforms": (uniforms_of_frame(p),),
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {
        name: np.zeros((batch, *shapes.get(name, (users,))), dtype=np.int64 if name in whole else np.float64)
        for name in State._fields
        if name != "work"
    }
    if not p.stale:
        arrays |= {"seen_up": arrays["gain_up"], "seen_down": arrays["gain_down"], "seen_level": arrays["level"]}
    return State(**arrays, work=allocate_work(config, p))


def draws_of_fading(p: Parameters) -> int:
    """Normals of a frame's fading, or exponentials."""
    return 2 * p.num_subchannels * p.num_users * p.num_aps * (2 if p.correlation > 0.0 else 1)


def uniforms_of_frame(p: Parameters) -> int:
    """Uniforms of a frame: phases and arrivals of the users, levels of the background load, keys."""
    return 2 * p.num_users + p.num_aps + (p.num_users + p.num_aps if p.assignment == RANDOM else 0)


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


@kernel_part
def refer(p: Parameters, s: State, row: int) -> None:
    """Cost of a frame's mean arrivals with everything on the devices, (19) with (1) and (13)."""
    s.reference[row] = 0.0
    for u in range(p.num_users):
        flop = p.device_flop[s.network[row, u], p.last_choice[s.network[row, u]]]
        cost = p.delay_weight * flop / s.speed_flop_s[row, u] + p.energy_weight * p.device_j_per_flop * flop
        s.reference[row] += p.mean_arrivals * cost


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
