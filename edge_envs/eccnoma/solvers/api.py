"""Solvers for use from Python, with checked arguments and certificates; those of Li-GD are in `paper_li_gd`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from edge_envs.core.validation import finite_array, index_array, positive_number, whole_number
from edge_envs.eccnoma.solvers import assignment, band_powers, certificates, server_units
from edge_envs.eccnoma.solvers.paper_li_gd import (
    gradient,
    li_gd,
    li_gd_printed,
    radio_cost,
    rates,
    relax,
    round_relaxed,
)
from edge_envs.eccnoma.solvers.problem import (
    Array,
    Assignment,
    Gradient,
    LiGD,
    Printed,
    RadioProblem,
    Relaxed,
    assignment_of,
)
from edge_envs.eccnoma.solvers.radio import default_candidates

__all__ = [
    "Assignment", "Gradient", "LiGD", "Printed", "RadioProblem", "Relaxed", "Shares", "assign", "brute_force",
    "cores_for", "cores_speed", "default_candidates", "gradient", "li_gd", "li_gd_printed", "radio_cost", "rates",
    "relax", "round_relaxed", "server_speed", "share_units", "tune_powers",
]  # fmt: skip

ASSIGNMENTS_MAX = 200_000
"""Largest number of assignments that `brute_force` tries."""


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Units of a pool, shared among K users."""

    units: Array
    """(K,)"""
    speed_flop_s: Array
    """(K,)"""
    cost: float
    gap: float
    """upper bound on the part of the cost that other units can save, by duality; inf if units are beyond a limit"""


def assign(
    problem: RadioProblem, *, sweeps: int = 6, candidates: int | None = None, power_iterations: int = 8,
    spread: bool = False,
) -> Assignment:  # fmt: skip
    """Local search over subchannels and powers: greedy placement, then power descent, moves and swaps in turn.

    Args:
        problem: data and links.
        sweeps: largest number of sweeps.
        candidates: number of subchannels, by best own gain, that moves try (None: `default_candidates`); swaps can use
            others.
        power_iterations: power descent steps per subchannel and sweep.
        spread: if True, increase the capacity of an AP with more users than places instead of raising an error.

    Raises:
        ValueError: more users of an AP than its subchannels hold, or a number that is too small.
    """
    whole_number("sweeps", sweeps, 0)
    whole_number("power_iterations", power_iterations, 0)
    if not spread:
        problem.check_capacity()
    tried = default_candidates(problem.subchannels) if candidates is None else whole_number("candidates", candidates, 1)
    r = problem.radio(min(tried, problem.subchannels))
    assignment.search(
        problem.link, r, problem.gain[None], 0, problem.subchannels, sweeps, power_iterations,
        band_powers.TIGHT_ITERATIONS,
    )  # fmt: skip
    return assignment_of(problem, r)


def tune_powers(
    problem: RadioProblem, subchannel: ArrayLike, power_w: ArrayLike, *, iterations: int = 200
) -> Assignment:
    """Optimise the powers of users on given subchannels (U,), starting from powers (U,) [W].

    Raises:
        ValueError: a subchannel that does not exist, more users on one than its capacity, or powers outside the limits.
    """
    r = problem.radio()
    active = r.active
    chosen = index_array("subchannel", subchannel, problem.users, problem.subchannels, needed=active)
    powers = finite_array("power_w", power_w, (problem.users,))
    if ((powers[active] < problem.power_min_w) | (powers[active] > problem.power_max_w)).any():
        raise ValueError(f"power_w={power_w!r} must be between {problem.power_min_w} and {problem.power_max_w}")
    load = np.zeros((problem.gain.shape[2], problem.subchannels), dtype=np.int64)
    np.add.at(load, (problem.ap[active], chosen[active]), 1)
    if load.max(initial=0) > problem.capacity:
        raise ValueError(f"subchannel={subchannel!r} puts more than capacity={problem.capacity} users of an AP on one")
    r.band[:] = np.where(active, chosen, -1)
    r.power_w[:] = np.where(active, powers, 0.0)
    assignment.tune(problem.link, r, problem.gain[None], 0, whole_number("iterations", iterations, 0))
    return assignment_of(problem, r)


def brute_force(problem: RadioProblem) -> Assignment:
    """The best of all assignments within the capacity, with powers by descent from several starts.

    Raises:
        ValueError: an AP with more users than places, or more assignments than `ASSIGNMENTS_MAX`.
    """
    problem.check_capacity("give a larger capacity")
    senders = np.flatnonzero(problem.bits > 0.0)
    if problem.subchannels ** len(senders) > ASSIGNMENTS_MAX:
        raise ValueError(
            f"{problem.subchannels} ** {len(senders)} assignments are more than {ASSIGNMENTS_MAX}; use fewer users"
        )
    ratio = problem.power_max_w / problem.power_min_w
    best: Assignment | None = None
    for chosen in product(range(problem.subchannels), repeat=len(senders)):
        subchannel = np.full(problem.users, -1)
        subchannel[senders] = chosen
        load = np.zeros((problem.gain.shape[2], problem.subchannels), dtype=np.int64)
        np.add.at(load, (problem.ap[senders], np.array(chosen, dtype=np.int64)), 1)
        if load.max(initial=0) > problem.capacity:
            continue
        for level in (1.0, 0.75, 0.5, 0.0):
            start = np.full(problem.users, problem.power_min_w * ratio**level)
            tuned = tune_powers(problem, subchannel, np.clip(start, problem.power_min_w, problem.power_max_w))
            if best is None or tuned.cost < best.cost:
                best = tuned
    assert best is not None
    return best


def server_speed(delay_weight: float, energy_coefficient: float, *, speed_min: float, speed_max: float) -> float:
    """The speed x [FLOP/s] with the smallest delay_weight / x + energy_coefficient x^2 per FLOP, within its limits.

    Raises:
        ValueError: numbers that are negative or not finite, or speed_min above speed_max.
    """
    finite_array("delay_weight", delay_weight, ())
    finite_array("energy_coefficient", energy_coefficient, ())
    if positive_number("speed_min", speed_min) > positive_number("speed_max", speed_max):
        raise ValueError(f"speed_min={speed_min!r} is above speed_max={speed_max!r}; swap them")
    return float(server_units.best_speed(delay_weight, energy_coefficient, speed_min, speed_max))


def cores_speed(units: ArrayLike, unit_speed_flop_s: float, overhead: float = 0.05) -> Array:
    """Speed lambda(r) c_min [FLOP/s] of a number of units: proportional up to one unit, then Amdahl's law.

    Raises:
        ValueError: numbers that are negative or not finite, or an overhead not in [0, 1).
    """
    given = finite_array("units", units, np.shape(units))
    _check_overhead(overhead)
    compensated = np.where(given >= 1.0, given / (1.0 + overhead * (given - 1.0)), given)
    return compensated * positive_number("unit_speed_flop_s", unit_speed_flop_s)


def cores_for(speed: float, unit_speed_flop_s: float, overhead: float = 0.05) -> float:
    """Number of units with a speed [FLOP/s], the inverse of `cores_speed`; inf if no number is enough.

    Raises:
        ValueError: as in `cores_speed`.
    """
    finite_array("speed", speed, ())
    _check_overhead(overhead)
    return float(server_units.units_for(speed / positive_number("unit_speed_flop_s", unit_speed_flop_s), overhead))


def _check_overhead(overhead: float) -> None:
    if not 0.0 <= overhead < 1.0:
        raise ValueError(f"overhead={overhead!r} is not possible; give a number >= 0 and < 1")


def share_units(
    work_flop: ArrayLike, delay_weight: ArrayLike, energy_coefficient: ArrayLike, units: float, *, units_max: float,
    unit_speed_flop_s: float, overhead: float = 0.05,
) -> Shares:  # fmt: skip
    """Share the units of an AP among its users: r_i in proportion to sqrt(w_i f_i), at most the user's best number.

    This minimises sum w_i f_i / (r_i c_min). It neglects the compensation and the energy; `gap` bounds their effect.

    Args:
        work_flop: work of each user (K,).
        delay_weight: cost per second (K,).
        energy_coefficient: cost of a FLOP at speed x over x^2 (K,).
        units: units of the pool.
        units_max: largest number of units of a user.
        unit_speed_flop_s: speed of a unit.
        overhead: loss per further unit.

    Raises:
        ValueError: wrong shapes or impossible numbers.
    """
    users = np.size(work_flop)
    work = finite_array("work_flop", work_flop, (users,))
    weight = finite_array("delay_weight", delay_weight, (users,))
    energy = finite_array("energy_coefficient", energy_coefficient, (users,))
    _check_overhead(overhead)
    root, most, given, speed_flop_s = np.zeros((4, users))
    report = np.zeros(len(server_units.POOL_REPORT))
    pool = np.zeros(users, dtype=np.int64)
    limits = positive_number("units", units), positive_number("units_max", units_max)
    speed = positive_number("unit_speed_flop_s", unit_speed_flop_s)
    server_units.share_pool(
        pool, 0, work, weight, energy, *limits, speed, overhead, root, most, given, speed_flop_s, report
    )  # fmt: skip
    cost, gap = certificates.certify_pool(pool, 0, work, weight, energy, *limits, speed, overhead, given)
    if math.isfinite(gap):
        gap = gap / cost if cost > 0.0 else 0.0
    return Shares(given, speed_flop_s, float(report[server_units.POOL_REPORT.cost]), float(gap))
