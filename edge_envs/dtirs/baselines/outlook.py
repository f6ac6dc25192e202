"""What a planner expects of the coming frames: means over the environment's own random processes, without sampling.

Stops, load and the level of the pool are Markov chains, so their distributions are known. The delays of a sequence of
cuts are linear in the means of times per bit, inverse speeds and the inverse speed of the pool. Fading is replaced by
the mean gain with random phases. What is no Markov chain (`device_load="autoregressive"`, `mobility="waypoint"`) keeps
its present value.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import compiled
from edge_envs.dtirs.model.channels import mean_gain
from edge_envs.dtirs.model.parameters import LOAD, MOBILITY, Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers.cut_paths import CutProblem

FloatArray = NDArray[np.float64]


@compiled
def seconds_per_bit(p: Parameters, power_w: float, gain: float) -> float:
    """Time to send a bit at a power, (11), (13) [s]."""
    return math.log(2.0) / (p.device_bandwidth_hz * math.log1p(power_w * gain / p.noise_w))


@compiled
def moves_ahead(p: Parameters, moving: bool, chance: FloatArray) -> None:
    """Fill `chance` (H, H): probability that a device has moved j times after h frames."""
    frames = len(chance)
    still, going = np.zeros(frames), np.zeros(frames)
    (going if moving else still)[0] = 1.0
    chance[0] = still + going
    for h in range(1, frames):
        for j in range(h, -1, -1):
            stopped = still[j] * (1.0 - p.go_probability) + going[j] * p.stop_probability
            came = still[j - 1] * p.go_probability + going[j - 1] * (1.0 - p.stop_probability) if j > 0 else 0.0
            chance[h, j] = stopped + came
            still[j], going[j] = stopped, came


@compiled
def expected_links(p: Parameters, s: State, row: int, power_w: float, up_s: FloatArray, down_s: FloatArray) -> None:
    """Fill the mean times per bit (H, K); those of frame 0 are known."""
    frames = len(up_s)
    chance = np.zeros((2, frames, frames))
    moves_ahead(p, False, chance[0])
    moves_ahead(p, True, chance[1])
    up, down = np.empty(frames), np.empty(frames)
    for k in range(p.num_devices):
        up_s[:, k] = seconds_per_bit(p, p.power_uplink_w, s.gain_up[row, k])
        down_s[:, k] = seconds_per_bit(p, power_w, s.gain_down[row, k])
        if p.mobility == MOBILITY.CIRCUIT and p.irs:
            for j in range(frames):
                lap = s.lap[row, k] + j / s.period_frames[row, k]
                gain = mean_gain(p, lap - math.floor(lap), s.shadow_start[row, k], s.shadow_share[row, k])
                up[j], down[j] = seconds_per_bit(p, p.power_uplink_w, gain), seconds_per_bit(p, power_w, gain)
            for h in range(1, frames):
                up_s[h, k] = down_s[h, k] = 0.0
                for j in range(h + 1):
                    up_s[h, k] += chance[s.moving[row, k], h, j] * up[j]
                    down_s[h, k] += chance[s.moving[row, k], h, j] * down[j]


@compiled
def expected_slowness(p: Parameters, s: State, row: int, k: int, frames: int) -> float:
    """Mean inverse speed of a device after some frames [s/FLOP]."""
    change = p.busy_probability + p.free_probability
    if p.device_load != LOAD.BUSY_FREE or change == 0.0 or frames == 0:
        return 1.0 / s.speed_flop_s[row, k]
    usual = p.busy_probability / change
    busy = usual + ((1.0 if s.load[row, k] < 1.0 else 0.0) - usual) * (1.0 - change) ** frames
    return (busy / p.device_share_min + 1.0 - busy) / s.own_speed_flop_s[row, k]


@compiled
def expected_pool(p: Parameters, s: State, row: int, frames: int) -> float:
    """Mean inverse speed of the pool after some frames [s/FLOP]."""
    levels = len(p.pool_levels)
    if levels == 1 or frames == 0:
        return 1.0 / s.capacity_flop_s[row]
    mean = 0.0
    for level in range(levels):
        mean += 1.0 / (p.pool_flop_s * p.pool_levels[level] * levels)
    kept = (levels * p.pool_stay_probability - 1.0) / (levels - 1.0)
    return mean + (1.0 / s.capacity_flop_s[row] - mean) * kept**frames


@compiled
def expected_problem(p: Parameters, s: State, row: int, frames: int) -> CutProblem:
    """The next `frames` frames as a row's state lets expect them; frame 0 is known exactly."""
    devices, choices = p.num_devices, len(p.cut_numbers)
    up_s, down_s, pool_s = np.empty((frames, devices)), np.empty((frames, devices)), np.empty(frames)
    own_s, root = np.empty((frames, devices, choices)), np.empty((frames, devices, choices))
    expected_links(p, s, row, min(p.power_total_w / devices, p.power_max_w), up_s, down_s)
    for h in range(frames):
        pool_s[h] = expected_pool(p, s, row, h)
        for k in range(devices):
            slowness = expected_slowness(p, s, row, k, h)
            for c in range(choices):
                own_s[h, k, c] = s.front_flop[row, k, c] * slowness + p.cut_leakage_s[c]
                own_s[h, k, c] += p.bits_up[c] * up_s[h, k] + p.bits_down[c] * down_s[h, k]
                root[h, k, c] = math.sqrt(s.back_flop[row, k, c])
    return CutProblem(own_s, root, pool_s, up_s, down_s, p.migration_bits, s.held[row].copy())
