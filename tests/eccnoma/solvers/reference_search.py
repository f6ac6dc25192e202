"""Slow, independent search for the best assignment and powers of tiny instances, and what single moves would save.

With one subchannel per user the subchannels do not meet: the cost of an assignment is the sum of what its sets of users
cost, each with the powers that are best for it. So every set is searched once on every subchannel.
"""

import itertools
import math
from functools import cache

import numpy as np
from scipy.optimize import minimize

from tests.eccnoma.solvers.problems import Floats, Ints, Radio, active
from tests.eccnoma.solvers.reference_radio import LN2, coupling

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Log powers from which sets are screened, as parts of the range"""
STARTS = 3
"""How many of the screened points are descended from"""


def set_cost(radio: Radio, pairs: Floats, m: int, users: tuple[int, ...], power_w: list[float]) -> float:
    """Cost of some users that share subchannel `m` with the given powers; `pairs` is the coupling."""
    total = 0.0
    for i, own_w in zip(users, power_w, strict=True):
        disturbance = radio.noise_w
        for v, other_w in zip(users, power_w, strict=True):
            disturbance += pairs[m, i, v] * other_w
        rate = radio.bandwidth_hz * math.log1p(own_w * radio.gain[m, i, radio.ap[i]] / disturbance) / LN2
        total += (radio.delay_weight[i] + radio.energy_weight[i] * own_w) * radio.bits[i] / rate
    return total


def best_of_set(radio: Radio, pairs: Floats, m: int, users: tuple[int, ...]) -> tuple[float, list[float]]:
    """Least cost of some users on subchannel `m` and their powers: a grid of log powers, L-BFGS-B from its best."""
    log_ratio = math.log(radio.power_max_w / radio.power_min_w)

    def powers(level: Floats | tuple[float, ...]) -> list[float]:
        return [min(radio.power_min_w * math.exp(u * log_ratio), radio.power_max_w) for u in level]

    def at(level: Floats | tuple[float, ...]) -> float:
        return set_cost(radio, pairs, m, users, powers(level))

    screened = sorted(itertools.product(LEVELS, repeat=len(users)), key=at)
    best, best_level = at(screened[0]), np.array(screened[0])
    scale = best if best > 0.0 else 1.0
    for start in screened[:STARTS]:
        found = minimize(
            lambda level: at(level) / scale,
            np.array(start),
            method="L-BFGS-B",
            bounds=[(0.0, 1.0)] * len(users),
            options={"ftol": 1e-14, "gtol": 1e-9},
        )
        if at(found.x) < best:
            best, best_level = at(found.x), found.x
    return best, powers(best_level)


def allowed(radio: Radio, users: tuple[int, ...]) -> bool:
    """Return True if no access point has more of these users than fit on one subchannel."""
    return max((int(count) for count in np.bincount(radio.ap[list(users)])), default=0) <= radio.capacity


def brute_force(radio: Radio) -> tuple[float, Ints, Floats]:
    """Least cost of all assignments within capacity, the subchannels (-1: silent) and the powers."""
    pairs = coupling(radio)
    busy = [int(i) for i in np.flatnonzero(active(radio))]
    subchannels = range(len(radio.gain))

    @cache
    def best_on(m: int, users: tuple[int, ...]) -> tuple[float, list[float]]:
        if not users:
            return 0.0, []
        return best_of_set(radio, pairs, m, users) if allowed(radio, users) else (math.inf, [])

    def sets(choice: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [tuple(i for i, chosen in zip(busy, choice, strict=True) if chosen == m) for m in subchannels]

    def total(choice: tuple[int, ...]) -> float:
        return math.fsum(best_on(m, users)[0] for m, users in enumerate(sets(choice)))

    best = min(itertools.product(subchannels, repeat=len(busy)), key=total)
    subchannel, power_w = np.full(len(radio.ap), -1), np.full(len(radio.ap), radio.power_min_w)
    for m, users in enumerate(sets(best)):
        for i, own_w in zip(users, best_on(m, users)[1], strict=True):
            subchannel[i], power_w[i] = m, own_w
    return total(best), subchannel, power_w


def best_change(radio: Radio, subchannel: Ints, power_w: Floats, *, swap: bool = False) -> float:
    """Largest part of the cost that one user saves by moving alone, or two by changing places, powers kept."""
    pairs = coupling(radio)
    busy = [int(i) for i in np.flatnonzero(active(radio))]

    def cost_of(place: dict[int, int]) -> float:
        parts = []
        for m in set(place.values()):
            users = tuple(i for i in busy if place[i] == m)
            if not allowed(radio, users):
                return math.inf
            parts.append(set_cost(radio, pairs, m, users, [float(power_w[i]) for i in users]))
        return math.fsum(parts)

    now = {i: int(subchannel[i]) for i in busy}
    if swap:
        others = [{**now, i: now[j], j: now[i]} for i, j in itertools.combinations(busy, 2) if now[i] != now[j]]
    else:
        others = [{**now, i: m} for i in busy for m in range(len(radio.gain)) if m != now[i]]
    return 1.0 - min(map(cost_of, others), default=math.inf) / cost_of(now)
