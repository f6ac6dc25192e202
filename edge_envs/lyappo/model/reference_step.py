"""A step in which CVXPY solves Problems 3, 4 and 5 of every slot, for `solver="cvxpy"`."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge_envs.lyappo.model.observation import encode_row
from edge_envs.lyappo.model.parameters import Parameters
from edge_envs.lyappo.model.reward import departures, report
from edge_envs.lyappo.model.state import EDGE, LOCAL, TRANSMIT, State, fading_draws
from edge_envs.lyappo.model.step import begin_step, draw_channels, end_step, finish_slot
from edge_envs.lyappo.solvers.reference_cvxpy import CompiledReference


class ReferenceStep:
    """`step.run` with allocations by CVXPY.

    Raises:
        ImportError: CVXPY is not installed.
    """

    def __init__(self, parameters: Parameters) -> None:
        p, reference = parameters, CompiledReference()
        self._local = partial(
            reference.solve_local, slot_s=p.slot_s, weight=p.weight_local,
            energy_coefficient=p.device_energy_coefficient, frequency_max_hz=p.device_frequency_max_hz,
        )  # fmt: skip
        self._transmit = partial(
            reference.solve_transmit, slot_s=p.slot_s, weight=p.weight_transmit, power_max_w=p.power_max_w,
            bandwidth_hz=p.device_bandwidth_hz, noise_w_per_hz=p.noise_w_per_hz,
        )  # fmt: skip
        self._edge = partial(reference.solve_edge, slot_s=p.slot_s, frequency_max_hz=p.server_frequency_max_hz)

    def run(
        self, p: Parameters, s: State, rows: NDArray[np.int64], choices: NDArray[np.int64],
        observation: NDArray[np.float32], reward: NDArray[np.float64], member: NDArray[np.float64],
        metrics: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Advance `rows` by one step; see `step.run`."""
        channel_draws = fading_draws(p) * p.num_devices
        slot_draws = channel_draws + p.num_devices * p.num_services
        for row in rows.tolist():
            finished, dropped = departures(p, s, row)
            begin_step(p, s, row, choices)
            for slot in range(p.slots_per_period):
                draw_channels(p, s, row, slot * slot_draws)
                self._allocate(p, s, row)
                finish_slot(p, s, row, slot * slot_draws + channel_draws)
            end_step(p, s, row, p.slots_per_period * slot_draws)
            encode_row(p, s, row, observation)
            reward[row] = report(p, s, row, finished, dropped, member, metrics)

    def _allocate(self, p: Parameters, s: State, row: int) -> None:
        """Solve Problems 3, 4 and 5 for the slot; keeps the step's largest relative duality gap."""
        backlog = s.queues.backlog[row]
        splits = []
        for m in range(p.num_devices):
            own = slice(m * p.num_services, (m + 1) * p.num_services)
            local = self._local(backlog[LOCAL, own])
            transmit = self._transmit(backlog[TRANSMIT, own], gain=float(s.gain[m]))
            s.allocation[row, LOCAL, own] = local.share
            s.allocation[row, TRANSMIT, own] = transmit.share
            s.power_w[row, m] = transmit.power_w
            splits += [local, transmit]
        edge = self._edge(backlog[EDGE])
        s.allocation[row, EDGE] = edge.share
        s.certificate[row] = max(s.certificate[row], edge.gap, *(split.gap for split in splits))
