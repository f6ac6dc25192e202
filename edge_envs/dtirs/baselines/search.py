"""Searches for the cuts of one frame: common cuts, best responses to prices, block descent, genetic algorithm, ADMM.

All of them evaluate cuts by the objective of the frame's allocation at its phases. We implement the genetic algorithm
ourselves, so that one compiled call evaluates a whole generation.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import FastCall, kernel
from edge_envs.dtirs.model import allocation
from edge_envs.dtirs.model.calibration import common_cuts, objective, value_all
from edge_envs.dtirs.model.parameters import POWER, TWINS, Parameters
from edge_envs.dtirs.model.state import SOLUTION, State
from edge_envs.dtirs.solvers import power

SEARCH_STREAM = 0xD7A4
"""First word of the seeds of searches, so that no environment seed gives the same random numbers."""
PASSES_MAX = 20
"""Passes of the block descent over the devices; it ends earlier if a pass changes nothing."""
MANY_DEVICES = 32
"""From this number of devices on, the block descent has one start instead of four and does not try pairs."""
POPULATION, GENERATIONS, TOURNAMENT, ELITE = 30, 120, 3, 2
"""Settings of the genetic algorithm; chosen: the paper does not state them."""
ADMM_STEPS, ADMM_RHO = 60, 0.02
"""Iterations and penalty [s per squared step of the choice] of the ADMM; chosen: the paper does not state them."""


@kernel
def solve_row(p: Parameters, s: State, row: int) -> None:
    """Solve the next frame at the row's cuts, including phases for the delay; writes into the workspace."""
    allocation.solve_step(p, s, row)


@kernel
def descend(p: Parameters, s: State) -> float:
    """Block descent on world 0, in place: each device in turn takes its best cut, until none changes."""
    value = objective(p, s, 0)
    for _ in range(PASSES_MAX):
        before = value
        for k in range(p.num_devices):
            best = s.choice[0, k]
            for c in range(len(p.cut_numbers)):
                s.choice[0, k] = c
                other = objective(p, s, 0)
                if other < value:
                    value, best = other, c
            s.choice[0, k] = best
        if value >= before * (1.0 - 1e-12):
            break
    return value


@kernel
def descend_pairs(p: Parameters, s: State) -> float:
    """One pass of block descent over pairs of devices of world 0, in place."""
    value = objective(p, s, 0)
    for k in range(p.num_devices):
        for other in range(k):
            best, best_other = s.choice[0, k], s.choice[0, other]
            for c in range(len(p.cut_numbers)):
                for d in range(len(p.cut_numbers)):
                    s.choice[0, k], s.choice[0, other] = c, d
                    tried = objective(p, s, 0)
                    if tried < value:
                        value, best, best_other = tried, c, d
            s.choice[0, k], s.choice[0, other] = best, best_other
    return value


@kernel
def mean_value(p: Parameters, s: State, cuts: NDArray[np.int64]) -> float:
    """Mean objective [s] of all worlds at the same cuts (K,)."""
    total = 0.0
    for row in range(len(s.level)):
        for k in range(p.num_devices):
            s.choice[row, k] = cuts[k]
        total += objective(p, s, row)
    return total / len(s.level)


@kernel
def descend_constant(p: Parameters, s: State, cuts: NDArray[np.int64], passes: int) -> float:
    """Block descent, in place, over cuts (K,) common to all worlds; returns their mean objective [s]."""
    value = mean_value(p, s, cuts)
    for _ in range(passes):
        before = value
        for k in range(p.num_devices):
            best = cuts[k]
            for c in range(len(p.cut_numbers)):
                cuts[k] = c
                other = mean_value(p, s, cuts)
                if other < value:
                    value, best = other, c
            cuts[k] = best
        if value >= before:
            break
    return value


@kernel
def downlink_cost(gain_per_w: float, unit_delay_s: float, power_max_w: float, log_power_price: float) -> float:
    """Smallest sum of delay and cost of power [s]."""
    if unit_delay_s == 0.0:
        return 0.0
    if log_power_price == -math.inf:
        return power.transmit_delay(gain_per_w, unit_delay_s, power_max_w)
    watts, _ = power.power_at_price(gain_per_w, unit_delay_s, log_power_price)
    watts = min(watts, power_max_w)
    return power.transmit_delay(gain_per_w, unit_delay_s, watts) + math.exp(log_power_price) * watts


@kernel
def computing_cost(
    front_flop: float, back_flop: float, speed_flop_s: float, twin_cost_s: float, twins: int,
    compute_delay_max_s: float, pool_scale: float,
) -> float:  # fmt: skip
    """Smallest sum of computing delay and cost of pool shares, at the pool price 1 / pool_scale^2 [s]."""
    own = front_flop / speed_flop_s
    boosted = math.sqrt(front_flop) * pool_scale > speed_flop_s
    twin = twin_cost_s + ((2.0 * math.sqrt(front_flop) - speed_flop_s / pool_scale) / pool_scale if boosted else own)
    if twins == TWINS.NONE or (twins == TWINS.THRESHOLD and own <= compute_delay_max_s):
        front = own
    elif twins == TWINS.THRESHOLD:
        front = twin
    else:
        front = min(own, twin)
    return front + 2.0 * math.sqrt(back_flop) / pool_scale


@kernel
def answer_prices(p: Parameters, s: State, cuts: NDArray[np.int64]) -> None:
    """Algorithm 1 at prices: write each device's best cut (K,), given the power price and pool price of world 0.

    Needs the allocation of `objective` in the workspace. In the printed model the answer is the first cut, as in the
    paper.
    """
    w = s.workspace
    pool_scale = w.solution[SOLUTION.pool_scale] if w.solution[SOLUTION.pool_scale] > 0.0 else math.inf
    wait = allocation.waiting_time(p, s, 0)
    for k in range(p.num_devices):
        best = math.inf
        for c in range(len(p.cut_numbers)):
            back = s.back_flop[0, k, c]
            twin_cost = p.sync_bits[c] * w.up_s[k] + (wait if back == 0.0 else 0.0)
            moved = p.migration_bits[c] - p.migration_bits[s.held[0, k]]
            up_bits = p.bits_up[c] + max(-moved, 0.0)
            unit_delay = allocation.unit_delay(p.bits_down[c] + max(moved, 0.0), p.device_bandwidth_hz)
            if p.power == POWER.EQUAL:
                cost = power.transmit_delay(w.gain_per_w[k], unit_delay, w.power_w[k])
            else:
                log_power_price = w.solution[SOLUTION.log_power_price]
                cost = downlink_cost(w.gain_per_w[k], unit_delay, p.power_max_w, log_power_price)
            cost += up_bits * w.up_s[k] + p.cut_leakage_s[c] + (wait if back > 0.0 else 0.0)
            cost += computing_cost(
                s.front_flop[0, k, c], back, s.speed_flop_s[0, k], twin_cost, p.twins, p.compute_delay_max_s, pool_scale
            )
            if cost < best:
                best = cost
                cuts[k] = c


@kernel
def cut_costs(p: Parameters, s: State, costs: NDArray[np.float64]) -> None:
    """Write the delay of each device at each cut, (K, L) [s], with the pool shares and powers of world 0.

    A device without a pool share or without power gets the mean one.
    """
    w = s.workspace
    for k in range(p.num_devices):
        watts = w.power_w[k] if w.power_w[k] > 0.0 else p.power_total_w / p.num_devices
        share = w.back_end_flop_s[k] if w.back_end_flop_s[k] > 0.0 else s.capacity_flop_s[0] / p.num_devices
        for c in range(len(p.cut_numbers)):
            moved = p.migration_bits[c] - p.migration_bits[s.held[0, k]]
            up_bits = p.bits_up[c] + max(-moved, 0.0)
            unit_delay = allocation.unit_delay(p.bits_down[c] + max(moved, 0.0), p.device_bandwidth_hz)
            costs[k, c] = s.front_flop[0, k, c] / (s.speed_flop_s[0, k] + w.boost_flop_s[k])
            costs[k, c] += power.transmit_delay(w.gain_per_w[k], unit_delay, watts) + up_bits * w.up_s[k]
            costs[k, c] += p.cut_leakage_s[c]
            if s.back_flop[0, k, c] > 0.0:
                costs[k, c] += s.back_flop[0, k, c] / share + allocation.waiting_time(p, s, 0)
            if w.twin[k]:
                costs[k, c] += p.sync_bits[c] * w.up_s[k]


FAST_OBJECTIVE, FAST_VALUE_ALL = FastCall(objective), FastCall(value_all)
FAST_DESCEND, FAST_DESCEND_PAIRS = FastCall(descend), FastCall(descend_pairs)
FAST_ANSWER, FAST_COSTS = FastCall(answer_prices), FastCall(cut_costs)
FAST_MEAN, FAST_DESCEND_CONSTANT = FastCall(mean_value), FastCall(descend_constant)


def best_common(p: Parameters, s: State) -> tuple[NDArray[np.int64], float]:
    """The best cuts (K,) of world 0 that are the same for all devices, and their objective [s]."""
    cuts = common_cuts(p)
    values = np.zeros(len(cuts))
    FAST_VALUE_ALL(p, s, cuts, values)
    best = int(np.argmin(values))
    return cuts[best], float(values[best])


def alternate_prices(
    p: Parameters, s: State, start: NDArray[np.int64], iterations: int = 20
) -> tuple[NDArray[np.int64], float]:
    """Alternate allocation and best responses to its prices, from cuts `start` (K,), while the objective falls."""
    s.choice[0] = start
    cuts, value = start.copy(), FAST_OBJECTIVE(p, s, 0)
    for _ in range(iterations):
        answer = np.zeros_like(cuts)
        FAST_ANSWER(p, s, answer)
        if np.array_equal(answer, cuts):
            break
        s.choice[0] = answer
        after = FAST_OBJECTIVE(p, s, 0)
        if after >= value:
            break
        cuts, value = answer, after
    return cuts, value


def block_descent(p: Parameters, s: State) -> tuple[NDArray[np.int64], float]:
    """`descend` from several starts: responses to prices, the best common cut, the first and the last cut for all.

    The best result is improved by pairs of devices and again by single devices, until nothing changes. With three
    devices, it misses the best of all combinations in less than 1 % of the frames (tests/dtirs).
    """
    common, _ = best_common(p, s)
    starts = [alternate_prices(p, s, common)[0]]
    if p.num_devices < MANY_DEVICES:
        starts += [common, np.zeros_like(common), np.full_like(common, len(p.cut_numbers) - 1)]
    best, least = common, math.inf
    for start in starts:
        s.choice[0] = start
        value = FAST_DESCEND(p, s)
        if value < least:
            best, least = s.choice[0].copy(), value
    if p.num_devices < MANY_DEVICES:
        s.choice[0] = best
        while (value := min(FAST_DESCEND_PAIRS(p, s), FAST_DESCEND(p, s))) < least * (1.0 - 1e-12):
            least = value
        best = s.choice[0].copy()
    return best, least


def genetic(p: Parameters, s: State, rng: Generator, trace: list[float] | None = None) -> NDArray[np.int64]:
    """Genetic algorithm over cuts (K,): tournaments, uniform crossover, mutation of two genes on average, two elites.

    `trace` receives the smallest objective of every generation, including the random first one.
    """
    shape = (POPULATION, p.num_devices)
    population = rng.integers(len(p.cut_numbers), size=shape)
    values = np.zeros(POPULATION)
    FAST_VALUE_ALL(p, s, population, values)
    for _ in range(GENERATIONS):
        order = np.argsort(values, kind="stable")
        if trace is not None:
            trace.append(float(values[order[0]]))
        rivals = rng.integers(POPULATION, size=(2, POPULATION, TOURNAMENT))
        parents = np.take_along_axis(rivals, np.argmin(values[rivals], axis=2)[..., None], axis=2)[..., 0]
        mother, father = population[parents]
        children = np.where(rng.random(shape) < 0.5, mother, father)
        mutated = rng.random(shape) < 2.0 / p.num_devices
        children = np.where(mutated, rng.integers(len(p.cut_numbers), size=shape), children)
        children[:ELITE] = population[order[:ELITE]]
        population = children
        FAST_VALUE_ALL(p, s, population, values)
    if trace is not None:
        trace.append(float(values.min()))
    best: NDArray[np.int64] = population[np.argmin(values)]
    return best


def admm(p: Parameters, s: State, rng: Generator, trace: list[float] | None = None) -> NDArray[np.int64]:
    """ADMM over relaxed cuts (K,): each device's delay is linearised in its cut; the second block rounds.

    x_k minimises slope_k x_k + rho / 2 (x_k - z_k + u_k)^2, z_k is x_k + u_k rounded to a cut, u_k sums the
    differences. The slope is fitted to the delays of all cuts at the last allocation, by least squares. Rounding stalls
    the iteration where slopes are below rho / 2. `trace` receives the objective of every iteration, including the
    random start.
    """
    choices = len(p.cut_numbers)
    z = rng.integers(choices, size=p.num_devices)
    u = np.zeros(p.num_devices)
    costs = np.zeros((p.num_devices, choices))
    centred = np.arange(choices) - (choices - 1) / 2.0
    for step in range(ADMM_STEPS + 1):
        s.choice[0] = z
        value = FAST_OBJECTIVE(p, s, 0)
        if trace is not None:
            trace.append(float(value))
        if step == ADMM_STEPS:
            break
        FAST_COSTS(p, s, costs)
        slope = costs @ centred / (centred @ centred)
        x = np.clip(z - u - slope / ADMM_RHO, 0.0, choices - 1.0)
        z = np.clip(np.rint(x + u), 0, choices - 1).astype(np.int64)
        u += x - z
    return z
