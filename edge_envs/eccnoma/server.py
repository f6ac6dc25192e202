"""The edge server: how fast a number of its units is, the best speed, and an AP's units shared among its users."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.compiled import kernel, kernel_part

POOL_COST, POOL_GAP, POOL_USED = range(3)


@kernel_part
def compensation(units: float, overhead: float) -> float:
    """lambda(r) of (3): Amdahl's r / (1 + overhead (r - 1)) from one unit on, r below."""
    return units / (1.0 + overhead * (units - 1.0)) if units >= 1.0 else units


@kernel_part
def units_for(compensated: float, overhead: float) -> float:
    """Units r with lambda(r) = `compensated`; inf where no number is enough."""
    if compensated <= 1.0:
        return compensated
    left = 1.0 - overhead * compensated
    return compensated * (1.0 - overhead) / left if left > 0.0 else math.inf


@kernel_part
def best_speed(delay_weight: float, energy_coefficient: float, least: float, most: float) -> float:
    """The speed x within [least, most] of least delay_weight / x + energy_coefficient x^2.

    That is the stationary point of the
    edge's part of (22) in x = lambda(r) c_min, whatever the work is.
    """
    if energy_coefficient <= 0.0:
        return most
    return min(max((delay_weight / (2.0 * energy_coefficient)) ** (1.0 / 3.0), least), most)


@kernel_part
def edge_cost(work_flop: float, delay_weight: float, energy_coefficient: float, speed_flop_s: float) -> float:
    """Cost of a user's work at the edge at a speed."""
    return work_flop * (delay_weight / speed_flop_s + energy_coefficient * speed_flop_s * speed_flop_s)


@kernel_part
def marginal_saving(
    units: float, work_flop: float, delay_weight: float, energy_coefficient: float, unit_speed_flop_s: float,
    overhead: float,
) -> float:  # fmt: skip
    """What the cost of a user's work falls by per unit more; decreasing in the units up to the best speed."""
    bend = 1.0 + overhead * (units - 1.0)
    slope = (1.0 - overhead) / (bend * bend) if units >= 1.0 else 1.0
    speed = compensation(units, overhead) * unit_speed_flop_s
    return work_flop * (delay_weight / (speed * speed) - 2.0 * energy_coefficient * speed) * unit_speed_flop_s * slope


@kernel_part
def dual_part(
    price: float, most: float, work_flop: float, delay_weight: float, energy_coefficient: float,
    unit_speed_flop_s: float, overhead: float,
) -> float:  # fmt: skip
    """Least cost of a user's work plus price of its units, over at most `most` units: its part of the dual function."""
    low, high = 0.0, most
    for _ in range(60):
        middle = 0.5 * (low + high)
        saving = marginal_saving(middle, work_flop, delay_weight, energy_coefficient, unit_speed_flop_s, overhead)
        if saving > price:
            low = middle
        else:
            high = middle
    middle = 0.5 * (low + high)
    speed = compensation(middle, overhead) * unit_speed_flop_s
    return edge_cost(work_flop, delay_weight, energy_coefficient, speed) + price * middle


@kernel_part
def share_of(
    ap: NDArray[np.int64], n: int, root: NDArray[np.float64], most: NDArray[np.float64], units: float,
    given: NDArray[np.float64],
) -> None:  # fmt: skip
    """Divide an AP's units in proportion to `root`, nobody above `most`; what that leaves is divided again."""
    users = len(ap)
    for i in range(users):
        if ap[i] == n:
            given[i] = 0.0
    left = units
    for _ in range(users):
        total = 0.0
        for i in range(users):
            if ap[i] == n and root[i] > 0.0 and given[i] < most[i]:
                total += root[i]
        if total <= 0.0:
            break
        full = False
        for i in range(users):
            if ap[i] == n and root[i] > 0.0 and given[i] < most[i] and left * root[i] >= most[i] * total:
                full = True
        if not full:
            for i in range(users):
                if ap[i] == n and root[i] > 0.0 and given[i] < most[i]:
                    given[i] = left * root[i] / total
            break
        taken = 0.0
        for i in range(users):
            if ap[i] == n and root[i] > 0.0 and given[i] < most[i] and left * root[i] >= most[i] * total:
                given[i] = most[i]
                taken += most[i]
        left -= taken


@kernel
def share_pool(
    ap: NDArray[np.int64], n: int, work_flop: NDArray[np.float64], delay_weight: NDArray[np.float64],
    energy_coefficient: NDArray[np.float64], units: float, units_max: float, unit_speed_flop_s: float, overhead: float,
    root: NDArray[np.float64], most: NDArray[np.float64], given: NDArray[np.float64],
    speed_flop_s: NDArray[np.float64], report: NDArray[np.float64],
) -> None:  # fmt: skip
    """Share AP n's `units` among the users with work: `given` and `speed_flop_s` (U,), cost, gap and use in `report`.

    In proportion to sqrt(w f), nobody above its own best speed. `root` and `most` are scratch memory.
    """
    for i in range(len(ap)):
        if ap[i] == n:
            root[i] = math.sqrt(work_flop[i] * delay_weight[i])
            best = best_speed(delay_weight[i], energy_coefficient[i], 0.0, math.inf)
            most[i] = min(units_for(best / unit_speed_flop_s, overhead), units_max)
            speed_flop_s[i] = 0.0
    share_of(ap, n, root, most, units, given)
    cost, used, paid, held = 0.0, 0.0, 0.0, 0.0
    for i in range(len(ap)):
        if ap[i] == n and root[i] > 0.0:
            speed_flop_s[i] = compensation(given[i], overhead) * unit_speed_flop_s
            cost += edge_cost(work_flop[i], delay_weight[i], energy_coefficient[i], speed_flop_s[i])
            used += given[i]
            # whoever has all it can use would pay more than the price
            if given[i] < most[i]:
                held += given[i]
                paid += given[i] * marginal_saving(
                    given[i], work_flop[i], delay_weight[i], energy_coefficient[i], unit_speed_flop_s, overhead
                )
    report[POOL_COST], report[POOL_USED], report[POOL_GAP] = cost, used, 0.0
    if cost > 0.0:
        price = max(paid / held, 0.0) if held > 0.0 and used > units * (1.0 - 1e-12) else 0.0
        dual = -price * units
        for i in range(len(ap)):
            if ap[i] == n and root[i] > 0.0:
                dual += dual_part(
                    price, most[i], work_flop[i], delay_weight[i], energy_coefficient[i], unit_speed_flop_s, overhead
                )
        report[POOL_GAP] = max(cost - dual, 0.0) / cost
