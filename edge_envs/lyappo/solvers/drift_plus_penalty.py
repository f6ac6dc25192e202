"""Exact solutions of the paper's Problems 3, 4 and 5, each with a certificate.

For a given total, all three problems are linear in the split, so the largest backlog is served first. A concave,
piecewise linear value then meets one convex cost of the total. The resource price, the multiplier of the total,
certifies the solution; see `edge_envs.lyappo.solvers.certificates`.

The kernels solve for the `count` queues from [row, stage, first] on, in arrays of shape (B, 3, J). `solve_local`,
`solve_transmit` and `solve_edge` of `api.py` call them from Python.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.lyappo.solvers.certificates import LN2, edge_gap, local_gap, transmit_gap

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@kernel_part
def largest_first(backlog: Floats, row: int, stage: int, first: int, count: int, order: Indices) -> None:
    """Write the queues' indices into `order`, largest backlog first, ties by index.

    With `core.kernels.order.sort_falling`, a step of 256 worlds takes 3 % longer, as there are few queues.
    """
    for i in range(count):
        candidate = first + i
        j = i
        while j > 0 and backlog[row, stage, order[j - 1]] < backlog[row, stage, candidate]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = candidate


@kernel_part
def local_frequency(
    backlog: Floats, row: int, stage: int, first: int, count: int, slot_s: float, weight: float, coefficient: float,
    cap: float, order: Indices, frequency: Floats,
) -> tuple[float, float, float]:  # fmt: skip
    """Problem 3 of one device: min U^l delta (sum f)^3 - sum Q f, subject to sum f <= F, 0 <= f <= Q/tau.

    Fills `frequency[row, stage, first : first + count]` and returns (sum of f, resource price, relative duality gap).
    """
    scale = 3.0 * weight * coefficient
    largest_first(backlog, row, stage, first, count, order)
    total = 0.0
    queue = 0.0
    stopped = True
    for i in range(count):
        frequency[row, stage, order[i]] = 0.0
    for i in range(count):
        queue = backlog[row, stage, order[i]]
        wanted = queue / slot_s
        full = total + wanted
        if full <= cap and scale * full * full <= queue:
            frequency[row, stage, order[i]] = wanted
            total = full
            continue
        target = min(cap, math.sqrt(queue / scale))
        if target > total:
            frequency[row, stage, order[i]] = target - total
            total = target
        break
    else:
        stopped = False
    resource_price = scale * total * total
    if stopped or total >= cap:
        # A queue that is not emptied sets the price; if all are emptied, the marginal cost does.
        resource_price = max(resource_price, queue)
    gap = local_gap(backlog, row, stage, first, count, slot_s, weight, coefficient, cap, frequency, resource_price)
    return total, resource_price, gap


@kernel_part
def full_power_rate(gain: float, power_max: float, bandwidth: float, noise: float) -> float:
    """Largest rate of a device, eq. (3) at full power [bit/s]."""
    snr = power_max * gain / (bandwidth * noise)
    # log1p takes three times as long, and is more accurate only for a small SNR.
    return bandwidth * (math.log(1.0 + snr) if snr > 1.0 else math.log1p(snr)) / LN2


@kernel_part
def power_for_rate(rate: float, gain: float, bandwidth: float, noise: float) -> float:
    """Power for `rate`, the inverse of eq. (3) [W]; 0 for rate 0 at any gain."""
    if rate <= 0.0:
        return 0.0
    return bandwidth * noise / gain * math.expm1(rate / bandwidth * LN2)


@kernel_part
def split_rate(
    backlog: Floats, row: int, stage: int, first: int, count: int, slot_s: float, first_bit: float, rate_max: float,
    bandwidth: float, order: Indices, rate: Floats,
) -> tuple[float, float]:  # fmt: skip
    """Rates of Problem 4, given the marginal cost `first_bit` of a rate of zero; fills `rate`.

    Returns the sum of the rates, and the backlog of the first queue that is not emptied: 0 if all queues are emptied
    below `rate_max`.
    """
    largest_first(backlog, row, stage, first, count, order)
    for i in range(count):
        rate[row, stage, order[i]] = 0.0
    total = 0.0
    queue = backlog[row, stage, order[0]]
    if queue <= first_bit or rate_max <= 0.0:
        return 0.0, queue
    for i in range(count):
        queue = backlog[row, stage, order[i]]
        if queue <= first_bit:
            return total, queue
        target = min(rate_max, bandwidth * math.log(queue / first_bit) / LN2)
        if target <= total:
            return total, queue
        wanted = queue / slot_s
        if total + wanted > target:
            rate[row, stage, order[i]] = target - total
            return target, queue
        rate[row, stage, order[i]] = wanted
        total += wanted
    return total, queue if total >= rate_max else 0.0


@kernel_part
def transmit_rate(
    backlog: Floats, row: int, stage: int, first: int, count: int, slot_s: float, weight: float, gain: float,
    power_max: float, rate_max: float, bandwidth: float, noise: float, order: Indices, rate: Floats,
) -> tuple[float, float, float, float]:  # fmt: skip
    """Problem 4 of one device: min U^t p - sum Q r, subject to sum r <= R(p), p <= p_max, 0 <= r <= Q/tau.

    Fills `rate[row, stage, first : first + count]` and returns (sum of r, power, resource price, relative duality gap).
    `rate_max` is R(p_max). The marginal cost of the sum is U^t N_0 ln 2 / h * 2^(sum r / b).
    """
    first_bit = weight * noise * LN2 / gain
    total, last = split_rate(backlog, row, stage, first, count, slot_s, first_bit, rate_max, bandwidth, order, rate)
    power = min(power_max, power_for_rate(total, gain, bandwidth, noise))
    # A queue that is not emptied sets the price; if all are emptied, the marginal cost does.
    resource_price = max(last, first_bit + weight * power * LN2 / bandwidth) if total > 0.0 else last
    gap = transmit_gap(
        backlog, row, stage, first, count, slot_s, weight, gain, power_max, bandwidth, noise, rate, power,
        resource_price,
    )  # fmt: skip
    return total, power, resource_price, gap


@kernel_part
def edge_frequency(
    backlog: Floats, row: int, stage: int, first: int, count: int, slot_s: float, cap: float, order: Indices,
    frequency: Floats,
) -> tuple[float, float, float]:  # fmt: skip
    """Problem 5: max sum Q f, subject to sum f <= F^e, 0 <= f <= Q/tau (Theorem 1, corrected).

    Fills `frequency[row, stage, first : first + count]` and returns (sum of f, resource price, relative duality gap).
    """
    total = 0.0
    for i in range(first, first + count):
        frequency[row, stage, i] = backlog[row, stage, i] / slot_s
        total += frequency[row, stage, i]
    resource_price = 0.0
    if total > cap:
        largest_first(backlog, row, stage, first, count, order)
        total = 0.0
        for i in range(count):
            queue = order[i]
            if frequency[row, stage, queue] < cap - total:
                total += frequency[row, stage, queue]
                continue
            if resource_price == 0.0:
                resource_price = backlog[row, stage, queue]
            frequency[row, stage, queue] = cap - total
            total = cap
    return total, resource_price, edge_gap(backlog, row, stage, first, count, slot_s, cap, frequency, resource_price)
