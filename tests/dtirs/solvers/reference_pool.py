"""Slow, independent solutions of the access point's pool (32), with and without back ends, and of the choice of twins.

Everything here follows from one condition: whoever gets some of the pool gets it at the same marginal value, so that a
twin's speed is s sqrt(work) if that is above its device's, and a back end's is s sqrt(work). The scalar s is searched.
"""

import math

import numpy as np
from scipy.optimize import brentq, minimize

from tests.dtirs.solvers.problems import Bools, Floats, PoolProblem, TwinProblem


def delay(problem: PoolProblem, boost: Floats, back_end: Floats) -> float:
    """The objective of (32) plus the delays of the back ends, without the delays of local users."""
    parts = []
    for k in range(len(problem.front_flop)):
        if problem.twin[k]:
            parts.append(problem.front_flop[k] / (problem.speed_flop_s[k] + boost[k]))
        if problem.back_flop[k] > 0.0:
            parts.append(problem.back_flop[k] / back_end[k] if back_end[k] > 0.0 else math.inf)
    return math.fsum(parts)


def no_demand(problem: PoolProblem) -> bool:
    """Return True if no user has work for the pool."""
    return not ((problem.twin & (problem.front_flop > 0.0)).any() or (problem.back_flop > 0.0).any())


def shares_at(problem: PoolProblem, s: float) -> tuple[Floats, Floats]:
    """Boosts and back-end speeds at s = 1 / sqrt(pool price)."""
    boost = np.maximum(s * np.sqrt(problem.front_flop) - problem.speed_flop_s, 0.0)
    return np.where(problem.twin, boost, 0.0), s * np.sqrt(problem.back_flop)


def solve(problem: PoolProblem) -> tuple[Floats, Floats, float]:
    """The optimal boosts and back-end speeds, and the pool price [s per FLOP/s]."""
    if no_demand(problem):
        return np.zeros(len(problem.twin)), np.zeros(len(problem.twin)), 0.0

    def surplus(log_s: float) -> float:
        boost, back_end = shares_at(problem, math.exp(log_s))
        return math.fsum((*boost, *back_end)) / problem.capacity_flop_s - 1.0

    most = problem.speed_flop_s.sum() + problem.capacity_flop_s
    least = math.sqrt(max(problem.front_flop.max(), problem.back_flop.max()))
    asking = np.concatenate((problem.front_flop[problem.twin], problem.back_flop))
    top = math.log(most) - 0.5 * math.log(asking[asking > 0.0].min())
    log_s = brentq(surplus, top - 100.0 - math.log(least), top + 1e-9, xtol=1e-15, rtol=1e-15, maxiter=1000)
    return *shares_at(problem, math.exp(log_s)), math.exp(-2.0 * log_s)


def solve_by_slsqp(problem: PoolProblem) -> float:
    """The smallest delay by a general solver, from equal shares; for a few similar users."""
    size = len(problem.twin)
    twins = problem.twin & (problem.front_flop > 0.0)
    asks = np.concatenate((twins, problem.back_flop > 0.0))

    def cost(part: Floats) -> float:
        whole = np.zeros(2 * size)
        whole[asks] = np.maximum(part, 1e-12) * problem.capacity_flop_s
        return delay(problem, whole[:size], whole[size:]) / unit

    unit = 1.0
    start = np.full(asks.sum(), 1.0 / asks.sum())
    unit = cost(start)
    found = minimize(
        cost, start, method="SLSQP", bounds=[(0.0, 1.0)] * len(start),
        constraints={"type": "ineq", "fun": lambda part: 1.0 - part.sum()}, options={"ftol": 1e-15, "maxiter": 1000},
    )  # fmt: skip
    assert found.x.sum() <= 1.0 + 1e-9
    return cost(found.x) * unit


def dual_bound(problem: PoolProblem, price: float) -> float:
    """Dual function at a price [s per FLOP/s]: a lower bound on the delay of all feasible shares."""
    parts = [-price * problem.capacity_flop_s]
    for k in range(len(problem.twin)):
        work, speed = problem.front_flop[k], problem.speed_flop_s[k]
        if problem.twin[k]:
            pays = math.sqrt(work) > speed * math.sqrt(price)
            parts.append(2.0 * math.sqrt(price * work) - price * speed if pays else work / speed)
        parts.append(2.0 * math.sqrt(price * problem.back_flop[k]))
    return math.fsum(parts)


def kkt_residual(problem: PoolProblem, boost: Floats, back_end: Floats, price: float) -> float:
    """Largest relative violation of (34), (37) and of the corresponding conditions for back ends."""
    found = [abs(math.fsum((*boost, *back_end)) / problem.capacity_flop_s - 1.0)]
    for k in range(len(problem.twin)):
        value = problem.front_flop[k] / (problem.speed_flop_s[k] + boost[k]) ** 2 / price
        if problem.twin[k] and boost[k] > 0.0:
            found.append(abs(value - 1.0))
        elif problem.twin[k]:
            found.append(value - 1.0)
        else:
            found.append(abs(boost[k]) / problem.capacity_flop_s)
        if problem.back_flop[k] > 0.0:
            found.append(abs(problem.back_flop[k] / back_end[k] ** 2 / price - 1.0))
        else:
            found.append(abs(back_end[k]) / problem.capacity_flop_s)
    return max(found)


def all_subsets(size: int) -> Bools:
    """Every choice of twins, one per row; the first row has none."""
    return (np.arange(2**size)[:, None] >> np.arange(size)) & 1 == 1


def delay_of_choices(problem: TwinProblem, twin: Bools) -> Floats:
    """Sum delay of each row of choices with its own best shares: fronts, synchronisation and back ends."""
    front, speed, back = problem.front_flop, problem.speed_flop_s, problem.back_flop
    root, back_root = np.sqrt(front), np.sqrt(back).sum()

    def spent(log_s: Floats) -> Floats:
        s = np.exp(log_s)
        return (np.maximum(s[:, None] * root - speed, 0.0) * twin).sum(axis=1) + s * back_root

    level = math.log(problem.capacity_flop_s + speed.sum()) - 0.5 * math.log(max(front.max(), back.max(), 1.0))
    low, high = np.full(len(twin), level - 60.0), np.full(len(twin), level + 60.0)
    for _ in range(64):
        middle = 0.5 * (low + high)
        over = spent(middle) > problem.capacity_flop_s
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    s = np.exp(low)[:, None]
    own = front / speed
    fronts = np.where(twin, front / np.maximum(s * root, speed) + problem.sync_s, own)
    with np.errstate(divide="ignore", over="ignore"):
        backs = back_root / s[:, 0] if back_root > 0.0 else 0.0
    return np.asarray(fronts.sum(axis=1) + backs)


def best_choice(problem: TwinProblem) -> tuple[Bools, float]:
    """The best of all 2^K choices of twins and its sum delay."""
    every = all_subsets(len(problem.front_flop))
    delays = delay_of_choices(problem, every)
    best = int(delays.argmin())
    return every[best], float(delays[best])


def choice_bound(problem: TwinProblem, log_price: float) -> float:
    """Dual function of the choice at a price [ln of s per FLOP/s]: a lower bound over all choices of twins."""
    price = math.exp(log_price)
    parts = [-price * problem.capacity_flop_s]
    for work, speed, sync, back in zip(*problem[:3], problem.back_flop, strict=True):
        pays = math.sqrt(work) > speed * math.sqrt(price)
        twin = 2.0 * math.sqrt(price * work) - price * speed if pays else work / speed
        parts.append(min(work / speed, twin + sync))
        parts.append(2.0 * math.sqrt(price * back))
    return math.fsum(parts)


def best_choice_bound(problem: TwinProblem) -> float:
    """The best bound over all prices; the dual function is concave in the price."""
    low, high = -150.0, 50.0
    inverse = (math.sqrt(5.0) - 1.0) / 2.0
    # A concave function of the price has a single maximum in its logarithm, too.
    for _ in range(120):
        left, right = high - inverse * (high - low), low + inverse * (high - low)
        if choice_bound(problem, left) < choice_bound(problem, right):
            low = left
        else:
            high = right
    return choice_bound(problem, 0.5 * (low + high))
