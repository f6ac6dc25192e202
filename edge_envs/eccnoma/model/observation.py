"""The observation of a world: facts of each user, its network, its open choices and its AP."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.model.parameters import Parameters
from edge_envs.eccnoma.model.reward import is_local
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.solvers.server_units import compensation

OBSERVATION_LIMIT = 8.0
"""Largest absolute value of an observation."""
FACTS = (
    "backlog", "log_backlog", "arrivals", "has_tasks", "device_delay", "device_speed", "snr_best", "snr_mean",
    "own_over_cross_gain", "background_load", "last_delay", "last_rate", "last_edge", "last_device", "waiting_work",
    "cell_waiting_work", "cell_busy_users",
)  # fmt: skip
"""Names of the numbers per user before its network, its open choices and its AP."""
LOCAL_FACTS = len(FACTS)
SLICE_FACTS = (
    "burst", "slice", "loaded", "to_load", "saving", "saved_work", "cell_saved_work", "rank", "free_slices",
)  # fmt: skip
"""Names of the further numbers per user if users need slices; docs/ECCNOMA-v0-planning.md gives the scaling."""
REFERENCE_POOL_UNITS = 3.0
"""Pool size to which the sums of a cell are scaled, the default [units]."""
DELAY_MAX_S = 3.0
"""Largest last delay that is shown [s]."""


def facts(p: Parameters) -> int:
    """Numbers that describe a user, without open choices and AP."""
    return LOCAL_FACTS + (len(SLICE_FACTS) if p.slices > 0 else 0) + len(p.choices)


def fields(p: Parameters) -> list[str]:
    """Names of the columns of one user."""
    return [
        *FACTS,
        *(SLICE_FACTS if p.slices > 0 else ()),
        *(f"network_{i}" for i in range(len(p.choices))),
        *(f"open_choice_{c}" for c in range(p.num_choices)),
        *(f"ap_{n}" for n in range(p.num_aps)),
    ]


@kernel_part
def limited(value: float) -> float:
    """The value, clipped to the limits of the observation."""
    return min(max(value, -OBSERVATION_LIMIT), OBSERVATION_LIMIT)


@kernel_part
def waiting_work(p: Parameters, s: State, row: int, u: int) -> float:
    """sqrt(Q (Q + 1) / 2 f) in sqrt(GFLOP), to which a user's share of the pool is proportional at cut 0."""
    queue, network = s.queue[row, u], s.network[row, u]
    flop = p.device_flop[network, p.last_choice[network]]
    return math.sqrt(0.5 * queue * (queue + 1.0) * flop * 1e-9)


@kernel_part
def encode_channel(p: Parameters, s: State, row: int, u: int, at: int, observation: NDArray[np.float32]) -> None:
    """Best and mean observed SNR, and the best gain to the own AP over the mean gain to the others."""
    n = s.ap[row, u]
    snr_per_gain = p.power_up_max_w / (p.noise_w_per_hz * p.bandwidth_up_hz / p.num_subchannels)
    best, mean, cross = 0.0, 0.0, 0.0
    for m in range(p.num_subchannels):
        own = s.seen_up[row, m, u, n]
        best = max(best, own)
        mean += own / p.num_subchannels
        for k in range(p.num_aps):
            if k != n:
                cross += s.seen_up[row, m, u, k] / (p.num_subchannels * (p.num_aps - 1))
    observation[row, at] = limited(math.log2(1.0 + snr_per_gain * best) / 10.0 - 1.0)
    observation[row, at + 1] = limited(math.log2(1.0 + snr_per_gain * mean) / 10.0 - 1.0)
    observation[row, at + 2] = limited(math.log2(best / cross) / 10.0 - 0.5) if cross > 0.0 else 0.0


@kernel_part
def encode_tasks(p: Parameters, s: State, row: int, u: int, at: int, observation: NDArray[np.float32]) -> None:
    """Backlog and arrivals, and the delay and speed of computing on the device."""
    queue = s.queue[row, u]
    network = s.network[row, u]
    flop = p.device_flop[network, p.last_choice[network]]
    observation[row, at] = limited(queue / 5.0)
    observation[row, at + 1] = limited(math.log1p(queue))
    observation[row, at + 2] = limited(s.arrived[row, u] / 3.0)
    observation[row, at + 3] = 1.0 if queue > 0.0 else 0.0
    observation[row, at + 4] = limited(flop / s.speed_flop_s[row, u])
    observation[row, at + 5] = limited(math.log(s.speed_flop_s[row, u] * 1e-9))


@kernel_part
def encode_past(p: Parameters, s: State, row: int, u: int, at: int, observation: NDArray[np.float32]) -> None:
    """Observed background load, and delay, rate and cut of the user's last step."""
    number = p.cut_number[s.network[row, u], s.choice[row, u]]
    band_hz = p.bandwidth_up_hz / p.num_subchannels
    observation[row, at] = p.background_levels[s.seen_level[row, s.ap[row, u]]]
    observation[row, at + 1] = min(s.last_delay_s[row, u], DELAY_MAX_S)
    observation[row, at + 2] = limited(s.last_rate_bit_s[row, u] / band_hz / 10.0)
    observation[row, at + 3] = 1.0 if number == 0 else 0.0
    observation[row, at + 4] = 1.0 if is_local(p, s, row, u) else 0.0


@kernel_part
def sum_cells(p: Parameters, s: State, row: int) -> None:
    """Waiting work of each AP's users and the number of users with tasks, relative to the size of the pool."""
    # Relative sums let a trained policy work with other pool sizes.
    crowding = REFERENCE_POOL_UNITS / p.pool_units if p.pool else 1.0
    for n in range(p.num_aps):
        s.workspace.cell_work[n] = s.workspace.cell_users[n] = 0.0
    for u in range(p.num_users):
        s.workspace.cell_work[s.ap[row, u]] += waiting_work(p, s, row, u)
        s.workspace.cell_users[s.ap[row, u]] += s.queue[row, u] > 0.0
    for n in range(p.num_aps):
        s.workspace.cell_work[n] *= crowding
        s.workspace.cell_users[n] *= crowding


@kernel_part
def encode_cell(p: Parameters, s: State, row: int, u: int, at: int, observation: NDArray[np.float32]) -> None:
    """Waiting work of the user, and the sums of its cell."""
    n = s.ap[row, u]
    observation[row, at] = limited(waiting_work(p, s, row, u) / 5.0)
    observation[row, at + 1] = limited(s.workspace.cell_work[n] / 20.0)
    observation[row, at + 2] = limited(s.workspace.cell_users[n] / 6.0)


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


@kernel_part
def save_times(p: Parameters, s: State, row: int) -> None:
    """Fill `saved_s`: the time that a user's waiting tasks save at its best cut, if it were alone in the cell [s]."""
    for u in range(p.num_users):
        network = s.network[row, u]
        device_s = p.device_flop[network, p.last_choice[network]] / s.speed_flop_s[row, u]
        s.workspace.saved_s[u] = s.queue[row, u] * max(device_s - seen_solo_delay(p, s, row, u), 0.0)


@kernel_part
def encode_slice(p: Parameters, s: State, row: int, u: int, at: int, observation: NDArray[np.float32]) -> None:
    """The numbers of `SLICE_FACTS`."""
    network, saved_s = s.network[row, u], s.workspace.saved_s
    device_s = p.device_flop[network, p.last_choice[network]] / s.speed_flop_s[row, u]
    cell_s, before, free = 0.0, 0, p.slices
    for v in range(p.num_users):
        if s.ap[row, v] == s.ap[row, u]:
            cell_s += saved_s[v]
            before += saved_s[v] > saved_s[u]
            free -= s.holds[row, v]
    loaded = s.loaded[row, u]
    observation[row, at] = s.phase[row, u]
    observation[row, at + 1] = s.holds[row, u]
    observation[row, at + 2] = limited(loaded / 5.0)
    observation[row, at + 3] = limited((p.load_steps[network, p.first_choice[network]] - loaded) / 5.0)
    observation[row, at + 4] = limited(max(device_s - seen_solo_delay(p, s, row, u), 0.0) / device_s)
    observation[row, at + 5] = limited(math.log1p(saved_s[u]))
    observation[row, at + 6] = limited(math.log1p(cell_s) / 2.0)
    observation[row, at + 7] = limited(before / p.slices / 2.0)
    observation[row, at + 8] = limited(free / p.slices)


@kernel
def encode(p: Parameters, s: State, row: int, observation: NDArray[np.float32]) -> None:
    """Write the observation of a row, user after user: facts, network, open choices, AP.

    A user without tasks has one open choice, the device, as its cut has no effect, unless it can hold a slice.
    """
    sum_cells(p, s, row)
    if p.slices > 0:
        save_times(p, s, row)
    at = 0
    for u in range(p.num_users):
        encode_tasks(p, s, row, u, at, observation)
        encode_channel(p, s, row, u, at + 6, observation)
        encode_past(p, s, row, u, at + 9, observation)
        encode_cell(p, s, row, u, at + 14, observation)
        at += LOCAL_FACTS
        if p.slices > 0:
            encode_slice(p, s, row, u, at, observation)
            at += len(SLICE_FACTS)
        network = s.network[row, u]
        for i in range(len(p.choices)):
            observation[row, at + i] = 1.0 if i == network else 0.0
        at += len(p.choices)
        last = p.last_choice[network]
        for c in range(p.num_choices):
            is_open = c == last or (c < p.choices[network] and (s.queue[row, u] > 0.0 or p.slices > 0))
            observation[row, at + c] = 1.0 if is_open else 0.0
        at += p.num_choices
        for n in range(p.num_aps):
            observation[row, at + n] = 1.0 if n == s.ap[row, u] else 0.0
        at += p.num_aps


@kernel
def encode_all(p: Parameters, s: State, observation: NDArray[np.float32]) -> None:
    """Write the observations of all rows."""
    for row in range(len(observation)):
        encode(p, s, row, observation)
