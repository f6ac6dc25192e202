"""Radio problems from Python: validated, and the memory in which the kernels solve them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.eccnoma.bands import DIRECTIONS, Link, Radio, allocate_radio, seats_needed

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
