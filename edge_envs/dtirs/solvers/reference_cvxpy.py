"""Reference solutions of the convex problems of DTIRS with CVXPY: slow, to check and to time the exact solvers.

Powers, the access point's pool and the relaxed phases are convex as the paper states them. All numbers are scaled to
order one: powers and speeds by a rough estimate of the solution (which sets units only and does not affect the
optimum), costs by their values at the estimate, the quadratic form by its mean diagonal. Solutions are feasible and
optimal to the solvers' tolerances, about 1e-8 of the objective. If channels or works within one problem differ by many
decades, Clarabel returns a less exact solution or fails.

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
"""Residuals at which SCS may stop; the optimum of (43) is then exact to about 1e-7."""
STEPS = (0.99, 0.9)
"""Clarabel's `max_step_fraction`: its default, then a value that sometimes helps where the default fails."""
GUESS_STEPS = 30
"""Iterations of the fixed-point iteration for the units of the powers."""
LOW_SNR = 1e-4
"""Up to this SNR, 1/x + 1/2 replaces 1 / ln(1 + x), which differs from it by a relative x^2/12."""


def _solve(problem: Any, solver: Solver) -> None:
    """Solve a CVXPY problem in place.

    Raises:
        RuntimeError: the solver found no solution; the message has its status.
    """
    attempts = [{"eps": SCS_TOLERANCE}] if solver == "SCS" else [{"max_step_fraction": step} for step in STEPS]
    status = ""
    for options in attempts:
        with warnings.catch_warnings():
            # Callers compare the solution to the exact one.
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            try:
                problem.solve(solver=solver, **options)
            except load_cvxpy().error.SolverError as error:
                status = str(error)
                continue
        if problem.status in ("optimal", "optimal_inaccurate"):
            return
        status = problem.status
    raise RuntimeError(f"{solver} found no solution: {status}")


def _power_units(gain_per_w: Array, unit_delay_s: Array, power_total_w: float) -> Array:
    """Powers that sum to the budget, within a small factor of the optimum without limits per user."""
    power = np.full(len(gain_per_w), power_total_w / len(gain_per_w))
    for _ in range(GUESS_STEPS):
        snr = gain_per_w * power
        # Marginal values scale with power^-2 at low SNR, and with about power^-1 at high SNR.
        log_value = np.log(unit_delay_s * gain_per_w) - np.log1p(snr) - 2.0 * np.log(np.log1p(snr))
        log_power = np.log(power) + 0.5 * log_value
        power = np.exp(log_power - log_power.max())
        power *= power_total_w / power.sum()
    return power


def power(gain_per_w: Array, unit_delay_s: Array, power_total_w: float, power_max_w: float) -> Array:
    """Downlink powers of the access point, (47)-(49), by Clarabel.

    Minimises the sum of unit_delay_s / ln(1 + gain_per_w power) within a budget and a limit per user.

    Args:
        gain_per_w: SNR per watt of each user, shape (K,) [1/W].
        unit_delay_s: delay of each user at 1 nat/s/Hz, shape (K,) [s]; users with 0 get no power.
        power_total_w: budget [W].
        power_max_w: limit of one user [W]; may be infinite.

    Returns:
        Powers, shape (K,) [W].

    Raises:
        ImportError: CVXPY is not installed.
        RuntimeError: the solver failed.
    """
    cp = load_cvxpy()
    busy = unit_delay_s > 0.0
    found = np.zeros(len(gain_per_w))
    if not busy.any():
        return found
    gain, work = gain_per_w[busy], unit_delay_s[busy]
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
        # ln(1 + snr p) - ln(1 + snr), written without a number as large as an SNR.
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
    """Boosts of twins and speeds of back ends in one pool of the access point, by Clarabel; (32) without back ends.

    Minimises the sum of front_flop / (speed_flop_s + twin_boost) over the twins plus that of back_flop / back_end.

    Args:
        front_flop: work before the cut of each user, shape (K,) [FLOP].
        speed_flop_s: speed of each user's device, shape (K,) [FLOP/s].
        twin: who computes on a twin, shape (K,).
        capacity_flop_s: limit of the sum of boosts and back-end speeds [FLOP/s].
        back_flop: work behind the cut of each user, shape (K,) [FLOP]; zeros for the paper's problem.

    Returns:
        Boosts of the twins and speeds of the back ends, shapes (K,) [FLOP/s].

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
    # A boost adds to the speed of the device; a back end has no other speed.
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
    """Relaxed phases of the IRS, the semidefinite program (43).

    Maximises tr(QV) over positive semidefinite V with unit diagonal. The dual problem, min sum y subject to diag(y) - Q
    positive semidefinite, has N variables instead of N^2; SCS solves it several times faster from N = 32 on. V is its
    multiplier.

    Args:
        quadratic: Q, complex Hermitian, shape (N, N), any unit.
        solver: SCS (first order) or CLARABEL (interior point: more exact, minutes beyond N = 64).
        form: which of the two problems to solve.

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
