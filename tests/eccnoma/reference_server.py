"""Slow, independent optimum of the speeds of one server pool, by searches nested in a search for its price.

A user with r units has the speed lambda(r) c; until its own best speed its cost falls convexly in r. At the price nu
per unit it takes the r where another unit saves nu, and the price is that at which all fit. The dual value at that
price bounds the optimum from below, so that every answer brings its own proof.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from tests.eccnoma.solvers.problems import Floats, Pool


class Optimum(NamedTuple):
    """Units (K,), their cost, and a lower bound of the cost of any other units."""

    units: Floats
    cost: float
    bound: float


def speed(pool: Pool, units: Floats) -> Floats:
    """Speeds [FLOP/s] of cores that lose some of their speed to each other, and of parts of one core."""
    slowed = np.array([r / (1.0 + pool.overhead * (r - 1.0)) if r >= 1.0 else r for r in units])
    return pool.unit_speed_flop_s * slowed


def costs(pool: Pool, units: Floats) -> Floats:
    """Weighted delay and energy of each user (K,); 0 for those without work."""
    x = speed(pool, units)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = pool.work_flop * (pool.delay_weight / x + pool.energy_coefficient * x**2)
    return np.where(pool.work_flop > 0.0, each, 0.0)


def cost(pool: Pool, units: Floats) -> float:
    """Weighted delay and energy of all."""
    return math.fsum(costs(pool, units))


def saving(pool: Pool, units: Floats) -> Floats:
    """What another unit would save each user (K,); at the kink of one unit, beyond it."""
    x = speed(pool, units)
    slope = np.where(units < 1.0, 1.0, (1.0 - pool.overhead) / (1.0 + pool.overhead * (units - 1.0)) ** 2)
    by_speed = pool.work_flop * (pool.delay_weight / x**2 - 2.0 * pool.energy_coefficient * x)
    return by_speed * slope * pool.unit_speed_flop_s


def demand(pool: Pool, price: float) -> Floats:
    """Units (K,) that users take at a price [1/unit], by bisection in the logarithm of the units."""
    low, high = np.full(len(pool.work_flop), math.log(1e-9)), np.full(len(pool.work_flop), math.log(pool.units_max))
    for _ in range(70):
        middle = 0.5 * (low + high)
        more = saving(pool, np.exp(middle)) > price
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return np.where(pool.work_flop > 0.0, np.exp(high), 0.0)


def solve(pool: Pool) -> Optimum:
    """The optimal units within the pool and the users' limits."""
    units = demand(pool, 0.0)
    if math.fsum(units) <= pool.units:
        return Optimum(units, cost(pool, units), cost(pool, units))
    even = pool.units / len(pool.work_flop)

    def surplus(log_price: float) -> float:
        return math.log(math.fsum(demand(pool, math.exp(log_price))) / pool.units)

    top = float(saving(pool, np.full(len(pool.work_flop), even)).max())
    high = math.log(top)
    low = high - 1.0
    while surplus(high) > 0.0:
        high += 2.0
    while surplus(low) < 0.0:
        low -= 2.0
    log_price = brentq(surplus, low, high, xtol=1e-14, rtol=1e-14)
    price = math.exp(log_price)
    units = demand(pool, price)
    dual = math.fsum([*(costs(pool, units) + price * units), -price * pool.units])
    within = units * (pool.units / max(math.fsum(units), pool.units))
    return Optimum(within, cost(pool, within), dual)
