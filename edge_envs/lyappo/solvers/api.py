"""The solvers for use from Python: checked arguments, results with certificates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edge_envs.core.validation import finite_array, positive_number
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
    """Solution of a problem: how a resource is split between queues, and the certificate."""

    share: Floats
    """Frequency [cycles/s] or rate [bit/s] of each queue, shape (N,)"""
    total: float
    """Sum of the shares"""
    resource_price: float
    """Lagrange multiplier of the total, in the unit of the backlog"""
    gap: float
    """Duality gap, relative to sum_i Q_i x_i"""
    power_w: float = 0.0
    """Transmit power, Problem 4 only [W]"""


def checked_queues(name: str, backlog: ArrayLike, **positive: float) -> Floats:
    """Backlogs as a fresh array of shape (N,); `positive` are further arguments, each a positive number.

    Raises:
        ValueError: no non-empty vector of finite numbers >= 0, or a number that is not positive and finite.
    """
    queues = finite_array(name, backlog, (None,))
    if not queues.size:
        raise ValueError(f"{name} is empty; give the backlog of at least one queue")
    for number, value in positive.items():
        positive_number(number, value)
    return queues


def checked_gain(gain: float) -> np.float64:
    """A gain as a number of numpy, whose division by 0 gives infinity also where kernels run as plain Python.

    Raises:
        ValueError: it is negative or not finite.
    """
    return np.float64(finite_array("gain", gain, ()))


def kernel_arrays(queues: Floats) -> tuple[Floats, Indices, Floats]:
    """Backlogs (N,) in the kernels' shape (1, 1, N), memory for the order of the queues, and for their shares."""
    batch = queues.reshape(1, 1, -1)
    return batch, np.zeros(queues.size, dtype=np.int64), np.zeros_like(batch)


def solve_local(
    backlog_cycles: ArrayLike, *, slot_s: float, weight: float, energy_coefficient: float, frequency_max_hz: float
) -> Split:
    """Exact solution of Problem 3 of one device: frequencies of its services.

    Args:
        backlog_cycles: local backlogs Q^l of the services, shape (N,) [cycles].
        slot_s: slot tau [s].
        weight: drift-plus-penalty weight U^l [cycles^2/J].
        energy_coefficient: delta of eq. (5) [W s^3].
        frequency_max_hz: processor speed F^l [cycles/s].

    Raises:
        ValueError: an argument of another shape, or a number that is not allowed.
    """
    checked = checked_queues(
        "backlog_cycles", backlog_cycles, slot_s=slot_s, weight=weight, energy_coefficient=energy_coefficient,
        frequency_max_hz=frequency_max_hz,
    )  # fmt: skip
    queues, order, share = kernel_arrays(checked)
    cost = (slot_s, weight, energy_coefficient, frequency_max_hz)
    total, price, gap = local_frequency(queues, 0, 0, 0, queues.size, *cost, order, share)
    return Split(share.ravel(), total, price, gap)


def solve_transmit(
    backlog_bits: ArrayLike, *, slot_s: float, weight: float, gain: float, power_max_w: float, bandwidth_hz: float,
    noise_w_per_hz: float,
) -> Split:  # fmt: skip
    """Exact solution of Problem 4 of one device: rates of its services and the power for their sum.

    Args:
        backlog_bits: transmit backlogs Q^t of the services, shape (N,) [bit].
        slot_s: slot tau [s].
        weight: drift-plus-penalty weight U^t [bit^2/J].
        gain: channel power gain h, which may be 0 [-].
        power_max_w: largest transmit power [W].
        bandwidth_hz: bandwidth b of the device [Hz].
        noise_w_per_hz: noise power spectral density N_0 [W/Hz].

    Raises:
        ValueError: an argument of another shape, or a number that is not allowed.
    """
    checked = checked_queues(
        "backlog_bits", backlog_bits, slot_s=slot_s, weight=weight, power_max_w=power_max_w,
        bandwidth_hz=bandwidth_hz, noise_w_per_hz=noise_w_per_hz,
    )  # fmt: skip
    queues, order, share = kernel_arrays(checked)
    gain = checked_gain(gain)
    rate_max = full_power_rate(gain, power_max_w, bandwidth_hz, noise_w_per_hz)
    channel = (slot_s, weight, gain, power_max_w, rate_max, bandwidth_hz, noise_w_per_hz)
    total, power, price, gap = transmit_rate(queues, 0, 0, 0, queues.size, *channel, order, share)
    return Split(share.ravel(), total, price, gap, power)


def solve_edge(backlog_cycles: ArrayLike, *, slot_s: float, frequency_max_hz: float) -> Split:
    """Exact solution of Problem 5: server frequencies of all queues.

    Args:
        backlog_cycles: edge backlogs Q^e of all services, shape (J,) [cycles].
        slot_s: slot tau [s].
        frequency_max_hz: processor speed of the server F^e [cycles/s].

    Raises:
        ValueError: an argument of another shape, or a number that is not allowed.
    """
    checked = checked_queues("backlog_cycles", backlog_cycles, slot_s=slot_s, frequency_max_hz=frequency_max_hz)
    queues, order, share = kernel_arrays(checked)
    total, price, gap = edge_frequency(queues, 0, 0, 0, queues.size, slot_s, frequency_max_hz, order, share)
    return Split(share.ravel(), total, price, gap)
