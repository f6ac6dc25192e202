"""Searching the cuts of one frame: common cuts, answers to prices, block descent, a genetic algorithm, ADMM.

All of them value cuts by the allocation that the frame would get (`allocation.solve_frame`), at the phases it has. The
genetic algorithm is a few lines of our own: so the valuations of a generation are one compiled call.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import FastCall, kernel
from edge_envs.dtirs.config import NO_TWIN, THRESHOLD, Parameters
from edge_envs.dtirs.model import allocation
from edge_envs.dtirs.model.calibration import objective, value_all
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.model.workspace import POOL, PRICE
from edge_envs.dtirs.solvers import power

SEARCH_STREAM = 0xD7A4
"""Sets the random streams of searches apart from those of any environment seed."""

MOST_PASSES = 20
"""Passes of the block descent over the devices; it ends earlier where a pass changes nothing."""

MANY_DEVICES = 32
"""From here on the block descent has one start instead of four, and pairs of devices are not tried."""

POPULATION, GENERATIONS, TOURNAMENT, ELITE = 30, 120, 3, 2
"""Genetic algorithm; chosen: the paper does not say."""

ADMM_STEPS, ADMM_RHO = 60, 0.02
"""Iterations and penalty [s per squared step of the choice] of the ADMM; chosen: the paper does not say."""


@kernel
def solve_row(p: Parameters, s: State, row: int) -> None:
    """Everything of the frame to come at the row's cuts, phases for the delay included; into the work space."""
    allocation.solve_all(p, s, row)


@kernel
def descend(p: Parameters, s: State) -> float:
    """Block descent: each device in turn moves to its best cut, others fixed, until none does; world 0, in place."""
    value = objective(p, s, 0)
    for _ in range(MOST_PASSES):
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
    """The same over pairs: each two devices move to their best two cuts, others fixed; one pass over world 0."""
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
    """Block descent over cuts (K,) that are the same in all worlds, in place; returns their mean objective [s]."""
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
def priced_power(gain_per_w: float, nat_seconds: float, most_w: float, log_price: float) -> float:
    """Least delay plus price of the power for it [s]."""
    if nat_seconds == 0.0:
        return 0.0
    if log_price == -math.inf:
        return power.transmit_delay(gain_per_w, nat_seconds, most_w)
    watts, _ = power.power_at_price(gain_per_w, nat_seconds, log_price)
    watts = min(watts, most_w)
    return power.transmit_delay(gain_per_w, nat_seconds, watts) + math.exp(log_price) * watts


@kernel
def priced_computing(
    front_flop: float, back_flop: float, speed_flop_s: float, twin_cost_s: float, rule: int, most_s: float, s: float
) -> float:
    """Least computing delay plus price of the pool's shares for it, at the price 1 / s^2 [s]."""
    own = front_flop / speed_flop_s
    boosted = math.sqrt(front_flop) * s > speed_flop_s
    twin = twin_cost_s + ((2.0 * math.sqrt(front_flop) - speed_flop_s / s) / s if boosted else own)
    if rule == NO_TWIN or (rule == THRESHOLD and own <= most_s):
        front = own
    elif rule == THRESHOLD:
        front = twin
    else:
        front = min(own, twin)
    return front + 2.0 * math.sqrt(back_flop) / s


@kernel
def answer_prices(p: Parameters, s: State, cuts: NDArray[np.int64]) -> None:
    """Algorithm 1 at prices: each device's best cut into `cuts` (K,), for what power and pool cost in world 0 now.

    Needs the allocation of `objective` in the work space. In the printed model the answer is the first cut, as there.
    """
    w = s.work
    pooled = w.solution[POOL] if w.solution[POOL] > 0.0 else math.inf
    wait = allocation.waiting_time(p, s, 0)
    for k in range(p.num_devices):
        best = math.inf
        for c in range(len(p.cut_numbers)):
            back = s.back_flop[0, k, c]
            sync = p.sync_bits[c] * w.up_s[k] + (wait if back == 0.0 else 0.0)
            nats = p.bits_down[c] * math.log(2.0) / p.bandwidth_hz
            if p.equal_power:
                cost = power.transmit_delay(w.gain_per_w[k], nats, w.power_w[k])
            else:
                cost = priced_power(w.gain_per_w[k], nats, p.power_max_w, w.solution[PRICE])
            cost += p.bits_up[c] * w.up_s[k] + p.leakage_s[c] + (wait if back > 0.0 else 0.0)
            cost += priced_computing(
                s.front_flop[0, k, c], back, s.speed_flop_s[0, k], sync, p.twins, p.compute_delay_max_s, pooled
            )
            if cost < best:
                best = cost
                cuts[k] = c


@kernel
def cut_costs(p: Parameters, s: State, costs: NDArray[np.float64]) -> None:
    """Delay of each device at each cut, (K, L) [s], with the shares of the pool and the powers that world 0 has now.

    A device without a share of the pool or without power has the mean one.
    """
    w = s.work
    for k in range(p.num_devices):
        watts = w.power_w[k] if w.power_w[k] > 0.0 else p.power_total_w / p.num_devices
        share = w.back_end_flop_s[k] if w.back_end_flop_s[k] > 0.0 else s.capacity_flop_s[0] / p.num_devices
        for c in range(len(p.cut_numbers)):
            nats = p.bits_down[c] * math.log(2.0) / p.bandwidth_hz
            costs[k, c] = s.front_flop[0, k, c] / (s.speed_flop_s[0, k] + w.boost_flop_s[k])
            costs[k, c] += power.transmit_delay(w.gain_per_w[k], nats, watts) + p.bits_up[c] * w.up_s[k]
            costs[k, c] += p.leakage_s[c]
            if s.back_flop[0, k, c] > 0.0:
                costs[k, c] += s.back_flop[0, k, c] / share + allocation.waiting_time(p, s, 0)
            if w.twin[k]:
                costs[k, c] += p.sync_bits[c] * w.up_s[k]


FAST_OBJECTIVE, FAST_VALUE_ALL = FastCall(objective), FastCall(value_all)

FAST_DESCEND, FAST_DESCEND_PAIRS = FastCall(descend), FastCall(descend_pairs)

FAST_ANSWER, FAST_COSTS = FastCall(answer_prices), FastCall(cut_costs)

FAST_MEAN, FAST_DESCEND_CONSTANT = FastCall(mean_value), FastCall(descend_constant)


def use(s: State, cuts: NDArray[np.int64]) -> None:
    """Put cuts (K,) into world 0."""
    s.choice[0] = cuts


def best_common(p: Parameters, s: State) -> tuple[NDArray[np.int64], float]:
    """The best of the cuts that are the same for all devices of world 0, shape (K,), and its objective [s]."""
    cuts = np.repeat(np.arange(len(p.cut_numbers)), p.num_devices).reshape(-1, p.num_devices)
    values = np.zeros(len(cuts))
    FAST_VALUE_ALL(p, s, cuts, values)
    best = int(np.argmin(values))
    return cuts[best], float(values[best])


def alternate_prices(
    p: Parameters, s: State, start: NDArray[np.int64], iterations: int = 20
) -> tuple[NDArray[np.int64], float]:
    """Allocation and answers to its prices in turn, from cuts `start` (K,) of world 0, while the objective falls."""
    use(s, start)
    cuts, value = start.copy(), FAST_OBJECTIVE(p, s, 0)
    for _ in range(iterations):
        answer = np.zeros_like(cuts)
        FAST_ANSWER(p, s, answer)
        if np.array_equal(answer, cuts):
            break
        use(s, answer)
        after = FAST_OBJECTIVE(p, s, 0)
        if after >= value:
            break
        cuts, value = answer, after
    return cuts, value


def block_descent(p: Parameters, s: State) -> tuple[NDArray[np.int64], float]:
    """`descend` from several starts: answers to prices, the best common cut, the first and the last cut everywhere.

    The best end is improved by pairs of devices and then by single ones again, until nothing changes. Against all
    combinations of three devices' cuts this misses the best in less than one frame in a hundred (tests/dtirs).
    """
    common, _ = best_common(p, s)
    starts = [alternate_prices(p, s, common)[0]]
    if p.num_devices < MANY_DEVICES:
        starts += [common, np.zeros_like(common), np.full_like(common, len(p.cut_numbers) - 1)]
    best, least = common, math.inf
    for start in starts:
        use(s, start)
        value = FAST_DESCEND(p, s)
        if value < least:
            best, least = s.choice[0].copy(), value
    if p.num_devices < MANY_DEVICES:
        use(s, best)
        while (value := min(FAST_DESCEND_PAIRS(p, s), FAST_DESCEND(p, s))) < least * (1.0 - 1e-12):
            least = value
        best = s.choice[0].copy()
    return best, least


def genetic(p: Parameters, s: State, rng: Generator, trace: list[float] | None = None) -> NDArray[np.int64]:
    """Genetic algorithm over cuts (K,): tournaments, uniform crossover, mutation of two genes on average, two elites.

    `trace` receives the least objective of every generation, the random first one included.
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
    """ADMM over relaxed cuts (K,): each device's delay made linear in its cut, rounding as the second block.

    x_k minimises slope_k x_k + rho / 2 (x_k - z_k + u_k)^2, z_k is x_k + u_k rounded to a cut, u_k adds up the rest.
    The slope is that of the delays of all cuts at the shares and powers of the last allocation, by least squares.
    Rounding makes it stall where the slopes are below rho / 2. `trace` receives the objective of every iteration, the
    random start included.
    """
    choices = len(p.cut_numbers)
    z = rng.integers(choices, size=p.num_devices)
    u = np.zeros(p.num_devices)
    costs = np.zeros((p.num_devices, choices))
    centred = np.arange(choices) - (choices - 1) / 2.0
    for step in range(ADMM_STEPS + 1):
        use(s, z)
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
