"""From an action to frequencies, rates, powers and server shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.lyappo.model.parameters import Parameters
from edge_envs.lyappo.model.state import EDGE, LOCAL, TRANSMIT, State
from edge_envs.lyappo.solvers.drift_plus_penalty import (
    edge_frequency,
    full_power_rate,
    local_frequency,
    power_for_rate,
    transmit_rate,
)

POWER_EXPONENT = 3
"""A requested power share x means x^3 of the largest power, which resolves low powers better; chosen."""


def decode_joint(
    p: Parameters, s: State, rows: NDArray[np.int64], actions: NDArray[Any], choices: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Write the requested resources of `rows` into the state, scaled down to C.4, C.6 and C.7; returns the cuts (B, J).

    Actions of all rows have shape (B, M (4 N + 1)); `choices` has the number of cuts of each service, shape (N,).
    """
    unit = (actions[rows].reshape(len(rows), p.num_devices, -1) + 1.0) / 2.0
    by_service = unit[:, :, :-1].reshape(len(rows), p.num_devices, p.num_services, 4)
    index = np.minimum((by_service[..., 0] * choices).astype(np.int64), choices - 1)
    indices = np.zeros_like(s.cut)
    indices[rows] = index.reshape(len(rows), -1)
    # C.4 and C.6 bind per device, C.7 over all devices.
    local, over_local = scale_down(by_service[..., 1], axes=(2,))
    rate, over_rate = scale_down(by_service[..., 2], axes=(2,))
    edge, over_edge = scale_down(by_service[..., 3], axes=(1, 2))
    s.request[rows, LOCAL] = local * p.device_frequency_max_hz
    s.request[rows, TRANSMIT] = rate
    s.request[rows, EDGE] = edge * p.server_frequency_max_hz
    s.request_power_w[rows] = unit[:, :, -1] ** POWER_EXPONENT * p.power_max_w
    s.projected[rows] = over_local + over_rate + over_edge
    return indices


def scale_down(shares: NDArray[Any], axes: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Shares (R, M, N) scaled to a sum over `axes` of at most one, shape (R, J), and the number of sums above one."""
    total = shares.sum(axis=axes, keepdims=True)
    scaled = shares / np.maximum(total, 1.0)
    return scaled.reshape(len(shares), -1), (total > 1.0).sum(axis=(1, 2))


@kernel_part
def allocate_optimally(p: Parameters, s: State, row: int) -> None:
    """Solve Problems 3, 4 and 5 for the slot; keeps the step's largest relative duality gap."""
    backlog = s.queues.backlog
    worst = s.certificate[row]
    for m in range(p.num_devices):
        first = m * p.num_services
        _, _, gap = local_frequency(
            backlog, row, LOCAL, first, p.num_services, p.slot_s, p.weight_local, p.device_energy_coefficient,
            p.device_frequency_max_hz, s.order, s.allocation,
        )  # fmt: skip
        worst = max(worst, gap)
        _, power, _, gap = transmit_rate(
            backlog, row, TRANSMIT, first, p.num_services, p.slot_s, p.weight_transmit, s.gain[m], p.power_max_w,
            s.rate_max[m], p.device_bandwidth_hz, p.noise_w_per_hz, s.order, s.allocation,
        )  # fmt: skip
        worst = max(worst, gap)
        s.power_w[row, m] = power
    services = p.num_devices * p.num_services
    _, _, gap = edge_frequency(
        backlog, row, EDGE, 0, services, p.slot_s, p.server_frequency_max_hz, s.order, s.allocation
    )
    s.certificate[row] = max(worst, gap)


@kernel_part
def allocate_as_requested(p: Parameters, s: State, row: int) -> None:
    """Allocate what is requested, at most what serves the backlog (C.8-C.10), and the power of the actual rate."""
    for m in range(p.num_devices):
        rate_max = full_power_rate(s.gain[m], s.request_power_w[row, m], p.device_bandwidth_hz, p.noise_w_per_hz)
        sent = 0.0
        for j in range(m * p.num_services, (m + 1) * p.num_services):
            for stage in range(3):
                wanted = s.request[row, stage, j] * (rate_max if stage == TRANSMIT else 1.0)
                s.allocation[row, stage, j] = min(wanted, s.queues.backlog[row, stage, j] / p.slot_s)
            sent += s.allocation[row, TRANSMIT, j]
        power = power_for_rate(sent, s.gain[m], p.device_bandwidth_hz, p.noise_w_per_hz)
        s.power_w[row, m] = min(s.request_power_w[row, m], power)
