"""How a world evolves: tasks in three queues per service, (7)-(12), fading, arrivals and regimes."""

from __future__ import annotations

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.physics.channel import complex_normal, exponential, free_space_exponent_gain, gauss_markov
from edge_envs.lyappo.model.parameters import Parameters
from edge_envs.lyappo.model.state import EDGE, REGIME_DRAWS, Queues, State, fading_draws

QUEUED, FINISHED, DROPPED = 0, 1, 2
"""What `enter` returns."""


@kernel_part
def enter(p: Parameters, q: Queues, row: int, j: int, n: int, stage: int, cut: int) -> int:
    """Queue one task of service j, the n-th of its device, for its first stage with work, from `stage` on.

    Returns QUEUED, FINISHED (no stage has work) or DROPPED (the queue is full).
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
    """Serve one queue with `work` = f tau or r tau, first in, first out; (7)-(12).

    A task enters the next queue when its stage is complete; a residue of `completion_tolerance` counts as none. The
    state counts tasks that leave the system.
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
        outcome = enter(p, q, row, j, n, stage + 1, cut)
        s.finished[row, j] += outcome == FINISHED
        s.dropped[row, j] += outcome == DROPPED
        if q.size[row, stage, j] > 0:
            q.head[row, stage, j] = p.stage_work[stage, n, q.ring[row, q.start[row, stage, j], stage, j]]
    # The running sum of the backlog may have accumulated rounding errors.
    q.head[row, stage, j] = 0.0
    q.backlog[row, stage, j] = 0.0


@kernel_part
def draw_gain(p: Parameters, s: State, row: int, m: int, at: int) -> float:
    """Channel power gain h_m of one slot, from the row's uniform `at` and, for correlated fading, `at + 1`."""
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
def advance_regimes(p: Parameters, s: State, row: int, at: int) -> None:
    """Move the devices and switch blockage and arrival levels, once per step.

    Uses REGIME_DRAWS uniforms per device, from `at`.
    """
    block_step = s.cursor[row]
    for m in range(p.num_devices):
        turn = s.uniforms[row, block_step, at]
        block = s.uniforms[row, block_step, at + 1]
        switch = s.uniforms[row, block_step, at + 2]
        at += REGIME_DRAWS
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
            # Given the switch, switch / probability is uniform on [0, 1) and selects one of the other levels.
            others = len(p.arrival_rates_per_slot) - 1
            other = min(others - 1, int(switch / p.arrival_switch_probability * others))
            s.level[row, m] = other + (other >= s.level[row, m])
        gain = free_space_exponent_gain(s.distance_m[row, m], p.antenna_gain, p.carrier_hz, p.path_loss_exponent)
        s.mean_gain[row, m] = gain * p.blocked_gain if s.blocked[row, m] else gain
