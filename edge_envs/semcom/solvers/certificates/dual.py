"""Lower bounds from Lagrangian duality: of P1 and P3 at given compression rates, and of P4.

A bound follows from the problem and from prices (Lagrange multipliers), and holds for any prices: wrong ones make it
lower, never higher. Nothing depends on how a solver came to them.

Notation of a device: it sends c = w ln 2 nats over bandwidth B [Hz] in time t [s], with u = c / (B t) = ln(1 + S) and
phi(u) = (e^u - 1) / u. That takes e0 phi(u) joules, with e0 = N0 c / g, and the power e0 phi(u) / t, so p <= pmax means
t >= e0 phi(u) / pmax. phi is convex and increasing.
"""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.problem import LN2, Array, Problem, Workspace
from edge_envs.semcom.solvers.spectral_efficiency import (
    LARGEST_U,
    inverse_bend,
    inverse_bend_root,
    inverse_crowding,
    inverse_energy_ratio,
)

LARGEST_PRICE = 1e140
"""Products of prices within this and its inverse do not overflow; others count as 0, which is as valid."""
SMALL_U = 0.01
"""Below this the series of six terms is good to the last digits."""
LEAST_GUESS, LARGEST_GUESS = 1e-8, 100.0
"""Range of u from which a root is searched; beyond it, as without a guess, the search starts at a bound."""


@kernel
def round_bound(problem: Problem, time_price: Array, bandwidth_price: float, guess: Array, deadline_s: float) -> float:
    """Dual function of P1 at given compression rates: no allocation costs less, whatever the prices.

    P1: min omega_1 T + omega_2 sum (e0 phi(u) + E_cmp + E_S), subject to t + T_cmp + T_S <= T for every device (price
    beta [1/s]), sum c / (u t) <= B_total (price zeta [1/Hz]), T <= D where there is a deadline (price nu [1/s]), and
    the limits on u, on t by the power, and on the frequencies, which stay in the inner minimum. The Lagrangian

        (omega_1 - sum beta + nu) T - nu D - zeta B_total + sum [omega_2 e0 phi(u) + beta t + zeta c / (u t)]
        + sum [omega_2 (E_cmp + E_S) + beta (T_cmp + T_S)]

    separates by device. Its minimum over T >= 0 is 0 where sum beta <= omega_1 + nu, and -inf otherwise: without a
    deadline the beta are scaled to add up to omega_1, with one nu is their excess over it.

    Args:
        problem: the round.
        time_price: beta of every device (N,).
        bandwidth_price: zeta.
        guess: u of every device (N,), where the search for the inner minimum starts.
        deadline_s: D, or inf for none.
    """
    total = 0.0
    for n in range(len(problem.bits)):
        total += usable(time_price[n])
    price = usable(bandwidth_price)
    value = -price * problem.bandwidth_hz
    scale = problem.weight_time / total if total > 0.0 else 0.0
    if deadline_s < math.inf and total > problem.weight_time:
        scale = 1.0
        value -= (total - problem.weight_time) * deadline_s
    for n in range(len(problem.bits)):
        beta = usable(time_price[n]) * scale
        value += least_link_cost(problem, beta, price, guess[n], n) + least_computing_cost(problem, beta, n)
    return value


@kernel
def compute_bound(problem: Problem, work: Workspace, at_link: bool) -> float:
    """Dual function of P3 at given compression rates and upload times, at the prices of time in `work`.

    P5, eq. (21): min omega_1 T + omega_2 sum (E_cmp + E_S), subject to t + T_cmp + T_S <= T for every device (price
    beta [1/s]) and the limits on the frequencies, which stay in the inner minimum. As in `round_bound` the beta are
    scaled to add up to omega_1, and the value is sum beta t + min [omega_2 (E_cmp + E_S) + beta (T_cmp + T_S)].
    """
    total, value = 0.0, 0.0
    for n in range(len(problem.bits)):
        total += usable(work.time_price[n])
    scale = problem.weight_time / total if total > 0.0 else 0.0
    for n in range(len(problem.bits)):
        beta = usable(work.time_price[n]) * scale
        value += beta * upload_of(problem, work, at_link, n) + least_computing_cost(problem, beta, n)
    return value


@kernel
def link_bound(problem: Problem, rate_min_bps: Array, bandwidth_price: float, guess: Array) -> float:
    """Dual function of P4 at a price of bandwidth: no powers and bandwidths cost less, whatever the price.

    P4, eq. (19): min omega_2 sum p w / r, subject to r >= r_min, S >= S_min, p <= pmax, and sum B <= B_total with price
    zeta [1/Hz]. At a given u a device pays omega_2 e0 phi(u), whatever its bandwidth, and a higher rate takes more
    bandwidth and power: so r = r_min, B = k / u with k = r_min ln 2 nats/s, and p <= pmax means
    phi(u) <= q / k, q = pmax g / N0. The dual function is

        -zeta B_total + sum of min over u of [omega_2 e0 phi(u) + zeta k / u],   u >= u_min,  phi(u) <= q / k.

    Args:
        problem: the round.
        rate_min_bps: required rates (N,) [bit/s].
        bandwidth_price: zeta.
        guess: u of every device (N,), where the search for the inner minimum starts.
    """
    price = usable(bandwidth_price)
    value = -price * problem.bandwidth_hz
    for n in range(len(problem.bits)):
        value += least_band_cost(problem, rate_min_bps[n] * LN2, price, guess[n], n)
    return value


@kernel
def least_link_cost(problem: Problem, beta: float, price: float, guess: float, n: int) -> float:
    """min over u, t of omega_2 e0 phi(u) + beta t + zeta c / (u t), with u >= u_min and t >= e0 phi(u) / pmax.

    Jointly convex in (u, t), so the minimum over t is convex in u. Where the power does not bind,
    t = sqrt(zeta c / (beta u)) and H(u) / sqrt(u) = sqrt(zeta c beta) / (omega_2 e0), with H(u) = u^2 phi'(u). Where
    that t takes too much power, the minimum is at full power.
    """
    nats = problem.bits[n] * LN2
    energy = problem.noise_w_per_hz * nats / problem.gain[n]
    worth, pace = problem.weight_energy * energy, energy / problem.power_max_w[n]
    least = least_nats(problem, n)
    if not beta > 0.0:
        return worth * ratio_of(least)
    if not price > 0.0:
        return (worth + beta * pace) * ratio_of(least)
    spread = price * nats
    start = started(guess)
    u = max(inverse_bend_root(math.sqrt(spread * beta) / worth, start), least)
    if math.sqrt(spread / (u * beta)) < pace * ratio_of(u):
        u = max(inverse_crowding((worth + beta * pace) * pace / spread, start), least)
    ratio, rise = ratio_of(u), rise_of(u)
    t = max(math.sqrt(spread / (u * beta)), pace * ratio)
    band = spread / (u * t)
    slope = (worth + pace * max(beta - band / t, 0.0)) * rise - band  # u times the derivative by u
    # As t >= e0 phi / pmax, this much of the cost is a multiple of phi.
    sure = worth + beta * pace
    return below_tangents(worth * ratio + beta * t + band, slope, sure * ratio, sure * rise, least / u)


@kernel
def least_band_cost(problem: Problem, nats_per_s: float, price: float, guess: float, n: int) -> float:
    """min over u of omega_2 e0 phi(u) + zeta k / u, with u >= u_min and phi(u) <= q / k: convex in u.

    Stationary where u^2 phi'(u) = zeta k / (omega_2 e0).
    """
    worth = problem.weight_energy * problem.noise_w_per_hz * problem.bits[n] * LN2 / problem.gain[n]
    most = problem.power_max_w[n] * problem.gain[n] / (problem.noise_w_per_hz * nats_per_s)
    least = least_nats(problem, n)
    if not price > 0.0:
        return worth * ratio_of(least)
    spread = price * nats_per_s
    u = max(inverse_bend(spread / worth, started(guess)), least)
    if ratio_of(u) > most > 1.0:
        u = max(inverse_energy_ratio(most), least)
    ratio, rise = ratio_of(u), rise_of(u)
    value, slope = worth * ratio + spread / u, worth * rise - spread / u
    bound = below_tangents(value, slope, worth * ratio, worth * rise, least / u)
    if slope < 0.0 < rise:
        # The power's multiplier that makes u stationary.
        bound = max(bound, value - slope / rise * (ratio - most))
    return bound


@kernel
def below_tangents(value: float, slope: float, other: float, other_slope: float, least_over_u: float) -> float:
    """Lower bound on a convex function of u >= u_min, given at any u: its value where that u is the minimiser.

    Where the function rises at u, its tangent there bounds it, down to u_min. Where it falls, so does the mean of its
    tangent and that of another function (below it, convex and rising) that is flat.

    Args:
        value: of the function at u.
        slope: its derivative, times u.
        other: value of the other function at u.
        other_slope: the derivative of that, times u.
        least_over_u: u_min / u.
    """
    if slope >= 0.0:
        return value - slope * (1.0 - least_over_u)
    return value + slope / (other_slope - slope) * (value - other)


@kernel
def least_computing_cost(problem: Problem, beta: float, n: int) -> float:
    """min over f, h of omega_2 (E_cmp + E_S) + beta (T_cmp + T_S) of device n within its limits."""
    return least_processor_cost(
        problem.device_cycles[n], problem.weight_energy * problem.device_energy_coefficient,
        problem.device_frequency_max_hz[n], beta,
    ) + least_processor_cost(
        problem.server_cycles[n], problem.weight_energy * problem.server_energy_coefficient,
        problem.server_frequency_max_hz[n], beta,
    )  # fmt: skip


@kernel
def least_processor_cost(cycles: float, coefficient: float, cap_hz: float, beta: float) -> float:
    """min over 0 < f <= cap of cycles (coefficient f^2 + beta / f), with f^3 = beta / (2 coefficient) where free."""
    if not beta > 0.0:
        return 0.0
    frequency = min((0.5 * beta / coefficient) ** (1.0 / 3.0), cap_hz)
    return cycles * (coefficient * frequency * frequency + beta / frequency)


@kernel
def upload_of(problem: Problem, work: Workspace, at_link: bool, n: int) -> float:
    """Upload time of device n [s]: as stored, or with `at_link` as its power and bandwidth make it."""
    return upload_time(problem, work.power_w[n], work.bandwidth_hz[n], n) if at_link else work.upload_s[n]


@kernel
def upload_time(problem: Problem, power_w: float, bandwidth_hz: float, n: int) -> float:
    """w / r of device n, eqs. (6)-(7) [s]."""
    snr = power_w * problem.gain[n] / (problem.noise_w_per_hz * bandwidth_hz)
    return problem.bits[n] * LN2 / (bandwidth_hz * math.log1p(snr))


@kernel
def ratio_of(u: float) -> float:
    """phi(u)."""
    return math.expm1(u) / u if u > 0.0 else 1.0


@kernel
def rise_of(u: float) -> float:
    """u phi'(u) = e^u - phi(u), by its series where that would cancel."""
    if u < SMALL_U:
        return u * (0.5 + u * (1.0 / 3.0 + u * (0.125 + u * (1.0 / 30.0 + u * (1.0 / 144.0 + u / 840.0)))))
    return math.exp(u) - ratio_of(u)


@kernel
def least_nats(problem: Problem, n: int) -> float:
    """u_min = ln(1 + S_min) of device n."""
    return min(math.log1p(problem.snr_min[n]), LARGEST_U)


@kernel
def usable(price: float) -> float:
    """A price as a multiplier: 0 in place of what is negative, not a number or out of range."""
    return price if 1.0 / LARGEST_PRICE < price < LARGEST_PRICE else 0.0


@kernel
def started(guess: float) -> float:
    """A guess of u that a search can start from, else 0."""
    return guess if LEAST_GUESS < guess < LARGEST_GUESS else 0.0
