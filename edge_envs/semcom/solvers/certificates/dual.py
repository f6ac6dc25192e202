"""Lower bounds from Lagrangian duality: of P1 and P3 at given compression rates, and of P4.

A bound is computed from the problem and from prices (Lagrange multipliers). It holds for any prices; wrong prices make
it lower, never higher.

Notation: a device sends c = w ln 2 nats over bandwidth B [Hz] in time t [s], with u = c / (B t) = ln(1 + S) and
phi(u) = (e^u - 1) / u. The upload takes the energy e0 phi(u), with e0 = N0 c / g, and the power e0 phi(u) / t, so
p <= pmax means t >= e0 phi(u) / pmax. phi is convex and increasing.
"""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.problem import LN2, Array, Problem, Workspace
from edge_envs.semcom.solvers.spectral_efficiency import (
    U_MAX,
    inverse_bandwidth_value,
    inverse_bandwidth_value_root,
    inverse_energy_ratio,
    inverse_full_power_value,
)

PRICE_MAX = 1e140
"""Products of prices between this and its inverse do not overflow; other prices are replaced by 0, which is valid."""
SMALL_U = 0.01
"""Below this u, a series of six terms is accurate to rounding."""
GUESS_MIN, GUESS_MAX = 1e-8, 100.0
"""Range of guesses of u from which a root search starts; for other guesses it starts at a bound."""


@kernel
def round_bound(problem: Problem, time_price: Array, bandwidth_price: float, guess: Array, deadline_s: float) -> float:
    """Dual function of P1 at given compression rates: no allocation costs less, for any prices.

    P1: min omega_1 T + omega_2 sum (e0 phi(u) + E_cmp + E_S), subject to t + T_cmp + T_S <= T for every device (price
    beta [1/s]), sum c / (u t) <= B_total (price zeta [1/Hz]), T <= D where there is a deadline (price nu [1/s]), and
    the limits on u, on t by the power, and on the frequencies, which stay in the inner minimum. The Lagrangian

        (omega_1 - sum beta + nu) T - nu D - zeta B_total + sum [omega_2 e0 phi(u) + beta t + zeta c / (u t)]
        + sum [omega_2 (E_cmp + E_S) + beta (T_cmp + T_S)]

    is separable by device. Its minimum over T >= 0 is 0 if sum beta <= omega_1 + nu, and -inf otherwise. Without a
    deadline the beta are scaled to the sum omega_1; with a deadline nu is the excess of their sum over omega_1.

    Args:
        problem: the round.
        time_price: beta of every device (N,).
        bandwidth_price: zeta.
        guess: u of every device (N,), at which the search for the inner minimum starts.
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
def compute_bound(problem: Problem, workspace: Workspace, at_link: bool) -> float:
    """Dual function of P3 at given compression rates and upload times, at the time prices in the workspace.

    P5, eq. (21): min omega_1 T + omega_2 sum (E_cmp + E_S), subject to t + T_cmp + T_S <= T for every device (price
    beta [1/s]) and the limits on the frequencies, which stay in the inner minimum. As in `round_bound` the beta are
    scaled to the sum omega_1, and the value is sum beta t + min [omega_2 (E_cmp + E_S) + beta (T_cmp + T_S)].
    """
    total, value = 0.0, 0.0
    for n in range(len(problem.bits)):
        total += usable(workspace.time_price[n])
    scale = problem.weight_time / total if total > 0.0 else 0.0
    for n in range(len(problem.bits)):
        beta = usable(workspace.time_price[n]) * scale
        value += beta * upload_of(problem, workspace, at_link, n) + least_computing_cost(problem, beta, n)
    return value


@kernel
def link_bound(problem: Problem, rate_min_bps: Array, bandwidth_price: float, guess: Array) -> float:
    """Dual function of P4 at a bandwidth price: no powers and bandwidths cost less, for any price.

    P4, eq. (19): min omega_2 sum p w / r, subject to r >= r_min, S >= S_min, p <= pmax, and sum B <= B_total with price
    zeta [1/Hz]. At a given u the transmit cost omega_2 e0 phi(u) does not depend on the bandwidth, and a higher rate
    needs more bandwidth and power. So r = r_min, B = k / u with k = r_min ln 2 nats/s, and p <= pmax means
    phi(u) <= q / k, q = pmax g / N0. The dual function is

        -zeta B_total + sum of min over u of [omega_2 e0 phi(u) + zeta k / u],   u >= u_min,  phi(u) <= q / k.

    Args:
        problem: the round.
        rate_min_bps: required rates (N,) [bit/s].
        bandwidth_price: zeta.
        guess: u of every device (N,), at which the search for the inner minimum starts.
    """
    price = usable(bandwidth_price)
    value = -price * problem.bandwidth_hz
    for n in range(len(problem.bits)):
        value += least_band_cost(problem, rate_min_bps[n] * LN2, price, guess[n], n)
    return value


@kernel
def least_link_cost(problem: Problem, beta: float, bandwidth_price: float, guess: float, n: int) -> float:
    """min over u, t of omega_2 e0 phi(u) + beta t + zeta c / (u t), with u >= u_min and t >= e0 phi(u) / pmax.

    The function is jointly convex in (u, t), so the minimum over t is convex in u. If the power limit does not bind,
    t = sqrt(zeta c / (beta u)) and H(u) / sqrt(u) = sqrt(zeta c beta) / (omega_2 e0), with H(u) = u^2 phi'(u). If this
    t needs too much power, the minimum is at full power.
    """
    nats = problem.bits[n] * LN2
    energy = problem.noise_w_per_hz * nats / problem.gain[n]
    worth, pace = problem.weight_energy * energy, energy / problem.power_max_w[n]
    least = least_u(problem, n)
    if not beta > 0.0:
        return worth * ratio_of(least)
    if not bandwidth_price > 0.0:
        return (worth + beta * pace) * ratio_of(least)
    spread = bandwidth_price * nats
    start = started(guess)
    u = max(inverse_bandwidth_value_root(math.sqrt(spread * beta) / worth, start), least)
    if math.sqrt(spread / (u * beta)) < pace * ratio_of(u):
        u = max(inverse_full_power_value((worth + beta * pace) * pace / spread, start), least)
    ratio, rise = ratio_of(u), rise_of(u)
    t = max(math.sqrt(spread / (u * beta)), pace * ratio)
    band = spread / (u * t)
    slope = (worth + pace * max(beta - band / t, 0.0)) * rise - band  # u times the derivative by u
    # As t >= e0 phi / pmax, sure * phi is a lower bound on the cost.
    sure = worth + beta * pace
    return below_tangents(worth * ratio + beta * t + band, slope, sure * ratio, sure * rise, least / u)


@kernel
def least_band_cost(problem: Problem, rate_nats_per_s: float, bandwidth_price: float, guess: float, n: int) -> float:
    """min over u of omega_2 e0 phi(u) + zeta k / u, with u >= u_min and phi(u) <= q / k: convex in u.

    Stationary where u^2 phi'(u) = zeta k / (omega_2 e0).
    """
    worth = problem.weight_energy * problem.noise_w_per_hz * problem.bits[n] * LN2 / problem.gain[n]
    most = problem.power_max_w[n] * problem.gain[n] / (problem.noise_w_per_hz * rate_nats_per_s)
    least = least_u(problem, n)
    if not bandwidth_price > 0.0:
        return worth * ratio_of(least)
    spread = bandwidth_price * rate_nats_per_s
    u = max(inverse_bandwidth_value(spread / worth, started(guess)), least)
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
    """Lower bound on a convex function of u >= u_min from tangents at any u; exact if that u is the minimiser.

    If the function rises at u, its tangent is a bound, evaluated at u_min. If it falls, the bound is the horizontal
    mean of its tangent and the tangent of another convex, rising function that lies below it.

    Args:
        value: the function at u.
        slope: its derivative, times u.
        other: the other function at u.
        other_slope: its derivative, times u.
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
    """min over 0 < f <= cap of cycles (coefficient f^2 + beta / f); f^3 = beta / (2 coefficient) within the limit."""
    if not beta > 0.0:
        return 0.0
    frequency = min((0.5 * beta / coefficient) ** (1.0 / 3.0), cap_hz)
    return cycles * (coefficient * frequency * frequency + beta / frequency)


@kernel
def upload_of(problem: Problem, workspace: Workspace, at_link: bool, n: int) -> float:
    """Upload time of device n [s]: the stored one, or with `at_link` the one of its power and bandwidth."""
    return (
        upload_time(problem, workspace.power_w[n], workspace.bandwidth_hz[n], n) if at_link else workspace.upload_s[n]
    )


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
    """u phi'(u) = e^u - phi(u); a series for small u, where the terms cancel."""
    if u < SMALL_U:
        return u * (0.5 + u * (1.0 / 3.0 + u * (0.125 + u * (1.0 / 30.0 + u * (1.0 / 144.0 + u / 840.0)))))
    return math.exp(u) - ratio_of(u)


@kernel
def least_u(problem: Problem, n: int) -> float:
    """u_min = ln(1 + S_min) of device n."""
    return min(math.log1p(problem.snr_min[n]), U_MAX)


@kernel
def usable(price: float) -> float:
    """The price, or 0 if it is negative, NaN or out of range."""
    return price if 1.0 / PRICE_MAX < price < PRICE_MAX else 0.0


@kernel
def started(guess: float) -> float:
    """The guess of u if a search can start from it, else 0."""
    return guess if GUESS_MIN < guess < GUESS_MAX else 0.0
