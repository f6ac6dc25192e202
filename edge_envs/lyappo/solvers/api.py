"""The solvers for use from Python: checked arguments, results with certificates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edge_envs.lyappo.solvers.drift_plus_penalty import (
    Floats,
    Indices,
    edge_frequency,
    full_power_rate,
    local_frequency,
    transmit_rate,
)


@dataclass(frozen=True, slots=True)
class Split:
    """Solution of one problem: what each queue gets, the multiplier of the shared resource, and the certificate."""

    share: Floats  # (N,) cycles/s, or bit/s
    total: float
    price: float
    """Price of the shared resource, in units of the backlog"""
    gap: float
    """Duality gap, relative to sum Q x"""
    power_w: float = 0.0
    """Transmit power, Problem 4 only [W]"""


def as_queues(backlog: ArrayLike) -> tuple[Floats, Indices, Floats]:
    """Backlogs (N,) as the kernels take them: shape (1, 1, N), with scratch for the order and the shares.

    Raises:
        ValueError: not a non-empty vector of finite numbers >= 0.
    """
    queues = np.asarray(backlog, dtype=np.float64, order="C")
    if queues.ndim != 1 or not len(queues) or not np.all(np.isfinite(queues)) or (queues < 0).any():
        raise ValueError(f"backlog={queues!r} must be a non-empty vector of finite numbers >= 0")
    queues = queues.reshape(1, 1, -1)
    return queues, np.zeros(queues.size, dtype=np.int64), np.zeros_like(queues)


def solve_local(
    backlog_cycles: ArrayLike, *, slot_s: float, weight: float, energy_coefficient: float, frequency_max_hz: float
) -> Split:
    """Problem 3 of one device, exactly: frequencies of its services [cycles/s].

    Raises:
        ValueError: a backlog that is not a vector of finite numbers >= 0.
    """
    queues, order, share = as_queues(backlog_cycles)
    arguments = (slot_s, weight, energy_coefficient, frequency_max_hz)
    total, price, gap = local_frequency(queues, 0, 0, 0, queues.size, *arguments, order, share)
    return Split(share.ravel(), total, price, gap)


def solve_transmit(
    backlog_bits: ArrayLike,
    *,
    slot_s: float,
    weight: float,
    gain: float,
    power_max_w: float,
    bandwidth_hz: float,
    noise_w_per_hz: float,
) -> Split:
    """Problem 4 of one device, exactly: rates of its services [bit/s] and the power that carries them [W].

    Raises:
        ValueError: a backlog that is not a vector of finite numbers >= 0.
    """
    queues, order, share = as_queues(backlog_bits)
    rate_max = full_power_rate(gain, power_max_w, bandwidth_hz, noise_w_per_hz)
    # numpy's division by a gain of 0 gives infinity, also where kernels run as plain Python.
    channel = (slot_s, weight, np.float64(gain), power_max_w, rate_max, bandwidth_hz, noise_w_per_hz)
    total, power, price, gap = transmit_rate(queues, 0, 0, 0, queues.size, *channel, order, share)
    return Split(share.ravel(), total, price, gap, power)


def solve_edge(backlog_cycles: ArrayLike, *, slot_s: float, frequency_max_hz: float) -> Split:
    """Problem 5, exactly: server frequencies of all queues [cycles/s].

    Raises:
        ValueError: a backlog that is not a vector of finite numbers >= 0.
    """
    queues, order, share = as_queues(backlog_cycles)
    total, price, gap = edge_frequency(queues, 0, 0, 0, queues.size, slot_s, frequency_max_hz, order, share)
    return Split(share.ravel(), total, price, gap)
