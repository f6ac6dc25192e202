"""What the radio's solvers return, and the kernels' memory turned into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.eccnoma import bands, certificates, relaxation
from edge_envs.eccnoma.bands import Radio
from edge_envs.eccnoma.problems import Array, RadioProblem, finite
from edge_envs.eccnoma.relaxation import Relaxation, allocate_relaxation


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
    assignment_gap: float
    """cost over bound, minus 1; inf if a power or a subchannel is not allowed"""
    power_gap: float
    """at most this part of the cost could be saved by other powers on the same subchannels; inf likewise"""
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
    bound: float
    """no shares and powers cost less: everybody alone on the best subchannel"""
    gap: float
    """Frank-Wolfe gap of the shares over the cost: 0 at a stationary point; says nothing about better ones"""
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


def relaxed_memory(
    problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike, iterations: int = 0
) -> tuple[Radio, Relaxation]:
    """The kernels' memory with the problem, shares (U, M) and powers (U,) in it, and its users in their order.

    Raises:
        ValueError: wrong shapes, or numbers that are negative or not finite.
    """
    w = problem.radio()
    x = allocate_relaxation(problem.users, problem.subchannels, problem.gain.shape[2], iterations)
    shares = finite("beta", beta, (problem.users, problem.subchannels))
    x.beta[:] = np.where(w.active[:, None], shares, 0.0).T
    x.power_w[:] = np.where(w.active, finite("power_w", power_w, (problem.users,)), 0.0)
    relaxation.order_users(w, x, problem.gain[None], 0)
    return w, x


def assignment_of(problem: RadioProblem, w: Radio) -> Assignment:
    """What the kernels left in the radio's memory, and its certificates."""
    certificates.certify_radio(problem.link, w, problem.gain[None], 0, problem.subchannels)
    report = w.report
    return Assignment(
        subchannel=w.band.copy(),
        power_w=w.power_w.copy(),
        rate_bit_s=w.rate_bit_s.copy(),
        cost=float(report[bands.COST]),
        start_cost=float(report[bands.START_COST]),
        bound=float(report[bands.BOUND]),
        assignment_gap=float(report[bands.ASSIGNMENT_GAP]),
        power_gap=float(report[bands.POWER_GAP]),
        residual=float(report[bands.RESIDUAL]),
        sweeps=int(report[bands.SWEEPS]),
        moves=int(report[bands.MOVES]),
        overflow=int(report[bands.OVERFLOW]),
    )
