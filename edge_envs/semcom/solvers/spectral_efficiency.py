"""Functions of the spectral efficiency u = ln(1 + SNR) [nat/s/Hz], and their inverses.

A device that sends c nats over bandwidth B in time t has u = c / (B t). Its transmit energy (N0 c / g) (e^u - 1) / u
depends on u only. Every function here is smooth and monotone in ln u, as Newton's method in the solvers requires.
"""

import math

from edge_envs.core.kernels.jit import kernel

U_MAX = 600.0
"""Largest u, an SNR of 2600 dB; exponentials of larger values overflow."""
SMALL_U = 0.05
"""Below this u, series replace the closed forms, whose terms cancel."""
ROOT_TOLERANCE = 1e-13
"""Relative accuracy of the scalar roots in u; errors in u change objectives and bounds to second order only."""
STEPS_MAX = 80


@kernel
def energy_ratio(u: float) -> float:
    """phi(u) = (e^u - 1) / u, the ratio of the transmit energy to its infimum (unlimited bandwidth)."""
    return math.expm1(u) / u if u > 0.0 else 1.0


@kernel
def bandwidth_value(u: float) -> float:
    """H(u) = (u - 1) e^u + 1 = u^2 phi'(u), proportional to the energy saved per bandwidth; u^2 / 2 for small u."""
    if u < SMALL_U:
        tail = 1.0 / 30.0 + u * (1.0 / 144.0 + u * (1.0 / 840.0 + u / 5760.0))
        return u * u * (0.5 + u * (1.0 / 3.0 + u * (0.125 + u * tail)))
    return (u - 1.0) * math.exp(u) + 1.0


@kernel
def energy_slope(u: float) -> float:
    """epsilon = d ln phi / d ln u = u / (1 - e^-u) - 1; u / 2 for small u."""
    if u < SMALL_U:
        square = u * u
        return 0.5 * u + square / 12.0 - square * square / 720.0
    return u / -math.expm1(-u) - 1.0


@kernel
def bandwidth_value_slope(u: float) -> float:
    """eta = d ln H / d ln u = u^2 e^u / H; 2 for small u."""
    return u * u * math.exp(u) / bandwidth_value(u)


@kernel
def full_power_value(u: float) -> float:
    """M(u) = e^u u^2 / ((e^u - 1)^2 H), proportional to the bandwidth saved per upload time at full power."""
    grown = math.expm1(u)
    return (grown + 1.0) * u * u / (grown * grown * bandwidth_value(u))


@kernel
def full_power_value_slope(u: float) -> float:
    """mu = -d ln M / d ln u = 2 epsilon + eta - u; 2 for small u."""
    return 2.0 * energy_slope(u) + bandwidth_value_slope(u) - u


@kernel
def inverse_energy_ratio(ratio: float) -> float:
    """u >= 0 with phi(u) = ratio, for ratio >= 1; 0 below, `U_MAX` at most."""
    if ratio <= 1.0:
        return 0.0
    target = math.log(ratio)
    # phi >= e^(u/2), so this start is above the root. As ln phi is convex, Newton's iterates stay above it.
    u = min(2.0 * target, U_MAX)
    for _ in range(STEPS_MAX):
        step = u * (math.log(energy_ratio(u)) - target) / energy_slope(u)
        u = min(max(u - step, 0.1 * u), U_MAX)
        if abs(step) <= ROOT_TOLERANCE * u:
            break
    return u


@kernel
def inverse_bandwidth_value(value: float, guess: float) -> float:
    """u > 0 with H(u) = value > 0, at most `U_MAX`; the search starts at `guess`, or at a bound if it is 0."""
    target = math.log(value)
    # H >= u^2 / 2 and H(2 + ln(1 + y)) >= y: both bounds are above the root of a function that is convex in ln u.
    u = guess if guess > 0.0 else min(math.sqrt(2.0 * value), 2.0 + math.log1p(value), U_MAX)
    for _ in range(STEPS_MAX):
        step = (math.log(bandwidth_value(u)) - target) / bandwidth_value_slope(u)
        u = min(u * math.exp(-min(max(step, -1.0), 1.0)), U_MAX)
        if abs(step) <= ROOT_TOLERANCE:
            break
    return u


@kernel
def inverse_full_power_value(value: float, guess: float) -> float:
    """u > 0 with M(u) = value > 0, at most `U_MAX`; the search starts at `guess`, or at a bound if it is 0."""
    target = math.log(value)
    u = guess if guess > 0.0 else min(math.sqrt(2.0 / value), 1.0 + math.log1p(1.0 / value), U_MAX)
    for _ in range(STEPS_MAX):
        step = (math.log(full_power_value(u)) - target) / full_power_value_slope(u)
        u = min(u * math.exp(min(max(step, -1.0), 1.0)), U_MAX)
        if abs(step) <= ROOT_TOLERANCE:
            break
    return u


@kernel
def inverse_bandwidth_value_root(value: float, guess: float) -> float:
    """u > 0 with H(u) / sqrt(u) = value > 0, at most `U_MAX`; starts at `guess`, or at a bound if it is 0."""
    target = math.log(value)
    u = guess if guess > 0.0 else min((2.0 * value) ** (2.0 / 3.0), 3.0 + math.log1p(value), U_MAX)
    for _ in range(STEPS_MAX):
        step = (math.log(bandwidth_value(u)) - 0.5 * math.log(u) - target) / (bandwidth_value_slope(u) - 0.5)
        u = min(u * math.exp(-min(max(step, -1.0), 1.0)), U_MAX)
        if abs(step) <= ROOT_TOLERANCE:
            break
    return u
