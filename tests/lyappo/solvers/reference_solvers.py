"""Slow, readable solutions of the three allocation problems.

The tests use this module as an oracle, so it shares nothing with the fast code and prefers the obvious form
over the quick one: the problems are solved by a search (bisection, exact fractions) instead of by formulas
for the optimum.

All quantities are in cycles, bits and SI units: seconds, hertz (cycles per second), watts, joules.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction


def solve_local(
    backlogs: Sequence[float],
    slot_s: float,
    frequency_max_hz: float,
    energy_coefficient: float,
    weight: float,
) -> list[float]:
    """Problem 3, local computing on one device: the frequency given to each queue.

    With backlogs Q_n (cycles), slot tau, energy coefficient delta and weight U, choose f_n to

        minimise    sum_n -tau Q_n f_n  +  U tau delta (sum_n f_n)^3
        subject to  sum_n f_n <= F,   0 <= f_n <= Q_n / tau.

    The cost depends on the split only through the total, so any total is best given to the largest backlogs
    first, and the best total is found by bisection: raise it while one more unit earns more than it costs.
    """

    def marginal_cost(total: float) -> float:
        return 3.0 * weight * energy_coefficient * total * total

    filling = _LargestFirst(backlogs, slot_s)
    return filling.split(filling.best_total(frequency_max_hz, marginal_cost))


def solve_transmit(
    backlogs: Sequence[float],
    slot_s: float,
    power_max_w: float,
    bandwidth_hz: float,
    noise_w_per_hz: float,
    gain: float,
    weight: float,
) -> tuple[list[float], float]:
    """Problem 4, transmission of one device: the rate given to each queue, and the power that this takes.

    With backlogs Q_n (bits), slot tau, bandwidth b, noise density N0, channel power gain h and weight U,
    choose rates r_n and power p to

        minimise    sum_n -tau Q_n r_n  +  U tau p
        subject to  sum_n r_n <= b log2(1 + p h / (b N0)),   0 <= p <= p_max,   0 <= r_n <= Q_n / tau.

    Power that carries no rate is wasted, so p is the least power for the total rate, which leaves a search
    for the total as in problem 3.
    """
    if gain <= 0.0:
        return [0.0] * len(backlogs), 0.0

    def marginal_cost(total: float) -> float:
        return weight * noise_w_per_hz * math.log(2.0) / gain * math.exp2(total / bandwidth_hz)

    rate_max = full_power_rate(power_max_w, bandwidth_hz, noise_w_per_hz, gain)
    filling = _LargestFirst(backlogs, slot_s)
    total = filling.best_total(rate_max, marginal_cost)
    power = power_for_rate(total, bandwidth_hz, noise_w_per_hz, gain)
    return filling.split(total), min(power, power_max_w)


def solve_edge(backlogs: Sequence[float], slot_s: float, frequency_max_hz: float) -> list[float]:
    """Problem 5, computing on the server: the frequency given to each queue of each device.

    With backlogs Q_i (cycles) over all devices and services, and slot tau, choose f_i to

        minimise    sum_i -tau Q_i f_i
        subject to  sum_i f_i <= F,   0 <= f_i <= Q_i / tau.

    A fractional knapsack: serve the largest backlog as far as possible, then the next one, until the capacity
    is used up.  Done in exact fractions; equal backlogs are served in the order of their index.
    """
    left = Fraction(frequency_max_hz)
    frequencies = [0.0] * len(backlogs)
    for index in _largest_first_order(backlogs):
        share = min(Fraction(backlogs[index]) / Fraction(slot_s), left)
        frequencies[index] = float(share)
        left -= share
    return frequencies


def full_power_rate(power_max_w: float, bandwidth_hz: float, noise_w_per_hz: float, gain: float) -> float:
    """Rate in bit/s of a device that sends with full power."""
    return bandwidth_hz * math.log1p(power_max_w * gain / (bandwidth_hz * noise_w_per_hz)) / math.log(2.0)


def power_for_rate(rate: float, bandwidth_hz: float, noise_w_per_hz: float, gain: float) -> float:
    """Least power in W that carries a rate in bit/s."""
    return bandwidth_hz * noise_w_per_hz / gain * math.expm1(rate / bandwidth_hz * math.log(2.0))


def _largest_first_order(backlogs: Sequence[float]) -> list[int]:
    """Order the indices by falling backlog; equal backlogs by rising index."""
    return sorted(range(len(backlogs)), key=lambda index: (-backlogs[index], index))


class _LargestFirst:
    """Splits a total service rate over queues, the largest backlog first, none beyond what empties it."""

    def __init__(self, backlogs: Sequence[float], slot_s: float) -> None:
        """Line the queues up by falling backlog."""
        self.backlogs = backlogs
        self.order = _largest_first_order(backlogs)
        self.caps = [backlogs[index] / slot_s for index in self.order]
        self.cumulative = [math.fsum(self.caps[: place + 1]) for place in range(len(self.caps))]

    def marginal_value(self, total: float) -> float:
        """Backlog of the queue that would get the next unit of service (0 when all are emptied)."""
        for index, reached in zip(self.order, self.cumulative, strict=True):
            if total < reached:
                return self.backlogs[index]
        return 0.0

    def best_total(self, limit: float, marginal_cost: Callable[[float], float]) -> float:
        """Largest total, within the limit, below which each unit is worth more than it costs.

        The value of a unit falls with the total and its cost rises, so there is one crossing.  The bracket is
        halved until its ends are neighbouring floating-point numbers.
        """
        if not self.cumulative or self.marginal_value(0.0) <= marginal_cost(0.0):
            return 0.0
        low, high = 0.0, min(limit, self.cumulative[-1])
        while True:
            middle = 0.5 * (low + high)
            if middle <= low or middle >= high:
                return high
            if self.marginal_value(middle) > marginal_cost(middle):
                low = middle
            else:
                high = middle

    def split(self, total: float) -> list[float]:
        """Service rate of each queue, in the order in which the queues were given."""
        rates = [0.0] * len(self.order)
        given = 0.0
        for index, cap, reached in zip(self.order, self.caps, self.cumulative, strict=True):
            if reached > total:
                rates[index] = max(total - given, 0.0)
                break
            rates[index] = cap
            given = reached
        return rates
