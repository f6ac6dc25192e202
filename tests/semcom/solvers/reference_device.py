"""One device in the searches of `reference_solvers`: scalar problems in plain loops, compiled for speed.

A device that uploads c nats over a band of B hertz in t seconds sends v = c / (B t) nats per second and hertz, at
(N0/g) B (e^v - 1) watts. Its link is the tuple (c [nat], N0/g [W/Hz], power limit [W], least v, weight of energy), its
computations are the tuple (cycles of device and server, their least times [s], their energy coefficients, weight of
energy). Costs are weighted energies, plus prices where there are any.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@njit(cache=True)
def marginal_ratio(v: float) -> float:
    """v e^v - (e^v - 1), by its power series where the difference would lose its digits."""
    if v > 1.0:
        return (v - 1.0) * math.exp(v) + 1.0
    term, total, k = v, 0.0, 1
    while term > 1e-18 * total:
        k += 1
        term *= v / k
        total += (k - 1) * term
    return total


@njit(cache=True)
def mean_ratio(v: float) -> float:
    """(e^v - 1) / v - 1, by its power series where the difference would lose its digits."""
    if v > 1.0:
        return math.expm1(v) / v - 1.0
    term, total, k = 1.0, 0.0, 1
    while term > 1e-18 * total:
        k += 1
        term *= v / k
        total += term
    return total


@njit(cache=True)
def nats_for_price(target: float) -> float:
    """The v > 0 at which `marginal_ratio` is the target: Newton in ln v from above, where the function is convex."""
    if target <= 0.0:
        return 0.0
    v = min(math.sqrt(2.0 * target), 1.0 + math.log1p(target))
    for _ in range(100):
        value = marginal_ratio(v)
        step = math.log(value / target) * value / (v * v * math.exp(v))
        v *= math.exp(-step)
        if step < 1e-15:
            break
    return v


@njit(cache=True)
def nats_for_power(ratio: float) -> float:
    """The v >= 0 at which (e^v - 1) / v is the ratio (0 if it is below one): Newton from above, convex again."""
    if ratio <= 1.0:
        return 0.0
    goal = math.log(ratio)
    v = 2.0 * goal
    for _ in range(100):
        step = (math.log(math.expm1(v) / v) - goal) / (1.0 / -math.expm1(-v) - 1.0 / v)
        v -= step
        if step < 1e-15 * v:
            break
    return max(v, 0.0)


@njit(cache=True)
def cheapest_band(t: float, link: tuple, price: float) -> tuple:  # type: ignore[type-arg]
    """Weighted energy plus price of the bandwidth of one upload within t seconds, and that bandwidth [Hz].

    The energy counts from what no upload can go below (`certain_energy`): where the SNR's limit fixes it, what is left
    to choose would drown in its rounding. It is convex in the bandwidth, so the one where its derivative meets the
    price is best, or the limit that it runs into: v is at least what the SNR needs, at most what the power allows.
    """
    c, noise_over_gain, power_max, least_nats, weight = link
    v = nats_for_price(price / (weight * t * noise_over_gain))
    v = min(v, nats_for_power(power_max * t / (noise_over_gain * c)))
    v = max(v, least_nats, 1e-12)
    band = c / (v * t)
    extra = mean_ratio(v) - mean_ratio(least_nats) if v > least_nats else 0.0
    return weight * noise_over_gain * c * extra + price * band, band


@njit(cache=True)
def computing(tau: float, task: tuple) -> tuple:  # type: ignore[type-arg]
    """Least weighted energy of both computations within tau seconds, and their two times [s].

    The energy k1 a1^3 / x^2 + k2 a2^3 / (tau - x)^2 is convex in the device's time x: its stationary point, clipped.
    """
    a1, a2, least1, least2, k1, k2, weight = task
    ratio = a1 * k1 ** (1 / 3) / (a2 * k2 ** (1 / 3))
    x = tau * ratio / (1.0 + ratio)
    y = tau / (1.0 + ratio)
    if x < least1:
        x, y = least1, tau - least1
    if y < least2:
        x, y = max(tau - least2, least1), least2
    y = max(y, least2)
    return weight * (k1 * a1**3 / x**2 + k2 * a2**3 / y**2), x, y


@njit(cache=True)
def cost_of_share(x: float, data: tuple) -> float:  # type: ignore[type-arg]
    """Cost of one device whose upload gets the part 1/(1 + e^-x) of the time that nothing needs."""
    link, task, price, shortest_upload, shortest_computing, spare = data
    upload = shortest_upload + spare / (1.0 + math.exp(-x))
    tau = shortest_computing + spare / (1.0 + math.exp(x))
    return cheapest_band(upload, link, price)[0] + computing(tau, task)[0]


@njit(cache=True)
def cost_of_stretch(x: float, data: tuple) -> float:  # type: ignore[type-arg]
    """Cost of one upload of e^x times its shortest time, time and bandwidth priced."""
    link, time_price, price, shortest_upload = data
    upload = shortest_upload * math.exp(x)
    return cheapest_band(upload, link, price)[0] + time_price * upload


@njit(cache=True)
def cost_of_frequency(x: float, data: tuple) -> float:  # type: ignore[type-arg]
    """Cost of a computation at e^x hertz, time priced."""
    cycles, coefficient, weight, time_price = data
    return weight * coefficient * cycles * math.exp(2.0 * x) + time_price * cycles * math.exp(-x)


@njit
def lowest(function, data: tuple, low: float, high: float) -> float:  # type: ignore[no-untyped-def,type-arg]
    """Where a function with one valley is least between two ends: golden sections, short-cut by parabolas (Brent)."""
    golden = 0.5 * (3.0 - math.sqrt(5.0))
    x = w = v = low + golden * (high - low)
    fx = fw = fv = function(x, data)
    last = before = 0.0
    for _ in range(200):
        middle, near = 0.5 * (low + high), 1e-9 * abs(x) + 1e-10
        if abs(x - middle) <= 2.0 * near - 0.5 * (high - low):
            break
        r, q = (x - w) * (fx - fv), (x - v) * (fx - fw)
        p = (x - v) * q - (x - w) * r
        q = 2.0 * (q - r)
        if q > 0.0:
            p = -p
        q = abs(q)
        if abs(before) > near and abs(p) < abs(0.5 * q * before) and q * (low - x) < p < q * (high - x):
            before, last = last, p / q
        else:
            before = (low if x >= middle else high) - x
            last = golden * before
        u = x + (last if abs(last) >= near else math.copysign(near, last))
        fu = function(u, data)
        if fu <= fx:
            if u < x:
                high = x
            else:
                low = x
            v, fv, w, fw, x, fx = w, fw, x, fx, u, fu
        else:
            if u < x:
                low = u
            else:
                high = u
            if fu <= fw or w == x:
                v, fv, w, fw = w, fw, u, fu
            elif fu <= fv or v in (x, w):
                v, fv = u, fu
    return x


@njit
def split_delay(delay_s: float, links: Floats, tasks: Floats, price: float, least: Floats, out: Floats) -> float:
    """Least cost of all devices within a delay, bandwidth priced; `out` gets their upload times and bandwidths."""
    total = 0.0
    for n in range(len(links)):
        link = (links[n, 0], links[n, 1], links[n, 2], links[n, 3], links[n, 4])
        task = (tasks[n, 0], tasks[n, 1], tasks[n, 2], tasks[n, 3], tasks[n, 4], tasks[n, 5], tasks[n, 6])
        spare = max(delay_s - least[n, 0] - least[n, 1], 0.0)
        data = (link, task, price, least[n, 0], least[n, 1], spare)
        best, where = math.inf, 0.0
        # The ends are shares of exactly nothing and everything, which the search only comes close to.
        for x in (lowest(cost_of_share, data, -45.0, 45.0), -700.0, 700.0):
            cost = cost_of_share(x, data)
            if cost < best:
                best, where = cost, x
        upload = least[n, 0] + spare / (1.0 + math.exp(-where))
        out[n, 0], out[n, 1] = upload, cheapest_band(upload, link, price)[1]
        total += best
    return total


@njit
def priced_upload(link: tuple, shortest_s: float, time_price: float, price: float) -> float:  # type: ignore[type-arg]
    """Least cost of one upload that pays for its time and bandwidth."""
    data = (link, time_price, price, shortest_s)
    reach = 1.0
    while cost_of_stretch(reach, data) < cost_of_stretch(0.5 * reach, data) and reach < 300.0:
        reach *= 2.0
    inside = cost_of_stretch(lowest(cost_of_stretch, data, 0.0, reach), data)
    return min(inside, cost_of_stretch(0.0, data))


@njit
def priced_computing(task: tuple, time_price: float) -> float:  # type: ignore[type-arg]
    """Least cost of one device's two computations that pay for their time."""
    total = 0.0
    for side in range(2):
        data = (task[side], task[4 + side], task[6], time_price)
        top = math.log(task[side] / task[2 + side])
        inside = cost_of_frequency(lowest(cost_of_frequency, data, top - 60.0, top), data)
        total += min(inside, cost_of_frequency(top, data))
    return total
