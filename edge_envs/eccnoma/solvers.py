"""The optimisers of the ECCNOMA model for use from Python, each with its certificate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.eccnoma import assignment, bands, relaxation, server
from edge_envs.eccnoma.bands import Radio
from edge_envs.eccnoma.problems import Array, RadioProblem, finite, positive, whole
from edge_envs.eccnoma.relaxation import Relaxation, allocate_relaxation

MOST_COMBINATIONS = 200_000
"""Assignments that `brute_force` looks at, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """Cost of relaxed shares and powers, and its derivatives."""

    cost: float
    beta: Array
    """(U, M)"""
    power_w: Array
    """(U,)"""


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """One subchannel and power per user."""

    subchannel: NDArray[np.int64]
    """(U,), -1 for silent users"""
    power_w: Array
    """(U,), 0 for silent users"""
    rate_bit_s: Array
    """(U,), 0 for silent users"""
    cost: float
    start_cost: float
    """after the first placement, before anything was improved"""
    bound: float
    """no assignment and powers cost less: everybody alone on the best subchannel"""
    residual: float
    """largest slope of a subchannel's cost in a log power that could still move, over that cost"""
    sweeps: int
    moves: int
    overflow: int
    """users above the capacity"""


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """Shares on the simplex and powers."""

    beta: Array
    """(U, M), rows of zeros for silent users"""
    power_w: Array
    """(U,), 0 for silent users"""
    cost: float
    start_cost: float
    gap: float
    """Frank-Wolfe gap of the shares over the cost: 0 at a stationary point"""
    residual: float
    """largest slope in a log power that could still move, over the cost"""
    iterations: int
    history: Array
    """cost before the first step and after each"""


@dataclass(frozen=True, slots=True, eq=False)
class LiGD:
    """What Algorithm 1 found."""

    best: int
    """cut of the least cost"""
    costs: Array
    """(L,)"""
    iterations: NDArray[np.int64]
    """(L,) of both directions together"""
    uplink: list[Relaxed | None]
    """solution per cut, None where nobody sends"""
    downlink: list[Relaxed | None]


@dataclass(frozen=True, slots=True, eq=False)
class Printed:
    """What Algorithm 1 finds when followed to the letter."""

    best: int
    """cut of the least cost, never 0"""
    costs: Array
    """(L,) of the relaxed shares; inf at cut 0, which is not looked at"""
    increases: NDArray[np.int64]
    """(L,) steps that let the cost rise"""
    chosen_per_user: NDArray[np.int64]
    """(U,) subchannels with a share above 0.5 at the best cut; the threshold works only if all are 1"""


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """A pool's units."""

    units: Array
    """(K,)"""
    speed_flop_s: Array
    """(K,)"""
    cost: float
    gap: float
    """the cost is at most this part above the least one, by duality"""


def _relaxed_memory(
    problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike, iterations: int = 0
) -> tuple[Radio, Relaxation]:
    w = problem.radio()
    x = allocate_relaxation(problem.users, problem.subchannels, problem.gain.shape[2], iterations)
    shares = finite("beta", beta, (problem.users, problem.subchannels))
    x.beta[:] = np.where(w.active[:, None], shares, 0.0).T
    x.power_w[:] = np.where(w.active, finite("power_w", power_w, (problem.users,)), 0.0)
    relaxation.order_users(w, x, problem.gain[None], 0)
    return w, x


def rates(problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike) -> Array:
    """Rates (6), (9) of shares `beta` (U, M) and powers (U,) [bit/s], 0 for silent users.

    Raises:
        ValueError: wrong shapes, or numbers that are negative or not finite.
    """
    w, x = _relaxed_memory(problem, beta, power_w)
    relaxation.relaxed_cost(problem.link, w, x, problem.gain[None], 0, x.beta)
    return np.where(w.active, x.rate_bit_s, 0.0)


def radio_cost(problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike) -> float:
    """This direction's part of (22): sum of (w_T + w_E p) bits / R.

    Raises:
        ValueError: as in `rates`.
    """
    w, x = _relaxed_memory(problem, beta, power_w)
    return float(relaxation.relaxed_cost(problem.link, w, x, problem.gain[None], 0, x.beta))


def gradient(problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike) -> Gradient:
    """The cost and its derivatives in shares and powers, which (23)-(30) should be; 0 for silent users.

    Raises:
        ValueError: as in `rates`.
    """
    w, x = _relaxed_memory(problem, beta, power_w)
    cost = relaxation.relaxed_cost(problem.link, w, x, problem.gain[None], 0, x.beta)
    relaxation.relaxed_slope(problem.link, w, x, problem.gain[None], 0)
    return Gradient(float(cost), np.ascontiguousarray(x.beta_slope.T), x.power_slope)


def _assignment(problem: RadioProblem, w: Radio) -> Assignment:
    assignment.bound_cost(problem.link, w, problem.gain[None], 0)
    report = w.report
    return Assignment(
        subchannel=w.band.copy(),
        power_w=w.power_w.copy(),
        rate_bit_s=w.rate_bit_s.copy(),
        cost=float(report[bands.COST]),
        start_cost=float(report[bands.START_COST]),
        bound=float(report[bands.BOUND]),
        residual=float(report[bands.RESIDUAL]),
        sweeps=int(report[bands.SWEEPS]),
        moves=int(report[bands.MOVES]),
        overflow=int(report[bands.OVERFLOW]),
    )


def default_candidates(subchannels: int) -> int:
    """Subchannels that a user tries: all of few, the best eighth of many, but 16 at least."""
    return subchannels if subchannels <= 20 else max(16, math.ceil(subchannels / 8))


def assign(
    problem: RadioProblem, *, sweeps: int = 6, candidates: int | None = None, power_iterations: int = 8,
    spread: bool = False,
) -> Assignment:  # fmt: skip
    """Local search over subchannels and powers: greedy, then power descent and single moves in turn.

    Args:
        problem: what to send over which links.
        sweeps: the most sweeps of moves.
        candidates: subchannels of best own gain that a user tries (None: `default_candidates`); a swap may take others.
        power_iterations: power descent steps per subchannel and sweep.
        spread: raise the capacity of an AP with too many users instead of refusing it.

    Raises:
        ValueError: more users of an AP than its subchannels hold, or a number below its least.
    """
    whole("sweeps", sweeps, 0)
    whole("power_iterations", power_iterations, 0)
    if not spread:
        problem.check_capacity()
    tried = default_candidates(problem.subchannels) if candidates is None else whole("candidates", candidates, 1)
    w = problem.radio(min(tried, problem.subchannels))
    assignment.search(
        problem.link, w, problem.gain[None], 0, problem.subchannels, sweeps, power_iterations,
        assignment.TIGHT_ITERATIONS,
    )  # fmt: skip
    return _assignment(problem, w)


def tune_powers(
    problem: RadioProblem, subchannel: ArrayLike, power_w: ArrayLike, *, iterations: int = 200
) -> Assignment:
    """Powers alone, for users on given subchannels (U,), from powers (U,) [W].

    Raises:
        ValueError: a subchannel that does not exist, more users on one than its capacity, or powers out of range.
    """
    w = problem.radio()
    chosen = np.asarray(subchannel)
    if chosen.shape != (problem.users,) or chosen.dtype.kind not in "iu":
        raise ValueError(f"subchannel={subchannel!r} must hold {problem.users} whole numbers")
    active = w.active
    if ((chosen[active] < 0) | (chosen[active] >= problem.subchannels)).any():
        raise ValueError(f"subchannel={subchannel!r} must be from 0 to {problem.subchannels - 1} for users that send")
    powers = finite("power_w", power_w, (problem.users,))
    if ((powers[active] < problem.power_min_w) | (powers[active] > problem.power_max_w)).any():
        raise ValueError(f"power_w={power_w!r} must be between {problem.power_min_w} and {problem.power_max_w}")
    crowd = np.zeros((problem.gain.shape[2], problem.subchannels), dtype=np.int64)
    np.add.at(crowd, (problem.ap[active], chosen[active]), 1)
    if crowd.max(initial=0) > problem.capacity:
        raise ValueError(f"subchannel={subchannel!r} puts more than capacity={problem.capacity} users of an AP on one")
    w.band[:] = np.where(active, chosen, -1)
    w.power_w[:] = np.where(active, powers, 0.0)
    assignment.tune(problem.link, w, problem.gain[None], 0, whole("iterations", iterations, 0))
    return _assignment(problem, w)


def _relaxed(problem: RadioProblem, w: Radio, x: Relaxation, tolerance: float, iterations: int) -> Relaxed:
    relaxation.relax(problem.link, w, x, problem.gain[None], 0, tolerance, iterations)
    done = int(x.report[relaxation.ITERATIONS])
    return Relaxed(
        beta=np.ascontiguousarray(np.where(w.active, x.beta, 0.0).T),
        power_w=np.where(w.active, x.power_w, 0.0),
        cost=float(x.report[relaxation.RELAXED_COST]),
        start_cost=float(x.report[relaxation.RELAXED_START]),
        gap=float(x.report[relaxation.GAP]),
        residual=float(x.report[relaxation.LEVEL_RESIDUAL]),
        iterations=done,
        history=x.history[: done + 1].copy(),
    )


def relax(
    problem: RadioProblem, *, start: tuple[ArrayLike, ArrayLike] | None = None, tolerance: float = 1e-5,
    iterations: int = 500,
) -> Relaxed:  # fmt: skip
    """Mirror descent over relaxed shares and log powers: the inner solve of Li-GD.

    Args:
        problem: what to send over which links.
        start: shares (U, M) and powers (U,) to begin with (None: equal shares, full power).
        tolerance: relative fall of the cost at which it ends.
        iterations: the most steps.

    Raises:
        ValueError: a start outside the simplex or the limits of the powers, or an impossible tolerance or number.
    """
    positive("tolerance", tolerance)
    whole("iterations", iterations, 0)
    if start is None:
        equal = np.full((problem.users, problem.subchannels), 1.0 / problem.subchannels)
        start = equal, np.full(problem.users, problem.power_max_w)
    beta, power_w = start
    w, x = _relaxed_memory(problem, beta, power_w, iterations)
    active = w.active
    if (np.abs(x.beta[:, active].sum(axis=0) - 1.0) > 1e-6).any():
        raise ValueError("start: the shares of every user that sends must add up to 1")
    low, high = problem.power_min_w * (1.0 - 1e-12), problem.power_max_w * (1.0 + 1e-12)
    if ((x.power_w[active] < low) | (x.power_w[active] > high)).any():
        raise ValueError(f"start: powers must be between {problem.power_min_w} and {problem.power_max_w}")
    span = math.log(problem.power_max_w / problem.power_min_w)
    if span > 0.0:
        x.level[active] = np.clip(np.log(x.power_w[active] / problem.power_min_w) / span, 0.0, 1.0)
    x.beta[:, active] = np.maximum(x.beta[:, active], relaxation.LEAST_SHARE)
    x.beta[:, active] /= x.beta[:, active].sum(axis=0)
    return _relaxed(problem, w, x, tolerance, iterations)


def round_relaxed(problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike, *, spread: bool = False) -> Assignment:
    """One subchannel per user from relaxed shares (U, M) within the capacity, then powers tuned.

    Raises:
        ValueError: wrong shapes, or more users of an AP than its subchannels hold.
    """
    if not spread:
        problem.check_capacity()
    w, x = _relaxed_memory(problem, beta, power_w)
    span = math.log(problem.power_max_w / problem.power_min_w)
    with np.errstate(divide="ignore"):
        levels = np.log(x.power_w / problem.power_min_w) / span if span > 0.0 else np.ones(problem.users)
    x.level[:] = np.clip(levels, 0.0, 1.0)
    assignment.place_by_relaxation(problem.link, w, problem.gain[None], 0, x.beta, x.level, assignment.TIGHT_ITERATIONS)
    return _assignment(problem, w)


def _with_bits(problem: RadioProblem, bits: Array) -> RadioProblem:
    return RadioProblem(
        problem.gain, problem.ap, bits, problem.delay_weight, problem.energy_weight, problem.bandwidth_hz,
        problem.noise_w, problem.power_min_w, problem.power_max_w, problem.capacity, problem.direction,
    )  # fmt: skip


def _cuts(
    uplink: RadioProblem, downlink: RadioProblem, bits: ArrayLike, result_bits: ArrayLike, fixed_cost: ArrayLike
) -> tuple[list[tuple[RadioProblem, RadioProblem]], Array]:
    fixed = np.asarray(fixed_cost, dtype=np.float64)
    if fixed.ndim != 1 or len(fixed) == 0 or downlink.users != uplink.users:
        raise ValueError("fixed_cost must hold one number per cut, and both directions the same users")
    if not np.isfinite(fixed).all():
        raise ValueError(f"fixed_cost holds {fixed[~np.isfinite(fixed)][0]}; it must be finite")
    sent = finite("bits", bits, (uplink.users, len(fixed)))
    back = finite("result_bits", result_bits, (uplink.users,))
    pairs = []
    for j in range(len(fixed)):
        active = sent[:, j] > 0.0
        pairs.append((_with_bits(uplink, sent[:, j]), _with_bits(downlink, np.where(active, back, 0.0))))
    return pairs, fixed


def li_gd(
    uplink: RadioProblem, downlink: RadioProblem, bits: ArrayLike, result_bits: ArrayLike, fixed_cost: ArrayLike, *,
    warm: bool = True, tolerance: float = 1e-5, iterations: int = 500,
) -> LiGD:  # fmt: skip
    """Algorithm 1, Li-GD, over common cuts 0, 1, ..., each cut's descent beginning where the one before ended.

    Args:
        uplink: links and weights; its bits are not used.
        downlink: the same for the results.
        bits: data to send by cut (U, L), 0 where a user sends nothing.
        result_bits: data sent back (U,).
        fixed_cost: cost of computing on devices and server, by cut (L,).
        warm: False lets every cut begin cold: plain gradient descent, for comparison.
        tolerance: relative fall of the cost at which a descent ends.
        iterations: the most steps of a descent.

    Raises:
        ValueError: wrong shapes or impossible numbers.
    """
    pairs, fixed = _cuts(uplink, downlink, bits, result_bits, fixed_cost)
    costs, steps = fixed.copy(), np.zeros(len(fixed), dtype=np.int64)
    found: tuple[list[Relaxed | None], list[Relaxed | None]] = ([], [])
    starts: list[tuple[Array, Array] | None] = [None, None]
    for j, pair in enumerate(pairs):
        for way, problem in enumerate(pair):
            if not (problem.bits > 0.0).any():
                found[way].append(None)
                continue
            start = starts[way] if warm else None
            solved = relax(problem, start=_completed(problem, start), tolerance=tolerance, iterations=iterations)
            starts[way] = solved.beta, solved.power_w
            found[way].append(solved)
            costs[j] += solved.cost
            steps[j] += solved.iterations
    return LiGD(int(np.argmin(costs)), costs, steps, *found)


def _completed(problem: RadioProblem, start: tuple[Array, Array] | None) -> tuple[Array, Array] | None:
    """A start in which users that were silent before have equal shares and full power."""
    if start is None:
        return None
    beta, power_w = start
    new = power_w == 0.0
    return np.where(new[:, None], 1.0 / problem.subchannels, beta), np.where(new, problem.power_max_w, power_w)


def li_gd_printed(
    uplink: RadioProblem, downlink: RadioProblem, bits: ArrayLike, result_bits: ArrayLike, fixed_cost: ArrayLike, *,
    step: float = 0.1, iterations: int = 2000,
) -> Printed:  # fmt: skip
    """Algorithm 1 to the letter, for the record: cuts from 1 on, one step size in raw variables, threshold 0.5.

    Shares move in the box [0, 1] without adding up to 1. Arguments as in `li_gd`.

    Raises:
        ValueError: wrong shapes or impossible numbers.
    """
    positive("step", step)
    whole("iterations", iterations, 1)
    pairs, fixed = _cuts(uplink, downlink, bits, result_bits, fixed_cost)
    costs, increases = fixed.copy(), np.zeros(len(fixed), dtype=np.int64)
    costs[0] = np.inf
    shape = (uplink.users, uplink.subchannels)
    points = [
        (np.full((way.users, way.subchannels), 0.5), np.full(way.users, 0.5 * (way.power_min_w + way.power_max_w)))
        for way in (uplink, downlink)
    ]
    kept: dict[int, Array] = {}
    for j in range(1, len(pairs)):
        for way, problem in enumerate(pairs[j]):
            if (problem.bits > 0.0).any():
                points[way], cost, rises = _raw_descent(problem, points[way], step, iterations)
                costs[j] += cost
                increases[j] += rises
        kept[j] = points[0][0].copy() if (pairs[j][0].bits > 0.0).any() else np.zeros(shape)
    best = int(np.argmin(costs))
    chosen = (kept[best] > 0.5).sum(axis=1) if best in kept else np.zeros(uplink.users, dtype=np.int64)
    return Printed(best, costs, increases, chosen)


def _raw_descent(
    problem: RadioProblem, point: tuple[Array, Array], step: float, iterations: int
) -> tuple[tuple[Array, Array], float, int]:
    beta, power_w = point
    before, rises = np.inf, 0
    for _ in range(iterations):
        slope = gradient(problem, np.maximum(beta, 1e-9), power_w)
        rises += slope.cost > before
        if abs(before - slope.cost) <= 1e-9 * slope.cost:
            break
        before = slope.cost
        beta = np.clip(beta - step * slope.beta, 0.0, 1.0)
        power_w = np.clip(power_w - step * slope.power_w, problem.power_min_w, problem.power_max_w)
    return (beta, power_w), radio_cost(problem, np.maximum(beta, 1e-9), power_w), rises


def brute_force(problem: RadioProblem) -> Assignment:
    """The best of all assignments within the capacity, powers by descent from several starts.

    Raises:
        ValueError: too many assignments.
    """
    problem.check_capacity()
    senders = np.flatnonzero(problem.bits > 0.0)
    if problem.subchannels ** len(senders) > MOST_COMBINATIONS:
        raise ValueError(
            f"{problem.subchannels} ** {len(senders)} assignments are more than {MOST_COMBINATIONS}; take fewer users"
        )
    ratio = problem.power_max_w / problem.power_min_w
    best: Assignment | None = None
    for chosen in product(range(problem.subchannels), repeat=len(senders)):
        subchannel = np.full(problem.users, -1)
        subchannel[senders] = chosen
        crowd = np.zeros((problem.gain.shape[2], problem.subchannels), dtype=np.int64)
        np.add.at(crowd, (problem.ap[senders], np.array(chosen, dtype=np.int64)), 1)
        if crowd.max(initial=0) > problem.capacity:
            continue
        for level in (1.0, 0.75, 0.5, 0.0):
            start = np.full(problem.users, problem.power_min_w * ratio**level)
            tuned = tune_powers(problem, subchannel, np.clip(start, problem.power_min_w, problem.power_max_w))
            if best is None or tuned.cost < best.cost:
                best = tuned
    assert best is not None
    return best


def server_speed(delay_weight: float, energy_coefficient: float, *, speed_min: float, speed_max: float) -> float:
    """The speed x [FLOP/s] of least delay_weight / x + energy_coefficient x^2 per FLOP, within its limits.

    Raises:
        ValueError: numbers that are negative or not finite, or limits the wrong way round.
    """
    finite("delay_weight", delay_weight, ())
    finite("energy_coefficient", energy_coefficient, ())
    if positive("speed_min", speed_min) > positive("speed_max", speed_max):
        raise ValueError(f"speed_min={speed_min!r} is above speed_max={speed_max!r}")
    return float(server.best_speed(delay_weight, energy_coefficient, speed_min, speed_max))


def cores_speed(units: ArrayLike, unit_speed_flop_s: float, overhead: float = 0.05) -> Array:
    """lambda(r) c_min [FLOP/s] of a number of units: Amdahl's law from one unit on, proportional below.

    Raises:
        ValueError: numbers that are negative or not finite, or an overhead not in [0, 1).
    """
    given = finite("units", units, np.shape(units))
    _check_overhead(overhead)
    bent = np.where(given >= 1.0, given / (1.0 + overhead * (given - 1.0)), given)
    return bent * positive("unit_speed_flop_s", unit_speed_flop_s)


def cores_for(speed: float, unit_speed_flop_s: float, overhead: float = 0.05) -> float:
    """Units that have a speed [FLOP/s], the inverse of `cores_speed`; inf where no number is enough.

    Raises:
        ValueError: as in `cores_speed`.
    """
    finite("speed", speed, ())
    _check_overhead(overhead)
    return float(server.units_for(speed / positive("unit_speed_flop_s", unit_speed_flop_s), overhead))


def _check_overhead(overhead: float) -> None:
    if not 0.0 <= overhead < 1.0:
        raise ValueError(f"overhead={overhead!r} must be at least 0 and below 1")


def share_units(
    work_flop: ArrayLike, delay_weight: ArrayLike, energy_coefficient: ArrayLike, units: float, *, units_max: float,
    unit_speed_flop_s: float, overhead: float = 0.05,
) -> Shares:  # fmt: skip
    """One AP's units among its users, r_i in proportion to sqrt(w_i f_i), nobody above its own best.

    That is the minimiser of sum w_i f_i / (r_i c_min): exact but for the compensation and the energy, whose effect is
    what `gap` bounds.

    Args:
        work_flop: of each user (K,).
        delay_weight: cost per second (K,).
        energy_coefficient: cost of a FLOP at speed x over x^2 (K,).
        units: of the pool.
        units_max: of a user.
        unit_speed_flop_s: of a unit.
        overhead: of the compensation.

    Raises:
        ValueError: wrong shapes or impossible numbers.
    """
    users = np.size(work_flop)
    work = finite("work_flop", work_flop, (users,))
    weight = finite("delay_weight", delay_weight, (users,))
    energy = finite("energy_coefficient", energy_coefficient, (users,))
    _check_overhead(overhead)
    scratch = np.zeros((5, users))
    report = np.zeros(3)
    server.share_pool(
        np.zeros(users, dtype=np.int64), 0, work, weight, energy, positive("units", units),
        positive("units_max", units_max), positive("unit_speed_flop_s", unit_speed_flop_s), overhead,
        scratch[0], scratch[1], scratch[2], scratch[3], report,
    )  # fmt: skip
    return Shares(scratch[2], scratch[3], float(report[0]), float(report[1]))
