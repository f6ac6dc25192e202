"""Slow, independent solution of the power allocation (47)-(49), and Lambert's W to fifty digits.

It uses only the problem and its optimality conditions, in the form of (52): at the price nu a user takes the power at
which another watt saves nu seconds. One search for each power is nested in one for the price.
"""

import math
from decimal import Decimal, localcontext

import numpy as np
from scipy.optimize import brentq, minimize

from tests.dtirs.solvers.problems import Floats, PowerProblem


def delay(problem: PowerProblem, power_w: Floats) -> float:
    """The objective (47); users without data have no delay, other users without power an infinite one."""
    total = []
    for gain, work, power in zip(problem.gain_per_w, problem.unit_delay_s, power_w, strict=True):
        if work > 0.0:
            total.append(work / math.log1p(gain * power) if power > 0.0 else math.inf)
    return math.fsum(total)


def marginal(problem: PowerProblem, power_w: Floats) -> Floats:
    """Delay saved per watt of each user [s/W]; 0 for users without data."""
    snr = problem.gain_per_w * power_w
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = problem.unit_delay_s * problem.gain_per_w / ((1.0 + snr) * np.log1p(snr) ** 2)
    return np.where(problem.unit_delay_s > 0.0, slope, 0.0)


def powers_at(problem: PowerProblem, log_price: float) -> Floats:
    """Powers at a log price [ln(s/W)]: where the delay saved per watt equals the price, or the limit.

    In y = ln ln(1 + SNR) the condition is exp(y) + 2 y = ln(c a / nu): increasing and convex, so that Newton's steps
    from the right all stay there.
    """
    busy = problem.unit_delay_s > 0.0
    gain = problem.gain_per_w[busy]
    level = np.log(problem.unit_delay_s[busy]) + np.log(gain) - log_price
    y = np.where(level > 1.0, np.log(np.maximum(level, 1.0)), 0.5 * level)
    for _ in range(60):
        step = (np.exp(y) + 2.0 * y - level) / (np.exp(y) + 2.0)
        y = y - step
        if (np.abs(step) < 1e-15 * np.maximum(np.abs(y), 1.0)).all():
            break
    power = np.zeros(len(busy))
    with np.errstate(over="ignore"):
        power[busy] = np.minimum(np.expm1(np.exp(y)) / gain, problem.power_max_w)
    return power


def solve(problem: PowerProblem) -> tuple[Floats, float]:
    """The optimal powers and the price of a watt [s/W], which is 0 where the budget does not bind."""
    busy = problem.unit_delay_s > 0.0
    if not busy.any():
        return np.zeros(len(busy)), 0.0
    if problem.power_max_w * busy.sum() <= problem.power_total_w:
        return np.where(busy, problem.power_max_w, 0.0), 0.0

    def surplus(log_price: float) -> float:
        return math.log(math.fsum(powers_at(problem, log_price)) / problem.power_total_w)

    even = np.full(len(busy), problem.power_total_w / busy.sum())
    slopes = np.log(marginal(problem, even)[busy])
    low, high = slopes.min() - 1e-9, slopes.max() + 1e-9
    while surplus(low) < 0.0:
        low -= 1.0
    log_price = brentq(surplus, low, high, xtol=1e-15, rtol=1e-15) if surplus(high) < 0.0 else high
    return powers_at(problem, log_price), math.exp(log_price)


def solve_by_brentq(problem: PowerProblem) -> Floats:
    """The same by scalar searches in powers instead of SNRs; for a few users."""

    def power_of(user: int, log_price: float) -> float:
        def excess(log_power: float) -> float:
            return math.log(marginal(problem, np.full(size, math.exp(log_power)))[user]) - log_price

        high = math.log(min(problem.power_max_w, problem.power_total_w))
        return math.exp(high if excess(high) >= 0.0 else brentq(excess, high - 100.0, high, xtol=1e-14))

    size = len(problem.gain_per_w)
    if problem.power_max_w * size <= problem.power_total_w:
        return np.full(size, problem.power_max_w)
    price = brentq(
        lambda x: math.log(sum(power_of(k, x) for k in range(size)) / problem.power_total_w), -150.0, 150.0, xtol=1e-13
    )
    return np.array([power_of(k, price) for k in range(size)])


def solve_by_slsqp(problem: PowerProblem) -> Floats:
    """The same by a general solver in logarithms of power, from equal powers; for a few similar users."""
    size = len(problem.gain_per_w)
    even = min(problem.power_total_w / size, problem.power_max_w)
    unit = delay(problem, np.full(size, even))
    found = minimize(
        lambda x: delay(problem, even * np.exp(x)) / unit,
        np.full(size, -0.01),
        method="SLSQP",
        bounds=[(-20.0, math.log(min(problem.power_max_w, problem.power_total_w) / even))] * size,
        constraints={"type": "ineq", "fun": lambda x: 1.0 - even * np.exp(x).sum() / problem.power_total_w},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return np.asarray(even * np.exp(found.x))


def dual_bound(problem: PowerProblem, price: float) -> float:
    """Dual function at a price of a watt [s/W]: a lower bound on the delay of all feasible powers."""
    busy = problem.unit_delay_s > 0.0
    if not busy.any():
        return 0.0
    if price == 0.0:
        cap = np.full(len(busy), problem.power_max_w)
        return delay(problem, cap) if math.isfinite(problem.power_max_w) else 0.0
    power = powers_at(problem, math.log(price))
    return delay(problem, power) + price * (math.fsum(power) - problem.power_total_w)


def kkt_residual(problem: PowerProblem, power_w: Floats, price: float) -> float:
    """Largest relative violation of the conditions (51) and of both limits."""
    busy = problem.unit_delay_s > 0.0
    if not busy.any():
        return float(np.abs(power_w).max(initial=0.0))
    found = [abs(float(np.abs(power_w[~busy]).max(initial=0.0)))]
    used = math.fsum(power_w) / problem.power_total_w - 1.0
    found += [max(used, 0.0) if price == 0.0 else abs(used), float((power_w / problem.power_max_w).max()) - 1.0]
    at_cap = power_w >= problem.power_max_w * (1.0 - 1e-12)
    slope = marginal(problem, power_w)
    if price > 0.0:
        found += list(np.abs(slope[busy & ~at_cap] / price - 1.0))
        found += list(1.0 - slope[busy & at_cap] / price)
    elif (busy & ~at_cap).any():
        found.append(math.inf)
    return max(found)


def lambert_w_of_exp(log_z: float) -> float:
    """W(exp(log_z)), the root of w + ln w = log_z, to fifty digits and then rounded."""
    with localcontext() as context:
        context.prec = 60
        level = Decimal(log_z)
        if log_z < 0.0:
            # In u = ln w the root of exp(u) + u: convex again, from the right.
            u = level
            for _ in range(200):
                step = (u.exp() + u - level) / (u.exp() + 1)
                u -= step
                if abs(step) < Decimal("1e-50"):
                    break
            return float(u.exp())
        w = level if level > 1 else Decimal(1)
        for _ in range(200):
            step = (w + w.ln() - level) / (1 + 1 / w)
            w -= step
            if abs(step) < Decimal("1e-50"):
                break
        return float(w)
