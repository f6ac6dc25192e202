"""Radio problems with checked arguments, and the results of their solvers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.core.validation import finite_array, index_array, one_of, positive_number, whole_number
from edge_envs.eccnoma.solvers import certificates, relaxation
from edge_envs.eccnoma.solvers.radio import RADIO_REPORT, Direction, Link, Radio, allocate_radio, seats_max
from edge_envs.eccnoma.solvers.relaxation import Relaxation, allocate_relaxation

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RadioProblem:
    """Data to send in one direction and the links that carry it: U users, N APs, M subchannels.

    Raises:
        ValueError: wrong shapes or impossible numbers.
    """

    gain: Array
    """power gain of every link, (M, U, N)"""
    ap: NDArray[np.int64]
    """serving AP, (U,)"""
    bits: Array
    """data to send [bit], 0 for a silent user, (U,)"""
    delay_weight: Array
    """cost per second of sending [1/s], (U,)"""
    energy_weight: Array
    """cost per joule [1/J], (U,)"""
    bandwidth_hz: float
    """of a subchannel [Hz]"""
    noise_w: float
    """on a subchannel [W]"""
    power_min_w: float
    """smallest power of a signal [W]"""
    power_max_w: float
    """largest power of a signal [W]"""
    capacity: int
    """largest number of users of an AP on a subchannel"""
    direction: str = Direction.UPLINK
    """interference: (5) `uplink`; (8) `downlink`, through the receiver's channel; (8) as printed, `downlink-printed`"""

    def __post_init__(self) -> None:
        """Check and convert all fields."""
        gain = finite_array("gain", self.gain, (None, None, None), strict=True)
        if gain.size == 0:
            raise ValueError(f"gain has shape {gain.shape}; give at least one subchannel, user and AP")
        users, aps = gain.shape[1:]
        values: dict[str, Any] = {"gain": gain, "ap": index_array("ap", self.ap, users, aps)}
        for name in ("bits", "delay_weight", "energy_weight"):
            values[name] = finite_array(name, getattr(self, name), (users,))
        for name in ("bandwidth_hz", "noise_w", "power_min_w", "power_max_w"):
            values[name] = positive_number(name, getattr(self, name))
        values["capacity"] = whole_number("capacity", self.capacity, 1)
        if values["power_min_w"] > values["power_max_w"]:
            raise ValueError(f"power_min_w={self.power_min_w!r} is above power_max_w={self.power_max_w!r}; swap them")
        one_of("direction", self.direction, tuple(Direction))
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def users(self) -> int:
        """Number of users U."""
        return int(self.gain.shape[1])

    @property
    def subchannels(self) -> int:
        """Number of subchannels M."""
        return int(self.gain.shape[0])

    @property
    def link(self) -> Link:
        """Constants of the direction, for the kernels."""
        direction = list(Direction).index(Direction(self.direction))
        return Link(direction, self.bandwidth_hz, self.noise_w, self.power_min_w, self.power_max_w, self.capacity)

    def radio(self, candidates: int = 0) -> Radio:
        """Memory of the kernels, with the costs of this problem."""
        aps = self.gain.shape[2]
        seats = seats_max(self.users, aps, self.subchannels, self.capacity)
        memory = allocate_radio(self.users, aps, self.subchannels, seats, candidates)
        memory.ap[:] = self.ap
        memory.delay_cost[:] = self.delay_weight * self.bits
        memory.energy_cost[:] = self.energy_weight * self.bits
        memory.active[:] = self.bits > 0.0
        return memory

    def check_capacity(self, fix: str = "use spread=True to put more users on a subchannel") -> None:
        """Raise ValueError if an AP has more users that send than its subchannels hold; `fix` ends the message."""
        senders = np.bincount(self.ap[self.bits > 0.0], minlength=self.gain.shape[2])
        for ap, count in enumerate(senders.tolist()):
            if count > self.capacity * self.subchannels:
                raise ValueError(
                    f"AP {ap} has {count} users that send, but room for {self.capacity * self.subchannels} "
                    f"(capacity={self.capacity} on each of {self.subchannels} subchannels); {fix}"
                )


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
    """cost after the first placement"""
    bound: float
    """lower bound on the cost of all assignments and powers: every user alone on its best subchannel"""
    assignment_gap: float
    """cost over bound, minus 1; inf if a power or a subchannel is outside its limits"""
    power_gap: float
    """upper bound on the part of the cost that other powers on the same subchannels can save; inf as above"""
    residual: float
    """largest slope of a subchannel's cost in a log power that can still move, relative to that cost"""
    sweeps: int
    moves: int
    overflow: int
    """number of users above the capacity"""


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
    """lower bound on the cost of all shares and powers: every user alone on its best subchannel"""
    gap: float
    """Frank-Wolfe gap of the shares relative to the cost: 0 at a stationary point, which need not be the optimum"""
    residual: float
    """largest slope in a log power that can still move, relative to the cost"""
    iterations: int
    history: Array
    """cost before the first step and after each"""


@dataclass(frozen=True, slots=True, eq=False)
class LiGD:
    """Result of Algorithm 1 (Li-GD)."""

    best: int
    """cut with the smallest cost"""
    costs: Array
    """(L,)"""
    iterations: NDArray[np.int64]
    """(L,) descent steps of both directions together"""
    uplink: list[Relaxed | None]
    """solution per cut, None if no user sends"""
    downlink: list[Relaxed | None]


@dataclass(frozen=True, slots=True, eq=False)
class Printed:
    """Result of Algorithm 1 as printed."""

    best: int
    """cut with the smallest cost, never 0"""
    costs: Array
    """(L,) costs of the relaxed shares; inf at cut 0, which the algorithm leaves out"""
    increases: NDArray[np.int64]
    """(L,) number of steps that increased the cost"""
    chosen_per_user: NDArray[np.int64]
    """(U,) number of subchannels with a share above 0.5 at the best cut; rounding needs exactly 1"""


def relaxed_memory(
    problem: RadioProblem, beta: ArrayLike, power_w: ArrayLike, iterations: int = 0
) -> tuple[Radio, Relaxation]:
    """Memory of the kernels with a problem, shares (U, M) and powers (U,), and with sorted users.

    Raises:
        ValueError: wrong shapes, or numbers that are negative or not finite.
    """
    r = problem.radio()
    x = allocate_relaxation(problem.users, problem.subchannels, problem.gain.shape[2], iterations)
    shares = finite_array("beta", beta, (problem.users, problem.subchannels))
    x.beta[:] = np.where(r.active[:, None], shares, 0.0).T
    x.power_w[:] = np.where(r.active, finite_array("power_w", power_w, (problem.users,)), 0.0)
    relaxation.order_users(r, x, problem.gain[None], 0)
    return r, x


def assignment_of(problem: RadioProblem, r: Radio) -> Assignment:
    """The assignment in the memory of the kernels, and its certificates."""
    certificates.certify_radio(problem.link, r, problem.gain[None], 0, problem.subchannels)
    report: dict[str, Any] = dict(zip(RADIO_REPORT._fields, r.report.tolist(), strict=True))
    report |= {name: int(report[name]) for name in ("sweeps", "moves", "overflow")}
    return Assignment(r.band.copy(), r.power_w.copy(), r.rate_bit_s.copy(), **report)
