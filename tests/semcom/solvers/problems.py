"""Random instances of one training round over the ranges that the solvers promise to handle, and what binds in them."""

import functools
import math
from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.semcom.solvers.api import Allocation, solve_joint
from edge_envs.semcom.solvers.problem import Problem

Floats = NDArray[np.float64]

NOISE_W_PER_HZ = 10.0**-20.4
BLOCKS, LENGTH = 10, 31
INSTANCES = BLOCKS * LENGTH
"""How many instances the tests of the solvers go through, in blocks"""
RARE = (332, 813, 1018, 1546)
"""Seeds with a device at its SNR and both caps (the first two), with mixed server caps, with an unpriced band"""

SIZES = (1, 2, 3, 5, 10)
"""Numbers of devices that the instances go through in turn"""
TIGHT = 1e-6
"""A constraint whose two sides are as close as this, relatively, counts as active"""

LINK_STATES = ("free", "snr", "power", "power and snr")
CAP_STATES = ("no cap", "device cap", "server cap", "both caps")


def random_problem(seed: int, size: int | None = None, **changes: object) -> Problem:
    """Draw instance number `seed`: every device has its own task, channel, need for SNR and often its own limits.

    Without `size` the number of devices follows from the seed (see `SIZES`). Fields in `changes` replace drawn ones.
    """
    rng = np.random.default_rng([3, seed])
    n = SIZES[seed % len(SIZES)] if size is None else size
    wide = rng.random() < 0.5
    weight_time = rng.uniform(0.01, 0.99) if wide else rng.uniform(0.1, 0.9)
    per_device_hz = 10.0 ** rng.uniform(4.0, 6.3) if wide else 0.4e6
    device_coefficient = server_coefficient = 1e-28
    if rng.random() < 0.3:
        device_coefficient, server_coefficient = 10.0 ** rng.uniform(-28.7, -27.0, 2)
    gain = _gains(rng, n)
    power_max_w = _common_or_own(rng, n, lambda k: 1e-3 * 10.0 ** rng.uniform(0.4, 2.0, k))
    bandwidth_hz = n * per_device_hz
    drawn = Problem(
        bits=rng.uniform(0.1, 0.3, n) * 32e6 * (1.0 if rng.random() < 0.7 else 10.0 ** rng.uniform(-1.0, 1.0, n)),
        gain=gain,
        snr_min=_snr_needs(rng, power_max_w * gain / (NOISE_W_PER_HZ * per_device_hz)),
        device_cycles=rng.uniform(1.0, 3.0, n) * 32e6,
        server_cycles=rng.uniform(3.0, 5.0, n) * 32e6,
        power_max_w=power_max_w,
        device_frequency_max_hz=_common_or_own(rng, n, lambda k: rng.uniform(0.1e9, 1.0e9, k)),
        server_frequency_max_hz=_common_or_own(rng, n, lambda k: rng.uniform(0.3e9, 5.0e9, k)),
        bandwidth_hz=float(bandwidth_hz),
        noise_w_per_hz=NOISE_W_PER_HZ,
        device_energy_coefficient=float(device_coefficient),
        server_energy_coefficient=float(server_coefficient),
        weight_time=float(weight_time),
        weight_energy=float(1.0 - weight_time if rng.random() < 0.9 else 10.0 ** rng.uniform(-2.0, 2.0)),
    )
    return drawn._replace(**changes)  # type: ignore[arg-type]


def _gains(rng: Generator, n: int) -> Floats:
    """Power gains: one for all, spread over ten decades, or path loss over a disc (at times 10 or 25 dB weaker)."""
    kind = rng.integers(3)
    if kind == 0:
        decibel = np.full(n, rng.uniform(-150.0, -50.0))
    elif kind == 1:
        decibel = rng.uniform(-150.0, -50.0, n)
    else:
        distance_km = 0.25 * np.sqrt(rng.uniform(0.0016, 1.0, n))
        loss = 128.1 + 37.6 * np.log10(distance_km) + rng.normal(0.0, 8.0, n)
        decibel = -loss - rng.choice([0.0, 10.0, 25.0])
    return 10.0 ** (decibel / 10.0)


def _snr_needs(rng: Generator, snr_at_equal_split: Floats) -> Floats:
    """Least SNR of each device: none, ordinary, up to 60 dB, or around what full power gives at equal bandwidths."""
    n = len(snr_at_equal_split)
    kind = rng.integers(5)
    if kind == 0:
        return np.zeros(n)
    if kind == 1:
        return 10.0 ** rng.uniform(-2.0, 2.0, n)
    if kind == 2:
        return 10.0 ** rng.uniform(-1.0, 6.0, n)
    near = snr_at_equal_split * 10.0 ** rng.uniform(-2.0, 0.7, n)
    near = np.clip(near, 1e-3, 1e6)
    return near if kind == 3 else near * (rng.random(n) < 0.7)


def _common_or_own(rng: Generator, n: int, draw) -> Floats:  # type: ignore[no-untyped-def]
    """One drawn value for all devices, or one for each."""
    return np.full(n, draw(1)[0]) if rng.random() < 0.5 else np.asarray(draw(n), dtype=np.float64)


@functools.cache
def solved(seed: int) -> tuple[Problem, Allocation]:
    """Instance `seed` and the joint optimum that the solver under test finds for it."""
    problem = random_problem(seed)
    return problem, solve_joint(problem)


def block(number: int, length: int, size: int | None = None) -> Iterator[tuple[int, Problem]]:
    """Instances `number * length` up to the next block's first, each with its seed."""
    for seed in range(number * length, (number + 1) * length):
        yield seed, random_problem(seed, size)


def random_upload_times(problem: Problem, seed: int) -> Floats:
    """Upload times for Problem 3, from far below to far above the computing times, at times with ties."""
    rng = np.random.default_rng([5, seed])
    n = len(problem.bits)
    upload_s = 10.0 ** (rng.uniform(-2.0, 1.5) + rng.uniform(-1.0, 0.0, n) * rng.choice([0.0, 0.3, 2.0]))
    return np.asarray(upload_s, dtype=np.float64)


def random_rates(problem: Problem, seed: int) -> Floats:
    """Least rates for Problem 4: those of a random split of band and power, times a factor on either side of one."""
    rng = np.random.default_rng([7, seed])
    n = len(problem.bits)
    share = rng.dirichlet(np.full(n, 4.0)) * problem.bandwidth_hz
    power = problem.power_max_w * 10.0 ** rng.uniform(-2.0, 0.0, n)
    rate = share * np.log1p(power * problem.gain / (problem.noise_w_per_hz * share)) / math.log(2.0)
    return np.asarray(rate * 10.0 ** rng.uniform(-2.0, 0.3), dtype=np.float64)


def tight_start(problem: Problem, seed: int) -> tuple[Problem, Floats, Floats, Floats]:
    """A problem with powers, bandwidths and the rates that these give, so that the start is feasible and tight.

    SNR needs above what the start gives are lowered to a random part of it.
    """
    rng = np.random.default_rng([11, seed])
    n = len(problem.bits)
    bandwidth = rng.dirichlet(np.full(n, 4.0)) * problem.bandwidth_hz
    power = problem.power_max_w * rng.uniform(0.05, 1.0, n)
    snr = power * problem.gain / (problem.noise_w_per_hz * bandwidth)
    changed = problem._replace(snr_min=np.minimum(problem.snr_min, snr * rng.uniform(0.05, 0.99, n)))
    return changed, power, bandwidth, bandwidth * np.log1p(snr) / math.log(2.0)


def shortest_uploads(problem: Problem) -> Floats:
    """Upload time of each device at full power, were band free: at its least SNR, where power goes furthest."""
    reach_hz = problem.power_max_w * problem.gain / problem.noise_w_per_hz
    nats = problem.bits * math.log(2.0)
    return np.array(
        [
            c / q * (1.0 if s == 0.0 else s / math.log1p(s))
            for c, q, s in zip(nats, reach_hz, problem.snr_min, strict=True)
        ]
    )


def shortest_computing(problem: Problem) -> Floats:
    """Computing time of each device and its share of the server, both at their highest frequency."""
    return np.asarray(
        problem.device_cycles / problem.device_frequency_max_hz
        + problem.server_cycles / problem.server_frequency_max_hz,
        dtype=np.float64,
    )


def activity(problem: Problem, power_w: Floats, bandwidth_hz: Floats, device_hz: Floats, server_hz: Floats) -> set[str]:
    """What binds at an allocation: for each device its link and its caps (joined by a slash), and what concerns all.

    "band slack": bandwidth is left over. "shortest delay": the round cannot be any shorter, whatever it costs.
    """
    found = set()
    snr = power_w * problem.gain / (problem.noise_w_per_hz * bandwidth_hz)
    rate = bandwidth_hz * np.log1p(snr) / math.log(2.0)
    for n in range(len(snr)):
        at_snr = problem.snr_min[n] > 0.0 and snr[n] <= problem.snr_min[n] * (1.0 + TIGHT)
        at_power = power_w[n] >= problem.power_max_w[n] * (1.0 - TIGHT)
        at_device = device_hz[n] >= problem.device_frequency_max_hz[n] * (1.0 - TIGHT)
        at_server = server_hz[n] >= problem.server_frequency_max_hz[n] * (1.0 - TIGHT)
        found.add(f"{LINK_STATES[at_snr + 2 * at_power]} / {CAP_STATES[at_device + 2 * at_server]}")
    if bandwidth_hz.sum() < problem.bandwidth_hz * (1.0 - TIGHT):
        found.add("band slack")
    delay = (problem.bits / rate + problem.device_cycles / device_hz + problem.server_cycles / server_hz).max()
    if delay <= (shortest_uploads(problem) + shortest_computing(problem)).max() * (1.0 + TIGHT):
        found.add("shortest delay")
    return found
