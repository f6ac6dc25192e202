"""The observation of a world: for each device its gains, speed, work and last cut; then what all devices share.

With observation="full", forecasts of the gain, load, motion, the works at all cuts and the pool's delay are added. All
of it is known before the frame: forecasts use a device's route and its nominal speed, but no future random number.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.dtirs.model.channels import forecast_gain
from edge_envs.dtirs.model.parameters import MOBILITY, OBSERVATION, UPLINK, VIEW, Parameters
from edge_envs.dtirs.model.state import State

OBSERVATION_LIMIT = 8.0
GAIN_CENTRE, GAIN_SCALE = 5.0, 2.0
"""Mean and spread of ln(gain / noise) in the default system."""
POOL_DELAY_FLOOR_S = 0.01
"""Added to the pool's delay before its logarithm is taken, as the delay can be zero [s]."""


@kernel
def has_own_uplink(p: Parameters) -> bool:
    """Return True if uplink gains differ from downlink gains; on the direct path they do not."""
    return p.irs and p.uplink != UPLINK.RECIPROCAL


def device_fields(p: Parameters) -> list[str]:
    """Names of the columns of a device, in their order."""
    gains = ["gain_downlink", "gain_uplink"] if has_own_uplink(p) else ["gain_downlink"]
    if p.observation == OBSERVATION.COMPACT:
        return [*gains, "speed", "layer_work", "last_cut"]
    return [
        *gains, *(f"gain_forecast_{frames}" for frames in p.forecast_frames), "own_speed", "free_share",
        *(["moving"] if p.mobility == MOBILITY.CIRCUIT else []), *(f"work_before_cut_{m}" for m in p.cut_numbers),
        *(f"last_cut_{m}" for m in p.cut_numbers),
    ]  # fmt: skip


def shared_fields(p: Parameters) -> list[str]:
    """Names of the columns that all devices share: the pool if it can change, the backlog if there is one."""
    backlog = ["backlog"] if p.backlog else []
    if p.observation == OBSERVATION.COMPACT:
        return [*(["pool_level"] if len(p.pool_levels) > 1 else []), *backlog]
    return ["pool_delay", *(f"pool_level_{level}" for level in range(len(p.pool_levels))), *backlog]


def member_views(p: Parameters) -> NDArray[np.int64]:
    """Columns that each device sees, shape (K, n): its own, the shared ones, then those of the next devices in turn.

    With view="own", there are no columns of other devices.
    """
    users, facts = p.num_devices, len(device_fields(p))
    own = np.arange(users * facts).reshape(users, facts)
    shared = np.arange(users * facts, users * facts + len(shared_fields(p)))
    if p.view == VIEW.OWN:
        return np.array([np.concatenate([each, shared]) for each in own], dtype=np.int64)
    turned = [np.roll(own, -member, axis=0) for member in range(users)]
    return np.array([np.concatenate([each[0], shared, each[1:].ravel()]) for each in turned], dtype=np.int64)


@kernel
def limited(value: float) -> float:
    """The value, clipped to the limits of the observation."""
    return min(max(value, -OBSERVATION_LIMIT), OBSERVATION_LIMIT)


@kernel
def scaled_gain(gain: float, noise_w: float) -> float:
    """A gain as it is observed."""
    return limited((math.log(gain / noise_w) - GAIN_CENTRE) / GAIN_SCALE)


@kernel
def scaled_work(flop: float, layers: float, middle: float, half: float) -> float:
    """Work of some layers as it is observed, for works middle ± half of a layer; its standard deviation is 0.58."""
    return limited((flop - layers * middle) / (half * math.sqrt(layers))) if half > 0.0 and layers > 0.0 else 0.0


@kernel
def write_forecasts(p: Parameters, s: State, row: int, gains: NDArray[np.float64]) -> None:
    """Write the forecasts of the devices' downlink gains (K, F) at `forecast_frames`."""
    for k in range(p.num_devices):
        for i in range(len(p.forecast_frames)):
            gains[k, i] = forecast_gain(p, s, row, k, float(p.forecast_frames[i]))


@kernel_part
def held_pool_delay(p: Parameters, s: State, row: int) -> float:
    """Mean delay of the back ends in an exchange if all devices keep their cuts, at optimal shares [s]."""
    roots = 0.0
    for k in range(p.num_devices):
        roots += math.sqrt(s.back_flop[row, k, s.held[row, k]])
    return roots * roots / (s.capacity_flop_s[row] * p.num_devices * p.exchanges_per_frame)


@kernel
def encode_full(p: Parameters, s: State, row: int, observation: NDArray[np.float32]) -> None:
    """Write the observation (B, n) of a row with observation="full"."""
    at = 0
    middle, half = 0.5 * (p.layer_flop_max + p.layer_flop_min), 0.5 * (p.layer_flop_max - p.layer_flop_min)
    for k in range(p.num_devices):
        observation[row, at] = scaled_gain(s.gain_down[row, k], p.noise_w)
        at += 1
        if has_own_uplink(p):
            observation[row, at] = scaled_gain(s.gain_up[row, k], p.noise_w)
            at += 1
        for i in range(len(p.forecast_frames)):
            forecast = forecast_gain(p, s, row, k, float(p.forecast_frames[i]))
            observation[row, at] = scaled_gain(forecast, p.noise_w)
            at += 1
        observation[row, at] = 2.0 * s.own_speed_flop_s[row, k] / p.speed_max_flop_s - 1.0
        observation[row, at + 1] = 2.0 * s.speed_flop_s[row, k] / s.own_speed_flop_s[row, k] - 1.0
        at += 2
        if p.mobility == MOBILITY.CIRCUIT:
            observation[row, at] = s.moving[row, k]
            at += 1
        for c in range(len(p.cut_numbers)):
            work = s.front_flop[row, k, c] / p.exchanges_per_frame
            observation[row, at] = scaled_work(work, float(p.cut_numbers[c]), middle, half)
            observation[row, at + len(p.cut_numbers)] = c == s.held[row, k]
            at += 1
        at += len(p.cut_numbers)
    observation[row, at] = limited(math.log(held_pool_delay(p, s, row) + POOL_DELAY_FLOOR_S))
    at += 1
    for level in range(len(p.pool_levels)):
        observation[row, at] = level == s.level[row]
        at += 1
    if p.backlog:
        observation[row, at] = math.tanh(s.backlog_flop[row] / (s.capacity_flop_s[row] * p.frame_s))


@kernel_part
def encode(p: Parameters, s: State, row: int, observation: NDArray[np.float32]) -> None:
    """Write the observation (B, n) of a row."""
    if p.observation == OBSERVATION.FULL:
        encode_full(p, s, row, observation)
        return
    at = 0
    middle, half = 0.5 * (p.layer_flop_max + p.layer_flop_min), 0.5 * (p.layer_flop_max - p.layer_flop_min)
    for k in range(p.num_devices):
        observation[row, at] = limited((math.log(s.gain_down[row, k] / p.noise_w) - GAIN_CENTRE) / GAIN_SCALE)
        at += 1
        if has_own_uplink(p):
            observation[row, at] = limited((math.log(s.gain_up[row, k] / p.noise_w) - GAIN_CENTRE) / GAIN_SCALE)
            at += 1
        observation[row, at] = 2.0 * s.speed_flop_s[row, k] / p.speed_max_flop_s - 1.0
        work = (s.layer_flop[row, k] - middle) / half * math.sqrt(float(p.num_layers)) if half > 0.0 else 0.0
        observation[row, at + 1] = limited(work)
        observation[row, at + 2] = 2.0 * s.choice[row, k] / (len(p.cut_numbers) - 1.0) - 1.0
        at += 3
    if len(p.pool_levels) > 1:
        observation[row, at] = limited(math.log(s.capacity_flop_s[row] / p.pool_flop_s))
        at += 1
    if p.backlog:
        observation[row, at] = math.tanh(s.backlog_flop[row] / (s.capacity_flop_s[row] * p.frame_s))


@kernel
def encode_all(p: Parameters, s: State, observation: NDArray[np.float32]) -> None:
    """Write the observations (B, n) of all rows."""
    for row in range(len(observation)):
        encode(p, s, row, observation)
