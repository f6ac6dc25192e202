"""One period of each row in one compiled loop: draw, allocate, serve, and what the step reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.lyappo.config import Parameters
from edge_envs.lyappo.model.allocation import allocate_as_requested, allocate_optimally
from edge_envs.lyappo.model.dynamics import advance_regimes, draw_arrivals, draw_gain, enter, local_energy, serve
from edge_envs.lyappo.model.observation import encode
from edge_envs.lyappo.model.reward import DROPPED_NOW, FINISHED_NOW, leavers, report
from edge_envs.lyappo.model.state import DROPPED, EDGE, FINISHED, LOCAL, TRANSMIT, State, fading_draws
from edge_envs.lyappo.solvers.drift_plus_penalty import full_power_rate


@kernel_part
def begin_period(p: Parameters, s: State, row: int, choices: NDArray[np.int64]) -> None:
    """Put the chosen cuts in force and clear the sums over the slots of a period."""
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
    """Gains h_m and full-power rates R_m of one slot, from the draws on `at`; adds up eq. (33)."""
    for m in range(p.num_devices):
        s.gain[m] = draw_gain(p, s, row, m, at + m * fading_draws(p))
        s.rate_max[m] = full_power_rate(s.gain[m], p.power_max_w, p.bandwidth_hz, p.noise_w_per_hz)
        s.period_rate_max[row, m] += s.rate_max[m]


@kernel_part
def finish_slot(p: Parameters, s: State, row: int, at: int) -> None:
    """Charge the slot's energy, serve the queues, move finished tasks, then add arrivals (one draw a service)."""
    for m in range(p.num_devices):
        frequency = 0.0
        for j in range(m * p.num_services, (m + 1) * p.num_services):
            frequency += s.allocation[row, LOCAL, j]
        s.energy_local_j[row, m] += local_energy(p, frequency)
        s.energy_transmit_j[row, m] += p.slot_s * s.power_w[row, m]
        s.period_power_w[row, m] += s.power_w[row, m]
    # Last stage first: what moves on in this slot is first served in the next one.
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
        for n in range(p.num_services):
            j = m * p.num_services + n
            born = draw_arrivals(p, s.level[row, m], s.uniforms[row, s.cursor[row], at + j])
            s.period_arrivals[row, j] += born
            s.arrived[row, j] += born
            for _ in range(born):
                way = enter(p, s.queues, row, j, n, LOCAL, s.cut[row, j])
                s.finished[row, j] += way == FINISHED
                s.dropped[row, j] += way == DROPPED


@kernel_part
def end_period(p: Parameters, s: State, row: int, at: int) -> None:
    """Turn the sums over the slots into means and move the regimes on."""
    for m in range(p.num_devices):
        s.period_power_w[row, m] /= p.slots
        s.period_rate_max[row, m] /= p.slots
    for j in range(p.num_devices * p.num_services):
        for stage in range(3):
            s.period_backlog[row, stage, j] /= p.slots
            s.period_allocation[row, stage, j] /= p.slots
    advance_regimes(p, s, row, at)
    s.cursor[row] += 1


@kernel_part
def close_period(
    p: Parameters, s: State, row: int, at: int, finished: int, dropped: int, observation: NDArray[np.float32],
    reward: NDArray[np.float64], member: NDArray[np.float64], metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Close a row's period with the regime draws on `at` and report it, given its `leavers` before the period."""
    end_period(p, s, row, at)
    encode(p, s, row, observation)
    reward[row] = report(p, s, row, member, metrics)
    finished_now, dropped_now = leavers(p, s, row)
    metrics[row, FINISHED_NOW] = finished_now - finished
    metrics[row, DROPPED_NOW] = dropped_now - dropped


@kernel
def run(
    p: Parameters, s: State, rows: NDArray[np.int64], choices: NDArray[np.int64], observation: NDArray[np.float32],
    reward: NDArray[np.float64], member: NDArray[np.float64], metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Advance `rows` by one period with the cuts `choices` + k_min, and report it into zeroed arrays."""
    channel_draws = fading_draws(p) * p.num_devices
    slot_draws = channel_draws + p.num_devices * p.num_services
    for i in range(len(rows)):
        row = rows[i]
        finished, dropped = leavers(p, s, row)
        begin_period(p, s, row, choices)
        for slot in range(p.slots):
            draw_channels(p, s, row, slot * slot_draws)
            if p.joint:
                allocate_as_requested(p, s, row)
            else:
                allocate_optimally(p, s, row)
            finish_slot(p, s, row, slot * slot_draws + channel_draws)
        close_period(p, s, row, p.slots * slot_draws, finished, dropped, observation, reward, member, metrics)
