"""Random instances of the radio and of the server pool, far beyond the ranges of the paper, with their corner cases."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Direction = Literal["uplink", "downlink", "downlink-printed"]

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
SHAPES = ((1, 1, 1), (2, 1, 1), (3, 2, 2), (5, 3, 2), (6, 1, 4), (8, 2, 3), (9, 4, 5), (12, 2, 6), (14, 3, 4))
"""Users, access points and subchannels that the instances go through in turn"""


class Radio(NamedTuple):
    """U users of N access points on M subchannels; fields and units are those of the solvers' `RadioProblem`."""

    gain: Floats  # (M, U, N)
    ap: Ints  # (U,)
    bits: Floats  # (U,)
    delay_weight: Floats  # (U,)
    energy_weight: Floats  # (U,)
    bandwidth_hz: float
    noise_w: float
    power_min_w: float
    power_max_w: float
    capacity: int
    direction: Direction


class Pool(NamedTuple):
    """K users of the pool of one access point; the arguments of `share_units` in their order."""

    work_flop: Floats  # (K,)
    delay_weight: Floats  # (K,)
    energy_coefficient: Floats  # (K,)
    units: float
    units_max: float
    unit_speed_flop_s: float
    overhead: float


def spread(rng: Generator, size: int | tuple[int, ...], low: float, high: float, decades: float) -> Floats:
    """Positive numbers over some decades around a common level that is itself drawn from 10^low to 10^high."""
    return np.asarray(10.0 ** (rng.uniform(low, high) + decades * rng.uniform(-0.5, 0.5, size)))


def cells(rng: Generator, users: int, aps: int) -> Ints:
    """Serving access points with cells of unequal size; some stay empty."""
    share = rng.dirichlet(np.full(aps, 0.7))
    return rng.choice(aps, users, p=share).astype(np.int64)


def tied(rng: Generator, gain: Floats) -> Floats:
    """The gains rounded to one of three levels, so that users, subchannels and access points tie."""
    levels = np.sort(rng.choice(gain.reshape(-1), 3))
    return levels[rng.integers(0, 3, gain.shape)]


def random_radio(
    seed: int,
    direction: Direction = "uplink",
    shape: tuple[int, int, int] | None = None,
    silent: bool = True,
    free: bool = True,
) -> Radio:
    """Instance number `seed`: gains over up to eight decades; ties, silent users, empty cells, free delay or energy.

    `silent` and `free` say whether users may have nothing to send and weights may be zero.
    """
    rng = np.random.default_rng([5, seed])
    users, aps, subchannels = SHAPES[seed % len(SHAPES)] if shape is None else shape
    gain = spread(rng, (subchannels, users, aps), -10.0, -6.0, rng.choice([0.5, 3.0, 8.0]))
    if rng.random() < 0.3:
        gain = tied(rng, gain)
    bits = spread(rng, users, 2.0, 6.0, rng.choice([0.0, 2.0, 4.0]))
    delay_weight = spread(rng, users, -1.0, 1.0, rng.choice([0.0, 1.0, 3.0]))
    energy_weight = spread(rng, users, -2.0, 2.0, rng.choice([0.0, 1.0, 3.0]))
    if free and rng.random() < 0.4:
        energy_weight[rng.random(users) < 0.5] = 0.0
    if free and rng.random() < 0.2:
        delay_weight[(rng.random(users) < 0.3) & (energy_weight > 0.0)] = 0.0
    if silent and rng.random() < 0.5:
        bits[rng.random(users) < 0.35] = 0.0
    ap = cells(rng, users, aps)
    power_max_w = float(10.0 ** rng.uniform(-2.0, 1.0))
    fixed_power = seed % 10 == 9
    return Radio(
        gain=gain,
        ap=ap,
        bits=bits,
        delay_weight=delay_weight,
        energy_weight=energy_weight,
        bandwidth_hz=float(10.0 ** rng.uniform(3.0, 6.0)),
        noise_w=float(np.median(gain) * power_max_w * 10.0 ** rng.uniform(-5.0, 2.0)),
        power_min_w=power_max_w if fixed_power else power_max_w * float(10.0 ** rng.uniform(-4.0, -1.0)),
        power_max_w=power_max_w,
        capacity=room(ap, bits, subchannels) + int(rng.integers(0, 3)),
        direction=direction,
    )


def room(ap: Ints, bits: Floats, subchannels: int) -> int:
    """The smallest capacity that holds the largest cell."""
    largest = int(np.bincount(ap[bits > 0.0]).max()) if (bits > 0.0).any() else 1
    return -(-largest // subchannels)


def network(
    seed: int,
    shape: tuple[int, int, int],
    direction: Direction = "uplink",
    capacity: int = 3,
    energy_share: float = 0.05,
) -> Radio:
    """Users in a square, each served by the nearest access point: path loss with exponent 5, Rayleigh fading."""
    rng = np.random.default_rng([55, seed])
    users, aps, subchannels = shape
    side_m, bandwidth_hz = 400.0, 1e5
    at, masts = rng.uniform(0.0, side_m, (users, 2)), rng.uniform(0.0, side_m, (aps, 2))
    distance_m = np.maximum(np.hypot(*(at[:, None] - masts[None]).transpose(2, 0, 1)), 10.0)
    ap = distance_m.argmin(axis=1).astype(np.int64)
    bits = rng.choice([8192.0, 16384.0, 24576.0, 65536.0], users)
    return Radio(
        gain=distance_m**-5.0 * rng.exponential(1.0, (subchannels, users, aps)),
        ap=ap,
        bits=bits,
        delay_weight=np.full(users, 1.0 - energy_share) * rng.integers(1, 6, users),
        energy_weight=np.full(users, energy_share),
        bandwidth_hz=bandwidth_hz,
        noise_w=10.0 ** (-20.4) * bandwidth_hz,
        power_min_w=1e-3,
        power_max_w=10.0**-0.5,
        capacity=max(capacity, room(ap, bits, subchannels)),
        direction=direction,
    )


def active(radio: Radio) -> NDArray[np.bool_]:
    """Users with something to send."""
    return radio.bits > 0.0


def one_hot(radio: Radio, subchannel: Ints) -> Floats:
    """The beta (U, M) of one subchannel per user; silent users have rows of zeros."""
    beta = np.zeros((len(radio.ap), len(radio.gain)))
    for user, chosen in enumerate(subchannel):
        if radio.bits[user] > 0.0:
            beta[user, chosen] = 1.0
    return beta


def random_powers(radio: Radio, rng: Generator) -> Floats:
    """Powers log-uniform between the limits; some users at a limit."""
    ratio = radio.power_max_w / radio.power_min_w
    level = np.clip(rng.uniform(-0.2, 1.2, len(radio.ap)), 0.0, 1.0)
    return np.clip(radio.power_min_w * ratio**level, radio.power_min_w, radio.power_max_w)


def random_point(radio: Radio, seed: int, kind: str = "inner") -> tuple[Floats, Floats]:
    """Beta (U, M) and powers (U,). Kinds: all of the simplex "inner", a face of it "sparse", or "one-hot"."""
    rng = np.random.default_rng([50, seed])
    users, subchannels = len(radio.ap), len(radio.gain)
    if kind == "one-hot":
        beta = one_hot(radio, rng.integers(0, subchannels, users))
    else:
        beta = rng.dirichlet(np.full(subchannels, 0.8), users)
        if kind == "sparse":
            beta[rng.random(beta.shape) < 0.5] = 0.0
            beta[beta.sum(axis=1) == 0.0, rng.integers(0, subchannels)] = 1.0
            beta /= beta.sum(axis=1, keepdims=True)
        beta[~active(radio)] = 0.0
    return beta, random_powers(radio, rng)


def random_pool(seed: int) -> Pool:
    """Instance number `seed`: works and weights over decades, idle users, free energy, pools scarce and plentiful."""
    rng = np.random.default_rng([555, seed])
    size = (1, 2, 3, 6, 10, 25)[seed % 6]
    work = spread(rng, size, 6.0, 9.0, rng.choice([0.0, 1.0, 4.0]))
    if rng.random() < 0.3:
        work[rng.random(size) < 0.4] = 0.0
    delay_weight = spread(rng, size, -1.0, 2.0, rng.choice([0.0, 1.0, 3.0]))
    unit_speed = float(10.0 ** rng.uniform(9.0, 10.0))
    # A user alone would take 0.03 to 300 units of speed: below, among and beyond what the pools have.
    ease = 10.0 ** rng.uniform(-1.5, 2.5, size)
    energy = delay_weight / (2.0 * (ease * unit_speed) ** 3)
    if rng.random() < 0.3:
        energy[rng.random(size) < 0.5] = 0.0
    return Pool(
        work_flop=work,
        delay_weight=delay_weight,
        energy_coefficient=energy,
        units=float(size * 10.0 ** rng.uniform(-1.5, 1.2)),
        units_max=float(10.0 ** rng.uniform(-0.5, 1.5)),
        unit_speed_flop_s=unit_speed,
        overhead=float(rng.choice([0.0, 0.05, 0.3])),
    )
