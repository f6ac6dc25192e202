"""From an action to a whole allocation of one training round, by searches in plain Python.

The joint optimum and the exact Problem 4 come from `reference_solvers`; Problem 3 and the paper's Algorithm 3 are here.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from edge_envs.semcom.config import SemComConfig
from edge_envs.semcom.solvers.problem import Problem
from tests.semcom.model.reference_round import (
    Decision,
    World,
    finish_times,
    problem_of,
    rate_needed,
    snr_needed,
    snrs,
    upload_times,
)
from tests.semcom.solvers import reference_solvers
from tests.semcom.solvers.reference_device import cheapest_band, nats_for_power

Floats = NDArray[np.float64]

CAPPED = 1e-6
"""A frequency as close as this to its limit, relatively, is at it."""


def decide(config: SemComConfig, world: World, action: Floats) -> Decision:
    """The whole allocation that an action leads to."""
    devices = len(world.gain)
    action = np.asarray(action, dtype=np.float64)
    if config.decision == "power_bandwidth":
        power, band = requested_link(config, action.reshape(devices, 2))
        return link_then_p3(config, world, power, band)
    if config.decision == "joint":
        return everything_requested(config, world, action.reshape(devices, 5))
    compression = rates_requested(config, action)
    if config.solver == "p3_only":
        problem = problem_of(config, world, compression)
        power, band = even_link(config, devices)
        return Decision(compression, power, band, *solve_p3(problem, upload_times(problem, power, band)))
    if config.solver == "alg3":
        return algorithm_3(config, world, compression)
    return jointly(config, world, compression)


def rates_requested(config: SemComConfig, action: Floats) -> Floats:
    """Actions from -1 to 1 spread over the range of the rates."""
    low, high = config.compression_min, config.compression_max
    return np.array([low + (high - low) * (each + 1.0) / 2.0 for each in action])


def even_link(config: SemComConfig, devices: int) -> tuple[Floats, Floats]:
    """Half the power and an even share of the band each."""
    power_max = 10.0 ** (config.power_max_dbm / 10.0) / 1e3
    return np.full(devices, power_max / 2.0), np.full(devices, config.bandwidth_hz / devices)


def requested_link(config: SemComConfig, action: Floats) -> tuple[Floats, Floats]:
    """Powers: the cube of a part of at least 0.04. Bandwidths: e^(4 a) even shares, cut down together to what is there.

    What nobody asks for is left over.
    """
    power_max = 10.0 ** (config.power_max_dbm / 10.0) / 1e3
    power = [power_max * max((each + 1.0) / 2.0, 0.04) ** 3 for each in action[:, 0]]
    asked = [config.bandwidth_hz / len(action) * math.exp(4.0 * each) for each in action[:, 1]]
    cut = min(1.0, config.bandwidth_hz / math.fsum(asked))
    return np.array(power), np.array(asked) * cut


def link_then_p3(config: SemComConfig, world: World, power_w: Floats, bandwidth_hz: Floats) -> Decision:
    """Rates of (32) and the answer of Problem 3 for given powers and bandwidths."""
    snr = snrs(config, world, power_w, bandwidth_hz)
    rows = zip(snr, world.target_db, strict=True)
    compression = np.array([rate_needed(config, each, target) for each, target in rows])
    problem = problem_of(config, world, compression)
    found = solve_p3(problem, upload_times(problem, power_w, bandwidth_hz))
    return Decision(compression, power_w, bandwidth_hz, *found)


def everything_requested(config: SemComConfig, world: World, action: Floats) -> Decision:
    """All five variables as asked for, frequencies at least 0.005 of the largest; the last device pays for the time."""
    power, band = requested_link(config, action)
    device = np.array([config.device_frequency_max_hz * max((each + 1.0) / 2.0, 0.005) for each in action[:, 2]])
    server = np.array([config.server_frequency_max_hz * max((each + 1.0) / 2.0, 0.005) for each in action[:, 3]])
    compression = rates_requested(config, action[:, 4])
    problem = problem_of(config, world, compression)
    finish = upload_times(problem, power, band) + problem.device_cycles / device + problem.server_cycles / server
    price = np.zeros(len(finish))
    price[int(np.argmax(finish))] = config.weight_time
    return Decision(compression, power, band, device, server, price)


def snrs_required(config: SemComConfig, world: World, compression: Floats) -> Floats:
    """What the requirement of each round asks of the links, nothing where quality counts otherwise."""
    if config.psnr_mode != "hard":
        return np.zeros(len(compression))
    rows = zip(compression, world.target_db, strict=True)
    return np.array([snr_needed(config, rate, target) for rate, target in rows])


def algorithm_3(config: SemComConfig, world: World, compression: Floats | None) -> Decision:
    """Problems 3 and 4 in turn from even shares until the objective moves by less than 1e-6; rates of (32) if None.

    Where Problem 4 has no answer at given rates, devices are content with the SNR that they started from.
    """
    power, band = even_link(config, len(world.gain))
    start = snrs(config, world, power, band)
    required = start if compression is None else snrs_required(config, world, compression)
    found = alternate(config, world, compression, required)
    relaxed = 0
    if found is None:
        relaxed = int((required > start).sum())
        found = alternate(config, world, compression, np.minimum(required, start))
    assert found is not None, "the start itself is always feasible"
    return found._replace(relaxed=relaxed)


def alternate(config: SemComConfig, world: World, compression: Floats | None, required: Floats) -> Decision | None:
    """The passes of Algorithm 3; None if Problem 4 cannot be solved in one of them."""
    power, band = even_link(config, len(world.gain))
    cost, rates = math.inf, np.full(len(world.gain), math.inf) if compression is None else compression
    for _ in range(20):
        last_cost, last_rates = cost, rates
        if compression is None:
            snr = snrs(config, world, power, band)
            rates = np.array([rate_needed(config, *row) for row in zip(snr, world.target_db, strict=True)])
            needs = [snr_needed(config, *row) for row in zip(rates, world.target_db, strict=True)]
            required = np.minimum(needs, snr)
        problem = problem_of(config, world, rates, required)
        upload_s = upload_times(problem, power, band)
        device, server, price = solve_p3(problem, upload_s)
        link = reference_solvers.solve_p4(problem, problem.bits / upload_s)
        if link is None:
            return None
        band = link[1]
        power = problem.noise_w_per_hz / problem.gain * band * np.expm1(problem.bits * math.log(2) / (band * upload_s))
        cost = reference_solvers.evaluate(problem, power, band, device, server).objective
        if abs(cost - last_cost) <= 1e-6 * cost and np.abs(rates / last_rates - 1.0).max() <= 1e-6:
            break
    return Decision(rates, power, band, device, server, price)


def jointly(config: SemComConfig, world: World, compression: Floats) -> Decision:
    """The joint optimum at given rates; with requirements in each round within the deadline, as far as that goes."""
    required = snrs_required(config, world, compression)
    problem = problem_of(config, world, compression, required)
    if config.psnr_mode != "hard":
        return optimum(problem, compression, math.inf, 0)
    required = np.minimum(required, [most_snr(config, problem, n) for n in range(len(required))])
    relaxed = int((required < problem.snr_min).sum())
    problem = problem._replace(snr_min=required)
    found = optimum(problem, compression, math.inf, relaxed)
    if finish_times(problem, found).max() <= config.deadline_s:
        return found
    if reference_solvers.least_delay(problem) >= config.deadline_s:
        return found
    return optimum(problem, compression, config.deadline_s, relaxed)


def most_snr(config: SemComConfig, problem: Problem, n: int) -> float:
    """A little less SNR than device n can have at full power if it is to finish by the deadline."""
    least = problem.device_cycles[n] / problem.device_frequency_max_hz[n]
    least += problem.server_cycles[n] / problem.server_frequency_max_hz[n]
    reach = problem.power_max_w[n] * problem.gain[n] / problem.noise_w_per_hz
    ratio = (config.deadline_s - least) * reach / (problem.bits[n] * math.log(2.0))
    return math.expm1(0.9 * nats_for_power(ratio))


def optimum(problem: Problem, compression: Floats, deadline_s: float, relaxed: int) -> Decision:
    """Problem 1 at given rates with its prices of time."""
    found = reference_solvers.solve_joint(problem, deadline_s)
    price = time_prices(
        problem, found.upload_s, found.device_hz, found.server_hz, found.band_price, math.isfinite(deadline_s)
    )
    parts = (found.power_w, found.bandwidth_hz, found.device_hz, found.server_hz)
    return Decision(compression, *parts, price, relaxed)


def time_prices(
    problem: Problem, upload_s: Floats, device_hz: Floats, server_hz: Floats, band_price: float, dated: bool
) -> Floats:
    """What each device's time costs at an optimum: the slope of its computing energy, if one frequency can still move.

    Where both are at their limits, prices that are missing to omega_1 are that device's. If a deadline takes part
    (`dated`) their sum is not determined, and with several such devices neither are their parts: then the slope of
    the upload's cost says it.
    """
    price, silent = np.zeros(len(upload_s)), []
    for n in range(len(upload_s)):
        if device_hz[n] < problem.device_frequency_max_hz[n] * (1.0 - CAPPED):
            price[n] = 2.0 * problem.weight_energy * problem.device_energy_coefficient * device_hz[n] ** 3
        elif server_hz[n] < problem.server_frequency_max_hz[n] * (1.0 - CAPPED):
            price[n] = 2.0 * problem.weight_energy * problem.server_energy_coefficient * server_hz[n] ** 3
        else:
            silent.append(n)
    if len(silent) == 1 and not dated:
        price[silent[0]] = problem.weight_time - price.sum()
        return price
    links = reference_solvers.tables(problem).links
    for n in silent:
        step = 1e-5 * upload_s[n]
        after, before = (cheapest_band(upload_s[n] + side * step, tuple(links[n]), band_price)[0] for side in (1, -1))
        price[n] = (before - after) / (2.0 * step)
    return price


def frequencies(problem: Problem, n: int, price: float) -> tuple[float, float]:
    """The f and h of device n at a price of time, where each minimises weighted energy plus priced time: (26)-(27)."""
    device = (price / (2.0 * problem.weight_energy * problem.device_energy_coefficient)) ** (1.0 / 3.0)
    server = (price / (2.0 * problem.weight_energy * problem.server_energy_coefficient)) ** (1.0 / 3.0)
    return min(device, problem.device_frequency_max_hz[n]), min(server, problem.server_frequency_max_hz[n])


def price_of_computing(problem: Problem, n: int, spare_s: float) -> float:
    """Price of time at which device n computes for just so long; inf if that is all it can do or more."""
    device_cap, server_cap = problem.device_frequency_max_hz[n], problem.server_frequency_max_hz[n]

    def time_left(log_price: float) -> float:
        device, server = frequencies(problem, n, math.exp(log_price))
        return spare_s - problem.device_cycles[n] / device - problem.server_cycles[n] / server

    coefficients = problem.device_energy_coefficient, problem.server_energy_coefficient
    highest = 2.0 * problem.weight_energy * max(coefficients[0] * device_cap**3, coefficients[1] * server_cap**3)
    if time_left(math.log(highest)) <= 0.0:
        return math.inf
    low = math.log(highest) - 1.0
    while time_left(low) > 0.0:
        low -= 5.0
    return math.exp(brentq(time_left, low, math.log(highest), xtol=1e-14, rtol=1e-15))


def solve_p3(problem: Problem, upload_s: Floats) -> tuple[Floats, Floats, Floats]:
    """Problem 3 at given upload times: f, h and the prices of time, which add up to omega_1, (28)-(31)."""
    devices = range(len(upload_s))
    least = problem.device_cycles / problem.device_frequency_max_hz
    least = least + problem.server_cycles / problem.server_frequency_max_hz
    floor = float((upload_s + least).max())

    # Time beyond the shortest round is the unknown: next to a long upload a sum would lose its digits.
    def prices_at(extra_s: float) -> Floats:
        return np.array([price_of_computing(problem, n, floor - upload_s[n] + extra_s) for n in devices])

    def surplus(extra_s: float) -> float:
        return min(math.fsum(prices_at(extra_s)), 1e300) - problem.weight_time

    shortest, longest, extra = 1e-12 * float(least.max()), floor, 0.0
    if surplus(shortest) > 0.0:
        while surplus(longest) > 0.0:
            longest *= 2.0
        extra = brentq(surplus, shortest, longest, xtol=1e-300, rtol=1e-15)
    prices = prices_at(extra)
    if extra == 0.0:
        last = int(np.argmax(upload_s + least))
        prices[last] = problem.weight_time - math.fsum(price for n, price in enumerate(prices) if n != last)
    chosen = np.array([frequencies(problem, n, price) for n, price in enumerate(prices)])
    return chosen[:, 0], chosen[:, 1], prices
