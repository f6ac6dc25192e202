"""One step of each row, compiled: G slots of allocation, service and arrivals; and the reset of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.kernels.randomness import BLOCK_STEPS
from edge_envs.core.physics.channel import complex_normal, free_space_exponent_gain, poisson
from edge_envs.lyappo.model.allocation import allocate_as_requested, allocate_optimally
from edge_envs.lyappo.model.dynamics import DROPPED, FINISHED, advance_regimes, draw_gain, enter, serve
from edge_envs.lyappo.model.observation import encode_row
from edge_envs.lyappo.model.parameters import DECISION, Parameters
from edge_envs.lyappo.model.reward import departures, report
from edge_envs.lyappo.model.state import EDGE, LOCAL, TRANSMIT, State, fading_draws
from edge_envs.lyappo.solvers.drift_plus_penalty import full_power_rate

RESET_DRAWS = 6
"""Uniforms per device for a reset: distance, direction, blockage, arrival level, and two for the fading."""


def reset(p: Parameters, s: State, rows: NDArray[np.int64], cut: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
    """Empty the queues of `rows`, set the cuts (J,), and draw distances, regimes and fading, in place.

    The uniforms have shape (len(rows), M, RESET_DRAWS). Regimes start from their stationary distribution.
    """
    for array in (
        *s.queues[:4], s.arrived, s.finished, s.dropped, s.period_backlog, s.period_allocation, s.allocation,
        s.power_w, s.period_power_w, s.period_rate_max, s.period_arrivals, s.energy_local_j, s.energy_transmit_j,
        s.certificate, s.projected,
    ):  # fmt: skip
        array[rows] = 0
    s.cut[rows] = cut
    s.cursor[rows] = BLOCK_STEPS
    place, turn, block, level, fading_1, fading_2 = np.moveaxis(draws, 2, 0)
    drawn = p.distance_min_m + place * (p.distance_max_m - p.distance_min_m)
    s.distance_m[rows] = p.distances_m if len(p.distances_m) else drawn
    s.direction[rows] = np.where(turn < 0.5, 1.0, -1.0)
    s.blocked[rows] = block < p.block_probability / (p.block_probability + p.clear_probability)
    s.level[rows] = (level * len(p.arrival_rates_per_slot)).astype(np.int64)
    s.fading[rows] = np.stack(complex_normal(fading_1, fading_2), axis=-1)
    gain = free_space_exponent_gain(s.distance_m[rows], p.antenna_gain, p.carrier_hz, p.path_loss_exponent)
    s.mean_gain[rows] = np.where(s.blocked[rows], gain * p.blocked_gain, gain)


@kernel_part
def begin_step(p: Parameters, s: State, row: int, choices: NDArray[np.int64]) -> None:
    """Put the chosen cuts in force and clear the sums over the slots of a step."""
    for m in range(p.num_devices):
        s.period_power_w[row, m] = 0.0
        s.period_rate_max[row, m] = 0.0
        s.energy_local_j[row, m] = 0.0
        s.energy_transmit_j[row, m] = 0.0
        for j in range(m * p.num_services, (m + 1) * p.num_services):
            s.cut[row, j] = choices[row, j] + p.k_min
            s.period_arrivals[row, j] = 0
            for stage in range(3):
                s.period_backlog[row, stage, j] = 0.0
                s.period_allocation[row, stage, j] = 0.0
    s.certificate[row] = 0.0


@kernel_part
def draw_channels(p: Parameters, s: State, row: int, at: int) -> None:
    """Gains h_m and full-power rates R_m of one slot, from the row's uniforms `at` and after; sums up (33)."""
    for m in range(p.num_devices):
        s.gain[m] = draw_gain(p, s, row, m, at + m * fading_draws(p))
        s.rate_max[m] = full_power_rate(s.gain[m], p.power_max_w, p.device_bandwidth_hz, p.noise_w_per_hz)
        s.period_rate_max[row, m] += s.rate_max[m]


@kernel_part
def finish_slot(p: Parameters, s: State, row: int, at: int) -> None:
    """Sum up the energies (5) and (6), serve the queues, then add arrivals, one uniform per service from `at`."""
    for m in range(p.num_devices):
        frequency = 0.0
        for j in range(m * p.num_services, (m + 1) * p.num_services):
            frequency += s.allocation[row, LOCAL, j]
        s.energy_local_j[row, m] += p.slot_s * p.device_energy_coefficient * frequency * frequency * frequency
        s.energy_transmit_j[row, m] += p.slot_s * s.power_w[row, m]
        s.period_power_w[row, m] += s.power_w[row, m]
    # Last stage first, so that a task which changes the queue in this slot is first served in the next one.
    for stage in (EDGE, TRANSMIT, LOCAL):
        for m in range(p.num_devices):
            for n in range(p.num_services):
                j = m * p.num_services + n
                backlog = s.queues.backlog[row, stage, j]
                if backlog > 0.0:
                    share = s.allocation[row, stage, j]
                    s.period_backlog[row, stage, j] += backlog
                    s.period_allocation[row, stage, j] += share
                    serve(p, s, row, j, n, stage, share * p.slot_s)
    for m in range(p.num_devices):
        level = s.level[row, m]
        for n in range(p.num_services):
            j = m * p.num_services + n
            uniform = s.uniforms[row, s.cursor[row], at + j]
            arrivals = poisson(uniform, p.arrival_zero_probability[level], p.arrival_rates_per_slot[level])
            s.period_arrivals[row, j] += arrivals
            s.arrived[row, j] += arrivals
            for _ in range(arrivals):
                outcome = enter(p, s.queues, row, j, n, LOCAL, s.cut[row, j])
                s.finished[row, j] += outcome == FINISHED
                s.dropped[row, j] += outcome == DROPPED


@kernel_part
def end_step(p: Parameters, s: State, row: int, at: int) -> None:
    """Turn the sums over the slots into means, and advance the regimes with the row's uniforms from `at`."""
    for m in range(p.num_devices):
        s.period_power_w[row, m] /= p.slots_per_period
        s.period_rate_max[row, m] /= p.slots_per_period
    for j in range(p.num_devices * p.num_services):
        for stage in range(3):
            s.period_backlog[row, stage, j] /= p.slots_per_period
            s.period_allocation[row, stage, j] /= p.slots_per_period
    advance_regimes(p, s, row, at)
    s.cursor[row] += 1


@kernel
def run(
    p: Parameters, s: State, rows: NDArray[np.int64], choices: NDArray[np.int64], observation: NDArray[np.float32],
    reward: NDArray[np.float64], member: NDArray[np.float64], metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Advance `rows` by one step with the cuts `choices` + k_min, and report it into zeroed arrays."""
    channel_draws = fading_draws(p) * p.num_devices
    slot_draws = channel_draws + p.num_devices * p.num_services
    for i in range(len(rows)):
        row = rows[i]
        finished, dropped = departures(p, s, row)
        begin_step(p, s, row, choices)
        for slot in range(p.slots_per_period):
            draw_channels(p, s, row, slot * slot_draws)
            if p.decision == DECISION.JOINT:
                allocate_as_requested(p, s, row)
            else:
                allocate_optimally(p, s, row)
            finish_slot(p, s, row, slot * slot_draws + channel_draws)
        end_step(p, s, row, p.slots_per_period * slot_draws)
        encode_row(p, s, row, observation)
        reward[row] = report(p, s, row, finished, dropped, member, metrics)
