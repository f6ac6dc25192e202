"""From the slot's backlogs to frequencies, rates and server shares."""

from __future__ import annotations

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.lyappo.config import Parameters
from edge_envs.lyappo.model.state import EDGE, LOCAL, TRANSMIT, State
from edge_envs.lyappo.solvers.drift_plus_penalty import (
    edge_frequency,
    full_power_rate,
    local_frequency,
    power_for_rate,
    transmit_rate,
)


@kernel_part
def allocate_optimally(p: Parameters, s: State, row: int) -> None:
    """Solve Problems 3, 4 and 5 for the slot; keeps the period's largest relative duality gap."""
    backlog = s.queues.backlog
    worst = s.certificate[row]
    for m in range(p.num_devices):
        first = m * p.num_services
        _, _, gap = local_frequency(
            backlog, row, LOCAL, first, p.num_services, p.slot_s, p.weight_local, p.energy_coefficient,
            p.frequency_local_max_hz, s.order, s.allocation,
        )  # fmt: skip
        worst = max(worst, gap)
        _, power, _, gap = transmit_rate(
            backlog, row, TRANSMIT, first, p.num_services, p.slot_s, p.weight_transmit, s.gain[m], p.power_max_w,
            s.rate_max[m], p.bandwidth_hz, p.noise_w_per_hz, s.order, s.allocation,
        )  # fmt: skip
        worst = max(worst, gap)
        s.power_w[row, m] = power
    services = p.num_devices * p.num_services
    _, _, gap = edge_frequency(
        backlog, row, EDGE, 0, services, p.slot_s, p.frequency_edge_max_hz, s.order, s.allocation
    )
    s.certificate[row] = max(worst, gap)


@kernel_part
def allocate_as_requested(p: Parameters, s: State, row: int) -> None:
    """Serve what the agent asked for, at most the backlog (C.8-C.10); the power is that of the rate really sent."""
    for m in range(p.num_devices):
        rate_max = full_power_rate(s.gain[m], s.request_power_w[row, m], p.bandwidth_hz, p.noise_w_per_hz)
        sent = 0.0
        for j in range(m * p.num_services, (m + 1) * p.num_services):
            for stage in range(3):
                wanted = s.request[row, stage, j] * (rate_max if stage == TRANSMIT else 1.0)
                s.allocation[row, stage, j] = min(wanted, s.queues.backlog[row, stage, j] / p.slot_s)
            sent += s.allocation[row, TRANSMIT, j]
        power = power_for_rate(sent, s.gain[m], p.bandwidth_hz, p.noise_w_per_hz)
        s.power_w[row, m] = min(s.request_power_w[row, m], power)
