"""Functions of u = ln(1 + SNR), the natural variable of the uplink.

A device that sends c nats over bandwidth B in time t has u = c / (B t), and its transmit energy depends on u alone:
(N0 c / g) (e^u - 1) / u. Every function here is smooth and monotone in ln u, which the solvers' Newton steps use.
"""

import math

from edge_envs.core.kernels.jit import kernel

LARGEST_U = 600.0
"""Beyond this (an SNR of 2600 dB) exponentials overflow; no channel gets there."""
SMALL_U = 0.05
"""Below this the closed forms cancel and their series are used."""
ROOT_TOLERANCE = 1e-13
"""Relative accuracy of the scalar roots in u; they enter objectives and bounds to second order."""
MOST_STEPS = 80


@kernel
def energy_ratio(u: float) -> float:
    """phi(u) = (e^u - 1) / u: transmit energy over its infimum, at unlimited bandwidth."""
    return math.expm1(u) / u if u > 0.0 else 1.0


@kernel
def bend(u: float) -> float:
    """H(u) = (u - 1) e^u + 1 = u^2 phi'(u); u^2 / 2 for small u."""
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
def bend_slope(u: float) -> float:
    """eta = d ln H / d ln u = u^2 e^u / H; 2 for small u."""
    return u * u * math.exp(u) / bend(u)


@kernel
def crowding(u: float) -> float:
    """M(u) = e^u u^2 / ((e^u - 1)^2 H): bandwidth saved per transmit time spent at full power, up to a scale."""
    grown = math.expm1(u)
    return (grown + 1.0) * u * u / (grown * grown * bend(u))


@kernel
def crowding_slope(u: float) -> float:
    """mu = -d ln M / d ln u = 2 epsilon + eta - u; 2 for small u."""
    return 2.0 * energy_slope(u) + bend_slope(u) - u


@kernel
def inverse_energy_ratio(ratio: float) -> float:
    """u >= 0 with phi(u) = ratio, for ratio >= 1; 0 below, `LARGEST_U` at most."""
    if ratio <= 1.0:
        return 0.0
    target = math.log(ratio)
    # phi >= e^(u/2), so the root is to the left; ln phi is convex, so Newton's steps stay on that side.
    u = min(2.0 * target, LARGEST_U)
    for _ in range(MOST_STEPS):
        step = u * (math.log(energy_ratio(u)) - target) / energy_slope(u)
        u = min(max(u - step, 0.1 * u), LARGEST_U)
        if abs(step) <= ROOT_TOLERANCE * u:
            break
    return u


@kernel
def inverse_bend(value: float, guess: float) -> float:
    """u > 0 with H(u) = value > 0, `LARGEST_U` at most; searched from a guess, or from a bound if that is 0."""
    target = math.log(value)
    # H >= u^2 / 2 and H(2 + ln(1 + y)) >= y: starts to the right of the root of a convex function of ln u.
    u = guess if guess > 0.0 else min(math.sqrt(2.0 * value), 2.0 + math.log1p(value), LARGEST_U)
    for _ in range(MOST_STEPS):
        step = (math.log(bend(u)) - target) / bend_slope(u)
        u = min(u * math.exp(-min(max(step, -1.0), 1.0)), LARGEST_U)
        if abs(step) <= ROOT_TOLERANCE:
            break
    return u


@kernel
def inverse_crowding(value: float, guess: float) -> float:
    """u > 0 with M(u) = value > 0, `LARGEST_U` at most; searched from a guess, or from a bound if that is 0."""
    target = math.log(value)
    u = guess if guess > 0.0 else min(math.sqrt(2.0 / value), 1.0 + math.log1p(1.0 / value), LARGEST_U)
    for _ in range(MOST_STEPS):
        step = (math.log(crowding(u)) - target) / crowding_slope(u)
        u = min(u * math.exp(min(max(step, -1.0), 1.0)), LARGEST_U)
        if abs(step) <= ROOT_TOLERANCE:
            break
    return u


@kernel
def inverse_bend_root(value: float, guess: float) -> float:
    """u > 0 with H(u) / sqrt(u) = value > 0, `LARGEST_U` at most; searched from a guess, or a bound if that is 0."""
    target = math.log(value)
    u = guess if guess > 0.0 else min((2.0 * value) ** (2.0 / 3.0), 3.0 + math.log1p(value), LARGEST_U)
    for _ in range(MOST_STEPS):
        step = (math.log(bend(u)) - 0.5 * math.log(u) - target) / (bend_slope(u) - 0.5)
        u = min(u * math.exp(-min(max(step, -1.0), 1.0)), LARGEST_U)
        if abs(step) <= ROOT_TOLERANCE:
            break
    return u
