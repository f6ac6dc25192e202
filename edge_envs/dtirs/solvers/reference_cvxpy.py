"""Slow reference solutions of DTIRS's convex parts: CVXPY, to check and to time the exact solvers.

Powers, the pool of the access point and the relaxed phases are convex as the paper states them and go to CVXPY as
such. All of them get numbers of order one: powers and speeds over a rough guess of what is needed (the guess decides
about units only, never about the optimum), costs over those at the guess, the quadratic form over its mean diagonal.
Answers are feasible and optimal to the solvers' own tolerances, about 1e-8 of the objective. Where channels or work
are many decades apart within one problem, Clarabel stops short of them or fails.

Needs the extra `reference`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.io.extras import load_cvxpy

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex128]
Solver = Literal["SCS", "CLARABEL"]
Form = Literal["primal", "dual"]

SCS_TOLERANCE = 1e-6
"""Residuals at which SCS may stop; with them the optimum of (43) comes out to some 1e-7 of its size."""
STEPS = (0.99, 0.9)
"""Clarabel's `max_step_fraction`: its default, and what helps at times where it fails."""
GUESS_STEPS = 30
"""Rounds of the fixed-point iteration that finds in which units to count the powers."""
LOW_SNR = 1e-4
"""Up to this SNR 1 / ln(1 + x) is 1/x + 1/2 but for x^2/12 of it: there the solver gets no logarithm."""


def _solve(problem: Any, solver: Solver) -> None:
    """Solve a CVXPY problem in place.

    Raises:
        RuntimeError: the solver gave no solution; says what it said.
    """
    attempts = [{"eps": SCS_TOLERANCE}] if solver == "SCS" else [{"max_step_fraction": step} for step in STEPS]
    said = ""
    for options in attempts:
        with warnings.catch_warnings():
            # How far short of the tolerance an answer may be, the comparison tells.
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            try:
                problem.solve(solver=solver, **options)
            except load_cvxpy().error.SolverError as error:
                said = str(error)
                continue
        if problem.status in ("optimal", "optimal_inaccurate"):
            return
        said = problem.status
    raise RuntimeError(f"{solver} found no solution: {said}")


def _power_units(gain_per_w: Array, nat_seconds: Array, power_total_w: float) -> Array:
    """Powers that add up to the budget and are within a small factor of what a problem without caps would get."""
    power = np.full(len(gain_per_w), power_total_w / len(gain_per_w))
    for _ in range(GUESS_STEPS):
        snr = gain_per_w * power
        # The user's marginal value goes with the power to minus two at low SNR and to about minus one at high SNR.
        log_value = np.log(nat_seconds * gain_per_w) - np.log1p(snr) - 2.0 * np.log(np.log1p(snr))
        log_power = np.log(power) + 0.5 * log_value
        power = np.exp(log_power - log_power.max())
        power *= power_total_w / power.sum()
    return power


def power(gain_per_w: Array, nat_seconds: Array, power_total_w: float, power_max_w: float) -> Array:
    """Downlink powers of the access point, (47)-(49), by Clarabel.

    Minimises the sum of nat_seconds / ln(1 + gain_per_w power) within a budget and a limit per user.

    Args:
        gain_per_w: SNR per watt of each user, shape (K,) [1/W].
        nat_seconds: data over bandwidth of each user, shape (K,) [nat s], so that a user's delay is this over ln(1 +
            SNR); a user without any gets no power.
        power_total_w: budget [W].
        power_max_w: limit of one user [W], may be infinite.

    Returns:
        Powers, shape (K,) [W].

    Raises:
        ImportError: CVXPY is not installed.
        RuntimeError: the solver failed.
    """
    cp = load_cvxpy()
    busy = nat_seconds > 0.0
    found = np.zeros(len(gain_per_w))
    if not busy.any():
        return found
    gain, work = gain_per_w[busy], nat_seconds[busy]
    unit_w = _power_units(gain, work, min(power_total_w, power_max_w * len(gain)))
    snr = gain * unit_w
    level = np.log1p(snr)
    cost = work / level
    weight = cost / cost.sum()
    share = cp.Variable(len(gain), pos=True)
    low = snr * min(power_total_w, power_max_w) / unit_w < LOW_SNR
    terms = []
    if low.any():
        terms.append((weight * level / snr)[low] @ cp.inv_pos(share[np.flatnonzero(low)]))
    if not low.all():
        high = ~low
        # ln(1 + snr p) - ln(1 + snr), with no number as large as an SNR.
        floor = 1.0 / (1.0 + snr[high])
        above = cp.log(floor + cp.multiply(1.0 - floor, share[np.flatnonzero(high)]))
        terms.append(weight[high] @ cp.inv_pos(1.0 + cp.multiply(1.0 / level[high], above)))
    limits = [(unit_w / power_total_w) @ share <= 1.0]
    if math.isfinite(power_max_w):
        limits.append(share <= power_max_w / unit_w)
    _solve(cp.Problem(cp.Minimize(sum(terms)), limits), "CLARABEL")
    found[busy] = share.value * unit_w
    return found


def pool(
    front_flop: Array, speed_flop_s: Array, twin: BoolArray, capacity_flop_s: float, back_flop: Array
) -> tuple[Array, Array]:
    """Twins' and back ends' speeds out of one pool of the access point, by Clarabel; (32) if there are no back ends.

    Minimises the sum of front_flop / (speed_flop_s + twin_boost) over the twins plus that of back_flop / back_end.

    Args:
        front_flop: work before the cut of each user, shape (K,) [FLOP].
        speed_flop_s: speed of each user's device, shape (K,) [FLOP/s].
        twin: whose front work a twin does, shape (K,).
        capacity_flop_s: what the twins' extra speeds and the back ends' speeds may add up to [FLOP/s].
        back_flop: work behind the cut of each user, shape (K,) [FLOP]; zeros for the paper's own problem.

    Returns:
        The twins' extra speeds and the back ends' speeds, shapes (K,) [FLOP/s].

    Raises:
        ImportError: CVXPY is not installed.
        RuntimeError: the solver failed.
    """
    cp = load_cvxpy()
    boost, back_end = np.zeros(len(front_flop)), np.zeros(len(front_flop))
    twins, backs = np.flatnonzero(twin & (front_flop > 0.0)), np.flatnonzero(back_flop > 0.0)
    if not twins.size + backs.size:
        return boost, back_end
    roots = np.sqrt(np.concatenate((front_flop[twins], back_flop[backs])))
    unit = capacity_flop_s * roots / roots.sum()
    # A twin goes on from its device's speed, a back end from none.
    start = np.concatenate((speed_flop_s[twins], np.zeros(backs.size)))
    weight = roots**2 / (start + unit)
    share = cp.Variable(len(unit), nonneg=True)
    speed = cp.multiply(unit / (start + unit), share) + start / (start + unit)
    limits = [(unit / capacity_flop_s) @ share <= 1.0]
    _solve(cp.Problem(cp.Minimize((weight / weight.sum()) @ cp.inv_pos(speed)), limits), "CLARABEL")
    found = np.maximum(share.value, 0.0) * unit
    boost[twins], back_end[backs] = found[: twins.size], found[twins.size :]
    return boost, back_end


def phases(quadratic: ComplexArray, solver: Solver = "SCS", form: Form = "primal") -> ComplexArray:
    """Relaxed phases of the reflecting surface, the semidefinite program (43).

    Maximises tr(QV) over positive semidefinite V with unit diagonal. The dual, min sum y subject to diag(y) - Q
    positive semidefinite, has N variables instead of N^2, and SCS solves it several times faster from N = 32 on; V is
    its multiplier.

    Args:
        quadratic: Q, complex Hermitian, shape (N, N), any unit.
        solver: SCS (first order) or CLARABEL (interior point: more exact, minutes beyond N = 64).
        form: which of the two to hand over.

    Returns:
        V, complex Hermitian, shape (N, N); its constraints hold to the solver's tolerance.

    Raises:
        ImportError: CVXPY is not installed.
        RuntimeError: the solver failed.
    """
    cp = load_cvxpy()
    size = len(quadratic)
    if size == 1:
        return np.ones((1, 1), dtype=np.complex128)
    scale = float(np.trace(quadratic).real) / size
    scaled = quadratic / (scale if scale > 0.0 else 1.0)
    if form == "primal":
        relaxed = cp.Variable((size, size), hermitian=True)
        value = cp.real(cp.trace(scaled @ relaxed)) / size
        _solve(cp.Problem(cp.Maximize(value), [cp.diag(relaxed) == 1.0, relaxed >> 0]), solver)
        return np.asarray(relaxed.value, dtype=np.complex128)
    bound = cp.Variable(size)
    slack = cp.diag(bound) - scaled >> 0
    _solve(cp.Problem(cp.Minimize(cp.sum(bound)), [slack]), solver)
    return np.asarray(slack.dual_value, dtype=np.complex128)
