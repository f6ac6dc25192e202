"""Accelerator slices of the APs: who holds one, and which cuts are loaded.

A slice is loaded from the end of the network, so after `loaded` steps a user can use each cut whose `load_steps` are at
most `loaded`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.eccnoma.model.parameters import Parameters
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.solvers.server_units import compensation


@kernel_part
def allot_slices(p: Parameters, s: State, row: int) -> None:
    """Allot the slices to users whose choice is not the device, load them, and set `choice` to the cuts that are used.

    Users that hold a slice and still want one keep it. The others release theirs, which forgets the weights. Free
    slices go to the users whose waiting tasks take their devices longest. A user whose cut is not yet loaded computes
    alone and loads for this step, and so does a user that wants a slice and finds none, without loading.
    """
    for u in range(p.num_users):
        if s.choice[row, u] == p.last_choice[s.network[row, u]] or s.choice[row, u] >= p.choices[s.network[row, u]]:
            s.holds[row, u] = 0
    for n in range(p.num_aps):
        free = p.slices
        for u in range(p.num_users):
            if s.ap[row, u] == n:
                free -= s.holds[row, u]
        for _ in range(free):
            best, longest = -1, -1.0
            for u in range(p.num_users):
                network = s.network[row, u]
                last, wanted = p.last_choice[network], s.choice[row, u]
                if s.ap[row, u] == n and s.holds[row, u] == 0 and wanted != last and wanted < p.choices[network]:
                    work_s = s.queue[row, u] * p.device_flop[network, last] / s.speed_flop_s[row, u]
                    if work_s > longest:
                        best, longest = u, work_s
            if best < 0:
                break
            s.holds[row, best] = 1
    for u in range(p.num_users):
        network = s.network[row, u]
        if s.holds[row, u] == 0:
            s.loaded[row, u] = 0
            s.choice[row, u] = p.last_choice[network]
        elif p.load_steps[network, s.choice[row, u]] > s.loaded[row, u]:
            s.loaded[row, u] += 1
            s.choice[row, u] = p.last_choice[network]


@kernel_part
def best_gain(gain: NDArray[np.float64], row: int, u: int, n: int) -> float:
    """Largest gain between a user and an AP over the subchannels."""
    best = 0.0
    for m in range(gain.shape[1]):
        best = max(best, gain[row, m, u, n])
    return best


@kernel_part
def solo_rate(band_hz: float, noise_w_per_hz: float, power_w: float, gain: float) -> float:
    """Rate on one subchannel without interference, (6), (9) [bit/s]."""
    return band_hz * math.log1p(power_w * gain / (noise_w_per_hz * band_hz)) / math.log(2.0)


@kernel_part
def solo_delay(
    p: Parameters, s: State, row: int, u: int, c: int, rate_up: float, rate_down: float, units: float
) -> float:
    """Delay (12) of a task at cut c, at given rates and units of the server [s]."""
    network = s.network[row, u]
    delay = p.device_flop[network, c] / s.speed_flop_s[row, u]
    if p.bits_up[network, c] > 0.0:
        delay += p.bits_up[network, c] / rate_up + p.result_bits / rate_down
    if p.server_flop[network, c] > 0.0:
        delay += p.server_flop[network, c] / (compensation(units, p.core_overhead) * p.unit_speed_flop_s)
    return delay


@kernel_part
def seen_solo_delay(p: Parameters, s: State, row: int, u: int) -> float:
    """Smallest delay of a task over all cuts that offload, if the user were alone in the observed world [s]."""
    n = s.ap[row, u]
    rate_up = solo_rate(
        p.bandwidth_up_hz / p.num_subchannels, p.noise_w_per_hz, p.power_up_max_w, best_gain(s.seen_up, row, u, n)
    )
    rate_down = solo_rate(
        p.bandwidth_down_hz / p.num_subchannels, p.noise_w_per_hz, p.power_down_max_w,
        best_gain(s.seen_down, row, u, n),
    )  # fmt: skip
    units = p.units_max
    if p.pool:
        units = min(units, p.pool_units * (1.0 - p.background_levels[s.seen_level[row, n]]))
    best = math.inf
    for c in range(p.choices[s.network[row, u]]):
        if c != p.last_choice[s.network[row, u]]:
            best = min(best, solo_delay(p, s, row, u, c, rate_up, rate_down, units))
    return best
