"""Slow, independent solutions of Problems 3, 4 and 1 (at given compression), and the plain cost of an allocation.

The tests use this module as an oracle. It uses the problems' statement only: what an allocation costs, (5)-(16). The
rest is search. One device at one upload time and one price of bandwidth is a scalar problem; upload times, delay and
price are searched around it, one inside the other. Problem 1 comes with a lower bound of its own, so how good the
search was is known for each instance. `reference_convex` solves the same problems by other people's solvers.

All quantities are in bits, cycles and SI units: seconds, hertz, watts, joules.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from edge_envs.semcom.solvers.problem import Problem
from tests.semcom.solvers.reference_device import (
    cheapest_band,
    computing,
    mean_ratio,
    nats_for_power,
    priced_computing,
    priced_upload,
    split_delay,
)

Floats = NDArray[np.float64]


def relative(value: float, other: float) -> float:
    """By what part a value is above another."""
    return value / other - 1.0


class Evaluation(NamedTuple):
    """Cost of an allocation of N devices, and how far it is from feasible."""

    upload_s: Floats
    finish_s: Floats
    """Time at which the base station is done with each device"""
    delay_s: float
    transmit_energy_j: float
    compute_energy_j: float
    """Of the devices and of the base station"""
    objective: float
    violation: float
    """Largest relative excess over a limit (0 or less: feasible)"""


class Solution(NamedTuple):
    """A feasible allocation, its objective, and a value that no allocation can be below."""

    power_w: Floats
    bandwidth_hz: Floats
    device_hz: Floats
    server_hz: Floats
    upload_s: Floats
    delay_s: float
    objective: float
    lower_bound: float
    band_price: float


def evaluate(
    problem: Problem, power_w: Floats, bandwidth_hz: Floats, device_hz: Floats, server_hz: Floats
) -> Evaluation:
    """Delay, energy, objective (16) and violation of (16a)-(16e) of an allocation, device by device."""
    upload, finish, transmit, compute = [], [], [], []
    excess = [math.fsum(bandwidth_hz) / problem.bandwidth_hz - 1.0]
    for n in range(len(problem.bits)):
        snr = power_w[n] * problem.gain[n] / (problem.noise_w_per_hz * bandwidth_hz[n])
        rate = bandwidth_hz[n] * math.log1p(snr) / math.log(2.0)
        upload.append(problem.bits[n] / rate)
        computing_s = problem.device_cycles[n] / device_hz[n] + problem.server_cycles[n] / server_hz[n]
        finish.append(upload[n] + computing_s)
        transmit.append(power_w[n] * upload[n])
        compute.append(problem.device_energy_coefficient * problem.device_cycles[n] * device_hz[n] ** 2)
        compute.append(problem.server_energy_coefficient * problem.server_cycles[n] * server_hz[n] ** 2)
        excess.append(power_w[n] / problem.power_max_w[n] - 1.0)
        excess.append(device_hz[n] / problem.device_frequency_max_hz[n] - 1.0)
        excess.append(server_hz[n] / problem.server_frequency_max_hz[n] - 1.0)
        if problem.snr_min[n] > 0.0:
            excess.append(1.0 - snr / problem.snr_min[n])
        if min(power_w[n], bandwidth_hz[n], device_hz[n], server_hz[n]) <= 0.0:
            excess.append(math.inf)
    delay, energy = max(finish), math.fsum(transmit) + math.fsum(compute)
    return Evaluation(
        np.array(upload), np.array(finish), delay, math.fsum(transmit), math.fsum(compute),
        problem.weight_time * delay + problem.weight_energy * energy, max(excess),
    )  # fmt: skip


def certain_energy(links: Floats) -> float:
    """Weighted energy that uploads take at the least SNR allowed, in as much time and bandwidth as that leaves them."""
    return math.fsum(
        weight * noise_over_gain * nats * (1.0 + mean_ratio(least_nats))
        for nats, noise_over_gain, _, least_nats, weight in links
    )


class Tables(NamedTuple):
    """A problem as the loops above want it: one row per device."""

    links: Floats
    """Nats to send, N0/g [W/Hz], power limit [W], least ln(1 + SNR), weight of energy"""
    tasks: Floats
    """Cycles of device and server, their least times [s], their energy coefficients, weight of energy"""
    least: Floats
    """Shortest upload and shortest computing time [s]"""


def tables(problem: Problem) -> Tables:
    """Line a problem's numbers up by device."""
    links, tasks, least = [], [], []
    for n in range(len(problem.bits)):
        nats = problem.bits[n] * math.log(2.0)
        noise_over_gain = problem.noise_w_per_hz / problem.gain[n]
        snr = problem.snr_min[n]
        nats_needed = math.log1p(snr)
        times = (
            problem.device_cycles[n] / problem.device_frequency_max_hz[n],
            problem.server_cycles[n] / problem.server_frequency_max_hz[n],
        )
        links.append((nats, noise_over_gain, problem.power_max_w[n], nats_needed, problem.weight_energy))
        tasks.append(
            (problem.device_cycles[n], problem.server_cycles[n], *times, problem.device_energy_coefficient,
             problem.server_energy_coefficient, problem.weight_energy)
        )  # fmt: skip
        # Full power goes furthest at the least SNR that is allowed.
        stretch = snr / nats_needed if nats_needed > 0.0 else 1.0
        least.append((nats * noise_over_gain / problem.power_max_w[n] * stretch, sum(times)))
    return Tables(np.array(links), np.array(tasks), np.array(least))


def dual_bound(problem: Problem, time_price: Floats, band_price: float, deadline_s: float = math.inf) -> float:
    """Dual function of Problem 1 at given prices of time and of bandwidth: no allocation costs less.

    Without a deadline the prices of time have to add up to the delay's weight, so they are scaled to do so first; what
    they add up to beyond it is the price of the deadline.
    """
    links, tasks, least = tables(problem)
    if math.isinf(deadline_s):
        time_price = time_price * (problem.weight_time / math.fsum(time_price))
    parts = [certain_energy(links), -band_price * problem.bandwidth_hz]
    for n, beta in enumerate(time_price):
        parts.append(priced_upload(tuple(links[n]), least[n, 0], beta, band_price))
        parts.append(priced_computing(tuple(tasks[n]), beta))
    if math.isfinite(deadline_s):
        parts.append(min(problem.weight_time - math.fsum(time_price), 0.0) * deadline_s)
    return math.fsum(parts)


def dual_bound_p3(problem: Problem, upload_s: Floats, time_price: Floats) -> float:
    """Dual function of Problem 3 at given prices of time (scaled to add up to the delay's weight)."""
    time_price = time_price * (problem.weight_time / math.fsum(time_price))
    rows = zip(tables(problem).tasks, time_price, upload_s, strict=True)
    return math.fsum(beta * upload + priced_computing(tuple(task), beta) for task, beta, upload in rows)


def dual_bound_p4(problem: Problem, rate_min_bps: Floats, band_price: float) -> float:
    """Dual function of Problem 4 at a given price of bandwidth."""
    return bands_at(problem, problem.bits / rate_min_bps, band_price)[0] - band_price * problem.bandwidth_hz


def least_delay(problem: Problem) -> float:
    """Shortest possible delay, energy being no object: the least bandwidths of all devices just fill the band."""
    least = tables(problem).least
    floor = least.sum(axis=1).max()

    def surplus(log_extra: float) -> float:
        upload_s = floor + math.exp(log_extra) - least[:, 1]
        return math.log(least_band(problem, upload_s) / problem.bandwidth_hz)

    low, high = math.log(floor) - 34.0, math.log(floor)
    if surplus(low) <= 0.0:
        return floor
    while surplus(high) > 0.0:
        high += 1.0
    return floor + math.exp(brentq(surplus, low, high, xtol=1e-14))


def valley(function: Any, floor: float, ceiling: float = math.inf) -> float:
    """Where a function of the delay with one valley is least, from the floor up to the ceiling."""
    reach = floor
    while floor + reach < ceiling and function(floor + 2.0 * reach) < function(floor + reach):
        reach *= 2.0
    top = math.log(min(2.0 * reach, max(ceiling - floor, 1e-300)))
    found = minimize_scalar(
        lambda y: function(floor + math.exp(y)), bounds=(math.log(reach) - 30.0, top), method="bounded",
        options={"xatol": 1e-7, "maxiter": 200},
    )  # fmt: skip
    candidates = [floor + math.exp(found.x), floor, floor + math.exp(top)]
    return min(candidates, key=function)


def solve_p3(problem: Problem, upload_s: Floats) -> tuple[float, float, Floats, Floats]:
    """Problem 3 (P5 of the paper) at given upload times: objective, delay and both frequencies of each device."""
    _, tasks, least = tables(problem)

    def cost(delay: float) -> float:
        spent = [computing(delay - upload_s[n], tuple(tasks[n]))[0] for n in range(len(tasks))]
        return problem.weight_time * delay + math.fsum(spent)

    delay = valley(cost, max(upload_s + least[:, 1]))
    times = np.array([computing(delay - upload_s[n], tuple(tasks[n]))[1:] for n in range(len(tasks))])
    return cost(delay), delay, problem.device_cycles / times[:, 0], problem.server_cycles / times[:, 1]


def bands_at(problem: Problem, upload_s: Floats, price: float) -> tuple[float, Floats]:
    """Least cost of uploads of given lengths at a price of bandwidth, and the bandwidths they take."""
    links = tables(problem).links
    answers = [cheapest_band(upload_s[n], tuple(links[n]), price) for n in range(len(links))]
    return certain_energy(links) + math.fsum(cost for cost, _ in answers), np.array([band for _, band in answers])


def solve_p4(problem: Problem, rate_min_bps: Floats) -> tuple[float, Floats, float] | None:
    """Problem 4: weighted transmit energy, bandwidths and their price; None if the rates are infeasible.

    More rate than asked for, or more SNR than both limits ask for, only costs; so each device sends at its least rate,
    and what is left is to share the band at one price, or at none if nobody wants what is left of it.
    """
    upload_s = problem.bits / rate_min_bps
    if not least_band(problem, upload_s) <= problem.bandwidth_hz:
        return None
    if (problem.snr_min > 0.0).all() and bands_at(problem, upload_s, 0.0)[1].sum() <= problem.bandwidth_hz:
        price = 0.0
    else:
        price = price_that_clears(problem, lambda zeta: bands_at(problem, upload_s, zeta)[1])
    cost, band = bands_at(problem, upload_s, price)
    return cost - price * float(band.sum()), band, price


def least_band(problem: Problem, upload_s: Floats) -> float:
    """Bandwidth that uploads of given lengths cannot do without (inf: some device cannot at any bandwidth)."""
    total = 0.0
    for (nats, noise_over_gain, power_max, least_nats, _), upload in zip(tables(problem).links, upload_s, strict=True):
        v = nats_for_power(power_max * upload / (noise_over_gain * nats))
        if v <= 0.0 or v < least_nats:
            return math.inf
        total += nats / (v * upload)
    return total


def price_that_clears(problem: Problem, bands: Any) -> float:
    """Price at which the bandwidths that the devices take add up to what there is: they fall with it."""

    def surplus(log_price: float) -> float:
        return math.log(float(bands(math.exp(log_price)).sum()) / problem.bandwidth_hz)

    middle = math.log(problem.weight_time / problem.bandwidth_hz)
    low, high = middle - 2.0, middle + 2.0
    while surplus(low) < 0.0 and low > -600.0:
        low -= 4.0
    while surplus(high) > 0.0 and high < 600.0:
        high += 4.0
    return math.exp(brentq(surplus, low, high, xtol=1e-10))


def solve_joint(problem: Problem, deadline_s: float = math.inf) -> Solution:
    """Problem 1 at given compression: a search for the price of bandwidth, inside it one for the delay, and inside
    that one for each device's upload time.

    The objective is that of a feasible allocation; the lower bound is the dual function of the band's limit alone.
    """
    data = tables(problem)
    out = np.empty((len(problem.bits), 2))

    def lagrangian(delay: float, price: float) -> float:
        return problem.weight_time * delay + split_delay(delay, data.links, data.tasks, price, data.least, out)

    def best_delay(price: float) -> float:
        return valley(lambda delay: lagrangian(delay, price), data.least.sum(axis=1).max(), deadline_s)

    def choices(price: float) -> Floats:
        lagrangian(best_delay(price), price)
        return out.copy()

    price = 0.0
    chosen = choices(price) if (problem.snr_min > 0.0).all() else np.full_like(out, math.inf)
    if chosen[:, 1].sum() > problem.bandwidth_hz:
        price = price_that_clears(problem, lambda zeta: choices(zeta)[:, 1])
        chosen = between(problem, choices, price)
    lower_bound = lagrangian(best_delay(price), price) - price * problem.bandwidth_hz + certain_energy(data.links)
    return recovered(problem, chosen[:, 0], chosen[:, 1], price, lower_bound, deadline_s)


def between(problem: Problem, choices: Any, price: float) -> Floats:
    """Upload times and bandwidths that use up the band, from a price a little too low and one a little too high.

    The problem is convex in logarithms, so a geometric mean of two optima of (almost) the same Lagrangian is as good as
    they are; each by itself leaves the band's use uncertain by the square root of the rounding.
    """
    step = 1e-13
    low = high = choices(price)
    while low[:, 1].sum() < problem.bandwidth_hz or high[:, 1].sum() > problem.bandwidth_hz:
        step *= 4.0
        low, high = choices(price * (1.0 - min(step, 0.5))), choices(price * (1.0 + step))

    def surplus(part: float) -> float:
        return float((low[:, 1] ** (1.0 - part) * high[:, 1] ** part).sum()) - problem.bandwidth_hz

    part = brentq(surplus, 0.0, 1.0, xtol=1e-15) if surplus(0.0) > 0.0 > surplus(1.0) else 1.0
    return np.asarray(low ** (1.0 - part) * high**part)


def recovered(
    problem: Problem, upload_s: Floats, band: Floats, price: float, lower_bound: float, deadline_s: float
) -> Solution:
    """A feasible allocation from the nearly feasible one of a search: the band shared and the time recomputed."""
    upload_s = upload_s * max(1.0, float(band.sum()) / problem.bandwidth_hz) * (1.0 + 1e-14)
    link = solve_p4(problem, problem.bits / upload_s)
    band = band if link is None else link[1]
    band = band * min(1.0, problem.bandwidth_hz / float(band.sum()))
    power = problem.noise_w_per_hz / problem.gain * band * np.expm1(problem.bits * math.log(2.0) / (band * upload_s))
    delay = min(solve_p3(problem, upload_s)[1], deadline_s)
    rows = zip(upload_s, tables(problem).tasks, strict=True)
    times = np.array([computing(delay - upload, tuple(task))[1:] for upload, task in rows])
    device_hz, server_hz = problem.device_cycles / times[:, 0], problem.server_cycles / times[:, 1]
    power = np.minimum(power, problem.power_max_w)
    cost = evaluate(problem, power, band, device_hz, server_hz)
    return Solution(power, band, device_hz, server_hz, upload_s, cost.delay_s, cost.objective, lower_bound, price)
