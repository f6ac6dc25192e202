"""Random instances of the subproblems of one frame, far beyond the ranges of the paper, with all their corner cases."""

from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Complexes = NDArray[np.complex128]

INSTANCES = 240
"""Number of instances in the tests of each solver."""
SIZES = (1, 2, 3, 5, 10, 30, 100)
"""Numbers of users of consecutive instances."""
UPLINKS = ("reciprocal", "hermitian", "independent")


class PowerProblem(NamedTuple):
    """Powers of K users; the arguments of `allocate_power` in their order."""

    gain_per_w: Floats
    unit_delay_s: Floats
    power_total_w: float
    power_max_w: float


class PoolProblem(NamedTuple):
    """Twins and back ends of K users; the arguments of `share_pool` in their order."""

    front_flop: Floats
    speed_flop_s: Floats
    twin: Bools
    capacity_flop_s: float
    back_flop: Floats


class TwinProblem(NamedTuple):
    """The choice of the twins; the arguments of `choose_twins` in their order."""

    front_flop: Floats
    speed_flop_s: Floats
    sync_s: Floats
    capacity_flop_s: float
    back_flop: Floats


class Links(NamedTuple):
    """Channels between an access point with A antennas, a surface with N elements and K users."""

    ap_irs: Complexes  # (N, A)
    irs_ud: Complexes  # (K, N)
    irs_ap: Complexes  # (A, N)
    weight_dl: Floats  # (K,)
    weight_ul: Floats  # (K,)


def spread(rng: Generator, size: int, low: float, high: float, decades: float) -> Floats:
    """Positive numbers over some decades around a common level, which is drawn from 10^low to 10^high."""
    return np.asarray(10.0 ** (rng.uniform(low, high) + decades * rng.uniform(-0.5, 0.5, size)))


def complex_normal(rng: Generator, *shape: int) -> Complexes:
    """Circular complex normal numbers of variance one."""
    return np.asarray((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2.0))


def random_power(seed: int, size: int | None = None) -> PowerProblem:
    """Instance number `seed`: gains over up to eight decades; caps for all, some or none; idle users; ties."""
    rng = np.random.default_rng([1, seed])
    k = SIZES[seed % len(SIZES)] if size is None else size
    gain = spread(rng, k, -4.0, 7.0, rng.choice([0.0, 2.0, 4.0, 8.0]))
    work = spread(rng, k, -4.0, 4.0, rng.choice([0.0, 1.0, 4.0]))
    if rng.random() < 0.3:
        work[rng.random(k) < rng.uniform(0.1, 0.6)] = 0.0
    if rng.random() < 0.1:
        work[rng.integers(k)] *= 1e6
    total = float(10.0 ** rng.uniform(-3.0, 3.0))
    kind = rng.integers(4)
    if kind == 0:
        cap = np.inf
    elif kind == 1:
        cap = total * rng.uniform(0.3, 1.0) / k
    else:
        cap = total * min(rng.uniform(1.0, 4.0) / k, 1.0)
    return PowerProblem(gain, work, total, float(cap))


def random_pool(seed: int, size: int | None = None) -> PoolProblem:
    """Instance number `seed`: all, some or no twins; no back ends for all or some; pools from scarce to plenty."""
    rng = np.random.default_rng([2, seed])
    k = SIZES[seed % len(SIZES)] if size is None else size
    wide = rng.choice([0.0, 1.0, 3.0, 6.0])
    front = spread(rng, k, 8.0, 11.0, wide)
    front[rng.random(k) < rng.choice([0.0, 0.3])] = 0.0
    speed = spread(rng, k, 9.0, 11.0, rng.choice([0.0, 0.5, 3.0]))
    back = spread(rng, k, 8.0, 11.0, wide)
    back[rng.random(k) < rng.choice([0.0, 0.4, 1.0], p=[0.3, 0.35, 0.35])] = 0.0
    twin = rng.random(k) < rng.choice([0.0, 0.5, 0.5, 1.0])
    capacity = float(speed.sum() * 10.0 ** rng.uniform(-4.0, 4.0))
    return PoolProblem(front, speed, twin, capacity, back)


def random_twins(seed: int, size: int) -> TwinProblem:
    """Instance number `seed`: a twin's upload takes about as long as a twin can save."""
    rng = np.random.default_rng([3, seed])
    wide = rng.choice([0.3, 1.0, 3.0])
    front = spread(rng, size, 9.0, 10.5, wide)
    speed = spread(rng, size, 9.5, 10.5, rng.choice([0.0, 0.4, 2.0]))
    sync = front / speed * rng.uniform(0.0, rng.choice([0.3, 0.8, 1.5]), size)
    if rng.random() < 0.2:
        sync[:] = 0.0
    if rng.random() < 0.2:
        front[rng.integers(size)] = 0.0
    back = spread(rng, size, 9.0, 10.5, wide)
    back[rng.random(size) < rng.choice([0.0, 0.4, 1.0])] = 0.0
    capacity = float(size * 10.0 ** rng.uniform(9.0, 11.5))
    return TwinProblem(front, speed, sync, capacity, back)


def random_links(seed: int, elements: int, users: int, antennas: int) -> Links:
    """Rayleigh channels at the paper's scale, users up to eight decades apart in gain, and weights over two decades."""
    rng = np.random.default_rng([4, seed])
    decades = rng.choice([0.0, 2.0, 8.0])
    amplitude = np.sqrt(spread(rng, users, -6.0, -4.0, decades))
    return Links(
        10.0 ** rng.uniform(-4.0, -2.0) * complex_normal(rng, elements, antennas),
        amplitude[:, None] * complex_normal(rng, users, elements),
        10.0 ** rng.uniform(-4.0, -2.0) * complex_normal(rng, antennas, elements),
        spread(rng, users, 0.0, 0.0, 2.0),
        spread(rng, users, 0.0, 0.0, 2.0),
    )


def random_quadratic(seed: int, elements: int, **shape: Any) -> Complexes:
    """A positive semidefinite form of channels: the sum of the gains of a few users.

    The shape may be given by `users`, `antennas` and `decades` of the users' gains.
    """
    rng = np.random.default_rng([5, seed])
    users = shape.get("users", int(rng.choice([1, 3, 10, 100])))
    antennas = shape.get("antennas", int(rng.choice([1, 4, 32])))
    decades = shape.get("decades", rng.choice([0.0, 2.0, 8.0]))
    amplitude = np.sqrt(spread(rng, users, -6.0, -4.0, decades))
    ap_irs = 10.0 ** rng.uniform(-4.0, -2.0) * complex_normal(rng, elements, antennas)
    irs_ud = amplitude[:, None] * complex_normal(rng, users, elements)
    # |h^H diag(v) G|^2 = v^H M M^H v with a column of M for each user and antenna.
    columns = (irs_ud[:, :, None] * ap_irs.conj()[None]).transpose(1, 0, 2).reshape(elements, -1)
    return np.asarray(columns @ columns.conj().T)
