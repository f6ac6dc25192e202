"""Decisions of a frame by slow searches: powers, shares of the pool, and twins by trying all 2^K sets."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Floats = NDArray[np.float64]

MOST_TRIED = 6
"""Devices up to which all 2^K sets of twins are tried"""


def best_powers(gain_per_w: Floats, unit_delay_s: Floats, total_w: float, most_w: float) -> Floats:
    """Powers of (47)-(49) by nested root searches: for the power price, and for every power at a price."""

    def slope(k: int, power: float) -> float:
        x = gain_per_w[k] * power
        return math.log(unit_delay_s[k] * gain_per_w[k]) - math.log1p(x) - 2.0 * math.log(math.log1p(x))

    def power_at(k: int, log_price: float) -> float:
        if unit_delay_s[k] == 0.0:
            return 0.0
        if slope(k, most_w) >= log_price:
            return most_w
        low = math.log(most_w) - 1.0
        while slope(k, math.exp(low)) < log_price:
            low -= 5.0
        return math.exp(brentq(lambda t: slope(k, math.exp(t)) - log_price, low, math.log(most_w), xtol=1e-14))

    users = range(len(gain_per_w))
    senders = [k for k in users if unit_delay_s[k] > 0.0]
    if len(senders) * most_w <= total_w:
        return np.where(unit_delay_s > 0.0, most_w, 0.0)

    def spent(log_price: float) -> float:
        return math.fsum(power_at(k, log_price) for k in users) - total_w

    low = min(slope(k, most_w) for k in senders)
    high = max(slope(k, most_w) for k in senders) + 1.0
    while spent(high) > 0.0:
        high += 3.0
    price = brentq(spent, low - 1e-9, high, xtol=1e-14)
    return np.array([power_at(k, price) for k in users])


def best_shares(
    front: Floats, speed: Floats, twin: NDArray[np.bool_], back: Floats, capacity: float
) -> tuple[Floats, Floats]:
    """Boosts of twins and speeds of back ends with the smallest delay, by a root search for the pool price."""
    root_front = np.where(twin, np.sqrt(front), 0.0)
    root_back = np.sqrt(back)

    def shares(scale: float) -> tuple[Floats, Floats]:
        return np.where(root_front > 0.0, np.maximum(scale * root_front - speed, 0.0), 0.0), scale * root_back

    if not (root_front.any() or root_back.any()):
        return np.zeros(len(front)), np.zeros(len(front))
    most = (capacity + speed.sum()) / max(root_front.max(), root_back.max()) + 1.0
    scale = brentq(lambda s: sum(part.sum() for part in shares(s)) - capacity, 0.0, 2.0 * most, xtol=1e-300, rtol=1e-15)
    return shares(scale)


def ratio(amount: float, rate: float) -> float:
    """amount / rate; 0 if the amount is 0."""
    return amount / rate if amount > 0.0 else 0.0


def computing_s(
    front: Floats, speed: Floats, twin: NDArray[np.bool_], back: Floats, sync_s: Floats, capacity: float, wait_s: float
) -> float:
    """Smallest delay that depends on the twins: before the cut, behind it, upload of weights, and waits."""
    boost, share = best_shares(front, speed, twin, back, capacity)
    total = 0.0
    for k in range(len(front)):
        total += ratio(front[k], speed[k] + boost[k]) + ratio(back[k], share[k])
        total += sync_s[k] if twin[k] else 0.0
        total += wait_s if twin[k] or back[k] > 0.0 else 0.0
    return total


def best_twins(
    front: Floats, speed: Floats, back: Floats, sync_s: Floats, capacity: float, wait_s: float
) -> NDArray[np.bool_]:
    """The set of twins with the smallest delay among all 2^K; among equal ones, the one with the fewest twins."""
    users = len(front)
    sets = sorted(itertools.product((False, True), repeat=users), key=sum)
    found, least = np.zeros(users, dtype=bool), math.inf
    for chosen in sets:
        twin = np.array(chosen)
        delay = computing_s(front, speed, twin, back, sync_s, capacity, wait_s)
        if delay < least * (1.0 - 1e-13):
            found, least = twin, delay
    return found
