"""The paper's physics: tasks in three queues per service, radio links, arrivals, energy.

Everything is written for one row (world) of a batch of B worlds with M devices of N services each; service n of device
m has index j = m N + n of J = M N, and its queues are the stages 0 local, 1 transmit and 2 edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.kernels.randomness import BLOCK_STEPS
from edge_envs.core.physics.channel import complex_normal, exponential, free_space_exponent_gain, gauss_markov, poisson
from edge_envs.lyappo.config import Parameters
from edge_envs.lyappo.model.state import DROPPED, EDGE, FINISHED, PERIOD_DRAWS, QUEUED, Queues, State, fading_draws

RESET_DRAWS = 6
"""Uniforms per device that a reset uses: distance, direction, blockage, arrival level, and two for the fading."""


def reset(p: Parameters, s: State, rows: NDArray[np.int64], cut: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
    """Empty the queues of `rows`, put the partition `cut` (J,) in force and draw distances, regimes and fading.

    `draws` has shape (len(rows), M, RESET_DRAWS). Regimes start from their stationary law.
    """
    for field in (*s.queues[:4], s.arrived, s.finished, s.dropped, s.period_backlog, s.period_allocation):
        field[rows] = 0
    for field in (s.allocation, s.power_w, s.period_power_w, s.period_rate_max, s.period_arrivals):
        field[rows] = 0
    for field in (s.energy_local_j, s.energy_transmit_j, s.certificate, s.projected):
        field[rows] = 0
    s.cut[rows] = cut
    s.cursor[rows] = BLOCK_STEPS
    place, turn, block, level, fading_1, fading_2 = np.moveaxis(draws, 2, 0)
    drawn = p.distance_min_m + place * (p.distance_max_m - p.distance_min_m)
    s.distance_m[rows] = p.distances_m if len(p.distances_m) else drawn
    s.direction[rows] = np.where(turn < 0.5, 1.0, -1.0)
    s.blocked[rows] = block < p.block_probability / (p.block_probability + p.clear_probability)
    s.level[rows] = (level * len(p.arrival_rates)).astype(np.int64)
    s.fading[rows] = np.stack(complex_normal(fading_1, fading_2), axis=-1)
    update_gain(p, s, rows)


def update_gain(p: Parameters, s: State, rows: NDArray[np.int64]) -> None:
    """Mean gain of the given rows from their distances and blockage."""
    gain = free_space_exponent_gain(s.distance_m[rows], p.antenna_gain, p.carrier_hz, p.path_loss_exponent)
    s.mean_gain[rows] = np.where(s.blocked[rows], gain * p.blocked_gain, gain)


@kernel_part
def enter(p: Parameters, q: Queues, row: int, j: int, n: int, stage: int, cut: int) -> int:
    """Put one task of service j, its device's n-th, into the first stage from `stage` on that has work for it.

    Returns QUEUED, FINISHED (no work left anywhere) or DROPPED (the queue is full).
    """
    while stage <= EDGE:
        work = p.stage_work[stage, n, cut]
        if work > 0.0:
            queued = q.size[row, stage, j]
            if queued == p.queue_capacity:
                return DROPPED
            if queued == 0:
                q.head[row, stage, j] = work
                q.start[row, stage, j] = 0
            position = q.start[row, stage, j] + queued
            if position >= p.queue_capacity:
                position -= p.queue_capacity
            q.ring[row, position, stage, j] = cut
            q.size[row, stage, j] = queued + 1
            q.backlog[row, stage, j] += work
            return QUEUED
        stage += 1
    return FINISHED


@kernel_part
def serve(p: Parameters, s: State, row: int, j: int, n: int, stage: int, work: float) -> None:
    """Serve one queue with `work` = f tau or r tau, first come first served, eqs. (7)-(12).

    A task moves on only when whole; a residue of `completion_tolerance` of its stage counts as none. Tasks that leave
    the system are counted in the state.
    """
    q = s.queues
    if work <= 0.0:
        return
    q.backlog[row, stage, j] -= work
    while q.size[row, stage, j] > 0:
        cut = q.ring[row, q.start[row, stage, j], stage, j]
        if q.head[row, stage, j] - work > p.completion_tolerance * p.stage_work[stage, n, cut]:
            q.head[row, stage, j] -= work
            return
        work -= q.head[row, stage, j]
        if work < 0.0:
            q.backlog[row, stage, j] += work
            work = 0.0
        q.size[row, stage, j] -= 1
        q.start[row, stage, j] += 1
        if q.start[row, stage, j] == p.queue_capacity:
            q.start[row, stage, j] = 0
        way = enter(p, q, row, j, n, stage + 1, cut)
        s.finished[row, j] += way == FINISHED
        s.dropped[row, j] += way == DROPPED
        if q.size[row, stage, j] > 0:
            q.head[row, stage, j] = p.stage_work[stage, n, q.ring[row, q.start[row, stage, j], stage, j]]
    # Exactly empty, whatever rounding the running sum has gathered.
    q.head[row, stage, j] = 0.0
    q.backlog[row, stage, j] = 0.0


@kernel_part
def draw_gain(p: Parameters, s: State, row: int, m: int, at: int) -> float:
    """Channel power gain h_m of one slot, from the row's draws `at` and, for correlated fading, `at + 1`."""
    block = s.cursor[row]
    uniform = s.uniforms[row, block, at]
    if fading_draws(p) == 1:
        return s.mean_gain[row, m] * exponential(uniform)  # type: ignore[no-any-return]
    innovation = complex_normal(uniform, s.uniforms[row, block, at + 1])
    real, imaginary = gauss_markov(
        s.fading[row, m, 0], s.fading[row, m, 1], p.fading_correlation, innovation[0], innovation[1]
    )
    s.fading[row, m, 0] = real
    s.fading[row, m, 1] = imaginary
    return s.mean_gain[row, m] * (real * real + imaginary * imaginary)  # type: ignore[no-any-return]


@kernel_part
def draw_arrivals(p: Parameters, level: int, uniform: float) -> int:
    """Tasks born in one slot at one service, Poisson."""
    return poisson(uniform, p.arrival_zero_probability[level], p.arrival_rates[level])


@kernel_part
def advance_regimes(p: Parameters, s: State, row: int, at: int) -> None:
    """Move the devices and switch blockage and arrival levels, once a period; PERIOD_DRAWS draws a device from `at`."""
    block_step = s.cursor[row]
    for m in range(p.num_devices):
        turn = s.uniforms[row, block_step, at]
        block = s.uniforms[row, block_step, at + 1]
        switch = s.uniforms[row, block_step, at + 2]
        at += PERIOD_DRAWS
        if p.step_m > 0.0:
            if turn < p.reversal_probability:
                s.direction[row, m] = -s.direction[row, m]
            distance = s.distance_m[row, m] + s.direction[row, m] * p.step_m
            if distance > p.distance_max_m:
                distance = max(p.distance_min_m, 2.0 * p.distance_max_m - distance)
                s.direction[row, m] = -1.0
            elif distance < p.distance_min_m:
                distance = min(p.distance_max_m, 2.0 * p.distance_min_m - distance)
                s.direction[row, m] = 1.0
            s.distance_m[row, m] = distance
        if s.blocked[row, m]:
            s.blocked[row, m] = block >= p.clear_probability
        else:
            s.blocked[row, m] = block < p.block_probability
        if switch < p.arrival_switch_probability:
            # What is left of the uniform picks one of the other levels.
            others = len(p.arrival_rates) - 1
            other = min(others - 1, int(switch / p.arrival_switch_probability * others))
            s.level[row, m] = other + (other >= s.level[row, m])
        gain = free_space_exponent_gain(s.distance_m[row, m], p.antenna_gain, p.carrier_hz, p.path_loss_exponent)
        s.mean_gain[row, m] = gain * p.blocked_gain if s.blocked[row, m] else gain


@kernel_part
def local_energy(p: Parameters, frequency_sum: float) -> float:
    """Energy of a device's processor in one slot, eq. (5) [J]."""
    return p.slot_s * p.energy_coefficient * frequency_sum * frequency_sum * frequency_sum
