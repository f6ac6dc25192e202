"""Radio problems from Python, and the results of their solvers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.eccnoma.solvers import certificates, relaxation
from edge_envs.eccnoma.solvers import radio as radio_kernels
from edge_envs.eccnoma.solvers.radio import DIRECTIONS, Link, Radio, allocate_radio, seats_needed
from edge_envs.eccnoma.solvers.relaxation import Relaxation, allocate_relaxation

Array = NDArray[np.float64]

Direction = Literal["uplink", "downlink", "downlink-printed"]


def finite(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Values as a contiguous array of a shape, finite and not negative.

    Raises:
        ValueError: they are not; the message names `name`.
    """
    array = np.array(values, dtype=np.float64, order="C")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all() or (array < 0.0).any():
        bad = array[~(np.isfinite(array) & (array >= 0.0))].ravel()[0]
        raise ValueError(f"{name} holds {bad}; it must be finite and not negative")
    return array


def positive(name: str, value: float) -> float:
    """A finite number above zero.

    Raises:
        ValueError: it is not.
    """
    if not (np.isfinite(value) and value > 0.0):
        raise ValueError(f"{name}={value!r} must be finite and above 0")
    return float(value)


def whole(name: str, value: Any, least: int) -> int:
    """A whole number of at least `least`.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {least}")
    return int(value)


@dataclass(frozen=True, slots=True, eq=False)
class RadioProblem:
    """Who sends how much in one direction, over which links: U users, N APs, M subchannels.

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
    """least power of a signal [W]"""
    power_max_w: float
    """largest power of a signal [W]"""
    capacity: int
    """most users of an AP on a subchannel"""
    direction: Direction = "uplink"
    """whose interference: (5), (8) with the receiver's own channel, or (8) as printed"""

    def __post_init__(self) -> None:
        """Check and convert all fields."""
        gain = np.ascontiguousarray(self.gain, dtype=np.float64)
        if gain.ndim != 3 or 0 in gain.shape:
            raise ValueError(f"gain has shape {gain.shape}, expected (subchannels, users, APs)")
        users, aps = gain.shape[1:]
        gain = finite("gain", gain, gain.shape)
        if (gain == 0.0).any():
            raise ValueError("gain holds 0; every link must have some gain")
        ap = np.ascontiguousarray(self.ap)
        if ap.shape != (users,) or ap.dtype.kind not in "iu" or ((ap < 0) | (ap >= aps)).any():
            raise ValueError(f"ap={self.ap!r} must hold {users} indices of APs from 0 to {aps - 1}")
        values: dict[str, Any] = {"gain": gain, "ap": ap.astype(np.int64)}
        for name in ("bits", "delay_weight", "energy_weight"):
            values[name] = finite(name, getattr(self, name), (users,))
        for name in ("bandwidth_hz", "noise_w", "power_min_w", "power_max_w"):
            values[name] = positive(name, getattr(self, name))
        values["capacity"] = whole("capacity", self.capacity, 1)
        if values["power_min_w"] > values["power_max_w"]:
            raise ValueError(f"power_min_w={self.power_min_w!r} is above power_max_w={self.power_max_w!r}")
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction={self.direction!r} does not exist; known: {', '.join(DIRECTIONS)}")
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
        """What the kernels read of it."""
        direction = DIRECTIONS.index(self.direction)
        return Link(
            direction, self.bandwidth_hz, self.noise_w, self.power_min_w, self.power_max_w, self.capacity
        )  # fmt: skip

    def radio(self, candidates: int = 0) -> Radio:
        """Memory with this problem's costs in it."""
        aps = self.gain.shape[2]
        seats = seats_needed(self.users, aps, self.subchannels, self.capacity)
        memory = allocate_radio(self.users, aps, self.subchannels, seats, candidates)
        memory.ap[:] = self.ap
        memory.delay_cost[:] = self.delay_weight * self.bits
        memory.energy_cost[:] = self.energy_weight * self.bits
        memory.active[:] = self.bits > 0.0
        return memory

    def check_capacity(self, mend: str = "use spread=True to put more users on a subchannel") -> None:
        """Whether every AP has seats for its users; `mend` ends the message if not.

        Raises:
            ValueError: one has not.
        """
        senders = np.bincount(self.ap[self.bits > 0.0], minlength=self.gain.shape[2])
        for ap, count in enumerate(senders.tolist()):
            if count > self.capacity * self.subchannels:
                raise ValueError(
                    f"AP {ap} has {count} users that send, but seats for {self.capacity * self.subchannels} "
                    f"(capacity={self.capacity} on each of {self.subchannels} subchannels); {mend}"
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
        cost=float(report[radio_kernels.COST]),
        start_cost=float(report[radio_kernels.START_COST]),
        bound=float(report[radio_kernels.BOUND]),
        assignment_gap=float(report[radio_kernels.ASSIGNMENT_GAP]),
        power_gap=float(report[radio_kernels.POWER_GAP]),
        residual=float(report[radio_kernels.RESIDUAL]),
        sweeps=int(report[radio_kernels.SWEEPS]),
        moves=int(report[radio_kernels.MOVES]),
        overflow=int(report[radio_kernels.OVERFLOW]),
    )
