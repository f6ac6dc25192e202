"""The paper's system: devices, their channels over the IRS, the AP's processor; how they move from frame to frame.

Everything is written for one row (world) of a batch of B worlds with K devices, N elements of the IRS, A antennas and L
choices of a cut. Complex arrays hold real and imaginary part on an axis of length two.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.physics.channel import gauss_markov, power_law_gain
from edge_envs.dtirs import links, phases
from edge_envs.dtirs.config import ASCENT, DEVICE_DRAWS, FIXED, FRAME, RANDOM, SDR, DTIRSConfig, Parameters
from edge_envs.dtirs.links import INDEPENDENT
from edge_envs.dtirs.work import Work, allocate_work

HALF = math.sqrt(0.5)
SETTLING_FRAMES = 20
"""Frames after which places and loads of an episode have forgotten how it began, more or less; chosen."""


class State(NamedTuple):
    """B worlds. Channels, speeds and the pool are those of the frame to come, the choice that of the one just over."""

    device_draws: NDArray[np.float64]  # (B, K, M + 3) uniforms behind speeds, layers' works and places
    front_flop: NDArray[np.float64]  # (B, K, L) work before each cut
    back_flop: NDArray[np.float64]  # (B, K, L) work behind it
    layer_flop: NDArray[np.float64]  # (B, K) mean work of a layer
    own_speed_flop_s: NDArray[np.float64]  # (B, K) without other load
    load: NDArray[np.float64]  # (B, K) part of it that is left, before clipping
    speed_flop_s: NDArray[np.float64]  # (B, K) f_loc
    distance_m: NDArray[np.float64]  # (B, K) to the IRS
    waypoint_m: NDArray[np.float64]  # (B, K) distance that a device is on its way to
    level: NDArray[np.int64]  # (B,) of the pool
    capacity_flop_s: NDArray[np.float64]  # (B,) of the pool, or the budget of the boosts
    backlog_flop: NDArray[np.float64]  # (B,) the AP's unfinished work
    ap_irs: NDArray[np.float64]  # (B, 2, A, N) small-scale fading between AP and IRS, CN(0, 1)
    irs_ap: NDArray[np.float64]  # (B, 2, A, N) the same of an independent uplink, conjugate
    irs_ud: NDArray[np.float64]  # (B, 2, K, N) between IRS and devices
    direct: NDArray[np.float64]  # (B, 2, K, A) of the direct path
    channel: NDArray[np.float64]  # (B, 2, K, N) between IRS and devices, with the path loss of both hops
    gram_down: NDArray[np.float64]  # (B, 2, N, N) G G^H of the fading
    gram_up: NDArray[np.float64]  # (B, 2, N, N) the same of an independent uplink
    phase: NDArray[np.float64]  # (B, 2, N) diagonal of Theta
    gain_down: NDArray[np.float64]  # (B, K) effective power gain
    gain_up: NDArray[np.float64]  # (B, K)
    relaxation: NDArray[np.float64]  # (B, 3) of the phases: relaxed value, proven gap, sweeps
    phase_value: NDArray[np.float64]  # (B,) v^H Q v, from the gains
    choice: NDArray[np.int64]  # (B, K) cut of the frame just over, as an index
    work: Work  # scratch: the frame in hand
    normals: NDArray[np.float64]  # (B, draws) of the frame
    uniforms: NDArray[np.float64]  # (B, draws) of the frame


def allocate(config: DTIRSConfig, p: Parameters, batch: int) -> State:
    """State arrays of `batch` worlds, all zero."""
    k, n, a, choices = p.num_devices, p.num_elements, p.num_antennas, len(p.cut_numbers)
    own_uplink = p.uplink == INDEPENDENT
    shapes: dict[str, tuple[int, ...]] = {
        "device_draws": (k, p.num_layers + DEVICE_DRAWS), "front_flop": (k, choices), "back_flop": (k, choices),
        "level": (), "capacity_flop_s": (), "backlog_flop": (), "ap_irs": (2, a, n),
        "irs_ap": (2, a, n) if own_uplink else (2, 1, 1), "irs_ud": (2, k, n), "direct": (2, k, a),
        "channel": (2, k, n), "gram_down": (2, n, n), "gram_up": (2, n, n) if own_uplink else (2, 1, 1),
        "phase": (2, n), "relaxation": (3,), "phase_value": (), "normals": (config.normals_per_frame,),
        "uniforms": (config.uniforms_per_frame,),
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {
        name: np.zeros((batch, *shapes.get(name, (k,))), dtype=np.int64 if name in ("level", "choice") else np.float64)
        for name in State._fields
        if name != "work"
    }
    return State(**arrays, work=allocate_work(p))


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


@kernel
def fade(fading: NDArray[np.float64], normals: NDArray[np.float64], correlation: float, row: int, offset: int) -> int:
    """Next value of Gauss-Markov fading (B, 2, ., .) from two normals per number; returns the next unused normal."""
    at = offset
    for i in range(fading.shape[2]):
        for j in range(fading.shape[3]):
            re, im = HALF * normals[row, at], HALF * normals[row, at + 1]
            after = gauss_markov(fading[row, 0, i, j], fading[row, 1, i, j], correlation, re, im)
            fading[row, 0, i, j], fading[row, 1, i, j] = after
            at += 2
    return at


@kernel_part
def renew_channels(p: Parameters, s: State, row: int, first: bool) -> None:
    """Fading of all links, path loss of those to the devices, Gram matrices of those to the AP."""
    correlation = 0.0 if first else p.fading_correlation
    at = fade(s.ap_irs, s.normals, correlation, row, 0)
    at = fade(s.irs_ud, s.normals, correlation, row, at)
    at = fade(s.direct, s.normals, correlation, row, at)
    if p.uplink == INDEPENDENT:
        fade(s.irs_ap, s.normals, correlation, row, at)
    if not p.irs:
        return
    for k in range(p.num_devices):
        amplitude = math.sqrt(power_law_gain(s.distance_m[row, k], p.reference_gain, p.irs_ud_exponent) * p.ap_irs_gain)
        for n in range(p.num_elements):
            s.channel[row, 0, k, n] = amplitude * s.irs_ud[row, 0, k, n]
            s.channel[row, 1, k, n] = amplitude * s.irs_ud[row, 1, k, n]
    links.gram(s.ap_irs, s.gram_down, row)
    if p.uplink == INDEPENDENT:
        links.gram(s.irs_ap, s.gram_up, row)


@kernel_part
def solve_phases(p: Parameters, s: State, row: int) -> None:
    """Phases for the gains weighted by `work.weight_down` and `weight_up`, and the gains that they give.

    The form is scaled by its trace, so that the solver's numbers are near one. The value of the phases is the weighted
    sum of the gains, and not what the solver made of the form.
    """
    w = s.work
    links.quadratic_form(s.gram_down, s.gram_up, s.channel, p.uplink, w.weight_down, w.weight_up, w.spread, w.q, row)
    trace = 0.0
    for n in range(p.num_elements):
        trace += w.q[0, n, n]
    scale = p.num_elements / trace if trace > 0.0 else 1.0
    for n in range(p.num_elements):
        for m in range(p.num_elements):
            w.q[0, n, m] *= scale
            w.q[1, n, m] *= scale
    start = s.normals.shape[1] - 2 * p.phase_rank * (p.num_elements + p.phase_samples)
    w.report[0], w.report[1], w.report[2] = math.nan, math.nan, 0.0
    if p.phase == SDR:
        phases.start_factor(w.factor, s.normals, row, start)
        phases.relax(w.q, w.factor, w.z, w.dual, w.spread, w.column, p.phase_gap, w.report)
        samples = start + 2 * p.phase_rank * p.num_elements
        phases.randomise(w.q, w.factor, s.normals, row, samples, p.phase_samples, w.v, w.trial, w.y)
    else:
        phases.random_phases(w.v, s.normals, row, start)
    if p.phase == ASCENT or (p.phase != RANDOM and p.phase_polish):
        phases.polish(w.q, w.v, w.y)
    for i in range(3):
        s.relaxation[row, i] = w.report[i]
    for n in range(p.num_elements):
        s.phase[row, 0, n], s.phase[row, 1, n] = w.v[0, n], w.v[1, n]
    links.link_gains(s.gram_down, s.gram_up, s.channel, p.uplink, s.phase, w.trial, w.y, s.gain_down, s.gain_up, row)
    s.phase_value[row] = 0.0
    for k in range(p.num_devices):
        value = w.weight_down[k] * s.gain_down[row, k] + w.weight_up[k] * s.gain_up[row, k]
        s.phase_value[row] += scale * value


@kernel_part
def use_direct_path(p: Parameters, s: State, row: int) -> None:
    """Gains of the blocked direct path, the same in both directions; there is nothing to set."""
    for k in range(p.num_devices):
        gain = 0.0
        for a in range(p.num_antennas):
            gain += s.direct[row, 0, k, a] ** 2 + s.direct[row, 1, k, a] ** 2
        s.gain_down[row, k] = s.gain_up[row, k] = p.direct_gain * gain
    s.relaxation[row, 0] = s.relaxation[row, 1] = math.nan
    s.relaxation[row, 2] = s.phase_value[row] = 0.0


@kernel_part
def set_links(p: Parameters, s: State, row: int, first: bool) -> None:
    """Channels of the frame to come, and phases for the plain sum of all gains."""
    renew_channels(p, s, row, first)
    if p.irs:
        for k in range(p.num_devices):
            s.work.weight_down[k] = s.work.weight_up[k] = 1.0
        solve_phases(p, s, row)
    else:
        use_direct_path(p, s, row)


@kernel
def renew_links(p: Parameters, s: State, row: int) -> None:
    """`set_links`, with fading that has no past."""
    set_links(p, s, row, True)


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
