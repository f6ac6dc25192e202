"""The observation of a world."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.config import Parameters
from edge_envs.eccnoma.model.reward import computes_alone
from edge_envs.eccnoma.model.state import State

OBSERVATION_LIMIT = 8.0

LOCAL_FACTS = 17
"""Numbers per user in the observation, before its network, its open choices and its AP."""

USUAL_POOL_UNITS = 3.0
"""Size of the pool at which the observation shows the cell's sums as they are; the default's."""

LONGEST_DELAY_S = 3.0
"""Where the last delay is cut off in the observation."""


def facts(p: Parameters) -> int:
    """Numbers per user that describe it: without open choices and AP."""
    return LOCAL_FACTS + len(p.choices)


@kernel_part
def limited(value: float) -> float:
    """A value within the observation's limits."""
    return min(max(value, -OBSERVATION_LIMIT), OBSERVATION_LIMIT)


@kernel_part
def waiting_work(p: Parameters, s: State, row: int, u: int) -> float:
    """sqrt(Q (Q + 1) / 2 f) in sqrt(GFLOP): what a user's share of the pool goes by when the edge does all."""
    queue, network = s.queue[row, u], s.network[row, u]
    flop = p.device_flop[network, p.last_choice[network]]
    return math.sqrt(0.5 * queue * (queue + 1.0) * flop * 1e-9)


@kernel_part
def encode_channel(p: Parameters, s: State, row: int, u: int, at: int, observation: NDArray[np.float32]) -> None:
    """Best and mean SNR, and what separates the own AP from the others, as seen."""
    n = s.ap[row, u]
    snr_per_gain = p.power_up_max_w / (p.noise_density_w_hz * p.bandwidth_up_hz / p.num_subchannels)
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
    """Backlog and arrivals, and the delay and speed of computing alone."""
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
    """The background load as seen, and what became of the user's last cut."""
    number = p.cut_number[s.network[row, u], s.choice[row, u]]
    band_hz = p.bandwidth_up_hz / p.num_subchannels
    observation[row, at] = p.background[s.seen_level[row, s.ap[row, u]]]
    observation[row, at + 1] = min(s.last_delay_s[row, u], LONGEST_DELAY_S)
    observation[row, at + 2] = limited(s.last_rate_bit_s[row, u] / band_hz / 10.0)
    observation[row, at + 3] = 1.0 if number == 0 else 0.0
    observation[row, at + 4] = 1.0 if computes_alone(p, s, row, u) else 0.0


@kernel_part
def sum_cells(p: Parameters, s: State, row: int) -> None:
    """Waiting work of each AP's users and how many of them have tasks, over the size of the pool."""
    # so that networks trained with one size of the pool fit another
    crowding = USUAL_POOL_UNITS / p.pool_units if p.pool else 1.0
    for n in range(p.num_aps):
        s.work.cell_work[n] = s.work.cell_users[n] = 0.0
    for u in range(p.num_users):
        s.work.cell_work[s.ap[row, u]] += waiting_work(p, s, row, u)
        s.work.cell_users[s.ap[row, u]] += s.queue[row, u] > 0.0
    for n in range(p.num_aps):
        s.work.cell_work[n] *= crowding
        s.work.cell_users[n] *= crowding


@kernel_part
def encode_cell(p: Parameters, s: State, row: int, u: int, at: int, observation: NDArray[np.float32]) -> None:
    """The user's waiting work, and its cell's sums."""
    n = s.ap[row, u]
    observation[row, at] = limited(waiting_work(p, s, row, u) / 5.0)
    observation[row, at + 1] = limited(s.work.cell_work[n] / 20.0)
    observation[row, at + 2] = limited(s.work.cell_users[n] / 6.0)


@kernel
def encode(p: Parameters, s: State, row: int, observation: NDArray[np.float32]) -> None:
    """User after user: its facts, its network, the choices open to it and its AP.

    A user without tasks has one open choice, the device, as its cut has no effect.
    """
    sum_cells(p, s, row)
    at = 0
    for u in range(p.num_users):
        encode_tasks(p, s, row, u, at, observation)
        encode_channel(p, s, row, u, at + 6, observation)
        encode_past(p, s, row, u, at + 9, observation)
        encode_cell(p, s, row, u, at + 14, observation)
        at += LOCAL_FACTS
        network = s.network[row, u]
        for i in range(len(p.choices)):
            observation[row, at + i] = 1.0 if i == network else 0.0
        at += len(p.choices)
        last = p.last_choice[network]
        for c in range(p.num_choices):
            is_open = c == last or (c < p.choices[network] and s.queue[row, u] > 0.0)
            observation[row, at + c] = 1.0 if is_open else 0.0
        at += p.num_choices
        for n in range(p.num_aps):
            observation[row, at + n] = 1.0 if n == s.ap[row, u] else 0.0
        at += p.num_aps


@kernel
def encode_all(p: Parameters, s: State, observation: NDArray[np.float32]) -> None:
    """`encode` every row."""
    for row in range(len(observation)):
        encode(p, s, row, observation)
