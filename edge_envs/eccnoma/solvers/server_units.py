"""The edge server: speed of a number of units (3), the best speed of a user, and the units of a pool, (22)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.kernels.metrics import columns

POOL_REPORT = columns(("cost", "used"))
"""Entries of the report of `share_pool`."""


@kernel_part
def compensation(units: float, overhead: float) -> float:
    """lambda(r) of (3): r below one unit, else r / (1 + overhead (r - 1)), Amdahl's law."""
    return units / (1.0 + overhead * (units - 1.0)) if units >= 1.0 else units


@kernel_part
def units_for(compensated: float, overhead: float) -> float:
    """Units r with lambda(r) = `compensated`; inf if no number is enough."""
    if compensated <= 1.0:
        return compensated
    left = 1.0 - overhead * compensated
    return compensated * (1.0 - overhead) / left if left > 0.0 else math.inf


@kernel_part
def best_speed(delay_weight: float, energy_coefficient: float, least: float, most: float) -> float:
    """The speed x in [least, most] with the smallest delay_weight / x + energy_coefficient x^2.

    It minimises the server's part of (22) over x = lambda(r) c_min, for any amount of work.
    """
    if energy_coefficient <= 0.0:
        return most
    return min(max((delay_weight / (2.0 * energy_coefficient)) ** (1.0 / 3.0), least), most)


@kernel_part
def server_cost(work_flop: float, delay_weight: float, energy_coefficient: float, speed_flop_s: float) -> float:
    """Cost of a user's work at the server at a speed, its part of (22)."""
    return work_flop * (delay_weight / speed_flop_s + energy_coefficient * speed_flop_s * speed_flop_s)


@kernel_part
def share_of(
    ap: NDArray[np.int64], n: int, root: NDArray[np.float64], most: NDArray[np.float64], units: float,
    given: NDArray[np.float64],
) -> None:  # fmt: skip
    """Divide the units of AP n in proportion to `root`, at most `most` each; the rest is divided again."""
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
        taken, full = 0.0, False
        for i in range(users):
            if ap[i] == n and root[i] > 0.0 and given[i] < most[i] and left * root[i] >= most[i] * total:
                given[i] = most[i]
                taken += most[i]
                full = True
        if not full:
            for i in range(users):
                if ap[i] == n and root[i] > 0.0 and given[i] < most[i]:
                    given[i] = left * root[i] / total
            break
        left -= taken


@kernel
def share_pool(
    ap: NDArray[np.int64], n: int, work_flop: NDArray[np.float64], delay_weight: NDArray[np.float64],
    energy_coefficient: NDArray[np.float64], units: float, units_max: float, unit_speed_flop_s: float, overhead: float,
    root: NDArray[np.float64], most: NDArray[np.float64], given: NDArray[np.float64],
    speed_flop_s: NDArray[np.float64], report: NDArray[np.float64],
) -> None:  # fmt: skip
    """Share the units of AP n among its users with work, into `given` and `speed_flop_s` (U,) and `report`.

    Shares are proportional to sqrt(w f), and at most what gives the user's best speed. `root` and `most` are scratch
    memory.
    """
    for i in range(len(ap)):
        if ap[i] == n:
            root[i] = math.sqrt(work_flop[i] * delay_weight[i])
            best = best_speed(delay_weight[i], energy_coefficient[i], 0.0, math.inf)
            most[i] = min(units_for(best / unit_speed_flop_s, overhead), units_max)
            speed_flop_s[i] = 0.0
    share_of(ap, n, root, most, units, given)
    cost, used = 0.0, 0.0
    for i in range(len(ap)):
        if ap[i] == n and root[i] > 0.0:
            speed_flop_s[i] = compensation(given[i], overhead) * unit_speed_flop_s
            cost += server_cost(work_flop[i], delay_weight[i], energy_coefficient[i], speed_flop_s[i])
            used += given[i]
    report[POOL_REPORT.cost], report[POOL_REPORT.used] = cost, used
