"""Slow reference solutions of Problems 3, 4 and 5 by CVXPY, to check and to time the exact solutions.

CVXPY gets each problem in units in which its numbers are of order one: backlogs over `worth`, the largest backlog (or
the cost of the first bit, if that is larger), shares over a `unit` of the resource, the objective over both. Its answer
is clipped to the feasible set. Weak duality certifies the clipped solution: for any resource price `mu >= 0`, the
multiplier of the total `S = sum x`, with its cost `c` and its capacity `C` (all divided by tau),

    c(S) - mu S - min_{0 <= T <= C} (c(T) - mu T)  +  sum_i (Q_i - mu)^+ (Q_i/tau - x_i) + (mu - Q_i)^+ x_i

bounds the distance to the optimum. Candidates for mu are the marginal cost of S and the backlog of each queue; the
smallest bound counts. It is relative to `sum_i Q_i x_i` or to the unit of the objective, whichever is larger: an
interior-point method leaves small shares where nothing is worth serving.

Needs the extra `reference`. The solvers raise ImportError where CVXPY is not installed, ValueError for invalid
arguments, and RuntimeError where Clarabel finds no solution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edge_envs.core.io.extras import CompiledForms, Form, load_cvxpy, solve_by_clarabel
from edge_envs.lyappo.solvers.api import Split, checked_gain, checked_queues
from edge_envs.lyappo.solvers.drift_plus_penalty import LN2, Floats, full_power_rate, power_for_rate

TOLERANCE = 1e-12
"""Tolerance of the interior-point method, in the problems' units; rounding can stop it earlier."""

STEPS = (0.99, 0.9, 0.7)
"""Values of Clarabel's `max_step_fraction`: its default, then those that help if it fails (1 in 20000 instances)."""

Solve = Callable[[Form, dict[str, Any]], Floats]
"""Solution of a form for the given numbers."""


def local_form(queue: Any, full: Any, cap: Any, cost: Any) -> tuple[Any, Any]:
    """Problem 3: min cost total^3 - queue x, subject to 0 <= x <= full, sum x <= total <= cap.

    Clarabel sometimes fails if the cost is that of the sum itself, and not of a total above it.
    """
    cp = load_cvxpy()
    x, total = cp.Variable(queue.size, nonneg=True), cp.Variable(nonneg=True)
    value = cost * cp.power(total, 3) - queue @ x
    return cp.Problem(cp.Minimize(value), [x <= full, cp.sum(x) <= total, total <= cap]), x


def transmit_form(queue: Any, full: Any, cap: Any, slope: Any, offset: Any) -> tuple[Any, Any]:
    """Problem 4: min exp(slope total + offset) - queue x, subject to 0 <= x <= full, sum x <= total <= cap.

    With the cost's factor in the exponent, the exponent at the optimum is of order one for any channel.
    """
    cp = load_cvxpy()
    x, total = cp.Variable(queue.size, nonneg=True), cp.Variable(nonneg=True)
    value = cp.exp(slope * total + offset) - queue @ x
    return cp.Problem(cp.Minimize(value), [x <= full, cp.sum(x) <= total, total <= cap]), x


def edge_form(queue: Any, full: Any, cap: Any) -> tuple[Any, Any]:
    """Problem 5: max queue x, subject to 0 <= x <= full, sum x <= cap."""
    cp = load_cvxpy()
    x = cp.Variable(queue.size, nonneg=True)
    return cp.Problem(cp.Maximize(queue @ x), [x <= full, cp.sum(x) <= cap]), x


def optimum(problem: Any, x: Any) -> Floats:
    """Solve a CVXPY problem with Clarabel.

    Raises:
        RuntimeError: the solver gave no solution.
    """
    solve_by_clarabel(problem, STEPS, **dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), TOLERANCE))
    return np.asarray(x.value, dtype=np.float64)


def rebuild(form: Form, numbers: dict[str, Any]) -> Floats:
    """Solve a form as a problem built for these numbers only."""
    return optimum(*form(**numbers))


def solve_local_cvxpy(
    backlog_cycles: ArrayLike, *, slot_s: float, weight: float, energy_coefficient: float, frequency_max_hz: float,
    solve: Solve = rebuild,
) -> Split:  # fmt: skip
    """Problem 3 of one device by CVXPY; see `api.solve_local`."""
    queues = checked_queues(
        "backlog_cycles", backlog_cycles, slot_s=slot_s, weight=weight, energy_coefficient=energy_coefficient,
        frequency_max_hz=frequency_max_hz,
    )  # fmt: skip
    scale = weight * energy_coefficient
    worth = float(queues.max())
    unit = min(frequency_max_hz, float(queues.sum()) / slot_s, math.sqrt(worth / (3.0 * scale)))
    if unit <= 0.0:
        return Split(np.zeros_like(queues), 0.0, worth, 0.0)
    return scaled(
        solve, local_form, queues, slot_s, frequency_max_hz, unit, worth, {"cost": scale * unit * unit / worth},
        cost=lambda total: scale * total**3,
        marginal=lambda total: 3.0 * scale * total * total,
        best_total=lambda price: math.sqrt(price / (3.0 * scale)),
    )  # fmt: skip


def solve_transmit_cvxpy(
    backlog_bits: ArrayLike, *, slot_s: float, weight: float, gain: float, power_max_w: float, bandwidth_hz: float,
    noise_w_per_hz: float, solve: Solve = rebuild,
) -> Split:  # fmt: skip
    """Problem 4 of one device by CVXPY; see `api.solve_transmit`."""
    queues = checked_queues(
        "backlog_bits", backlog_bits, slot_s=slot_s, weight=weight, power_max_w=power_max_w,
        bandwidth_hz=bandwidth_hz, noise_w_per_hz=noise_w_per_hz,
    )  # fmt: skip
    gain = float(checked_gain(gain))
    rate_max = full_power_rate(gain, power_max_w, bandwidth_hz, noise_w_per_hz)
    largest = float(queues.max())
    unit = min(bandwidth_hz, float(queues.sum()) / slot_s, rate_max)
    first_bit = weight * noise_w_per_hz * LN2 / gain if gain > 0.0 else math.inf
    if unit <= 0.0 or first_bit == math.inf:
        return Split(np.zeros_like(queues), 0.0, largest, 0.0)
    slope = LN2 * unit / bandwidth_hz
    worth = max(largest, first_bit)
    split = scaled(
        solve, transmit_form, queues, slot_s, rate_max, unit, worth,
        {"slope": slope, "offset": math.log(first_bit / worth / slope)},
        cost=lambda total: weight * power_for_rate(total, gain, bandwidth_hz, noise_w_per_hz),
        marginal=lambda total: first_bit * 2.0 ** (total / bandwidth_hz),
        best_total=lambda price: bandwidth_hz * math.log2(max(price / first_bit, 1.0)),
    )  # fmt: skip
    power = power_for_rate(split.total, gain, bandwidth_hz, noise_w_per_hz)
    return replace(split, power_w=min(power_max_w, power))


def solve_edge_cvxpy(
    backlog_cycles: ArrayLike, *, slot_s: float, frequency_max_hz: float, solve: Solve = rebuild
) -> Split:
    """Problem 5 by CVXPY; see `api.solve_edge`."""
    queues = checked_queues("backlog_cycles", backlog_cycles, slot_s=slot_s, frequency_max_hz=frequency_max_hz)
    worth = float(queues.max())
    unit = min(frequency_max_hz, float(queues.sum()) / slot_s)
    if unit <= 0.0:
        return Split(np.zeros_like(queues), 0.0, worth, 0.0)
    return scaled(
        solve, edge_form, queues, slot_s, frequency_max_hz, unit, worth, {},
        cost=lambda total: 0.0,
        marginal=lambda total: 0.0,
        best_total=lambda price: frequency_max_hz if price > 0.0 else 0.0,
    )  # fmt: skip


def scaled(
    solve: Solve, form: Form, queues: Floats, slot_s: float, cap: float, unit: float, worth: float,
    numbers: dict[str, float], *, cost: Callable[[float], float], marginal: Callable[[float], float],
    best_total: Callable[[float], float],
) -> Split:  # fmt: skip
    """Solve a form in units of the resource and of `worth`; the shares are made feasible and certified.

    The functions give the cost of a total, its derivative, and the total at which the derivative equals a price.
    """
    full = queues / slot_s
    shared = {"queue": queues / worth, "full": np.minimum(full, cap) / unit, "cap": cap / unit}
    share: Floats = np.clip(solve(form, {**shared, **numbers}) * unit, 0.0, full)
    if share.sum() > cap:
        share = share * (cap / share.sum())
    total = float(share.sum())
    best = (0.0, math.inf)
    for price in (marginal(total), *queues.tolist()):
        other = min(cap, best_total(price))
        left = np.maximum(queues - price, 0.0) @ (full - share) + np.maximum(price - queues, 0.0) @ share
        bound = cost(total) - cost(other) - price * (total - other) + float(left)
        if bound < best[1]:
            best = price, bound
    return Split(share, total, best[0], max(best[1], 0.0) / max(float(queues @ share), worth * unit))


class CompiledReference:
    """Solves by CVXPY with problems that are compiled once per number of queues.

    The methods have the interface of the functions above without the time that CVXPY needs to build a problem.

    Raises:
        ImportError: CVXPY is not installed.
    """

    def __init__(self) -> None:
        self._forms = CompiledForms()
        self.solve_local = partial(solve_local_cvxpy, solve=self._solve)
        self.solve_transmit = partial(solve_transmit_cvxpy, solve=self._solve)
        self.solve_edge = partial(solve_edge_cvxpy, solve=self._solve)

    def _solve(self, form: Form, numbers: dict[str, Any]) -> Floats:
        return optimum(*self._forms.build(form, numbers, lambda name: {"nonneg": name != "offset"}))
