"""Li-GD: the relaxed descent, its rounding, Algorithm 1 over the cuts, and Algorithm 1 as printed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from edge_envs.core.validation import finite_array, positive_number, whole_number
from edge_envs.eccnoma.solvers import assignment, band_powers, certificates, relaxation
from edge_envs.eccnoma.solvers.problem import (
    Array,
    Assignment,
    Gradient,
    LiGD,
    Printed,
    RadioProblem,
    Relaxed,
    assignment_of,
    relaxed_memory,
)
from edge_envs.eccnoma.solvers.radio import RADIO_REPORT


def rates(problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike) -> Array:
    """Rates (6), (9) of shares `beta` (U, M) and powers (U,) [bit/s], 0 for silent users.

    Raises:
        ValueError: wrong shapes, or numbers that are negative or not finite.
    """
    r, x = relaxed_memory(problem, beta, power_w)
    relaxation.relaxed_cost(problem.link, r, x, problem.gain[None], 0, x.beta)
    return np.where(r.active, x.rate_bit_s, 0.0)


def radio_cost(problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike) -> float:
    """The part of (22) of one direction: sum of (w_T + w_E p) bits / R.

    Raises:
        ValueError: as in `rates`.
    """
    r, x = relaxed_memory(problem, beta, power_w)
    return float(relaxation.relaxed_cost(problem.link, r, x, problem.gain[None], 0, x.beta))


def gradient(problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike) -> Gradient:
    """The cost and its derivatives in shares and powers, corrected from (23)-(30); 0 for silent users.

    Raises:
        ValueError: as in `rates`.
    """
    r, x = relaxed_memory(problem, beta, power_w)
    cost = relaxation.relaxed_cost(problem.link, r, x, problem.gain[None], 0, x.beta)
    relaxation.relaxed_slope(problem.link, r, x, problem.gain[None], 0)
    return Gradient(float(cost), np.ascontiguousarray(x.beta_slope.T), x.power_slope)


def relax(
    problem: RadioProblem, *, start: tuple[ArrayLike, ArrayLike] | None = None, tolerance: float = 1e-5,
    iterations: int = 500,
) -> Relaxed:  # fmt: skip
    """Mirror descent over relaxed shares and log powers: the inner loop of Li-GD.

    Args:
        problem: data and links.
        start: shares (U, M) and powers (U,) to start from (None: equal shares, full power).
        tolerance: relative decrease of the cost at which the descent stops.
        iterations: largest number of steps.

    Raises:
        ValueError: a start outside the simplex or the limits of the powers, or an impossible tolerance or number.
    """
    positive_number("tolerance", tolerance)
    whole_number("iterations", iterations, 0)
    if start is None:
        equal = np.full((problem.users, problem.subchannels), 1.0 / problem.subchannels)
        start = equal, np.full(problem.users, problem.power_max_w)
    beta, power_w = start
    r, x = relaxed_memory(problem, beta, power_w, iterations)
    active = r.active
    if (np.abs(x.beta[:, active].sum(axis=0) - 1.0) > 1e-6).any():
        worst = np.abs(x.beta[:, active].sum(axis=0) - 1.0).max()
        raise ValueError(f"start: the shares of a user that sends differ from 1 by {worst:.3g}; make them sum to 1")
    low, high = problem.power_min_w * (1.0 - 1e-12), problem.power_max_w * (1.0 + 1e-12)
    if ((x.power_w[active] < low) | (x.power_w[active] > high)).any():
        raise ValueError(
            f"start: powers from {x.power_w[active].min():.3g} to {x.power_w[active].max():.3g} W; keep them between "
            f"{problem.power_min_w} and {problem.power_max_w}"
        )
    span = math.log(problem.power_max_w / problem.power_min_w)
    if span > 0.0:
        x.level[active] = np.clip(np.log(x.power_w[active] / problem.power_min_w) / span, 0.0, 1.0)
    x.beta[:, active] = np.maximum(x.beta[:, active], relaxation.SHARE_MIN)
    x.beta[:, active] /= x.beta[:, active].sum(axis=0)
    relaxation.relax(problem.link, r, x, problem.gain[None], 0, tolerance, iterations)
    certificates.bound_cost(problem.link, r, problem.gain[None], 0, problem.subchannels)
    cost, start_cost, gap, residual, done = x.report.tolist()
    return Relaxed(
        beta=np.ascontiguousarray(np.where(active, x.beta, 0.0).T), power_w=np.where(active, x.power_w, 0.0), cost=cost,
        start_cost=start_cost, bound=float(r.report[RADIO_REPORT.bound]), gap=gap, residual=residual,
        iterations=int(done), history=x.history[: int(done) + 1].copy(),
    )  # fmt: skip


def round_relaxed(problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike, *, spread: bool = False) -> Assignment:
    """Round relaxed shares (U, M) to one subchannel per user within the capacity, then optimise the powers.

    Raises:
        ValueError: wrong shapes, or more users of an AP than its subchannels hold.
    """
    if not spread:
        problem.check_capacity()
    r, x = relaxed_memory(problem, beta, power_w)
    span = math.log(problem.power_max_w / problem.power_min_w)
    with np.errstate(divide="ignore"):
        levels = np.log(x.power_w / problem.power_min_w) / span if span > 0.0 else np.ones(problem.users)
    x.level[:] = np.clip(levels, 0.0, 1.0)
    assignment.place_by_relaxation(
        problem.link, r, problem.gain[None], 0, x.beta, x.level, band_powers.TIGHT_ITERATIONS
    )
    return assignment_of(problem, r)


def _cuts(
    uplink: RadioProblem, downlink: RadioProblem, bits: ArrayLike, result_bits: ArrayLike, fixed_cost: ArrayLike
) -> tuple[list[tuple[RadioProblem, RadioProblem]], Array]:
    fixed = np.asarray(fixed_cost, dtype=np.float64)
    if fixed.ndim != 1 or len(fixed) == 0:
        raise ValueError(f"fixed_cost has shape {fixed.shape}; give one number per cut")
    if downlink.users != uplink.users:
        raise ValueError(f"downlink has {downlink.users} users and uplink {uplink.users}; give both the same")
    if not np.isfinite(fixed).all():
        raise ValueError(f"fixed_cost contains {fixed[~np.isfinite(fixed)][0]}; give finite numbers")
    sent = finite_array("bits", bits, (uplink.users, len(fixed)))
    back = finite_array("result_bits", result_bits, (uplink.users,))
    pairs = []
    for j in range(len(fixed)):
        active = sent[:, j] > 0.0
        pairs.append((replace(uplink, bits=sent[:, j]), replace(downlink, bits=np.where(active, back, 0.0))))
    return pairs, fixed


def li_gd(
    uplink: RadioProblem, downlink: RadioProblem, bits: ArrayLike, result_bits: ArrayLike, fixed_cost: ArrayLike, *,
    warm: bool = True, tolerance: float = 1e-5, iterations: int = 500,
) -> LiGD:  # fmt: skip
    """Algorithm 1, Li-GD, over common cuts 0, 1, ...: the descent of each cut starts from the result of the one before.

    Args:
        uplink: links and weights; its bits are not used.
        downlink: links and weights of the results; its bits are not used.
        bits: data to send by cut (U, L), 0 if a user sends nothing.
        result_bits: data sent back (U,).
        fixed_cost: cost of computing on devices and server, by cut (L,).
        warm: if False, every descent starts from the initial point: plain gradient descent, for comparison.
        tolerance: relative decrease of the cost at which a descent stops.
        iterations: largest number of steps of a descent.

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
    """The start with equal shares and full power for users that were silent before."""
    if start is None:
        return None
    beta, power_w = start
    new = power_w == 0.0
    return np.where(new[:, None], 1.0 / problem.subchannels, beta), np.where(new, problem.power_max_w, power_w)


def li_gd_printed(
    uplink: RadioProblem, downlink: RadioProblem, bits: ArrayLike, result_bits: ArrayLike, fixed_cost: ArrayLike, *,
    step: float = 0.1, iterations: int = 2000,
) -> Printed:  # fmt: skip
    """Algorithm 1 as printed: cuts from 1 on, a constant step in the original variables, and rounding at 0.5.

    Shares are limited to [0, 1], but need not sum to 1. For the arguments, see `li_gd`.

    Raises:
        ValueError: wrong shapes or impossible numbers.
    """
    positive_number("step", step)
    whole_number("iterations", iterations, 1)
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
